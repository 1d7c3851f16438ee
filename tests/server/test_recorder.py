"""The recorder: bounded, patient, and never in the way."""

from __future__ import annotations

import threading

import pandas as pd
import pytest

from nbmlops.errors import StoreFault
from nbmlops.records import ModelVersion
from nbmlops.server import recorder as recording
from nbmlops.server.recorder import Piece, Recorder

MODELS = [ModelVersion("m", version, "skops", "", {}) for version in (1, 2)]


class Desk:
    """Keeps what it is given; refuses while ``broken``."""

    def __init__(self):
        self.batches = []
        self.broken = False
        self.wrote = threading.Event()

    def record(self, model, inputs, outputs, ids, source, environment, at):
        if self.broken:
            raise StoreFault("no space left", "")
        assert len(inputs) == len(outputs) == len(ids) == len(at)
        self.batches.append((model.version, ids, source, environment))
        self.wrote.set()


def piece(name, rows=2, model=0):
    frame = pd.DataFrame({"x": range(rows)})
    return Piece(MODELS[model], "production", [f"{name}{i}" for i in range(rows)], frame, frame, 1.0)


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture
def recorder(desk, monkeypatch):
    monkeypatch.setattr(recording, "EVERY_SECONDS", 60.0)
    made = Recorder(desk, capacity=10)
    yield made
    desk.broken = False
    made.close()


def test_pieces_of_one_version_become_one_batch(desk, recorder):
    for name, model in (("a", 0), ("b", 1), ("c", 0)):
        recorder.add(piece(name, model=model))
    assert (recorder.waiting, desk.batches) == (6, [])
    assert recorder.flush()
    assert [(b[0], b[1]) for b in desk.batches] == [(1, ["a0", "a1", "c0", "c1"]), (2, ["b0", "b1"])]
    assert (recorder.waiting, recorder.recorded, recorder.dropped) == (0, 6, 0)


def test_a_full_queue_drops_counts_and_says_so(desk, recorder, caplog):
    desk.broken = True
    with caplog.at_level("WARNING"):
        assert [recorder.add(piece(name)) for name in "abcdefg"] == [True] * 5 + [False] * 2
    assert [r.message for r in caplog.records if "not recorded: 10 rows wait" in r.message]
    assert (recorder.waiting, recorder.dropped) == (10, 4)


def test_what_the_store_refuses_is_kept_and_written_later(desk, recorder):
    desk.broken = True
    recorder.add(piece("a"))
    assert not recorder.flush()
    assert (recorder.waiting, recorder.failures) == (2, 1)
    desk.broken = False
    recorder.add(piece("b"))
    assert recorder.flush()
    assert desk.batches == [(1, ["a0", "a1", "b0", "b1"], "online", "production")]


def test_many_rows_are_written_before_the_time_is_up(desk, recorder, monkeypatch):
    monkeypatch.setattr(recording, "EVERY_ROWS", 4)
    recorder.add(piece("a"))
    recorder.add(piece("b"))
    assert desk.wrote.wait(10)


def test_time_alone_writes_too(desk, monkeypatch):
    monkeypatch.setattr(recording, "EVERY_SECONDS", 0.02)
    made = Recorder(desk)
    made.add(piece("a"))
    assert desk.wrote.wait(10)
    made.close()


def test_close_writes_the_rest_and_takes_no_more(desk, recorder):
    recorder.add(piece("a"))
    recorder.close()
    assert len(desk.batches) == 1
    recorder.add(piece("b"))
    assert recorder.dropped == 2
