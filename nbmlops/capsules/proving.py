"""Whether what came holds what it says and can be shown: tried in a store of its own, before it reaches ours.

A snapshot of data that are there already shares them, found by their digest: one that lies would give its own data to
whoever keeps the right ones. And a row, manifest or profile that cannot be read would stop every listing that meets it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from nbmlops import display
from nbmlops.capsules.belonging import new_runs
from nbmlops.capsules.opening import Capsule
from nbmlops.context import ContextSource
from nbmlops.datasets import Datasets
from nbmlops.models import Models, unknown_fit
from nbmlops.runs import Runs
from nbmlops.store import Store, manifest_only, open_store, schema
from nbmlops.store.blobs.transfer import BlobSource
from nbmlops.store.merging import Rows, merge_rows

_FRAMES, _FOLDERS = {"chunks-1", "parquet-1"}, {"files-1", "files-2"}
_MOST_ROWS = 1 << 24  # of one stored table; ours have at most 65,536, those of the first release were whole frames
_VERSIONS = {"dataset": "dataset_versions", "model": "model_versions"}


def lies(store: Store, capsule: Capsule, context: ContextSource) -> list[str]:
    """What is wrong with incoming data, manifests and rows, one line for each.

    Data are read once more; they need room in the folder for temporary files meanwhile.
    """
    if wrong := list(_misunderstood(capsule)):
        return wrong
    known = {kind: _known(store, capsule, table) for kind, table in _VERSIONS.items()}
    fresh = any(
        row["id"] not in known[kind] for kind, table in _VERSIONS.items() for row in capsule.rows.get(table, ())
    )
    source = _Both(capsule, store.blobs)
    wrong = []
    if fresh or new_runs(store, capsule.rows):
        wrong = _trial(lambda scratch: _without_data(scratch, capsule, source, known["dataset"]), source, context)
    waiting = _completed(store, capsule, source)
    return wrong + (_trial(lambda _: waiting, source, context) if waiting["dataset_versions"] else [])


def _trial(rows: Callable[[Store], Rows], source: BlobSource, context: ContextSource) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="nbmlops-") as folder:
        scratch = open_store(Path(folder) / "store")
        try:
            merge_rows(scratch, rows(scratch), blobs=source, origin="a capsule", partial=True)
            return list(_tried(scratch, context))
        finally:
            scratch.close()


def _completed(store: Store, capsule: Capsule, source: BlobSource) -> dict[str, list[dict[str, Any]]]:
    """Versions that another capsule brought without their data, and that have all of it when this one has come."""
    d, v = schema.datasets, schema.dataset_versions
    names = [row["name"] for row in capsule.rows.get("datasets", ())]
    with store.read() as db:
        bare = manifest_only.tagged(db, names)
        rows = [dict(row) for row in db.execute(sa.select(v).where(v.c.name.in_(names))).mappings()]
        sets = [dict(row) for row in db.execute(sa.select(d).where(d.c.name.in_(names))).mappings()]
    coming = {row["id"] for row in capsule.rows.get("dataset_versions", ())}  # are tried as they come
    waiting = [row for row in rows if (row["name"], row["version"]) in bare and row["id"] not in coming]
    whole = [row for row in waiting if all(map(source.has, manifest_only.named(store.blobs, row["manifest"])))]
    return {"datasets": sets, "dataset_versions": whole}


def _known(store: Store, capsule: Capsule, table: str) -> set[str]:
    """Ids of incoming versions that are here, and not without their data."""
    t = schema.metadata.tables[table]
    with store.read() as db:
        bare = manifest_only.tagged(db) if table == "dataset_versions" else {}
        here = db.execute(sa.select(t.c.id, t.c.name, t.c.version)).all()
    coming = {row["id"] for row in capsule.rows.get(table, ())}
    return {row.id for row in here if row.id in coming and (row.name, row.version) not in bare}


# -- manifests -----------------------------------------------------------------------------------------------------
def _misunderstood(capsule: Capsule) -> Iterator[str]:
    """Manifests, profiles and packages that are not of the form in which they are written."""
    for row in capsule.rows.get("dataset_versions", ()):
        ref = f"dataset:{row['name']}@{row['version']}"
        if not _is_manifest(capsule, row):
            yield f"{ref}: its manifest cannot be understood"
        if row["profile"] and not isinstance(capsule.described(row["profile"]), dict):
            yield f"{ref}: its profile cannot be understood"
    for table in ("model_versions", "logged_models"):
        for row in capsule.rows.get(table, ()):
            package = capsule.described(row["package"])
            files = package.get("files") if isinstance(package, dict) else None
            if not isinstance(files, dict) or not all(
                isinstance(d, str) and d[:7] == "sha256:" for d in files.values()
            ):
                yield f"model:{row['name']}: its package cannot be understood"


def _is_manifest(capsule: Capsule, row: Mapping[str, Any]) -> bool:
    manifest = capsule.described(row["manifest"])
    if not isinstance(manifest, dict):
        return False
    if row["kind"] == "files":
        pages = manifest.get("pages", [])
        sound = isinstance(pages, list) and all(isinstance(page, str) for page in pages)
        # Each is looked at, so that it is counted before anybody holds it in memory.
        return (
            sound
            and manifest.get("format") in _FOLDERS
            and all(p is None or isinstance(p, dict) for p in map(capsule.described, pages))
        )
    if manifest.get("format") == "chunks-1":
        counts = manifest.get("rows")
    else:
        files = manifest.get("files")
        counts = [f.get("rows") for f in files if isinstance(f, dict)] if isinstance(files, list) else None
    return (
        manifest.get("format") in _FRAMES
        and isinstance(manifest.get("frame"), dict)
        and isinstance(counts, list)
        and all(isinstance(n, int) and 0 <= n <= _MOST_ROWS for n in counts)
    )


def _without_data(
    scratch: Store, capsule: Capsule, source: BlobSource, known: set[str]
) -> dict[str, list[dict[str, Any]]]:
    """The rows for a trial: without files of runs, and data only of new versions of which they are all there."""
    rows = {table: list(held) for table, held in capsule.rows.items() if table != "artifacts"}
    tags = rows.get("dataset_tags", [])
    marked = {(row["name"], row["version"]) for row in tags if row["key"] == manifest_only.TAG}
    rows["dataset_tags"] = [row for row in tags if row["key"] != manifest_only.TAG]
    for row in rows.get("dataset_versions", ()):
        version = row["name"], row["version"]
        if row["id"] in known or (version in marked and _lacks(scratch, source, row["manifest"])):
            tag = {"key": manifest_only.TAG, "value": manifest_only.VALUE}
            rows["dataset_tags"].append({"name": row["name"], "version": row["version"], **tag})
    return rows


def _lacks(scratch: Store, source: BlobSource, manifest: str) -> bool:
    """Whether a version that comes without data would stay without: else what is here would be taken for its data."""
    scratch.blobs.put(source.get(manifest))
    return not all(map(source.has, manifest_only.named(scratch.blobs, manifest)))


# -- trial ---------------------------------------------------------------------------------------------------------
def _tried(scratch: Store, context: ContextSource) -> Iterator[str]:
    """Read and show everything."""
    runs = Runs(scratch, context)
    datasets = Datasets(scratch, context, runs)
    models = Models(scratch, context, runs, datasets, fitted=unknown_fit)
    desks = {"run": runs.get, "dataset": datasets.get, "model": models.get}
    with scratch.read() as db:
        found = [("run", i) for i in db.execute(sa.select(schema.runs.c.id)).scalars()]
        for kind, table in _VERSIONS.items():
            t = schema.metadata.tables[table]
            found += [(kind, f"{row.name}@{row.version}") for row in db.execute(sa.select(t.c.name, t.c.version))]
    for kind, name in found:
        try:
            display.text(desks[kind](f"{kind}:{name}"))
            if kind == "dataset":
                yield from (f"{kind}:{name}: {f.seen}" for f in datasets.verify(name) if f.level == "block")
        except Exception as error:  # whatever strange content provokes, here it harms nobody
            yield f"{kind}:{name} cannot be read: {type(error).__name__}: {error!s:.100}"


class _Both:
    """What came, and what is here already."""

    def __init__(self, first: BlobSource, second: BlobSource) -> None:
        self._first, self._second = first, second

    def has(self, digest: str) -> bool:
        return self._first.has(digest) or self._second.has(digest)

    def size(self, digest: str) -> int:
        return self._of(digest).size(digest)

    def get(self, digest: str) -> bytes:
        return self._of(digest).get(digest)

    def save(self, digest: str, path: str | os.PathLike[str]) -> None:
        self._of(digest).save(digest, path)

    def _of(self, digest: str) -> BlobSource:
        return self._first if self._first.has(digest) else self._second
