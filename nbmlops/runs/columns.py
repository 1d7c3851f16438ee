"""The logged values of many runs as the columns of a table, each value at the place of its run.

Two ways: cell by cell for some of a store's runs, and key by key along the indexes ``(key_id, value)``, which hold all
that is needed, for most of them (100,000 runs with 30 keys: 0.8 s instead of 5 s).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import Any, cast

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from nbmlops.store.schema import keys, metric_latest, runs

Places = Callable[[NDArray[np.int64]], NDArray[np.int64]]  # where runs stand in the table, -1 for those that do not
Column = Callable[[int, Places, int], Any]  # of a key; None if no run of the table has it
PART = 900  # bound parameters of one statement
_KEY: Any = sa.bindparam("key", 0)
_FEW = 200  # below this the way makes no difference


def columns(db: sa.Connection, table: sa.Table, seqs: Sequence[int]) -> dict[int, Any]:
    """For each key that one of the runs has logged, its id and the values in the order of ``seqs``.

    Metrics are floats, missing ones NaN; parameters and tags are texts, missing ones what pandas has for them.
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


def _by_key(db: sa.Connection, table: sa.Table, seqs: Sequence[int], ids: Sequence[int]) -> dict[int, Any]:
    order = np.array(seqs, np.int64)
    beyond = int(order.max()) + 1
    place = np.full(beyond + 1, -1)
    place[order] = np.arange(len(order))
    column = _numbers(db, table) if table is metric_latest else _texts(db, table)
    made = ((key, column(key, lambda found: place[np.minimum(found, beyond)], len(order))) for key in ids)
    return {key: values for key, values in made if values is not None}


def _numbers(db: sa.Connection, table: sa.Table) -> Column:
    """Columns of metrics. Those without a value (NaN) are asked for only where there are no others."""
    c = table.c
    mine = sa.select(c.run_seq).where(c.key_id == _KEY)
    numbers = Statement(db, mine.add_columns(c.value).where(c.value.is_not(None)))
    missing = Statement(db, mine.where(c.value.is_(None)))

    def column(key: int, places: Places, count: int) -> NDArray[np.float64] | None:
        with numbers.run(key=key) as rows:
            both = np.fromiter(rows, [("seq", "i8"), ("value", "f8")])
        at = places(both["seq"])
        mine = at >= 0
        if not mine.any() and not (places(missing.numbers(key=key)) >= 0).any():
            return None
        wide = np.full(count, math.nan)
        wide[at[mine]] = both["value"][mine]
        return wide

    return column


def _texts(db: sa.Connection, table: sa.Table) -> Column:
    """Columns of parameters or tags, read as each different value with the list of its runs."""
    c = table.c
    # SQLite joins numbers as they are, in two thirds of the time.
    seq: Any = c.run_seq if db.dialect.name == "sqlite" else sa.cast(c.run_seq, sa.Text)
    lists = Statement(
        db, sa.select(c.value, sa.func.aggregate_strings(seq, ",")).where(c.key_id == _KEY).group_by(c.value)
    )

    def column(key: int, places: Places, count: int) -> Any:
        with lists.run(key=key) as rows:
            found = list(rows)
        if not found:
            return None
        values, runs_of = zip(*found, strict=True)
        at = places(np.fromstring(",".join(runs_of), np.int64, sep=","))
        mine = at >= 0
        if not mine.any():
            return None
        codes = np.full(count, -1)
        codes[at[mine]] = np.repeat(np.arange(len(values)), [text.count(",") + 1 for text in runs_of])[mine]
        return _coded(values, codes)

    return column


def _coded(values: Sequence[str], codes: NDArray[np.int64]) -> Any:
    """``values[code]`` for each code, -1 being missing: what pandas would make of the texts, without making them."""
    import pandas as pd

    dtype: Any = pd.Series(values[:1]).dtype
    if dtype.kind == "O" and isinstance(dtype, np.dtype):  # pandas 2
        return np.array([*values, None], object)[codes]
    kinds: Any = pd.array(list(values), dtype=dtype)
    return kinds.take(codes, allow_fill=True)


def _empty(table: sa.Table, count: int) -> NDArray[Any]:
    return np.full(count, math.nan) if table is metric_latest else np.full(count, None, object)


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
            yield cast(Iterator[tuple[Any, ...]], cursor)
        except self.db.dialect.loaded_dbapi.Error as error:  # as SQLAlchemy would raise it, for the store to explain
            raise sa.exc.DBAPIError(self.text, None, error) from error
        finally:
            cursor.close()

    def numbers(self, **values: Any) -> NDArray[np.int64]:
        """The only column of the rows."""
        with self.run(**values) as rows:
            return np.fromiter(rows, [("number", "i8")])["number"]


def cells(db: sa.Connection, table: sa.Table, seqs: Sequence[int]) -> list[tuple[Any, ...]]:
    """(run, key, value) of all logged values; NaN, which SQL keeps as NULL, is NaN again."""
    c = table.c
    rows = of_runs(db, sa.select(c.run_seq, c.key_id, c.value).order_by(c.run_seq, c.key_id), c.run_seq, seqs)
    if table is metric_latest:
        return [(s, k, math.nan if v is None else v) for s, k, v in rows]
    return list(rows)


def of_runs(db: sa.Connection, query: Any, seq: Any, seqs: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, the first of whose columns is ``seq``, for some runs."""
    if not seqs:
        return
    low, high = min(seqs), max(seqs)
    span = high - low + 1
    if len(seqs) > PART or len(seqs) * 2 >= span > 50:
        # Most runs of a range: scanning the range beats naming each of them.
        wanted = None if len(seqs) == span else set(seqs)
        with Statement(db, query.where(seq.between(low, high))).run() as rows:
            yield from rows if wanted is None else (row for row in rows if row[0] in wanted)
        return
    for start in range(0, len(seqs), PART):
        with Statement(db, query.where(seq.in_(seqs[start : start + PART]))).run() as rows:
            yield from rows
