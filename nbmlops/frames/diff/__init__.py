"""What changed between two stored tables: chunk digests first, then only what they do not explain.

``changes`` reads the chunks that differ, one of each side at a time. Rows are a multiset: order does not count, and a
changed row counts once as removed and once as added. Beside that, where as many rows stand between the same neighbours
as before, they are compared cell by cell; with a key, rows are compared by it. Values are equal as in ``digest``: every
NaN is the same, -0.0 differs from 0.0, null differs from NaN. Cost is that of the differing chunks; a key must be read
wholly, to see that it is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from nbmlops.errors import InvalidValue
from nbmlops.frames import sketches
from nbmlops.frames.diff import keyed, plan, rows
from nbmlops.frames.diff.plan import Chunk, Columns, Stored
from nbmlops.frames.diff.reading import Side
from nbmlops.frames.diff.rows import Found
from nbmlops.frames.sketches import change as column_change

__all__ = ["Changes", "Chunk", "InMemory", "Stored", "changes", "column_change", "frame_changes", "types"]

_TELLING = frozenset({"categorical", "dictionary", "object", "nullable", "period", "interval", "Categorical", "Enum"})


@dataclass(frozen=True)
class Changes:
    """The fields of a ``DatasetDiff`` that compare schema and rows.

    ``columns`` of both tables whose values differ; ``renamed`` old name -> new name, not in added and removed.
    ``rows_changed`` and ``cells_changed`` (column -> changed values) are of rows with the same key, or else of rows
    that stand at the same place; both are empty where most rows only moved.
    """

    columns_added: tuple[str, ...] = ()
    columns_removed: tuple[str, ...] = ()
    renamed: dict[str, str] = field(default_factory=dict)
    types_changed: dict[str, tuple[str, str]] = field(default_factory=dict)
    columns_moved: bool = False
    columns: tuple[str, ...] = ()
    rows_added: int = 0
    rows_removed: int = 0
    rows_changed: int = 0
    key: tuple[str, ...] = ()
    cells_changed: dict[str, int] = field(default_factory=dict)
    examples: tuple[dict[str, Any], ...] = ()

    def fields(self) -> dict[str, Any]:
        """As arguments of ``DatasetDiff``; its ``columns_changed`` comes from the sketches of :attr:`columns`."""
        return {name: value for name, value in vars(self).items() if name != "columns"}


def changes(
    before: Stored,
    after: Stored,
    *,
    key: Sequence[str] | None = None,
    examples: int = 5,
    types: tuple[Mapping[str, str], Mapping[str, str]] | None = None,
) -> Changes:
    """What changed from one stored table to another.

    Args:
        before: the earlier table.
        after: the later one.
        key: columns that tell rows apart, by which they are compared; None compares rows as a multiset.
        examples: how many changed rows to show, with their values.
        types: how the types of both are called, by field, see :func:`types`; None means as Arrow calls them.

    Raises:
        InvalidValue: a key column is missing or of several types, or a key stands on several rows; all are named.
    """
    found = plan.columns(before, after, types)
    wanted = _key((before, after), key, found)
    made = plan.plan(before, after, found.shared)
    sides = (Side(before), Side(after))
    if not found.shared:
        totals = [sum(c.rows for c in s.chunks) for s in (before, after)]
        seen = Found(max(0, totals[1] - totals[0]), max(0, totals[0] - totals[1]))
    elif wanted:
        rest = tuple(n for n in found.shared if n not in wanted)
        seen = keyed.compare(sides, made, (wanted, rest), examples)
    else:
        seen = rows.compare(sides, made, found.shared, examples)
    return Changes(
        found.added,
        found.removed,
        found.renamed,
        found.retyped,
        found.moved,
        _differing((before, after), found, seen),
        seen.added,
        seen.removed,
        seen.changed,
        wanted,
        {n: seen.cells[n] for n in found.shared if n in seen.cells},
        tuple(seen.examples),
    )


def _key(sides: tuple[Stored, Stored], key: Sequence[str] | None, found: Columns) -> tuple[str, ...]:
    names = tuple(dict.fromkeys([key] if isinstance(key, str) else key or ()))
    faults = []
    for name in names:
        lacking = [w for w, s in zip(("before", "after"), sides, strict=True) if name not in s.schema.names]
        if lacking:
            faults.append(f"there is no column {name!r} {' and '.join(lacking)}")
        elif name not in found.shared:
            kinds = " and ".join(str(s.schema.field(name).type) for s in sides)
            faults.append(f"{name!r} has the types {kinds}")
    if faults:
        raise InvalidValue.of("the key", faults, f"columns that both have: {', '.join(found.shared) or 'none'}")
    return names


def _differing(sides: tuple[Stored, Stored], found: Columns, seen: Found) -> tuple[str, ...]:
    """Columns of both whose values, or their order, differ: by cells where these tell all, else by digests."""
    differing = []
    for name in (n for n in sides[0].schema.names if n in sides[1].schema.names):
        lists = [plan.signatures(s, [name]) for s in sides]
        unequal = lists[0] != lists[1] or None in lists[0]
        if unequal and (name in seen.cells or not (seen.settled and name in found.shared)):
            differing.append(name)
    return tuple(differing)


@dataclass(frozen=True)
class InMemory:
    """A table in memory as one chunk; ``digests`` are those of its columns, if they are known."""

    table: pa.Table
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return self.table.num_rows

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema

    @property
    def chunks(self) -> Sequence[Chunk]:
        return (self,)

    def read(self, chunk: int, fields: Sequence[str] | None = None) -> pa.Table:
        """The table, or these fields of it."""
        return self.table if fields is None else self.table.select(list(fields))


def frame_changes(
    tables: tuple[pa.Table, pa.Table], manifests: tuple[Mapping[str, Any], Mapping[str, Any]]
) -> dict[str, Any]:
    """The fields of a ``DatasetDiff`` for two tables in memory, with the manifests of the format ``parquet-1``."""
    stored = tuple(InMemory(t, m["digests"]) for t, m in zip(tables, manifests, strict=True))
    named = tuple(types(t.schema, m["frame"]) for t, m in zip(tables, manifests, strict=True))
    made = changes(stored[0], stored[1], types=(named[0], named[1]))
    moved = {
        name: column_change(
            *(sketches.sketch_column(t.column(name), _categorical(k[name])) for t, k in zip(tables, named, strict=True))
        )
        for name in made.columns
    }
    return {**made.fields(), "columns_changed": moved}


def _categorical(kind: str) -> bool:
    return kind.endswith(("(categorical)", "(dictionary)", "(enum)"))


def types(schema: pa.Schema, manifest: Mapping[str, Any]) -> dict[str, str]:
    """Per field the Arrow type, and in which pandas or polars dtype it comes back when that says more.

    ``manifest`` is a frame's dtype manifest (``arrow.Packed.manifest``).
    """
    notes = {n["field"]: n["dtype"] for n in (*manifest["columns"], *manifest.get("index", {}).get("levels", ()))}
    found = {}
    for column in schema:
        note = notes.get(column.name, {})
        extra = str(note.get("kind") or note.get("polars"))
        found[column.name] = f"{column.type} ({extra.lower()})" if extra in _TELLING else str(column.type)
    return found
