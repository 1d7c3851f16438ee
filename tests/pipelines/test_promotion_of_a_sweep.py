"""The documented pipeline from data to staging, with every desk as it is."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from nbmlops.pipelines.flow import Options
from nbmlops.workspace import Workspace

FEATURES = """
import nbmlops, numpy as np, pandas as pd
rng = np.random.default_rng(0)
frame = pd.DataFrame({"x": rng.normal(size=rows), "z": rng.normal(size=rows)})
frame["late"] = (frame["x"] + frame["z"] + rng.normal(scale=0.3, size=rows) > 0).astype(int)
nbmlops.snapshot(frame, "features")
"""
TRAIN = """
import nbmlops
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier
frame = nbmlops.load_dataset("features")
X, y = frame[["x", "z"]], frame["late"]
model = DecisionTreeClassifier(max_depth=max_depth, random_state=0).fit(X, y)
nbmlops.log_metric("roc_auc", roc_auc_score(y, model.predict_proba(X)[:, 1]))
nbmlops.register_model(model, "delay", input_example=X.head())
"""
FILE = """
name: delay
params: {rows: 200}
stages:
  features: {notebook: features.ipynb, params: {rows: "${params.rows}"}, writes: [dataset:features]}
  train:
    notebook: train.ipynb
    reads: [dataset:features]
    matrix: {max_depth: [1, 4]}
    select: {metric: roc_auc, mode: max}
    writes: [model:delay]
promote:
  model: delay
  to: staging
  rules: [metrics.roc_auc >= LIMIT]
"""


def write(path: Path, parameters: str, source: str) -> None:
    cells = [
        nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(source),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


@pytest.mark.slow
def test_from_data_to_staging(ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    write(tmp_path / "features.ipynb", "rows: int = 10", FEATURES)
    write(tmp_path / "train.ipynb", "max_depth: int = 2", TRAIN)
    path = tmp_path / "pipeline.yaml"
    path.write_text(FILE.replace("LIMIT", "0.6"))
    flow = ws.pipelines.run(path, progress=False)
    assert flow.status == "FINISHED"
    assert flow.outputs == {"dataset:features": 1, "model:delay": 1}
    version = ws.models.get("model:delay@staging")
    winner = max((s for s in flow.stages if s.stage == "train"), key=lambda s: s.metrics["roc_auc"])
    assert (version.version, version.run_id, version.datasets) == (1, winner.run_id, ("dataset:features@1",))
    assert winner.params == {"max_depth": 4}
    assert flow.promotion is not None
    assert (flow.promotion.status, flow.promotion.version) == ("promoted", 1)

    path.write_text(FILE.replace("LIMIT", "2"))
    again = ws.pipelines.run(path, options=Options(force=True), only="train", progress=False)
    assert (again.status, again.outputs) == ("BLOCKED", {"model:delay": 2})
    assert again.decision is not None
    assert any(f["level"] == "block" for f in again.decision["findings"])
    assert ws.models.get("model:delay@staging").version == 1
