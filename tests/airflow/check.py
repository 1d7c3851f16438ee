"""A real Airflow parses and runs the DAG of a pipeline: `make check-airflow`. It takes a minute; pytest leaves it out.

    python check.py AIRFLOW_BIN_FOLDER

This Python has nbmlops, the other folder's has Airflow.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

from nbmlops.workspace import Workspace

STAGES = {
    "features": (
        "rows: int = 5",
        "import nbmlops, pandas as pd\nnbmlops.snapshot(pd.DataFrame({'x': range(rows), 'y': range(rows)}), 'numbers')",
    ),
    "train": (
        "depth: int = 1",
        "import nbmlops\nfrom sklearn.tree import DecisionTreeRegressor\n"
        "data = nbmlops.load_dataset('numbers')\n"
        "model = DecisionTreeRegressor(max_depth=depth).fit(data[['x']], data['y'])\n"
        "nbmlops.log_metric('score', model.score(data[['x']], data['y']))\n"
        "nbmlops.register_model(model, 'line', input_example=data[['x']])",
    ),
    "use": ("note = ''", "import nbmlops\nmodel = nbmlops.load_model('line')\nprint(note)"),
}
PIPELINE = """\
name: three stages
params: {rows: 7, note: "plain"}
stages:
  features: {notebook: features.ipynb, params: {rows: "${params.rows}"}, writes: [dataset:numbers]}
  train:
    notebook: train.ipynb
    reads: [dataset:numbers]
    matrix: {depth: [1, 3]}
    select: {metric: score, mode: max}
    writes: [model:line]
    timeout: 5m
  use: {notebook: use.ipynb, params: {note: "${params.note}"}, reads: [model:line]}
promote: {model: line, to: staging, rules: [metrics.score > 0.5]}
"""
HOME = str(Path(__file__).parents[2])
# Would run, or end the text, in a shell, in Jinja, or in Python.
HOSTILE = "$(touch broken) `touch broken` {{ 7 * 7 }} ' \" ; touch broken"


def write_project(folder: Path) -> Path:
    for name, cells in STAGES.items():
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        nb.cells[0].metadata["tags"] = ["parameters"]
        nbformat.write(nb, folder / f"{name}.ipynb")
    path = folder / "pipeline.yaml"
    path.write_text(PIPELINE)
    return path


def run(words: list[str], environment: dict[str, str], folder: Path) -> str:
    done = subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)} ended with {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}")
    return done.stdout


def check(airflow: Path, folder: Path) -> None:
    project, home, dags = folder / "it's a project", folder / "airflow", folder / "airflow" / "dags"
    for made in (project, dags):
        made.mkdir(parents=True)
    (project / "pyproject.toml").write_text("[project]\nname = 'three'\nversion = '0'\n")
    command = folder / "nbmlops"  # the DAG's tasks run in this Python
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nbmlops "$@"\n')
    command.chmod(0o755)
    store = str(project / ".nbmlops")
    own = {
        **os.environ,
        "NBMLOPS_STORE": store,
        "NBMLOPS_USER": "airflow",
        "PYTHONPATH": os.pathsep.join(filter(None, (HOME, os.environ.get("PYTHONPATH")))),
    }
    words = [sys.executable, "-m", "nbmlops", "pipeline", "export", str(write_project(project)), "--to", "airflow"]
    print(run([*words, "-p", f"note={HOSTILE}", "--schedule", "0 6 * * *", "-o", f"{dags}/"], own, project), end="")
    theirs = {
        **own,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PATH": f"{airflow}{os.pathsep}{os.environ['PATH']}",
        "NBMLOPS": str(command),
    }
    tool = str(airflow / "airflow")
    run([tool, "db", "migrate"], theirs, project)
    errors = run([tool, "dags", "list-import-errors"], theirs, project)
    assert "No data found" in errors, errors
    run([tool, "dags", "test", "three_stages"], theirs, project)
    verify(store, project)


def verify(store: str, project: Path) -> None:
    """What the store must say after all."""
    ws = Workspace(store)
    stages = {s.stage: s for s in reversed(ws.pipelines.stages())}
    assert {name: s.status for name, s in stages.items()} == dict.fromkeys(STAGES, "FINISHED"), stages
    assert len(ws.pipelines.stages()) == 4, "two candidates, and one run of each of the others"
    assert stages["features"].params == {"rows": 7}
    assert stages["train"].pins["dataset:numbers"] == stages["use"].pins["model:line"] == 1
    assert stages["use"].params == {"note": HOSTILE}, stages["use"].params
    assert not list(project.rglob("broken")), "a value was run as code"
    assert ws.datasets.get("dataset:numbers").rows == 7
    assert ws.models.get("model:line@staging").version == 1
    print("three stages FINISHED with the right pins, the model promoted, and no value was run as code")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        check(Path(sys.argv[1]).absolute(), Path(made))
