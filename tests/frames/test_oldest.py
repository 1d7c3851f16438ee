"""The digests are those of the file, under the newest pyarrow and under the oldest."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import digest_vectors
import pyarrow as pa
import pytest
from arrow_strategies import arrays
from hypothesis import HealthCheck, Phase, given, seed, settings

from nbmlops.frames import digest, layouts

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-oldest" / "bin" / "python"
VECTORS = digest_vectors.vectors()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_vector(vector):
    assert digest_vectors.digest_of(vector) == vector["digest"]


def test_vectors_differ():
    """Only those that are meant to be the same content are."""
    known = {}
    for vector in VECTORS:
        known.setdefault(vector["digest"], set()).add(vector["name"])
    assert [names for names in known.values() if len(names) > 1] == [
        {"string", "large_string"},
        {"binary", "large_binary"},
        {"timestamp UTC", "timestamp Etc/UTC"},
        {"list", "large list"},
        {"dictionary", "dictionary as text"},
    ]


def oldest(folder):
    """What the oldest pyarrow makes of the vectors and of the streams in a folder."""
    if not PYTHON.exists():
        pytest.fail(f"there is no {PYTHON}\n  -> make oldest")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [PYTHON, ROOT / "tests" / "frames" / "digest_vectors.py", folder]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_oldest_agrees(tmp_path):
    made = {v["name"]: v["digest"] for v in VECTORS}
    examples = settings(
        max_examples=150, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None
    )

    @seed(17)
    @examples
    @given(arrays(5))
    def fill(array):
        plain = layouts.plain_array(array)
        if layouts.holds(plain.type, lambda t: pa.types.is_decimal(t) and t.bit_width < 128):
            return  # younger than the oldest pyarrow
        path = tmp_path / f"{len(made)}.arrows"
        with pa.ipc.new_stream(path, pa.schema([("v", plain.type)])) as stream:
            stream.write_batch(pa.record_batch([plain], names=["v"]))
        made[path.name] = digest.column_digest(plain)

    fill()
    found = oldest(tmp_path)
    wanted = next(r for r in (ROOT / "constraints-oldest.txt").read_text().split() if r.startswith("pyarrow"))
    assert found["pyarrow"] == wanted.removeprefix("pyarrow==")
    assert found["digests"] == made
