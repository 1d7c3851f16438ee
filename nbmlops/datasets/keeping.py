"""Keeping frames, files and folders as versions."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from nbmlops import clock, refs, secrets
from nbmlops.context import Context
from nbmlops.datasets.catalogue import VERSIONS
from nbmlops.datasets.reading import Reading
from nbmlops.errors import InvalidValue
from nbmlops.frames import arrow, files, folders, stored, stream
from nbmlops.frames.chunks.reader import Reader
from nbmlops.records import ContractReport, DatasetVersion
from nbmlops.store import manifest_only, schema


@dataclass(frozen=True)
class _Asked:
    """What a snapshot was asked to be, beside its data."""

    name: str
    message: str | None
    facts: dict[str, Any]
    tags: Mapping[str, Any]
    context: Context
    contract: Any = None


class Keeping(Reading):
    """Snapshots."""

    def snapshot(
        self,
        data: Any,
        name: str,
        message: str | None = None,
        *,
        source: Mapping[str, Any] | None = None,
        contract: Any = None,
        labels: Any = None,
        tags: Mapping[str, Any] | None = None,
    ) -> DatasetVersion:
        """Keep a frame, a CSV or Parquet file, or a folder as a version of a data set.

        The same content as the latest version gives that version, with ``new`` False, and writes nothing. What the
        latest version shares with the new one is not written again. Files that are large in memory, Arrow readers and
        Arrow data sets are read piece by piece.

        Args:
            data: a pandas, polars or Arrow frame, a dict of columns, a list of records, or a path.
            name: the data set's name.
            message: why this version was made.
            source: facts about where it came from; added to what the context knows.
            contract: what the data must be like, see ``frames.contracts``; checked before there is a version.
            labels: of a folder, a table with a column of paths, or ``"folders"``; see ``frames.folders.labels``.
            tags: labels of the version, see :meth:`tag`.

        Raises:
            InvalidValue: the name is not allowed, or the data cannot be kept exactly; all faults are named.
            NotFound: there is no such file or folder.
            ContractViolated: the contract refuses the data; all violations are named, and no version is made.
        """
        refs.check_name(name, "data set")
        context = self._context()
        asked = _Asked(name, message, {**_origin(context), **(source or {})}, tags or {}, context, _contract(contract))
        if isinstance(data, str | os.PathLike):
            path = Path(data)
            asked.facts.update(type="folder" if path.is_dir() else "file", path=str(path))
            if context.notebook is not None:
                asked.facts["notebook"] = context.notebook
            if path.is_dir():
                return self._keep_folder(path, labels, asked)
            data = stream.of_file(path) or files.read_file(path)
        if labels is not None:
            raise InvalidValue("only a folder has labels beside it", "put the labels of a frame into a column")
        source_ = data if isinstance(data, stream.Stream) else stream.of(data)
        return self._keep_stream(source_, asked) if source_ is not None else self._keep_frame(data, asked)

    def _keep_frame(self, data: Any, asked: _Asked) -> DatasetVersion:
        packed = arrow.pack(data)
        if asked.contract is not None:
            self._held_to(asked, packed.table, packed.manifest)
        content, blocks = stored.content_of(packed)
        values = self._known(asked.name, content)
        if values is None:
            arrow.check_round_trip(data, packed)
            before = self._before(asked.name)
            values = stored.keep_frame(self._store.blobs, packed, content, blocks, before)
        return self._add(values, asked)

    def _keep_stream(self, source: stream.Stream, asked: _Asked) -> DatasetVersion:
        values = stored.keep_stream(self._store.blobs, source, self._before(asked.name))
        if (
            asked.contract is not None
        ):  # only now are all rows at hand; without a row in the database there is no version
            manifest = self._manifest_of(values["manifest"])
            self._held_to(asked, stored.reader(self._store.blobs, manifest).tables(), manifest["frame"])
        known = self._known(asked.name, values["digest"])
        return self._add(known or values, asked)

    def _before(self, name: str) -> Reader | None:
        """What reads the latest version, if it is a frame that a new one can share with."""
        latest = self._latest(name)
        if latest is None or latest.kind != "frame" or self._not_included(latest):
            return None
        manifest = self._manifest(latest)
        reader = stored.reader(self._store.blobs, manifest)
        return reader if reader.layout.limits is not None else None

    def _held_to(self, asked: _Asked, tables: Any, manifest: Mapping[str, Any]) -> None:
        """Check the contract; violations that only warn are noted in the facts."""
        from nbmlops.frames import contracts

        report: ContractReport = contracts.check(
            asked.contract, tables, subject=f"dataset:{asked.name}", index=index_fields(manifest)
        )
        contracts.refuse(report)
        asked.facts["contract"] = {
            "name": report.contract,
            "status": report.status,
            "violations": len(report.violations),
        }
        if report.violations:
            lines = "; ".join(f.seen for f in report.findings[:5])
            warnings.warn(f"dataset:{asked.name} violates its contract {report.contract}: {lines}", stacklevel=5)

    def _keep_folder(self, path: Path, labels: Any, asked: _Asked) -> DatasetVersion:
        if asked.contract is not None:
            raise InvalidValue("a folder of files has no contract", "check the table of its labels instead")
        blobs, own = self._store.blobs, self._store.folder
        tree = folders.scan(path, [own] if own else [])
        secrets.refuse((file.path for file in tree.files), "the name of a file")
        table = None if labels is None else folders.read_labels(labels, tree)
        if table is not None and table.unlabelled:
            shown = ", ".join(map(repr, table.unlabelled[:5]))
            warnings.warn(
                f"{len(table.unlabelled)} of {len(tree.files)} files of {path} without label: {shown}", stacklevel=4
            )
        latest = self._latest(asked.name)
        known = (
            self._entries(latest)
            if latest is not None and latest.kind == "files" and not self._not_included(latest)
            else ()
        )
        entries = folders.put_tree(blobs, tree, known, own / "cache" / "stat" if own else None)
        content = folders.folder_digest(entries, table.meaning() if table else None)
        values = self._known(asked.name, content)
        if values is None:
            values = stored.keep_folder(blobs, entries, content, table)
        asked.facts.update(tree.left_out())
        return self._add(values, asked)

    def _known(self, name: str, content: str) -> dict[str, Any] | None:
        """The stored content of an earlier version with this digest, to be used again."""
        query = sa.select(VERSIONS).where(VERSIONS.c.name == name, VERSIONS.c.digest == content)
        with self._store.read() as db:
            row = db.execute(query.order_by(VERSIONS.c.version.desc()).limit(1)).mappings().first()
            bare = {} if row is None else manifest_only.tagged(db, [name])
        if row is not None and row["manifest"] in bare.values():  # what is given here now is all there is of it
            return None
        same = ("digest", "kind", "format", "manifest", "profile", "rows", "columns", "bytes", "schema")
        return {k: row[k] for k in same} if row is not None else None

    def _add(self, values: Mapping[str, Any], asked: _Asked) -> DatasetVersion:
        """The latest version if it holds this content, else a new row with the next number."""
        name, context = asked.name, asked.context
        with self._store.write() as db:
            row = {"id": clock.new_id(), "name": name, "created_at": clock.now(), "tags": {}}
            db.execute(self._store.insert(schema.datasets).on_conflict_do_nothing(), [row])
            # PostgreSQL lets two writers in: the lock on this row makes numbering one after the other.
            db.execute(sa.select(schema.datasets.c.id).where(schema.datasets.c.name == name).with_for_update())
            manifest_only.complete(db, self._store.blobs, [name])
            latest = self._latest(name)
            new = latest is None or latest.digest != values["digest"] or self._not_included(latest)
            version = 1 if latest is None else latest.version + new
            if new:
                db.execute(
                    sa.insert(VERSIONS).values(
                        **values,
                        id=clock.new_id(),
                        name=name,
                        version=version,
                        message=asked.message or "",
                        source=asked.facts,
                        user=context.user,
                        run_id=context.run_id,
                        created_at=clock.now(),
                    )
                )
            self._used(name, version, "write", context)
            found = self._latest(name)
            if asked.tags:
                self.tag(f"dataset:{name}@{version}", asked.tags)
            return self._records([found._mapping], new=new)[0]


def index_fields(manifest: Mapping[str, Any]) -> list[str]:
    """The stored fields that are levels of a pandas index."""
    return [level["field"] for level in manifest.get("index", {}).get("levels", ())]


def _contract(given: Any) -> Any:
    """A contract, read before anything else, so that a fault in it is told first."""
    if given is None:
        return None
    from nbmlops.frames.contracts import load_contract

    return load_contract(given)


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
