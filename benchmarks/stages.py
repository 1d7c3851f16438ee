"""Stages of pipelines: ``python -m benchmarks.stages [--quick] [--peer-python PATH] [--only PART] [--json FILE]``.

The peer is papermill. Both run the same notebook in this machine's same minutes, turn by turn, each turn a fresh
process.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from benchmarks.measure import Entry, Rounds, Row, Side, take_turns
from benchmarks.program import Benchmark

WAYS = {"row": "in a row", "threads": "two at a time, threads", "processes": "two at a time, processes"}
Costs = dict[str, float]


@dataclass(frozen=True)
class Sizes:
    """How much of everything a run of the benchmark does."""

    turns: int
    repeats: int
    candidates: int
    quick: bool


FULL = Sizes(3, 3, 10, False)
QUICK = Sizes(1, 1, 2, True)


def _turns(compare: Rounds, ours: Entry, peers: dict[str, Entry]) -> tuple[Costs, dict[str, Costs]]:
    """The medians of nbmlops, and of each way in which the peer does the same."""
    found = take_turns({"": ours, **(peers if compare.peer else {})}, compare.turns, compare.folder)
    return found.pop(""), found


def stage(compare: Rounds, sizes: Sizes) -> list[Row]:
    options = {"quick": sizes.quick, "repeats": sizes.repeats}
    ours, peers = _turns(
        compare, Entry(compare.ours, "stage", options), _of(compare.peer, "stage", {"": options}, "papermill")
    )
    peer = peers.get("papermill", {})
    what = "a stage without a library" if sizes.quick else "a stage: pandas, scikit-learn, pyplot, a small fit"

    def row(label: str, key: str, unit: str = "s", most: float | None = None) -> Row:
        return Row(label, ours[key], unit, most, peer.get(key))

    return [
        row(what, "wall", most=0.8),
        row("  before its first cell: the kernel starts", "before"),
        row("  its cells", "cells"),
        row("  after its last cell: all is kept", "after"),
        row("  processor time, of the kernel too", "cpu"),
        row("  the first one in a process", "first"),
        row("  memory of its kernel, at its peak", "peak", "MB"),
        row("  memory that its kernel alone has, at its end", "own", "MB"),
    ]


def _of(peer: Side | None, job: str, variants: dict[str, Costs | dict], name: str = "") -> dict[str, Entry]:
    return {} if peer is None else {name or way: Entry(peer, job, options) for way, options in variants.items()}


def sweep(compare: Rounds, sizes: Sizes) -> list[Row]:
    options = {"quick": sizes.quick, "candidates": sizes.candidates}
    ways = {way: {**options, "way": way} for way in WAYS}
    ours, peers = _turns(compare, Entry(compare.ours, "sweep", options), _of(compare.peer, "sweep", ways))
    title = f"a sweep of {sizes.candidates} of them, two at a time"
    best = min((costs["wall"] for costs in peers.values()), default=None)
    beside = [Row(f"  beside papermill {WAYS[way]}", ours["wall"], "s", None, c["wall"]) for way, c in peers.items()]
    return [
        Row(f"{title}  |  the peer's best", ours["wall"], "s", 5, best),
        *beside,
        Row("  processor time of its kernels", ours["cpu"], "s", None, peers.get("row", {}).get("cpu")),
        Row("  the first sweep of a process, of two", ours["first"], "s"),
    ]


def fresh(compare: Rounds, sizes: Sizes) -> list[Row]:
    """Papermill has no such thing: beside it stands one more execution."""
    options = {"quick": sizes.quick, "repeats": sizes.repeats}
    ours, peers = _turns(
        compare, Entry(compare.ours, "fresh", options), _of(compare.peer, "stage", {"": options}, "papermill")
    )
    again = peers["papermill"]["wall"] * 1000 if peers else None
    return [
        Row("a stage that is fresh  |  the peer runs it again", ours["wall"] * 1000, "ms", 50, again),
        Row("  kernels it started", ours["kernels"], "", 0),
        Row("  times that its cells ran", ours["executions"], "", 0),
    ]


BENCHMARK = Benchmark(
    "stages",
    "What stages cost.",
    "stage_jobs.py",
    "papermill",
    "papermill_jobs.py",
    FULL,
    QUICK,
    (stage, sweep, fresh),
    needs=("pandas", "sklearn", "matplotlib"),
)


if __name__ == "__main__":
    sys.exit(BENCHMARK.main())
