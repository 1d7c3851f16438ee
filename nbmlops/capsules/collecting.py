"""What belongs to a run: its rows in every table, those of what it made and used, and the blobs that they need.

Integers that only tie rows together within their store (``runs.seq``, ``keys.id``) are counted anew from one, so that
a capsule says nothing about how many runs there are here, and is the same after it was taken over elsewhere.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import sqlalchemy as sa

from nbmlops.errors import NotFound, UsageFault
from nbmlops.store import Store, manifest_only, schema
from nbmlops.store.merging.bytes import Needed, follow
from nbmlops.store.merging.columns import DECISION, REFERENCE, REFERENCES, TABLES

INCLUDED = (
    "experiments", "keys", "runs", "params", "param_history", "tags", "metric_latest", "metric_chunks", "artifacts",
    "cell_sessions", "cell_executions", "cell_touches", "certificates", "datasets", "dataset_versions", "dataset_tags",
    "dataset_uses", "models", "model_versions", "logged_models", "model_uses", "stage_runs", "run_outputs",
)  # fmt: skip
_BY_SEQ = ("params", "param_history", "tags", "metric_latest", "metric_chunks", "artifacts")
_BY_RUN = (
    "dataset_uses", "logged_models", "model_uses", "stage_runs", "run_outputs", "certificates",
)  # fmt: skip
_KINDS = {"dataset": "dataset_versions", "model": "model_versions"}
_NAME = r"\w[\w .+\-/]{0,249}?"
_SPELLED = re.compile(rf"(dataset|model):({_NAME})@v?(\d{{1,18}})(?!\w)")
_MLFLOW = re.compile(rf"()models:/({_NAME})/(\d{{1,18}})(?!\w)")
_PINNED = re.compile(rf'"(dataset|model):({_NAME})(?:@[^"]+)?": ?\[?(\d{{1,18}})(?![\w.])')
_FROM = re.compile(rf"(dataset|model):({_NAME})(?:@\S+)? (\d{{1,18}}) -> ")
_TO = re.compile(rf"(dataset|model):({_NAME})(?:@\S+)? \w+ -> (\d{{1,18}})(?!\w)")
_AT_ONCE = 500

Row: TypeAlias = dict[str, Any]
Version: TypeAlias = tuple[str, str, int]  # "dataset" or "model", its name and number


@dataclass
class Collected:
    """Rows by table, blobs to bring along, and the data set versions whose data stay behind."""

    run_id: str
    rows: dict[str, list[Row]] = field(default_factory=dict)
    blobs: set[str] = field(default_factory=set)
    without_data: list[str] = field(default_factory=list)

    @property
    def run(self) -> Row:
        """The row of the run that was asked for."""
        return next(row for row in self.rows["runs"] if row["id"] == self.run_id)


def collect(store: Store, run_id: str, *, data: bool) -> Collected:
    """Everything about a run and its nested runs, in one snapshot of the database.

    Raises:
        UsageFault: one of them has not ended.
        NotFound: the data that are asked for are not here.
    """
    with store.snapshot() as db:
        rows = _Rows(db, run_id).collected()
    found = Collected(run_id, {name: rows.get(name, []) for name in INCLUDED})
    _choose_blobs(store, found, data)
    _count_anew(found.rows)
    for name, listed in found.rows.items():
        key = [column.name for column in schema.metadata.tables[name].primary_key]
        found.rows[name] = sorted(listed, key=operator.itemgetter(*key))
    return found


class _Rows:
    """Reads the tables one after the other; what was read says what to read next."""

    def __init__(self, db: sa.Connection, run_id: str) -> None:
        self.db, self.run_id = db, run_id
        self.rows: dict[str, list[Row]] = {}

    def collected(self) -> dict[str, list[Row]]:
        self._runs()
        rows = self.rows
        seqs, ids = ([row[column] for row in rows["runs"]] for column in ("seq", "id"))
        for table in _BY_SEQ:
            rows[table] = self._where(table, "run_seq", seqs)
        for table in _BY_RUN:
            rows[table] = self._where(table, "run_id", ids)
        rows["experiments"] = self._where("experiments", "id", {row["experiment_id"] for row in rows["runs"]})
        used = {row["key_id"] for table in _BY_SEQ for row in rows[table] if "key_id" in row}
        rows["keys"] = self._where("keys", "id", used)
        self._versions(ids)
        self._cells(ids)
        return rows

    def _runs(self) -> None:
        found = self._where("runs", "id", [self.run_id])
        level = found
        while level:
            level = [r for r in self._where("runs", "parent_id", [r["id"] for r in level]) if r["deleted_at"] is None]
            found = found + level
        running = [row["name"] for row in found if row["status"] == "RUNNING"]
        if running:
            raise UsageFault(
                f"run {running[0]!r} has not ended", "end it first: what it logs from now on would be lost"
            )
        self.rows["runs"] = found

    def _versions(self, ids: list[str]) -> None:
        """Versions that the runs made or used, and those that anything of this names, until nothing new is named."""
        rows = self.rows
        wanted: set[Version] = {("dataset", row["name"], row["version"]) for row in rows["dataset_uses"]}
        wanted |= {("model", row["name"], row["version"]) for row in rows["model_uses"]}
        for kind, table in _KINDS.items():
            rows[table] = self._where(table, "run_id", ids)
            wanted |= {(kind, row["name"], row["version"]) for row in rows[table]}
        wanted |= {v for table in TABLES for row in rows.get(table, ()) for v in _mentions(table, row)}
        known: set[Version] = set()
        while wanted - known:
            fresh, known = wanted - known, known | wanted
            for kind, table in _KINDS.items():
                there = {row["id"] for row in rows[table]}
                numbers = {(name, version) for k, name, version in fresh if k == kind}
                for row in self._where(table, "name", {name for name, _ in numbers}):
                    if (row["name"], row["version"]) in numbers:
                        wanted |= _mentions(table, row)
                        if row["id"] not in there:
                            rows[table].append(row)
        for name, table in (("datasets", "dataset_versions"), ("models", "model_versions")):
            rows[name] = self._where(name, "name", {row["name"] for row in rows[table]})
        numbers = {(row["name"], row["version"]) for row in rows["dataset_versions"]}
        labels = self._where("dataset_tags", "name", {name for name, _ in numbers})
        rows["dataset_tags"] = [row for row in labels if (row["name"], row["version"]) in numbers]

    def _cells(self, ids: list[str]) -> None:
        """The sessions of the runs until their last cells, and of what those touched only what comes along."""
        e, t, rows = schema.cell_executions, schema.cell_touches, self.rows
        touching = {r["execution_id"] for r in self._where("cell_touches", "subject", ids) if r["kind"] == "run"}
        last: dict[str, float] = {row["id"]: float("inf") for row in self._where("cell_sessions", "run_id", ids)}
        for row in self._where("cell_executions", "id", touching):
            last[row["session_id"]] = max(last.get(row["session_id"], 0), row["number"])
        rows["cell_sessions"] = self._where("cell_sessions", "id", last)
        rows[e.name] = [r for r in self._where(e.name, "session_id", last) if r["number"] <= last[r["session_id"]]]
        about = set(ids) | {
            f"{kind}:{row['name']}@{row['version']}" for kind, table in _KINDS.items() for row in rows[table]
        }
        found = self._where(t.name, "execution_id", [row["id"] for row in rows[e.name]])
        rows[t.name] = [row for row in found if row["subject"] in about]

    def _where(self, table: str, column: str, values: Iterable[Any]) -> list[Row]:
        known, listed = schema.metadata.tables[table], sorted(values)
        found: list[Row] = []
        for start in range(0, len(listed), _AT_ONCE):
            query = sa.select(known).where(known.c[column].in_(listed[start : start + _AT_ONCE]))
            found += [dict(row) for row in self.db.execute(query).mappings()]
        return found


def _mentions(table: str, row: Row) -> set[Version]:
    """The versions that a row speaks of, wherever a reference may stand in it; some may not exist."""
    found: set[Version] = set()
    for name, kind in TABLES[table].columns.items():
        value = row[name]
        if value is None or kind not in {REFERENCE, REFERENCES, DECISION}:
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for pattern in (_SPELLED, _MLFLOW, _PINNED, _FROM, _TO):
            found |= {(kind or "model", thing, int(n)) for kind, thing, n in pattern.findall(text)}
    return found


# -- blobs ---------------------------------------------------------------------------------------------------------
class _Without:
    """The blobs of a store as if some were not there."""

    def __init__(self, store: Store, hidden: set[str]) -> None:
        self._blobs, self._hidden = store.blobs, hidden

    def has(self, digest: str) -> bool:
        return digest not in self._hidden and self._blobs.has(digest)

    def size(self, digest: str) -> int:
        return self._blobs.size(digest)

    def get(self, digest: str) -> bytes:
        return self._blobs.get(digest)

    def save(self, digest: str, path: Any) -> None:
        self._blobs.save(digest, path)


def _choose_blobs(store: Store, found: Collected, data: bool) -> None:
    rows = found.rows
    behind = {row["id"]: manifest_only.named(store.blobs, row["manifest"]) for row in rows["dataset_versions"]}
    lacking = {(r["name"], r["version"]) for r in rows["dataset_tags"] if r["key"] == manifest_only.TAG}
    if data and lacking:
        name, version = min(lacking)
        raise manifest_only.not_included(f"dataset:{name}@{version}")
    bare = [] if data else [row for row in rows["dataset_versions"] if behind[row["id"]]]
    for row in bare:
        found.without_data.append(f"dataset:{row['name']}@{row['version']}")
        if (row["name"], row["version"]) not in lacking:
            tag = {"name": row["name"], "version": row["version"]}
            rows["dataset_tags"].append({**tag, "key": manifest_only.TAG, "value": manifest_only.VALUE})
    needed = Needed(bare={row["manifest"] for row in bare})
    for table, listed in rows.items():
        for row in listed:
            needed.note(table, row)
    hidden = {digest for row in bare for digest in behind[row["id"]]}
    found.blobs, missing = follow(store, _Without(store, hidden), needed)
    found.without_data.sort()
    if missing:
        digest, where = min(missing.items())
        raise NotFound(
            f"{digest[:19]}… is not in this store; {where} needs it", "see `nbmlops store verify`; restore a backup"
        )


# -- numbers -------------------------------------------------------------------------------------------------------
def _count_anew(rows: dict[str, list[Row]]) -> None:
    runs = {row["seq"]: n for n, row in enumerate(sorted(rows["runs"], key=lambda r: r["id"]), 1)}
    keys = {row["id"]: n for n, row in enumerate(sorted(rows["keys"], key=lambda r: r["name"]), 1)}
    for row in rows["runs"]:
        row["seq"] = runs[row["seq"]]
    for row in rows["keys"]:
        row["id"] = keys[row["id"]]
    for table in _BY_SEQ:
        for row in rows[table]:
            row["run_seq"] = runs[row["run_seq"]]
            if "key_id" in row:
                row["key_id"] = keys[row["key_id"]]
    for table in ("param_history", "dataset_uses"):
        for number, row in enumerate(sorted(rows[table], key=lambda r: r["seq"]), 1):
            row["seq"] = number
