"""What may happen to a kernel and its journal: the cells run all the same, and what was written stays readable."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from shells import bare, emptied

from nbmlops import extension, session
from nbmlops.cells import folding
from nbmlops.notebook import recorder
from nbmlops.records import CellExecution
from nbmlops.workspace import Workspace

CHILD = """
import os, resource, signal, sys
from IPython.core.interactiveshell import InteractiveShell
from nbmlops import extension
from nbmlops.notebook import recorder
shell = InteractiveShell()
shell.history_manager.enabled = False
extension.listen(shell)
def run(source):
    return shell.run_cell(source, store_history=True).result
"""


@pytest.fixture(scope="module")
def _shell() -> Any:
    return bare()


@pytest.fixture
def run(_shell: Any, nb: Any) -> Iterator[Callable[[str], Any]]:
    """Run a cell in a shell that records into a store; what it raises fails the test."""
    emptied(_shell)
    _shell.execution_count = 1
    session.workspace()
    extension.listen(_shell)

    def cell(source: str) -> Any:
        done = _shell.run_cell(source, store_history=True)
        done.raise_error()
        return done.result

    yield cell
    session.reset()


def child(ws: Workspace, code: str, **more: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "NBMLOPS_STORE": str(ws.store.folder)}
    return subprocess.Popen([sys.executable, "-c", CHILD + code], env=environment, text=True, **more)


def kept(ws: Workspace) -> list[list[CellExecution]]:
    """What each session recorded."""
    return [ws.cells.executions(held.session_id) for held in ws.cells.sessions()]


def here() -> list[CellExecution]:
    held = recorder.current()
    assert held is not None
    assert held.fault is None
    return session.workspace().cells.executions(held.session_id)


def value(name: str) -> Any:
    held = recorder.current()
    assert held is not None
    return held.shell.user_ns[name]


def printed(execution: CellExecution) -> str:
    return "".join(output["text"] for output in execution.outputs if output["output_type"] == "stream")


def test_a_full_disk_leaves_no_half_line(ws: Workspace) -> None:
    full = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
run("kept = 1")
path = recorder.current()._file[0]
size = max(entry.stat().st_size for entry in os.scandir(path))
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
assert run("'lost' * 100; 6 * 7") == 42
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert run("6 * 8") == 48
assert "OSError" in recorder.fault(), recorder.fault()
"""
    assert child(ws, full).wait(60) == 0
    (journal,) = folding.files(ws.store.journal_folder)
    assert [next(iter(json.loads(line))) for line in journal.read_text().splitlines()] == ["session", "begin", "end"]
    assert [[e.source for e in ran] for ran in kept(ws)] == [["kept = 1"]]


def test_two_kernels_record_into_one_store_while_others_fold(ws: Workspace) -> None:
    many = "for n in range(60):\n    run(f'a = {n}')\n"
    kernels = [child(ws, many) for _ in range(2)]
    other = Workspace(ws.store)
    folds = threading.Thread(target=lambda: [other.cells.fold() for _ in range(20)])
    folds.start()
    while any(kernel.poll() is None for kernel in kernels):
        ws.cells.fold()
    folds.join()
    assert [kernel.returncode for kernel in kernels] == [0, 0]
    for ran in (found := kept(ws)):
        assert [(e.number, e.source, e.status) for e in ran] == [(n + 1, f"a = {n}", "ok") for n in range(60)]
    assert len(found) == 2
    assert folding.files(ws.store.journal_folder) == []


def test_a_store_that_is_removed_meanwhile(run: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "LOOK", 0.0)
    store = session.workspace().store
    run("a = 1")
    shutil.rmtree(store.folder)
    assert run("6 * 7") == 42
    assert not store.folder.exists()
    session.use(store.folder)  # made anew
    run("b = 1")
    assert [e.source for e in here()] == ["6 * 7", "b = 1"]


def test_another_store_in_mid_session(
    run: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("a = 1")
    first = session.workspace()
    before = here()
    monkeypatch.setenv("NBMLOPS_STORE", str(tmp_path / "second"))
    run("import nbmlops\nnbmlops.log_metric('m', 1.0)")
    run("b = 2")
    assert [e.source for e in before] == ["a = 1"]
    assert session.workspace().store.folder != first.store.folder
    assert here()[-1].source == "b = 2"
    assert len({e.session_id for e in (*before, *here())}) == 1


def test_a_fork_in_a_cell_does_not_write_the_parents_journal(run: Callable[[str], Any]) -> None:
    run("import os, sys")
    run(
        "child = os.fork()\n"
        "if not child:\n"
        "    get_ipython().run_cell('forked = 1', store_history=True)\n"
        "    print('in the child')\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)[1]"
    )
    run("import multiprocessing as m\nwith m.get_context('fork').Pool(1) as pool: print(pool.map(abs, [-1]))")
    run("after = 1")
    ran = here()
    assert [e.number for e in ran] == [1, 2, 3, 4]
    assert not any(e.source == "forked = 1" for e in ran)
    assert printed(ran[1]) == ""
    assert printed(ran[2]) == "[1]\n"


def test_threads_that_print_after_their_cell(run: Callable[[str], Any]) -> None:
    run(
        "import threading\n"
        "go, said = threading.Event(), threading.Event()\n"
        "def speak():\n    go.wait()\n    print('late')\n    said.set()\n"
        "thread = threading.Thread(target=speak)\nthread.start()\nprint('in time')"
    )
    run("quiet = 1")
    go, said = (value(name) for name in ("go", "said"))
    go.set()
    assert said.wait(10)
    run("thread.join()\nprint('last')")
    assert [printed(e) for e in here()] == ["in time\n", "", "last\n"]


def test_threads_that_print_all_the_time(run: Callable[[str], Any]) -> None:
    run(
        "import threading\nstop = threading.Event()\n"
        "def speak():\n    while not stop.is_set():\n        print('x' * 50_000)\n"
        "threads = [threading.Thread(target=speak) for _ in range(2)]\n"
        "for thread in threads: thread.start()"
    )
    for n in range(5):
        run(f"print('cell', {n})")
    run("stop.set()\nfor thread in threads: thread.join()")
    assert [e.status for e in here()] == ["ok"] * 7
    assert all(len(printed(e)) < 21_000 for e in here())


def test_ten_megabytes_of_output(run: Callable[[str], Any]) -> None:
    run("print('a' * 10_000_000)")
    run("for n in range(100): print('b' * 100_000)")
    run("'c' * 10_000_000")
    ran = here()
    assert [len(printed(e)) < 21_000 for e in ran] == [True] * 3
    assert all("left out" in printed(e) for e in ran[:2])
    store = session.workspace().store
    assert sum(path.stat().st_size for path in store.journal_folder.iterdir()) < 1_000_000


def test_cells_that_replace_stdout(run: Callable[[str], Any]) -> None:
    before = sys.stdout
    try:
        run("import io, sys\nold, sys.stdout = sys.stdout, io.StringIO()\nprint('elsewhere')")
        run("print('there too')")
        run("sys.stdout.write = 1")
        run("sys.stdout = old\nprint('back')")
        run("sys.stdout.write = lambda text, write=sys.stdout.write: write(text.upper())\nprint('loud')")
        run("print('said once')")
        run("del sys.stdout.write\nprint('unheard')")
        ran = here()
    finally:
        sys.stdout = before
    assert [printed(e) for e in ran] == ["", "there too\n", "", "", "LOUD\n", "said once\n", ""]


@pytest.mark.parametrize("way", ["os._exit(3)", "os.kill(os.getpid(), signal.SIGTERM)"])
def test_a_cell_that_ends_its_process(ws: Workspace, way: str) -> None:
    ended = child(ws, f'run("a = 1")\nrun("import os, signal\\n{way}")\nrun("never = 1")')
    assert ended.wait(60) in {3, -15}
    assert [[(e.source.split("\n")[0], e.status) for e in ran] for ran in kept(ws)] == [
        [("a = 1", "ok"), ("import os, signal", "lost")]
    ]
    assert folding.files(ws.store.journal_folder) == []
