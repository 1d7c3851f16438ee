"""How tables and columns are written: the kinds of columns that all tables are made of."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

Text, Integer, Float, JSON = sa.Text, sa.Integer, sa.Float, sa.JSON
# SQLite gives rowid speed only to a column that is exactly INTEGER; PostgreSQL needs 64 bits.
BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def table(name: str, *columns: sa.Column | sa.Index | sa.UniqueConstraint, rowid: bool = True) -> sa.Table:
    return sa.Table(name, metadata, *columns, sqlite_with_rowid=rowid)


def text(name: str, *, null: bool = False, **more: object) -> sa.Column:
    return sa.Column(name, Text, nullable=null, **more)  # type: ignore[arg-type]


def id_(name: str = "id") -> sa.Column:
    return sa.Column(name, Text, primary_key=True)


def seq(name: str = "seq") -> sa.Column:
    return sa.Column(name, BigInt, primary_key=True, autoincrement=True)


def number(name: str, *, null: bool = False, **more: object) -> sa.Column:
    return sa.Column(name, Float(53), nullable=null, **more)  # type: ignore[arg-type]


def int_(name: str, *, null: bool = False, key: bool = False) -> sa.Column:
    return sa.Column(name, BigInt, nullable=null, primary_key=key, autoincrement=False)


def json(name: str, *, null: bool = False) -> sa.Column:
    return sa.Column(name, JSON(none_as_null=True), nullable=null)
