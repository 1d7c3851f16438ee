from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
PROJECT = Path(__file__).parent.parent
NO_PEER = ("--peer-python", "no-such-interpreter")
ROWS = (
    "%load_ext nbmlops",
    "heavy libraries it brings",
    "first start_run, new store",
    "first start_run, store exists",
    "log_metric, one call: median",
    "log_metric, one call: p99",
    "readable by others within",
    "points lost by a SIGKILL",
    "10,000 points until durable",
    "bytes per stored point",
    "create a run, 20 params, 10 metrics, finish",
    "runs as a DataFrame, sorted",
    "runs: a sorted, filtered page",
    "runs: the whole table, cold",
    "runs: the whole table, warm",
    "points, drawn at 2,000",
    "autolog adds, a run for each fit",
    "autolog adds, in a run that is open",
)


DATASET_ROWS = (
    "first snapshot of 50,000 x 10",
    "nbmlops, arrow",
    "nbmlops, pandas",
    "again, unchanged",
    "1 % appended",
    "0.1 % of the rows changed at random",
    "a block of 1 % changed",
    "1,000 rows inserted",
    "a column of noise added",
    "load it all, as arrow",
    "load it all, as pandas",
    "load one column, as arrow",
    "load one column, as pandas",
    "plain Parquet",
    "a folder of 200 files",
    "profile of the first version",
    "profile after 1 % was appended",
    "diff of two that differ in one chunk",
)


STAGE_ROWS = (
    "a stage without a library",
    "before its first cell: the kernel starts",
    "its cells",
    "after its last cell: all is kept",
    "memory that its kernel alone has, at its end",
    "a sweep of 2 of them, two at a time",
    "processor time, of the kernel too",
    "beside papermill in a row",
    "beside papermill two at a time, threads",
    "beside papermill two at a time, processes",
    "a stage that is fresh",
    "kernels it started",
    "times that its cells ran",
)

NOTEBOOK_ROWS = (
    "the journal adds to a small cell",
    "the journal adds to a cell of 40 lines",
    "the journal adds to a small cell among 1,000 names",
    "the journal adds to a cell that prints 1,000 lines",
    "the journal adds to a cell that logs 10 metrics to its run",
    "to 99 of 100, at most",
    "folding a small cell into the store",
    "folding a cell of 40 lines into the store",
    "%load_ext nbmlops",
    "a verdict on 10 cells, the first in a process",
    "on others, later",
    "a run from one cell to the next, after 10",
    "without the journal and its verdict",
    "a stage without a library, reproduced",
    "around them",
    "a stage extracted from 8 cells, proved",
    "without the proof",
    "a store of 50 runs merged into an empty one",
    "once more",
)
REGISTRY_ROWS = (
    "register a 10-tree forest",
    "with 2,000 test rows and their scores",
    "load it and answer one row",
    "promote through the gates",
    "approve",
    "roll back",
    "append one event to the ledger",
    "verify 200 events and the state",
    "what followed from a data set of 50 runs",
)
CAPSULE_ROWS = ("a run exported as a capsule", "imported elsewhere")


def quick(benchmark, *more):
    command = [sys.executable, "-m", benchmark, "--quick", *more]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_datasets_prints_every_row():
    said = quick("benchmarks.datasets", *NO_PEER)
    head, *table = said.split("\n\n")[0].splitlines()
    assert head.split() == ["wall", "CPU", "added", "time", "bytes", "budget", "met"]
    assert [row for row in DATASET_ROWS if not any(row in line for line in table)] == []
    for peer in ("Lance", "Delta", "DVC"):
        assert f"skipped: {peer}" in said


def test_tracking_prints_every_row():
    said = quick("benchmarks.tracking", *NO_PEER)
    head, *table = said.split("\n\n")[0].splitlines()
    assert head.split() == ["nbmlops", "ratio", "budget", "met"]
    assert [row for row in ROWS if not any(row in line for line in table)] == []
    assert "skipped: MLflow" in said


def test_stages_prints_every_row_beside_papermill(tmp_path):
    said = quick("benchmarks.stages", "--json", str(tmp_path / "numbers.json"))
    head, *table = said.split("\n\n")[0].splitlines()
    assert head.split()[:2] == ["nbmlops", "papermill"]
    assert head.split()[3:] == ["ratio", "budget", "met"]
    assert [row for row in STAGE_ROWS if not any(row in line for line in table)] == []
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert all(line.startswith(row["job"]) for row, line in zip(numbers["rows"], table, strict=True))


def test_notebook_prints_every_row():
    said = quick("benchmarks.notebook", *NO_PEER)
    head, *table = said.split("\n\n")[0].splitlines()
    assert head.split() == ["nbmlops", "ratio", "budget", "met"]
    rows = NOTEBOOK_ROWS + (CAPSULE_ROWS if importlib.util.find_spec("nbmlops.capsules") else ())
    assert [row for row in rows if not any(row in line for line in table)] == []
    assert "skipped: papermill" in said


def test_registry_prints_every_row():
    said = quick("benchmarks.registry", *NO_PEER)
    head, *table = said.split("\n\n")[0].splitlines()
    assert head.split() == ["nbmlops", "ratio", "budget", "met"]
    assert [row for row in REGISTRY_ROWS if not any(row in line for line in table)] == []
    assert "skipped: MLflow" in said
