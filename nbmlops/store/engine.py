"""Opening a store; everything that differs between SQLite and PostgreSQL is in this file.

SQLite is set up so that many processes can use one file (measured: without these, 152 of 192 concurrent first opens
fail, and thousands of read-then-write transactions meet "database is locked"):

- ``busy_timeout`` before ``journal_mode``: switching to WAL needs a lock itself;
- every writing transaction is BEGIN IMMEDIATE: an upgrade from a read lock is refused at once, whatever the timeout;
- ``isolation_level=None``, so that the driver does not commit around DDL and a failed migration leaves nothing;
- TRUNCATE instead of WAL on a network file system, where WAL's shared memory does not work.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from nbmlops import clock, secrets, settings
from nbmlops import context as contexts
from nbmlops.errors import NbmlopsError, StoreFault, StoreReadOnly
from nbmlops.store.blobs import Blobs
from nbmlops.store.masking import mask_parameters

BUSY_SECONDS = 30.0  # with Python's 5 s, SQLite's unfair lock starved 7 of 16 processes within 12 s
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "fuse.sshfs", "lustre", "gpfs", "ceph", "beegfs"}
)
_MIGRATION_LOCK = 0x6E626D6C  # "nbml": PostgreSQL's advisory lock for schema changes
_LEDGER_LOCK = 0x6E626D6D


_opened: weakref.WeakSet[Store] = weakref.WeakSet()


EVENTS = "nbmlops_events"  # marks a connection whose transaction has written events


class Store:
    """One open store. ``read()`` and ``write()`` are the only ways to its rows; ``blobs`` holds the bytes.

    Safe to use from several threads. ``url`` never contains a password when shown: see :attr:`shown_url`.
    """

    def __init__(
        self, engine: sa.Engine, blobs: Blobs, folder: Path | None, journal_folder: Path, journal_mode: str
    ) -> None:
        self.engine = engine
        self.blobs = blobs
        self.folder = folder
        self.journal_folder = journal_folder
        self.journal_mode = journal_mode
        self._local = threading.local()
        self._upserts: dict[tuple[Any, ...], Any] = {}
        self._key_ids: dict[str, int] = {}
        self.after_events: Callable[[], None] | None = None  # called when events are committed, outside the transaction
        _opened.add(self)
        sa.event.listen(engine, "before_cursor_execute", mask_parameters, retval=True)

    @property
    def dialect(self) -> str:
        return self.engine.dialect.name

    @property
    def shown_url(self) -> str:
        """Where the store is, fit to be shown: a folder, or a URL without its password."""
        return str(self.folder) if self.folder else self.engine.url.render_as_string(hide_password=True)

    @property
    def url(self) -> str:
        """What another process opens this store with; may hold a password, so never shown or stored."""
        return str(self.folder) if self.folder else self.engine.url.render_as_string(hide_password=False)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection to read with; inside ``write()`` on the same thread, that transaction's own."""
        current = getattr(self._local, "connection", None)
        if current is not None:
            yield current
            return
        with self._faults(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[sa.Connection]:
        """One transaction: all of it or nothing. Nested use on the same thread joins it.

        ``durable`` waits for the disk before it returns (needed before a journal may be deleted).

        Raises:
            StoreReadOnly: the store cannot be written.
            StoreFault: the disk is full, the database stays locked, the connection is lost.
        """
        current = getattr(self._local, "connection", None)
        if current is not None:
            yield current
            return
        with self._faults(), self.engine.connect() as connection:
            connection = connection.execution_options(nbmlops_write=True)
            if durable and self.dialect == "sqlite":
                connection.connection.driver_connection.execute("PRAGMA synchronous=FULL")  # type: ignore[union-attr]
            try:
                with connection.begin():
                    connection.info.pop(EVENTS, None)  # of a transaction that was rolled back
                    self._local.connection = connection
                    yield connection
                announce = connection.info.pop(EVENTS, False)
            finally:
                self._local.connection = None
                if durable and self.dialect == "sqlite":
                    connection.connection.driver_connection.execute("PRAGMA synchronous=NORMAL")  # type: ignore[union-attr]
        if announce and self.after_events is not None:
            self.after_events()

    @contextmanager
    def snapshot(self) -> Iterator[sa.Connection]:
        """A connection that sees the store as it is now, whatever others write; ``read()`` on this thread uses it."""
        with self._faults(), self.engine.connect() as connection:
            if self.dialect == "postgresql":
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            before = getattr(self._local, "connection", None)
            try:
                with connection.begin():
                    self._local.connection = connection
                    yield connection
            finally:
                self._local.connection = before

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            raise _store_fault(error, self.shown_url) from error

    def upsert(self, db: sa.Connection, table: sa.Table, rows: Sequence[dict[str, Any]], keys: Sequence[str]) -> None:
        """Insert rows, or update the other columns of those whose ``keys`` exist."""
        if not rows:
            return
        shape = (table.name, tuple(rows[0]), tuple(keys))
        if shape not in self._upserts:  # building one costs more than executing it
            statement = self.insert(table)
            rest = {c: statement.excluded[c] for c in rows[0] if c not in keys}
            self._upserts[shape] = (
                statement.on_conflict_do_update(index_elements=list(keys), set_=rest)
                if rest
                else statement.on_conflict_do_nothing()
            )
        db.execute(self._upserts[shape], list(rows))

    def insert(self, table: sa.Table) -> Any:
        """The dialect's INSERT, which knows ON CONFLICT."""
        if self.dialect == "sqlite":
            return sqlite.insert(table)
        from sqlalchemy.dialects import postgresql  # 19 ms that a folder store need not pay

        return postgresql.insert(table)

    def key_ids(self, db: sa.Connection, names: Sequence[str]) -> dict[str, int]:
        """The small integers that stand for parameter, metric and tag names; made when new."""
        from nbmlops.store.schema import keys

        wanted = list(dict.fromkeys(names))
        missing = [n for n in wanted if n not in self._key_ids]
        if missing:
            # Remembered only when found before this transaction adds any: one that is rolled back takes its keys along.
            self._key_ids.update(_find_keys(db, missing))
        found = {n: self._key_ids[n] for n in wanted if n in self._key_ids}
        fresh = [n for n in wanted if n not in found]  # numbered as they were logged, which is how they are shown
        if fresh:
            db.execute(self.insert(keys).on_conflict_do_nothing(), [{"name": n} for n in fresh])
            found.update(_find_keys(db, fresh))
        return found

    def close(self) -> None:
        self.engine.dispose()


def open_store(url: str | os.PathLike[str] | None = None, artifacts: str | None = None) -> Store:
    """Open a store, making it if it is not there, and bring its schema up to date.

    Inside a clean run (:mod:`nbmlops.reproduction`) the user's own store cannot be opened, however it is named: what is
    opened in its place is the scratch store that stands for it.

    Args:
        url: a folder, or an SQLAlchemy URL; by default the setting ``store``, else ``.nbmlops`` in the project root.
        artifacts: an fsspec URL for the blobs; by default the setting ``artifacts``, else a folder beside the database.

    Raises:
        StoreFault: it cannot be opened or made.
        StoreTooNew: a newer nbmlops wrote it.
    """
    from nbmlops.store import migrations

    secrets.inherit()
    where = str(url or settings.value("store") or settings.project_root() / ".nbmlops")
    artifacts = artifacts or settings.value("artifacts") or None
    store = _open_server(where, artifacts) if "://" in where else _open_folder(Path(where), artifacts)
    try:
        migrations.upgrade(store)
        if (scratch := contexts.reproducing()) and store.folder != Path(scratch):
            store = _instead(store, scratch)
    except BaseException:  # the caller gets no store to close, so it is closed here, and raised again
        store.close()
        raise
    if artifacts:  # blobs outside the store's own folder may be shared by mistake: gc must be able to see that
        store.blobs.owner = store_id(store)
    return store


def _instead(store: Store, scratch: str) -> Store:
    """The scratch store of a clean run where ``store`` is the one it stands for, which has the same id."""
    stand_in = _open_folder(Path(scratch), store.blobs.root)
    if store_id(stand_in) != store_id(store):
        stand_in.close()
        return store
    store.close()
    return stand_in


def store_id(store: Store) -> str:
    """The id that a store was born with.

    Raises:
        StoreFault: its database does not have it.
    """
    from nbmlops.store.schema import meta

    with store.read() as db:
        found = db.execute(sa.select(meta.c.value).where(meta.c.name == "store_id")).scalar()
    if found is None:
        raise StoreFault(f"the store {store.shown_url} has lost its id", "restore its database from a backup")
    return str(found)


def lock_tables(db: sa.Connection, tables: Iterable[sa.Table]) -> None:
    """Keeps every other writer out until this transaction ends (SQLite's writers are alone anyway)."""
    if db.dialect.name == "postgresql":
        db.execute(sa.text(f"LOCK TABLE {', '.join(t.name for t in tables)} IN SHARE MODE"))


def lock_run(db: sa.Connection, run_seq: int) -> None:
    """Keeps others from folding this run's journals until this transaction ends (SQLite's writers are alone anyway)."""
    if db.dialect.name == "postgresql":
        db.execute(sa.text("SELECT 1 FROM runs WHERE seq = :run FOR UPDATE"), {"run": run_seq})


def lock_versions(db: sa.Connection) -> None:
    """Keeps others from numbering versions until this transaction ends (SQLite's writers are alone anyway).

    Whoever registers a model takes the ledger's lock first, whoever keeps data writes to ``datasets`` first: so do we.
    """
    lock_ledger(db)
    if db.dialect.name == "postgresql":
        db.execute(sa.text("LOCK TABLE datasets, dataset_versions IN SHARE ROW EXCLUSIVE MODE"))


def open_elsewhere(url: str, artifacts: str | None = None) -> Store:
    """A store in a database server, as it is: its schema is not brought up to date."""
    return _open_server(url, artifacts)


def _open_folder(folder: Path, artifacts: str | None) -> Store:
    folder = folder.expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "journal").mkdir(exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
    except OSError as error:
        if not (folder / "nbmlops.db").exists():
            raise _cannot_make(folder, error) from error
    database = folder / "nbmlops.db"
    if database.exists() and not os.access(folder, os.W_OK):
        return Store(
            _frozen_engine(database), Blobs(artifacts or str(folder / "blobs")), folder, folder / "journal", "read-only"
        )
    mode = "TRUNCATE" if file_system(folder) in NETWORK_FILE_SYSTEMS else "WAL"
    engine = _sqlite_engine(database, mode)
    return Store(engine, Blobs(artifacts or str(folder / "blobs")), folder, folder / "journal", mode)


def _cannot_make(folder: Path, error: OSError) -> StoreFault:
    kind = StoreReadOnly if error.errno in {1, 13, 30} else StoreFault
    return kind(
        f"the store {folder} cannot be made: {error.strerror}",
        "choose a folder you can write to with NBMLOPS_STORE, or mend its permissions",
    )


def _sqlite_engine(database: Path, mode: str) -> sa.Engine:
    engine = sa.create_engine(
        f"sqlite:///{database}",
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
        poolclass=sa.QueuePool,
        pool_size=4,
        max_overflow=28,
    )

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}")
        try:
            connection.execute(f"PRAGMA journal_mode={mode}")
        except sqlite3.OperationalError as error:
            if "readonly" not in str(error):  # a read-only store can still be read
                raise
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA case_sensitive_like=ON")  # as PostgreSQL and MLflow have it

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writing = connection.get_execution_options().get("nbmlops_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _frozen_engine(database: Path) -> sa.Engine:
    """Reads a database on a medium that cannot be written: WAL needs files beside it, so a pending one is copied."""
    pending = database.with_name(database.name + "-wal")
    if pending.exists() and pending.stat().st_size:
        copy = Path(tempfile.mkdtemp(prefix="nbmlops-")) / database.name
        shutil.copyfile(database, copy)
        shutil.copyfile(pending, copy.with_name(pending.name))
        weakref.finalize(
            engine := sa.create_engine(f"sqlite:///{copy}"), shutil.rmtree, copy.parent, ignore_errors=True
        )
    else:
        engine = sa.create_engine(f"sqlite:///file:{quote(str(database))}?mode=ro&immutable=1&uri=true")

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA query_only=ON")
        connection.execute("PRAGMA case_sensitive_like=ON")

    return engine


def _open_server(url: str, artifacts: str | None) -> Store:
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise StoreFault(
            f"{url!r} is not a store URL", "use a folder, or for example postgresql+psycopg://user@host/db"
        ) from error
    if parsed.get_backend_name() == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise StoreFault("a store cannot live in memory only: several processes use it", "name a folder")
        return _open_folder(Path(parsed.database).with_suffix(""), artifacts)
    if parsed.get_backend_name() != "postgresql":
        raise StoreFault(f"no store can be kept in {parsed.get_backend_name()}", "use a folder (SQLite), or PostgreSQL")
    from nbmlops.lazy import need

    need("psycopg", "a store in PostgreSQL", "postgres")
    root = settings.project_root() / ".nbmlops"
    journal = root / "journal"
    journal.mkdir(parents=True, exist_ok=True)
    (root / ".gitignore").write_text("*\n", encoding="utf-8")
    engine = sa.create_engine(parsed, pool_pre_ping=True, pool_size=4, max_overflow=12)
    return Store(engine, Blobs(artifacts or str(root / "blobs")), None, journal, "server")


def file_system(path: Path) -> str:
    """The type of the file system that holds a path (``ext4``, ``nfs4``, …), or the empty string if unknown."""
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    best, kind = "", ""
    text = str(path)
    for line in mounts:
        _, point, found, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        inside = text == point or text.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, found
    return kind


def _store_fault(error: sa.exc.DBAPIError, where: str) -> NbmlopsError:
    text = str(error.orig)
    if "readonly" in text or "read-only" in text:
        return StoreReadOnly(
            f"the store {where} is read-only", "check the permissions of the folder, or set NBMLOPS_STORE"
        )
    if "full" in text:
        return StoreFault(
            f"no space left for the store {where}", "free some disk space and repeat; nothing was half-written"
        )
    if "locked" in text:
        return StoreFault(
            f"the store {where} stayed locked for {BUSY_SECONDS:.0f} s",
            "see with `nbmlops doctor` who holds it, then repeat",
        )
    if "malformed" in text or "not a database" in text:
        return StoreFault(
            f"the database of {where} is damaged: {text}", "restore it from a backup, or set NBMLOPS_STORE elsewhere"
        )
    if "unable to open" in text:
        return StoreFault(
            f"the store {where} cannot be opened: {text}", "check that the folder exists and can be written"
        )
    return StoreFault(
        f"the store {where} failed: {text.splitlines()[0] if text else type(error).__name__}", "run `nbmlops doctor`"
    )


def _find_keys(db: sa.Connection, names: Iterable[str]) -> dict[str, int]:
    from nbmlops.store.schema import keys

    queue, found = list(names), {}
    while queue:
        part, queue = queue[:500], queue[500:]
        found.update({k.name: k.id for k in db.execute(sa.select(keys).where(keys.c.name.in_(part)))})
    return found


def _after_fork() -> None:
    """A forked child must not use its parent's connections, nor close them."""
    for store in _opened:
        store.engine.dispose(close=False)
        store._local = threading.local()


os.register_at_fork(after_in_child=_after_fork)


def lock_ledger(db: sa.Connection) -> None:
    """Makes this transaction the only one that appends to the ledger (SQLite's writers are alone anyway)."""
    if db.dialect.name == "postgresql":
        db.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LEDGER_LOCK})


def new_meta() -> list[dict[str, str]]:
    """The rows that a new store starts with."""
    return [{"name": "store_id", "value": clock.new_id()}, {"name": "created_at", "value": repr(clock.now())}]
