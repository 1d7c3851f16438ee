"""Runs of live sessions made again from the journal of their cells; the cells desk is a stand-in here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from nbmlops.errors import InvalidValue, NotFound, UsageFault
from nbmlops.records import CellExecution, CellSession, CellTouch
from nbmlops.reproduction import Reproduction
from nbmlops.workspace import Workspace
from tests.reproduction.test_steps import document
from tests.store_rows import rows


class Journal:
    """What the cells desk says of one session."""

    def __init__(self, executions: list[CellExecution], document: Any = None, made: Any = None) -> None:
        self.found, self.kept, self.makers = executions, document, made or {}

    def behind(self, run_id: str) -> list[CellExecution]:
        return self.found

    def document(self, run_id: str) -> tuple[Any, float | None]:
        return self.kept, None

    def made(self, kind: str, subject: str, name: str = "") -> CellExecution | None:
        return self.makers.get((kind, name or subject))

    def session(self, session_id: str) -> CellSession:
        return CellSession(session_id, "kernel")

    def executions(self, session_id: str) -> list[CellExecution]:
        return self.found


def ran(number: int, cell: str, source: str, *runs: str, at: float, **more: Any) -> CellExecution:
    touched = tuple(CellTouch("run", run) for run in runs)
    return CellExecution(f"e{number}", "s", number, source, cell, number, started_at=at, touched=touched, **more)


def reproduce(ws: Workspace, journal: Journal | None, ref: str, **how: Any) -> Any:
    desk = Reproduction(ws.store, ws.context, ws.runs, ws.models, cells=journal)
    return desk.reproduce(ref, progress=False, **how)


@pytest.fixture
def made(ws: Workspace) -> tuple[str, str, list[CellExecution]]:
    """Two runs of one session, ``first`` and ``second``; the cell that set ``m`` has been deleted since."""
    here = {"type": "notebook", "path": "", "cwd": os.getcwd()}
    at = ws.runs.start(name="earlier")
    at.end()
    begun = ws.runs.get(at.run_id).ended_at
    ids = []
    for name, value in (("first", 2.0), ("second", 4.0)):
        live = ws.runs.start(name=name, source=here)
        live.log_metric("n", value)
        live.end()
        ids.append(live.run_id)
    cells = [
        ran(1, "a", "import nbmlops\nn = 1", at=begun),
        ran(2, "gone", "m = 2", at=begun),
        ran(3, "b", "n = n * m\nwith nbmlops.start_run('first'):\n    nbmlops.log_metric('n', n)", ids[0], at=begun),
        ran(4, "c", "n = n * 2\nwith nbmlops.start_run('second'):\n    nbmlops.log_metric('n', n)", ids[1], at=begun),
    ]
    return ids[0], ids[1], cells


def test_all_cells_in_their_order_give_the_same(ws: Workspace, made: Any) -> None:
    _, second, cells = made
    before = rows(ws.store)
    certificate = reproduce(ws, Journal(cells, document(("a", ""), ("b", ""), ("c", ""))), second, how="journal")
    assert (certificate.status, certificate.how, certificate.compared) == ("reproduced", "journal", {"metrics": 1})
    after = rows(ws.store)
    assert {name for name in after if after[name] != before[name]} == {"certificates", "ledger"}


def test_a_deleted_cell_makes_it_not_reproducible_and_is_named(ws: Workspace, made: Any) -> None:
    first, _, cells = made
    certificate = reproduce(ws, Journal(cells[:3], document(("a", ""), ("b", ""), ("c", ""))), first)
    assert (certificate.status, certificate.how) == ("not reproducible", "notebook")
    assert certificate.error["cell"] == "[3]"
    assert certificate.error["why"] == "[3] uses `m`, which a deleted cell [2] defined"
    assert certificate.suspects == ("[2] is not executed: the notebook does not have it any more",)


def test_the_notebook_gives_something_else_where_a_cell_was_edited(ws: Workspace, made: Any) -> None:
    _, second, cells = made
    edited = [*cells, ran(5, "a", "import nbmlops\nn = 5\nm = 2", at=cells[0].started_at)]
    journal = Journal(edited, document(("a", ""), ("b", ""), ("c", "")), {("metric", "n"): cells[3]})
    certificate = reproduce(ws, journal, f"run:{second}")
    assert certificate.status == "drifted"
    [difference] = certificate.differences
    assert (difference.name, difference.before, difference.after, difference.size) == ("n", 4.0, 20.0, 16.0)
    assert difference.cells == ("[4]",)


def test_a_cell_that_raises_otherwise_is_the_first_that_failed(ws: Workspace, made: Any) -> None:
    first, _, cells = made
    zero = {"name": "ZeroDivisionError", "message": "division by zero"}
    bad = ran(
        9, "z", "import os\n1 / 0 if 'MENDED' not in os.environ else {}['key']", at=1.0, status="error", error=zero
    )
    assert reproduce(ws, Journal([bad, *cells]), first).status == "reproduced"
    os.environ["MENDED"] = "1"
    try:
        certificate = reproduce(ws, Journal([bad, *cells]), first)
    finally:
        del os.environ["MENDED"]
    assert (certificate.status, certificate.error["name"]) == ("not reproducible", "KeyError")
    assert certificate.error["why"] == "[9] raised ZeroDivisionError when the run was made"


def test_a_run_of_which_no_cells_are_known_says_what_to_do(ws: Workspace, made: Any, tmp_path: Path) -> None:
    first, _, cells = made
    for journal in (None, Journal([])):
        with pytest.raises(NotFound, match="nothing is known of the cells") as caught:
            reproduce(ws, journal, first)
        assert "%load_ext nbmlops" in caught.value.hint
    with pytest.raises(NotFound, match="is not known"):
        reproduce(ws, Journal(cells), first, how="notebook")
    with pytest.raises(InvalidValue, match="notebook, journal"):
        reproduce(ws, Journal(cells), first, how="magic")
    script = ws.runs.start(name="s", source={"type": "script", "path": str(tmp_path / "s.py")})
    script.end()
    with pytest.raises(NotFound, match="comes from a script"):
        reproduce(ws, None, script.run_id)


def test_inside_a_clean_run_there_is_no_other(ws: Workspace, made: Any) -> None:
    from nbmlops.context import Context

    desk = Reproduction(ws.store, lambda: Context("tester", reproducing="scratch"), ws.runs, ws.models)
    with pytest.raises(UsageFault, match="clean run already"):
        desk.reproduce(made[0])
