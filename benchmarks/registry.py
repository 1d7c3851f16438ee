"""The registry: ``python -m benchmarks.registry [--quick] [--peer-python PATH] [--only PART] [--json FILE]``.

The peer is MLflow on a SQLite store. Both run in this machine's same minutes, turn by turn, each in a fresh process.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from benchmarks.measure import Rounds, Row
from benchmarks.program import Benchmark


@dataclass(frozen=True)
class Sizes:
    """How much of everything a run of the benchmark does."""

    turns: int
    trees: int
    rows: int
    repeats: int
    events: int
    runs: int


FULL = Sizes(3, 100, 5_000, 5, 5_000, 2_000)
QUICK = Sizes(1, 10, 500, 1, 200, 50)


def registering(compare: Rounds, sizes: Sizes) -> list[Row]:
    ours, peer = compare("register", trees=sizes.trees, rows=sizes.rows, repeats=sizes.repeats)
    loaded, loaded_peer = compare("load", trees=sizes.trees, rows=sizes.rows, repeats=sizes.repeats)
    return [
        Row(f"register a {sizes.trees}-tree forest", ours["ms"], "ms", 300, peer.get("ms")),
        Row("  with 2,000 test rows and their scores", ours["judged"], "ms", 300),
        Row("load it and answer one row", loaded["ms"], "ms", None, loaded_peer.get("ms")),
    ]


def deciding(compare: Rounds, sizes: Sizes) -> list[Row]:
    ours, peer = compare("decide", trees=sizes.trees, rows=sizes.rows, repeats=sizes.repeats)
    return [
        Row("promote through the gates  |  set an alias", ours["promote"], "ms", None, peer.get("promote")),
        Row("approve  |  set an alias", ours["approve"], "ms", None, peer.get("approve")),
        Row("roll back  |  set an alias", ours["rollback"], "ms", 1_000, peer.get("rollback")),
    ]


def remembering(compare: Rounds, sizes: Sizes) -> list[Row]:
    chain, _ = compare("ledger", peer=False, turns=1, events=sizes.events)
    after, _ = compare("lineage", peer=False, turns=1, runs=sizes.runs)
    return [
        Row("append one event to the ledger", chain["append"], "ms"),
        Row(f"verify {sizes.events:,} events and the state", chain["verify"], "ms"),
        Row(f"what followed from a data set of {sizes.runs:,} runs", after["ms"], "ms"),
    ]


BENCHMARK = Benchmark(
    "registry",
    "What registering and deciding cost.",
    "registry_jobs.py",
    "mlflow",
    "mlflow_registry_jobs.py",
    FULL,
    QUICK,
    (registering, deciding, remembering),
    called="MLflow",
    needs=("sklearn", "skops"),
)


if __name__ == "__main__":
    sys.exit(BENCHMARK.main())
