"""What a piece of work costs the process it runs in: seconds, processor seconds, and bytes on the disk.

Only the standard library: the jobs of every side, in whatever environment, measure with this.
"""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Meter:
    """``with Meter(folder) as spent: …`` and then ``spent.costs()``; threads and ended children count."""

    def __init__(self, folder: Path | str | None = None) -> None:
        self._folder = folder
        self.wall = self.cpu = 0.0
        self.bytes = 0

    def __enter__(self) -> Meter:
        self._held = self._size()
        self._cpu = _processor_seconds()
        self._began = time.perf_counter()
        return self

    def __exit__(self, *_error: Any) -> None:
        self.wall = time.perf_counter() - self._began
        self.cpu = _processor_seconds() - self._cpu
        self.bytes = self._size() - self._held

    def costs(self, prefix: str = "") -> dict[str, float]:
        """``wall`` and ``cpu`` in seconds and, if a folder was given, ``bytes`` it grew by."""
        found = {"wall": self.wall, "cpu": self.cpu}
        if self._folder is not None:
            found["bytes"] = self.bytes
        return {prefix + key: value for key, value in found.items()}

    def _size(self) -> int:
        return 0 if self._folder is None else folder_size(self._folder)


def repeated(call: Callable[[], object], repeats: int, prefix: str = "") -> dict[str, float]:
    """The medians of what a call costs."""
    took = []
    for _ in range(repeats):
        with Meter() as spent:
            call()
        took.append(spent.costs(prefix))
    return {key: statistics.median(costs[key] for costs in took) for key in took[0]}


def folder_size(folder: Path | str) -> int:
    """The lengths of all files below a folder; a file with several names counts once."""
    seen: dict[tuple[int, int], int] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            found = os.lstat(os.path.join(place, name))
            seen[found.st_dev, found.st_ino] = found.st_size
    return sum(seen.values())


def _processor_seconds() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
