"""OpenLineage events of real flows: in order, with parents, inputs and outputs, and harmless where nobody listens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nbmlops.errors import StageFailed
from nbmlops.pipelines.openlineage import run_id
from nbmlops.workspace import Workspace
from tests.pipelines.notebooks import pipeline, write

HOME = str(Path(__file__).parents[2])
MADE = "import pandas as pd, nbmlops\nnbmlops.snapshot(pd.DataFrame({'x': [1, 2]}), 'made')"
FILE = "name: told\nstages: {make: {notebook: make.ipynb}, use: {notebook: use.ipynb}}"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", HOME)
    write(tmp_path / "make.ipynb", "n = 1", MADE)
    write(tmp_path / "use.ipynb", "n = 1", "import nbmlops\nraise OSError(len(nbmlops.load_dataset('made')))")
    return pipeline(tmp_path, FILE)


def test_a_flow_is_told(ws: Workspace, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBMLOPS_OPENLINEAGE", str(tmp_path / "events.jsonl"))
    with pytest.raises(StageFailed):
        ws.pipelines.run(project, progress=False)
    (flow,) = ws.pipelines.flows()
    events: list[dict[str, Any]] = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [(e["eventType"], e["job"]["name"]) for e in events] == [
        ("START", "told"),
        ("START", "told.make"),
        ("COMPLETE", "told.make"),
        ("START", "told.use"),
        ("FAIL", "told.use"),
        ("FAIL", "told"),
    ]
    assert [e["run"]["runId"] for e in events[::5]] == [run_id(flow.flow_id)] * 2
    assert all(e["run"]["facets"]["parent"]["run"]["runId"] == run_id(flow.flow_id) for e in events[1:5])
    assert [(d["name"], d["outputFacets"]["outputStatistics"]["rowCount"]) for d in events[2]["outputs"]] == [
        ("dataset:made", 2)
    ]
    assert [d["name"] for d in events[4]["inputs"]] == ["dataset:made"]
    assert events[4]["run"]["facets"]["errorMessage"]["message"] == "OSError: 2"

    # A stage alone, and one that is reused: nothing ran, so there is nothing to tell.
    ws.pipelines.run_stage(tmp_path / "make.ipynb", force=True, progress=False)
    ws.pipelines.run_stage(tmp_path / "make.ipynb", progress=False)
    more = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()][6:]
    assert [(e["eventType"], e["job"]["name"], "parent" in e["run"]["facets"]) for e in more] == [
        ("START", "make", False),
        ("COMPLETE", "make", False),
    ]


def test_a_server_that_is_not_there_harms_nothing(
    ws: Workspace, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBMLOPS_OPENLINEAGE", "http://127.0.0.1:9/")
    (tmp_path / ".nbmlops").mkdir()
    with pytest.warns(RuntimeWarning, match="OpenLineage events were not delivered"):
        stage = ws.pipelines.run_stage(tmp_path / "make.ipynb", progress=False)
    assert stage.status == "FINISHED"
    kept = (tmp_path / ".nbmlops" / "openlineage-undelivered.jsonl").read_text().splitlines()
    assert [json.loads(line)["eventType"] for line in kept] == ["START", "COMPLETE"]
