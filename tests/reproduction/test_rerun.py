"""A notebook against a scratch store: what its runs logged comes back, and nothing reaches the store."""

from __future__ import annotations

import _thread
import tempfile
import threading
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest

from nbmlops.errors import NotFound
from nbmlops.workspace import Workspace
from tests.store_rows import rows


def notebook(*cells: str) -> dict[str, Any]:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])


EVERYTHING = """
import nbmlops, pandas as pd, os
from sklearn.linear_model import LinearRegression
from nbmlops import Workspace
print(os.getcwd())
old = nbmlops.load_dataset("numbers")
with nbmlops.start_run("fit"):
    nbmlops.log_param("rows", len(old))
    nbmlops.log_metric("loss", 2.0, step=1)
    nbmlops.log_metric("loss", 1.0, step=2)
    nbmlops.snapshot(old.assign(y=old.x * factor), "more")
    model = LinearRegression().fit(old[["x"]], old["x"])
    nbmlops.register_model(model, "line", alias="best", training_data=old[["x"]])
    nbmlops.predict("line@1", old)
"""
ESCAPES = """
nbmlops.use(STORE)
nbmlops.snapshot(old, "escaped")
Workspace(STORE).runs.start(name="escaped").end()
get_ipython().system("nbmlops --store " + STORE + " runs")
"""


def test_what_its_runs_logged_comes_back_and_nothing_reaches_the_store(ws: Workspace, tmp_path: Path) -> None:
    ws.datasets.snapshot(pd.DataFrame({"x": [1.0, 2.0]}), "numbers")
    like = ws.runs.start(name="before")
    ws.datasets.load("numbers")
    ws.runs.use_dataset(like.run_id, "numbers", 1)
    ws.datasets.snapshot(pd.DataFrame({"x": [1.0, 2.0, 3.0]}), "numbers")
    like.end()
    before = rows(ws.store)
    folder = tmp_path / "work"
    folder.mkdir()
    cells = ("factor = 1", EVERYTHING, ESCAPES.replace("STORE", repr(str(ws.store.folder))))
    document = notebook(*cells)
    document["cells"][0]["metadata"]["tags"] = ["parameters"]
    done = ws.reproduction.rerun(document, folder=folder, params={"factor": 3}, like=like.run_id)
    assert done.ok, done.error
    assert rows(ws.store) == before
    assert ws.verify_ledger() == 0
    fit, escaped = done.runs
    assert (fit.name, fit.status, fit.params, escaped.name) == ("fit", "FINISHED", {"rows": "2"}, "escaped")
    assert (fit.metrics["loss"].value, fit.metrics["loss"].points) == (1.0, 2)
    again = ws.datasets.snapshot(pd.DataFrame({"x": [1.0, 2.0], "y": [3.0, 6.0]}), "other")
    assert (fit.datasets["more"].digest, fit.datasets["more"].rows) == (again.digest, 2)
    assert (fit.models["line"].version, len(fit.models["line"].package)) == (1, 71)
    assert str(folder) in str(done.notebook["cells"][2]["outputs"])
    assert (done.cells_done, done.cells, done.errors) == (4, 4, ())


def test_a_cell_that_fails_is_told_and_the_scratch_store_goes(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    document = notebook("import nbmlops\nnbmlops.start_run('a')", "1 / 0", "n = 1")
    document["cells"][0]["metadata"]["tags"] = ["raises-exception"]
    done = ws.reproduction.rerun(document, folder=tmp_path)
    assert (done.status, done.error["cell"], done.error["name"]) == ("FAILED", 1, "ZeroDivisionError")
    assert [(e.index, e.name, e.went_on) for e in done.errors] == [(1, "ZeroDivisionError", False)]
    assert [(r.name, r.status) for r in done.runs] == [("a", "FINISHED")]
    assert not list((tmp_path / "temporary").iterdir())
    with pytest.raises(NotFound, match="no folder"):
        ws.reproduction.rerun(document, folder=tmp_path / "gone")


def test_an_interrupt_leaves_nothing(ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    before = rows(ws.store)
    interrupted = threading.Event()

    def interrupt(event: dict[str, Any]) -> None:
        if event["type"] == "output" and not interrupted.is_set():
            interrupted.set()
            _thread.interrupt_main()

    document = notebook("import nbmlops, time\nnbmlops.start_run('a')\nprint('on')\ntime.sleep(60)")
    with pytest.raises(KeyboardInterrupt):
        ws.reproduction.rerun(document, folder=tmp_path, on_event=interrupt)
    assert interrupted.is_set()
    assert rows(ws.store) == before
    assert not list((tmp_path / "temporary").iterdir())
