"""Contracts of stages: their faults before anything runs, and what violations do to a flow."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest

from nbmlops.errors import InvalidValue, StageFailed
from nbmlops.pipelines import plan
from nbmlops.pipelines import stage as stages
from nbmlops.workspace import Workspace

HOME = str(Path(__file__).parents[2])
GOOD = "columns: {n: {type: integer, min: 0}}\n"
STRICT = "columns: {n: {type: integer, min: 2, max: 2}, name: text}\n"


@pytest.fixture(autouse=True)
def _kernels_find_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", HOME)
    monkeypatch.setattr(stages, "BACKOFF", 0.01)


def make(folder: Path, text: str, **files: str) -> Path:
    """A pipeline file; ``a_ipynb="source"`` is a notebook of one cell beside it, ``a_yaml="text"`` a contract."""
    for name, content in files.items():
        stem, _, kind = name.rpartition("_")
        path = folder / f"{stem}.{kind}"
        if kind == "ipynb":
            nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(content)]), path)
        else:
            path.write_text(content)
    path = folder / "pipeline.yaml"
    path.write_text(textwrap.dedent(text))
    return path


def test_all_faults_of_all_contracts_at_once(tmp_path: Path) -> None:
    text = """\
        stages:
          a:
            notebook: a.ipynb
            reads: [dataset:x, model:m, "dataset:old@3"]
            writes: [dataset:y]
            contracts:
              dataset:x: bad.yaml
              "dataset:old@3": good.yaml
              dataset:y: none.yaml
              dataset:z: good.yaml
              model:m: schemas.py:MINE
              dataset:old: schemas.py:MINE.yaml
          b: {notebook: a.ipynb, contracts: [good.yaml]}
          c: {notebook: a.ipynb, contracts: {dataset:x: good.yaml}}
        """
    bad = "columns: {n: {typ: integer, min: a}, m: whole}\nrows: many\n"
    danger = "raise SystemExit('planning ran code')"
    path = make(tmp_path, text, a_ipynb="1", bad_yaml=bad, good_yaml=GOOD, schemas_py=danger)
    with pytest.raises(InvalidValue) as caught:
        plan.prepare(path)
    faults = caught.value.faults
    of_bad = [f for f in faults if f.startswith("line 7: stage a: contract of dataset:x: bad.yaml: ")]
    assert len(of_bad) >= 3
    assert any("rows" in f for f in of_bad)
    rest = [f for f in faults if f not in of_bad]
    assert [f.split(":")[0] for f in rest] == [f"line {n}" for n in (9, 10, 11, 11, 12, 13, 14)]
    assert "there is no contract 'none.yaml'" in rest[0]
    assert "the stage neither reads nor writes dataset:z" in rest[1]
    assert "there are dataset:old, dataset:old@3, dataset:x, dataset:y" in rest[1]
    assert any("planning runs none" in f for f in rest[2:4])
    assert "contracts must be a mapping" in rest[5]
    assert "nor any other data set" in rest[6]


READS_AND_WRITES = """\
    name: held
    stages:
      first:
        notebook: first.ipynb
        reads: [dataset:raw]
        writes: [dataset:made]
        contracts: {dataset:raw: good.yaml, dataset:made: %s.yaml}
        retries: 2
      second:
        notebook: second.ipynb
        reads: [dataset:made]
"""
FIRST = "import nbmlops\nraw = nbmlops.load_dataset('raw')\nnbmlops.snapshot(raw, 'made')"


def test_what_was_written_is_refused(ws: Workspace, tmp_path: Path) -> None:
    ws.datasets.snapshot(pd.DataFrame({"n": [1, 2, 3]}), "raw")
    files = {"first_ipynb": FIRST, "second_ipynb": "1", "good_yaml": GOOD, "strict_yaml": STRICT}
    path = make(tmp_path, READS_AND_WRITES % "strict", **files)
    with pytest.raises(StageFailed, match="stage first: ContractViolated: 3 violations in dataset:made@1") as caught:
        ws.pipelines.run(path, progress=False)
    assert "its executed notebook was kept" in caught.value.hint
    (stage,) = ws.pipelines.stages()  # not tried again, and nothing after it
    assert (stage.status, stage.cells_done, stage.outputs) == ("FAILED", 1, ("dataset:made@1",))
    assert stage.error is not None
    _, *lines = stage.error["message"].splitlines()
    assert len(lines) == 3
    assert all("dataset:made@1 (strict.yaml)" in line for line in lines)
    assert sum("column 'n'" in line for line in lines) == 2
    run = ws.runs.get(stage.ref)
    assert run.tags["nbmlops.contract.raw"] == "pass at version 1 (good.yaml)"
    assert run.tags["nbmlops.contract.made"].startswith("block at version 1 (strict.yaml): column 'name'")
    assert ws.pipelines.flows()[0].outputs == {}


def test_what_only_warns_is_announced(ws: Workspace, tmp_path: Path) -> None:
    ws.datasets.snapshot(pd.DataFrame({"n": [1, 2, 3]}), "raw")
    ws.datasets.snapshot(pd.DataFrame({"n": [-1]}), "old")
    text = READS_AND_WRITES % "warns" + "        contracts: {dataset:made: good.yaml}\n"
    files = {"first_ipynb": FIRST, "second_ipynb": "1", "good_yaml": GOOD}
    path = make(tmp_path, text, **files, warns_yaml=STRICT + "on_violation: warn\n")
    events: list[dict[str, Any]] = []
    flow = ws.pipelines.run(path, progress=events.append)
    assert [s.status for s in flow.stages] == ["FINISHED", "FINISHED"]
    (told,) = [e for e in events if e["type"] == "contract"]
    assert (told["stage"], told["subject"], len(told["violations"])) == ("first", "dataset:made@1", 3)
    tags = ws.runs.get(flow.stages[0].ref).tags
    assert tags["nbmlops.contract.made"].startswith("warn at version 1 (warns.yaml): ")
    assert ws.runs.get(flow.stages[1].ref).tags["nbmlops.contract.made"].startswith("pass")


def test_what_would_be_read_is_refused_before_the_kernel(nb: Any, cli: Callable[..., Any], tmp_path: Path) -> None:
    nb.snapshot(pd.DataFrame({"n": [2], "name": ["b"]}), "raw")
    nb.snapshot(pd.DataFrame({"n": [1]}), "raw")
    text = """\
        stages:
          one:
            notebook: one.ipynb
            reads: [%s]
            contracts: {%s: strict.yaml}
            retries: 1
        """
    touched = tmp_path / "touched"
    files = {"one_ipynb": f"open({str(touched)!r}, 'w')", "strict_yaml": STRICT}
    failed = cli("pipeline", "run", str(make(tmp_path, text % (("dataset:raw",) * 2), **files)), code=1)
    assert "ContractViolated" in failed.err
    assert "column 'name'" in failed.err
    assert "its notebook was not started" in failed.err
    assert not touched.exists()
    (stage,) = nb.session.workspace().pipelines.stages()
    assert (stage.status, stage.executed, stage.cells) == ("FAILED", None, 0)
    cli("pipeline", "run", str(make(tmp_path, text % ('"dataset:raw@1"', "dataset:raw"), **files)))
    assert touched.exists()
