"""Reading versions: as frames of any library, as plain files, compared, exported and verified."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import sqlalchemy as sa

from nbmlops.datasets import engines, profiles
from nbmlops.datasets.catalogue import VERSIONS, Catalogue, Reference
from nbmlops.errors import InvalidValue, NbmlopsError
from nbmlops.frames import diff, digest, folders, stored
from nbmlops.frames.chunks import plain
from nbmlops.frames.chunks.reader import Reader
from nbmlops.frames.folders import croissant
from nbmlops.records import DatasetDiff, DatasetProfile, DatasetVersion, Finding
from nbmlops.store import manifest_only

# Named here, because inside the class ``list`` is a method.
Findings: TypeAlias = list[Finding]
Paths: TypeAlias = list[str]
Filters: TypeAlias = engines.Filters


class Reading(Catalogue):
    """Everything that reads what versions hold."""

    def load(
        self,
        ref: Reference,
        columns: Sequence[Any] | None = None,
        as_: str = "pandas",
        *,
        filters: Filters | None = None,
    ) -> Any:
        """The frame of a version, exactly as it was given if ``as_`` is where it came from; of a folder, a view.

        Args:
            ref: ``NAME``, ``NAME@VERSION`` or ``NAME@ALIAS``; without a version the pinned one, else the latest.
            columns: names of the columns to load, in the order wanted; the index always comes along.
            as_: ``pandas``, ``polars``, ``arrow``; lazily ``duckdb`` (a relation) or ``dask`` (a Dask frame).
            filters: the rows to load, ``[(column, operator, value), …]`` that must all hold, or a list of such lists of
                which one must hold; operators as in ``pyarrow.parquet.read_table``; missing values meet only
                ``not in``. Chunks that cannot hold such rows are not read.

        Raises:
            NotFound: no such data set, version or column; all missing columns are named.
            InvalidValue: an unknown ``as_``, a filter that does not fit, or columns of a folder.
        """
        if as_ not in engines.ENGINES:
            raise InvalidValue(
                f"a data set cannot be loaded as {as_!r}", f"as_ is one of: {', '.join(engines.ENGINES)}"
            )
        version = self.get(ref)
        manifest = self._manifest(version)
        if version.kind == "files":
            if columns is not None or filters is not None:
                raise InvalidValue(f"{version.ref} is a folder of files; it has no columns", "use the view's select()")
            self._used(version.name, version.version, "read", self._context())
            return self._view(version, manifest)
        if isinstance(columns, str):
            columns = [columns]
        columns = None if columns is None else list(dict.fromkeys(columns))
        wish = engines.Wish(manifest["frame"], columns, filters)
        reader = stored.reader(self._store.blobs, manifest)
        if as_ == "duckdb":
            found = engines.as_duckdb(reader, wish, self._plain(version, manifest, reader))
        else:
            found = engines.as_dask(reader, wish) if as_ == "dask" else engines.as_frame(reader, wish, as_)
        self._used(version.name, version.version, "read", self._context())
        return found

    def to_arrow(self, v: Reference, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows as an Arrow table; index levels of a pandas frame are its last columns."""
        return self.load(self._frame(v, "loaded as a table"), columns, as_="arrow")

    def files(self, v: Reference) -> Paths:
        """Paths of plain Parquet files in row order, all in one folder; of a folder of files, verified copies of them.

        Where chunks are patched or spread over files, plain ones are made once. In a bucket they are URLs.
        """
        version = self.get(v)
        manifest = self._manifest(version)
        self._used(version.name, version.version, "read", self._context())
        if version.kind == "files":  # small files lie in packs: what has a path is a copy
            view = self._view(version, manifest)
            return [str(view.local(path)) for path in view]
        return self._plain(version, manifest, stored.reader(self._store.blobs, manifest))

    # --- what is in it ------------------------------------------------------------------------------------------
    def profile(self, v: Reference) -> DatasetProfile | dict[str, Any]:
        """What each column of a frame holds, see ``frames.profile``; of a folder, its counts.

        Of a large version it is made when first asked for, from the chunks that no earlier profile has covered.
        """
        version = self.get(v)
        known = self.known_profile(version)
        if known is not None:
            return known
        made = self._sketched(version).profile()
        return DatasetProfile(made["rows"], made["columns"], version.ref)

    def known_profile(self, v: Reference) -> DatasetProfile | dict[str, Any] | None:
        """The profile if it has been made; None if that would take reading the data."""
        version = self.get(v)
        blob = self._row(version)["profile"]
        if not blob:
            return None
        found = json.loads(self._store.blobs.get(blob))
        return DatasetProfile(found["rows"], found["columns"], version.ref) if version.kind == "frame" else found

    def _sketched(self, version: DatasetVersion) -> profiles.Sketched:
        manifest = self._manifest(version)
        return profiles.Sketched(self._store, self._row(version), manifest, stored.reader(self._store.blobs, manifest))

    def diff(self, a: Reference, b: Reference, *, key: Sequence[str] | str | None = None) -> DatasetDiff:
        """What changed from ``a`` to ``b``; of folders, files count as rows. Only chunks that differ are read.

        Args:
            a: the earlier version.
            b: the later one.
            key: columns that tell rows apart: rows are then added, removed or changed by key.

        Raises:
            InvalidValue: one is a frame and the other a folder, or the key is none.
        """
        before, after = self.get(a), self.get(b)
        if before.kind != after.kind:
            raise InvalidValue(
                f"{before.ref} is of kind {before.kind}, {after.ref} of kind {after.kind}", "compare two of one kind"
            )
        known: dict[str, Any] = {
            "before": before.ref,
            "after": after.ref,
            "rows_before": before.rows,
            "rows_after": after.rows,
        }
        if before.digest == after.digest:
            return DatasetDiff(same=True, **known)
        if before.kind == "files":
            was, now = ({(e["path"], e["digest"]) for e in self._entries(v)} for v in (before, after))
            return DatasetDiff(same=False, rows_added=len(now - was), rows_removed=len(was - now), **known)
        old, new = (self._manifest(v) for v in (before, after))
        sides = stored.reader(self._store.blobs, old), stored.reader(self._store.blobs, new)
        types = diff.types(sides[0].schema, old["frame"]), diff.types(sides[1].schema, new["frame"])
        made = diff.changes(*sides, key=[key] if isinstance(key, str) else key, types=types)
        moved = profiles.moved(self._sketched(before), self._sketched(after), made.columns)
        return DatasetDiff(same=False, columns_changed=moved, **made.fields(), **known)

    # --- out of here, and whether it is whole -------------------------------------------------------------------
    def export(self, ref: Reference, folder: str | os.PathLike[str]) -> Paths:
        """Write a version as ``part-00000.parquet`` …, or as the tree of files it is; returns the paths.

        Croissant metadata (``croissant.json``) is written beside them.

        Raises:
            InvalidValue: one of the files exists; nothing is overwritten.
        """
        version = self.get(ref)
        manifest = self._manifest(version)
        about = croissant.About(version.name, version.version, version.message, version.user, version.created_at)
        if version.kind == "frame":
            reader = stored.reader(self._store.blobs, manifest)
            parts = plain.parts(self._store.blobs, reader)
            beside = {croissant.FILE_NAME: croissant.to_bytes(croissant.frame_metadata(about, parts, version.schema))}
            written = folders.export(self._store.blobs, parts, Path(folder), beside)
        else:
            written = folders.export_folder(self._store.blobs, manifest, Path(folder), about)
        self._used(version.name, version.version, "read", self._context())
        return written

    def verify(self, ref: Reference | None = None) -> Findings:
        """Read everything again and compare it with its digests: one finding per version, ``pass`` or ``block``."""
        if ref is not None:
            return [self._verify(self.get(ref))]
        with self._store.read() as db:
            rows = db.execute(sa.select(VERSIONS).order_by(VERSIONS.c.name, VERSIONS.c.version)).mappings().all()
        return [self._verify(v) for v in self._records(rows)]

    def _verify(self, version: DatasetVersion) -> Finding:
        asked = f"{version.ref} holds exactly what was kept"
        if self._not_included(version):
            error = manifest_only.not_included(version.ref)
            return Finding("dataset.content", "warn", asked, f"not included: {error.message}", error.hint)
        try:
            self._check_profile(version)
            manifest = self._manifest(version)
            if version.kind == "files":
                found = folders.verify_folder(self._store.blobs, manifest)
            else:
                found = self._content(manifest)
        except NbmlopsError as error:
            return Finding("dataset.content", "block", asked, error.message, error.hint)
        if found != version.digest:
            hint = "restore the store from a backup, or take the snapshot again"
            return Finding("dataset.content", "block", asked, f"its content has the digest {found}", hint)
        return Finding("dataset.content", "pass", asked, f"{version.rows} rows, digest {version.digest[:19]}…")

    def _content(self, manifest: dict[str, Any]) -> str:
        """The digest of a frame as it is read, in bounded memory."""
        reader = stored.reader(self._store.blobs, manifest)
        running = digest.Running(reader.schema)
        for table in reader.tables():
            running.add(table)
        return digest.whole(reader.schema, running.rows, manifest["frame"], running.columns())

    def _check_profile(self, version: DatasetVersion) -> None:
        """Whether the profile and the sketches behind it are as they were written."""
        blob = self._row(version)["profile"]
        for sketched in json.loads(self._store.blobs.get(blob)).get("sketches", ()) if blob else ():
            self._store.blobs.get(sketched)

    # --- manifests ----------------------------------------------------------------------------------------------
    def _manifest(self, version: Any) -> dict[str, Any]:
        """The manifest of a version whose data are to be read.

        Raises:
            NotFound: a capsule brought it without them.
        """
        if self._not_included(version):
            raise manifest_only.not_included(version.ref)
        return self._manifest_of(version.manifest)

    def _not_included(self, version: Any) -> bool:
        """Whether a capsule brought a version (a record, or its row) without its data, and nothing has since."""
        if manifest_only.TAG not in getattr(version, "tags", (manifest_only.TAG,)):
            return False
        with self._store.read() as db:
            bare = (version.name, version.version) in manifest_only.tagged(db, [version.name])
        return bare and bool(manifest_only.absent(self._store.blobs, version.manifest))

    def _manifest_of(self, blob: str) -> dict[str, Any]:
        return json.loads(self._store.blobs.get(blob))

    def _plain(self, version: DatasetVersion, manifest: dict[str, Any], reader: Reader) -> Paths:
        own = self._store.folder
        there = own is not None and "://" not in self._store.blobs.root
        folder = own / "views" / version.manifest.removeprefix("sha256:") if own is not None and there else None
        return plain.files(self._store.blobs, reader, folder)

    def _frame(self, ref: Reference, wish: str) -> DatasetVersion:
        version = self.get(ref)
        if version.kind != "frame":
            raise InvalidValue(
                f"{version.ref} is a folder of files and cannot be {wish}", "use load(), which gives its files"
            )
        return version

    def _entries(self, version: Any) -> list[folders.Entry]:
        return folders.get_entries(self._store.blobs, self._manifest(version))

    def _view(self, version: DatasetVersion, manifest: dict[str, Any]) -> folders.FolderView:
        entries = folders.get_entries(self._store.blobs, manifest)
        cache = self._store.folder / "cache" / "files" if self._store.folder else None
        return folders.FolderView(self._store.blobs, entries, version.ref, manifest.get("labels"), cache)
