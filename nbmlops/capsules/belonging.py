"""Whether rows belong to the run that a capsule is about, and whether they leave alone what is here.

A capsule may come from anybody who once saw an id of ours. It brings a run, and never speaks for runs, cells and
versions that others made.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import sqlalchemy as sa

from nbmlops.store import Store, schema
from nbmlops.store.merging.reading import of_many, read
from nbmlops.store.merging.taking import Taking

Rows: TypeAlias = Mapping[str, list[dict[str, Any]]]
IMPORTED = "run.imported"  # the event; its ``runs`` are the ids of those that came

_OF_RUNS = ("certificates", "dataset_uses", "logged_models", "model_uses", "run_outputs", "stage_runs")
_MADE = {"dataset": "dataset_versions", "model": "model_versions"}
# Which column says what run a thing belongs to.
_BELONGS = {"runs": "parent_id", "certificates": "run_id", "dataset_versions": "run_id", "model_versions": "run_id"}
_SAME_SESSION = ("frontend", "notebook", "kernel_id", "user", "host", "pid", "run_id", "started_at")


def strangers(rows: Rows, run_id: str) -> list[str]:
    """Rows that no export of this run writes."""
    runs = {row["id"]: row for row in rows.get("runs", ())}
    ours = _nested(runs.values(), run_id)
    found = [f"run:{i} is not run:{run_id}, nor nested in it" for i in runs.keys() - ours]
    found += [f"run:{row['id']} has not ended" for row in runs.values() if row["status"] == "RUNNING"]
    for table in _OF_RUNS:
        others = {row["run_id"] for row in rows.get(table, ())} - ours
        found += [f"{table} of run:{i}, which is not in it" for i in others]
    sessions, cells = ({row["id"] for row in rows.get(t, ())} for t in ("cell_sessions", "cell_executions"))
    found += [
        f"cell {row['id']!r:.60} of a session that is not in it"
        for row in rows.get("cell_executions", ())
        if row["session_id"] not in sessions
    ]
    about = ours | {f"{k}:{row['name']}@{row['version']}" for k, table in _MADE.items() for row in rows.get(table, ())}
    found += [
        f"{row['subject']!r:.60}, touched by a cell, is not in it"
        for row in rows.get("cell_touches", ())
        if row["subject"] not in about or row["execution_id"] not in cells
    ]
    return sorted(set(found))


def _nested(runs: Iterable[Mapping[str, Any]], run_id: str) -> set[str]:
    children = defaultdict(list)
    for row in runs:
        children[row["parent_id"]].append(row["id"])
    found, level = {run_id}, [run_id]
    while level:
        level = [child for each in level for child in children[each] if child not in found]
        found.update(level)
    return found


def claims(store: Store, rows: Rows) -> list[str]:
    """What the rows would change, or say, about things that are here and that no capsule brought."""
    with store.read() as db:
        changed = Taking(store, db, rows=rows, met=read(rows)).changed_runs
        found = [f"run:{i} is here, and not as it is in the capsule" for i in changed]
        return sorted({*found, *_cells(db, rows), *_made(db, rows)})


def new_runs(store: Store, rows: Rows) -> list[str]:
    """Ids of runs that are not here yet: what :data:`IMPORTED` tells of, and :func:`claims` looks for later."""
    ids = [row["id"] for row in rows.get("runs", ())]
    with store.read() as db:
        return sorted(set(ids) - _here(db, "runs", ids))


def _here(db: sa.Connection, table: str, ids: Iterable[str]) -> set[str]:
    column = schema.metadata.tables[table].c.id
    return {row.id for row in of_many(db, sa.select(column), column, sorted(set(ids)))}


def _cells(db: sa.Connection, rows: Rows) -> list[str]:
    """Sessions and cells that are here must be the same, and to a session that is here only later cells come."""
    s, e = schema.cell_sessions, schema.cell_executions
    sessions, cells = ({row["id"]: row for row in rows.get(t.name, ())} for t in (s, e))
    found, known, last = [], set(), dict.fromkeys(sessions, 0)
    for here in of_many(db, sa.select(s), s.c.id, list(sessions)):
        if any(getattr(here, name) != sessions[here.id][name] for name in _SAME_SESSION):
            found.append(f"session {here.id!r:.60} is here, and another")
    for here in of_many(db, sa.select(e), e.c.session_id, list(sessions)):
        last[here.session_id] = max(last[here.session_id], here.number)
    for here in of_many(db, sa.select(e), e.c.id, list(cells)):
        known.add(here.id)
        if any(getattr(here, name) != cells[here.id][name] for name in ("session_id", "number", "source")):
            found.append(f"cell {here.id!r:.60} is here, and another")
    return found + [
        f"cell {i!r:.60} would come among the cells of a session that is here"
        for i, row in cells.items()
        if i not in known and row["number"] <= last[row["session_id"]]
    ]


def _made(db: sa.Connection, rows: Rows) -> list[str]:
    """Certificates, versions and nested runs that say they belong to a run here, which is here without them."""
    new = {
        f"{table} {row['id']}": row[column]
        for table, column in _BELONGS.items()
        for known in [_here(db, table, [row["id"] for row in rows.get(table, ())])]
        for row in rows.get(table, ())
        if row[column] and row["id"] not in known
    }
    ours = _here(db, "runs", new.values()) - _brought(db)
    return [
        f"{what} says it is of run:{run_id}, which is here without it" for what, run_id in new.items() if run_id in ours
    ]


def _brought(db: sa.Connection) -> set[str]:
    """Runs that capsules brought: of them, a later capsule may tell more."""
    told = db.execute(sa.select(schema.ledger.c.data).where(schema.ledger.c.type == IMPORTED)).scalars()
    return {run_id for data in told for run_id in json.loads(data).get("runs", ())}
