"""Which version here an incoming one is: itself, one with the same content, or a new one with a number that is free.

Nothing is kept about it: asked again, the rows themselves give the same answer. A version that came is found by its id.
One that was taken for a version with the same content is taken for the same one again, because both stores only ever
add versions, and those that are not found by id are paired in the order of their numbers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from nbmlops.records import Renumbered
from nbmlops.store import schema
from nbmlops.store.merging.numbers import Numbers, Version
from nbmlops.store.merging.reading import Met, of_many

KINDS = {"dataset": (schema.dataset_versions, "digest"), "model": (schema.model_versions, "package")}


@dataclass
class Settled:
    """What became of the incoming versions: their ``numbers`` here, ids that are ``new``, which have another number."""

    changed: dict[Version, int] = field(default_factory=dict)
    new: set[str] = field(default_factory=set)
    told: list[Renumbered] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    names: set[tuple[str, str]] = field(default_factory=set)  # that had versions here

    @property
    def numbers(self) -> Numbers:
        return Numbers(self.changed)


def settle(db: sa.Connection, met: Mapping[str, Sequence[Met]]) -> Settled:
    """Find each incoming version its place.

    Args:
        db: the taking store, inside the transaction that will write.
        met: the incoming versions of "dataset" and "model".
    """
    settled = Settled()
    for kind, versions in met.items():
        incoming: dict[str, list[Met]] = defaultdict(list)
        for version in versions:
            incoming[version.name].append(version)
        here = _here(db, kind, incoming, [v.id for v in versions])
        by_id = {v.id: v for held in here.values() for v in held}
        for name, theirs in incoming.items():
            _name(settled, kind, here.get(name, []), sorted(theirs, key=lambda v: v.version), by_id)
    return settled


def _here(db: sa.Connection, kind: str, names: Iterable[str], ids: Sequence[str]) -> dict[str, list[Met]]:
    table, content = KINDS[kind]
    query = sa.select(table.c.id, table.c.name, table.c.version, table.c[content])
    found: dict[str, list[Met]] = defaultdict(list)
    seen: set[str] = set()
    for column, values in ((table.c.name, list(names)), (table.c.id, list(ids))):
        for row in of_many(db, query, column, values):
            if row[0] not in seen:
                seen.add(row[0])
                found[row[1]].append(Met(*row))
    return found


def _name(settled: Settled, kind: str, ours: list[Met], theirs: list[Met], by_id: Mapping[str, Met]) -> None:
    """All versions of one name."""
    if ours:
        settled.names.add((kind, theirs[0].name))
    places: dict[str, Met] = {}
    for version in theirs:
        if (held := by_id.get(version.id)) is not None:
            places[version.id] = held
            if (held.name, held.content) != (version.name, version.content):
                settled.faults.append(f"{kind}:{version.name}@{version.version} has the id of another version here")
    rest = [v for v in theirs if v.id not in places]
    same = _paired(kind, [v for v in ours if v.id not in places], rest)
    taken, last = {v.version for v in ours}, 0
    for version in theirs:
        if version.id in places:
            number = places[version.id].version
        elif version.id in same:
            number = same[version.id].version
        else:
            # In their order: the latest of theirs stays later than their others.
            free = version.version not in taken and version.version > last
            number = version.version if free else max(taken) + 1
            taken.add(number)
            settled.new.add(version.id)
        last = max(last, number)
        if number != version.version:
            settled.changed[kind, version.name, version.version] = number
            there, here = (f"{kind}:{version.name}@{n}" for n in (version.version, number))
            settled.told.append(Renumbered(there, here, version.id, version.id in same))


def _paired(kind: str, ours: list[Met], theirs: list[Met]) -> dict[str, Met]:
    """Data set versions of the same content, first with first, second with second; every model stands for itself."""
    if kind != "dataset":
        return {}
    waiting: dict[str, list[Met]] = defaultdict(list)
    for version in sorted(ours, key=lambda v: v.version):
        waiting[version.content].append(version)
    return {v.id: waiting[v.content].pop(0) for v in theirs if waiting[v.content]}
