from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
PROJECT = Path(__file__).parent.parent
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


def test_tracking_prints_every_row():
    command = [sys.executable, "-m", "benchmarks.tracking", "--quick", "--peer-python", "no-such-interpreter"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    head, *table = done.stdout.split("\n\n")[0].splitlines()
    assert head.split() == ["nbmlops", "ratio", "budget", "met"]
    assert [row for row in ROWS if not any(row in line for line in table)] == []
    assert "skipped: MLflow" in done.stdout
