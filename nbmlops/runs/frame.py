"""Many runs at once: their logged values, and the wide table over them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from nbmlops.store import Store
from nbmlops.store.schema import keys, metric_latest, params, tags

if TYPE_CHECKING:
    import pandas as pd

Values = dict[int, dict[str, Any]]
_PART = 900  # bound parameters of one statement


def logged(db: sa.Connection, seqs: Sequence[int]) -> tuple[Values, Values, Values]:
    """Parameters, latest metrics and tags of runs, each by the run's ``seq``."""
    names: dict[int, str] = {}
    found: tuple[Values, Values, Values] = ({}, {}, {})
    for table, into in zip((params, metric_latest, tags), found, strict=True):
        for seq, key, value in _cells(db, table, seqs):
            into.setdefault(seq, {})[key] = value  # type: ignore[index]
        unknown = {key for row in into.values() for key in row} - names.keys()  # type: ignore[operator]
        for start in range(0, len(unknown), _PART):
            part = sorted(unknown)[start : start + _PART]  # type: ignore[type-var]
            names.update((i, n) for i, n in db.execute(sa.select(keys.c.id, keys.c.name).where(keys.c.id.in_(part))))
    params_, metrics_, tags_ = ({s: {names[k]: v for k, v in row.items()} for s, row in v.items()} for v in found)  # type: ignore[index]
    return params_, metrics_, tags_


def _cells(db: sa.Connection, table: sa.Table, seqs: Sequence[int]) -> list[tuple[int, int, Any]]:
    """(run, key, value) of all logged values; NaN, which SQL keeps as NULL, is NaN again."""
    c = table.c
    query = sa.select(c.run_seq, c.key_id, c.value)
    if not seqs:
        return []
    span = max(seqs) - min(seqs) + 1
    if len(seqs) > _PART or len(seqs) * 2 >= span > 50:
        # Most runs of a range: scanning the range beats naming each of them.
        query = query.where(c.run_seq.between(min(seqs), max(seqs))).order_by(c.run_seq, c.key_id)
        rows = _raw(db, query)
        if len(seqs) < span:
            wanted = set(seqs)
            rows = [row for row in rows if row[0] in wanted]
    else:
        rows = list(
            itertools.chain.from_iterable(
                _raw(db, query.where(c.run_seq.in_(seqs[start : start + _PART])).order_by(c.run_seq, c.key_id))
                for start in range(0, len(seqs), _PART)
            )
        )
    if table is metric_latest:
        return [(s, k, math.nan if v is None else v) for s, k, v in rows]
    return rows


def _raw(db: sa.Connection, query: Any) -> list[tuple[int, int, Any]]:
    """The driver's own tuples: SQLAlchemy's rows cost more than the query when there are millions."""
    compiled = query.compile(db.engine, compile_kwargs={"render_postcompile": True})
    cursor = db.connection.cursor()
    try:
        bound = compiled.params
        cursor.execute(str(compiled), tuple(bound[n] for n in compiled.positiontup) if compiled.positiontup else bound)
        return list(cursor.fetchall())
    finally:
        cursor.close()


def runs_frame(store: Store, query: Any) -> pd.DataFrame:
    """The runs of a query as a wide DataFrame, in the query's order."""
    import numpy as np
    import pandas as pd

    with store.read() as db:
        rows = db.execute(query).mappings().all()
        seqs = [row["seq"] for row in rows]
        place = {seq: number for number, seq in enumerate(seqs)}
        columns: dict[str, Any] = {
            "run_id": [r["id"] for r in rows],
            "experiment_id": [r["experiment_id"] for r in rows],
            "status": [r["status"] for r in rows],
            "artifact_uri": [store.blobs.root] * len(rows),
            "start_time": _times([r["started_at"] for r in rows]),
            "end_time": _times([r["ended_at"] for r in rows]),
            "run_name": [r["name"] for r in rows],
            "experiment": [r["experiment"] for r in rows],
            "user": [r["user"] for r in rows],
        }
        names = {key.id: key.name for key in db.execute(sa.select(keys))}
        for table, prefix in ((metric_latest, "metrics."), (params, "params."), (tags, "tags.")):
            empty: Any = np.nan if table is metric_latest else None
            dtype: Any = float if table is metric_latest else object
            wide: dict[int, Any] = {}
            cells = sorted(_cells(db, table, seqs), key=itemgetter(1))
            for key, group in itertools.groupby(cells, key=itemgetter(1)):
                column = wide[key] = np.full(len(rows), empty, dtype)
                for seq, _, value in group:
                    column[place[seq]] = value
            columns.update({prefix + names[k]: wide[k] for k in sorted(wide, key=lambda k: names[k])})
    return pd.DataFrame(columns)


def _times(seconds: list[float | None]) -> Any:
    import numpy as np
    import pandas as pd

    return pd.to_datetime(np.array([math.nan if s is None else s for s in seconds]), unit="s", utc=True)
