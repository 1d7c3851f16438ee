"""One look through all incoming rows: whether they can be taken, and what has to be known of them to place them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa

from nbmlops.store import schema
from nbmlops.store.merging import columns as c
from nbmlops.store.merging.checking import Faults, wrong
from nbmlops.store.merging.columns import TABLES

_AT_ONCE = 500  # values of one IN


# The columns that say what a row belongs to.
_TIES = {
    name: [
        (column, kind)
        for column, kind in table.columns.items()
        if kind in {c.RUN, c.RUN_SEQ, c.KEY_ID, c.EXPERIMENT, c.DATASET, c.MODEL}
    ]
    for name, table in TABLES.items()
}


class Met(NamedTuple):
    """A version of a data set or model; ``content`` is the digest of the data or of the package."""

    id: str
    name: str
    version: int
    content: str


class MetRun(NamedTuple):
    """How far a run was."""

    id: str
    status: str
    heartbeat_at: float


@dataclass
class Read:
    """What was met, and what is wrong with it."""

    runs: dict[int, MetRun] = field(default_factory=dict)  # by seq
    points: Counter[int] = field(default_factory=Counter)  # of all metrics of a run, by seq
    keys: dict[int, str] = field(default_factory=dict)
    experiments: dict[str, str] = field(default_factory=dict)  # names by id
    versions: dict[str, list[Met]] = field(default_factory=lambda: defaultdict(list))
    states: dict[str, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))  # by table and id
    absent: set[str] = field(default_factory=set)  # runs that something needs and that are not among the rows
    faults: Faults = field(default_factory=Faults)


def read(rows: Mapping[str, Iterable[Mapping[str, Any]]]) -> Read:
    """Look at every row once; stops early where there is too much wrong."""
    found = Read()
    found.faults.extend(f"no table is called {name!r:.60}" for name in rows if name not in schema.metadata.tables)
    look = _Look(found)
    for table in TABLES:
        for row in rows.get(table, ()):
            said = wrong(table, row) or look.at(table, row)
            found.faults.extend(said)
            if found.faults.full:
                return found
    return found


class _Look:
    """Ties rows together: what is there twice, and what names something that is not there."""

    def __init__(self, found: Read) -> None:
        self.found = found
        self._run_ids: set[str] = set()
        self._numbers: set[tuple[str, str, int]] = set()

    def at(self, table: str, row: Mapping[str, Any]) -> list[str]:
        said = self._noted(table, row)
        for name, kind in _TIES[table]:
            value = row[name]
            if value is not None and (fault := self._lost(kind, value, row)):
                said.append(f"{table}.{name}: {fault}")
        return said

    def _noted(self, table: str, row: Mapping[str, Any]) -> list[str]:
        """Remember the row; says so if there was one like it."""
        found, again = self.found, False
        if table == "runs":
            again = row["seq"] in found.runs or row["id"] in self._run_ids
            found.runs[row["seq"]] = MetRun(row["id"], row["status"], row["heartbeat_at"])
            self._run_ids.add(row["id"])
        elif table == "keys":
            again = row["id"] in found.keys
            found.keys[row["id"]] = row["name"]
        elif table == "experiments":
            again = row["id"] in found.experiments
            found.experiments[row["id"]] = row["name"]
        elif table in {"dataset_versions", "model_versions"}:
            kind, content = ("dataset", "digest") if table == "dataset_versions" else ("model", "package")
            met = Met(row["id"], row["name"], row["version"], row[content])
            again = (kind, met.name, met.version) in self._numbers or met.id in found.states[table]
            self._numbers.add((kind, met.name, met.version))
            found.versions[kind].append(met)
            found.states[table][met.id] = None
        elif TABLES[table].key == ("id",):
            again = row["id"] in found.states[table]
            state = TABLES[table].state
            found.states[table][row["id"]] = row[state[0]] if state else None
        elif table == "metric_latest":
            found.points[row["run_seq"]] += row["points"]
        return [f"{table}: {row.get('id')} is there twice"] if again else []

    def _lost(self, kind: str, value: Any, row: Mapping[str, Any]) -> str:
        found = self.found
        if kind == c.RUN_SEQ:
            return "" if value in found.runs else f"{value!r:.60} is no run among the rows"
        if kind == c.KEY_ID:
            return "" if value in found.keys else f"{value!r:.60} is no key among the rows"
        if kind == c.EXPERIMENT:
            return "" if value in found.experiments else f"{value!r:.60} is no experiment among the rows"
        if kind == c.RUN:  # it may be here already
            found.absent.update({value} - self._run_ids)
            return ""
        thing = "dataset" if kind == c.DATASET else "model"
        named = (thing, row["name"], value)
        return "" if named in self._numbers else f"{thing}:{row['name']}@{value} is not among the rows"


def of_many(db: sa.Connection, query: sa.Select[Any], column: Any, values: Sequence[Any]) -> Iterator[Any]:
    """The rows of a query whose ``column`` has one of these values, however many they are."""
    for start in range(0, len(values), _AT_ONCE):
        yield from db.execute(query.where(column.in_(values[start : start + _AT_ONCE]))).all()
