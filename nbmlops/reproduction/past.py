"""What a run found in the store when it began: the versions that were there, and those that its references meant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from nbmlops.store import Store, schema

Version = tuple[str, str, int]  # kind, name, number


@dataclass(frozen=True)
class Past:
    """The versions that a clean run finds.

    What was made since ``at`` is not there (None: everything is), except what is in ``read``: so what the run wrote
    itself is not, and a clean run makes it again. ``pins`` are the versions that references mean.
    """

    at: float | None = None
    read: frozenset[Version] = frozenset()
    pins: Mapping[str, int] = field(default_factory=dict)

    def has(self, version: Version, made: float) -> bool:
        """Whether this version, made at that time, was there."""
        return self.at is None or made < self.at or version in self.read


def of_runs(store: Store, run_ids: Iterable[str], at: float | None, wrote: Iterable[Version] = ()) -> Past:
    """What these runs found at that time: what they read and did not write is pinned.

    Args:
        store: where they are.
        run_ids: runs of one notebook.
        at: when the first of their cells began.
        wrote: what their cells wrote outside of them.
    """
    ids, made = list(run_ids), set(wrote)
    u, v, m, n = schema.dataset_uses, schema.dataset_versions, schema.model_uses, schema.model_versions
    with store.read() as db:
        uses = db.execute(sa.select(u.c.mode, u.c.name, u.c.version).where(u.c.run_id.in_(ids))).all()
        loaded = db.execute(sa.select(m.c.name, m.c.version).where(m.c.run_id.in_(ids))).all()
        for kind, table in (("dataset", v), ("model", n)):
            found = db.execute(sa.select(table.c.name, table.c.version).where(table.c.run_id.in_(ids)))
            made |= {(kind, name, version) for name, version in found}
    made |= {("dataset", name, version) for mode, name, version in uses if mode == "write"}
    read = {("dataset", name, version) for mode, name, version in uses if mode == "read"}
    read |= {("model", name, version) for name, version in loaded}
    return past(store, at, read, made)


def past(store: Store, at: float | None, read: set[Version], wrote: set[Version]) -> Past:
    """The past in which these versions were read and written.

    A name that was also written is not pinned: its later references meant what had been written.
    """
    read, again = read - wrote, {(kind, name) for kind, name, _ in wrote}
    versions: dict[tuple[str, str], set[int]] = defaultdict(set)
    for kind, name, version in read:
        versions[kind, name].add(version)
    pins: dict[str, int] = {}
    for (kind, name), numbers in sorted(versions.items()):
        if (kind, name) in again:
            continue
        # Of several, an older one was asked for by its number.
        pins[f"{kind}:{name}"] = max(numbers)
        if len(numbers) == 1:
            pins |= {f"{kind}:{name}@{alias}": max(numbers) for alias in _aliases(store, kind, name)}
    return Past(at, frozenset(read), pins)


def _aliases(store: Store, kind: str, name: str) -> set[str]:
    """All labels that a data set or model has, or had."""
    tables = [schema.dataset_aliases] if kind == "dataset" else [schema.model_aliases, schema.alias_history]
    with store.read() as db:
        return {a for t in tables for a in db.scalars(sa.select(t.c.alias).where(t.c.name == name))}
