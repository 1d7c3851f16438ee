"""Where a table is cut into chunks: so that a version shares its chunks with the one before, wherever they moved.

The first version is cut evenly, at the borders of the blocks that ``digest`` hashes anyway (half the hashing, measured:
a quarter of the time). Each cut leaves a fingerprint of the rows before it. From then on cuts follow the content:

1. blocks whose digests equal those of the earlier version at the same place: the cuts there stand;
2. the fingerprints of the earlier version's cuts, searched for in what is left: found again, they say where it moved;
3. two cuts found again at their old distance: those between them stand too, whatever happened to the values;
4. rows that are new are cut where a hash over sixteen rows ends with enough zero bits (content-defined chunking, as in
   rsync and LBFS).

Hashes here only decide what is stored together. Whether values are equal is never taken from them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nbmlops.frames import digest
from nbmlops.frames.digest import byte_offsets, contiguous, is_text

WINDOW = 16
COLUMNS = 3  # how many columns leave fingerprints: one is usually enough, a recomputed one must not lose all
SAMPLE = 1 << 14
_PART = 1 << 14  # rows hashed at a time: their temporaries stay in the processor's cache
_ODD = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLY = np.uint64(0xBF58476D1CE4E5B9)
_NULL = np.uint64(0xD1B54A32D192ED03)
_TEXT = np.dtype("<u8")


@dataclass(frozen=True)
class Limits:
    """Rows of a chunk: at least ``least`` (except where changes left less), at most ``most``."""

    least: int
    most: int

    @classmethod
    def of(cls, row_bytes: float) -> Limits:
        """32,768 to 65,536 rows: smaller ones read slower, an edit costs up to one. Fewer if they exceed 64 MB."""
        least = ROWS
        while least > 64 and least * 2 * row_bytes > BYTES:
            least //= 2
        return cls(least, least * 2)


ROWS, BYTES = 1 << 15, 64 << 20


@dataclass(frozen=True)
class Before:
    """What cutting needs to know of the earlier version."""

    cuts: Sequence[int]  # 0, then the row after each chunk
    prints: Mapping[str, Sequence[int]]  # by column: the fingerprint before each cut but the first
    blocks: Mapping[str, Sequence[bytes]] = field(default_factory=dict)


@dataclass(frozen=True)
class Span:
    """Rows ``start`` to ``stop`` of the new table; ``same`` is the chunk of the earlier version that lies there."""

    start: int
    stop: int
    same: int | None = None


def boundary_columns(table: pa.Table) -> list[str]:
    """The columns that say where to cut: up to three of those with the most distinct values near the top.

    Numbers that rise by a constant come last: they say where a row stands, and stay there when rows move.
    """
    sample = table.slice(0, SAMPLE)
    ranked = []
    for place, column in enumerate(sample.columns):
        if _hashable(column.type):
            distinct = 0 if _counts_up(column) else pc.count_distinct(column).as_py()
            ranked.append((-distinct * (0.8 if is_text(column.type) else 1.0), place))
    return [table.column_names[place] for _, place in sorted(ranked)[:COLUMNS]]


def _counts_up(column: pa.ChunkedArray) -> bool:
    if is_text(column.type) or column.null_count or len(column) < 3:
        return False
    steps = np.diff(_bits(contiguous(column)))
    return bool((steps == steps[0]).all())


def _hashable(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType) or pa.types.is_boolean(kind):
        return False
    fixed = pa.types.is_primitive(kind) and kind.bit_width in (8, 16, 32, 64)
    return fixed or is_text(kind)


def fingerprint(column: pa.ChunkedArray, row: int) -> int:
    """The fingerprint of a cut before ``row``: a hash of the up to sixteen values before it."""
    first = max(0, row - WINDOW)
    with np.errstate(over="ignore"):
        return int(_mixed(column.slice(first, row - first)).sum(dtype=np.uint64))


def _mixed(column: pa.ChunkedArray) -> np.ndarray:
    """One 64-bit hash per value; a function of the value alone on every platform."""
    array = contiguous(column)
    bits = _text_bits(array) if is_text(array.type) else _bits(array)
    if array.null_count:
        bits = np.where(np.asarray(array.is_valid()), bits, _NULL)
    with np.errstate(over="ignore"):
        bits = (bits + np.uint64(1)) * _ODD
        bits ^= bits >> np.uint64(30)
        bits *= _MULTIPLY
        bits ^= bits >> np.uint64(27)
    return bits


def _bits(array: pa.Array) -> np.ndarray:
    """The bits of values of a fixed width, whatever lies under nulls."""
    width = array.type.bit_width // 8
    raw = np.frombuffer(array.buffers()[1] or b"", np.uint8)[array.offset * width : (array.offset + len(array)) * width]
    return raw.view(f"<u{width}").astype(np.uint64)


def _text_bits(array: pa.Array) -> np.ndarray:
    """Length, first eight and last eight bytes of each text."""
    if pa.types.is_string_view(array.type):
        array = array.cast(pa.large_string())
    ends = byte_offsets(array).astype(np.int64)
    data = array.buffers()[2]
    low, high = int(ends[0]), int(ends[-1])
    padded = np.zeros(high - low + 16, np.uint8)
    if data is not None and high > low:
        padded[8 : 8 + high - low] = np.frombuffer(data, np.uint8)[low:high]
    words = np.lib.stride_tricks.as_strided(padded[:8].view(_TEXT), (len(padded) - 7,), (1,))
    lengths = np.diff(ends)
    cut = (8 - np.minimum(lengths, 8)).astype(np.uint64) * np.uint64(8)
    with np.errstate(over="ignore"):
        head = np.where(lengths > 0, words[ends[:-1] - low + 8] << cut, np.uint64(0))
        tail = np.where(lengths > 0, words[ends[1:] - low] >> cut, np.uint64(0))
        return head * _MULTIPLY + tail + lengths.astype(np.uint64)


class _Rolling:
    """Rolling hashes over one column of a table, part by part and only where they are asked for."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._column = column

    def parts(self, start: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
        """``(row, sums)``: ``sums[i]`` is the fingerprint of a cut before ``row + i``; for rows in [start, stop]."""
        for first in range(max(start, 1), stop + 1, _PART):
            last = min(first + _PART, stop + 1)
            base = max(0, first - WINDOW)
            total = np.zeros(last - 1 - base + 1, np.uint64)
            np.cumsum(_mixed(self._column.slice(base, last - 1 - base)), out=total[1:])
            rows = np.arange(first, last)
            with np.errstate(over="ignore"):
                sums = total[rows - base] - total[np.maximum(rows - WINDOW, 0) - base]
            yield first, sums


def plan(
    table: pa.Table, columns: Sequence[str], limits: Limits, before: Before | None, at: Place | None = None
) -> list[Span]:
    """Cut a table, or a stretch of one (``at``); the spans cover it in order.

    In a stretch that is not the last, the last span may end differently once more rows are known.
    """
    at = at or Place()
    if not table.num_rows:
        return [Span(at.row, at.row)]
    return _Planner(table, columns, limits, before, at).spans()


@dataclass(frozen=True)
class Place:
    """Where a stretch lies: its first row, the cut of the earlier version found there, and whether it is the last.

    ``blocks`` are the digests of the new table's blocks so far, by column.
    """

    row: int = 0
    cut: int | None = 0
    last: bool = True
    blocks: Mapping[str, Sequence[bytes]] = field(default_factory=dict)


class _Planner:
    def __init__(
        self, table: pa.Table, columns: Sequence[str], limits: Limits, before: Before | None, at: Place
    ) -> None:
        self._table, self._columns, self._limits, self._before, self._at = table, columns, limits, before, at
        self._stop = at.row + table.num_rows
        self._rolling = {c: _Rolling(table.column(c)) for c in columns if c in table.column_names}
        self._found: dict[int, int] = {}  # row -> cut of the earlier version

    def spans(self) -> list[Span]:
        if self._before is None:
            return self._evenly()
        self._in_place()
        self._by_fingerprints()
        self._by_distance()
        rows = [self._at.row, *sorted(r for r in self._found if self._at.row < r < self._stop), self._stop]
        cuts = [self._at.row]
        for left, right in itertools.pairwise(rows):
            if self._chunk(left, right) is None and not self._together(left, right):
                cuts += self._by_content(left, right)
            cuts.append(right)
        cuts = self._without_crumbs(cuts)
        return [Span(a, b, self._chunk(a, b)) for a, b in itertools.pairwise(cuts)]

    def _evenly(self) -> list[Span]:
        """The first version of a table: as large as chunks get, at the borders of digest blocks."""
        cuts = [*range(self._at.row, self._stop, self._limits.most), self._stop]
        if len(cuts) > 2 and cuts[-1] - cuts[-2] < self._limits.least // 8 and self._at.last:
            del cuts[-2]
        return [Span(a, b) for a, b in itertools.pairwise(cuts)]

    # --- cuts of the earlier version ----------------------------------------------------------------------------
    def _in_place(self) -> None:
        """Chunks of which some column that tells rows apart is unchanged at the same rows."""
        assert self._before is not None  # noqa: S101
        cuts, at = self._before.cuts, self._at
        if at.cut is not None:
            self._found[at.row] = at.cut
        equal = [
            _equal_blocks(self._before.blocks[c], at.blocks[c])
            for c in self._columns
            if c in self._before.blocks and c in at.blocks
        ]
        for cut, (a, b) in enumerate(itertools.pairwise(cuts)):
            if b <= at.row or a >= self._stop:
                continue
            first, last = a // digest.BLOCK, -(-b // digest.BLOCK)
            if any(last <= len(e) and e[first:last].all() for e in equal):
                self._keep(a, cut)
                self._keep(b, cut + 1)

    def _keep(self, row: int, cut: int) -> None:
        """Note a cut, except the end of a last chunk that is too small to be left behind by an append."""
        assert self._before is not None  # noqa: S101
        cuts = self._before.cuts
        short = cut == len(cuts) - 1 and cuts[-1] - cuts[-2] < self._limits.least
        if self._at.row <= row <= self._stop and (not short or row == self._stop):
            self._found.setdefault(row, cut)

    def _regions(self) -> list[tuple[int, int, int, int]]:
        """Stretches between cuts found so far, with the cuts of the earlier version that must lie in them."""
        assert self._before is not None  # noqa: S101
        rows = sorted(self._found)
        ends = [(r, self._found[r]) for r in rows]
        if not ends or ends[0][0] > self._at.row:
            ends.insert(0, (self._at.row, -1))
        if ends[-1][0] < self._stop:
            ends.append((self._stop, len(self._before.cuts)))
        return [(a, b, ca, cb) for (a, ca), (b, cb) in itertools.pairwise(ends) if cb - ca > 1]

    def _by_fingerprints(self) -> None:
        assert self._before is not None  # noqa: S101
        for column, rolling in self._rolling.items():
            prints = self._before.prints.get(column)
            if prints is None:
                continue
            for a, b, first, last in self._regions():
                if self._at_distance(a, b, first, last):
                    continue
                wanted = {p: c for c, p in enumerate(prints, 1) if first < c < last}
                for row, cut in self._search(rolling, wanted, a, b):
                    self._keep(row, cut)

    def _search(self, rolling: _Rolling, wanted: Mapping[int, int], a: int, b: int) -> list[tuple[int, int]]:
        """Rows with a wanted fingerprint, each fingerprint only if it is there once."""
        if not wanted:
            return []
        values = np.fromiter(wanted, np.uint64, len(wanted))
        table = np.zeros(1 << 16, bool)
        table[(values & np.uint64(0xFFFF)).astype(np.int64)] = True
        hits: dict[int, list[int]] = {}
        for row, sums in rolling.parts(a - self._at.row, b - self._at.row):
            for i in np.flatnonzero(table[(sums & np.uint64(0xFFFF)).astype(np.uint16)]):
                if (value := int(sums[i])) in wanted:
                    hits.setdefault(value, []).append(self._at.row + row + int(i))
        return sorted((rows[0], wanted[v]) for v, rows in hits.items() if len(rows) == 1)

    def _at_distance(self, a: int, b: int, first: int, last: int) -> bool:
        cuts = self._before.cuts if self._before is not None else ()
        return first >= 0 and last < len(cuts) and cuts[last] - cuts[first] == b - a

    def _by_distance(self) -> None:
        assert self._before is not None  # noqa: S101
        cuts = self._before.cuts
        if self._at.last and self._stop == cuts[-1]:
            self._keep(self._stop, len(cuts) - 1)
        for a, b, first, last in self._regions():
            if self._at_distance(a, b, first, last):
                for cut in range(first + 1, last):
                    self._found[a + cuts[cut] - cuts[first]] = cut
            elif first >= 0 and last == len(cuts) and (not self._at.last or b - a == cuts[-1] - cuts[first]):
                # Nothing after the last known cut was found again: every value changed, or other rows follow.
                for cut in range(first + 1, len(cuts)):
                    if (row := a + cuts[cut] - cuts[first]) < b:
                        self._keep(row, cut)

    def _chunk(self, a: int, b: int) -> int | None:
        """The chunk of the earlier version that lies between two rows, if it has as many rows."""
        if self._before is None:
            return None
        first, last = self._found.get(a), self._found.get(b)
        cuts = self._before.cuts
        if first is None and last is not None:
            first = last - 1
        if first is None or first < 0 or first + 1 >= len(cuts) or (last is not None and last != first + 1):
            return None
        return first if cuts[first + 1] - cuts[first] == b - a else None

    # --- new cuts -----------------------------------------------------------------------------------------------
    def _together(self, a: int, b: int) -> bool:
        """Between two cuts that stand, what fits into one chunk is one."""
        return b - a <= self._limits.most and (b in self._found or self._at.last) and a in self._found

    def _by_content(self, a: int, b: int) -> list[int]:
        least, most = self._limits.least, self._limits.most
        rolling = next(iter(self._rolling.values()), None)
        cuts = []
        while b - a > least:
            end = min(a + most, b)
            mark = self._mark(rolling, a + least, end) if rolling is not None else None
            a = end if mark is None else mark
            if a >= b:
                break
            cuts.append(a)
        return cuts

    def _mark(self, rolling: _Rolling, a: int, b: int) -> int | None:
        """The first row from ``a`` on, before ``b``, that its content marks."""
        mask = np.uint64(self._limits.least // 2 - 1)
        for row, sums in rolling.parts(a - self._at.row, b - 1 - self._at.row):
            with np.errstate(over="ignore"):
                mixed = (sums ^ (sums >> np.uint64(29))) * _MULTIPLY
            hits = np.flatnonzero((mixed >> np.uint64(40)) & mask == 0)
            if len(hits):
                return self._at.row + row + int(hits[0])
        return None

    def _without_crumbs(self, cuts: list[int]) -> list[int]:
        """Spans far too small join their neighbour, or repeated edits would leave thousands of them."""
        crumb = self._limits.least // 8
        kept = cuts[:1]
        for place, cut in enumerate(cuts[1:], 1):
            last = place == len(cuts) - 1
            if cut - kept[-1] < crumb and not last:
                continue
            if last and cut - kept[-1] < crumb and len(kept) > 1 and self._at.last:
                if self._found.get(cut) is not None and self._found.get(kept[-1]) is not None:
                    kept.append(cut)  # it was small in the earlier version too
                    continue
                kept.pop()
            kept.append(cut)
        return kept


def _equal_blocks(old: Sequence[bytes], new: Sequence[bytes]) -> np.ndarray:
    return np.fromiter((a == b for a, b in zip(old, new, strict=False)), bool, min(len(old), len(new)))
