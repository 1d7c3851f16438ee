"""A store for one clean run: nothing that is done in it reaches the user's own.

It is a folder of its own with SQLite, whatever the user's store is, and holds copies of the rows by which references
are resolved: data sets, models and earlier runs as they were. Its blobs *are* the user's: nothing is copied, and what a
clean run adds there is needed by no row, so that ``gc`` takes it. It has the user's store's id, by which
:func:`nbmlops.store.open_store` knows which store it stands for.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from nbmlops.reproduction.past import Past
from nbmlops.store import Store, open_store, schema
from nbmlops.store.engine import store_id

MOST_RUNS = 1000  # the last ones before the clean run's own: notebooks compare themselves with earlier runs
_BATCH = 500
_RUN_ID = re.compile(r"(?<![0-9A-Z])[0-7][0-9A-HJKMNP-TV-Z]{25}(?![0-9A-Z])")


@contextlib.contextmanager
def scratch(original: Store, past: Past, text: str = "") -> Iterator[Store]:
    """A scratch store in which the past is as it was; gone at the end, also after an interrupt.

    Args:
        original: the store it stands for.
        past: which versions are there.
        text: what may name earlier runs by their ids; these are there with everything they logged.
    """
    folder = tempfile.mkdtemp(prefix="nbmlops-clean-")
    store = None
    try:
        store = open_store(folder, artifacts=blob_root(original))
        store.blobs.owner = original.blobs.owner
        with original.read() as source, store.write() as target:
            _identity(original, target)
            _versions(source, target, past)
            _runs(source, target, past.at, sorted(set(_RUN_ID.findall(text))))
        yield store
    finally:
        if store is not None:
            store.close()
        shutil.rmtree(folder, ignore_errors=True)


def blob_root(store: Store) -> str:
    """Where a store's blobs are, for another process."""
    return store.blobs.root if "://" in store.blobs.root else os.path.abspath(store.blobs.root)


def _identity(original: Store, target: sa.Connection) -> None:
    meta = schema.meta
    target.execute(meta.update().where(meta.c.name == "store_id").values(value=store_id(original)))


def _copy(target: sa.Connection, table: sa.Table, rows: Any) -> list[dict[str, Any]]:
    found = [dict(row) for row in rows]
    for start in range(0, len(found), _BATCH):
        target.execute(table.insert(), found[start : start + _BATCH])
    return found


def _versions(source: sa.Connection, target: sa.Connection, past: Past) -> None:
    s = schema
    for kind, things, versions in (("dataset", s.datasets, s.dataset_versions), ("model", s.models, s.model_versions)):
        rows = source.execute(sa.select(versions)).mappings()
        kept = _copy(target, versions, (r for r in rows if past.has((kind, r["name"], r["version"]), r["created_at"])))
        there = {(row["name"], row["version"]) for row in kept}
        names = {name for name, _ in there}
        _copy(target, things, (r for r in source.execute(sa.select(things)).mappings() if r["name"] in names))
        if kind == "dataset":
            for table in (s.dataset_aliases, s.dataset_tags):
                rows = source.execute(sa.select(table)).mappings()
                _copy(target, table, (r for r in rows if (r["name"], r["version"]) in there))
        else:
            _copy(target, s.model_aliases, (r for r in _aliases(source, past.at) if (r["name"], r["version"]) in there))


def _aliases(source: sa.Connection, at: float | None) -> list[dict[str, Any]]:
    """Where the labels of models stood at that time."""
    if at is None:
        return [dict(row) for row in source.execute(sa.select(schema.model_aliases)).mappings()]
    h = schema.alias_history
    moves = source.execute(sa.select(h.c.name, h.c.alias, h.c.version).where(h.c.at < at).order_by(h.c.seq)).all()
    last = {(name, alias): version for name, alias, version in moves}
    return [{"name": n, "alias": a, "version": v} for (n, a), v in last.items() if v is not None]


def _runs(source: sa.Connection, target: sa.Connection, at: float | None, named: list[str]) -> None:
    """The last runs before that time, without the history of their metrics, and the named ones with it."""
    s, r = schema, schema.runs
    before = [r.c.started_at < at] if at is not None else []
    last = sa.select(r).where(r.c.deleted_at.is_(None), *before)
    rows = {row["id"]: row for row in source.execute(last.order_by(r.c.seq.desc()).limit(MOST_RUNS)).mappings()}
    for start in range(0, len(named), _BATCH):
        more = sa.select(r).where(r.c.id.in_(named[start : start + _BATCH]), *before)
        rows |= {row["id"]: row for row in source.execute(more).mappings()}
    # One that is running belongs to a process that logs elsewhere.
    _copy(
        target,
        r,
        ({**row, "status": "FINISHED" if row["status"] == "RUNNING" else row["status"]} for row in rows.values()),
    )
    _copy(target, s.experiments, source.execute(sa.select(s.experiments)).mappings())
    _copy(target, s.keys, source.execute(sa.select(s.keys)).mappings())
    seqs, told = [row["seq"] for row in rows.values()], [row["seq"] for row in rows.values() if row["id"] in named]
    for table in (s.params, s.tags, s.metric_latest, s.artifacts):
        _of(source, target, table, table.c.run_seq, seqs)
    _of(source, target, s.metric_chunks, s.metric_chunks.c.run_seq, told)
    _of(source, target, s.logged_models, s.logged_models.c.run_id, list(rows))


def _of(source: sa.Connection, target: sa.Connection, table: sa.Table, column: Any, keys: list[Any]) -> None:
    for start in range(0, len(keys), _BATCH):
        part = sa.select(table).where(column.in_(keys[start : start + _BATCH]))
        _copy(target, table, source.execute(part).mappings())
