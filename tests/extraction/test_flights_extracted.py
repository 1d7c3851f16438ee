"""The notebooks of the worked case: taken out of their runs and executed again, they give the same metrics."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from played import Notebook

from nbmlops import session
from nbmlops.extraction import Wish
from nbmlops.records import Extracted
from nbmlops.workspace import Workspace

ROOT = Path(__file__).parents[2]


def extracted(ws: Workspace, run_id: str | None, out: Path, *anew: str) -> Extracted:
    """Take out a run; ``anew`` are data sets that are others each time, for the ids of predictions are in them."""
    found = ws.extraction.extract(f"run:{run_id}", out=out, wish=Wish())
    told = [(d.kind, d.name, d.before, d.after) for d in found.differences if d.name not in anew]
    assert (found.proof, found.error, told) == ("differs" if anew else "proved", "", []), out.name
    assert found.compared["metric"] == len(set(ws.runs.get(f"run:{run_id}").metrics) - {"fit_seconds"})
    return found


@pytest.mark.slow
def test_every_notebook_of_the_case_comes_out_of_its_run_as_a_stage(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    case = Path(shutil.copytree(ROOT / "notebooks" / "flights", tmp_path / "flights"))

    features = ws.pipelines.run_stage(case / "features.ipynb", {"months": [1]}, progress=False)
    found = extracted(ws, features.run_id, case / "features-out.ipynb")
    assert {p.name: p.default for p in found.parameters}["months"] == "[1]"
    assert any("late.png" in cell for cell in sources(case / "features-out.ipynb"))

    train = ws.pipelines.run_stage(case / "train.ipynb", {"iterations": 20}, progress=False)
    found = extracted(ws, train.run_id, case / "train-out.ipynb")
    told = {p.name: (p.type, p.default, p.help) for p in found.parameters}
    assert told["iterations"] == ("int", "20", "")
    assert told["max_leaf_nodes"] == ("int", "31", "size of each tree")

    evaluate = ws.pipelines.run_stage(case / "evaluate.ipynb", progress=False)
    extracted(ws, evaluate.run_id, case / "evaluate-out.ipynb")

    for environment in ("staging", "production"):
        ws.promotion.promote("model:flight-delay@1", environment, "first model")
    ws.promotion.approve("model:flight-delay@1", "production", "seen")
    given = {"dataset": "flight-features-test"}
    predict = ws.pipelines.run_stage(case / "predict.ipynb", given, progress=False)
    extracted(ws, predict.run_id, case / "predict-out.ipynb", "flight-predictions")
    monitor = ws.pipelines.run_stage(case / "monitor.ipynb", progress=False)
    # It tells of the predictions in the store, which a clean run does not have: here it runs on the store itself.
    ws.extraction.extract(f"run:{monitor.run_id}", out=case / "monitor-out.ipynb", wish=Wish(prove=False))
    again = ws.pipelines.run_stage(case / "monitor-out.ipynb", progress=False)
    assert again.metrics == monitor.metrics
    assert again.metrics["rows"] > 0


@pytest.mark.slow
def test_the_quickstart_comes_apart_into_its_runs(nb: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    played = Notebook(tmp_path)
    try:
        cells = sources(ROOT / "notebooks" / "flights" / "quickstart.ipynb")
        played.run(*cells[: next(i for i, cell in enumerate(cells) if "%mlops runs" in cell)])
        ws = session.workspace()
        found = {run.name: extracted(ws, run.run_id, tmp_path / f"{run.name}.ipynb") for run in ws.runs.search()}
    finally:
        played.close()
    assert set(found) == {"baseline", "boosted", "learning curve"}
    kept = {name: "\n".join(sources(tmp_path / f"{name}.ipynb")) for name in found}
    assert "LogisticRegression(" in kept["baseline"]
    assert "HistGradientBoostingClassifier(" not in kept["baseline"]
    assert "LogisticRegression(" not in kept["boosted"]
    assert not any("flights-month" in text or "dataset profile" in text for text in kept.values())


def sources(path: Path) -> list[str]:
    cells = json.loads(path.read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
