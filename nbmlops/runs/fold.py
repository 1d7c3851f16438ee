"""From journals to tables: what runs logged becomes rows and compressed chunks, exactly once."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import sqlalchemy as sa

from nbmlops.errors import NbmlopsError
from nbmlops.store import Store, journal, series
from nbmlops.store.engine import lock_run
from nbmlops.store.schema import journals, metric_chunks, metric_latest, param_history, params, runs, tags

_OFFSETS = sa.select(journals.c.name, journals.c.offset).where(journals.c.run_seq == sa.bindparam("run"))
_GROW = 1024  # a chunk below this is rewritten with what comes; larger ones wait for the end of the run


class Folder:
    """Folds the journals of one run. Remembers offsets and key names, so that an idle run costs one directory scan."""

    def __init__(self, store: Store, run_id: str, run_seq: int) -> None:
        self.store = store
        self.run_id = run_id
        self.run_seq = run_seq
        self._done: dict[str, int] = {}
        self._names: dict[str, dict[int, str]] = {}
        self._scattered = False  # whether a metric may lie in several chunks

    def pending(self) -> bool:
        """Whether a journal has grown since the last fold."""
        with contextlib.suppress(FileNotFoundError):  # another process has just folded and removed one
            return any(p.stat().st_size > self._done.get(p.name, 0) for p in self._paths())
        return True

    def fold(self) -> None:
        """Move new records into the tables. Cheap when there are none."""
        if self.pending():
            with self.store.write() as db:
                self.fold_into(db)

    def fold_into(self, db: sa.Connection) -> None:
        """The same, inside an open transaction."""
        lock_run(db, self.run_seq)  # two that read the same offset would both apply what comes after it
        offsets = {row.name: row.offset for row in db.execute(_OFFSETS, {"run": self.run_seq})}
        fresh = not offsets  # nothing of this run is in the tables yet, and nothing need be looked up
        self._scattered |= not fresh
        for path in self._paths():
            start = end = offsets.get(path.name, 0)
            names = self._names.setdefault(path.name, {})
            with contextlib.suppress(FileNotFoundError):  # another process has just folded and removed it
                for batch in journal.read(path, start, names):
                    self._apply(db, batch, fresh)
                    end, fresh = batch.end, False
            if end != start:
                row = {"name": path.name, "run_seq": self.run_seq, "offset": end}
                self.store.upsert(db, journals, [row], ["run_seq", "name"])
            self._done[path.name] = end

    def seal(self, db: sa.Connection) -> None:
        """Fold what is left and rewrite each metric in full chunks: the run is over."""
        self.fold_into(db)
        if self._scattered:
            compact(db, self.run_seq)

    def forget(self) -> None:
        """Delete the journals nobody writes any more; call it once the sealing transaction is on disk."""
        for path in self._paths():
            if journal.owner(path) == os.getpid() or not _alive(journal.owner(path)):
                journal.remove(path)

    def _paths(self) -> list[Any]:
        return journal.files(self.store.journal_folder, self.run_id)

    def _apply(self, db: sa.Connection, batch: journal.Batch, fresh: bool) -> None:
        texts = [*batch.params, *batch.tags]
        ids = self.store.key_ids(db, [*batch.points, *(t["k"] for t in texts)])
        if batch.params:
            self._apply_params(db, batch.params, ids, fresh)
        if batch.tags:
            newest = {
                ids[t["k"]]: {"run_seq": self.run_seq, "key_id": ids[t["k"]], "value": t["v"]} for t in batch.tags
            }
            self.store.upsert(db, tags, list(newest.values()), ["run_seq", "key_id"])
        if batch.points:
            self._apply_points(db, {ids[k]: v for k, v in batch.points.items()}, fresh)

    def _apply_params(self, db: sa.Connection, logged: list[dict[str, Any]], ids: dict[str, int], fresh: bool) -> None:
        mine = sa.select(params.c.key_id, params.c.value).where(params.c.run_seq == self.run_seq)
        held: dict[int, str] = {} if fresh else {r.key_id: r.value for r in db.execute(mine)}
        past, newest = [], {}
        for entry in logged:
            key = ids[entry["k"]]
            before = held.get(key)
            if before is not None and before != entry["v"]:
                past.append({"run_seq": self.run_seq, "key_id": key, "at": entry["at"], "value": before})
            held[key] = entry["v"]
            newest[key] = {
                "run_seq": self.run_seq,
                "key_id": key,
                "value": entry["v"],
                "type": entry["t"],
                "number": number_of(entry["v"]),
            }
        self.store.upsert(db, params, list(newest.values()), ["run_seq", "key_id"])
        if past:
            db.execute(param_history.insert(), past)

    def _apply_points(self, db: sa.Connection, points: dict[int, Any], fresh: bool) -> None:
        held = {} if fresh else {r["key_id"]: r for r in _rows(db, metric_latest, self.run_seq, points)}
        last = {} if fresh else _last_chunks(db, self.run_seq, points)
        self._scattered |= not fresh
        latest, chunks = [], []
        for key, (steps, times, values) in points.items():
            latest.append(_latest(self.run_seq, key, steps, times, values, held.get(key)))
            stamps = np.rint(times * 1000).astype(np.int64)
            place, data = last.get(key, (-1, None))
            if data is not None:
                old = series.decode(data)
                steps, stamps, values = (
                    np.concatenate(pair) for pair in zip(old, (steps, stamps, values), strict=True)
                )
            else:
                place += 1
            chunks += _chunks(self.run_seq, key, place, steps, stamps, values)
        self._scattered |= len(chunks) > len(points)
        self.store.upsert(db, metric_latest, latest, ["run_seq", "key_id"])
        self.store.upsert(db, metric_chunks, chunks, ["run_seq", "key_id", "chunk"])


def fold_all(store: Store) -> list[str]:
    """Fold every journal of a store that nobody else uses, such as a copy; what cannot be folded, in words."""
    with store.read() as db:
        seqs = {row.id: row.seq for row in db.execute(sa.select(runs.c.id, runs.c.seq))}
    names = {path.name.split(".")[0] for path in store.journal_folder.glob("*.*.*")}
    left: list[str] = []
    for run_id in sorted(names & seqs.keys()):
        try:
            with store.write() as db:
                Folder(store, run_id, seqs[run_id]).seal(db)
        except (NbmlopsError, ValueError, KeyError, TypeError, OverflowError) as error:  # of another store: anything
            left.append(f"what run:{run_id} logged and was not folded: {error}")
    return left


def number_of(text: str) -> float | None:
    """A parameter's value as a number, so that it can be compared and sorted; None if it is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return None if math.isnan(value) else value


def special(value: float) -> str | None:
    """The mark that keeps what SQL cannot: ``nan``, ``inf``, ``-inf``."""
    return None if math.isfinite(value) else str(value)


def _latest(run_seq: int, key: int, steps: Any, times: Any, values: Any, held: Any) -> dict[str, Any]:
    """MLflow's rule: the value of the highest step counts, the last logged among equals."""
    place = len(steps) - 1 - int(np.argmax(steps[::-1])) if len(steps) > 1 else 0
    value = float(values[place])
    known = values if len(values) == 1 and value == value else values[~np.isnan(values)]
    row: dict[str, Any] = {
        "run_seq": run_seq,
        "key_id": key,
        "step": int(steps[place]),
        "at": float(times[place]),
        "value": None if math.isnan(value) else value,
        "special": special(value),
        "minimum": float(known.min()) if len(known) else None,
        "maximum": float(known.max()) if len(known) else None,
        "points": len(steps),
    }
    if held is None:
        return row
    if held["step"] > row["step"]:
        row.update({k: held[k] for k in ("step", "at", "value", "special")})
    row["minimum"] = _of(min, held["minimum"], row["minimum"])
    row["maximum"] = _of(max, held["maximum"], row["maximum"])
    row["points"] += held["points"]
    return row


def _of(choose: Any, *numbers: float | None) -> float | None:
    known = [n for n in numbers if n is not None]
    return choose(known) if known else None


def _rows(db: sa.Connection, table: sa.Table, run_seq: int, keys: Iterable[int]) -> list[Any]:
    query = sa.select(table).where(table.c.run_seq == run_seq, table.c.key_id.in_(list(keys)))
    return list(db.execute(query).mappings())


def _last_chunks(db: sa.Connection, run_seq: int, keys: Iterable[int]) -> dict[int, tuple[int, bytes | None]]:
    """For each key the place of its last chunk, with its data if it is still small enough to grow."""
    c = metric_chunks.c
    tops = (
        sa.select(c.key_id, sa.func.max(c.chunk).label("chunk"))
        .where(c.run_seq == run_seq, c.key_id.in_(list(keys)))
        .group_by(c.key_id)
        .subquery()
    )
    data = sa.case((c.points < _GROW, c.data), else_=None).label("data")
    query = sa.select(c.key_id, c.chunk, data).join(
        tops, (c.key_id == tops.c.key_id) & (c.chunk == tops.c.chunk) & (c.run_seq == run_seq)
    )
    return {r.key_id: (r.chunk, r.data) for r in db.execute(query)}


def _chunks(run_seq: int, key: int, first: int, steps: Any, stamps: Any, values: Any) -> list[dict[str, Any]]:
    rows = []
    for number, start in enumerate(range(0, len(steps), series.CHUNK)):
        part = slice(start, start + series.CHUNK)
        data = series.encode(steps[part], stamps[part], values[part])
        rows.append(
            {"run_seq": run_seq, "key_id": key, "chunk": first + number, "points": len(steps[part]), "data": data}
        )
    return rows


def compact(db: sa.Connection, run_seq: int) -> None:
    """Rewrite metrics that lie in several chunks as full ones, in logging order."""
    c = metric_chunks.c
    query = sa.select(c.key_id).where(c.run_seq == run_seq).group_by(c.key_id).having(sa.func.count() > 1)
    for (key,) in db.execute(query).all():
        steps, stamps, values = read_points(db, run_seq, key)
        db.execute(metric_chunks.delete().where(c.run_seq == run_seq, c.key_id == key))
        db.execute(metric_chunks.insert(), _chunks(run_seq, key, 0, steps, stamps, values))


def read_points(db: sa.Connection, run_seq: int, key: int) -> tuple[Any, Any, Any]:
    """All steps, times (ms) and values of a metric, in logging order."""
    c = metric_chunks.c
    query = sa.select(c.data).where(c.run_seq == run_seq, c.key_id == key).order_by(c.chunk)
    return series.decode(*db.scalars(query))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
