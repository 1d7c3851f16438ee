"""Whole flows with real kernels: pins, sweeps, retries, failures and what the store says afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from nbmlops.errors import Blocked, InvalidValue, NotFound, StageFailed
from nbmlops.pipelines import stage as stages
from nbmlops.pipelines.flow import Options
from nbmlops.pipelines.limits import Limits
from nbmlops.pipelines.progress import line
from nbmlops.policy import Policies
from nbmlops.records import Finding, Flow
from nbmlops.runs.live import LiveRun
from nbmlops.workspace import Workspace
from tests.pipelines.notebooks import executed, pipeline, printed, write

HOME = str(Path(__file__).parents[2])

# Writes in the place of the data set and model desks, so that these tests are about pipelines alone.
DESK = """
import json, os
from nbmlops.context import from_environment
from nbmlops.store import open_store, schema
context, store = from_environment(), open_store()
def write_dataset(name, version):
    with store.write() as db:
        row = {"run_id": context.run_id, "name": name, "version": version, "mode": "write", "at": 0.0}
        db.execute(schema.dataset_uses.insert(), row)
"""


@pytest.fixture(autouse=True)
def _kernels_find_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", HOME)
    monkeypatch.setattr(stages, "BACKOFF", 0.01)


def test_one_stage_alone(ws: Workspace, tmp_path: Path) -> None:
    notebook = write(
        tmp_path / "train.ipynb", "depth: int = 3\nrate = 0.5", "import nbmlops\nnbmlops.log_metric('auc', depth / 10)"
    )
    events: list[dict[str, Any]] = []
    out = tmp_path / "out.ipynb"
    done = ws.pipelines.run_stage(notebook, {"depth": "6"}, output=out, progress=events.append)
    run = ws.runs.get(done.ref)
    assert (done.status, done.params, done.metrics) == ("FINISHED", {"depth": 6, "rate": 0.5}, {"auc": 0.6})
    assert (run.status, run.kind, run.params, run.user) == (
        "FINISHED",
        "stage",
        {"depth": "6", "rate": "0.5"},
        "tester",
    )
    assert run.source["path"] == str(notebook)
    assert run.tags["nbmlops.stage"] == "train"
    assert (
        ws.runs.artifact(done.run_id, "executed.ipynb") == out.read_bytes() == ws.store.blobs.get(done.executed or "")
    )
    assert (done.cells_done, done.cells) == (3, 3)
    assert [e["status"] for e in events if e["type"] == "stage"] == ["RUNNING", "FINISHED"]
    assert ws.pipelines.stages()[0] == done


def test_a_stage_ends_in_the_moment_its_run_does(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed between the two would leave a stage that is shown running for ever."""
    ended, end = [], LiveRun.end

    def watched(live: LiveRun, *args: Any) -> None:
        end(live, *args)
        (stage,) = ws.pipelines.stages(1)
        ended.append((ws.runs.get(live.run_id).status, stage.status, bool(stage.ended_at)))

    monkeypatch.setattr(LiveRun, "end", watched)
    write(tmp_path / "good.ipynb", "n = 1", "n += 1")
    write(tmp_path / "bad.ipynb", "n = 1", "n / 0")
    ws.pipelines.run_stage(tmp_path / "good.ipynb", {}, progress=False)
    with pytest.raises(StageFailed):
        ws.pipelines.run_stage(tmp_path / "bad.ipynb", {}, progress=False)
    assert ended == [("FINISHED", "FINISHED", True), ("FAILED", "FAILED", True)]


def test_faults_stop_a_stage_before_any_run(ws: Workspace, tmp_path: Path) -> None:
    notebook = write(tmp_path / "a.ipynb", "n: int = 1")
    with pytest.raises(InvalidValue) as caught:
        ws.pipelines.run_stage(notebook, {"n": "abc", "m": 1}, progress=False)
    assert len(caught.value.faults) == 2
    assert ws.runs.search() == []
    with pytest.raises(NotFound):
        ws.pipelines.run_stage(tmp_path / "none.ipynb")


def test_a_failed_stage_is_kept_with_its_cell_and_error(ws: Workspace, tmp_path: Path) -> None:
    notebook = write(
        tmp_path / "a.ipynb",
        "n = 1",
        "from nbmlops.errors import InvalidValue\nraise InvalidValue('bad', 'do it')",
        "2",
    )
    with pytest.raises(StageFailed, match="stage a: cell 2: InvalidValue: bad") as caught:
        ws.pipelines.run_stage(notebook, output=tmp_path / "out.ipynb", progress=False)
    run = ws.runs.get(caught.value.run_id or "")
    assert f"nbmlops run show run:{run.run_id}" in caught.value.hint
    assert (run.status, run.error and run.error["name"]) == ("FAILED", "InvalidValue")
    assert run.error is not None
    assert "-> do it" in run.error["traceback"]
    assert [c.metadata.papermill.status for c in executed(ws, run.run_id).cells] == ["completed", "failed", "pending"]
    assert (tmp_path / "out.ipynb").exists()


@pytest.mark.parametrize(
    ("cell", "options", "status", "run_status"),
    [
        ("import os\nos.kill(os.getpid(), 9)", {}, "DIED", "KILLED"),
        ("import time\ntime.sleep(60)", {"limits": Limits(timeout=8)}, "TIMEOUT", "FAILED"),
    ],
)
def test_a_dead_or_endless_stage(
    cell: str, options: Any, status: str, run_status: str, ws: Workspace, tmp_path: Path
) -> None:
    notebook = write(tmp_path / "a.ipynb", "n = 1", cell)
    with pytest.raises(StageFailed) as caught:
        ws.pipelines.run_stage(notebook, progress=False, **options)
    (stage,) = ws.pipelines.stages()
    assert (stage.status, stage.run_id, stage.cells_done) == (status, caught.value.run_id, 1)
    assert ws.runs.get(stage.ref).status == run_status
    assert executed(ws, stage.run_id).cells[1].metadata.papermill.status == "failed"


def test_a_flow_in_order_with_pins(ws: Workspace, tmp_path: Path) -> None:
    import pandas as pd

    ws.datasets.snapshot(pd.DataFrame({"a": [1]}), "raw")
    ws.datasets.snapshot(pd.DataFrame({"a": [1, 2]}), "raw")
    (tmp_path / "sub").mkdir()
    write(
        tmp_path / "sub/features.ipynb",
        "month: int = 1",
        DESK,
        "write_dataset('feat', 7)\nprint(month, context.pins, os.getcwd())",
    )
    write(
        tmp_path / "train.ipynb",
        "pass",
        DESK,
        "print(json.dumps(context.pins), context.stage, context.flow_id, context.user)",
    )
    path = pipeline(
        tmp_path,
        """
        name: demo
        params: {month: 3}
        stages:
          train: {notebook: train.ipynb, reads: [dataset:feat, "dataset:raw@1"]}
          features:
            notebook: sub/features.ipynb
            params: {month: "${params.month}"}
            reads: [dataset:raw]
            writes: [dataset:feat]
        """,
    )
    events: list[dict[str, Any]] = []
    options = Options(trigger={"type": "alert", "ref": "x"})
    flow = ws.pipelines.run(path, {"month": "5"}, options, progress=events.append)
    assert (flow.status, flow.outputs, flow.params, flow.user) == (
        "FINISHED",
        {"dataset:feat": 7},
        {"month": 5},
        "tester",
    )
    assert [s.stage for s in flow.stages] == ["features", "train"]
    assert [s.pins for s in flow.stages] == [
        {"dataset:raw": 2},
        {"dataset:raw": 1, "dataset:raw@1": 1, "dataset:feat": 7},
    ]
    assert flow.stages[0].outputs == ("dataset:feat@7",)
    assert f"5 {{'dataset:raw': 2}} {tmp_path}/sub" in printed(ws, flow.stages[0].run_id)
    assert f"train {flow.flow_id} tester" in printed(ws, flow.stages[1].run_id)
    assert flow.trigger == {"type": "alert", "ref": "x"}
    assert {e["type"] for e in events} == {"flow", "stage", "cell", "output"}
    assert ws.pipelines.get("demo") == ws.pipelines.get(flow.ref) == ws.pipelines.flows()[0] == flow
    assert ws.runs.get(flow.stages[0].ref).experiment == "demo"
    json.dumps(flow.to_dict())


def test_what_is_missing_from_the_store_is_told_before_any_run(ws: Workspace, tmp_path: Path) -> None:
    write(tmp_path / "a.ipynb", "n = 1")
    path = pipeline(tmp_path, "stages: {a: {notebook: a.ipynb, reads: [dataset:x, model:y@production]}}")
    with pytest.raises(InvalidValue) as caught:
        ws.pipelines.run(path, progress=False)
    assert len(caught.value.faults) == 2
    assert ws.pipelines.flows() == []


def test_a_failing_stage_ends_the_flow(ws: Workspace, tmp_path: Path) -> None:
    write(tmp_path / "a.ipynb", "n = 1", "1 / 0")
    write(tmp_path / "b.ipynb", "n = 1")
    path = pipeline(tmp_path, "stages:\n  b: {notebook: b.ipynb, needs: [a]}\n  a: {notebook: a.ipynb, retries: 2}\n")
    with pytest.raises(StageFailed, match="stage a: cell 2: ZeroDivisionError: division by zero"):
        ws.pipelines.run(path, progress=False)
    (flow,) = ws.pipelines.flows()
    assert (flow.status, flow.error and flow.error["stage"]) == ("FAILED", "a")
    assert [(s.stage, s.status, s.attempt) for s in flow.stages] == [
        ("a", "FAILED", 1),
        ("a", "FAILED", 2),
        ("a", "FAILED", 3),
    ]


def test_a_retry_can_succeed(ws: Workspace, tmp_path: Path) -> None:
    write(
        tmp_path / "a.ipynb",
        "n = 1",
        "import pathlib\np = pathlib.Path('seen')\nif not p.exists():\n    p.touch()\n    1 / 0",
    )
    flow = ws.pipelines.run(pipeline(tmp_path, "stages: {a: {notebook: a.ipynb, retries: 3}}"), progress=False)
    assert flow.status == "FINISHED"
    assert [(s.status, s.attempt) for s in flow.stages] == [("FAILED", 1), ("FINISHED", 2)]


def test_a_declared_output_that_was_not_made_fails_the_stage(ws: Workspace, tmp_path: Path) -> None:
    write(tmp_path / "a.ipynb", "n = 1", DESK, "write_dataset('other', 1)")
    path = pipeline(tmp_path, "stages: {a: {notebook: a.ipynb, writes: [dataset:x], retries: 2}}")
    with pytest.raises(StageFailed, match="declares writes: dataset:x, and wrote dataset:other@1"):
        ws.pipelines.run(path, progress=False)
    (stage,) = ws.pipelines.flows()[0].stages
    assert stage.status == "FAILED"
    assert ws.runs.get(stage.ref).status == "FAILED"


SWEEP = """
    name: sweep
    stages:
      train:
        notebook: train.ipynb
        matrix: {depth: [1, 2, 3, 4]}
        select: {metric: auc, mode: max}
"""


def test_a_sweep_takes_the_best_and_names_those_without_a_number(ws: Workspace, tmp_path: Path) -> None:
    score = "import nbmlops, math\nif depth > 1: nbmlops.log_metric('auc', {2: math.nan, 3: 0.9, 4: 0.7}[depth])"
    write(
        tmp_path / "train.ipynb",
        "depth: int = 0",
        DESK,
        f"{score}\nprint('candidate', context.candidate)\nwrite_dataset('x', depth)",
    )
    events: list[dict[str, Any]] = []
    flow = ws.pipelines.run(pipeline(tmp_path, SWEEP), options=Options(workers=2), progress=events.append)
    (chosen,) = [e for e in events if e["type"] == "select"]
    assert chosen["label"] == "train[depth=3]"
    assert chosen["unscored"] == ["train[depth=1] (auc=missing)", "train[depth=2] (auc=nan)"]
    assert sorted(s.params["depth"] for s in flow.stages) == [1, 2, 3, 4]
    assert flow.outputs == {"dataset:x": 3}
    runs = {run.run_id: run for run in ws.runs.search()}
    (parent,) = [run for run in runs.values() if run.kind == "sweep"]
    assert (parent.status, parent.metrics, parent.tags["nbmlops.selected"]) == (
        "FINISHED",
        {"auc": 0.9},
        chosen["run_id"],
    )
    assert all(runs[s.run_id].parent_id == parent.run_id for s in flow.stages)
    assert "candidate True" in printed(ws, chosen["run_id"])
    assert "chosen train[depth=3] with auc=0.9; left out: train[depth=1]" in line(chosen)


def test_a_sweep_in_which_nothing_was_measured_fails(ws: Workspace, tmp_path: Path) -> None:
    write(tmp_path / "train.ipynb", "depth: int = 0", "import nbmlops\nnbmlops.log_metric('acu', 1)")
    with pytest.raises(StageFailed, match="no candidate logged a number as 'auc'") as caught:
        ws.pipelines.run(pipeline(tmp_path, SWEEP.replace("1, 2, 3, 4", "1, 2")), progress=False)
    assert caught.value.hint == "they logged acu"
    assert ws.pipelines.flows()[0].status == "FAILED"
    assert [r.status for r in ws.runs.search() if r.kind == "sweep"] == ["FAILED"]


class Register:
    """Stands in for the models desk: remembers what a flow registers."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def register(self, ref: str, name: str) -> Any:
        self.calls.append((ref, name))
        return type("Version", (), {"version": 5})

    def get(self, ref: str) -> Any:
        return type("Version", (), {"version": 5, "aliases": ()})


class Gate:
    """Stands in for the promotion desk: refuses."""

    def policies(self) -> Policies:
        return Policies()

    def fact_names(self) -> tuple[str, ...]:
        return ("metrics",)

    def promote(self, ref: str, to: str, reason: str, rules: Any = ()) -> Any:
        self.asked = (ref, to, reason, tuple(rules))
        raise Blocked("no", "train more", [Finding("rule", "block", "auc >= 2", "auc = 1")])


def promoting(ws: Workspace, folder: Path) -> tuple[Flow, Register, Gate]:
    from nbmlops.pipelines import Pipelines

    logged = """with store.write() as db:
    row = {"run_id": context.run_id, "name": "m", "flavor": "x", "package": "x"}
    db.execute(schema.logged_models.insert(), {**row, "signature": {}, "bytes": 0, "created_at": 0.0})"""
    write(folder / "train.ipynb", "depth: int = 0", DESK, f"import nbmlops\nnbmlops.log_metric('auc', depth)\n{logged}")
    text = (
        SWEEP.replace("1, 2, 3, 4", "1, 2")
        + "        writes: [model:m]\n    promote: {model: m, to: staging, rules: [metrics.auc >= 2]}\n"
    )
    register, gate = Register(), Gate()
    desk = Pipelines(ws.store, ws.context, ws.runs, ws.datasets, register, gate)  # type: ignore[arg-type]
    return desk.run(pipeline(folder, text), progress=False), register, gate


def test_a_blocked_promotion_is_an_answer_not_an_error(ws: Workspace, tmp_path: Path) -> None:
    flow, register, gate = promoting(ws, tmp_path)
    winner = next(s for s in flow.stages if s.params["depth"] == 2)
    assert register.calls == [(f"run:{winner.run_id}", "m")]
    assert gate.asked == ("model:m@5", "staging", f"pipeline sweep flow {flow.flow_id}", ("metrics.auc >= 2",))
    assert (flow.status, flow.outputs, flow.promotion) == ("BLOCKED", {"model:m": 5}, None)
    assert flow.decision is not None
    assert (flow.decision["status"], flow.decision["findings"][0]["asked"]) == ("blocked", "auc >= 2")


def test_two_flows_at_once_do_not_disturb_each_other(ws: Workspace, tmp_path: Path) -> None:
    write(tmp_path / "a.ipynb", "n: int = 1", "import nbmlops\nnbmlops.log_metric('n', n)")
    path = pipeline(tmp_path, "params: {n: 1}\nstages: {a: {notebook: a.ipynb, params: {n: '${params.n}'}}}")
    flows: list[Flow] = []
    threads = [
        threading.Thread(target=lambda n=n: flows.append(ws.pipelines.run(path, {"n": n}, progress=False)))
        for n in (2, 3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((f.params["n"], f.stages[0].metrics["n"]) for f in flows) == [(2, 2.0), (3, 3.0)]


SCRIPT = """
import sys
from nbmlops.workspace import Workspace
Workspace(sys.argv[1]).pipelines.run(sys.argv[2], progress=lambda e: print(e["type"], e.get("done"), flush=True))
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_flow_that_is_stopped_or_killed_is_shown_so(sent: signal.Signals, ws: Workspace, tmp_path: Path) -> None:
    write(
        tmp_path / "a.ipynb",
        "n = 1",
        "import os\nprint('kept', flush=True)\nopen('pid', 'w').write(str(os.getpid()))",
        "import time\ntime.sleep(60)",
    )
    path = pipeline(tmp_path, "stages: {a: {notebook: a.ipynb}, b: {notebook: a.ipynb, needs: [a]}}")
    command = [sys.executable, "-c", SCRIPT, str(ws.store.folder), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None
        while "cell 2" not in (text := process.stdout.readline()):
            assert text, process.stderr and process.stderr.read()
        os.kill(process.pid, sent)
        process.wait(20)
    from nbmlops.context import hostname
    from nbmlops.pipelines import rows

    desk = ws.pipelines
    context = type(ws.context())(user="x", host=hostname())
    desk.context = desk.runs.context = lambda: context
    (flow,) = desk.flows()
    assert flow.status == "KILLED"
    assert [s.status for s in flow.stages] == ["KILLED"]
    assert ws.runs.get(flow.stages[0].ref).status == "KILLED"
    if sent == signal.SIGINT:
        assert "kept" in printed(ws, flow.stages[0].run_id)
    deadline = time.monotonic() + 10  # ipykernel looks for its parent once a second
    while Path("/proc", (tmp_path / "pid").read_text()).exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path("/proc", (tmp_path / "pid").read_text()).exists()
    assert rows.find_flow(ws.store, flow.flow_id[-6:])["id"] == flow.flow_id
