"""The engine with real kernels: what became of each cell is told truly, however a notebook ends."""

from __future__ import annotations

import _thread
import threading
from datetime import date
from pathlib import Path
from typing import Any

import nbformat
import pytest

from nbmlops.notebook import engine
from nbmlops.notebook.job import Job, Outcome, Stop

STUBBORN = "import time\nwhile True:\n    try:\n        time.sleep(60)\n    except KeyboardInterrupt:\n        pass"


def notebook(*cells: str, first: str = "n = 1") -> Any:
    nb = nbformat.v4.new_notebook()
    nb.cells = [nbformat.v4.new_code_cell(source) for source in (first, *cells)]
    nb.cells[0].metadata["tags"] = ["parameters"]
    return nb


def states(outcome: Outcome) -> list[str]:
    return [cell.metadata.papermill.status for cell in outcome.nb.cells]


def texts(outcome: Outcome) -> str:
    return "".join(o.get("text", "") for c in outcome.nb.cells if c.cell_type == "code" for o in c.outputs)


def test_a_notebook_with_parameters_runs_and_stays_papermill_like(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    nb = notebook("print(n, type(n).__name__)", "import os\nprint(os.getcwd(), os.environ['ONE'])")
    nb.cells.insert(1, nbformat.v4.new_markdown_cell("text"))
    old = nbformat.v4.new_code_cell("n = 'stale'", metadata={"tags": ["injected-parameters"]})
    nb.cells.insert(1, old)
    show = "from IPython import get_ipython\nprint(get_ipython().kernel.get_parent()['metadata']['cellId'])"
    nb.cells.append(nbformat.v4.new_code_cell(show, id="my-own-id"))
    events: list[dict[str, Any]] = []
    job = Job(cwd=str(tmp_path), params={"n": date(2026, 1, 2)}, environment={"ONE": "1"}, path="x.ipynb")
    done = engine.execute(nb, job, events.append)
    nbformat.validate(done.nb)
    assert (done.status, done.cells_done, done.cells, done.error, done.cell) == ("FINISHED", 5, 5, None, None)
    assert f"2026-01-02 date\n{tmp_path} 1\nmy-own-id" in texts(done)
    assert "stale" not in "".join(c.source for c in done.nb.cells)
    assert done.nb.cells[1].metadata.tags == ["injected-parameters"]
    assert done.nb.metadata.papermill.parameters == {"n": "2026-01-02"}
    assert done.nb.metadata.papermill.exception is None
    assert done.nb.metadata.papermill.duration > 0
    assert set(states(done)) == {"completed"}
    assert [e["done"] for e in events if e.get("status") == "completed"] == [1, 2, 3, 4, 5]
    assert "TCP" not in capfd.readouterr().err
    assert len(nb.cells) == 6, "the notebook given is left as it was"


def test_an_error_stops_it_and_later_cells_stay_pending(tmp_path: Path) -> None:
    done = engine.execute(notebook("print('before')\n1 / 0", "print('never')"), Job(cwd=str(tmp_path)))
    assert (done.status, done.cell, done.cells_done) == ("FAILED", 1, 1)
    assert done.error is not None
    assert (done.error["name"], done.error["message"]) == ("ZeroDivisionError", "division by zero")
    assert any("1 / 0" in line for line in done.error["traceback"])
    assert "\x1b" not in "".join(done.error["traceback"])
    assert states(done) == ["completed", "failed", "pending"]
    assert done.nb.metadata.papermill.exception is True
    assert texts(done) == "before\n"


def test_our_errors_keep_their_hint(tmp_path: Path) -> None:
    done = engine.execute(
        notebook("from nbmlops.errors import InvalidValue\nraise InvalidValue('bad', 'do it')"), Job(cwd=str(tmp_path))
    )
    assert done.error is not None
    assert (done.error["name"], done.error["message"]) == ("InvalidValue", "bad")
    assert done.error["traceback"][-2:] == ["InvalidValue: bad", "-> do it"]


def test_allowed_errors_and_sys_exit_are_no_failures(tmp_path: Path) -> None:
    nb = notebook("1 / 0", "print('on')", "import sys\nsys.exit()", "print('never')")
    nb.cells[1].metadata["tags"] = ["raises-exception"]
    done = engine.execute(nb, Job(cwd=str(tmp_path)))
    assert done.status == "FINISHED"
    assert states(done) == ["completed", "completed", "completed", "completed", "pending"]


def test_a_killed_kernel_is_not_a_success(tmp_path: Path) -> None:
    nb = notebook(
        "import os, signal, time\nprint('x', flush=True)\ntime.sleep(0.3)\nos.kill(os.getpid(), signal.SIGKILL)", "1"
    )
    done = engine.execute(nb, Job(cwd=str(tmp_path)))
    assert (done.status, done.cell, done.cells_done) == ("DIED", 1, 1)
    assert states(done) == ["completed", "failed", "pending"]
    assert done.error is not None
    assert "SIGKILL" in done.error["message"]
    assert texts(done) == "x\n"
    assert done.nb.cells[1].outputs[-1].ename == "KernelDied"
    assert done.nb.metadata.papermill.exception is True
    nbformat.validate(done.nb)


@pytest.mark.parametrize("cell", ["import time\ntime.sleep(60)", STUBBORN])
def test_a_time_limit_ends_it(cell: str, tmp_path: Path) -> None:
    done = engine.execute(notebook(cell, "1"), Job(cwd=str(tmp_path), timeout=5, grace=0.5))
    assert (done.status, done.cell) == ("TIMEOUT", 1)
    assert states(done) == ["completed", "failed", "pending"]
    assert done.error is not None
    assert done.error["message"] == "the notebook was not finished after 5.0 s"
    assert done.duration < 55  # the limit has ended it, not the sleep of 60 s


def test_a_cell_time_limit(tmp_path: Path) -> None:
    done = engine.execute(notebook("import time\ntime.sleep(60)"), Job(cwd=str(tmp_path), cell_timeout=0.5))
    assert (done.status, done.cell) == ("TIMEOUT", 1)
    assert done.error is not None
    assert done.error["message"] == "the cell was not finished after 0.5 s"


def test_ctrl_c_ends_the_kernel_and_keeps_the_notebook(tmp_path: Path) -> None:
    nb = notebook(
        "import os\nopen('pid', 'w').write(str(os.getpid()))\nprint('kept', flush=True)", "import time\ntime.sleep(60)"
    )

    def interrupt(event: dict[str, Any]) -> None:
        if event["index"] == 2 and event.get("status") == "running":
            threading.Timer(0.3, _thread.interrupt_main).start()

    done = engine.execute(nb, Job(cwd=str(tmp_path)), interrupt)
    assert (done.status, done.cell) == ("KILLED", 2)
    assert states(done) == ["completed", "completed", "failed"]
    assert "kept" in texts(done)
    assert not Path("/proc", (tmp_path / "pid").read_text()).exists()


def test_a_stop_before_the_start(tmp_path: Path) -> None:
    stop = Stop()
    stop.set()
    done = engine.execute(notebook("1"), Job(cwd=str(tmp_path)), stop=stop)
    assert done.status == "KILLED"
    assert states(done) == ["pending", "pending"]


def test_unknown_kernels(tmp_path: Path) -> None:
    done = engine.execute(notebook("1"), Job(cwd=str(tmp_path), kernel="no-such-kernel"))
    assert done.status == "FAILED"
    assert done.error is not None
    assert "no-such-kernel" in done.error["message"]
    nb = notebook("import sys\nprint(sys.executable)")
    nb.metadata["kernelspec"] = {"name": "gone-with-an-old-laptop", "display_name": "x", "language": "python"}
    assert engine.execute(nb, Job(cwd=str(tmp_path))).status == "FINISHED"


def test_it_works_inside_a_running_event_loop(tmp_path: Path) -> None:
    import asyncio

    async def main() -> Outcome:
        return engine.execute(notebook("1"), Job(cwd=str(tmp_path)))

    assert asyncio.run(main()).status == "FINISHED"


def test_cell_ids_are_the_same_each_time() -> None:
    document = {
        "nbformat": 4,
        "nbformat_minor": 4,
        "metadata": {},
        "cells": [
            {"cell_type": "code", "source": ["a = 1\n", "b = 2"], "metadata": {}, "outputs": [], "execution_count": 3}
        ],
    }
    made = [engine.prepare(document, Job(cwd=".")) for _ in range(2)]
    assert [nb.cells[0].id for nb in made] == ["cell-0", "cell-0"]
    assert made[0].cells[0].source == "a = 1\nb = 2"
    nbformat.validate(nbformat.reads(engine.to_bytes(made[0]).decode(), as_version=4))
