"""Opening the other store without changing it: a folder as a copy of its database, a server within one snapshot."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from nbmlops.errors import InvalidValue, NotFound, StoreFault
from nbmlops.store import migrations, schema
from nbmlops.store.backup import copy_database
from nbmlops.store.engine import Store, open_elsewhere, open_store
from nbmlops.store.merging.columns import TABLES

_JOURNAL_NAME = 200  # characters


@contextlib.contextmanager
def opened(other: str | os.PathLike[str], artifacts: str | None = None) -> Iterator[Store]:
    """The other store, of this schema, to be read only. Closed and forgotten afterwards.

    A folder's database is copied (others may go on writing) and the copy brought up to date, with its journals beside
    it. A server cannot be copied: its schema must be this one.

    Args:
        other: a folder, or an SQLAlchemy URL.
        artifacts: where its blobs are; by default beside its database.

    Raises:
        NotFound: there is no store.
        StoreFault: it cannot be read, or (StoreTooNew) a newer nbmlops wrote it.
        InvalidValue: its database holds what no store has.
    """
    where = str(other)
    if "://" in where and not where.startswith("sqlite"):
        store = open_elsewhere(where, artifacts)
        try:
            yield _current(store)
        finally:
            store.close()
        return
    folder = Path(where.partition(":///")[2] or where).expanduser().absolute()
    folder = folder.with_suffix("") if "://" in where else folder
    database = folder / "nbmlops.db"
    if not database.is_file():
        raise NotFound(f"there is no store in {where}", "name a folder with nbmlops.db in it, or a database's URL")
    with tempfile.TemporaryDirectory(prefix="nbmlops-") as temporary:
        copy = Path(temporary) / "store"
        (copy / "journal").mkdir(parents=True)
        copy_database(database, copy / "nbmlops.db")
        _look_over(copy / "nbmlops.db", where)
        _copy_journals(folder / "journal", copy / "journal")
        store = open_store(copy, artifacts or str(folder / "blobs"))
        try:
            _check_tables(store, where)
            yield store
        finally:
            store.close()


def _current(store: Store) -> Store:
    with store.read() as db:
        found = migrations.current(db)
    if found is None:
        raise NotFound(f"there is no store in {store.shown_url}", "name the database of a store")
    if found != migrations.HEAD:
        raise StoreFault(
            f"{store.shown_url} has schema {found}, and this nbmlops works with {migrations.HEAD}",
            "a server's store is not changed by a merge: open it once with this version, and repeat",
        )
    return store


def _look_over(database: Path, where: str) -> None:
    """Before any statement runs in it: a store has tables and indexes, and nothing that acts by itself."""
    try:
        with contextlib.closing(sqlite3.connect(database)) as db:
            found = db.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master").fetchall()
    except sqlite3.Error as error:
        raise StoreFault(f"the database of {where} cannot be read: {error}", "run `nbmlops doctor` there") from error
    acting = [
        f"{kind} {name!r:.40}"
        for kind, name, text in found
        if kind not in {"table", "index"} or "VIRTUAL TABLE" in text.upper() or "GENERATED ALWAYS" in text.upper()
    ]
    if acting:
        raise InvalidValue.of(
            f"{where} cannot be taken over", acting[:20], "a store has no triggers, views and the like"
        )


def _check_tables(store: Store, where: str) -> None:
    """A migrated copy has the columns of a store; one that was tampered with may not."""
    faults = []
    with store.read() as db:
        inspector = sa.inspect(db)
        for table in schema.metadata.sorted_tables:
            there = {c["name"] for c in inspector.get_columns(table.name)} if inspector.has_table(table.name) else set()
            if lost := [c.name for c in table.c if c.name not in there]:
                faults.append(f"table {table.name} lacks {', '.join(lost[:5])}")
    if faults:
        raise InvalidValue.of(f"{where} cannot be taken over", faults, "restore its database from a backup")


def _copy_journals(source: Path, target: Path) -> None:
    """What runs have logged and nobody has folded yet; only plain files."""
    with contextlib.suppress(FileNotFoundError), os.scandir(source) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False) and len(entry.name) <= _JOURNAL_NAME:
                with contextlib.suppress(FileNotFoundError):  # folded meanwhile: its content is in the database
                    shutil.copyfile(entry.path, target / entry.name, follow_symlinks=False)


class StoreRows(Mapping[str, Iterable[Mapping[str, Any]]]):
    """All rows of a store, on one connection, as they are: only JSON is read, and may turn out to be none."""

    def __init__(self, db: sa.Connection) -> None:
        self._db = db

    def __getitem__(self, table: str) -> Iterable[Mapping[str, Any]]:
        return _TableRows(self._db, schema.metadata.tables[table], TABLES[table].title)

    def __iter__(self) -> Iterator[str]:
        return iter(TABLES)

    def __len__(self) -> int:
        return len(TABLES)


class _TableRows:
    """The rows of one table in the order of its key, read anew each time."""

    def __init__(self, db: sa.Connection, table: sa.Table, title: str) -> None:
        self._db, self._table, self._title = db, table, title

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        # As text: the driver's own values are wanted, and a new connection would compile each statement anew.
        quote = self._db.dialect.identifier_preparer.quote_identifier
        columns, keys = list(self._table.c), list(self._table.primary_key)
        listed, order = (", ".join(quote(c.name) for c in each) for each in (columns, keys))
        query = f"SELECT {listed} FROM {quote(self._table.name)} ORDER BY {order}"  # noqa: S608  (our schema's names)
        names = [c.name for c in columns]
        is_text = self._db.dialect.name == "sqlite"
        texts = [c.name for c in columns if is_text and isinstance(c.type, sa.JSON)]
        try:
            for found in self._db.exec_driver_sql(query, execution_options={"yield_per": 1000}):
                row = dict(zip(names, found))
                for name in texts:
                    row[name] = _json(row[name])
                yield row
        except (sa.exc.DBAPIError, sqlite3.Error, ValueError) as error:
            said = getattr(error, "orig", None) or error
            raise InvalidValue.of(
                "the other store cannot be taken over",
                [f"its {self._title} cannot be read: {said}"],
                "nothing was written",
            ) from error


def _json(text: object) -> object:
    """What a text says; what is no JSON comes back as a set, which no check lets pass.

    SQLite keeps a JSON number as a number: its columns have no types, only a liking for some.
    """
    if text is None or isinstance(text, int | float):
        return text
    try:
        return json.loads(text) if isinstance(text, str) else set()
    except (ValueError, RecursionError):
        return set()
