"""A table larger than the memory that the process may have: kept, profiled and compared all the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

GROUPS, ROWS, CHANGED = 20, 1_000_000, 7
LIMIT = 1 << 30
JOB = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))
import nbmlops
first = nbmlops.snapshot(sys.argv[1], "big")
profile = first.profile
second = nbmlops.snapshot(sys.argv[2], "big")
change = first.diff(second)
again = nbmlops.snapshot(sys.argv[2], "big")
rows = nbmlops.load_dataset("big@2", columns=["id"], filters=[("id", ">=", 19_999_990)])
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({{
    "rows": [first.rows, second.rows, len(rows)], "new": [second.new, again.new], "peak": peak * 1024,
    "mean": profile["columns"]["x0"]["mean"], "median": profile["columns"]["x0"]["quantiles"]["0.5"],
    "ids": [profile["columns"]["id"]["min"], profile["columns"]["id"]["max"], profile["columns"]["id"]["distinct"]],
    "added": change.rows_added, "removed": change.rows_removed, "columns": sorted(change.columns_changed),
    "bytes": second.bytes,
}}))
"""


def group(number: int, seed: int) -> pa.Table:
    r = np.random.default_rng(1000 * seed + number)
    floats = {f"x{i}": r.normal(size=ROWS) for i in range(6)}
    ids = np.arange(number * ROWS, (number + 1) * ROWS)
    return pa.table({"id": ids, **floats, "k": r.integers(0, 2**62, ROWS)})


def write(path: Path, changed: int | None) -> Path:
    with pq.ParquetWriter(path, group(0, 0).schema, compression="none", use_dictionary=False) as out:
        for number in range(GROUPS):
            out.write_table(group(number, int(number == changed)), row_group_size=ROWS)
    return path


@pytest.mark.slow
def test_twenty_million_rows_in_a_gigabyte(tmp_path):
    if shutil.disk_usage(tmp_path).free < 6 << 30:
        pytest.fail("this test needs 6 GB of disk: set --basetemp to a larger one")
    paths = [write(tmp_path / "a.parquet", None), write(tmp_path / "b.parquet", CHANGED)]
    assert all(p.stat().st_size > LIMIT for p in paths), "larger than all the memory there is"
    # mimalloc, Arrow's default, reserves far more address space than it uses, and that is what the limit counts.
    environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2"}
    words = [sys.executable, "-c", JOB.format(limit=LIMIT), *map(str, paths)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["rows"] == [GROUPS * ROWS, GROUPS * ROWS, 10]
    assert told["new"] == [True, False]
    assert told["peak"] < LIMIT
    assert told["ids"][:2] == [0, GROUPS * ROWS - 1]
    assert told["ids"][2] == pytest.approx(GROUPS * ROWS, rel=0.1)
    assert abs(told["mean"]) < 0.01
    assert abs(told["median"]) < 0.03
    assert (told["added"], told["removed"]) == (ROWS, ROWS)
    assert told["columns"] == ["k", *(f"x{i}" for i in range(6))]
    stored = sum(f.stat().st_size for f in (tmp_path / "store" / "blobs").rglob("*") if f.is_file())
    assert stored < 1.1 * told["bytes"], "the second version costs what changed in it"
    shutil.rmtree(tmp_path / "store")
    for path in paths:
        path.unlink()
