"""A pipeline of three quick stages, a process that runs it when it is told to, and the processes it is made of.

Run as a script it imports what a flow needs and says ``ready``; then each line of JSON on its standard input is one
flow, run in a fork of it: it says the fork's process id, and how that has ended. So a flow starts at once, and 50 of
them cost no 50 imports.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).parents[2]
NAMES = ("numbers", "squares", "totals")
# In each turn every stage makes something new, so that a version too many, or one too few, is seen in the numbers.
PIPELINE = """
name: killed
params: {turn: 0}
stages:
  make: {notebook: make.ipynb, params: {turn: "${params.turn}"}, writes: [dataset:numbers]}
  square: {notebook: square.ipynb, reads: [dataset:numbers], writes: [dataset:squares]}
  total: {notebook: total.ipynb, reads: [dataset:squares], writes: [dataset:totals]}
"""
# A folder of its own: what a killed execution has begun to write is nothing that the next one finds.
KEEP = """
import tempfile
from pathlib import Path
with tempfile.TemporaryDirectory() as folder:
    Path(folder, "n.txt").write_text(" ".join(map(str, kept)))
    nbmlops.snapshot(folder, NAME)
"""
READ = 'import nbmlops\nread = [int(n) for n in nbmlops.load_dataset(NAME).bytes("n.txt").split()]'
STAGES = {
    "make": ("turn: int = 0", "import nbmlops\nkept = range(turn, turn + 100)", KEEP.replace("NAME", "'numbers'")),
    "square": (
        "power: int = 2",
        READ.replace("NAME", "'numbers'"),
        "kept = [n**power for n in read]",
        KEEP.replace("NAME", "'squares'"),
    ),
    "total": (
        "start: int = 0",
        READ.replace("NAME", "'squares'"),
        "kept = [sum(read, start)]\nnbmlops.log_metric('total', kept[0])",
        KEEP.replace("NAME", "'totals'"),
    ),
}


def write_project(folder: Path) -> Path:
    """The notebooks and the pipeline's file, whose path it returns."""
    for name, (parameters, *cells) in STAGES.items():
        made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in (parameters, *cells)])
        made.cells[0].metadata["tags"] = ["parameters"]
        nbformat.write(made, folder / f"{name}.ipynb")
    path = folder / "pipeline.yaml"
    path.write_text(PIPELINE)
    return path


def total(turn: int) -> int:
    """What the last stage of a turn must come to."""
    return sum(n**2 for n in range(turn, turn + 100))


# --- what can be killed -------------------------------------------------------------------------------------------
def _processes(runtime: Path) -> Iterator[tuple[int, int, str]]:
    """Process id, parent's id and command line of those that name the runtime folder."""
    for place in Path("/proc").iterdir():
        try:
            words = (place / "cmdline").read_bytes() if place.name.isdigit() else b""
            if os.fsencode(runtime) in words:
                parent = (place / "stat").read_text().rpartition(")")[2].split()[1]
                yield int(place.name), int(parent), words.replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has just ended
            continue


def zygotes(_flow: int, runtime: Path) -> list[int]:
    found = {pid: parent for pid, parent, words in _processes(runtime) if "nbmlops.kernels.zygote" in words}
    return [pid for pid, parent in found.items() if parent not in found]


def kernels(flow: int, runtime: Path) -> list[int]:
    """Forked ones, whose command line is still the zygote's, and those that were started by the flow itself."""
    above = {*zygotes(flow, runtime), flow}
    return [pid for pid, parent, _ in _processes(runtime) if parent in above and pid not in above]


# What is killed, and where it is found while a flow runs: given the flow's process id and the runtime folder.
KINDS: dict[str, Callable[[int, Path], list[int]]] = {
    "pipeline": lambda flow, _: [flow],
    "kernel": kernels,
    "zygote": zygotes,
}


# What a flow imports while it runs.
LATE = (
    "IPython", "pandas", "pyarrow", "nbmlops.datasets.quality", "nbmlops.datasets.reading",
    "nbmlops.kernels.provisioner", "nbmlops.notebook.contract", "nbmlops.notebook.engine",
    "nbmlops.pipelines.executors.local", "nbmlops.pipelines.exports", "nbmlops.runs.frame",
    "nbmlops.store.migrations", "nbmlops.workspace",
)  # fmt: skip


# --- the process --------------------------------------------------------------------------------------------------
class Flows:
    """The process that runs flows, seen from outside."""

    def __init__(self) -> None:
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},  # no thread before a fork
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self._read() == "ready"

    def start(self, store: Path, pipeline: Path, turn: int) -> int:
        """Begin a flow; the id of its process."""
        self.process.stdin.write(json.dumps({"store": str(store), "pipeline": str(pipeline), "turn": turn}) + "\n")  # type: ignore[union-attr]
        return int(self._read())

    def ended(self, seconds: float) -> bool:
        """Whether the flow's process has ended, waiting so long for it."""
        return bool(select.select([self.process.stdout], [], [], seconds)[0])

    def code(self) -> int:
        """How it has ended: its exit code, or the signal's number below zero. Waits for that."""
        return int(self._read())

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()

    def _read(self) -> str:
        line = self.process.stdout.readline().strip()  # type: ignore[union-attr]
        assert line, "the process that runs flows has ended"
        return line


def _run(job: dict[str, Any]) -> int:
    from nbmlops.errors import StageFailed
    from nbmlops.store import open_store
    from nbmlops.workspace import Workspace

    store = open_store(job["store"])
    try:
        Workspace(store).pipelines.run(job["pipeline"], {"turn": job["turn"]}, progress=False)
    except StageFailed:
        return 1
    finally:
        store.close()
    return 0


def _serve() -> None:
    for name in LATE:
        importlib.import_module(name)
    _say("ready")
    while line := sys.stdin.readline():
        if not (child := os.fork()):
            code = 70
            try:
                code = _run(json.loads(line))
            finally:  # an exception is shown, and the fork never goes on reading jobs
                if code == 70:
                    sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
                sys.stderr.flush()
                os._exit(code)
        _say(str(child))
        _say(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    _serve()
