"""Tracking: ``python -m benchmarks.tracking [--quick] [--peer-python PATH] [--only PART] [--json FILE]``.

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
    calls: int
    peer_calls: int
    peer_points: int
    stored: int
    runs: int
    many: int
    points: int
    fits: int
    seconds: float


FULL = Sizes(3, 300_000, 300, 2_000, 200_000, 2_000, 100_000, 1_000_000, 30, 4.0)
QUICK = Sizes(1, 20_000, 20, 50, 20_000, 200, 2_000, 100_000, 5, 1.5)


def loading(compare: Rounds, _sizes: Sizes) -> list[Row]:
    ours, peer = compare("load_ext")
    first, first_peer = compare("first_run")
    return [
        Row("%load_ext nbmlops  |  import of the peer", ours["ms"], "ms", 50, peer.get("ms")),
        Row("  heavy libraries it brings", ours["heavy"], "", 0),
        Row("first start_run, new store", first["new"], "ms", 300, first_peer.get("new")),
        Row("first start_run, store exists", first["again"], "ms", 300, first_peer.get("again")),
    ]


def logging(compare: Rounds, sizes: Sizes) -> list[Row]:
    ours, peer = compare("log_metric", ours_calls=sizes.calls, peer_calls=sizes.peer_calls)
    durable, durable_peer = compare("durable", ours_points=10_000, peer_points=sizes.peer_points, peer_of=10_000)
    size, size_peer = compare("size", turns=1, ours_points=sizes.stored, peer_points=20_000)
    seen, _ = compare("seen", peer=False, turns=1, seconds=sizes.seconds)
    return [
        Row("log_metric, one call: median", ours["median"], "us", 3, peer.get("median")),
        Row("log_metric, one call: p99", ours["p99"], "us", 50, peer.get("p99")),
        Row("readable by others within (at worst)", seen["seconds"], "s", 1),
        Row("points lost by a SIGKILL", seen["lost"], "", 0),
        Row("10,000 points until durable", durable["seconds"], "s", 0.15, durable_peer.get("seconds")),
        Row("bytes per stored point", size["bytes"], "B", 12, size_peer.get("bytes")),
    ]


def whole_runs(compare: Rounds, sizes: Sizes) -> list[Row]:
    ours, peer = compare("whole_run", runs=sizes.fits)
    return [Row("create a run, 20 params, 10 metrics, finish", ours["ms"], "ms", 2, peer.get("ms"))]


def tables(compare: Rounds, sizes: Sizes) -> list[Row]:
    ours, peer = compare("table", peer_turns=1, runs=sizes.runs, repeats=3)
    many, _ = compare("many_runs", peer=False, turns=1, runs=sizes.many, repeats=11)
    return [
        Row(f"{sizes.runs:,} runs as a DataFrame, sorted", ours["warm"], "ms", 20, peer.get("warm")),
        Row(f"{sizes.runs:,} runs, the first time in a process", ours["cold"], "ms", None, peer.get("cold")),
        Row(f"{sizes.many:,} runs: a sorted, filtered page", many["page"], "ms", 50),
        Row(f"{sizes.many:,} runs: the whole table, cold", many["cold"], "ms", 1500),
        Row(f"{sizes.many:,} runs: the whole table, warm", many["warm"], "ms", 100),
    ]


def curves(compare: Rounds, sizes: Sizes) -> list[Row]:
    ours, _ = compare("series", peer=False, turns=1, points=sizes.points, repeats=7)
    return [
        Row(f"series of {sizes.points:,} points, drawn at 2,000", ours["ms"], "ms", 50),
        Row("  of that, get_metric_history", ours["read"], "ms"),
    ]


def fits(compare: Rounds, sizes: Sizes) -> list[Row]:
    ours, peer = compare("autolog", ours_fits=sizes.fits, peer_fits=max(3, sizes.fits // 6))
    return [
        Row("a small scikit-learn fit by itself", ours["fit"], "ms", None, peer.get("fit")),
        Row("autolog adds, a run for each fit", ours["own"], "ms", 10, peer.get("own")),
        Row("autolog adds, in a run that is open", ours["inside"], "ms", 10, peer.get("inside")),
    ]


BENCHMARK = Benchmark(
    "tracking",
    "What tracking costs.",
    "nbmlops_jobs.py",
    "mlflow",
    "mlflow_jobs.py",
    FULL,
    QUICK,
    (loading, logging, whole_runs, tables, curves, fits),
    called="MLflow",
)


if __name__ == "__main__":
    sys.exit(BENCHMARK.main())
