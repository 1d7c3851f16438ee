"""The same journal from JupyterLab (cells run out of order, edited, deleted), from papermill and from plain IPython."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import lab_driver
import nbformat
import papermill
import pytest
from nbformat import v4
from playwright.sync_api import expect

from nbmlops.workspace import Workspace

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LOAD = "%load_ext nbmlops\nimport nbmlops\nimport pandas as pd"
RATE = "rate = 0.5"
FRAME = "frame = pd.DataFrame({'x': [1, 2, 3]})\nprint(len(frame))\nframe.x.sum()"
RUN = "with nbmlops.start_run('r'):\n    nbmlops.log_metric('total', rate * frame.x.sum())"
GONE = "gone = rate + 1"
FAILS = "del gone\n1 / 0"
LESS = "rate = 0.25"
# What is done in the notebook [LOAD, RATE, FRAME, RUN, GONE, FAILS], as it ran.
RAN = [LOAD, FRAME, RATE, GONE, FAILS, RUN, LESS, RUN]

PLAIN = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for source in json.load(sys.stdin):
    shell.run_cell(source, store_history=True)
"""


def journal(store, notebook=""):
    """The one session of a store or notebook, as what matters of each execution; ids and times differ."""
    ws = Workspace(store)
    try:
        (session,) = [s for s in ws.cells.sessions() if s.notebook.endswith(notebook)]
        found = ws.cells.executions(session.session_id)
        names = {run.run_id: run.name for run in ws.runs.search()}
        return (
            session,
            [
                {
                    "count": e.count,
                    "source": e.source,
                    "status": e.status,
                    "error": (e.error or {}).get("name"),
                    "outputs": [(o["output_type"], o.get("text") or o["data"].get("text/plain")) for o in e.outputs],
                    "loaded": e.loaded,
                    "stored": e.stored,
                    "deleted": e.deleted,
                    "touched": sorted((t.kind, names.get(t.subject, t.subject), t.name, t.mode) for t in e.touched),
                }
                for e in found
            ],
            [e.cell_id for e in found],
        )
    finally:
        ws.store.close()


@pytest.fixture(scope="module")
def in_lab(browser, lab):
    """The cells run by hand in JupyterLab."""
    lab.write("by_hand.ipynb", [LOAD, RATE, FRAME, RUN, GONE, FAILS])
    notebook = lab_driver.open_notebook(browser, lab, "by_hand.ipynb")
    page = notebook.page
    for index in (0, 2, 1, 4, 5):
        notebook.run(index)
    notebook.delete(4)
    notebook.run(3)
    editor = page.locator(".jp-CodeCell .cm-content").nth(1)
    editor.click()
    page.keyboard.press("Control+A")
    page.keyboard.type(LESS)
    page.keyboard.press("Control+Enter")
    expect(page.locator(".jp-CodeCell .jp-InputPrompt").nth(1)).to_have_text("[7]:")
    notebook.run(3)
    notebook.save()
    cells = nbformat.read(lab.root / "by_hand.ipynb", as_version=4).cells
    yield notebook, journal(lab.store, "by_hand.ipynb"), [cell.id for cell in cells]
    page.close()
    assert notebook.faults == []


def test_by_hand_in_jupyterlab(in_lab):
    _, (session, kept, ids), saved = in_lab
    assert session.frontend == "kernel"
    assert session.notebook.endswith("by_hand.ipynb")
    assert [e["source"] for e in kept] == RAN
    load, rate, frame, run, fails = saved
    assert [*ids[:3], *ids[4:]] == [load, frame, rate, fails, run, rate, run]
    assert ids[3] not in saved  # the deleted cell
    assert kept[1]["outputs"] == [("stream", "3\n"), ("execute_result", "np.int64(6)")]
    assert (kept[4]["error"], kept[4]["deleted"]) == ("ZeroDivisionError", ("gone",))
    assert ("metric", "r", "total", "write") in kept[5]["touched"]


def test_papermill_writes_the_same(in_lab, tmp_path, monkeypatch):
    _, (_, by_hand, _), _ = in_lab
    cells = [v4.new_code_cell(source) for source in RAN]
    cells[4].metadata["tags"] = ["raises-exception"]
    nb = v4.new_notebook(cells=cells)
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nb, tmp_path / "in.ipynb")
    for engine, ids in (("nbclient", [None] * len(RAN)), ("nbmlops", [cell.id for cell in cells])):
        store = tmp_path / engine
        monkeypatch.setenv("NBMLOPS_STORE", str(store))
        with pytest.raises(papermill.PapermillExecutionError):  # at its end, for papermill knows no tag
            papermill.execute_notebook(
                tmp_path / "in.ipynb", tmp_path / "out.ipynb", engine_name=engine, progress_bar=False, cwd=str(tmp_path)
            )
        _, kept, found = journal(store)
        assert kept == by_hand
        assert found == ids


def test_plain_ipython_writes_the_same(in_lab, tmp_path):
    _, (_, by_hand, _), _ = in_lab
    environment = {**os.environ, "NBMLOPS_STORE": str(tmp_path / "plain")}
    subprocess.run(
        [sys.executable, "-c", PLAIN], input=json.dumps(RAN), text=True, env=environment, check=True, timeout=120
    )
    session, kept, ids = journal(tmp_path / "plain")
    assert session.frontend == "terminal"
    assert kept == by_hand
    assert ids == [None] * len(RAN)
