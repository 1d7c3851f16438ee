"""Whatever dies while a pipeline runs: every status is true, the flow is resumed, and nothing is made twice."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from nbmlops import kernels
from nbmlops.records import Flow
from nbmlops.store import open_store
from nbmlops.store.verify import verify
from nbmlops.workspace import Workspace
from tests.pipelines import stage_writer

KILLS = 17  # of each kind
OUTPUTS = {f"dataset:{name}" for name in stage_writer.NAMES}


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where this test's zygote has its socket; a short path, as sockets need."""
    with tempfile.TemporaryDirectory(prefix="rt") as folder:
        monkeypatch.setenv("JUPYTER_RUNTIME_DIR", folder)
        monkeypatch.setenv("PYTHONPATH", str(stage_writer.ROOT))
        yield Path(folder)
        kernels.stop_all(folder)


@pytest.fixture
def flows(runtime: Path) -> Iterator[stage_writer.Flows]:
    started = stage_writer.Flows()
    yield started
    started.close()


def kill_one(flows: stage_writer.Flows, flow: int, kind: str, runtime: Path, delay: float) -> bool:
    """Kill a process of this kind when the delay has passed, or as soon after it as there is one; whether there was."""
    ended = flows.ended(delay)
    while not ended:
        for victim in stage_writer.KINDS[kind](flow, runtime):
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                continue
            return True
        ended = flows.ended(0.002)
    return False


def check_statuses(ws: Workspace, flow: Flow, code: int) -> None:
    """Nothing runs any more, the flow ended as its process did, and a stage that FINISHED has all that says so."""
    assert [r.run_id for r in ws.runs.search(filter="status = 'RUNNING'")] == []
    expected = {0: {"FINISHED"}, 1: {"FAILED"}, -signal.SIGKILL: {"KILLED", "FINISHED"}}
    assert flow.status in expected[code], (flow.status, code, flow.error)
    for stage in flow.stages:
        assert stage.status in {"FINISHED", "FAILED", "DIED", "KILLED"}, stage.status
        if stage.status == "FINISHED":
            assert stage.executed is not None
            notebook = nbformat.reads(ws.store.blobs.get(stage.executed).decode(), as_version=4)
            assert all(c.execution_count for c in notebook.cells if c.cell_type == "code")
            assert stage.outputs
            for ref in stage.outputs:
                assert [f.level for f in ws.datasets.verify(ref)] == ["pass"]
    if flow.status == "FINISHED":
        assert [s.status for s in flow.stages] == ["FINISHED"] * 3
    elif flow.status == "FAILED":
        assert {s.status for s in flow.stages} & {"DIED", "FAILED"}


def check_resumed(ws: Workspace, flow: Flow, before: Flow, turn: int) -> None:
    """All three stages are done, those that had finished by their earlier results, and each thing was made once."""
    assert flow.status == "FINISHED", flow.error
    assert flow.outputs == dict.fromkeys(OUTPUTS, turn)
    stages: dict[str, Any] = {s.stage: s for s in flow.stages}
    assert {s.status for s in stages.values()} == {"FINISHED"}
    assert stages["total"].metrics["total"] == stage_writer.total(turn)
    for stage in before.stages:
        if stage.status == "FINISHED":
            assert stages[stage.stage].run_id == stage.run_id, f"{stage.stage} was executed again"
    for name in stage_writer.NAMES:
        assert [v.version for v in ws.datasets.versions(name)] == list(range(1, turn + 1))


@pytest.mark.slow
@pytest.mark.parametrize("kind", stage_writer.KINDS)
def test_killed_at_any_moment(tmp_path: Path, flows: stage_writer.Flows, runtime: Path, kind: str) -> None:
    seed = random.randrange(2**32)
    print(f"moments by random.Random({seed})")
    draw, store = random.Random(seed), tmp_path / "store"
    pipeline = stage_writer.write_project(tmp_path)
    ws = Workspace(open_store(store))
    flows.start(store, pipeline, 1)  # the zygote starts here, the next turn is as long as all others
    assert flows.code() == 0
    began = time.monotonic()
    flows.start(store, pipeline, 2)
    assert flows.code() == 0
    took, hits = time.monotonic() - began, 0
    for turn in range(3, KILLS + 3):
        part = draw.random()
        hits += kill_one(flows, flows.start(store, pipeline, turn), kind, runtime, part * took)
        code = flows.code()
        found = ws.pipelines.flows(1)
        before = found[0] if found[0].params["turn"] == turn else None
        if before is None:  # killed before it was recorded
            assert code == -signal.SIGKILL
        else:
            check_statuses(ws, before, code)
        if before is not None and before.status in {"FAILED", "KILLED"} and draw.random() < 0.5:
            again = ws.pipelines.resume(progress=False)
        else:
            again = ws.pipelines.run(pipeline, {"turn": turn}, progress=False)
        check_resumed(ws, again, before or again, turn)
        ws.verify_ledger()
    assert hits >= KILLS // 2, "most moments are before the flow's end"
    found = verify(ws.store)
    assert found.ok, found.findings
    assert {f.status for f in ws.pipelines.flows(1000)} <= {"FINISHED", "FAILED", "KILLED"}
    ws.store.close()
