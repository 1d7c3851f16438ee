"""Windows of predictions against training, alerts with their events, and retraining."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from sklearn.linear_model import LinearRegression, LogisticRegression

from nbmlops import clock
from nbmlops.errors import InvalidValue, NotFound, StageFailed, UsageFault
from nbmlops.monitors import Monitors
from nbmlops.pipelines.flow import Options
from nbmlops.records import Flow
from nbmlops.store import schema

RNG = np.random.default_rng(11)


def rows(n, shift=0.0):
    return pd.DataFrame(RNG.normal(size=(n, 4)), columns=list("abcd")) + shift


@pytest.fixture
def train():
    return rows(3_000)


@pytest.fixture
def model(ws, train):
    run = ws.runs.start(name="training")
    fitted = LogisticRegression().fit(train, train["a"] + train["b"] > 0)
    run.end()
    return _registered(ws, fitted, train, run.run_id)


def _registered(ws, fitted, train, run_id=None):
    """As if it was registered in that run, which logged these metrics."""
    version = ws.models.register(fitted, "m", training_data=train)
    with ws.store.write() as db:
        v = schema.model_versions
        values = {"run_id": run_id, "metrics": {"test_accuracy": 0.97, "test_roc_auc": 0.99, "rmse": 0.5}}
        db.execute(v.update().where(v.c.version == version.version).values(**values))
    return ws.models.get(version.ref)


class FakePipelines:
    """Remembers what it was asked to run, and ends as told."""

    def __init__(self, status="FINISHED"):
        self.status, self.asked = status, []

    def run(self, path, params, options):
        self.asked.append((path, params, options))
        if self.status == "FAILED":
            raise StageFailed("stage train failed", "")
        return Flow("FLOW2", "p", path, self.status, outputs={"model:m": 2})


def desk(ws, pipelines):
    return Monitors(ws.store, ws.context, ws.models, ws.deployments, pipelines, ws.runs)


def trained_by(ws, run_id, path="p.yaml", params=None):
    with ws.store.write() as db:
        flow = {"id": "FLOW1", "name": "p", "path": path, "status": "FINISHED", "params": params or {"month": 3}}
        flow |= {"outputs": {}, "trigger": {"type": "user"}, "spec": "", "user": "tester", "started_at": 1.0}
        db.execute(schema.flows.insert(), flow)
        stage = {
            "run_id": run_id,
            "flow_id": "FLOW1",
            "stage": "train",
            "notebook": "train.ipynb",
            "status": "FINISHED",
        }
        stage |= {"params": {}, "pins": {}, "attempt": 1, "cells_done": 1, "cells": 1, "started_at": 1.0}
        db.execute(schema.stage_runs.insert(), stage)


def alerted(ws, model):
    ws.deployments.predict("m", rows(400, shift=2))
    return ws.monitors.check("m")


def test_no_predictions_and_too_few_are_no_data(ws, model):
    report = ws.monitors.check("model:m")
    assert (report.status, report.rows, report.since, report.alert_id) == ("no data", 0, None, None)
    ws.deployments.predict("m", rows(5, shift=9))
    report = ws.monitors.check("m")
    assert (report.status, report.rows) == ("no data", 5)
    assert "30" in report.findings[0].asked


def test_like_training_is_ok(ws, model):
    ws.deployments.predict("m", rows(2_000))
    report = ws.monitors.check("m@1")
    assert report.status == "ok"
    drift = {r["column"]: r for r in report.drift}
    assert [drift[c]["role"] for c in "abcd"] == ["input"] * 4
    assert drift["prediction"]["role"] == "output"
    assert {r["verdict"] for r in report.drift} == {"ok"}
    assert ws.monitors.alerts() == []
    assert ws.events("model:m@1")[0].type == "model.registered"


def test_drift_is_an_alert_with_its_event(ws, model):
    report = alerted(ws, model)
    assert report.status == "alert"
    (alert,) = ws.monitors.alerts(open_only=True)
    assert (alert["id"], alert["report_id"], alert["status"]) == (report.alert_id, report.report_id, "open")
    assert "drift: 4 of 4: a, b, c, d" in alert["message"]
    event = ws.events("model:m@1")[0]
    assert (event.type, event.data["alert"]) == ("monitor.alert", report.alert_id)
    assert ws.verify_ledger() >= 2
    assert ws.monitors.reports("m")[0] == report
    assert json.loads(json.dumps(report.to_dict()))["drift"][0]["column"] == "a"


def test_an_open_alert_is_not_opened_twice(ws, model):
    first, second = alerted(ws, model), ws.monitors.check("m")
    assert first.alert_id == second.alert_id
    (alert,) = ws.monitors.alerts()
    (row,) = ws.monitors.alert_rows(open_only=True)
    assert list(row) == ["id", "model", "status", "message", "at", "flow_id"]
    assert (row["id"], row["model"], row["message"]) == (alert["id"], "model:m@1", alert["message"])
    assert len(ws.monitors.reports()) == 2
    assert ws.monitors.reports("other") == []
    (line,) = ws.monitors.status()
    assert (line["model"], line["report_id"], line["alert_id"]) == ("model:m@1", second.report_id, first.alert_id)


def test_only_this_version_and_this_window_count(ws, model, train):
    ws.deployments.predict("m@1", rows(300, shift=3))
    between = clock.now()
    _registered(ws, LogisticRegression().fit(train, train["a"] > 0), train)
    ws.deployments.predict("m@2", rows(500))
    assert ws.monitors.check("m@2").status == "ok"
    assert ws.monitors.check("m@1").status == "alert"
    assert ws.monitors.check("m@1", since=between).status == "no data"
    assert ws.monitors.check("m@1", until=between).rows == 300


def test_fallen_performance_is_an_alert(ws, model):
    window = rows(500)
    done = ws.deployments.predict("m", window)
    truth = (window["a"] + window["b"] > 0).tolist()
    ids = list(done.frame["prediction_id"])
    ws.deployments.feedback_many(ids[:200], truth[:200])
    report = ws.monitors.check("m")
    assert report.status == "ok"
    assert report.performance["rows"] == 200
    assert report.performance["accuracy"] > 0.95
    ws.deployments.feedback_many(ids, [not t if i % 3 == 0 else t for i, t in enumerate(truth)])
    report = ws.monitors.check("m")
    assert {f.asked.split()[0] for f in report.findings if f.level == "block"} == {"accuracy", "roc_auc"}


def test_regression_errors(ws, train):
    _registered(ws, LinearRegression().fit(train, train.sum(axis=1)), train)
    window = rows(300)
    done = ws.deployments.predict("m", window)
    ws.deployments.feedback_many(list(done.frame["prediction_id"]), (window.sum(axis=1) + 2).tolist())
    report = ws.monitors.check("m")
    assert report.performance["rmse"] == pytest.approx(2)
    assert [f.check for f in report.findings if f.level == "block"] == ["performance"]


def test_limits_and_faults(ws, model):
    ws.deployments.predict("m", rows(400, shift=0.4))
    assert ws.monitors.check("m").status == "alert"
    loose = {"psi": 9, "psi_warn": 9, "ks": 1, "missing": 1, "out_of_range": 1}
    assert ws.monitors.check("m", limits=loose).status == "ok"
    with pytest.raises(InvalidValue, match="pis"):
        ws.monitors.check("m", limits={"pis": 1})
    with pytest.raises(NotFound):
        ws.monitors.check("nope")


def test_a_model_without_profile_still_has_performance(ws, train):
    ws.models.register(LogisticRegression().fit(train, train["a"] > 0), "m", input_example=train.head(3))
    done = ws.deployments.predict("m", rows(100))
    ws.deployments.feedback_many(list(done.frame["prediction_id"]), done.frame["prediction"].tolist())
    report = ws.monitors.check("m")
    assert (report.status, report.performance["accuracy"]) == ("warn", 1.0)
    assert report.findings[0].check == "profile"


def test_a_failed_write_leaves_neither_report_nor_alert(ws, model, monkeypatch):
    ws.deployments.predict("m", rows(400, shift=2))
    monkeypatch.setattr("nbmlops.monitors.ledger.append", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ws.monitors.check("m")
    assert (ws.monitors.alerts(), ws.monitors.reports()) == ([], [])


def test_act_runs_the_pipeline_that_trained_the_model(ws, model):
    report = alerted(ws, model)
    trained_by(ws, model.run_id)
    pipelines = FakePipelines()
    flow = desk(ws, pipelines).act(report.alert_id, params={"month": 4})
    options = Options(force=True, trigger={"type": "alert", "ref": report.alert_id})
    assert pipelines.asked == [("p.yaml", {"month": 4}, options)]
    (alert,) = ws.monitors.alerts()
    assert (alert["status"], alert["flow_id"]) == ("closed", flow.flow_id)
    assert alert["closed_at"] >= alert["at"]
    event = ws.events("model:m@1")[0]
    assert (event.type, event.data["outputs"]) == ("model.retrained", {"model:m": 2})
    with pytest.raises(UsageFault, match="closed"):
        desk(ws, pipelines).act(report.alert_id)
    assert ws.monitors.check("m").alert_id != report.alert_id


def test_act_finds_the_stage_above_a_nested_run(ws, train):
    stage = ws.runs.start(name="stage", kind="stage")
    nested = ws.runs.start(name="inner", parent_id=stage.run_id)
    nested.end()
    stage.end()
    model = _registered(ws, LogisticRegression().fit(train, train["a"] > 0), train, nested.run_id)
    report = alerted(ws, model)
    trained_by(ws, stage.run_id)
    pipelines = FakePipelines()
    desk(ws, pipelines).act(f"alert:{report.alert_id}")
    assert pipelines.asked[0][0] == "p.yaml"


def test_a_failed_or_blocked_retraining_leaves_the_alert_open(ws, model):
    report = alerted(ws, model)
    with pytest.raises(StageFailed):
        desk(ws, FakePipelines("FAILED")).act(report.alert_id, pipeline="other.yaml")
    assert ws.monitors.alerts()[0]["status"] == "open"
    desk(ws, FakePipelines("BLOCKED")).act(report.alert_id, pipeline="other.yaml")
    alert = ws.monitors.alerts()[0]
    assert (alert["status"], alert["flow_id"]) == ("open", "FLOW2")


def test_act_without_a_pipeline_or_alert(ws, model):
    report = alerted(ws, model)
    with pytest.raises(UsageFault, match="not trained by a pipeline") as caught:
        desk(ws, FakePipelines()).act(report.alert_id)
    assert "--pipeline FILE" in caught.value.hint
    assert "pipeline='FILE'" in caught.value.hint
    assert ws.monitors.alerts()[0]["status"] == "open"
    with pytest.raises(NotFound, match="nope"):
        desk(ws, FakePipelines()).act("nope")


def test_two_people_cannot_act_at_once(ws, model):
    report = alerted(ws, model)
    with ws.store.write() as db:
        db.execute(sa.update(schema.alerts).values(status="retraining"))
    pipelines = FakePipelines()
    with pytest.raises(UsageFault, match="retraining"):
        desk(ws, pipelines).act(report.alert_id, pipeline="p.yaml")
    assert pipelines.asked == []
