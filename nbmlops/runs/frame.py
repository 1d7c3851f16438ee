"""Many runs at once: their logged values, and the wide table over them."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from nbmlops.runs.columns import PART, Statement, cells, columns, of_runs
from nbmlops.store import Store
from nbmlops.store.schema import experiments, keys, metric_latest, params, runs, tags

if TYPE_CHECKING:
    import pandas as pd

Values = dict[int, dict[str, Any]]
_KEPT = 4  # tables a desk remembers
_r = runs.c
_SHOWN = (_r.seq, _r.id, _r.experiment_id, _r.status, _r.started_at, _r.ended_at, _r.name, _r.user)


def logged(db: sa.Connection, seqs: Sequence[int]) -> tuple[Values, Values, Values]:
    """Parameters, latest metrics and tags of runs, each by the run's ``seq``."""
    names: dict[int, str] = {}
    found: tuple[Values, Values, Values] = ({}, {}, {})
    for table, into in zip((params, metric_latest, tags), found, strict=True):
        for seq, key, value in cells(db, table, seqs):
            into.setdefault(seq, {})[key] = value
        unknown = {key for row in into.values() for key in row} - names.keys()  # type: ignore[operator]
        for start in range(0, len(unknown), PART):
            part = sorted(unknown)[start : start + PART]  # type: ignore[type-var]
            names.update((i, n) for i, n in db.execute(sa.select(keys.c.id, keys.c.name).where(keys.c.id.in_(part))))
    params_, metrics_, tags_ = ({s: {names[k]: v for k, v in row.items()} for s, row in v.items()} for v in found)  # type: ignore[index]
    return params_, metrics_, tags_


class Frames:
    """The runs of queries as wide DataFrames, in the query's order; the last few are remembered.

    A folder store tells cheaply whether anybody has changed it since; a server does not, and is always asked.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._watch = Watch(store)
        self._lock = threading.Lock()
        self._kept: OrderedDict[Any, tuple[Any, pd.DataFrame]] = OrderedDict()

    def of(self, query: Any) -> pd.DataFrame:
        """The runs of a query over ``runs`` joined with ``experiments``; the frame is the caller's own."""
        state = self._watch.state()  # before reading: what comes between makes the frame only newer than it says
        with self.store.read() as db:
            statement = Statement(db, query.with_only_columns(_r.seq))  # sorting whole rows takes twice as long
            if state is None or db.get_execution_options().get("nbmlops_write"):  # nobody else sees that yet
                return _frame(db, statement, self.store.blobs.shown_root)
            question = (statement.text, statement.bound())
            state_then, frame = self._kept.get(question, (None, None))
            if frame is None or state_then != state:
                frame = _frame(db, statement, self.store.blobs.shown_root)
                self._keep(question, state, frame)
        return frame.copy()  # deep: columns of text are shared all the same, and pandas 3 leaks writes to `.array`

    def _keep(self, question: Any, state: Any, frame: pd.DataFrame) -> None:
        with self._lock:
            for old in [q for q, (then, _) in self._kept.items() if then != state]:
                del self._kept[old]
            self._kept[question] = (state, frame)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)


class Watch:
    """Tells whether a SQLite store has changed, in microseconds.

    ``PRAGMA data_version`` changes with every commit of any other connection, so it is asked on one that never writes.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._lock = threading.Lock()
        self._pid = 0
        self._connection: Any = None
        self._mark = object()  # of the connection: the numbers of two cannot be compared
        sa.event.listen(store.engine, "engine_disposed", self._close)

    def state(self) -> tuple[object, int] | None:
        """Equal states mean an unchanged store; None where that cannot be told."""
        if self.store.dialect != "sqlite":
            return None
        if self._pid != os.getpid():
            self._lock = threading.Lock()  # a thread of the parent may have held the old one
        with self._lock:
            try:
                if self._connection is None or self._pid != os.getpid():
                    self._open()
                return self._mark, self._connection.execute("PRAGMA data_version").fetchone()[0]
            except (sqlite3.Error, sa.exc.DBAPIError):  # reading will say what is wrong with the store
                return None

    def _open(self) -> None:
        if self._connection is not None:
            _inherited.append(self._connection)
        pooled = self.store.engine.raw_connection()
        self._connection, self._mark, self._pid = pooled.driver_connection, object(), os.getpid()
        pooled.detach()

    def _close(self, _engine: sa.Engine) -> None:
        if self._pid == os.getpid() and self._connection is not None:
            with self._lock:
                self._connection.close()
                self._connection = None


_inherited: list[Any] = []  # a forked child must not even close its parent's connections


def _frame(db: sa.Connection, statement: Statement, root: str) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    seqs = statement.numbers()
    heads = np.fromiter(of_runs(db, sa.select(*_SHOWN), _r.seq, seqs.tolist()), [(c.name, "O") for c in _SHOWN])
    place = np.zeros(seqs.max(initial=0) + 1, np.int64)
    place[heads["seq"].astype(np.int64)] = np.arange(len(heads))
    order = place[seqs]
    head = {name: heads[name][order].tolist() for name in heads.dtype.names or ()}
    titles = {row.id: row.name for row in db.execute(sa.select(experiments.c.id, experiments.c.name))}
    wide: dict[str, Any] = {
        "run_id": head["id"],
        "experiment_id": head["experiment_id"],
        "status": head["status"],
        "artifact_uri": [root] * len(seqs),
        "start_time": _times(head["started_at"]),
        "end_time": _times(head["ended_at"]),
        "run_name": head["name"],
        "experiment": [titles[i] for i in head["experiment_id"]],
        "user": head["user"],
    }
    known = {key.id: key.name for key in db.execute(sa.select(keys))}
    for table, prefix in ((metric_latest, "metrics."), (params, "params."), (tags, "tags.")):
        found = columns(db, table, seqs.tolist())
        wide.update({prefix + known[k]: found[k] for k in sorted(found, key=lambda k: known[k])})
    return pd.DataFrame(wide)


def _times(seconds: list[float | None]) -> Any:
    import numpy as np
    import pandas as pd

    return pd.to_datetime(np.array(seconds, float), unit="s", utc=True)
