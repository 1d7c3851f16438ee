"""Stages and sweeps as a user of papermill runs them. Run as ``python papermill_jobs.py JOB OPTIONS``, OPTIONS JSON."""

from __future__ import annotations

import json
import statistics
import sys
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

from benchmarks import stage_notebook
from benchmarks.meter import Meter

WORKERS = 2


def _execute(notebook: str, seed: int) -> str:
    import papermill

    output = f"executed-{seed}.ipynb"
    papermill.execute_notebook(notebook, output, {"seed": seed}, progress_bar=False)
    return output


def stage(quick: bool, repeats: int) -> dict[str, float]:
    """One execution, the medians of several; a first one loads what is loaded late."""
    notebook = stage_notebook.write(Path("stage.ipynb"), quick)
    found = []
    for seed in range(repeats + 1):
        began, clock = time.time(), time.process_time()
        output = _execute(notebook, seed)
        found.append(stage_notebook.split(Path(output).read_bytes(), began, clock))
    first, *rest = found
    return {"first": first["wall"]} | {key: statistics.median(costs[key] for costs in rest) for key in rest[0]}


def reproduce(quick: bool, repeats: int) -> dict[str, float]:
    """It has no such thing: the same notebook is executed again."""
    return stage(quick, repeats)


def sweep(quick: bool, candidates: int, way: str) -> dict[str, float]:
    """Many executions: in a ``row``, or two at a time in ``threads`` or in ``processes`` that are ready."""
    notebook = stage_notebook.write(Path("stage.ipynb"), quick)
    _execute(notebook, candidates)
    seeds = range(candidates)
    if way == "row":
        with Meter() as spent:
            for seed in seeds:
                _execute(notebook, seed)
        return _swept(spent, candidates)
    kind: type[Executor] = ThreadPoolExecutor if way == "threads" else ProcessPoolExecutor
    with kind(WORKERS) as pool:
        list(pool.map(_execute, [notebook] * WORKERS, range(candidates + 1, candidates + 1 + WORKERS)))
        with Meter() as spent:
            list(pool.map(_execute, [notebook] * candidates, seeds))
    return _swept(spent, candidates)


def _swept(spent: Meter, candidates: int) -> dict[str, float]:
    return {"wall": spent.wall, "cpu": sum(stage_notebook.executions()[-candidates:])}


JOBS = {job.__name__: job for job in (stage, reproduce, sweep)}

if __name__ == "__main__":
    print(json.dumps(JOBS[sys.argv[1]](**json.loads(sys.argv[2]))))
