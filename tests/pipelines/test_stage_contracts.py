"""Contracts of what stages read and write: their faults at plan time, their violations before and after a kernel."""

from __future__ import annotations

import textwrap
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from nbmlops.errors import InvalidValue, StageFailed
from nbmlops.workspace import Workspace

HOME = str(Path(__file__).parents[2])
WRITER = "import nbmlops, pandas as pd\nnbmlops.snapshot(pd.DataFrame({'n': [1, 2, worst]}), 'numbers')"
READER = "import nbmlops\nnbmlops.log_metric('rows', len(nbmlops.load_dataset('numbers')))"
PIPELINE = """
    name: checked
    params: {worst: 3}
    stages:
      make:
        notebook: make.ipynb
        params: {worst: "${params.worst}"}
        writes: [dataset:numbers]
        contracts: {dataset:numbers: small.yaml}
        retries: 2
      use:
        notebook: use.ipynb
        reads: [dataset:numbers]
        contracts: {dataset:numbers: smaller.yaml}
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", HOME)
    for name, cells in (("make", ["worst: int = 3", WRITER]), ("use", ["unused: int = 0", READER])):
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
        nb.cells[0].metadata["tags"] = ["parameters"]
        nbformat.write(nb, tmp_path / f"{name}.ipynb")
    (tmp_path / "small.yaml").write_text("columns: {n: {max: 99}}")
    (tmp_path / "smaller.yaml").write_text("columns: {n: {max: 9}}")
    (tmp_path / "pipeline.yaml").write_text(textwrap.dedent(PIPELINE))
    return tmp_path / "pipeline.yaml"


def test_what_keeps_its_contract_passes(ws: Workspace, path: Path) -> None:
    flow = ws.pipelines.run(path)
    assert [s.status for s in flow.stages] == ["FINISHED", "FINISHED"]


def test_what_is_written_against_it_fails_the_stage_once(ws: Workspace, path: Path) -> None:
    with pytest.raises(StageFailed, match="dataset:numbers@1"):
        ws.pipelines.run(path, {"worst": 100})
    (stage,) = ws.pipelines.flows()[0].stages
    assert (stage.status, stage.attempt, stage.error["name"]) == ("FAILED", 1, "ContractViolated")
    assert stage.executed, "the executed notebook is kept"


def test_what_is_read_against_it_starts_no_kernel(ws: Workspace, path: Path) -> None:
    with pytest.raises(StageFailed, match="at most 9"):
        ws.pipelines.run(path, {"worst": 50})
    made, used = ws.pipelines.flows()[0].stages
    assert (made.status, used.status, used.cells_done, used.executed) == ("FINISHED", "FAILED", 0, None)


def test_faults_of_contracts_are_told_with_all_others(ws: Workspace, path: Path, tmp_path: Path) -> None:
    ws.datasets.snapshot(pd.DataFrame({"n": [1]}), "numbers")
    (tmp_path / "small.yaml").write_text("colums: {}\ncolumns: {n: {mx: 9}}")
    text = path.read_text().replace("smaller.yaml", "nowhere.yaml").replace("retries: 2", "retries: many")
    path.write_text(text.replace("use.ipynb\n", "use.ipynb\n    needs: [nobody]\n"))
    with pytest.raises(InvalidValue) as caught:
        ws.pipelines.plan(path)
    told = str(caught.value)
    for part in ("colums", "mx", "nowhere.yaml", "retries", "nobody"):
        assert part in told
    path.write_text(text.replace("contracts: {dataset:numbers: small.yaml}", "contracts: {dataset:number: x.py}"))
    with pytest.raises(InvalidValue, match=r"neither reads nor writes dataset:number.*did you mean"):
        ws.pipelines.plan(path)
