"""The notebook's truth in JupyterLab: a mess is told with its cells, one is restored, and all is well again."""

from __future__ import annotations

import lab_driver
import pytest
from playwright.sync_api import expect

from nbmlops.workspace import Workspace

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CELLS = [
    "%load_ext nbmlops\nimport nbmlops",
    "base = 1",
    "total = base + 1",
    "total += 1",
    "with nbmlops.start_run('mess'):\n    nbmlops.log_metric('total', total)",
    "%mlops check",
]
LOAD, BASE, TOTAL, MORE, RUN, CHECK = range(len(CELLS))


@pytest.fixture(scope="module")
def notebook(browser, lab):
    lab.write("truth.ipynb", CELLS)
    opened = lab_driver.open_notebook(browser, lab, "truth.ipynb")
    yield opened
    opened.page.close()
    assert opened.outside == []
    assert opened.faults == []


def test_a_mess_is_told_mended_and_a_cell_restored(notebook, lab):
    for index in (LOAD, BASE, TOTAL, MORE, MORE, RUN):
        notebook.run(index)
    remark = notebook.outputs(RUN)
    expect(remark).to_contain_text("a clean run would differ: [5] ran 2 times and changed total each time")
    notebook.run(RUN)
    expect(remark).to_be_empty()  # the same reason is told once
    notebook.delete(BASE)
    notebook.save()
    notebook.run(CHECK - 1)
    card = notebook.outputs(CHECK - 1).locator(".nbm-card")
    expect(card.locator(".nbm-badge")).to_have_text("invalid")
    for told in ("[3] used base", "[2], a cell that is not in the notebook any more", "[5] ran 2 times"):
        expect(card).to_contain_text(told)
    for theme in (lab_driver.DARK, lab_driver.LIGHT):
        notebook.theme(theme)
        assert lab_driver.faint(card) == []

    notebook.run(CHECK - 1, "%mlops restore 2@1")
    assert notebook.sources()[CHECK] == "base = 1"  # in a new cell below, not run
    notebook.move(CHECK, BASE)
    notebook.save()
    for index, source in ((BASE, None), (TOTAL, None), (MORE, None), (RUN, None), (CHECK, "%mlops check")):
        notebook.run(index, source)
    expect(notebook.outputs(RUN)).to_be_empty()
    expect(notebook.outputs(CHECK).locator(".nbm-card .nbm-badge")).to_have_text("strongly valid")

    ws = Workspace(lab.store)
    try:
        verdicts = [run.verdict["verdict"] for run in ws.runs.search(filter="run_name = 'mess'", order_by="start_time")]
    finally:
        ws.store.close()
    assert verdicts == ["invalid", "invalid", "strongly valid"]
