"""A version that waits for its approval answers its canary share, and sees its shadow share."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier

from nbmlops import clock
from nbmlops.server import serving as room
from nbmlops.server.app import create_app
from nbmlops.store import schema

FRAME = pd.DataFrame({"a": np.arange(40.0), "b": np.arange(40.0)})
ROW = {"a": [1.0], "b": [2.0]}


def register(ws, answer: str, columns=("a", "b")) -> str:
    model = DummyClassifier(strategy="constant", constant=answer).fit(FRAME[list(columns)], ["old", "new"] * 20)
    return ws.models.register(model, "m", training_data=FRAME[list(columns)]).ref


def stage(ws, ref: str) -> None:
    ws.promotion.promote(ref, "staging", "x")
    ws.promotion.promote(ref, "production", "x")


@pytest.fixture
def serve(ws):
    """Old stands in production; another waits; the server with these shares."""
    opened = []

    def start(shares: str, waiting: str = "new", columns=("a", "b")):
        Path("nbmlops.toml").write_text(f"[environments.staging]\n[environments.production]\n{shares}\n")
        old = register(ws, "old")
        stage(ws, old)
        ws.promotion.approve(old, "production", "x")
        stage(ws, register(ws, waiting, columns))
        serving = create_app(ws, "model:m@production").state.serving
        opened.append(serving)
        return serving

    yield start
    for serving in opened:
        serving.close()
        serving.recorder.close()


def ask(serving, times: int, key=lambda n: None, columns=ROW) -> list[str]:
    async def all_of_them():
        return [await serving.predict(columns, key(n)) for n in range(times)]

    return [str(a.outputs["prediction"][0]) for a in asyncio.run(all_of_them())]


def recorded(ws, serving) -> dict[tuple[int, str], int]:
    serving.close()
    serving.recorder.flush()
    b = schema.prediction_batches
    with ws.store.read() as db:
        return {(row.version, row.source): row.rows for row in db.execute(b.select())}


def test_a_canary_is_answered_by_the_version_that_waits_and_recorded_as_such(ws, serve):
    serving = serve("canary = 1.0")
    assert ask(serving, 5) == ["new"] * 5
    assert recorded(ws, serving) == {(2, "canary"): 5}
    assert serving.beside.told() == {
        "waiting": {"model": "model:m@2", "canary": 1.0, "shadow": 0.0},
        "counts": {"canary": 5},
    }


def test_a_share_is_a_share_and_the_same_request_always_gets_the_same_version(serve):
    serving = serve("canary = 0.3")
    first = ask(serving, 300, key=str)
    assert 60 <= first.count("new") <= 120
    assert ask(serving, 300, key=str) == first


def test_a_shadow_is_seen_and_nobody_gets_its_answer(ws, serve):
    serving = serve("shadow = 1.0")
    assert ask(serving, 5) == ["old"] * 5
    assert recorded(ws, serving) == {(1, "online"): 5, (2, "shadow"): 5}
    counts = serving.beside.counts
    assert (counts["shadow"], counts["shadow rows"], counts["shadow rows that agree"]) == (5, 5, 0)
    assert len(ws.deployments.window("m")) == 5  # what was answered


def test_without_shares_or_with_nothing_waiting_nothing_is_asked(ws, serve):
    serving = serve("")
    assert ask(serving, 3) == ["old"] * 3
    assert serving.beside.now is None


def test_a_waiting_version_that_cannot_answer_leaves_it_to_the_other(ws, serve):
    serving = serve("canary = 1.0")

    class Broken:
        def predict(self, rows):
            raise RuntimeError("broken")

    waiting = serving.beside.now
    serving.beside.now = type(waiting)(room.Served(waiting.served.version, Broken()), 1.0, 0.0)
    assert ask(serving, 3) == ["old"] * 3
    assert serving.beside.counts == {"canary failed": 3}


def test_another_signature_is_no_reason_to_refuse_a_request(serve):
    serving = serve("canary = 1.0", columns=("a",))
    assert ask(serving, 2) == ["new"] * 2  # further columns are dropped, as always
    assert ask(serving, 1, columns={"a": [1.0], "b": [2.0]}) == ["new"]


def test_when_it_is_decided_the_shares_end(ws, serve, monkeypatch):
    serving = serve("canary = 1.0")
    monkeypatch.setattr(room, "LOOK_SECONDS", 0.0)
    ws.promotion.reject("m@2", "production", "no")
    ask(serving, 1)
    serving.beside.look("m", 1)
    assert serving.beside.now is None
    assert ask(serving, 2) == ["old"] * 2


def test_what_expired_or_was_deleted_does_not_answer(ws, serve):
    serving = serve('canary = 1.0\nexpires = "1h"')
    assert serving.beside.now is not None
    with ws.store.write() as db:
        db.execute(schema.approvals.update().values(expires_at=clock.now() - 1))
    serving.beside.look("m", 1)
    assert serving.beside.now is None
    with ws.store.write() as db:
        db.execute(schema.approvals.update().values(expires_at=None))
    serving.beside.look("m", 1)
    assert serving.beside.now is not None
    ws.promotion.promote("m@1", "staging", "back")
    ws.promotion.delete("m@2", "wrong")
    serving.beside.look("m", 1)
    assert serving.beside.now is None


def test_what_cannot_be_loaded_is_told_once(ws, serve, caplog):
    serving = serve("canary = 1.0")
    serving.beside.now = None
    serving.beside._load = lambda _version: (_ for _ in ()).throw(RuntimeError("no such library"))
    for _ in range(3):
        serving.beside.look("m", 1)
    assert caplog.text.count("no such library") == 1
    assert ask(serving, 1) == ["old"]


def test_a_full_queue_of_shadows_is_counted(serve, monkeypatch):
    serving = serve("shadow = 1.0")
    monkeypatch.setattr("nbmlops.server.waiting.MOST_SHADOWED", 0)
    assert ask(serving, 3) == ["old"] * 3
    assert serving.beside.counts["shadow left out"] == 3
