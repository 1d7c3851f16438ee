"""The worked case apart from its story: what its features promise, and what their contract refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from nbmlops.errors import ContractViolated, InvalidValue
from nbmlops.frames.contracts import check, load_contract
from nbmlops.workspace import Workspace

ROOT = Path(__file__).parents[1]
CASE = ROOT / "notebooks" / "flights"
CONTRACT = CASE / "contracts" / "flight-features.yaml"


def features(**columns: list[Any]) -> pd.DataFrame:
    """A thousand rows as ``features.ipynb`` makes them; the first ones as given."""
    plain: dict[str, Any] = {
        "scheduled": pd.date_range("2013-06-01", periods=1000, freq="min", tz="America/New_York"),
        "carrier": "9E",
        "origin": "JFK",
        "dest": "BOS",
        **dict.fromkeys(["distance", "hour", "minute", "weekday", "temp"], 12.0),
        **dict.fromkeys(["dewp", "humid", "wind_speed", "precip"], 3.0),
        "pressure": 1012.0,
        "visib": 10.0,
        "late": 0,
    }
    frame = pd.DataFrame(plain).assign(weekday=5.0)
    for name, values in columns.items():
        frame.loc[range(len(values)), name] = values
    return frame


def test_the_contract_refuses_with_everything_that_is_wrong(ws: Workspace) -> None:
    gone = [float("nan")] * 101
    wrong = features(hour=[24.0], carrier=["XX"], origin=["PHL", None], late=[2], temp=gone, humid=[101.0])
    with pytest.raises(ContractViolated) as raised:
        ws.datasets.snapshot(wrong, "flight-features", contract=CONTRACT)
    report = check(load_contract(CONTRACT), pa.Table.from_pandas(wrong, preserve_index=False))
    assert raised.value.violations == tuple(v.line() for v in report.violations)
    assert {(v.column, v.rule) for v in report.violations} == {
        ("hour", "max"),
        ("carrier", "in"),
        ("origin", "in"),
        ("origin", "nullable"),
        ("late", "in"),
        ("temp", "share_null"),
        ("humid", "max"),
    }
    assert ws.datasets.list() == []


def test_the_contract_asks_for_the_year_of_new_york(ws: Workspace) -> None:
    """The last evening of 2013 there is 2014 in UTC."""
    ends = [pd.Timestamp(t, tz="America/New_York") for t in ("2013-01-01 00:00", "2013-12-31 23:00")]
    assert ws.datasets.snapshot(features(scheduled=ends), "flight-features", contract=CONTRACT).new
    with pytest.raises(ContractViolated, match="scheduled"):
        later = features(scheduled=[pd.Timestamp("2014-01-01 00:00", tz="America/New_York")])
        ws.datasets.snapshot(later, "flight-features", contract=CONTRACT)


@pytest.mark.slow
def test_features_training_and_inference_meet_only_in_the_store(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # threads that wait for each other cost more than they bring here
    with pytest.raises(InvalidValue) as nothing:
        ws.pipelines.plan(CASE / "inference.yaml")
    assert [fault.partition(" is read")[0] for fault in nothing.value.faults] == [
        "line 7: stage predict: dataset:flight-features-live",
        "line 7: stage predict: model:flight-delay@production",
    ]
    ws.datasets.snapshot(features(), "flight-features-live")
    made = ws.pipelines.run(CASE / "features.yaml", {"months": [1], "live": [2]}, progress=False)
    the_parts_of(ws)
    executed = next(stage.executed for stage in made.stages if "live" in stage.stage)
    shown = json.dumps(json.loads(ws.store.blobs.get(executed or "")), ensure_ascii=False)
    assert "dataset:flight-features-live@1 → dataset:flight-features-live@2" in shown

    trained = ws.pipelines.run(CASE / "training.yaml", only="train", progress=False)
    assert trained.promotion is not None, trained.decision
    bring_to_production(ws)

    inference = ws.pipelines.run(CASE / "inference.yaml", progress=False)
    live, predicted = ws.datasets.load("flight-features-live"), ws.datasets.load("flight-predictions")
    assert inference.outputs == {"dataset:flight-predictions": 1}
    assert predicted["scheduled"].equals(live["scheduled"])
    assert set(predicted["model"]) == {"model:flight-delay@1"}
    first = ws.deployments.prediction(predicted["prediction_id"][0])
    assert (first["environment"], first["run_id"]) == ("production", inference.stages[0].run_id)
    page = ws.runs.artifact(inference.stages[0].run_id, "departures.html").decode()
    assert page.count("<meter") == 12


def the_parts_of(ws: Workspace) -> None:
    """The history is held to its contract and split by time; what is to be predicted stays whole."""
    whole = ws.datasets.get("flight-features")
    assert whole.source["contract"] == {"name": "flight-features.yaml", "status": "pass", "violations": 0}
    train, test = (ws.datasets.load(f"flight-features-{part}") for part in ("train", "test"))
    assert len(train) + len(test) == whole.rows
    assert train["scheduled"].max() < test["scheduled"].min()
    assert ws.datasets.get("flight-features-test").source["of"] == whole.ref
    names = {version.name for version in ws.datasets.list()}
    assert names == {"flight-features", "flight-features-live", "flight-features-test", "flight-features-train"}


def bring_to_production(ws: Workspace) -> None:
    ws.promotion.promote("model:flight-delay@1", "production", "first model")
    ws.promotion.approve("model:flight-delay@1", "production", "seen")
