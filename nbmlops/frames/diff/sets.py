"""Rows of 64-bit numbers from two or more sides, in memory or, when there are many, in buckets on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

IN_MEMORY = 160 << 20  # bytes; above, rows go to a temporary folder
_BITS = 6  # 64 buckets, by the first bits of the first number


class RowSets:
    """Collects rows of ``width`` numbers, of which the first is a hash; equal first numbers share a bucket.

    A context manager: the temporary folder is removed at its end.
    """

    def __init__(self, width: int, sides: int = 2) -> None:
        self._width = width
        self._held: list[list[np.ndarray]] = [[] for _ in range(sides)]
        self._bytes = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._files: list[list[BinaryIO]] = []

    def __enter__(self) -> RowSets:
        return self

    def __exit__(self, *exception: object) -> None:
        for file in (f for side in self._files for f in side):
            file.close()
        if self._folder is not None:
            self._folder.cleanup()

    def add(self, side: int, rows: np.ndarray) -> None:
        """Further rows of one side, shape (n, width), ``uint64``."""
        self._held[side].append(rows)
        self._bytes += rows.nbytes
        if self._bytes > IN_MEMORY:
            self._spill()

    def _spill(self) -> None:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="nbmlops-diff-")
            root = Path(self._folder.name)
            self._files = [
                [(root / f"{side}-{bucket}").open("w+b") for bucket in range(1 << _BITS)]
                for side in range(len(self._held))
            ]
        for side, parts in enumerate(self._held):
            for rows in parts:
                bucket = (rows[:, 0] >> np.uint64(64 - _BITS)).astype(np.uint8)
                ordered = rows[np.argsort(bucket, kind="stable")]
                ends = np.cumsum(np.bincount(bucket, minlength=1 << _BITS))
                for place, part in enumerate(np.split(ordered, ends[:-1])):
                    part.tofile(self._files[side][place])
            parts.clear()
        self._bytes = 0

    def buckets(self) -> Iterator[list[np.ndarray]]:
        """The rows of all sides, bucket by bucket; one bucket if all are in memory."""
        if self._folder is None:
            yield [self._joined(parts) for parts in self._held]
            return
        self._spill()
        for bucket in range(1 << _BITS):
            made = []
            for side in self._files:
                side[bucket].seek(0)
                made.append(np.fromfile(side[bucket], np.uint64).reshape(-1, self._width))
            yield made

    def _joined(self, parts: list[np.ndarray]) -> np.ndarray:
        whole = np.concatenate(parts) if parts else np.zeros((0, self._width), np.uint64)
        parts.clear()
        return whole


def grouped(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An order that brings equal rows (of two numbers) together, and where in it each group begins."""
    order = np.argsort(keys[:, 0], kind="stable")
    first, second = keys[order, 0], keys[order, 1]
    same = first[1:] == first[:-1]
    if (second[1:] != second[:-1])[same].any():  # 64 bits collide once in a billion tables, but they do
        order = np.lexsort((keys[:, 1], keys[:, 0]))
        first, second = keys[order, 0], keys[order, 1]
        same = first[1:] == first[:-1]
    new = np.append(True, ~same | (second[1:] != second[:-1]))[: len(keys)]
    return order, np.flatnonzero(new)
