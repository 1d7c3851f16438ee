"""What runs logged, in the form in which a run and its clean run are held against each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from nbmlops.pipelines.stage import produced
from nbmlops.runs import Runs
from nbmlops.runs.frame import logged
from nbmlops.store import Store, schema


@dataclass(frozen=True)
class Metric:
    """The last value of a metric and how many points it has."""

    value: float
    points: int


@dataclass(frozen=True)
class Written:
    """A version of a data set that a run wrote; ``digest`` is of its content."""

    ref: str
    digest: str
    rows: int


@dataclass(frozen=True)
class Kept:
    """A model that a run registered or logged. ``version`` is 0 where it was only logged.

    ``later``: it was registered after the run had ended, perhaps somewhere else.
    """

    name: str
    version: int
    package: str
    later: bool
    row: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Logged:
    """One run with all it logged: data sets by name (the last version written), models by name, files by path.

    ``cell_id`` is the cell in which it was started, as far as that is known; ``environment`` the digest of its own.
    """

    run_id: str
    name: str
    status: str
    kind: str = "run"
    parent_id: str | None = None
    cell_id: str | None = None
    error: Mapping[str, Any] | None = None
    environment: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    datasets: Mapping[str, Written] = field(default_factory=dict)
    models: Mapping[str, Kept] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)


def of_runs(store: Store, runs: Runs, run_ids: Iterable[str]) -> list[Logged]:
    """What these runs logged, in the order in which they were started."""
    r, ids = schema.runs, list(run_ids)
    if ids:
        runs.get(ids[0])  # before it answers, everything that this process logged is in the store
    with store.read() as db:
        rows = db.execute(sa.select(r).where(r.c.id.in_(ids)).order_by(r.c.seq)).mappings().all()
        seqs = [row["seq"] for row in rows]
        params, metrics, _ = logged(db, seqs)
        points, files = _points(db, seqs), _files(db, seqs)
    wrote, models = _written(store, ids), _models(store, {row["id"]: row["ended_at"] for row in rows})
    return [
        Logged(
            run_id=row["id"],
            cell_id=(row["source"] or {}).get("cell_id"),
            params=params.get(row["seq"], {}),
            metrics={k: Metric(v, points[row["seq"], k]) for k, v in metrics.get(row["seq"], {}).items()},
            datasets=wrote[row["id"]],
            models=models[row["id"]],
            artifacts=files.get(row["seq"], {}),
            **{k: row[k] for k in ("name", "status", "kind", "parent_id", "error", "environment")},
        )
        for row in rows
    ]


def started(store: Store, but: Iterable[str]) -> list[str]:
    """The ids of all runs of a store but these, in the order in which they were started."""
    r, known = schema.runs, set(but)
    with store.read() as db:
        return [run_id for run_id in db.scalars(sa.select(r.c.id).order_by(r.c.seq)) if run_id not in known]


def _points(db: sa.Connection, seqs: list[int]) -> dict[tuple[int, str], int]:
    m, k = schema.metric_latest, schema.keys
    query = sa.select(m.c.run_seq, k.c.name, m.c.points).join(k, k.c.id == m.c.key_id).where(m.c.run_seq.in_(seqs))
    return {(seq, name): points for seq, name, points in db.execute(query)}


def _files(db: sa.Connection, seqs: list[int]) -> dict[int, dict[str, str]]:
    a = schema.artifacts
    found: dict[int, dict[str, str]] = {}
    for seq, path, digest in db.execute(sa.select(a.c.run_seq, a.c.path, a.c.digest).where(a.c.run_seq.in_(seqs))):
        found.setdefault(seq, {})[path] = digest
    return found


def _written(store: Store, ids: list[str]) -> dict[str, dict[str, Written]]:
    v = schema.dataset_versions
    found: dict[str, dict[str, Written]] = {run_id: {} for run_id in ids}
    with store.read() as db:
        for run_id, made in produced(store, ids).items():
            for thing, version in made.versions.items():
                kind, _, name = thing.partition(":")
                if kind == "dataset":
                    query = sa.select(v.c.digest, v.c.rows).where(v.c.name == name, v.c.version == version)
                    row = db.execute(query).one()
                    found[run_id][name] = Written(f"{thing}@{version}", row.digest, row.rows)
    return found


def _models(store: Store, ended: Mapping[str, float | None]) -> dict[str, dict[str, Kept]]:
    """By name; one that was registered counts before one that was logged, and the last before those before it."""
    m, v, ids = schema.logged_models, schema.model_versions, list(ended)
    found: dict[str, dict[str, Kept]] = {run_id: {} for run_id in ids}
    with store.read() as db:
        own = list(db.execute(sa.select(m).where(m.c.run_id.in_(ids))).mappings())
        registered = db.execute(sa.select(v).where(v.c.run_id.in_(ids)).order_by(v.c.version)).mappings().all()
    for row in own:
        found[row["run_id"]][row["name"]] = Kept(row["name"], 0, row["package"], False, dict(row))
    for row in registered:
        there, end = found[row["run_id"]], ended[row["run_id"]]
        later = end is not None and row["created_at"] > end
        if not later or row["name"] not in there:
            there[row["name"]] = Kept(row["name"], row["version"], row["package"], later, dict(row))
    return found
