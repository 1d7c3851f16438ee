"""The wide table: the same as a plain loop makes of the rows, by every way of reading, and never an old one."""

from __future__ import annotations

import math
import multiprocessing
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from nbmlops.errors import NbmlopsError
from nbmlops.runs import Runs, columns
from nbmlops.store import Store, open_store, schema
from nbmlops.workspace import Workspace

KEYS = ["a", "rmse", "größe", "ключ", "with space", "a,b", "x.y", "学習率", "%s", "key'", 'key"', ":name"]
TEXTS = [
    "",
    "None",
    "nan",
    "0.10",
    "1,2,3",
    "ä\x00b",
    "'; DROP TABLE runs; --",
    "🙂",
    "long " * 200,
    " ",
    "\n",
    "%s",
    "\\",
]
NUMBERS = [math.nan, math.inf, -math.inf, 0.0, -0.0, 0.1, 1e-320, 1.7976931348623157e308, 1 / 3, -5.0]
MANY = "import sys; from nbmlops.store import open_store, schema; s = open_store(sys.argv[1])\n"


def fill(store: Store, runs: int, seed: int, *, own_texts: bool = False) -> None:
    """Random runs straight into the tables, some of them deleted or not ended, with values missing here and there."""
    draw = random.Random(seed)
    with store.write() as db:
        for name in ("one", "zwei"):
            db.execute(schema.experiments.insert(), {"id": f"E-{name}", "name": name, "created_at": 1.0, "tags": {}})
        ids = list(store.key_ids(db, KEYS).values())
        heads, params, metrics, tags = [], [], [], []
        for seq in range(3, 3 + runs):
            heads.append(
                {
                    "seq": seq, "id": f"{draw.randrange(10**9):09}-{seq}",
                    "experiment_id": draw.choice(["E-one", "E-zwei"]),
                    "name": draw.choice(TEXTS), "kind": "run", "status": draw.choice(["FINISHED", "FAILED"]),
                    "started_at": draw.choice([5.0, draw.random() * 2e9]), "heartbeat_at": 1.0,
                    "ended_at": draw.choice([None, draw.random() * 2e9]), "host": "h",
                    "user": draw.choice(["me", "Ünal"]),
                    "deleted_at": draw.choice([None] * 9 + [1.0]), "pid": 1, "source": {}, "description": "",
                }
            )  # fmt: skip
            for key in draw.sample(ids[:-1], draw.randrange(len(ids) - 1)):  # the last is only ever NaN
                text = f"own {seq}" if own_texts else draw.choice(TEXTS)
                params.append({"run_seq": seq, "key_id": key, "value": text, "type": "str", "number": None})
                tags.append({"run_seq": seq, "key_id": key, "value": draw.choice(TEXTS)})
            for key in draw.sample(ids, draw.randrange(len(ids))):
                value = math.nan if key == ids[-1] else draw.choice(NUMBERS)
                row = {"run_seq": seq, "key_id": key, "step": 0, "at": 1.0, "points": 1}
                metrics.append({**row, "value": None if math.isnan(value) else value})
        db.execute(schema.runs.insert(), heads)
        for table, rows in ((schema.params, params), (schema.metric_latest, metrics), (schema.tags, tags)):
            db.execute(table.insert(), rows)


def reference(store: Store, run_ids: list[str]) -> pd.DataFrame:
    """The table of these runs as a plain loop makes it."""
    with store.read() as db:
        heads = {r.id: r for r in db.execute(sa.select(schema.runs))}
        titles = {r.id: r.name for r in db.execute(sa.select(schema.experiments))}
        names = {r.id: r.name for r in db.execute(sa.select(schema.keys))}
        rows = [heads[i] for i in run_ids]

        def times(column: str) -> Any:
            seconds = [getattr(r, column) for r in rows]
            return pd.to_datetime(np.array([math.nan if s is None else s for s in seconds]), unit="s", utc=True)

        wide: dict[str, Any] = {
            "run_id": run_ids,
            "experiment_id": [r.experiment_id for r in rows],
            "status": [r.status for r in rows],
            "artifact_uri": [store.blobs.root] * len(rows),
            "start_time": times("started_at"),
            "end_time": times("ended_at"),
            "run_name": [r.name for r in rows],
            "experiment": [titles[r.experiment_id] for r in rows],
            "user": [r.user for r in rows],
        }
        for table, prefix in ((schema.metric_latest, "metrics."), (schema.params, "params."), (schema.tags, "tags.")):
            cells = {(r.run_seq, names[r.key_id]): r.value for r in db.execute(sa.select(table))}
            seqs = [r.seq for r in rows]
            for name in sorted({key for seq, key in cells if seq in set(seqs)}):
                values = [cells.get((seq, name)) for seq in seqs]
                wide[prefix + name] = np.array(values, float if table is schema.metric_latest else object)
    return pd.DataFrame(wide)


@pytest.mark.parametrize(("runs", "own_texts"), [(0, False), (7, False), (300, False), (1000, False), (1000, True)])
def test_the_table_is_what_a_plain_loop_makes(ws: Workspace, runs: int, own_texts: bool) -> None:
    if runs:
        fill(ws.runs.store, runs, seed=runs, own_texts=own_texts)
    asked: list[dict[str, Any]] = [
        {},
        {"order_by": "metrics.rmse DESC"},
        {"order_by": ["params.a ASC", "tags.größe DESC"]},
        {"filter": "metrics.rmse > 0"},
        {"filter": "status = 'FAILED'", "experiments": ["zwei"]},
        {"limit": 3},
        {"limit": 250},
        {"filter": "metrics.rmse > 1e308 AND metrics.rmse < 1"},
    ]
    for question in asked:
        made = ws.runs.frame(**question)
        expected = reference(ws.runs.store, [r.run_id for r in ws.runs.search(**{"limit": 10**6, **question})])
        pd.testing.assert_frame_equal(made, expected, check_exact=True, check_index_type="equiv")
        assert list(made.columns) == list(expected.columns)
        assert np.signbit(made.get("metrics.rmse", np.array([]))).tolist() == (
            np.signbit(expected.get("metrics.rmse", np.array([]))).tolist()
        )


@pytest.mark.parametrize("runs", [300, 1000])
def test_both_ways_of_reading_agree(ws: Workspace, runs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(ws.runs.store, runs, seed=1)
    real, tables = columns._by_key, []
    monkeypatch.setattr(columns, "_by_key", lambda db, table, *rest: (tables.append(table), real(db, table, *rest))[1])
    by_key = ws.runs.frame()
    assert tables == [schema.metric_latest, schema.params, schema.tags]
    monkeypatch.setattr(columns, "_by_key", None)  # called, it would fail
    monkeypatch.setattr(columns, "_FEW", 10**9)
    pd.testing.assert_frame_equal(Runs(ws.runs.store, ws.runs.context).frame(), by_key, check_exact=True)


def test_a_key_that_only_other_runs_have_makes_no_column(ws: Workspace) -> None:
    fill(ws.runs.store, 600, seed=2)
    with ws.runs.store.write() as db:
        key = ws.runs.store.key_ids(db, ["hidden"])["hidden"]
        gone = db.execute(sa.select(schema.runs.c.seq).where(schema.runs.c.deleted_at.is_not(None))).scalars().first()
        row = {"run_seq": gone, "key_id": key, "value": "x", "type": "str", "number": None}
        db.execute(schema.params.insert(), row)
        latest = {"run_seq": gone, "key_id": key, "step": 0, "at": 1.0, "points": 1, "value": None}
        db.execute(schema.metric_latest.insert(), latest)
    assert not [c for c in ws.runs.frame().columns if "hidden" in c]


def test_what_a_caller_does_to_its_table_stays_there(ws: Workspace) -> None:
    fill(ws.runs.store, 50, seed=3)
    first = ws.runs.frame()
    before = first.copy()
    for column in ("metrics.rmse", "run_id", "start_time", "params.a"):
        first[column].array[0] = first[column].array[1]
    first.loc[0, "status"] = "changed"
    first["new"] = 1
    first.columns.name = "changed"
    first.attrs["x"] = 1
    second = ws.runs.frame()
    pd.testing.assert_frame_equal(second, before)
    assert second.columns.name is None
    assert second.attrs == {}


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    from nbmlops.runs import frame

    made, real = [], frame._frame
    monkeypatch.setattr(frame, "_frame", lambda *a: (made.append(1), real(*a))[1])
    return made


def test_a_table_is_read_again_only_after_a_change(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    made = count_reads(monkeypatch)
    with_run = ws.runs.start("e", params={"a": 1})
    with_run.end()
    for _ in range(3):
        assert ws.runs.frame()["params.a"].tolist() == ["1"]
    assert len(made) == 1
    ws.runs.frame(limit=5)
    ws.runs.frame(filter="params.a = '1'")
    assert len(made) == 3
    assert ws.runs.frame(filter="params.a = '2'").empty
    live = ws.runs.start("e", params={"a": 2})  # by this very process
    assert ws.runs.frame()["params.a"].tolist() == ["2", "1"]
    live.log_metric("m", 0.5)
    assert ws.runs.frame()["metrics.m"].tolist()[0] == 0.5
    live.end()
    ws.runs.delete(live.run_id)
    assert ws.runs.frame()["params.a"].tolist() == ["1"]


def test_another_process_and_another_store_are_noticed(ws: Workspace) -> None:
    fill(ws.runs.store, 30, seed=4)
    folder = str(ws.runs.store.folder)
    update = "\nwith s.write() as db: db.execute(schema.runs.update().values(user=sys.argv[2]))\n"
    for name in ("first", "second"):
        ws.runs.frame()
        subprocess.run([sys.executable, "-c", MANY + update, folder, name], check=True)
        assert set(ws.runs.frame()["user"]) == {name}
    other = open_store(folder)
    with other.write() as db:
        db.execute(schema.runs.update().values(user="third"))
    other.close()
    assert set(ws.runs.frame()["user"]) == {"third"}


def test_inside_a_transaction_its_own_changes_are_seen_and_not_kept(ws: Workspace) -> None:
    fill(ws.runs.store, 30, seed=5)
    before = ws.runs.frame()
    with pytest.raises(ZeroDivisionError), ws.runs.store.write() as db:
        db.execute(schema.runs.update().values(user="nobody"))
        assert set(ws.runs.frame()["user"]) == {"nobody"}
        raise ZeroDivisionError
    pd.testing.assert_frame_equal(ws.runs.frame(), before)


def test_a_closed_store_is_watched_anew(ws: Workspace) -> None:
    fill(ws.runs.store, 30, seed=6)
    ws.runs.frame()
    watch = ws.runs._frames._watch
    ws.runs.store.close()
    assert watch._connection is None
    other = open_store(ws.runs.store.folder)
    with other.write() as db:
        db.execute(schema.runs.update().values(user="later"))
    other.close()
    assert set(ws.runs.frame()["user"]) == {"later"}


def test_only_a_few_tables_are_kept(ws: Workspace) -> None:
    fill(ws.runs.store, 10, seed=7)
    for limit in range(1, 20):
        assert len(ws.runs.frame(limit=limit)) <= limit
    assert len(ws.runs._frames._kept) == 4


def _child(runs: Runs, answers: Any) -> None:
    before = set(runs.frame()["user"])
    with runs.store.write() as db:
        db.execute(schema.runs.update().values(user="child"))
    answers.put((before, set(runs.frame()["user"])))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_looks_for_itself(ws: Workspace) -> None:
    fill(ws.runs.store, 30, seed=8)
    before = set(ws.runs.frame()["user"])
    fork = multiprocessing.get_context("fork")
    answers = fork.Queue()
    child = fork.Process(target=_child, args=(ws.runs, answers))
    child.start()
    assert answers.get(timeout=30) == (before, {"child"})
    child.join()
    assert child.exitcode == 0
    assert set(ws.runs.frame()["user"]) == {"child"}


def test_a_damaged_table_is_a_fault_of_the_store(ws: Workspace) -> None:
    fill(ws.runs.store, 10, seed=9)
    with ws.runs.store.write() as db:
        db.exec_driver_sql("DROP TABLE tags")
    with pytest.raises(NbmlopsError, match="tags"):
        ws.runs.frame()


def test_a_store_on_a_network_file_system_is_watched_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbmlops.context import Context
    from nbmlops.store import engine

    monkeypatch.setattr(engine, "file_system", lambda path: "nfs4")
    store, other = open_store(tmp_path / "remote"), open_store(tmp_path / "remote")
    fill(store, 20, seed=10)
    runs = Runs(store, lambda: Context(user="tester", host="h"))
    for name in ("first", "second"):
        runs.frame()
        with other.write() as db:
            db.execute(schema.runs.update().values(user=name))
        assert set(runs.frame()["user"]) == {name}
    other.close()
    store.close()
