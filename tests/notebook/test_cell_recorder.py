"""The recorder in a real IPython shell, in a kernel under papermill, and what the cells desk makes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import v4
from shells import bare, emptied

from nbmlops import extension, session
from nbmlops.cells import folding
from nbmlops.magics import MlopsMagics
from nbmlops.notebook import recorder
from nbmlops.records import CellExecution


@pytest.fixture(scope="session")
def _shell() -> Any:
    return bare()


@pytest.fixture
def shell(_shell: Any, nb: Any) -> Iterator[Callable[..., Any]]:
    """Run a cell as a front end does; what it raises is shown and not raised."""
    emptied(_shell)
    _shell.execution_count = 1
    extension.listen(_shell)

    def run(source: str, cell_id: str | None = None, **more: Any) -> Any:
        return _shell.run_cell(source, store_history=True, cell_id=cell_id, **more).result

    run.ip = _shell  # type: ignore[attr-defined]
    yield run
    session.reset()


def recorded() -> list[CellExecution]:
    here = recorder.current()
    assert here is not None
    assert here.fault is None
    return session.workspace().cells.executions(here.session_id)


def test_what_is_kept_of_a_cell(shell: Any) -> None:
    session.workspace()
    shell("a = 1", "one")
    shell("import sys\nprint('out', a); print('err', file=sys.stderr)\nb = a + 1\nb * 21", "two")
    shell("del a\n1 / 0", "three")
    first, second, third = recorded()
    assert (first.number, first.count, first.cell_id, first.status, first.source) == (1, 1, "one", "ok", "a = 1")
    assert first.stored == ("a",)
    assert (second.loaded, second.stored, second.label) == (("a",), ("b", "sys"), "[2]")
    kinds = [(o["output_type"], o.get("name"), o.get("text") or o["data"]["text/plain"]) for o in second.outputs]
    assert kinds == [
        ("stream", "stdout", "out 1\n"),
        ("stream", "stderr", "err\n"),
        ("execute_result", None, "42"),
    ]
    assert (third.status, third.deleted, third.error["name"]) == ("error", ("a",), "ZeroDivisionError")
    assert all(e.seconds is not None and e.seconds < 60 and e.started_at > 1e9 for e in (first, second, third))


def test_a_run_that_ends_is_judged_with_the_cell_that_ends_it(
    shell: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NBMLOPS_NOTEBOOK", "not-saved.ipynb")
    shell("import nbmlops\nn = 1", "one")
    logs = "with nbmlops.start_run('r'):\n    nbmlops.log_metric('n', n)"
    shell(logs, "log")
    (run,) = session.workspace().runs.search()
    assert run.verdict["verdict"] == "strongly valid"
    shell("n += 1", "more")
    shell("n += 1", "more")
    shell("for _ in range(3):\n    with nbmlops.start_run('r'):\n        nbmlops.log_metric('n', n)", "loop")
    shell(logs, "log")
    assert capsys.readouterr().out.count("nbmlops: a clean run would differ: [4] ran 2 times") == 1
    assert [r.verdict["verdict"] for r in session.workspace().runs.search()] == [*["invalid"] * 4, "strongly valid"]
    shell(logs)  # without a cell's id nobody looks: what executes notebooks, a terminal
    shell("with nbmlops.start_run('fails'):\n    1 / 0", "fails")
    shell.ip.register_magics(MlopsMagics)
    card = shell("%%mlops run carded\nm = n * 2", "carded")
    assert card.verdict["verdict"] == "invalid"
    assert [c["cell"] for c in card.cells] == ["[9]"]
    assert "a clean run would differ" not in capsys.readouterr().out


def test_each_thing_knows_its_cell(shell: Any, nb: Any) -> None:
    shell("import nbmlops, pandas as pd")
    shell("run = nbmlops.start_run('r')", "start")
    shell("nbmlops.log_param('depth', 3); nbmlops.log_metric('auc', 0.5)", "log")
    shell("nbmlops.log_text('hello', 'notes/a.txt'); nbmlops.set_tag('team', 'x')", "text")
    shell("v = nbmlops.snapshot(pd.DataFrame({'x': [1, 2]}), 'sales')", "snap")
    shell("nbmlops.load_dataset('sales'); nbmlops.log_metric('auc', 0.75)", "load")
    shell("nbmlops.end_run()", "end")
    shell("after = 1", "after")
    run_id = session.workspace().runs.search()[0].run_id
    cells = session.workspace().cells
    made = {key: cells.made(*key).cell_id for key in (("metric", run_id, "auc"), ("param", run_id, "depth"))}  # type: ignore[union-attr]
    assert made == {("metric", run_id, "auc"): "load", ("param", run_id, "depth"): "log"}
    assert cells.made("artifact", run_id, "notes/a.txt").cell_id == "text"
    assert cells.made("dataset", "dataset:sales@1").cell_id == "snap"
    assert cells.made("metric", run_id, "f1") is None
    assert [c.cell_id for c in cells.of_run(run_id)] == ["start", "log", "text", "snap", "load", "end"]
    assert [c.cell_id for c in cells.behind(run_id)] == [None, "start", "log", "text", "snap", "load", "end"]
    assert {k: e.cell_id for k, e in cells.makers(run_id).items()}["tag", "team"] == "text"
    exported = nbformat.reads(cells.export(run_id).decode(), as_version=4)
    assert exported.cells[0].source.startswith("import nbmlops")
    assert len(exported.cells) == 7


def test_what_is_not_python_empty_or_silent(shell: Any) -> None:
    session.workspace()
    shell("   ")
    shell("x = (")
    shell("y = 1", silent=True)
    shell("%%capture kept\nprint('caught')")
    shell("import asyncio\nawait asyncio.sleep(0)\nprint('awaited')")
    kept = recorded()
    assert [(e.status, e.source[:9]) for e in kept] == [("error", "x = ("), ("ok", "%%capture"), ("ok", "import as")]
    assert kept[1].outputs == ()
    assert kept[1].stored == ("kept",)
    assert kept[2].outputs[0]["text"] == "awaited\n"


def test_cells_before_the_extension_and_a_reload(shell: Any) -> None:
    session.workspace()
    session.reset()
    shell("early = 1")
    shell("import nbmlops\nnbmlops.load_ipython_extension(get_ipython())", "loads")
    shell("late = early")
    shell("nbmlops.unload_ipython_extension(get_ipython())")
    shell("unseen = 1")
    shell("nbmlops.load_ipython_extension(get_ipython())")
    shell("last = 1")
    kept = recorded()
    assert [e.source.split("\n")[0] for e in kept][:3] == ["early = 1", "import nbmlops", "late = early"]
    assert [e.status for e in kept if "seen" in e.source or e.source == "early = 1"] == ["earlier", "earlier"]
    assert kept[-1].source == "last = 1"
    assert len({e.session_id for e in kept}) == 1
    assert [e.count for e in kept] == list(range(1, 8))


def test_long_output_and_progress_bars_are_bounded(shell: Any) -> None:
    session.workspace()
    shell("for i in range(30_000): print(i)")
    shell("for i in range(5): print(f'{i} %', end='\\r')\nprint('done')")
    shell("'x' * 100_000")
    many, bar, result = recorded()
    text = many.outputs[0]["text"]
    assert len(text) < 21_000
    assert text.startswith("0\n1\n")
    assert text.endswith("29999\n")
    assert "left out" in text
    assert bar.outputs[0]["text"] == "done\n"
    value = result.outputs[0]["data"]["text/plain"]
    assert set(value) == {"digest", "bytes"}
    assert len(session.workspace().cells.outputs(result)[0]["data"]["text/plain"]) > 100_000


def test_secrets_are_masked_also_in_later_cells(shell: Any) -> None:
    store = session.workspace().store
    shell("api_key = 'sk-very-secret-1'")
    shell("print(api_key)\nraise ValueError(api_key)")
    assert "(hidden)" in recorded()[0].source
    session.workspace().cells.fold()
    for path in store.folder.rglob("*"):
        assert not path.is_file() or b"sk-very-secret" not in path.read_bytes()


def test_a_fault_of_the_recorder_never_breaks_a_cell(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session.workspace()
    monkeypatch.setattr(recorder.Recorder, "_namespace", lambda self: 1 / 0)
    assert shell("6 * 7") == 42
    assert shell("6 * 8") == 48
    assert recorder.fault() == "ZeroDivisionError: division by zero"
    faults = session.workspace().store.journal_folder / recorder.FAULTS
    assert [json.loads(line)["fault"] for line in faults.read_text().splitlines()] == [recorder.fault()]


def test_switched_off(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session.workspace()
    monkeypatch.setenv("NBMLOPS_JOURNAL", "off")
    shell("a = 1")
    monkeypatch.delenv("NBMLOPS_JOURNAL")
    shell("b = 1")
    assert [e.source for e in recorded()] == ["b = 1"]


def test_no_store_is_made_by_looking_on(shell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = tmp_path / "later"
    monkeypatch.setenv("NBMLOPS_STORE", str(where))
    session.use(None)
    shell("a = 1")
    assert not where.exists()
    shell("import nbmlops\nnbmlops.log_metric('m', 1.0)")
    assert recorded()[0].source == "a = 1"


KILLED = """
import os, signal
from IPython.core.interactiveshell import InteractiveShell
from nbmlops import extension
shell = InteractiveShell()
extension.listen(shell)
import nbmlops
nbmlops.set_experiment("x")
shell.run_cell("a = 1", store_history=True)
shell.run_cell("import os, signal\\nos.kill(os.getpid(), signal.SIGKILL)", store_history=True)
"""


def test_a_killed_kernel_loses_nothing(tmp_path: Path, ws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {**os.environ, "NBMLOPS_STORE": str(ws.store.folder)}
    done = subprocess.run([sys.executable, "-c", KILLED], env=environment, timeout=60)
    assert done.returncode == -9
    (held,) = ws.cells.sessions()
    assert [(e.source[:5], e.status) for e in ws.cells.executions(held.session_id)] == [
        ("a = 1", "ok"),
        ("impor", "lost"),
    ]
    assert ws.cells.session(held.session_id).ended_at is not None
    assert folding.files(ws.store.journal_folder) == []


def test_half_a_line_and_rubbish_are_left_out(shell: Any) -> None:
    store = session.workspace().store
    shell("a = 1")
    (path,) = folding.files(store.journal_folder)
    with path.open("ab") as file:
        file.write(b'nonsense\n[1]\n{"begin": "without the rest"}\n{"end": "of nothing"}\n{"begin": "half')
    assert [e.source for e in recorded()] == ["a = 1"]


def test_a_stage_records_its_cells_without_loading_the_extension(ws: Any, tmp_path: Path) -> None:
    nb = v4.new_notebook(
        cells=[
            v4.new_code_cell("n = 2", metadata={"tags": ["parameters"]}),
            v4.new_code_cell("import nbmlops\nnbmlops.log_metric('m', n)"),
            v4.new_code_cell("names = [n for n in dir() if 'extension' in n]\nassert not names, names\nprint('end')"),
        ]
    )
    path = tmp_path / "s.ipynb"
    nbformat.write(nb, path)
    run = ws.pipelines.run_stage(path, {"n": 3})
    kept = ws.cells.of_run(run.run_id)
    assert [e.source.split("\n")[0] for e in kept] == [
        "n = 2",
        "# Parameters",
        "import nbmlops",
        "names = [n for n in dir() if 'extension' in n]",
    ]
    assert [e.cell_id for e in kept if e.number != 2] == [c.id for c in nb.cells]
    assert ws.cells.session(kept[0].session_id).frontend == "stage"
    assert ws.cells.made("metric", run.run_id, "m").cell_id == nb.cells[1].id
    assert kept[-1].outputs[0]["text"] == "end\n"
    assert ws.cells.document(run.run_id)[0]["cells"][0]["source"] in ("n = 2", ["n = 2"])
