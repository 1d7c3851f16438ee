"""The same flow on threads of one process and on a Dask cluster: the same records; and workers that are lost."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from nbmlops.errors import InvalidValue, StageFailed
from nbmlops.pipelines.flow import Options
from nbmlops.records import Flow
from nbmlops.store import open_store
from nbmlops.workspace import Workspace
from tests.pipelines import stage_writer
from tests.pipelines.notebooks import pipeline, write

HOME = str(Path(__file__).parents[2])

FEATURES = """
import pandas as pd, nbmlops
frame = pd.DataFrame({"x": [i % 7 for i in range(60)], "z": [i % 5 for i in range(60)]})
nbmlops.snapshot(frame.assign(y=(frame["x"] > 3).astype(int)), "features")
"""
TRAIN = """
import nbmlops
from sklearn.linear_model import LogisticRegression
frame = nbmlops.load_dataset("features")
model = LogisticRegression(C=c / 100).fit(frame[["x", "z"]], frame["y"])
nbmlops.log_metric("score", 100 - (c - 13) ** 2)
nbmlops.register_model(model, "delay", training_data=frame[["x", "z"]])
nbmlops.output("c", c)
"""
REPORT = """
import nbmlops
frame = nbmlops.load_dataset("features")
nbmlops.snapshot(frame.assign(p=nbmlops.load_model("delay").predict(frame[["x", "z"]]), c=best), "scored")
"""
FILE = f"""
    name: wide
    stages:
      features: {{notebook: features.ipynb}}
      train:
        notebook: train.ipynb
        matrix: {{c: {list(range(1, 21))}}}
        select: {{metric: score, mode: max}}
        writes: [model:delay]
      report: {{notebook: report.ipynb, params: {{best: "${{stages.train.c}}"}}}}
"""


@pytest.fixture(autouse=True)
def _kernels_find_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", HOME)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two workers, each a process of its own, as on two machines."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, resources={"gpu": 1}
    ) as cluster:
        yield cluster


def described(ws: Workspace, flow: Flow) -> dict[str, Any]:
    """A flow's records without what must differ: ids, times and places."""
    version = ws.models.get("model:delay")
    return {
        "status": flow.status,
        "outputs": flow.outputs,
        "stages": sorted(
            (
                s.stage,
                s.label,
                s.status,
                s.attempt,
                s.cells_done,
                str(s.params),
                str(s.metrics),
                str(s.results),
                str(s.pins),
            )
            for s in flow.stages
        ),
        "data": {name: ws.datasets.get(name).digest for name in ("features", "scored")},
        "model": (version.version, version.datasets, version.metrics, version.signature),
        "runs": sorted((run.name, run.kind, run.status) for run in ws.runs.search()),
    }


@pytest.mark.slow
def test_the_same_records_on_both(tmp_path: Path, cluster: Any) -> None:
    for name, source in {"features": FEATURES, "train": TRAIN, "report": REPORT}.items():
        first = {"features": "pass", "train": "c: int = 1", "report": "best: int = 0"}[name]
        write(tmp_path / f"{name}.ipynb", first, source)
    path = pipeline(tmp_path, FILE)
    found = {}
    for name, options in {
        "local": Options(workers=2),
        "dask": Options(executor=cluster.scheduler_address),
    }.items():
        with contextlib.closing(open_store(tmp_path / name)) as store:
            ws = Workspace(store)
            events: list[dict[str, Any]] = []
            flow = ws.pipelines.run(path, options=options, progress=events.append)
            found[name] = described(ws, flow)
            assert {bool(s.worker) for s in flow.stages} == {name == "dask"}
            assert sum(e["type"] == "stage" and e["status"] == "FINISHED" for e in events) == 22
            assert all(s.state == "fresh" for s in ws.pipelines.plan(path).stages)
            again = ws.pipelines.run(path, progress=False)  # and neither needs to be run again by the other
            assert (all(s.reused for s in again.stages), again.outputs) == (True, flow.outputs)
    assert found["dask"] == found["local"]
    assert found["local"]["outputs"] == {"dataset:features": 1, "model:delay": 1, "dataset:scored": 1}


@pytest.mark.slow
def test_a_lost_worker(ws: Workspace, tmp_path: Path, cluster: Any) -> None:
    """The stage that ran on it is executed by another one; the run it left behind is recorded as what it is."""
    source = """
        import os, pathlib, time, nbmlops
        nbmlops.output("pid", os.getpid())
        pathlib.Path(f"at-{os.getpid()}").write_text("")
        while not pathlib.Path("go").exists():
            time.sleep(0.05)
    """
    write(tmp_path / "a.ipynb", "n = 1", source)
    path = pipeline(tmp_path, "stages: {a: {notebook: a.ipynb, resources: {gpu: 1}}}")
    ready, lost = threading.Event(), []

    def on_event(event: dict[str, Any]) -> None:
        if event["type"] == "cell" and event["index"] == 1 and event["status"] == "running":
            ready.set()

    def kill() -> None:
        ready.wait(60)
        deadline = 200
        while not list(tmp_path.glob("at-*")) and (deadline := deadline - 1):
            threading.Event().wait(0.05)
        (stage,) = [s for s in ws.pipelines.stages() if s.status == "RUNNING"]
        pid = next(w["pid"] for w in pids() if w["address"] == stage.worker)
        lost.append(stage)
        (tmp_path / "go").write_text("")
        os.kill(pid, signal.SIGKILL)

    def pids() -> list[dict[str, Any]]:
        from distributed import Client

        with Client(cluster.scheduler_address) as client:
            return [{"address": a, "pid": pid} for a, pid in client.run(os.getpid).items()]

    killer = threading.Thread(target=kill)
    killer.start()
    flow = ws.pipelines.run(path, options=Options(executor=cluster.scheduler_address), progress=on_event)
    killer.join()
    assert flow.status == "FINISHED"
    assert [(s.status, s.attempt) for s in flow.stages] == [("KILLED", 1), ("FINISHED", 2)]
    assert flow.stages[0].error is not None
    assert flow.stages[0].error["name"] == "WorkerLost"
    assert flow.stages[0].run_id == lost[0].run_id
    assert ws.runs.get(lost[0].run_id).status == "KILLED"
    for place in tmp_path.glob("at-*"):
        assert not psutil.pid_exists(int(place.name[3:])), "a kernel outlived its worker"


def test_what_no_place_offers(ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.ipynb", "n = 1", "print(n)")
    path = pipeline(tmp_path, "stages: {a: {notebook: a.ipynb, resources: {gpu: 2}}}")
    with pytest.raises(StageFailed, match=r"stage a: it needs gpu=2, and this machine offers 0 \(setting resources\)"):
        ws.pipelines.run(path, progress=False)
    monkeypatch.setenv("NBMLOPS_RESOURCES", "gpu=2")
    assert ws.pipelines.run(path, progress=False).status == "FINISHED"
    monkeypatch.setenv("NBMLOPS_RESOURCES", "gpu")
    with pytest.raises(InvalidValue, match="gpu"):
        ws.pipelines.run(path, options=Options(force=True), progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [(Options(executor="slurm"), "no executor 'slurm'"), (Options(workers=0), "workers must be")],
)
def test_wrong_executors(options: Options, message: str, ws: Workspace, tmp_path: Path) -> None:
    write(tmp_path / "a.ipynb", "n = 1")
    with pytest.raises(InvalidValue, match=message):
        ws.pipelines.run(pipeline(tmp_path, "stages: {a: {notebook: a.ipynb}}"), options=options)
    assert ws.pipelines.flows() == []


@pytest.mark.slow
def test_workers_killed_at_any_moment(ws: Workspace, tmp_path: Path, cluster: Any) -> None:
    """Every flow ends well all the same, each thing is made once, and what was lost is recorded as that."""
    seed = random.randrange(2**32)
    print(f"moments by random.Random({seed})")
    draw, path, took, lost = random.Random(seed), stage_writer.write_project(tmp_path), 2.0, 0

    def kill() -> None:
        """The worker that has a stage now, else any."""
        busy = {s.worker for s in ws.pipelines.stages() if s.status == "RUNNING"}
        nannies = [n for n in cluster.workers.values() if n.pid]
        os.kill(draw.choice([n for n in nannies if n.worker_address in busy] or nannies).pid, signal.SIGKILL)

    for turn in range(1, 8):
        killer = threading.Timer(draw.random() * took, kill)
        began = time.monotonic()
        if turn > 2:  # the first one also starts the zygote, the second tells how long the others take
            killer.start()
        options = Options(executor=cluster.scheduler_address)
        flow = ws.pipelines.run(path, {"turn": turn}, options, progress=False)
        killer.cancel()
        took = time.monotonic() - began if turn == 2 else took
        assert flow.status == "FINISHED"
        assert {s.status for s in flow.stages} <= {"FINISHED", "KILLED"}
        assert sorted(s.stage for s in flow.stages if s.status == "FINISHED") == sorted(stage_writer.STAGES)
        assert flow.outputs == {f"dataset:{name}": turn for name in stage_writer.NAMES}
        lost += sum(s.status == "KILLED" for s in flow.stages)
        assert all(s.error and s.error["name"] == "WorkerLost" for s in flow.stages if s.status == "KILLED")
    assert [r.run_id for r in ws.runs.search(filter="status = 'RUNNING'")] == []
    for name in stage_writer.NAMES:
        assert [v.version for v in ws.datasets.versions(name)] == list(range(1, 8))
    assert lost, "no kill hit a stage"
