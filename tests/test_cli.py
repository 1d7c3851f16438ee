"""The command line over a small real store: what it prints, as text and as JSON, and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


@pytest.fixture
def filled(nb: Any) -> Any:
    """A store with two runs, two versions of a data set, and a model in staging."""
    frame = load_breast_cancer(as_frame=True).frame.astype({"target": "int64"})
    nb.snapshot(frame, "cancer", message="first")
    nb.snapshot(frame.head(400), "cancer", message="fewer")
    for depth in (1, 2):
        with nb.start_run(f"run-{depth}", tags={"team": "a"}):
            nb.load_dataset("cancer@1")
            nb.log_params({"depth": depth, "same": "x"})
            nb.log_metric("auc", 0.9 + depth / 100)
    with nb.start_run("model"):
        inputs = frame.drop(columns="target")
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(inputs, frame["target"])
        nb.log_metric("auc", 0.99)
        nb.register_model(model, "cancer", input_example=inputs)
    nb.promote("cancer", "staging", "good enough", rules=["metrics.auc > 0.9"])
    return nb


def test_lists_and_shows(filled: Any, cli: Any) -> None:
    assert "run-2" in cli("runs").out
    assert [r["name"] for r in cli("run", "list", "-f", "params.depth = '1'", "--json").json()] == ["run-1"]
    shown = cli("run", "show", "run-1", "--json").json()
    assert (shown["params"]["depth"], shown["datasets"]) == ("1", ["dataset:cancer@1"])
    assert "cancer" in cli("datasets").out
    assert sorted(v["version"] for v in cli("dataset", "versions", "cancer", "--json").json()) == [1, 2]
    assert cli("dataset", "show", "cancer@1", "--json").json()["rows"] == 569
    assert "569" in cli("dataset", "diff", "cancer@1", "cancer@2").out
    assert "staging" in cli("models").out
    assert cli("model", "show", "cancer@staging", "--json").json()["version"] == 1
    assert cli("experiments", "--json").json()[0]["runs"] == 3


def test_compare_shows_what_differs(filled: Any, cli: Any) -> None:
    out = cli("run", "compare", "run-1", "run-2").out
    assert "params.depth" in out
    assert "params.same" not in out
    assert "params.same" in cli("run", "compare", "run-1", "run-2", "--all").out


def test_the_way_to_production_and_back(filled: Any, cli: Any) -> None:
    assert "waiting" in cli("model", "promote", "cancer", "--to", "production", "--reason", "ready").out
    (waiting,) = cli("model", "approvals", "--json").json()
    assert waiting["environment"] == "production"
    cli("model", "approve", "cancer", "--to", "production", "--reason", "reviewed")
    assert cli("model", "show", "cancer@production", "--json").json()["version"] == 1
    out = cli("model", "promote", "cancer", "--to", "staging", "--reason", "again", code=2)
    assert "stands" in out.err or "already" in out.err
    assert "event" in cli("ledger", "verify").out
    types = [e["type"] for e in cli("ledger", "show", "--json").json()]
    assert types[0] == "model.approved"
    cli("ledger", "export", "events.jsonl")
    assert len(Path("events.jsonl").read_text().splitlines()) == len(types)


def test_a_blocked_promotion_says_why_and_changes_nothing(filled: Any, cli: Any) -> None:
    with filled.start_run("weak"):
        frame = load_breast_cancer(as_frame=True).data[["mean radius"]]
        model = LogisticRegression().fit(frame, load_breast_cancer().target)
        filled.log_metric("auc", 0.5)
        filled.register_model(model, "cancer", input_example=frame)
    done = cli(
        "model", "promote", "cancer@2", "--to", "staging", "--reason", "try", "--rule", "metrics.auc > 0.9", code=1
    )
    assert "metrics.auc" in done.err
    assert cli("model", "show", "cancer@staging", "--json").json()["version"] == 1


def test_predict_feedback_and_why(filled: Any, cli: Any) -> None:
    frame = load_breast_cancer(as_frame=True).data
    frame.head(20).to_csv("in.csv", index=False)
    cli("predict", "cancer@staging", "in.csv", "--out", "out.csv")
    out = pd.read_csv("out.csv")
    assert len(out) == 20
    first = out["prediction_id"][0]
    cli("feedback", first, "1")
    told = cli("why", f"prediction:{first}").out
    assert "model:cancer@1" in told
    assert "model" in [n["kind"] for n in cli("why", f"prediction:{first}", "--json").json()["root"]["behind"]]
    frame.head(3).drop(columns="mean radius").to_csv("bad.csv", index=False)
    assert "mean radius" in cli("predict", "cancer@staging", "bad.csv", "--out", "x.csv", code=2).err
    assert not Path("x.csv").exists()


def test_monitor_without_enough_predictions(filled: Any, cli: Any) -> None:
    assert cli("monitor", "check", "cancer@staging", "--json").json()["status"] == "no data"
    assert "none" in cli("monitor", "alerts").out


def test_snapshot_export_verify_store_and_doctor(filled: Any, cli: Any) -> None:
    Path("t.csv").write_text("a,b\n1,x\n2,y\n")
    assert cli("dataset", "snapshot", "t.csv", "--name", "t", "--json").json()["rows"] == 2
    cli("dataset", "export", "t", "plain")
    assert len(list(Path("plain").rglob("*.parquet"))) == 1
    assert "block" not in cli("dataset", "verify").out
    assert "sha256" not in cli("model", "verify", "cancer").err
    assert cli("store", "info", "--json").json()["counts"]["runs"] == 3
    assert "0005" in cli("store", "migrate").out
    cli("store", "backup", "b.zip")
    assert "exists already" in cli("store", "backup", "b.zip", code=2).err
    assert "pass" in cli("doctor").out


def test_help_version_completion_and_another_store(cli: Any, tmp_path: Path) -> None:
    assert "pipeline run" in cli("--help").out
    assert cli("--version").out.startswith("nbmlops, version")
    assert "_NBMLOPS_COMPLETE" in cli("completion", "bash").out
    cli("--store", str(tmp_path / "other"), "runs")
    assert (tmp_path / "other" / "nbmlops.db").exists()
    assert "Commands" in cli("model", code=2).out


def test_pipes_and_json_stay_clean(filled: Any) -> None:
    done = subprocess.run([sys.executable, "-m", "nbmlops", "runs", "--json"], capture_output=True, text=True)
    assert [r["name"] for r in json.loads(done.stdout)] == ["model", "run-2", "run-1"]
    assert done.stderr == ""
    done = subprocess.run(f"{sys.executable} -m nbmlops runs | head -1", shell=True, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
