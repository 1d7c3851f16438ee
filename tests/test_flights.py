"""The worked case apart from its story: what its features promise, and what their contract refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from nbmlops.errors import ContractViolated
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
def test_features_are_held_to_their_contract_split_and_compared(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    ws.pipelines.run_stage(CASE / "features.ipynb", {"months": [12]}, progress=False)
    whole = ws.datasets.get("flight-features")
    assert whole.source["contract"] == {"name": "flight-features.yaml", "status": "pass", "violations": 0}
    train, test = (ws.datasets.load(f"flight-features-{part}") for part in ("train", "test"))
    assert len(train) + len(test) == whole.rows
    assert train["scheduled"].max() < test["scheduled"].min()
    assert ws.datasets.get("flight-features-test").source["of"] == whole.ref

    later = ws.pipelines.run_stage(CASE / "features.ipynb", {"months": [11], "test_share": 0.0}, progress=False)
    assert len(ws.datasets.versions("flight-features-train")) == 1
    cells = json.loads(ws.store.blobs.get(later.executed or ""))["cells"]
    shown = "".join(str(o) for cell in cells for o in cell.get("outputs", ()))
    for card in ("dataset:flight-features@1 → dataset:flight-features@2", "dataset:flight-features@2"):
        assert card in shown
