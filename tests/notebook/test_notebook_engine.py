"""The engine with real kernels: what became of each cell is told truly, however a notebook ends."""

from __future__ import annotations

import _thread
import math
import os
import re
import sys
import threading
from datetime import date
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from jupyter_client.kernelspec import KernelSpec

from nbmlops.notebook import engine
from nbmlops.notebook.engine import kernel, memory, saving
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


def test_progress_tells_the_cell_and_what_it_prints(tmp_path: Path) -> None:
    printing = "# ------\n\nprint('one')\nprint('\\x1b[31mtwo\\x1b[0m\\rthree\\x07')"
    events: list[dict[str, Any]] = []
    engine.execute(notebook(printing, "7"), Job(cwd=str(tmp_path)), events.append)
    begun = [e for e in events if e.get("status") == "running"]
    assert [e["title"] for e in begun] == ["n = 1", "print('one')", "7"]
    assert begun[1]["source"] == printing
    told = {e["index"]: e["text"] for e in events if e["type"] == "output"}
    assert told == {1: "one\nthree", 2: "7"}


def test_what_a_cell_prints_is_bounded_and_what_is_overwritten_is_gone(tmp_path: Path) -> None:
    flood = "for i in range(32):\n    print('%09d' % i, 'x' * 999_989)"
    long_line = "print('x' * 3_000_000)"  # nbclient's own joining takes the square of a line's length
    bar = "import sys\nfor i in range(50):\n    print(f'\\r{i}', end='', flush=True)"
    cells = (flood, long_line, bar, "import sys\nprint(1, file=sys.stderr, flush=True)\nprint(2, flush=True)")
    done = engine.execute(notebook(*cells), Job(cwd=str(tmp_path)))
    assert done.status == "FINISHED"
    flooded = done.nb.cells[1].outputs[0].text
    assert flooded.startswith("000000000 x")
    assert flooded.endswith("x\n")
    assert "000000031 x" in flooded
    assert "\n[22,000,000 characters were left out here]\n" in flooded
    assert len(flooded) < 10_000_100
    assert len(done.nb.cells[2].outputs[0].text) == 3_000_001
    assert done.nb.cells[3].outputs[0].text == "49"
    assert [(o.name, o.text) for o in done.nb.cells[4].outputs] == [("stdout", "2\n"), ("stderr", "1\n")]


def test_clearing_and_updating_outputs(tmp_path: Path) -> None:
    clear = (
        "from IPython.display import clear_output\nprint('gone', flush=True)\nclear_output(wait=True)\nprint('here')"
    )
    update = (
        "from IPython.display import display\nprint('a', flush=True)\nh = display('old', display_id='d')\n"
        "print('b', flush=True)\nprint('c', flush=True)\nh.update('new')"
    )
    done = engine.execute(notebook(clear, update), Job(cwd=str(tmp_path)))
    assert [o.get("text") for o in done.nb.cells[1].outputs] == ["here\n"]
    first, second = done.nb.cells[2].outputs
    assert first.text == "a\nb\nc\n"
    assert second.data["text/plain"] == "'new'"


def test_a_running_notebook_is_saved_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "FIRST", 0.1)
    waiting = "import os, time\nprint('so far', flush=True)\nwhile not os.path.exists('seen'):\n    time.sleep(0.05)"
    kept: list[Any] = []

    def save(data: bytes) -> None:
        kept.append(nbformat.reads(data.decode(), as_version=4))
        outputs = [o.text for c in kept[-1].cells for o in c.outputs]
        if outputs == ["so far\n"]:
            (tmp_path / "seen").touch()
        raise OSError("disk full")

    done = engine.execute(notebook(waiting, "1"), Job(cwd=str(tmp_path), save=save, save_every=0.2))
    assert (done.status, done.cells_done) == ("FINISHED", 3)
    assert done.warnings == ("the notebook could not be saved while it ran: OSError: disk full",)
    nbformat.validate(kept[-1])
    assert [c.metadata.papermill.status for c in kept[-1].cells] == ["completed", "running", "pending"]


def test_saves_are_few(tmp_path: Path) -> None:
    """200 cells, for which papermill writes 403 times: none if it is quick, else one for each doubling of the time."""
    saves: list[int] = []
    nb = notebook(*["1"] * 199)
    done = engine.execute(nb, Job(cwd=str(tmp_path), save=lambda data: saves.append(len(data))))
    assert done.cells_done == 200
    assert len(saves) <= math.log2(max(1.0, done.duration / saving.FIRST)) + 1
    assert not saves or done.duration > saving.FIRST


def test_a_notebook_skips_itself(tmp_path: Path) -> None:
    swallowed = "import nbmlops\ntry:\n    nbmlops.skip('no')\nexcept Exception:\n    print('caught')"
    nested = "def load():\n    print('looked')\n    nbmlops.skip('nothing\\nnew')\nload()\nprint('never')"
    tagged = notebook("print('never')", swallowed, nested, "print('never')")
    tagged.cells[1].metadata["tags"] = ["slow"]
    done = engine.execute(tagged, Job(cwd=str(tmp_path), skip_tags=("slow",)))
    assert (done.status, done.reason, done.error) == ("SKIPPED", "nothing new", None)
    assert (done.cell, done.cells_done, done.cells) == (3, 3, 4)
    assert states(done) == ["completed", "pending", "completed", "completed", "pending"]
    assert texts(done) == "caught\nlooked\nskipped: nothing new\n"
    assert done.nb.metadata.papermill.exception is None
    assert not done.nb.cells[3].metadata.papermill.exception
    nbformat.validate(done.nb)


GROW = "import os, time\nif {fork}:\n    os.fork()\nx = []\n"
GROW += "for i in range(400):\n    x.append(bytearray(os.urandom(1 << 20)))\n    time.sleep(0.002)"


@pytest.mark.parametrize("fork", [False, True])
def test_a_memory_limit_ends_it(fork: bool, tmp_path: Path) -> None:
    limit = 300_000_000
    children = "import os\nopen('pid', 'w').write(str(os.getpgid(0)))"
    done = engine.execute(notebook(children, GROW.format(fork=fork), "1"), Job(cwd=str(tmp_path), memory=limit))
    assert (done.status, done.cell, done.cells_done) == ("DIED", 2, 2)
    assert done.error is not None
    assert done.error["name"] == "MemoryLimit"
    assert re.fullmatch(r"used 3\d\d MB, the limit is 300 MB, in cell 3", done.error["message"])
    assert states(done) == ["completed", "completed", "failed", "pending"]
    assert done.peak_memory is not None
    assert limit < done.peak_memory < 2 * limit
    group = int((tmp_path / "pid").read_text())
    left = [p for p in psutil.process_iter() if os.getpgid(p.pid) == group and p.status() != psutil.STATUS_ZOMBIE]
    assert not left, "its children are killed with it"


def test_the_highest_use_of_memory_is_told(tmp_path: Path) -> None:
    done = engine.execute(notebook("x = b'1' * 200_000_000\ndel x"), Job(cwd=str(tmp_path)))
    assert done.peak_memory is not None
    assert 200_000_000 < done.peak_memory < 400_000_000


def test_want_of_memory_is_proved(tmp_path: Path) -> None:
    """The system's own counts, of both versions of control groups, and of the machine where there is no group."""
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/vmstat").write_text("pgfault 12\noom_kill 3\n")
    assert memory.oom_kills(memory.oom_files(7, str(tmp_path))) == 3
    (tmp_path / "proc/7/cgroup").write_text("9:name=systemd:/\n4:cpu,memory:/a/b\n0::/a/b\n")
    for name, text in (
        ("memory/a/b/memory.oom_control", "under_oom 0\noom_kill 4"),
        ("a/b/memory.events", "oom_kill 5"),
    ):
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        assert memory.oom_kills([f for f in memory.oom_files(7, str(tmp_path)) if f.exists()][:1]) in {4, 5}
    assert memory.oom_kills(memory.oom_files(8, str(tmp_path / "none"))) is None


def test_a_kernel_killed_for_want_of_memory_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = tmp_path / "memory.events"
    counted.write_text("oom_kill 0\n")
    monkeypatch.setattr(memory, "oom_files", lambda pid: [counted])
    dying = "import os\nopen('memory.events', 'w').write('oom_kill 1\\n')\nos.kill(os.getpid(), 9)"
    done = engine.execute(notebook(dying), Job(cwd=str(tmp_path)))
    assert done.error is not None
    assert done.error["name"] == "OutOfMemory"
    assert re.match(
        r"the system ran out of memory and killed the kernel in cell 2, last seen with \d+(\.\d+)? MB$",
        done.error["message"],
    )


def test_a_time_limit_while_the_kernel_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds nothing yet, so there is no grace: with one of an hour this test would not end."""
    monkeypatch.setattr(kernel, "_spec", lambda job: KernelSpec(argv=["sleep", "3600"]))  # a fork can be ready in 50 ms
    done = engine.execute(notebook("1"), Job(cwd=str(tmp_path), timeout=0.05, grace=3600))
    assert (done.status, done.cell, states(done)) == ("TIMEOUT", None, ["pending", "pending"])


def test_a_kernel_that_does_not_end_is_killed_after_its_grace(tmp_path: Path) -> None:
    lasting = "import atexit, time\natexit.register(time.sleep, 3600)\nopen('begun', 'w').close()\ntime.sleep(3600)"
    done = engine.execute(notebook(lasting), Job(cwd=str(tmp_path), cell_timeout=1, grace=1))
    assert (done.status, done.cell) == ("TIMEOUT", 1)
    assert done.duration < 60


def test_a_kernel_writes_what_it_holds_when_a_limit_ends_it(tmp_path: Path) -> None:
    holding = "import atexit, time\natexit.register(lambda: open('held', 'w').write('all'))\ntime.sleep(3600)"
    done = engine.execute(notebook(holding), Job(cwd=str(tmp_path), cell_timeout=1, grace=60))
    assert done.status == "TIMEOUT"
    assert (tmp_path / "held").read_text() == "all"


def test_which_kernel_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warm one for Python notebooks where there is one; never when it is not wanted, or another kernel is named."""
    asked: list[tuple[str, ...]] = []

    def spec(job: Job) -> KernelSpec:
        asked.append(job.preload)
        return KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], env={"WARM": "1"}
        )

    monkeypatch.setattr(kernel, "_spec", spec)
    here, warm = str(tmp_path), notebook("import os\nprint(os.environ.get('WARM'))")
    warm.metadata["kernelspec"] = {"name": "nbmlops", "display_name": "x"}
    assert texts(engine.execute(warm, Job(cwd=here, preload=("json",)))) == "1\n"
    assert asked == [("json",)]
    assert texts(engine.execute(warm, Job(cwd=here, warm=False))) == "None\n"
    monkeypatch.setenv("NBMLOPS_KERNEL", "cold")
    assert engine.execute(warm, Job(cwd=here, timeout=0.01)).status == "TIMEOUT"
    assert len(asked) == 1
