"""Stages and sweeps as a user of nbmlops runs them. Run as ``python stage_jobs.py JOB OPTIONS``, OPTIONS being JSON."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import stage_notebook
from benchmarks.meter import Meter

WORKERS = 2
PIPELINE = """
name: measured
stages:
  sweep:
    notebook: stage.ipynb
    matrix: {seed: SEEDS}
"""


def _workspace() -> Any:
    """A workspace in this folder, whose kernels are forked by a process of its own, which ends with the folder."""
    os.environ["JUPYTER_RUNTIME_DIR"] = str(Path("runtime").resolve())
    from nbmlops.workspace import Workspace

    return Workspace(Path("store").resolve())


def stage(quick: bool, repeats: int) -> dict[str, float]:
    """One execution, the medians of several; a first one loads what is loaded late. Every one has a seed of its own."""
    notebook, ws = stage_notebook.write(Path("stage.ipynb"), quick), _workspace()
    found = []
    for seed in range(repeats + 1):
        began, clock = time.time(), time.process_time()
        done = ws.pipelines.run_stage(notebook, {"seed": seed}, progress=False)
        found.append(stage_notebook.split(ws.store.blobs.get(done.executed), began, clock))
    first, *rest = found
    assert len(stage_notebook.executions()) == repeats + 1
    return {"first": first["wall"]} | {key: statistics.median(costs[key] for costs in rest) for key in rest[0]}


def sweep(quick: bool, candidates: int) -> dict[str, float]:
    """A pipeline whose only stage is a sweep, two candidates at a time; a first small one loads what is loaded late."""
    ws = _workspace()
    stage_notebook.write(Path("stage.ipynb"), quick)
    first = _swept(ws, range(candidates, candidates + WORKERS))
    return {"first": first["wall"], **_swept(ws, range(candidates))}


def _swept(ws: Any, seeds: range) -> dict[str, float]:
    from nbmlops.pipelines.flow import Options

    file, before = Path("pipeline.yaml"), len(stage_notebook.executions())
    file.write_text(PIPELINE.replace("SEEDS", json.dumps(list(seeds))))
    with Meter() as spent:
        flow = ws.pipelines.run(file, options=Options(workers=WORKERS), progress=False)
    assert [s.status for s in flow.stages] == ["FINISHED"] * len(seeds)
    kernels = stage_notebook.executions()[before:]
    assert len(kernels) == len(seeds)
    return {"wall": spent.wall, "cpu": sum(kernels)}


def fresh(quick: bool, repeats: int) -> dict[str, float]:
    """A stage that has run, asked for again with nothing changed: its time, and what it started all the same."""
    kernels = _kernels_counted()
    notebook, ws = stage_notebook.write(Path("stage.ipynb"), quick), _workspace()
    ws.pipelines.run_stage(notebook, {"seed": 1}, progress=False)
    assert (next(kernels), len(stage_notebook.executions())) == (1, 1), "a kernel that is started is seen"
    took = []
    for _ in range(repeats):
        with Meter() as spent:
            ws.pipelines.run_stage(notebook, {"seed": 1}, progress=False)
        took.append(spent.costs())
    medians = {key: statistics.median(costs[key] for costs in took) for key in took[0]}
    return {**medians, "kernels": next(kernels) - 1, "executions": len(stage_notebook.executions()) - 1}


def _kernels_counted() -> Iterator[int]:
    """How many kernels have been started, whenever asked: for each, forked or not, a connection file is written."""
    from jupyter_client import connect

    write, written = connect.write_connection_file, []

    def counted(*arguments: Any, **more: Any) -> Any:
        written.append(arguments)
        return write(*arguments, **more)

    connect.write_connection_file = counted
    return iter(lambda: len(written), None)


JOBS = {job.__name__: job for job in (stage, sweep, fresh)}

if __name__ == "__main__":
    print(json.dumps(JOBS[sys.argv[1]](**json.loads(sys.argv[2]))))
