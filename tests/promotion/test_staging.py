"""The package as a real service in a process of its own, and the page that a reviewer reads."""

from __future__ import annotations

import os
import signal

import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from nbmlops import audit
from nbmlops.errors import Blocked, NotFound, StoreFault
from nbmlops.promotion.rehearsal import Rehearsal, service
from nbmlops.promotion.rehearsal.bodies import split
from nbmlops.store import schema

pytestmark = pytest.mark.slow
N = 400
CHANCE = np.random.default_rng(0)
EVIL = "<script>window.hacked=1</script>"
FRAME = pd.DataFrame(
    {
        "age": CHANCE.integers(18, 90, N),
        "income": CHANCE.normal(40, 10, N),
        "city": pd.Categorical(CHANCE.choice(["Bonn", EVIL], N)),
    }
)
PAID = pd.Series(np.where(FRAME.income + CHANCE.normal(0, 5, N) > 40, "yes", EVIL))
SEX = pd.Series(np.where(np.arange(N) % 2, "f", EVIL), name=f"sex {EVIL}")


def register(ws, description=EVIL):
    steps = make_column_transformer((StandardScaler(), ["age", "income"]), (OneHotEncoder(), ["city"]))
    model = make_pipeline(steps, LogisticRegression()).fit(FRAME[:200], PAID[:200])
    test = ws.evidence.test_rows((FRAME[200:], PAID[200:]), groups=SEX[200:])
    return ws.evidence.register(model, "m", test=test, training_data=FRAME[:200], description=description)


def children():
    return [p for p in psutil.Process().children(recursive=True) if "nbmlops.cli.rehearsed" in " ".join(p.cmdline())]


def test_a_version_is_served_asked_and_reviewed_before_it_stands_in_staging(ws, monkeypatch, tmp_path, cli):
    monkeypatch.setenv("NBMLOPS_STAGING_SERVICE", "true")
    version = register(ws)
    outcome = ws.promotion.promote(version.ref, "staging", f"why not {EVIL}")
    by = {f.check: f for f in outcome.findings}
    assert [by[f"service {part}"].level for part in ("answers", "refuses", "latency", "ends")] == ["pass"] * 4
    assert by["service answers"].seen == "200 rows in one request and 10 alone, all equal"
    assert not children()
    # Nothing that was asked of it has reached the user's own log.
    with ws.store.read() as db:
        assert not db.execute(schema.prediction_batches.select()).all()

    review = ws.promotion.review(version.ref)
    assert (review.status, review.environment) == ("passed", "staging")
    assert len(review.findings) == len(outcome.findings)
    executed = nbformat.reads(ws.store.blobs.get(review.notebook).decode(), as_version=4)
    assert all(cell.outputs for cell in executed.cells[3:] if cell.cell_type == "code")
    page = ws.promotion.reviews.page(review).decode()
    assert EVIL not in page
    assert "a row that is too short" in page
    assert "equalized odds difference" in page
    assert audit.verify(ws.store)

    waiting = ws.promotion.promote(version.ref, "production", "two weeks in staging")
    assert waiting.review == review.review_id
    out = tmp_path / "page.html"
    cli("model", "review", version.ref, "-o", str(out))
    assert out.read_text() == page
    with pytest.raises(NotFound, match="there is no review of model:m@1 for production"):
        ws.promotion.review(version.ref, "production")


def test_a_service_that_answers_otherwise_is_blocked_and_one_that_dies_is_told(ws, monkeypatch):
    version = register(ws)
    rehearsal = Rehearsal(ws.models, version, FRAME[200:])
    true = ws.models.predict_frame

    def shifted(ref, frame):
        found = true(ref, frame)
        return found.assign(prediction=found.prediction.where(found.index != 3, "other"))

    monkeypatch.setattr(ws.models, "predict_frame", shifted)
    real = rehearsal._refuses

    def killed(running):
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait()
        return real(running)

    monkeypatch.setattr(rehearsal, "_refuses", killed)
    answers, refuses, latency, ends = rehearsal.findings()
    assert (answers.level, answers.seen) == ("block", "1 of 200 rows differ, 0 of 10 when sent alone")
    assert (refuses.level, latency.level) == ("block", "block")
    assert "the service has ended" in refuses.seen
    assert ends.level == "warn"
    assert not children()


def test_a_service_that_does_not_start_says_its_last_words(ws, monkeypatch):
    version = register(ws)
    monkeypatch.setattr(service, "_environment", lambda folder, token: {**os.environ, "NBMLOPS_STORE": "/dev/null/x"})
    told = r"the service did not start; it said: (.|\n)*/dev/null/x"
    with pytest.raises(StoreFault, match=told), service.served(ws.models, version):
        pass
    assert not children()


def test_a_service_ends_with_whoever_started_it(ws):
    version = register(ws)
    read, write = os.pipe()
    pid = os.fork()
    if not pid:  # a caller that is killed in the middle
        with service.served(ws.models, version) as running:
            os.write(write, str(running.process.pid).encode())
            signal.pause()
    served = psutil.Process(int(os.read(read, 20)))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert psutil.wait_procs([served], timeout=20)[0]


def test_rows_arrive_as_they_are_in_full():
    frame = pd.DataFrame(
        {
            "a": [0.1 + 0.2, np.nan],
            "b": pd.array([2**53 + 1, None], dtype="Int64"),
            "c": pd.to_datetime(["2026-01-01 10:00:00.123456789", None]),
            "d": [True, False],
        }
    )
    assert split(frame) == (
        b'{"dataframe_split": {"columns": ["a", "b", "c", "d"], "data": [[0.30000000000000004, 9007199254740993, '
        b'"2026-01-01T10:00:00.123456789", true], [null, null, null, false]]}}'
    )


def test_what_blocks_before_is_not_served(ws, monkeypatch):
    monkeypatch.setenv("NBMLOPS_STAGING_SERVICE", "true")
    monkeypatch.setattr(service, "served", lambda *_given: pytest.fail("it was started"))
    with pytest.raises(Blocked):
        ws.promotion.promote(register(ws).ref, "staging", "because", rules=["metrics.auc > 0.5"])
    assert ws.promotion.reviews.of(ws.models.get("m")) == []
