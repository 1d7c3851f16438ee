"""The logged values of many runs as the columns of a table, each value at the place of its run.

Two ways: cell by cell for some of a store's runs, and key by key along the indexes ``(key_id, value)``, which hold all
that is needed, for most of them (100,000 runs with 30 keys: 0.8 s instead of 5 s).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from nbmlops.store.schema import keys, metric_latest, runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

PART = 900  # bound parameters of one statement
_KEY = sa.bindparam("key", 0)
_FEW = 200  # below this the way makes no difference


def columns(db: sa.Connection, table: sa.Table, seqs: Sequence[int]) -> dict[int, NDArray[Any]]:
    """For each key that one of the runs has logged, its id and the values in the order of ``seqs``.

    Metrics are floats, missing ones NaN; parameters and tags are objects, missing ones None.
    """
    if len(seqs) > _FEW and len(seqs) * 2 >= (db.execute(sa.select(sa.func.max(runs.c.seq))).scalar() or 0):
        known = sa.exists().where(table.c.key_id == keys.c.id)
        ids = [i for (i,) in db.execute(sa.select(keys.c.id).where(known))]
        if len(ids) <= len(seqs):
            return _by_key(db, table, seqs, ids)
    return _by_cell(db, table, seqs)


def _by_cell(db: sa.Connection, table: sa.Table, seqs: Sequence[int]) -> dict[int, NDArray[Any]]:
    place = {seq: number for number, seq in enumerate(seqs)}
    wide: dict[int, NDArray[Any]] = {}
    for key, group in itertools.groupby(sorted(cells(db, table, seqs), key=itemgetter(1)), key=itemgetter(1)):
        column = wide[key] = _empty(table, len(seqs))
        for seq, _, value in group:
            column[place[seq]] = value
    return wide


def _by_key(db: sa.Connection, table: sa.Table, seqs: Sequence[int], ids: Sequence[int]) -> dict[int, NDArray[Any]]:
    order = np.array(seqs, np.int64)
    beyond = int(order.max()) + 1
    place = np.full(beyond + 1, -1)
    place[order] = np.arange(len(order))
    read = _Numbers(db, table) if table is metric_latest else _Texts(db, table)
    wide: dict[int, NDArray[Any]] = {}
    for key in ids:
        found, values = read(key)
        at = place[np.minimum(found, beyond)]
        if len(at) and at.min() < 0:
            at, values = at[at >= 0], values[at >= 0]
        if len(at) or (place[np.minimum(read.absent(key), beyond)] >= 0).any():
            column = wide[key] = _empty(table, len(seqs))
            column[at] = values
    return wide


def _empty(table: sa.Table, count: int) -> NDArray[Any]:
    return np.full(count, math.nan) if table is metric_latest else np.full(count, None, object)


class _Numbers:
    """Reads the runs and values of a metric, those without a value (NaN) apart."""

    def __init__(self, db: sa.Connection, table: sa.Table) -> None:
        c = table.c
        mine = sa.select(c.run_seq).where(c.key_id == _KEY)
        self.numbers = Statement(db, mine.add_columns(c.value).where(c.value.is_not(None)))
        self.missing = Statement(db, mine.where(c.value.is_(None)))

    def __call__(self, key: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        with self.numbers.run(key=key) as rows:
            both = np.fromiter(rows, [("seq", "i8"), ("value", "f8")])
        return both["seq"], both["value"]

    def absent(self, key: int) -> NDArray[np.int64]:
        with self.missing.run(key=key) as rows:
            return np.fromiter((seq for (seq,) in rows), np.int64)


class _Texts:
    """Reads the runs and values of a parameter or tag: each different value once, with the list of its runs."""

    def __init__(self, db: sa.Connection, table: sa.Table) -> None:
        c = table.c
        # SQLite joins numbers as they are, in two thirds of the time.
        seq: Any = c.run_seq if db.dialect.name == "sqlite" else sa.cast(c.run_seq, sa.Text)
        query = sa.select(c.value, sa.func.aggregate_strings(seq, ",")).where(c.key_id == _KEY)
        self.lists = Statement(db, query.group_by(c.value))

    def __call__(self, key: int) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
        with self.lists.run(key=key) as rows:
            found = list(rows)
        if not found:
            return self.absent(key), np.array([], object)
        values, lists = zip(*found, strict=True)
        seqs = np.fromstring(",".join(lists), np.int64, sep=",")
        return seqs, np.repeat(np.array(values, object), [text.count(",") + 1 for text in lists])

    def absent(self, _key: int) -> NDArray[np.int64]:
        return np.array([], np.int64)


class Statement:
    """A query that gives the driver's own tuples: SQLAlchemy's rows cost more than a query of millions."""

    def __init__(self, db: sa.Connection, query: Any) -> None:
        self.db = db
        self.compiled = query.compile(db.engine, compile_kwargs={"render_postcompile": True})
        self.text = str(self.compiled)

    def bound(self, **values: Any) -> Any:
        """What is bound to the text: a tuple or a dict, as the driver wants it."""
        known = {**self.compiled.params, **values}
        order = self.compiled.positiontup
        return known if order is None else tuple(known[name] for name in order)

    @contextmanager
    def run(self, **values: Any) -> Iterator[Iterator[tuple[Any, ...]]]:
        """The rows, to be read before the block ends."""
        if not self.db.in_transaction():  # all statements of a table see the same state
            self.db.begin()
        cursor = self.db.connection.cursor()
        try:
            cursor.execute(self.text, self.bound(**values))
            yield cursor
        except self.db.dialect.loaded_dbapi.Error as error:  # as SQLAlchemy would raise it, for the store to explain
            raise sa.exc.DBAPIError(self.text, None, error) from error
        finally:
            cursor.close()

    def rows(self) -> list[tuple[Any, ...]]:
        """All rows at once."""
        with self.run() as found:
            return list(found)


def cells(db: sa.Connection, table: sa.Table, seqs: Sequence[int]) -> list[tuple[Any, ...]]:
    """(run, key, value) of all logged values; NaN, which SQL keeps as NULL, is NaN again."""
    c = table.c
    query = sa.select(c.run_seq, c.key_id, c.value)
    if not seqs:
        return []
    span = max(seqs) - min(seqs) + 1
    if len(seqs) > PART or len(seqs) * 2 >= span > 50:
        # Most runs of a range: scanning the range beats naming each of them.
        query = query.where(c.run_seq.between(min(seqs), max(seqs))).order_by(c.run_seq, c.key_id)
        rows = Statement(db, query).rows()
        if len(seqs) < span:
            wanted = set(seqs)
            rows = [row for row in rows if row[0] in wanted]
    else:
        rows = []
        for start in range(0, len(seqs), PART):
            part = query.where(c.run_seq.in_(seqs[start : start + PART])).order_by(c.run_seq, c.key_id)
            rows += Statement(db, part).rows()
    if table is metric_latest:
        return [(s, k, math.nan if v is None else v) for s, k, v in rows]
    return rows
