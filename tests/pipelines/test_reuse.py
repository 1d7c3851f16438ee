"""Results that are still right are reused, and the plan says in words why others are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest

from nbmlops.errors import StageFailed, UsageFault
from nbmlops.pipelines import stage as stages
from nbmlops.pipelines.flow import Options
from nbmlops.records import Flow, Plan
from nbmlops.store import schema
from nbmlops.workspace import Workspace
from tests.pipelines.notebooks import pipeline, printed, write

HOME = str(Path(__file__).parents[2])

FILE = """
    name: chain
    params: {rows: 3}
    stages:
      features: {notebook: features.ipynb, params: {rows: "${params.rows}"}}
      train:
        notebook: train.ipynb
        writes: [dataset:scores]
        params: {limit: "${stages.features.limit}"}
      report: {notebook: report.ipynb}
"""


@pytest.fixture(autouse=True)
def _kernels_find_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", HOME)
    monkeypatch.setattr(stages, "BACKOFF", 0.01)


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """Three stages that meet through data sets, whose names stand in their cells alone; two use a module."""
    (tmp_path / "scaling.py").write_text("def scale(x):\n    return 2 * x\n")
    (tmp_path / "naming.py").write_text("from scaling import scale\nTITLE = 'report'\n")
    write(
        tmp_path / "features.ipynb",
        "rows: int = 3",
        """
        import pandas as pd, nbmlops
        nbmlops.snapshot(pd.DataFrame({"x": range(rows)}), "features")
        nbmlops.output("limit", rows * 10)
        """,
    )
    write(
        tmp_path / "train.ipynb",
        "limit: int = 0",
        """
        import nbmlops, scaling
        frame = nbmlops.load_dataset("features")
        nbmlops.snapshot(frame.assign(y=scaling.scale(frame["x"]) + limit), "scores")
        """,
    )
    write(
        tmp_path / "report.ipynb",
        "title: str = 'a'",
        "import nbmlops\nfrom naming import TITLE\nprint(TITLE, len(nbmlops.load_dataset('scores')))",
    )
    return pipeline(tmp_path, FILE)


def states(plan: Plan) -> dict[str, str]:
    return {stage.stage: stage.state for stage in plan.stages}


def ran(flow: Flow) -> dict[str, tuple[str, ...]]:
    """The stages that were executed, and why."""
    return {stage.stage: stage.why for stage in flow.stages if not stage.reused}


def edit(path: Path, cell: int, source: str) -> None:
    nb = nbformat.read(path, 4)
    nb.cells[cell].source = source
    nbformat.write(nb, path)


def test_only_what_changed_runs_again_and_says_why(ws: Workspace, chain: Path, tmp_path: Path) -> None:
    plan = ws.pipelines.plan(chain)
    assert [(s.stage, s.needs, s.state) for s in plan.stages] == [
        ("features", (), "stale"),
        ("train", ("features",), "stale"),
        ("report", ("train",), "stale"),
    ]
    assert plan.stages[0].why == ("never run",)
    first = ws.pipelines.run(chain, progress=False)
    assert ran(first) == {"features": ("never run",), "train": ("never run",), "report": ("never run",)}
    assert first.outputs == {"dataset:features": 1, "dataset:scores": 1}
    assert set(states(ws.pipelines.plan(chain)).values()) == {"fresh"}

    # A comment, other formatting, a markdown cell: nothing runs.
    edit(tmp_path / "train.ipynb", 0, "# how much\nlimit : int=0   # at most")
    nb = nbformat.read(tmp_path / "features.ipynb", 4)
    nb.cells.insert(0, nbformat.v4.new_markdown_cell("# Features"))
    nbformat.write(nb, tmp_path / "features.ipynb")
    (tmp_path / "scaling.py").write_text("# doubles\ndef scale(x):\n    return (2 * x)\n")
    again = ws.pipelines.run(chain, progress=False)
    assert ran(again) == {}
    assert [(s.stage, s.run_id) for s in again.stages] == [(s.stage, s.run_id) for s in first.stages]
    assert again.outputs == first.outputs

    # A module: the stages that import it, the last one only through another module. Same data come out.
    (tmp_path / "scaling.py").write_text("def scale(x):\n    return x + x\n")
    changed = ("scaling.py changed",)
    assert [s.why for s in ws.pipelines.plan(chain).stages] == [(), changed, changed]
    third = ws.pipelines.run(chain, progress=False)
    assert ran(third) == {"train": changed, "report": changed}
    assert third.outputs == first.outputs  # the same content is the same version

    # A cell of the first stage, with another result: the second waits for it, and the third for that.
    source = nbformat.read(tmp_path / "train.ipynb", 4).cells[1].source
    edit(tmp_path / "train.ipynb", 1, source.replace("+ limit", "- limit"))
    plan = ws.pipelines.plan(chain)
    assert (plan.stages[1].state, plan.stages[1].why) == ("stale", ("cell 2 changed",))
    assert (plan.stages[2].state, plan.stages[2].why) == (
        "waits",
        ("reused if the result of train stays the same",),
    )
    fourth = ws.pipelines.run(chain, progress=False)
    assert ran(fourth) == {"train": ("cell 2 changed",), "report": ("dataset:scores 1 -> 2",)}

    # Another value of a parameter; and back again, which is remembered.
    fifth = ws.pipelines.run(chain, {"rows": 4}, progress=False)
    assert ran(fifth)["features"] == ("rows 3 -> 4",)
    assert ran(fifth)["train"] == ("limit 30 -> 40", "dataset:features 1 -> 2")
    assert ran(ws.pipelines.run(chain, progress=False)) == {}
    assert len(ran(ws.pipelines.run(chain, options=Options(force=True), progress=False))) == 3


def test_resume_after_a_failure(ws: Workspace, chain: Path, tmp_path: Path) -> None:
    good = nbformat.read(tmp_path / "train.ipynb", 4).cells[1].source
    edit(tmp_path / "train.ipynb", 1, good + "\nraise ValueError('too late')")
    with pytest.raises(StageFailed, match="too late"):
        ws.pipelines.run(chain, progress=False)
    (failed,) = ws.pipelines.flows()
    assert [s.status for s in failed.stages] == ["FINISHED", "FAILED"]
    ws.datasets.snapshot(pd.DataFrame({"x": [9]}), "features")  # somebody else goes on meanwhile
    edit(tmp_path / "train.ipynb", 1, good)
    flow = ws.pipelines.resume(progress=False)
    assert ran(flow).keys() == {"train", "report"}
    assert ran(flow)["train"] == ("its last run failed",)
    assert flow.outputs["dataset:features"] == 1
    assert flow.stages[0].reused
    with pytest.raises(UsageFault, match="nothing to resume"):
        ws.pipelines.resume(flow.ref)


def test_only_and_from(ws: Workspace, chain: Path, tmp_path: Path) -> None:
    ws.pipelines.run(chain, progress=False)
    flow = ws.pipelines.run(chain, options=Options(force=True), start="train", progress=False)
    assert list(ran(flow)) == ["train", "report"]
    assert list(ran(ws.pipelines.run(chain, options=Options(force=True), only="report", progress=False))) == ["report"]


def test_what_is_never_reused_and_what_is_declared(ws: Workspace, tmp_path: Path, monkeypatch: Any) -> None:
    write(tmp_path / "clock.ipynb", "n = 1", "from datetime import date\nprint(date.today())")
    write(tmp_path / "plain.ipynb", "n = 1", "import os\nprint(n)")
    (tmp_path / "limits.txt").write_text("1")
    monkeypatch.setenv("REGION", "north")
    text = """
        stages:
          clock: {notebook: clock.ipynb}
          kept: {notebook: clock.ipynb, cache: true}
          never: {notebook: plain.ipynb, cache: false}
          plain: {notebook: plain.ipynb, files: ["*.txt"], variables: [REGION]}
    """
    path = pipeline(tmp_path, text)
    ws.pipelines.run(path, progress=False)
    plan = ws.pipelines.plan(path)
    assert states(plan) == {"clock": "always", "kept": "fresh", "never": "always", "plain": "fresh"}
    assert "date.today()" in plan.stages[0].why[0]
    assert plan.stages[2].why == ("it says cache: false",)
    (tmp_path / "limits.txt").write_text("2")
    monkeypatch.setenv("REGION", "south")
    (tmp_path / "more.txt").write_text("")
    why = ws.pipelines.plan(path).stages[3].why
    assert why == ("limits.txt changed", "more.txt is read now", "variable REGION changed")


def test_inputs_found_only_while_it_runs(ws: Workspace, tmp_path: Path) -> None:
    ws.datasets.snapshot(pd.DataFrame({"x": [1]}), "north")
    source = "import nbmlops\nfor name in ['no' + 'rth'][:]:\n    print(len(nbmlops.load_dataset(name)))"
    notebook = write(tmp_path / "a.ipynb", "n = 1", source)
    first = ws.pipelines.run_stage(notebook, progress=False)
    assert ws.pipelines.run_stage(notebook, progress=False).reused
    ws.datasets.snapshot(pd.DataFrame({"x": [1, 2]}), "north")
    again = ws.pipelines.run_stage(notebook, progress=False)
    assert (again.reused, again.why, printed(ws, again.run_id)) == (False, ("dataset:north 1 -> 2",), "2\n")
    ws.runs.delete(first.ref)
    ws.runs.delete(again.ref)
    assert not ws.pipelines.run_stage(notebook, progress=False).reused


def test_a_module_that_changes_while_its_stage_runs(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / "aside.py").write_text("X = 1\n")
    notebook = write(tmp_path / "a.ipynb", "n = 1", "import aside\nopen('aside.py', 'w').write('X = 2\\n')")
    ws.pipelines.run_stage(notebook, progress=False)
    again = ws.pipelines.run_stage(notebook, progress=False)
    assert (again.reused, again.why) == (False, ("aside.py changed",))


def test_skipping(ws: Workspace, tmp_path: Path) -> None:
    write(tmp_path / "a.ipynb", "n = 1", "import nbmlops\nnbmlops.skip('nothing new')", "1 / 0")
    write(tmp_path / "b.ipynb", "n = 1", "import nbmlops\nnbmlops.load_dataset('news')")
    text = "stages: {a: {notebook: a.ipynb, writes: [dataset:news]}, b: {notebook: b.ipynb, reads: [dataset:news]}}"
    flow = ws.pipelines.run(pipeline(tmp_path, text), progress=False)
    assert [(s.stage, s.status, s.reason) for s in flow.stages] == [
        ("a", "SKIPPED", "nothing new"),
        ("b", "SKIPPED", "a was skipped, and there is no dataset:news"),
    ]
    assert flow.status == "FINISHED"
    ws.datasets.snapshot(pd.DataFrame({"x": [1]}), "news")
    flow = ws.pipelines.run(pipeline(tmp_path, text), progress=False)
    assert [s.status for s in flow.stages] == ["SKIPPED", "FINISHED"]


def test_no_kernel_is_started_for_a_fresh_stage(ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = write(tmp_path / "a.ipynb", "n = 1", "n + 1")
    first = ws.pipelines.run_stage(notebook, progress=False)
    from nbmlops.notebook import engine

    monkeypatch.setattr(engine, "execute", None)
    again = ws.pipelines.run_stage(notebook, progress=False, output=tmp_path / "out.ipynb")
    assert (again.reused, again.run_id) == (True, first.run_id)
    assert (tmp_path / "out.ipynb").read_bytes() == ws.runs.artifact(first.run_id, "executed.ipynb")


def test_an_alias_that_moves_while_a_flow_runs(ws: Workspace, tmp_path: Path) -> None:
    """What is recorded is what was pinned: the next flow sees that the alias means another version now."""
    for x in (1, 2):
        ws.datasets.snapshot(pd.DataFrame({"x": [x]}), "raw")
    with ws.store.write() as db:
        db.execute(schema.dataset_aliases.insert(), {"name": "raw", "alias": "good", "version": 1})
    moves = """
        from nbmlops.store import open_store, schema
        with open_store().write() as db:
            db.execute(schema.dataset_aliases.update().values(version=2))
    """
    write(tmp_path / "slow.ipynb", "n = 1", moves)
    write(tmp_path / "use.ipynb", "n = 1", "import nbmlops\nprint(nbmlops.load_dataset('raw@good')['x'][0])")
    text = (
        "stages: {slow: {notebook: slow.ipynb}, use: {notebook: use.ipynb, needs: [slow], reads: ['dataset:raw@good']}}"
    )
    path = pipeline(tmp_path, text)
    first = ws.pipelines.run(path, progress=False)
    assert printed(ws, first.stages[1].run_id) == "1\n"
    again = ws.pipelines.run(path, progress=False)
    assert ran(again)["use"] == ("dataset:raw@good 1 -> 2",)
    assert printed(ws, again.stages[1].run_id) == "2\n"


def test_results_of_a_sweep_that_is_left_out(ws: Workspace, tmp_path: Path) -> None:
    write(
        tmp_path / "train.ipynb",
        "x: int = 1",
        "import nbmlops\nnbmlops.log_metric('loss', abs(x - 2))\nnbmlops.output('x', x)",
    )
    write(tmp_path / "use.ipynb", "x: int = 0", "print(x)")
    text = """
        name: left
        stages:
          train: {notebook: train.ipynb, matrix: {x: [1, 2, 3]}, select: {metric: loss, mode: min}}
          use: {notebook: use.ipynb, params: {x: "${stages.train.x}"}}
    """
    path = pipeline(tmp_path, text)
    ws.pipelines.run(path, progress=False)
    flow = ws.pipelines.run(path, options=Options(force=True), only="use", progress=False)
    assert printed(ws, flow.stages[0].run_id) == "2\n"


def test_resuming_twice_and_cells_left_out(ws: Workspace, tmp_path: Path) -> None:
    write(tmp_path / "clock.ipynb", "n = 1", "from datetime import date\ndate.today()", "plot = 1")
    nb = nbformat.read(tmp_path / "clock.ipynb", 4)
    nb.cells[2].metadata["tags"] = ["plots"]
    nbformat.write(nb, tmp_path / "clock.ipynb")
    write(tmp_path / "fails.ipynb", "n = 1", "1 / 0")
    text = "stages: {clock: {notebook: clock.ipynb, skip: [plots]}, fails: {notebook: fails.ipynb, needs: [clock]}}"
    path = pipeline(tmp_path, text)
    for attempt in range(3):
        with pytest.raises(StageFailed):
            ws.pipelines.resume(progress=False) if attempt else ws.pipelines.run(path, progress=False)
        edit(tmp_path / "clock.ipynb", 2, f"plot = {attempt + 2}")  # a cell that is left out counts for nothing
    assert [s.reused for flow in ws.pipelines.flows() for s in flow.stages if s.stage == "clock"] == [True, True, False]


def test_a_part_of_a_pipeline_is_resumed_as_that_part(ws: Workspace, chain: Path, tmp_path: Path) -> None:
    ws.pipelines.run(chain, progress=False)
    good = nbformat.read(tmp_path / "train.ipynb", 4).cells[1].source
    edit(tmp_path / "train.ipynb", 1, "raise ValueError('no')")
    with pytest.raises(StageFailed, match="pipeline resume"):
        ws.pipelines.run(chain, only="train", progress=False)
    edit(tmp_path / "train.ipynb", 1, good + "\nprint('mended')")
    flow = ws.pipelines.resume(progress=False)
    assert list(ran(flow)) == ["train"]
