"""The whole circle with real kernels: pipeline, batch prediction, drift, alert, retraining, and why."""

from __future__ import annotations

from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from nbmlops.workspace import Workspace

FEATURES = """\
import numpy as np, pandas as pd, nbmlops
rng = np.random.default_rng(int(shift * 10))
frame = pd.DataFrame({"a": rng.normal(shift, 1, 500), "b": rng.normal(size=500)})
frame["target"] = frame["a"] + frame["b"] > shift
nbmlops.snapshot(frame, "people")
"""
TRAIN = """\
import nbmlops
from sklearn.linear_model import LogisticRegression
frame = nbmlops.load_dataset("people")
X, y = frame[["a", "b"]], frame["target"]
model = LogisticRegression().fit(X, y)
nbmlops.log_metric("accuracy", model.score(X, y))
nbmlops.register_model(model, "churn")
"""
PIPELINE = """\
name: churn
params: {shift: 0.0}
stages:
  features: {notebook: features.ipynb, params: {shift: "${params.shift}"}, writes: [dataset:people]}
  train: {notebook: train.ipynb, reads: [dataset:people], writes: [model:churn]}
"""


def write(path: Path, parameters: str, body: str) -> None:
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in (parameters, body)])
    nb.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nb, path)


@pytest.mark.slow
def test_from_a_pipeline_through_an_alert_to_the_next_version(ws: Workspace, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    write(tmp_path / "features.ipynb", "shift: float = 0.0", FEATURES)
    write(tmp_path / "train.ipynb", "seed: int = 0", TRAIN)
    (tmp_path / "pipeline.yaml").write_text(PIPELINE)
    first = ws.pipelines.run(tmp_path / "pipeline.yaml", progress=False)
    assert first.outputs["model:churn"] == 1

    rng = np.random.default_rng(5)
    window = pd.DataFrame({"a": rng.normal(3, 1, 400), "b": rng.normal(size=400)})
    done = ws.deployments.predict("model:churn@1", window)
    report = ws.monitors.check("model:churn@1")
    assert report.status == "alert"

    flow = ws.monitors.act(report.alert_id, params={"shift": 3.0})
    assert (flow.status, flow.outputs["model:churn"]) == ("FINISHED", 2)
    assert flow.trigger == {"type": "alert", "ref": report.alert_id}
    assert ws.monitors.alerts(open_only=True) == []

    ws.deployments.predict("model:churn@2", window)
    assert ws.monitors.check("model:churn@2").status != "alert"

    found = ws.lineage.why("prediction:" + done.frame["prediction_id"].iloc[0])
    kinds = [node.kind for node in found.nodes()]
    assert {"prediction", "model", "run", "flow", "dataset"} == set(kinds)
    assert any("features.ipynb" in node.title for node in found.nodes())
    nodes = ws.lineage.why("model:churn@2").nodes()
    assert [n.ref for n in nodes if n.kind == "alert"] == [f"alert:{report.alert_id}"]
    assert [n.facts["executed notebook"].startswith("sha256:") for n in nodes if n.kind == "run"] == [True, True]
