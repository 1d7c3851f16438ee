"""What two stored tables share, from their schemas and chunk digests alone: nothing is read yet."""

from __future__ import annotations

import difflib
import itertools
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from nbmlops.frames.digest import logical_type


class Chunk(Protocol):
    """A stretch of rows. ``digests``: field -> digest of type and values of these rows; empty if unknown."""

    @property
    def rows(self) -> int: ...

    @property
    def digests(self) -> Mapping[str, str]: ...


class Stored(Protocol):
    """A stored table: its fields, index levels of pandas included, and its chunks in row order."""

    @property
    def schema(self) -> pa.Schema: ...

    @property
    def chunks(self) -> Sequence[Chunk]: ...

    def read(self, chunk: int, fields: Sequence[str] | None = None) -> pa.Table:
        """The rows of one chunk, of these fields in this order."""
        ...


@dataclass(frozen=True)
class Columns:
    """The columns of two tables. ``shared`` have one name and one type (not counting its encoding)."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    renamed: dict[str, str]
    retyped: dict[str, tuple[str, str]]
    moved: bool
    shared: tuple[str, ...]


@dataclass(frozen=True)
class Stretch:
    """Chunks of both sides between what stayed; ``level`` if they are the same number of rows."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    level: bool
    differing: tuple[str, ...]  # shared fields that are not known to be equal here


@dataclass(frozen=True)
class Plan:
    """``stretches`` are what must be compared; ``moved`` says that equal chunks stand in another order."""

    stretches: tuple[Stretch, ...]
    moved: bool


def columns(before: Stored, after: Stored, types: tuple[Mapping[str, str], Mapping[str, str]] | None) -> Columns:
    """Which columns came, went, got another name or type.

    ``types`` says for both sides how each type is shown, and so which count as different; None means the Arrow types.
    """
    old, new = before.schema, after.schema
    kinds = types or tuple({f.name: str(f.type) for f in s} for s in (old, new))
    both = [n for n in old.names if n in new.names]
    removed = [n for n in old.names if n not in new.names]
    added = [n for n in new.names if n not in old.names]
    renamed = _renamed((before, after), removed, added)
    return Columns(
        tuple(n for n in added if n not in renamed.values()),
        tuple(n for n in removed if n not in renamed),
        renamed,
        {n: (kinds[0][n], kinds[1][n]) for n in both if kinds[0][n] != kinds[1][n]},
        both != [n for n in new.names if n in old.names],
        tuple(n for n in both if logical_type(old.field(n).type) == logical_type(new.field(n).type)),
    )


def _renamed(sides: tuple[Stored, Stored], removed: Sequence[str], added: Sequence[str]) -> dict[str, str]:
    """Columns with the same digests under another name; of several candidates the first in order."""
    candidates: defaultdict[Any, deque[str]] = defaultdict(deque)
    for name in added:
        candidates[signatures(sides[1], [name])].append(name)
    found = {}
    for name in removed:
        own = signatures(sides[0], [name])
        if own and None not in own and candidates.get(own):
            found[name] = candidates[own].popleft()
    return found


def signatures(stored: Stored, fields: Sequence[str]) -> tuple[Any, ...]:
    """For each chunk what its values of these fields are known by; None where no digest is."""
    made = []
    for chunk in stored.chunks:
        digests = tuple(chunk.digests.get(f) for f in fields)
        made.append(None if None in digests else (chunk.rows, digests))
    return tuple(made)


def plan(before: Stored, after: Stored, fields: Sequence[str]) -> Plan:
    """Which chunks must be compared, by the fields that both sides have: chunks that both hold cancel out."""
    own = [_unique(signatures(s, fields), side) for side, s in enumerate((before, after))]
    gaps = _gaps(own)
    left = Counter(own[0][i] for b, _ in gaps for i in b) & Counter(own[1][i] for _, a in gaps for i in a)
    drop = (left, Counter(left))
    stretches = []
    for gap in gaps:
        kept = [[i for i in side if not _take(drop[place], own[place][i])] for place, side in enumerate(gap)]
        if kept[0] or kept[1]:
            stretches.append(_stretch((before, after), kept, fields))
    return Plan(tuple(stretches), bool(left))


def _unique(found: Sequence[Any], side: int) -> list[Any]:
    """Chunks of which nothing is known are like no other."""
    return [(side, place) if s is None else s for place, s in enumerate(found)]


def _gaps(own: Sequence[Sequence[Any]]) -> list[tuple[range, range]]:
    """The chunks between those that stand in both in the same order."""
    matcher = difflib.SequenceMatcher(None, own[0], own[1], autojunk=False)
    made, a, b = [], 0, 0
    for block in matcher.get_matching_blocks():
        if block.a > a or block.b > b:
            made.append((range(a, block.a), range(b, block.b)))
        a, b = block.a + block.size, block.b + block.size
    return made


def _take(counts: Counter[Any], item: Any) -> bool:
    if counts[item] <= 0:
        return False
    counts[item] -= 1
    return True


def _stretch(sides: tuple[Stored, Stored], kept: Sequence[Sequence[int]], fields: Sequence[str]) -> Stretch:
    chunks = [[s.chunks[i] for i in k] for s, k in zip(sides, kept, strict=True)]
    rows = [sum(c.rows for c in side) for side in chunks]
    differing = tuple(f for f in fields if not _known_equal(chunks[0], chunks[1], f))
    return Stretch(tuple(kept[0]), tuple(kept[1]), rows[0] == rows[1], differing)


def _known_equal(old: Sequence[Chunk], new: Sequence[Chunk], field: str) -> bool:
    if len(old) != len(new):
        return False
    pairs = zip(old, new, strict=True)
    return all(a.rows == b.rows and a.digests.get(field, 0) == b.digests.get(field, 1) for a, b in pairs)


def offsets(stored: Stored) -> list[int]:
    """The number of the first row of each chunk."""
    return list(itertools.accumulate((c.rows for c in stored.chunks), initial=0))
