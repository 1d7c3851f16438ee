"""Rows compared without a key: as a multiset, and cell by cell where rows stand side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nbmlops.frames import hashing
from nbmlops.frames.diff.plan import Plan, Stretch
from nbmlops.frames.diff.reading import Side, pieces, places, unequal
from nbmlops.frames.diff.sets import RowSets, grouped


@dataclass
class Found:
    """What a comparison of rows found so far; ``examples`` are dicts for ``DatasetDiff``.

    ``settled`` says that every row stands where it stood, so a column without changed cells is unchanged.
    """

    added: int = 0
    removed: int = 0
    changed: int = 0
    cells: dict[str, int] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)
    settled: bool = False

    def count_cells(self, name: str, amount: int) -> None:
        """Further changed values of a column."""
        if amount:
            self.cells[name] = self.cells.get(name, 0) + amount


def compare(sides: tuple[Side, Side], plan: Plan, fields: Sequence[str], examples: int) -> Found:
    """Rows added and removed as multisets, and changed cells where a stretch has as many rows before as after."""
    found, level = Found(settled=not plan.moved and all(s.level for s in plan.stretches)), 0
    with RowSets(3) as sets:
        for stretch in plan.stretches:
            if stretch.level:
                level += sum(sides[0].stored.chunks[i].rows for i in stretch.before)
                _side_by_side(sides, stretch, fields, (found, sets, examples))
            else:
                for side, chunks in enumerate((stretch.before, stretch.after)):
                    for chunk in chunks:
                        _add(sets, (sides, side), (chunk, fields), None)
        lost: list[list[int]] = [[], []]
        for bucket in sets.buckets():
            added, removed = _multiset(bucket, lost, examples)
            found.added += added
            found.removed += removed
    if found.changed * 2 > level and found.removed * 2 < found.changed:
        # Most rows differ from those at their place and yet are still there: they moved.
        found.changed, found.cells, found.examples, found.settled = 0, {}, [], False
    if not found.examples:
        found.examples = [_lone(sides, side, place, fields) for side in (0, 1) for place in sorted(lost[side])][
            :examples
        ]
    return found


def _lone(sides: tuple[Side, Side], side: int, place: int, fields: Sequence[str]) -> dict[str, Any]:
    word, name = (("removed", "before"), ("added", "after"))[side]
    return {"change": word, "row": sides[side].row(place), name: sides[side].values(place, fields)}


def _side_by_side(
    sides: tuple[Side, Side], stretch: Stretch, fields: Sequence[str], into: tuple[Found, RowSets, int]
) -> None:
    found, sets, examples = into
    for old, start, new, begin, amount in pieces(sides, stretch):
        differ = changed_cells((sides, stretch.differing), (old, start, new, begin, amount), found)
        changed = np.flatnonzero(np.logical_or.reduce(list(differ.values()))) if differ else np.zeros(0, np.int64)
        if not len(changed):
            continue
        found.changed += len(changed)
        for row in changed[: examples - len(found.examples)] if examples > len(found.examples) else ():
            pair = (old << 32) + start + int(row), (new << 32) + begin + int(row)
            names = [n for n, mask in differ.items() if mask[row]]
            found.examples.append(example(sides, pair, names, {"row": sides[0].row(pair[0])}))
        _add(sets, (sides, 0), (old, fields), changed + start)
        _add(sets, (sides, 1), (new, fields), changed + begin)


def changed_cells(
    where: tuple[tuple[Side, Side], Sequence[str]], piece: tuple[int, int, int, int, int], found: Found
) -> dict[str, np.ndarray]:
    """For each field with changed values in a piece, where they are; they are counted."""
    sides, fields = where
    old, start, new, begin, amount = piece
    if not fields:
        return {}
    before = sides[0].read(old, fields).slice(start, amount)
    after = sides[1].read(new, fields).slice(begin, amount)
    masks = {n: unequal(before.column(n), after.column(n)) for n in fields}
    for name, mask in masks.items():
        found.count_cells(name, int(np.count_nonzero(mask)))
    return {n: mask for n, mask in masks.items() if mask.any()}


def example(
    sides: tuple[Side, Side], pair: tuple[int, int], names: Sequence[str], head: dict[str, Any]
) -> dict[str, Any]:
    """One changed row: the values of its changed columns before and after."""
    before, after = (side.values(place, names) for side, place in zip(sides, pair, strict=True))
    return {"change": "changed", **head, "before": before, "after": after}


def _add(
    sets: RowSets, where: tuple[tuple[Side, Side], int], what: tuple[int, Sequence[str]], rows: np.ndarray | None
) -> None:
    """The hashes and places of a chunk's rows, or of some of them."""
    (sides, side), (chunk, fields) = where, what
    table = sides[side].read(chunk, fields)
    place = places(chunk, table.num_rows)
    if rows is not None and len(rows) < table.num_rows:
        table, place = table.take(rows), place[rows]
    sets.add(side, np.column_stack([hashing.row_hashes(table), place]))


def _multiset(bucket: Sequence[np.ndarray], lost: list[list[int]], examples: int) -> tuple[int, int]:
    """How many rows the second side has more than the first, and the first more than the second."""
    both = np.concatenate(bucket)
    if not len(both):
        return 0, 0
    order, starts = grouped(both)
    second = (order >= len(bucket[0])).astype(np.int64)
    has = np.add.reduceat(second, starts)
    had = np.diff(np.append(starts, len(order))) - has
    kept = int(np.minimum(had, has).sum())
    for side, only in enumerate(((has == 0), (had == 0))):
        where = both[order[starts[only]], 2]
        lost[side] = sorted([*lost[side], *np.sort(where)[:examples].tolist()])[:examples]
    return len(bucket[1]) - kept, len(bucket[0]) - kept
