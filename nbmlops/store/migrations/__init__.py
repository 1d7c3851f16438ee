"""Schema versions: run under a lock when a store is opened, all in one transaction.

A released migration is never edited: add a new file to ``versions/`` and set ``HEAD``. A new store is made from
``schema.metadata`` directly; a test proves that this equals running every migration in turn. Alembic costs 190 ms to
import, so it is only imported when there is something to migrate.
"""

from __future__ import annotations

import functools
from pathlib import Path

import sqlalchemy as sa

from nbmlops.errors import StoreTooNew
from nbmlops.store.engine import _MIGRATION_LOCK, Store, new_meta
from nbmlops.store.schema import meta, metadata

HEAD = "0005"
_VERSIONS = Path(__file__).parent / "versions"


def current(db: sa.Connection) -> str | None:
    """The schema version of a store; None for an empty one."""
    if not sa.inspect(db).has_table("alembic_version"):
        return None
    return db.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def upgrade(store: Store) -> None:
    """Bring the schema to ``HEAD``; several processes may do this at once.

    Raises:
        StoreTooNew: a newer nbmlops wrote this store.
    """
    with store.read() as db:
        if current(db) == HEAD:
            return
    with store.write() as db:
        if store.dialect == "postgresql":
            db.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        found = current(db)  # asked again under the lock: another process may have been first
        if found == HEAD:
            return
        if found is None:
            create(db)
        else:
            migrate(db, found)


def create(db: sa.Connection) -> None:
    """Make all tables of a new store."""
    if db.dialect.name == "sqlite":
        for statement in _statements():
            db.exec_driver_sql(statement)
    else:
        metadata.create_all(db)
    db.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    db.execute(sa.text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
    db.execute(meta.insert(), new_meta())


@functools.cache
def _statements() -> tuple[str, ...]:
    """What ``metadata.create_all`` would execute in an empty SQLite file, without asking for each table first."""
    from sqlalchemy.dialects import sqlite
    from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

    made: list[ExecutableDDLElement] = []
    for table in metadata.sorted_tables:
        made += [
            CreateTable(table),
            *(CreateIndex(index) for index in sorted(table.indexes, key=lambda i: str(i.name))),
        ]
    return tuple(str(ddl.compile(dialect=sqlite.dialect())) for ddl in made)


def migrate(db: sa.Connection, found: str | None) -> None:
    """Run the migrations after ``found`` on an open transaction."""
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_VERSIONS.parent))
    scripts = ScriptDirectory.from_config(config)
    if found is not None and found not in {s.revision for s in scripts.walk_revisions()}:
        raise StoreTooNew(
            f"this store has schema {found}, and this nbmlops knows up to {HEAD}",
            "upgrade with `pip install -U nbmlops`, or set NBMLOPS_STORE to another store",
        )

    def steps(revision: object, _context: object) -> list[object]:
        return scripts._upgrade_revs(HEAD, revision)  # type: ignore[arg-type,return-value]

    with EnvironmentContext(config, scripts, fn=steps) as environment:
        environment.configure(
            connection=db, target_metadata=metadata, transactional_ddl=False, transaction_per_migration=False
        )
        environment.run_migrations()
    if found is None:
        db.execute(meta.insert(), new_meta())
