"""From any reference back to the notebooks and data that made it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from nbmlops import clock
from nbmlops.context import Context
from nbmlops.display.plain import tree
from nbmlops.errors import InvalidValue, NotFound
from nbmlops.store import schema
from nbmlops.workspace import Workspace


@pytest.fixture
def story(store):
    """raw data -> features stage -> train stage -> model -> prediction, in one flow; returns the references."""
    here = {"run_id": None}
    ws = Workspace(store, lambda: Context(user="ann", host="here", run_id=here["run_id"]))
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["a", "b"])
    raw = ws.datasets.snapshot(frame, "raw", message="as delivered")
    refs = {"raw": raw.ref}
    with store.write() as db:
        flow = {"id": "F1", "name": "churn", "path": "pipeline.yaml", "status": "FINISHED", "params": {"month": 3}}
        flow |= {"outputs": {}, "trigger": {"type": "user"}, "spec": "", "user": "ann", "started_at": 1.0}
        db.execute(schema.flows.insert(), flow)
    for stage in ("features", "train"):
        run = ws.runs.start(name=stage, kind="stage", source={"type": "stage", "path": f"{stage}.ipynb"})
        here["run_id"] = run.run_id
        if stage == "features":
            ws.datasets.load("raw")
            refs["features"] = ws.datasets.snapshot(frame * 2, "features").ref
        else:
            data = ws.datasets.load("features")
            fitted = LogisticRegression().fit(data, data["a"] > 0)
            run.log_params({"C": 1.0})
            run.log_metric("accuracy", 0.9)
            refs["model"] = ws.models.register(fitted, "churn", training_data=data).ref
        run.end()
        row = {
            "run_id": run.run_id,
            "flow_id": "F1",
            "stage": stage,
            "notebook": f"{stage}.ipynb",
            "status": "FINISHED",
        }
        row |= {
            "params": {"month": 3},
            "pins": {},
            "attempt": 1,
            "cells_done": 3,
            "cells": 3,
            "started_at": clock.now(),
        }
        row["executed"] = store.blobs.put(f"executed {stage}".encode())
        with store.write() as db:
            db.execute(schema.stage_runs.insert(), row)
        refs[stage + " run"] = f"run:{run.run_id}"
        here["run_id"] = None
    done = ws.deployments.predict("churn", frame)
    refs["prediction"] = "prediction:" + done.frame["prediction_id"].iloc[3]
    return ws, refs


def test_why_a_prediction_reaches_the_raw_data(story):
    ws, refs = story
    ws.deployments.feedback(refs["prediction"], True)
    found = ws.lineage.why(refs["prediction"])
    kinds = [(n.kind, n.ref) for n in found.nodes()]
    assert kinds[:3] == [("prediction", refs["prediction"]), ("model", refs["model"]), ("run", refs["train run"])]
    assert {ref for _, ref in kinds} == {
        *(refs["prediction"], refs["model"], refs["train run"], "flow:F1"),
        *(refs["features"], refs["features run"], refs["raw"]),
    }
    prediction, model, run = found.nodes()[:3]
    assert set(prediction.facts["inputs"]) == {"a", "b"}
    assert prediction.facts["outputs"]["prediction"] in (True, False)
    assert prediction.facts["actual"] is True
    assert "by ann" in model.facts["registered"]
    assert run.facts["executed notebook"].startswith("sha256:")
    assert run.facts["stage params"] == {"month": 3}
    assert (run.facts["params"], run.facts["notebook"]) == ({"C": "1.0"}, "train.ipynb")
    text = tree(found)
    assert "dataset:raw@1: 60 rows" in text
    assert "not followed" not in text


def test_why_every_other_kind(story):
    ws, refs = story
    assert ws.lineage.why("model:churn").root.ref == refs["model"]
    assert ws.lineage.why("dataset:features").nodes()[1].ref == refs["features run"]
    assert ws.lineage.why("stage:train").root.ref == refs["train run"]
    assert ws.lineage.why(refs["train run"][:24]).root.ref == refs["train run"]
    flow = ws.lineage.why("flow:F1")
    assert [n.ref for n in flow.root.behind] == [refs["features run"], refs["train run"]]
    assert [n.ref for n in flow.nodes()].count("flow:F1") == 1
    event = ws.lineage.why("event:1")
    assert event.root.behind[0].ref == refs["model"]
    assert "model.registered" in event.root.title


def test_history_of_a_model_version(story):
    ws, _ = story
    ws.models.set_alias("churn", "champion", 1)
    with ws.store.write() as db:
        row = {"id": "A1", "name": "churn", "version": 1, "environment": "production", "status": "approved"}
        row |= {"reason": "better", "user": "bob", "created_at": 5.0, "findings": []}
        db.execute(schema.approvals.insert(), row | {"decided_by": "eva", "decision": "fine", "decided_at": 6.0})
    history = ws.lineage.why("model:churn").root.facts["history"]
    assert [line.partition(" ")[2] for line in history] == [
        "proposed for production, by bob: better",
        "approved for production, by eva: fine",
        "became champion, by ann: label set",
    ]


def test_a_flow_that_an_alert_started(story):
    ws, refs = story
    with ws.store.write() as db:
        db.execute(schema.flows.update().values(trigger={"type": "alert", "ref": "AL1"}))
    (missing,) = [n for n in ws.lineage.why(refs["model"]).nodes() if n.kind == "alert"]
    assert "missing" in missing.facts
    with ws.store.write() as db:
        row = {"id": "AL1", "report_id": "R", "name": "churn", "version": 1, "message": "drift", "status": "closed"}
        db.execute(schema.alerts.insert(), row | {"findings": [], "at": 2.0})
    (alert,) = [n for n in ws.lineage.why(refs["model"]).nodes() if n.kind == "alert"]
    assert alert.facts["message"] == "drift"


def test_what_was_deleted_is_named_as_missing(story):
    ws, refs = story
    with ws.store.write() as db:
        db.execute(schema.dataset_versions.delete().where(schema.dataset_versions.c.name == "raw"))
    nodes = {n.ref: n for n in ws.lineage.why(refs["prediction"]).nodes()}
    assert "missing" in nodes[refs["raw"]].facts


def test_unknown_references(story):
    ws, _ = story
    for ref in (
        "run:NOPE",
        "dataset:nope",
        "model:nope",
        "flow:nope",
        "prediction:nope",
        "event:99",
        "event:x",
        "stage:nope",
    ):
        with pytest.raises(NotFound):
            ws.lineage.why(ref)
    for ref in ("churn", "", "thing:x"):
        with pytest.raises(InvalidValue):
            ws.lineage.why(ref)


def test_a_model_without_a_run_leads_to_nothing_more(ws):
    frame = pd.DataFrame({"a": np.arange(40.0)})
    ws.models.register(LogisticRegression().fit(frame, frame["a"] > 20), "lone", training_data=frame)
    assert ws.lineage.why("model:lone").root.behind == ()
