"""Work in notebooks as nbmlops users do it. Run as ``python notebook_jobs.py JOB OPTIONS``, OPTIONS being JSON."""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import nbmlops_jobs, notebook_cells, stage_notebook
from benchmarks.meter import Meter, repeated

BLOCK = 10  # cells that run with the journal, before as many run without it
WARM_UP = 4  # blocks that are not counted
METRICS = {f"m{n}": n / 7 for n in range(10)}
_now = time.perf_counter


class Notebook:
    """A running IPython shell with the extension, a store, and a notebook on the disk; what cells print is dropped."""

    def __init__(self) -> None:
        from IPython.core.interactiveshell import InteractiveShell

        self.path = Path("prototype.ipynb").resolve()
        os.environ["NBMLOPS_NOTEBOOK"] = str(self.path)
        os.environ["JUPYTER_RUNTIME_DIR"] = str(Path("runtime").resolve())
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (until the process ends)
        self.shell = InteractiveShell.instance()
        self.shell.run_line_magic("load_ext", "nbmlops")
        from nbmlops import session
        from nbmlops.notebook import recorder

        self.ws = session.workspace()
        held = recorder.current()
        assert held is not None
        self.recorder = held

    def run(self, source: str, cell_id: str | None = None) -> None:
        done = self.shell.run_cell(source, store_history=True, cell_id=cell_id)
        done.raise_error()

    def write_and_run(self, sources: Sequence[str]) -> None:
        """Cells that are in the notebook's file when they run."""
        self.path.write_text(json.dumps(stage_notebook.document(sources)))
        for number, source in enumerate(sources):
            self.run(source, f"cell-{number}")

    def switch(self, on: bool) -> str:
        """Record from now on, or do not."""
        os.environ["NBMLOPS_JOURNAL"] = str(on)
        self.recorder.start() if on else self.recorder.stop()
        return "on" if on else "off"

    def on_and_off(self, cell: Callable[[int], str], cells: int) -> dict[str, list[tuple[float, float]]]:
        """Seconds and processor seconds of each cell, block by block with and without the journal, ``cells`` each."""
        took: dict[str, list[tuple[float, float]]] = {"on": [], "off": []}
        number = 0
        for block in range(2 * (WARM_UP + -(-cells // BLOCK))):
            way = self.switch(block % 2 == 0)
            for _ in range(BLOCK):
                number += 1
                source = cell(number)
                clock, began = time.process_time(), _now()
                self.run(source)
                if block >= 2 * WARM_UP:
                    took[way].append((_now() - began, time.process_time() - clock))
        self.switch(True)
        assert self.recorder.fault is None, self.recorder.fault
        return took


def overhead(case: str, cells: int) -> dict[str, float]:
    """Milliseconds that the journal adds to a cell, and that folding what it wrote takes for each."""
    notebook = Notebook()
    cell = notebook_cells.CASES[case]
    if case == "names":
        notebook.shell.user_ns.update({f"name_{n}": [n] for n in range(1000)})
    notebook.run("import nbmlops")
    if case == "run":
        notebook.run("run = nbmlops.start_run()")
    notebook.ws.cells.fold()
    before = notebook.recorder.number
    took = notebook.on_and_off(cell, cells)
    recorded = notebook.recorder.number - before
    assert recorded == cells + WARM_UP * BLOCK
    with Meter() as folding:
        notebook.ws.cells.fold()
    wall, cpu = (_difference(took, part) for part in (0, 1))
    fold = {key: spent / recorded * 1000 for key, spent in folding.costs("fold_").items()}
    return {**wall, "cpu": cpu["median"], **fold}


def _difference(took: dict[str, list[tuple[float, float]]], part: int) -> dict[str, float]:
    """Of seconds (0) or processor seconds (1), in milliseconds."""
    on, off = (sorted(costs[part] for costs in took[way]) for way in ("on", "off"))
    middle, late = len(on) // 2, len(on) * 99 // 100
    return {
        "median": (on[middle] - off[middle]) * 1000,
        "p99": (on[late] - off[late]) * 1000,
        "alone": off[middle] * 1000,
    }


def verdict(cells: int, repeats: int, quick: bool) -> dict[str, float]:
    """Judging that many cells: the first time in a process, other ones later, and the same ones with one more."""
    took: dict[str, list[float]] = {"other": [], "more": []}
    for variant in range(repeats + 1):
        ran, document = _executions(notebook_cells.analysis(cells + 1, quick, variant))
        for key, until in (("other", cells), ("more", cells + 1)):
            began = _now()
            from nbmlops.notebook import verdict as verdicts  # what it brings along counts the first time

            verdicts.check(ran[:until], document, notebook="prototype.ipynb")
            took[key].append((_now() - began) * 1000)
    cold, *warm = took["other"]
    return {"cold": cold, "warm": statistics.median(warm), "more": statistics.median(took["more"][1:])}


def _executions(sources: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    """As they are recorded when they run from top to bottom, and their notebook."""
    from nbmlops.records import CellExecution

    ran = [
        CellExecution(f"e{place}", "s", place, source, cell_id=f"cell-{place - 1}", count=place, status="ok")
        for place, source in enumerate(sources, 1)
    ]
    return ran, stage_notebook.document(sources)


def run_end(before: int, cells: int, quick: bool) -> dict[str, float]:
    """A run from one cell to the next, after that many others, with and without the journal: milliseconds of each."""
    notebook = Notebook()
    notebook.write_and_run(notebook_cells.analysis(before, quick))
    ending = f"nbmlops.log_metrics({METRICS!r})\nnbmlops.end_run()"
    took: dict[str, list[tuple[float, float]]] = {"on": [], "off": []}
    for number in range(2 * (cells + 1)):
        way = notebook.switch(number % 2 == 0)
        with Meter() as spent:
            notebook.run(f"run = nbmlops.start_run()  # {number}")
            notebook.run(f"{ending}  # {number}")
        if number > 1:
            took[way].append((spent.wall, spent.cpu))
    judged = [notebook.ws.runs.get(run.ref).verdict for run in notebook.ws.runs.search()]
    assert sum(said is not None for said in judged) > cells
    on, off = ([statistics.median(c[part] for c in took[way]) * 1000 for part in (0, 1)] for way in ("on", "off"))
    return {"on": on[0], "off": off[0], "on_cpu": on[1], "off_cpu": off[1]}


def reproduce(quick: bool, repeats: int) -> dict[str, float]:
    """A stage executed again in a clean kernel, once to load what is loaded late, then the medians of several."""
    os.environ["JUPYTER_RUNTIME_DIR"] = str(Path("runtime").resolve())
    from nbmlops.workspace import Workspace

    ws = Workspace(Path("store").resolve())
    notebook = stage_notebook.write(Path("stage.ipynb"), quick, logs=True)
    run = ws.pipelines.run_stage(notebook, {"seed": 1}, progress=False)
    found = [_reproduced(ws, run.run_id) for _ in range(repeats + 1)]
    assert len(stage_notebook.executions()) == repeats + 2
    first, *rest = found
    return {"first": first["wall"]} | {key: statistics.median(costs[key] for costs in rest) for key in rest[0]}


def _reproduced(ws: Any, run_id: str) -> dict[str, float]:
    """One clean run; ``own`` is what is not spent in its cells."""
    told: list[float] = []

    def hear(event: dict[str, Any]) -> None:
        if event["type"] == "cell":
            told.append(_now())

    with Meter() as spent:
        made = ws.reproduction.reproduce(run_id, progress=hear)
    assert made.status == "reproduced", made
    cells = told[-1] - told[0]
    kernel = stage_notebook.executions()[-1]
    return {"wall": spent.wall, "cells": cells, "own": spent.wall - cells, "cpu": spent.cpu + kernel}


def extract(cells: int, repeats: int, quick: bool) -> dict[str, float]:
    """A stage made of a run: the cells it needs found and written, and then proved in a clean kernel."""
    notebook = Notebook()
    notebook.write_and_run(notebook_cells.analysis(cells, quick))
    (run,) = notebook.ws.runs.search()
    from nbmlops.extraction import Wish

    extraction, number = notebook.ws.extraction, iter(range(1000))

    def make(prove: bool) -> None:
        made = extraction.extract(run.ref, out=f"made-{next(number)}.ipynb", wish=Wish(prove=prove))
        assert made.proof == ("proved" if prove else "not tried"), made
        assert made.dropped

    first = repeated(lambda: make(True), 1, "first_")
    return {**first, **repeated(lambda: make(True), repeats), **repeated(lambda: make(False), repeats, "cut_")}


def capsule(quick: bool, repeats: int) -> dict[str, float]:
    """A run as a file, taken over in another store, and once more; nothing where this nbmlops has no capsules."""
    if importlib.util.find_spec("nbmlops.capsules") is None:
        return {}
    from nbmlops.workspace import Workspace

    notebook = Notebook()
    notebook.write_and_run(notebook_cells.analysis(20, quick))
    (run,) = notebook.ws.runs.search()
    file = Path("run.zip").resolve()
    exported = repeated(lambda: notebook.ws.capsules.export(run.ref, file, force=True), repeats + 1, "export_")
    other = Workspace(Path("other").resolve())
    first = repeated(lambda: other.capsules.import_(file), 1, "import_")
    again = repeated(lambda: other.capsules.import_(file), repeats, "again_")
    return {**exported, **first, **again, "bytes": file.stat().st_size}


def merge(runs: int, repeats: int) -> dict[str, float]:
    """A store with that many runs taken over in an empty one, and once more."""
    nbmlops_jobs.build_runs(runs)
    from nbmlops.workspace import Workspace

    other = Workspace(Path("other").resolve())
    first = repeated(lambda: other.merge(Path("store").resolve()), 1, "first_")
    again = repeated(lambda: other.merge(Path("store").resolve()), repeats, "again_")
    assert len(other.runs.search(limit=runs + 1)) == runs
    return {**first, **again}


load_ext = nbmlops_jobs.load_ext
JOBS = {job.__name__: job for job in (load_ext, overhead, verdict, run_end, reproduce, extract, capsule, merge)}

if __name__ == "__main__":
    said = sys.stdout  # the notebooks' cells print elsewhere
    print(json.dumps(JOBS[sys.argv[1]](**json.loads(sys.argv[2]))), file=said)  # type: ignore[operator]
