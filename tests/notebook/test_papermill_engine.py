"""papermill with our engine: its conventions are kept, and only what was untrue is different."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.engines import papermill_engines
from papermill.exceptions import PapermillExecutionError

from nbmlops.notebook import papermill_engine
from nbmlops.notebook.engine.under_papermill import NoSuchKernel

ROOT = Path(papermill_engine.__file__).parents[2]


@pytest.fixture(autouse=True)
def registered() -> None:
    papermill_engines.register("nbmlops", papermill_engine.NbmlopsEngine)


def write(folder: Path, *cells: str) -> str:
    nb = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "P", "language": "python"}}
    )
    nb.cells = [nbformat.v4.new_code_cell(source) for source in ("a = 1", *cells)]
    nb.cells[0].metadata["tags"] = ["parameters"]
    nb.cells.insert(1, nbformat.v4.new_markdown_cell("# text"))
    path = folder / "in.ipynb"
    nbformat.write(nb, path)
    return str(path)


def shape(nb: Any) -> list[Any]:
    """What must be the same under both engines: everything but ids, times and the terminal's colours."""
    cells = [
        (c.cell_type, c.source, sorted(c.metadata), c.metadata.get("tags"), c.get("execution_count"), c.get("outputs"))
        for c in nb.cells
    ]
    timeless = ("start_time", "end_time", "duration")
    records = [{k: v for k, v in c.metadata.get("papermill", {}).items() if k not in timeless} for c in nb.cells]
    whole = {k: v for k, v in nb.metadata.papermill.items() if k not in (*timeless, "output_path")}
    return [cells, records, whole, sorted(nb.metadata), sorted(nb.metadata.papermill), nb.metadata.language_info]


SHOWN = "from IPython.display import display, HTML\ndisplay(HTML('<b>x</b>'))\nprint(a)\na + 1"


@pytest.mark.parametrize("last", ["a * 2", "1 / 0"])
def test_the_same_notebook_comes_out(last: str, tmp_path: Path) -> None:
    source = write(tmp_path, SHOWN, "import sys\nprint('err', file=sys.stderr)", last)
    made = []
    for engine in ("nbclient", "nbmlops"):
        out = str(tmp_path / f"{engine}.ipynb")
        options: dict[str, Any] = {"engine_name": engine, "progress_bar": False, "cwd": str(tmp_path)}
        if last == "1 / 0":
            with pytest.raises(PapermillExecutionError) as raised:
                papermill.execute_notebook(source, out, {"a": 5}, **options)
            assert (raised.value.ename, raised.value.cell_index) == ("ZeroDivisionError", 5)
        else:
            papermill.execute_notebook(source, out, {"a": 5}, **options)
        made.append(nbformat.read(out, as_version=4))
        nbformat.validate(made[-1])
    assert shape(made[1]) == shape(made[0])


def test_dead_and_late_cells_are_told_truly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.ipynb"
    dead = write(tmp_path, "import os\nos.kill(os.getpid(), 9)", "never = 1")
    with pytest.raises(DeadKernelError, match=r"in cell 3: SIGKILL"):
        papermill.execute_notebook(dead, str(out), engine_name="nbmlops")
    assert "3/4" in capsys.readouterr().err, "the bar counts the cells that were begun"
    read = nbformat.read(out, as_version=4)
    assert [c.metadata.papermill.status for c in read.cells] == ["completed", "completed", "failed", "pending"]
    assert read.metadata.papermill.exception is True
    late = write(tmp_path, "import time\ntime.sleep(60)")
    with pytest.raises(CellTimeoutError, match="not finished"):
        papermill.execute_notebook(late, str(out), engine_name="nbmlops", progress_bar=False, execution_timeout=1)
    assert nbformat.read(out, as_version=4).cells[2].metadata.papermill.status == "failed"
    with pytest.raises(NoSuchKernel):
        papermill.execute_notebook(late, None, engine_name="nbmlops", progress_bar=False, kernel_name="no-such")


def test_the_command(tmp_path: Path) -> None:
    """The entry point as an installed package has it; output is logged, a skip is no failure."""
    installed = tmp_path / "nbmlops_engine-0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: nbmlops-engine\nVersion: 0\n")
    engine = "nbmlops.notebook.papermill_engine:NbmlopsEngine"
    (installed / "entry_points.txt").write_text(f"[papermill.engine]\nnbmlops = {engine}\n")
    source = write(tmp_path, "print('a is', a)", "import nbmlops\nnbmlops.skip('nothing new')", "never = 1")
    command = [sys.executable, "-m", "papermill", "--engine", "nbmlops", "--log-output", source, "out.ipynb", "-p"]
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    ran = subprocess.run(
        [*command, "a", "7"],
        env={**os.environ, "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "a is 7" in ran.stderr
    assert "skipped: nothing new" in ran.stderr
    nb = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert [c.metadata.papermill.status for c in nb.cells][-2:] == ["completed", "pending"]
    assert nb.metadata.papermill.parameters == {"a": 7}
