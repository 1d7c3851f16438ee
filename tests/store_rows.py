"""What is in a store's tables: for tests of what comes along, and of what must not change."""

from __future__ import annotations

import sqlalchemy as sa

from nbmlops.store import Store, schema


def content(store: Store, *, without: tuple[str, ...] = ("ledger",)) -> dict[str, list[str]]:
    """All rows of all tables, as texts in no order."""
    with store.read() as db:
        return {
            table.name: sorted(map(repr, db.execute(sa.select(table)).all()))
            for table in schema.metadata.sorted_tables
            if table.name not in without
        }


def rows(store: Store) -> dict[str, int]:
    """How many rows each table has."""
    with store.read() as db:
        count = sa.func.count()
        return {t.name: db.execute(sa.select(count).select_from(t)).scalar_one() for t in schema.metadata.sorted_tables}
