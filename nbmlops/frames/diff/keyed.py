"""Rows compared by a key: which were added, removed or changed, and which of their values."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from nbmlops.errors import InvalidValue
from nbmlops.frames import hashing
from nbmlops.frames.diff.plan import Plan, signatures
from nbmlops.frames.diff.reading import Side, places
from nbmlops.frames.diff.rows import Found, changed_cells, example
from nbmlops.frames.diff.sets import RowSets, grouped

_NAMED = 5  # duplicate keys that an error names
_Repeated: TypeAlias = tuple[int, int, int]  # side that holds it, place, rows


def compare(sides: tuple[Side, Side], plan: Plan, fields: tuple[Sequence[str], Sequence[str]], examples: int) -> Found:
    """Rows by key; ``fields`` are those of the key and the other shared ones.

    Chunks with the same keys in the same order are compared cell by cell, where their digests differ; the rows of the
    others are joined by the 128-bit hash of their key.

    Raises:
        InvalidValue: a key stands on several rows of one side.
    """
    key, rest = fields
    check_unique(sides, key)
    found = Found()
    pairs, left = _pair(sides, plan, key)
    found.settled = not (plan.moved or left[0] or left[1])
    for old, new in pairs:
        _same_keys(sides, (old, new), (key, rest), (found, examples))
    with RowSets(3 + len(rest)) as sets:
        for side, chunks in enumerate(left):
            for chunk in chunks:
                _add(sets, (sides[side], side), chunk, (key, rest))
        lone: list[list[int]] = [[], []]
        for bucket in sets.buckets():
            _join(sides, bucket, (key, rest), (found, lone, examples))
    words = (("removed", "before"), ("added", "after"))
    for side, (word, name) in enumerate(words):
        for place in sorted(lone[side])[: max(0, examples - len(found.examples))]:
            head = {"change": word, "key": sides[side].values(place, key)}
            found.examples.append({**head, name: sides[side].values(place, rest)})
    return found


def _pair(
    sides: tuple[Side, Side], plan: Plan, key: Sequence[str]
) -> tuple[list[tuple[int, int]], tuple[list[int], list[int]]]:
    """Chunks that differ and hold the same keys in the same order, and those of both sides that are left."""
    old, new = (signatures(s.stored, key) for s in sides)
    waiting: defaultdict[Any, deque[int]] = defaultdict(deque)
    for stretch in plan.stretches:
        for chunk in stretch.after:
            waiting[new[chunk]].append(chunk)
    waiting.pop(None, None)
    pairs, left = [], []
    for chunk in (c for s in plan.stretches for c in s.before):
        if waiting.get(old[chunk]):
            pairs.append((chunk, waiting[old[chunk]].popleft()))
        else:
            left.append(chunk)
    taken = {b for _, b in pairs}
    return pairs, (left, [c for s in plan.stretches for c in s.after if c not in taken])


def _same_keys(
    sides: tuple[Side, Side],
    pair: tuple[int, int],
    fields: tuple[Sequence[str], Sequence[str]],
    into: tuple[Found, int],
) -> None:
    (old, new), (key, rest), (found, examples) = pair, fields, into
    was, now = sides[0].stored.chunks[old].digests, sides[1].stored.chunks[new].digests
    names = [n for n in rest if was.get(n, 0) != now.get(n, 1)]
    differ = changed_cells((sides, names), (old, 0, new, 0, sides[0].stored.chunks[old].rows), found)
    if not differ:
        return
    changed = np.flatnonzero(np.logical_or.reduce(list(differ.values())))
    found.changed += len(changed)
    for row in changed[: max(0, examples - len(found.examples))].tolist():
        places_ = (old << 32) + row, (new << 32) + row
        told = [n for n, mask in differ.items() if mask[row]]
        found.examples.append(example(sides, places_, told, {"key": sides[0].values(places_[0], key)}))


def _add(sets: RowSets, where: tuple[Side, int], chunk: int, fields: tuple[Sequence[str], Sequence[str]]) -> None:
    """Of each row the hash of its key, its place, and one hash for each other field: only pairs are compared by it."""
    (side, number), (key, rest) = where, fields
    table = side.read(chunk, [*key, *rest])
    hashes = hashing.row_hashes(table.select(list(key)))
    others = [hashing.column_hashes(table.column(n))[0] for n in rest]
    sets.add(number, np.column_stack([hashes, places(chunk, table.num_rows), *others]))


def _join(
    sides: tuple[Side, Side],
    bucket: Sequence[np.ndarray],
    fields: tuple[Sequence[str], Sequence[str]],
    into: tuple[Found, list[list[int]], int],
) -> None:
    (key, rest), (found, lone, examples) = fields, into
    both = np.concatenate(bucket)
    if not len(both):
        return
    order, starts = grouped(both)
    sizes = np.diff(np.append(starts, len(order)))  # one or two, because keys are unique on each side
    single = order[starts[sizes == 1]]
    for side, own in enumerate((single[single < len(bucket[0])], single[single >= len(bucket[0])])):
        lone[side] = sorted([*lone[side], *np.sort(both[own, 2])[:examples].tolist()])[:examples]
        if side:
            found.added += len(own)
        else:
            found.removed += len(own)
    twice = starts[sizes == 2]
    old, new = both[order[twice]], both[order[twice + 1]]  # the order is stable: before comes first
    differ = old[:, 3:] != new[:, 3:]
    for place, name in enumerate(rest):
        found.count_cells(name, int(np.count_nonzero(differ[:, place])))
    changed = np.flatnonzero(differ.any(axis=1))
    found.changed += len(changed)
    for row in changed[: max(0, examples - len(found.examples))]:
        pair = int(old[row, 2]), int(new[row, 2])
        names = [n for n, other in zip(rest, differ[row], strict=True) if other]
        found.examples.append(example(sides, pair, names, {"key": sides[0].values(pair[0], key)}))


# --- one row for each key -----------------------------------------------------------------------------------------
def check_unique(sides: tuple[Side, Side], key: Sequence[str]) -> None:
    """See that no key stands on two rows of one side; chunks that both sides hold are read once.

    Raises:
        InvalidValue: names how many do, and some of them, for both sides at once.
    """
    own = [signatures(s.stored, key) for s in sides]
    common = Counter(s for s in own[0] if s is not None) & Counter(s for s in own[1] if s is not None)
    repeated: list[list[_Repeated]] = [[], []]
    with RowSets(3, sides=3) as sets:  # what both hold, what only the first, what only the second
        for number, side in enumerate(sides):
            left = Counter(common)
            for chunk, signature in enumerate(own[number]):
                shared = left[signature] > 0
                left[signature] -= shared
                if not (shared and number):
                    table = side.read(chunk, key)
                    rows = np.column_stack([hashing.row_hashes(table), places(chunk, table.num_rows)])
                    sets.add(0 if shared else number + 1, rows)
        for both, *others in sets.buckets():
            ordered = np.sort(both[:, 0])
            for number, more in enumerate(others):
                if _may_repeat(ordered, more[:, 0]):
                    repeated[number] += _repeated((both, more), number)
    faults = [_told(sides, key, (number, some)) for number, some in enumerate(repeated) if some]
    if faults:
        what = f"the key {', '.join(key)} is not one"
        raise InvalidValue.of(what, faults, "name columns that tell every row apart, or compare without a key")


def _may_repeat(ordered: np.ndarray, more: np.ndarray) -> bool:
    """Whether a 64-bit hash occurs twice; nearly always the answer is no, and nothing else needs to be done."""
    more = np.sort(more)
    if (ordered[1:] == ordered[:-1]).any() or (more[1:] == more[:-1]).any():
        return True
    if not len(ordered):
        return False
    found = np.minimum(np.searchsorted(ordered, more), len(ordered) - 1)
    return bool((ordered[found] == more).any())


def _repeated(rows: tuple[np.ndarray, np.ndarray], number: int) -> list[_Repeated]:
    both = np.concatenate(rows)
    order, starts = grouped(both)
    sizes = np.diff(np.append(starts, len(order)))
    several = starts[sizes > 1]
    # Rows of chunks that both sides hold were read from the first.
    homes = np.where(order[several] < len(rows[0]), 0, number)
    return [
        (int(home), int(place), int(size))
        for home, place, size in zip(homes, both[order[several], 2], sizes[sizes > 1], strict=True)
    ]


def _told(sides: tuple[Side, Side], key: Sequence[str], found: tuple[int, Sequence[_Repeated]]) -> str:
    number, repeated = found
    named = [
        f"{', '.join(f'{k}={v!r}' for k, v in sides[home].values(place, key).items())} on {size} rows"
        for home, place, size in sorted(repeated, key=lambda r: (-r[2], r[1]))[:_NAMED]
    ]
    more = f" and {len(repeated) - _NAMED} more" if len(repeated) > _NAMED else ""
    return f"{('before', 'after')[number]}: {'; '.join(named)}{more}"
