"""Splits: the rows of a table assigned to train, test and other parts; the same rows again from the same seed.

Every part is a set of row numbers; no row is in two. Chance comes from our own generator, so that a split is the same
with every NumPy and on every platform: the key of row ``i`` is the splitmix64 finaliser of ``seed`` and ``i``, which
is one-to-one, and a part takes the rows with the lowest keys that are left. Sizes are exact, by largest remainder.

- ``random``: every row for itself.
- ``stratified``: within each class of a column; null is a class of its own.
- ``time``: by a column in ascending order, parts one after the other. Rows of one time are never parted, and a missing
  time is refused. Parts named train, validation, test and monitor follow each other in this order, whatever the order
  given; among other names the order given counts. Shares below 1 in all leave out the latest rows.
- ``group``: rows with one value of a column stay together, null being one such value; sizes are as near as that allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nbmlops.errors import InvalidValue, NotFound
from nbmlops.frames import encode
from nbmlops.frames.digest import contiguous
from nbmlops.frames.hashing import mix
from nbmlops.frames.rows import EXAMPLES, Rows, digests, grouped
from nbmlops.records import Finding

WAYS = ("random", "stratified", "time", "group")
GENERATOR = "splitmix64-1"  # stands in stored descriptions: another way of drawing gets another name
ORDER = ("train", "validation", "test", "monitor")
_NEAR = Fraction(1, 10**9)  # shares such as 0.1 + 0.2 + 0.7 are meant to sum to 1
_ODD = np.uint64(0x9E3779B97F4A7C15)
_REST = ""  # the part that nobody asked for: what shares below 1 leave out
_Assigned: TypeAlias = dict[str, np.ndarray]


@dataclass(frozen=True)
class Assignment:
    """What :func:`assign` found: per part its row numbers, ascending, and what is worth saying about them.

    ``boundaries`` are the first and last time of each part, ``rare`` the classes that some part has no row of.
    """

    rows: dict[str, np.ndarray]
    parts: dict[str, float | int]
    by: str
    column: str | None
    seed: int
    together: tuple[str, ...] = ()
    total: int = 0
    boundaries: dict[str, tuple[str, str]] = field(default_factory=dict)
    rare: tuple[str, ...] = ()

    @property
    def sizes(self) -> dict[str, int]:
        """The number of rows of each part."""
        return {name: len(found) for name, found in self.rows.items()}

    def describe(self, part: str, parent: str, digest: str) -> dict[str, Any]:
        """What a version made of one part says about its source, as JSON can carry it.

        Args:
            part: which part the version is.
            parent: the reference of the version that was split.
            digest: its digest: the same parent, split in the same way, gives the same parts.
        """
        return {
            "part": part,
            "of": parent,
            "digest": digest,
            "parts": dict(self.parts),
            "by": self.by,
            "column": self.column,
            "seed": self.seed,
            "together": list(self.together),
            "generator": GENERATOR,
            "rows": self.total,
            "sizes": self.sizes,
            **({"boundaries": {k: list(v) for k, v in self.boundaries.items()}} if self.boundaries else {}),
            **({"rare": list(self.rare)} if self.rare else {}),
        }


def parse_parts(text: str) -> dict[str, float | int]:
    """``train=0.8,test=0.2`` or ``train=1000,test=200`` as parts.

    Raises:
        InvalidValue: an entry that is no name with a number, or a name given twice; all of them at once.
    """
    parts: dict[str, float | int] = {}
    faults = []
    for entry in text.split(","):
        name, equals, amount = (word.strip() for word in entry.partition("="))
        try:
            value = int(amount) if amount.isdecimal() else float(amount)
        except ValueError:
            faults.append(f"{entry.strip()!r} is not NAME=NUMBER")
            continue
        if not equals or not name or name in parts:
            faults.append(f"{name!r} is given twice" if name in parts else f"{entry.strip()!r} has no name")
        parts[name] = value
    if faults:
        raise InvalidValue.of("parts", faults, "write train=0.8,test=0.2, or numbers of rows")
    return parts


def needed(by: str, column: str | None, together: Sequence[str] = ()) -> list[str]:
    """The columns that :func:`assign` reads: nothing else has to be loaded."""
    return list(dict.fromkeys([*([column] if column and by != "random" else []), *together]))


def assign(
    data: pa.Table | int,
    parts: Mapping[str, float | int],
    *,
    by: str = "random",
    column: str | None = None,
    seed: int = 0,
    together: Sequence[str] = (),
    rare: str = "refuse",
) -> Assignment:
    """Assign rows to parts.

    Args:
        data: a table with at least the :func:`needed` columns; for a random split its number of rows is enough.
        parts: shares (all below 1 in sum, or 1), or numbers of rows (whole numbers), by name.
        by: ``random``, ``stratified``, ``time`` or ``group``.
        column: the class, the time or the group; none for ``random``.
        seed: another seed gives other parts; ``time`` uses none.
        together: columns whose equal values must not be parted, for ``random``. All columns keep duplicates together.
        rare: a class with fewer rows than parts cannot be in each of them: ``refuse`` it, or ``spread`` its rows.

    Raises:
        InvalidValue: shares above 1, a part without rows, too few rows in a class, missing times: all at once.
        NotFound: there is no such column.
    """
    total = data if isinstance(data, int) else data.num_rows
    faults = _request_faults(parts, by, column, together, rare)
    faults += [f"seed is {seed!r}, and a whole number is needed"] * (
        isinstance(seed, bool) or not isinstance(seed, int)
    )
    if faults:
        raise InvalidValue.of("split", faults, _HINT)
    names = needed(by, column, together)
    if names and isinstance(data, int):
        raise InvalidValue("the columns to split by are not there", f"give a table with {', '.join(names)}")
    for name in names:
        if name not in data.column_names:  # type: ignore[union-attr]
            raise NotFound.of("column", name, data.column_names)  # type: ignore[union-attr]
    order = _chronological(parts) if by == "time" else dict(parts)
    wanted = _sizes(order, total, faults)
    work = _Work(data, order, wanted, total, seed, faults)
    found = getattr(work, f"by_{'group' if together else by}")(names, rare)
    empty = [n for n in parts if not len(found.get(n, ())) and wanted.get(n)]
    faults += [f"part {n!r} would have no rows" for n in empty]
    if faults:
        raise InvalidValue.of("split", list(dict.fromkeys(faults)), _HINT)
    rows = {name: found[name] for name in parts}
    noted = {"total": total, "boundaries": work.boundaries, "rare": tuple(work.rare)}
    return Assignment(rows, dict(parts), by, column, seed, tuple(together), **noted)  # type: ignore[arg-type]


_HINT = "parts are shares such as train=0.8,test=0.2 or numbers of rows; by is random, stratified, time or group"


def _request_faults(
    parts: Mapping[str, float | int], by: str, column: str | None, together: Sequence[str], rare: str
) -> list[str]:
    faults = [f"by is {by!r}, and is one of {', '.join(WAYS)}"] * (by not in WAYS)
    faults += [f"rare is {rare!r}, and is refuse or spread"] * (rare not in {"refuse", "spread"})
    if by in WAYS:
        faults += [f"by {by} needs a column"] * (by != "random" and not column)
        faults += ["by random takes no column; use by=stratified or by=group"] * (by == "random" and bool(column))
        faults += [f"together goes with by=random, not with by={by}"] * (by != "random" and bool(together))
    faults += ["there are no parts"] * (not parts)
    wrong = [n for n, v in parts.items() if isinstance(v, bool) or not isinstance(v, int | float) or not 0 < v < 2**62]
    faults += [f"part {n!r} is {parts[n]!r}, and a share or a number of rows above zero is needed" for n in wrong]
    kinds = {isinstance(v, int) and not isinstance(v, bool) for v in parts.values()}
    if len(kinds) == 2:
        faults.append("shares and numbers of rows are mixed: " + ", ".join(f"{n}={v}" for n, v in parts.items()))
    elif not wrong and kinds == {False} and (total := _total(parts)) > 1 + _NEAR:
        faults.append(f"the shares sum to {float(total):g}, which is more than 1")
    return faults


def _total(parts: Mapping[str, float | int]) -> Fraction:
    return sum((Fraction(str(v)) for v in parts.values()), Fraction(0))


def _chronological(parts: Mapping[str, float | int]) -> dict[str, float | int]:
    """Parts in the order of their rows in time."""
    if all(name in ORDER for name in parts):
        return {name: parts[name] for name in ORDER if name in parts}
    return dict(parts)


def _shares(parts: Mapping[str, float | int], total: int) -> dict[str, Fraction]:
    """Exact shares of all parts and, last, of the rest; they sum to 1."""
    if all(isinstance(v, int) for v in parts.values()):
        shares = {n: Fraction(int(v), max(1, total)) for n, v in parts.items()}
    else:
        shares = {n: Fraction(str(v)) for n, v in parts.items()}
        whole = sum(shares.values(), Fraction(0))
        if abs(whole - 1) <= _NEAR:
            shares = {n: v / whole for n, v in shares.items()}
    return {**shares, _REST: 1 - sum(shares.values(), Fraction(0))}


def _sizes(parts: Mapping[str, float | int], total: int, faults: list[str]) -> dict[str, int]:
    """How many rows each part gets, by largest remainder; parts that would get none are faults."""
    if all(isinstance(v, int) for v in parts.values()) and (asked := sum(int(v) for v in parts.values())) > total:
        faults.append(f"{asked:,} rows are asked for, and there are {total:,}")
        return {**{n: int(v) for n, v in parts.items()}, _REST: 0}
    shares = _shares(parts, total)
    sizes = apportion([s * total for s in shares.values()], total)
    found = dict(zip(shares, sizes, strict=True))
    for name in parts:
        if not found[name]:
            faults.append(f"part {name!r} would have no rows: {parts[name]:g} of {total:,}")
    return found


def apportion(quotas: Sequence[Fraction], total: int, carry: Sequence[Fraction] | None = None) -> list[int]:
    """Whole numbers that sum to ``total``, each a quota rounded down or up: the largest remainders are rounded up.

    ``carry`` is added to the remainders when they are compared; of equal ones the first wins (Hamilton's method).
    """
    floors = [int(q) for q in quotas]
    extra = carry or [Fraction(0)] * len(floors)
    partial = [i for i, q in enumerate(quotas) if q != floors[i]]
    best = sorted(partial, key=lambda i: (-(quotas[i] - floors[i] + extra[i]), i))
    for i in best[: total - sum(floors)]:
        floors[i] += 1
    return floors


class _Work:
    """One assignment in progress; faults and notes are collected."""

    def __init__(
        self,
        data: pa.Table | int,
        parts: Mapping[str, float | int],
        wanted: dict[str, int],
        total: int,
        seed: int,
        faults: list[str],
    ) -> None:
        self.data, self.parts, self.wanted, self.total, self.faults = data, parts, wanted, total, faults
        self.salt = mix(np.array([seed & (2**64 - 1)], np.uint64) + _ODD)[0]
        self.boundaries: dict[str, tuple[str, str]] = {}
        self.rare: list[str] = []

    def keys(self, numbers: np.ndarray) -> np.ndarray:
        """One number per given one, different for different ones, in an order that looks random."""
        return mix((numbers.astype(np.uint64) + np.uint64(1)) * _ODD + self.salt)

    def lowest(self, rows: np.ndarray, sizes: Mapping[str, int]) -> _Assigned:
        """Cut rows into parts of these sizes by their keys; ascending within each part."""
        keys = self.keys(rows)
        cuts = np.cumsum([0, *sizes.values()])
        inner = [int(c) for c in cuts[1:-1] if 0 < c < len(keys)]
        ordered = np.partition(keys, inner) if inner else keys
        found = {}
        for name, low, high in zip(sizes, cuts, cuts[1:], strict=False):
            if low == high:
                found[name] = np.zeros(0, np.int64)
                continue
            inside = np.ones(len(keys), bool)
            if low > 0:
                inside &= keys >= ordered[low]
            if high < len(keys):
                inside &= keys < ordered[high]
            found[name] = rows[inside]
        return found

    def by_random(self, names: list[str], rare: str) -> _Assigned:
        return {} if self.faults else self.lowest(np.arange(self.total), self.wanted)

    # --- classes --------------------------------------------------------------------------------------------------
    def by_stratified(self, names: list[str], rare: str) -> _Assigned:
        assert isinstance(self.data, pa.Table)  # noqa: S101  (assign has looked)
        order, starts = grouped(digests(self.data, names))
        ends = np.append(starts[1:], self.total)
        few = [(s, e - s) for s, e in zip(starts, ends, strict=True) if e - s < len(self.parts)]
        if few and rare == "refuse":
            shown = ", ".join(f"{self._label(names[0], order[s])} ({n})" for s, n in few[:EXAMPLES])
            more = f" and {len(few) - EXAMPLES} more" if len(few) > EXAMPLES else ""
            text = f"{len(few)} classes of {names[0]!r} have fewer rows than the {len(self.parts)} parts: {shown}{more}"
            self.faults.append(f"{text}; rare='spread' gives their rows to some of the parts")
        if self.faults:
            return {}
        shares = list(_shares(self.parts, self.total).values())
        found: dict[str, list[np.ndarray]] = {name: [] for name in self.wanted}
        carry = [Fraction(0)] * len(shares)
        for start, end in zip(starts, ends, strict=True):
            quotas = [s * int(end - start) for s in shares]
            sizes = apportion(quotas, int(end - start), carry)
            carry = [c + q - n for c, q, n in zip(carry, quotas, sizes, strict=True)]
            named = dict(zip(self.wanted, sizes, strict=True))
            if not all(named[n] for n in self.parts):
                self.rare.append(self._label(names[0], order[start]))
            for name, rows in self.lowest(order[start:end], named).items():
                found[name].append(rows)
        return {name: np.sort(np.concatenate(rows)) for name, rows in found.items()}

    def _label(self, column: str, row: int) -> str:
        assert isinstance(self.data, pa.Table)  # noqa: S101  (assign has looked)
        return repr(self.data.column(column)[int(row)].as_py())[:60]

    # --- groups ---------------------------------------------------------------------------------------------------
    def by_group(self, names: list[str], rare: str) -> _Assigned:
        """Large groups first, each to the part that is emptiest for its size and still has room; then the single rows.

        The order among groups of one size comes from what they hold, so that it does not depend on the rows' order.
        """
        assert isinstance(self.data, pa.Table)  # noqa: S101  (assign has looked)
        if self.faults:
            return {}
        keys = digests(self.data, names)
        order, starts = grouped(keys)
        sizes = np.diff(np.append(starts, self.total))
        drawn = self.keys(keys[order[starts], 0] if self.total else np.zeros(0, np.uint64))
        many = np.flatnonzero(sizes > 1)
        many = many[np.lexsort((drawn[many], -sizes[many]))]
        home, left = self._placed(sizes[many])
        place = np.full(len(starts), -1, np.int64)
        place[many] = home
        ones = np.flatnonzero(sizes == 1)
        ones = ones[np.argsort(drawn[ones], kind="stable")]
        place[ones] = np.repeat(np.arange(len(left)), _filled(left, len(ones)))
        part_of = np.empty(self.total, np.int64)
        part_of[order] = np.repeat(place, sizes)
        return {name: np.flatnonzero(part_of == i) for i, name in enumerate(self.wanted)}

    def _placed(self, sizes: np.ndarray) -> tuple[list[int], list[int]]:
        """The part of each group, and how many rows each part still wants."""
        wanted = list(self.wanted.values())
        left, home = list(wanted), []
        for size in sizes.tolist():
            fits = [i for i, n in enumerate(left) if n >= size]
            best = max(fits, key=lambda i: left[i] / wanted[i]) if fits else max(range(len(left)), key=left.__getitem__)
            left[best] -= size
            home.append(best)
        return home, left

    # --- time -----------------------------------------------------------------------------------------------------
    def by_time(self, names: list[str], rare: str) -> _Assigned:
        assert isinstance(self.data, pa.Table)  # noqa: S101  (assign has looked)
        column = encode.plain(self.data.column(names[0]))
        if isinstance(column.type, pa.BaseExtensionType):
            column = pa.chunked_array([c.storage for c in column.chunks], column.type.storage_type)
        values = contiguous(column)
        missing = values.null_count
        if pa.types.is_floating(values.type):
            missing += int(pc.sum(pc.is_nan(values)).as_py() or 0)
        if missing:
            self.faults.append(f"{missing:,} rows have no {names[0]!r}; leave them out, or fill them first")
        try:
            ranks = np.asarray(pc.rank(values, sort_keys="ascending", tiebreaker="dense")).astype(np.int64) - 1
        except pa.ArrowException:
            self.faults.append(f"column {names[0]!r} of type {values.type} has no order")
        if self.faults:
            return {}
        ends = np.cumsum(np.bincount(ranks)) if len(ranks) else np.zeros(0, np.int64)
        return self._cut(ranks, ends, values)

    def _cut(self, ranks: np.ndarray, ends: np.ndarray, values: pa.Array) -> _Assigned:
        """Each cut goes to the nearest place between two times; of two equally near the earlier."""
        found: _Assigned = {}
        places, low = np.concatenate([[0], ends]), 0
        for name, cut in zip(self.wanted, np.cumsum(list(self.wanted.values())), strict=True):
            after = int(np.searchsorted(places, cut))
            earlier = places[after] != cut and cut - places[after - 1] <= places[after] - cut
            high = max(low, after - earlier)
            found[name] = np.flatnonzero((ranks >= low) & (ranks < high))
            if high > low and name != _REST:
                edges = (int(np.argmax(ranks == low)), int(np.argmax(ranks == high - 1)))
                self.boundaries[name] = (str(values[edges[0]].as_py()), str(values[edges[1]].as_py()))
            low = high
        return found


def disjoint(rows: Mapping[str, np.ndarray], data: Rows, columns: Sequence[str] | None = None) -> list[Finding]:
    """Whether parts share a row, which blocks, and whether equal rows stand in two parts, which warns.

    Args:
        rows: row numbers by part, as in :class:`Assignment`.
        data: what was split, whole or in chunks.
        columns: what makes rows equal; all by default.
    """
    keys = digests(data, columns)
    home = np.full(len(keys), -1, np.int64)
    twice = 0
    for place, numbers in enumerate(rows.values()):
        twice += int((home[numbers] >= 0).sum())
        home[numbers] = place
    found = [_row_finding(twice, rows)]
    inside = np.flatnonzero(home >= 0)
    order, starts = grouped(keys[inside])
    parts = home[inside][order]
    low, high = (f.reduceat(parts, starts) if len(starts) else parts for f in (np.minimum, np.maximum))
    torn = np.flatnonzero(low != high)
    asked = "equal rows are on one side"
    if not len(torn):
        return [*found, Finding("split.equal_rows", "pass", asked, "no two parts hold equal rows")]
    ends = np.append(starts[1:], len(order))
    counted = int((ends - starts)[torn].sum())
    shown = "; ".join(str(sorted(inside[order[starts[g] : ends[g]]].tolist())[:EXAMPLES]) for g in torn[:EXAMPLES])
    seen = f"{counted:,} rows have an equal one in another part ({len(torn):,} distinct rows): rows {shown}"
    return [*found, Finding("split.equal_rows", "warn", asked, seen, "keep them together: together=[columns]")]


def _row_finding(twice: int, rows: Mapping[str, np.ndarray]) -> Finding:
    asked = "no row is in two parts"
    if twice:
        return Finding("split.rows", "block", asked, f"{twice:,} rows are", "split again")
    sizes = ", ".join(f"{name} {len(numbers):,}" for name, numbers in rows.items())
    return Finding("split.rows", "pass", asked, sizes)


def _filled(left: Sequence[int], rows: int) -> list[int]:
    """How many of the single rows each part gets: what it still wants, less where larger groups took too much."""
    wanted = [max(0, n) for n in left]
    over = sum(wanted) - rows
    for i in sorted(range(len(wanted)), key=lambda i: -wanted[i]):
        taken = min(over, wanted[i])
        wanted[i] -= taken
        over -= taken
    return wanted
