"""Stages made again: bit by bit, drifted, failing; with the versions they had; and what the store keeps of it."""

from __future__ import annotations

import _thread
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from nbmlops.errors import StageFailed, UsageFault
from nbmlops.store import ledger
from nbmlops.workspace import Workspace
from tests.pipelines.notebooks import write
from tests.store_rows import rows

TRAIN = (
    "trees: int = 3",
    """
    import nbmlops
    from sklearn.ensemble import RandomForestRegressor
    data = nbmlops.load_dataset("numbers")
    """,
    """
    model = RandomForestRegressor(trees, random_state=SEED).fit(data[["x"]], data["y"])
    """,
    """
    nbmlops.log_metric("score", model.score(data[["x"]], data["y"]))
    nbmlops.snapshot(data.assign(guess=model.predict(data[["x"]])), "guesses")
    nbmlops.register_model(model, "forest")
    """,
)


@pytest.fixture
def numbers(ws: Workspace) -> pd.DataFrame:
    frame = pd.DataFrame({"x": [float(n % 17) for n in range(60)]})
    frame["y"] = frame["x"] ** 2 + [n % 3 for n in range(60)]
    ws.datasets.snapshot(frame, "numbers")
    return frame


def stage(ws: Workspace, folder: Path, *cells: str, params: Any = None, name: str = "train") -> str:
    return ws.pipelines.run_stage(write(folder / f"{name}.ipynb", *cells), params, progress=False).run_id


def test_a_seeded_stage_comes_out_the_same_to_the_last_bit(
    ws: Workspace, tmp_path: Path, numbers: pd.DataFrame
) -> None:
    run = stage(ws, tmp_path, *(c.replace("SEED", "0") for c in TRAIN), params={"trees": 4})
    ws.datasets.snapshot(numbers * 2, "numbers")  # a version that the run has not seen
    ws.cells.fold()
    before = rows(ws.store)
    made = ws.reproduction.reproduce("model:forest@1", progress=False)
    assert (made.status, made.differences, made.error, made.how) == ("reproduced", (), None, "stage")
    assert made.compared == {"params": 1, "metrics": 1, "data sets": 1, "models": 1}
    assert (made.run_id, made.user, made.environment["same"]) == (run, "tester", True)
    after = rows(ws.store)
    changed = {name: after[name] - count for name, count in before.items() if after[name] != count}
    assert changed == {"certificates": 1, "ledger": 1}
    assert ws.verify_ledger() == after["ledger"]
    event = ledger.read(ws.store)[0]
    assert (event.type, event.subject, event.data["status"]) == ("run.certified", f"run:{run}", "reproduced")
    assert ws.runs.certificate(run) == ws.runs.get(run).certificate == made


def test_an_unseeded_one_drifts_and_its_cell_is_named(ws: Workspace, tmp_path: Path, numbers: pd.DataFrame) -> None:
    run = stage(ws, tmp_path, *(c.replace("SEED", "None") for c in TRAIN))
    made = ws.reproduction.reproduce(f"run:{run}", progress=False)
    assert made.status == "drifted"
    found = {d.kind: d for d in made.differences}
    assert set(found) == {"metric", "dataset", "model"}
    assert found["metric"].name == "score"
    assert found["metric"].size == abs(found["metric"].after - found["metric"].before) > 0
    assert {d.cells for d in made.differences} == {("[4]",)}
    assert "predictions differ" in found["model"].after
    loose = ws.reproduction.reproduce(run, tolerance=0.9, progress=False)
    assert "metric" not in {d.kind for d in loose.differences}  # predictions near zero may be far apart


def test_the_cell_that_fails_is_named(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / "extra.csv").write_text("a")
    cells = ("n: int = 1", "import nbmlops\nnbmlops.log_metric('n', n)", "text = open('extra.csv').read()")
    run = stage(ws, tmp_path, *cells)
    (tmp_path / "extra.csv").unlink()
    made = ws.reproduction.reproduce(run, progress=False)
    assert (made.status, made.compared) == ("not reproducible", {})
    assert (made.error["cell"], made.error["name"]) == ("[3]", "FileNotFoundError")
    assert made.error["why"] == "[3] uses a file that is not there, or no longer as it was"


def test_a_stage_that_failed_is_made_again_if_it_fails_in_the_same_way(ws: Workspace, tmp_path: Path) -> None:
    cells = ("n: int = 1", "import nbmlops\nnbmlops.log_metric('n', n)", "open('extra.csv')")
    with pytest.raises(StageFailed):
        stage(ws, tmp_path, *cells)
    run = ws.runs.search()[0].run_id
    assert ws.reproduction.reproduce(run, progress=False).status == "reproduced"
    (tmp_path / "extra.csv").write_text("a")
    made = ws.reproduction.reproduce(run, progress=False)
    assert [(d.kind, d.before) for d in made.differences] == [("missing", "FileNotFoundError in cell 3")]


def test_what_makes_no_sense_is_refused(ws: Workspace, tmp_path: Path) -> None:
    run = stage(ws, tmp_path, "n: int = 1")
    with pytest.raises(UsageFault, match="no tolerance"):
        ws.reproduction.reproduce(run, tolerance=-1)
    with pytest.raises(UsageFault, match="whose notebook is kept"):
        ws.reproduction.reproduce(run, how="journal")


def test_an_interrupt_leaves_the_store_as_it_was(ws: Workspace, tmp_path: Path) -> None:
    waits = "import os, time\nprint('on', flush=True)\nif os.path.exists('wait'):\n    time.sleep(60)"
    run = stage(ws, tmp_path, "n: int = 1", waits)
    ws.cells.fold()
    (tmp_path / "wait").touch()
    before, interrupted = rows(ws.store), []

    def interrupt(event: dict[str, Any]) -> None:
        if event["type"] == "output" and not interrupted:
            interrupted.append(event)
            _thread.interrupt_main()

    with pytest.raises(KeyboardInterrupt):
        ws.reproduction.reproduce(run, progress=interrupt)
    assert interrupted
    assert rows(ws.store) == before
    assert ws.runs.certificate(run) is None
