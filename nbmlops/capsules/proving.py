"""Whether data that came hold what their digest says: found in a store of their own, before they reach ours.

A snapshot of data that are there already shares them, found by that digest: one that lies would give its own data to
whoever keeps the right ones.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from nbmlops.context import ContextSource
from nbmlops.datasets import Datasets
from nbmlops.runs import Runs
from nbmlops.store import Store, manifest_only, open_store, schema
from nbmlops.store.blobs.transfer import BlobSource
from nbmlops.store.merging import merge_rows

_TABLES = ("datasets", "dataset_versions", "dataset_tags")


def lies(store: Store, rows: Mapping[str, list[Any]], blobs: BlobSource, context: ContextSource) -> list[str]:
    """What is wrong with the data of incoming versions that are not here yet, one line for each.

    The data are read once more; they need room in the folder for temporary files meanwhile.
    """
    bare = {(r["name"], r["version"]) for r in rows.get("dataset_tags", ()) if r["key"] == manifest_only.TAG}
    with store.read() as db:
        v = schema.dataset_versions
        known = set(db.execute(sa.select(v.c.id)).scalars()) - _bare_ids(db)
    new = [
        row
        for row in rows.get("dataset_versions", ())
        if (row["name"], row["version"]) not in bare and row["id"] not in known
    ]
    if not new:
        return []
    kept = {(row["name"], row["version"]) for row in new}
    wanted = {name: list(rows.get(name, ())) for name in _TABLES} | {"dataset_versions": new}
    wanted["dataset_tags"] = [r for r in wanted["dataset_tags"] if (r["name"], r["version"]) in kept]
    with tempfile.TemporaryDirectory(prefix="nbmlops-") as folder:
        scratch = open_store(Path(folder) / "store")
        try:
            merge_rows(scratch, wanted, blobs=blobs, origin="a capsule")
            found = Datasets(scratch, context, Runs(scratch, context)).verify()
            return [f"{f.asked.split(' ')[0]}: {f.seen}" for f in found if f.level == "block"]
        finally:
            scratch.close()


def _bare_ids(db: sa.Connection) -> set[str]:
    """Ids of versions that are here without their data."""
    v, bare = schema.dataset_versions, manifest_only.tagged(db)
    query = sa.select(v.c.id, v.c.name, v.c.version).where(v.c.name.in_({name for name, _ in bare}))
    return {row.id for row in db.execute(query) if (row.name, row.version) in bare}
