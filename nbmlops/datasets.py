"""Data sets: immutable, numbered snapshots of frames and folders, found again by content.

A version's digest is a function of schema and values alone. Taking a snapshot of what the latest version already holds
gives that version; nothing is written. The rows are plain Parquet blobs, listed in a manifest blob beside the schema
and what Parquet cannot say about dtypes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import pyarrow as pa
import sqlalchemy as sa

from nbmlops import clock, refs
from nbmlops.context import Context, ContextSource
from nbmlops.errors import InvalidValue, NbmlopsError, NotFound
from nbmlops.frames import arrow, diff, digest, files, parquet, stored, tree
from nbmlops.records import DatasetDiff, DatasetVersion, Finding
from nbmlops.store import Store, schema

_VERSIONS = schema.dataset_versions
Reference: TypeAlias = str | DatasetVersion
# Named here, because inside the class ``list`` is a method.
Versions: TypeAlias = list[DatasetVersion]
Findings: TypeAlias = list[Finding]
Paths: TypeAlias = list[str]


class _Uses(Protocol):
    def use_dataset(self, run_id: str, name: str, version: int, mode: str = "read") -> None: ...


class Datasets:
    """The desk of data sets. ``runs`` records which run read or wrote which version."""

    def __init__(self, store: Store, context: ContextSource, runs: _Uses) -> None:
        self._store = store
        self._context = context
        self._runs = runs

    # --- writing ------------------------------------------------------------------------------------------------
    def snapshot(
        self, data: Any, name: str, message: str | None = None, source: dict[str, Any] | None = None
    ) -> DatasetVersion:
        """Keep a frame, a CSV or Parquet file, or a folder as a version of a data set.

        The same content as the latest version gives that version, with ``new`` False, and writes nothing.

        Args:
            data: a pandas, polars or Arrow frame, a dict of columns, a list of records, or a path.
            name: the data set's name.
            message: why this version was made.
            source: facts about where it came from; added to what the context knows.

        Raises:
            InvalidValue: the name is not allowed, or the data cannot be kept exactly; all faults are named.
            NotFound: there is no such file or folder.
        """
        refs.check_name(name, "data set")
        context = self._context()
        facts = {**_origin(context), **(source or {})}
        if isinstance(data, str | os.PathLike):
            path = Path(data)
            facts = {
                **facts,
                "type": "folder" if path.is_dir() else "file",
                "path": str(path),
                "notebook": context.notebook,
            }
            facts = {k: v for k, v in facts.items() if v is not None}
            if path.is_dir():
                return self._snapshot_folder(path, name, message, facts, context)
            data = files.read_file(path)
        packed = arrow.pack(data)
        content, columns = digest.table_digest(packed.table, packed.manifest)
        values = self._known(name, content)
        if values is None:
            arrow.check_round_trip(data, packed)
            values = stored.keep_frame(self._store.blobs, packed, content, columns)
        return self._add(name, values, message, facts, context)

    def _snapshot_folder(
        self, folder: Path, name: str, message: str | None, facts: dict[str, Any], context: Context
    ) -> DatasetVersion:
        latest = self._latest(name)
        known = (
            {e["path"]: e for e in self._manifest(latest)["files"]}
            if latest is not None and latest.kind == "files"
            else {}
        )
        own = [self._store.folder] if self._store.folder else []
        entries, links = tree.put_folder(self._store.blobs, folder, known, own)
        if links:
            facts = {**facts, "symlinks_left_out": len(links)}
        content = tree.folder_digest(entries)
        values = self._known(name, content)
        if values is None:
            values = stored.keep_folder(self._store.blobs, entries, content)
        return self._add(name, values, message, facts, context)

    def _known(self, name: str, content: str) -> dict[str, Any] | None:
        """The stored content of an earlier version with this digest, to be used again."""
        query = sa.select(_VERSIONS).where(_VERSIONS.c.name == name, _VERSIONS.c.digest == content)
        with self._store.read() as db:
            row = db.execute(query.order_by(_VERSIONS.c.version.desc()).limit(1)).mappings().first()
        same = ("digest", "kind", "format", "manifest", "profile", "rows", "columns", "bytes", "schema")
        return {k: row[k] for k in same} if row is not None else None

    def _add(
        self, name: str, values: dict[str, Any], message: str | None, facts: dict[str, Any], context: Context
    ) -> DatasetVersion:
        """The latest version if it holds this content, else a new row with the next number."""
        with self._store.write() as db:
            row = {"id": clock.new_id(), "name": name, "created_at": clock.now(), "tags": {}}
            db.execute(self._store.insert(schema.datasets).on_conflict_do_nothing(), [row])
            # PostgreSQL lets two writers in: the lock on this row makes numbering one after the other.
            db.execute(sa.select(schema.datasets.c.id).where(schema.datasets.c.name == name).with_for_update())
            latest = self._latest(name)
            new = latest is None or latest.digest != values["digest"]
            version = 1 if latest is None else latest.version + new
            if new:
                db.execute(
                    sa.insert(_VERSIONS).values(
                        **values,
                        id=clock.new_id(),
                        name=name,
                        version=version,
                        message=message or "",
                        source=facts,
                        user=context.user,
                        run_id=context.run_id,
                        created_at=clock.now(),
                    )
                )
            self._used(name, version, "write", context)
            found = self._latest(name)
            return self._record(found, new=new)

    # --- reading ------------------------------------------------------------------------------------------------
    def load(self, ref: Reference, columns: Sequence[Any] | None = None, as_: str = "pandas") -> Any:
        """The frame of a version, exactly as it was given if ``as_`` is where it came from; of a folder, a view.

        Args:
            ref: ``NAME``, ``NAME@VERSION`` or ``NAME@ALIAS``; without a version the pinned one, else the latest.
            columns: names of the columns to load, in the order wanted; the index always comes along.
            as_: ``pandas``, ``polars`` or ``arrow``.

        Raises:
            NotFound: no such data set, version or column; all missing columns are named.
            InvalidValue: an unknown ``as_``, or columns of a folder.
        """
        if as_ not in arrow.ENGINES:
            raise InvalidValue(f"a data set cannot be loaded as {as_!r}", f"as_ is one of: {', '.join(arrow.ENGINES)}")
        version = self.get(ref)
        manifest = self._manifest(version)
        if version.kind == "files":
            if columns is not None:
                raise InvalidValue(f"{version.ref} is a folder of files; it has no columns", "leave columns out")
            self._used(version.name, version.version, "read", self._context())
            return tree.FolderView(self._store.blobs, manifest["files"], version.ref)
        if isinstance(columns, str):
            columns = [columns]
        columns = None if columns is None else list(dict.fromkeys(columns))
        table = self._table(manifest, columns)
        self._used(version.name, version.version, "read", self._context())
        return arrow.unpack(table, manifest["frame"], as_, columns)

    def to_arrow(self, v: Reference, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows as an Arrow table; index levels of a pandas frame are its last columns."""
        version = self._frame(v, "loaded as a table")
        return self.load(version, columns, as_="arrow")

    def get(self, ref: Reference) -> DatasetVersion:
        """One version: the one named, else the pinned one, else the latest.

        Raises:
            NotFound: there is no such data set or version.
        """
        if isinstance(ref, DatasetVersion):
            return ref
        parsed = refs.parse(ref, "dataset")
        wanted = parsed.version
        if wanted is None and parsed.alias is not None:
            wanted = self._alias(parsed.name, parsed.alias)
        elif wanted is None:
            wanted = self._context().pins.get(f"dataset:{parsed.name}")
        query = sa.select(_VERSIONS).where(_VERSIONS.c.name == parsed.name)
        if wanted is not None:
            query = query.where(_VERSIONS.c.version == wanted)
        with self._store.read() as db:
            row = db.execute(query.order_by(_VERSIONS.c.version.desc()).limit(1)).mappings().first()
        if row is None:
            raise self._missing(parsed.name, wanted)
        return self._record(row)

    def list(self) -> Versions:
        """The latest version of each data set, by name."""
        last = (
            sa.select(_VERSIONS.c.name, sa.func.max(_VERSIONS.c.version).label("version"))
            .group_by(_VERSIONS.c.name)
            .subquery()
        )
        query = sa.select(_VERSIONS).join(
            last, sa.and_(_VERSIONS.c.name == last.c.name, _VERSIONS.c.version == last.c.version)
        )
        with self._store.read() as db:
            rows = db.execute(query.order_by(_VERSIONS.c.name)).mappings().all()
        return self._records(rows)

    def versions(self, name: str) -> Versions:
        """All versions of a data set, the oldest first.

        Raises:
            NotFound: there is no such data set.
        """
        name = refs.parse(name, "dataset").name
        with self._store.read() as db:
            rows = (
                db.execute(sa.select(_VERSIONS).where(_VERSIONS.c.name == name).order_by(_VERSIONS.c.version))
                .mappings()
                .all()
            )
        if not rows:
            raise self._missing(name, None)
        return self._records(rows)

    def profile(self, v: Reference) -> dict[str, Any]:
        """``{"rows", "columns": {name: profile}}`` of a frame, see ``frames.profile``; of a folder, its counts."""
        row = self._row(self.get(v))
        return json.loads(self._store.blobs.get(row["profile"]))

    def files(self, v: Reference) -> Paths:
        """Local paths or URLs of the stored files, in row order: plain Parquet, whatever their names end with."""
        version = self.get(v)
        self._used(version.name, version.version, "read", self._context())
        return [self._store.blobs.url(f["digest"]) for f in self._manifest(version)["files"]]

    def diff(self, a: Reference, b: Reference) -> DatasetDiff:
        """What changed from ``a`` to ``b``; of folders, files count as rows.

        Raises:
            InvalidValue: one is a frame and the other a folder.
        """
        before, after = self.get(a), self.get(b)
        if before.kind != after.kind:
            raise InvalidValue(
                f"{before.ref} is of kind {before.kind}, {after.ref} of kind {after.kind}", "compare two of one kind"
            )
        known = {"before": before.ref, "after": after.ref, "rows_before": before.rows, "rows_after": after.rows}
        if before.digest == after.digest:
            return DatasetDiff(same=True, **known)  # type: ignore[arg-type]
        old, new = self._manifest(before), self._manifest(after)
        if before.kind == "files":
            was, now = ({(e["path"], e["digest"]) for e in m["files"]} for m in (old, new))
            return DatasetDiff(same=False, rows_added=len(now - was), rows_removed=len(was - now), **known)  # type: ignore[arg-type]
        tables = self._table(old), self._table(new)
        return DatasetDiff(same=False, **known, **diff.frame_changes(tables, (old, new)))  # type: ignore[arg-type]

    def export(self, ref: Reference, folder: str | os.PathLike[str]) -> Paths:
        """Write a version as ``part-00000.parquet`` …, or as the tree of files it is; returns the paths.

        Raises:
            InvalidValue: one of the files exists; nothing is overwritten.
        """
        version = self.get(ref)
        entries = self._manifest(version)["files"]
        if version.kind == "frame":
            entries = [{**e, "path": f"part-{i:05}.parquet"} for i, e in enumerate(entries)]
        written = tree.export(self._store.blobs, entries, Path(folder))
        self._used(version.name, version.version, "read", self._context())
        return written

    def verify(self, ref: Reference | None = None) -> Findings:
        """Read everything again and compare it with its digests: one finding per version, ``pass`` or ``block``."""
        if ref is not None:
            return [self._verify(self.get(ref))]
        with self._store.read() as db:
            rows = db.execute(sa.select(_VERSIONS).order_by(_VERSIONS.c.name, _VERSIONS.c.version)).mappings().all()
        return [self._verify(v) for v in self._records(rows)]

    def _verify(self, version: DatasetVersion) -> Finding:
        asked = f"{version.ref} holds exactly what was kept"
        try:
            self.profile(version)
            manifest = self._manifest(version)
            if version.kind == "files":
                for entry in manifest["files"]:
                    self._store.blobs.get(entry["digest"])
                found = tree.folder_digest(manifest["files"])
            else:
                found, _ = digest.table_digest(self._table(manifest), manifest["frame"])
        except NbmlopsError as error:
            return Finding("dataset.content", "block", asked, error.message, error.hint)
        if found != version.digest:
            hint = "restore the store from a backup, or take the snapshot again"
            return Finding("dataset.content", "block", asked, f"its content has the digest {found}", hint)
        return Finding("dataset.content", "pass", asked, f"{version.rows} rows, digest {version.digest[:19]}…")

    # --- rows and records ---------------------------------------------------------------------------------------
    def _table(self, manifest: dict[str, Any], columns: Sequence[Any] | None = None) -> pa.Table:
        fields = arrow.fields_of(manifest["frame"], columns)
        table = parquet.get_table(self._store.blobs, manifest["files"], fields)
        return arrow.stored_types(table, manifest["frame"])

    def _manifest(self, version: Any) -> dict[str, Any]:
        return json.loads(self._store.blobs.get(version.manifest))

    def _frame(self, ref: Reference, wish: str) -> DatasetVersion:
        version = self.get(ref)
        if version.kind != "frame":
            raise InvalidValue(
                f"{version.ref} is a folder of files and cannot be {wish}", "use load(), which gives its files"
            )
        return version

    def _latest(self, name: str) -> Any:
        query = sa.select(_VERSIONS).where(_VERSIONS.c.name == name).order_by(_VERSIONS.c.version.desc()).limit(1)
        with self._store.read() as db:
            return db.execute(query).first()

    def _row(self, version: DatasetVersion) -> Any:
        query = sa.select(_VERSIONS).where(_VERSIONS.c.name == version.name, _VERSIONS.c.version == version.version)
        with self._store.read() as db:
            row = db.execute(query).mappings().first()
        if row is None:
            raise self._missing(version.name, version.version)
        return row

    def _alias(self, name: str, alias: str) -> int:
        table = schema.dataset_aliases
        with self._store.read() as db:
            known = {r.alias: r.version for r in db.execute(sa.select(table).where(table.c.name == name))}
        if alias not in known:
            raise NotFound.of(f"alias of data set {name!r}", alias, known, "" if known else "name a version: NAME@1")
        return known[alias]

    def _missing(self, name: str, version: int | None) -> NotFound:
        with self._store.read() as db:
            names = db.execute(sa.select(schema.datasets.c.name)).scalars().all()
            there = db.execute(
                sa.select(_VERSIONS.c.version).where(_VERSIONS.c.name == name).order_by(_VERSIONS.c.version)
            )
            numbers = [str(n) for n in there.scalars()]
        if numbers:
            shown = ", ".join(numbers[-10:])
            return NotFound(
                f"data set {name!r} has no version {version}", f"there {'are' if len(numbers) > 1 else 'is'}: {shown}"
            )
        return NotFound.of("data set", name, names, "" if names else "snapshot(frame, NAME) makes the first one")

    def _records(self, rows: Sequence[Any]) -> Versions:
        table = schema.dataset_aliases
        with self._store.read() as db:
            aliases = db.execute(sa.select(table)).all()
        return [
            self._build(r, tuple(sorted(a.alias for a in aliases if (a.name, a.version) == (r["name"], r["version"]))))
            for r in rows
        ]

    def _record(self, row: Any, *, new: bool = True) -> DatasetVersion:
        row = getattr(row, "_mapping", row)
        table = schema.dataset_aliases
        query = sa.select(table.c.alias).where(table.c.name == row["name"], table.c.version == row["version"])
        with self._store.read() as db:
            aliases = tuple(sorted(db.execute(query).scalars()))
        return self._build(row, aliases, new=new)

    def _build(self, row: Any, aliases: tuple[str, ...], *, new: bool = True) -> DatasetVersion:
        same = ("name", "version", "digest", "kind", "rows", "columns", "bytes", "message", "source", "user", "run_id")
        more = ("created_at", "format", "manifest")
        return DatasetVersion(
            **{k: row[k] for k in (*same, *more)}, schema=tuple(row["schema"]), aliases=aliases, new=new, _desk=self
        )

    def _used(self, name: str, version: int, mode: str, context: Context) -> None:
        if context.run_id is not None:
            self._runs.use_dataset(context.run_id, name, version, mode)


def _origin(context: Context) -> dict[str, Any]:
    """Where a frame came from, as far as the context knows."""
    facts = {
        "type": "frame",
        "path": context.notebook,
        "cell_id": context.cell_id,
        "stage": context.stage,
        "run_id": context.run_id,
    }
    return {k: v for k, v in facts.items() if v is not None}
