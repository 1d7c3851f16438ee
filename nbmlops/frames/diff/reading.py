"""Reading both sides of a comparison piece by piece: never more than a chunk of each in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from nbmlops.frames import hashing
from nbmlops.frames.diff.plan import Stored, Stretch, offsets
from nbmlops.frames.sketches.counted import key_of, shown

_SHIFT = 32  # a place is the chunk's number and the row in it, in one number


class Side:
    """One of the two tables; remembers the last chunk that was read."""

    def __init__(self, stored: Stored) -> None:
        self.stored = stored
        self._offsets = offsets(stored)
        self._last: tuple[int, tuple[str, ...]] | None = None
        self._table: pa.Table | None = None

    def read(self, chunk: int, fields: Sequence[str]) -> pa.Table:
        """These fields of a chunk."""
        wanted = (chunk, tuple(fields))
        if self._table is None or self._last != wanted:
            self._table = None  # the old one goes before the new one comes
            self._table = self.stored.read(chunk, list(fields)).select(list(fields))
            self._last = wanted
        return self._table

    def row(self, place: int) -> int:
        """The number of a row in the whole table."""
        return self._offsets[place >> _SHIFT] + (place & ((1 << _SHIFT) - 1))

    def values(self, place: int, fields: Sequence[str]) -> dict[str, Any]:
        """The values of one row, as JSON can hold them."""
        if not fields:
            return {}
        row = self.read(place >> _SHIFT, fields).slice(place & ((1 << _SHIFT) - 1), 1)
        return {n: _shown(row.column(n)) for n in fields}


def _shown(column: pa.ChunkedArray) -> Any:
    value = column[0].as_py()
    return None if value is None else shown(key_of(value, 0))


def places(chunk: int, rows: int) -> np.ndarray:
    """The places of all rows of a chunk."""
    return np.arange(rows, dtype=np.uint64) + np.uint64(chunk << _SHIFT)


def pieces(sides: tuple[Side, Side], stretch: Stretch) -> Iterator[tuple[int, int, int, int, int]]:
    """Rows that stand side by side in a level stretch: chunk and first row before, chunk and first row after, rows."""
    rows = [
        [s.stored.chunks[i].rows for i in part] for s, part in zip(sides, (stretch.before, stretch.after), strict=True)
    ]
    a = b = start_a = start_b = 0
    while a < len(rows[0]) and b < len(rows[1]):
        amount = min(rows[0][a] - start_a, rows[1][b] - start_b)
        if amount:
            yield stretch.before[a], start_a, stretch.after[b], start_b, amount
        start_a, start_b = start_a + amount, start_b + amount
        if start_a == rows[0][a]:
            a, start_a = a + 1, 0
        if start_b == rows[1][b]:
            b, start_b = b + 1, 0


def unequal(a: pa.ChunkedArray, b: pa.ChunkedArray) -> np.ndarray:
    """Where two columns of one logical type differ, by 128-bit hashes, which of numbers cannot collide."""
    lanes = zip(hashing.column_hashes(a, 2), hashing.column_hashes(b, 2), strict=True)
    return np.logical_or(*(x != y for x, y in lanes))
