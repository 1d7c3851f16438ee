"""Stages of pipelines: ``python -m benchmarks.stages [--quick] [--peer-python PATH] [--only PART] [--json FILE]``.

The peer is papermill. Both run the same notebook in this machine's same minutes, turn by turn, each turn a fresh
process.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.measure import HERE, Entry, Row, Side, print_table, take_turns

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


@dataclass(frozen=True)
class Bench:
    """nbmlops, papermill if it is there, and where they work."""

    ours: Side
    peer: Side | None
    sizes: Sizes
    folder: Path

    def turns(self, ours: Entry, peers: dict[str, Entry]) -> tuple[Costs, dict[str, Costs]]:
        """The medians of nbmlops, and of each way in which the peer does the same."""
        found = take_turns({"": ours, **(peers if self.peer else {})}, self.sizes.turns, self.folder)
        return found.pop(""), found


def stage(bench: Bench) -> list[Row]:
    options = {"quick": bench.sizes.quick, "repeats": bench.sizes.repeats}
    ours, peers = bench.turns(Entry(bench.ours, "stage", options), _of(bench.peer, "stage", {"": options}, "papermill"))
    peer = peers.get("papermill", {})
    what = "a stage without a library" if bench.sizes.quick else "a stage: pandas, scikit-learn, pyplot, a small fit"

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


def sweep(bench: Bench) -> list[Row]:
    options = {"quick": bench.sizes.quick, "candidates": bench.sizes.candidates}
    ways = {way: {**options, "way": way} for way in WAYS}
    ours, peers = bench.turns(Entry(bench.ours, "sweep", options), _of(bench.peer, "sweep", ways))
    title = f"a sweep of {bench.sizes.candidates} of them, two at a time"
    best = min((costs["wall"] for costs in peers.values()), default=None)
    beside = [Row(f"  beside papermill {WAYS[way]}", ours["wall"], "s", None, c["wall"]) for way, c in peers.items()]
    return [
        Row(f"{title}  |  the peer's best", ours["wall"], "s", 5, best),
        *beside,
        Row("  processor time of its kernels", ours["cpu"], "s", None, peers.get("row", {}).get("cpu")),
        Row("  the first sweep of a process, of two", ours["first"], "s"),
    ]


def fresh(bench: Bench) -> list[Row]:
    """Papermill has no such thing: beside it stands one more execution."""
    options = {"quick": bench.sizes.quick, "repeats": bench.sizes.repeats}
    ours, peers = bench.turns(Entry(bench.ours, "fresh", options), _of(bench.peer, "stage", {"": options}, "papermill"))
    again = peers["papermill"]["wall"] * 1000 if peers else None
    return [
        Row("a stage that is fresh  |  the peer runs it again", ours["wall"] * 1000, "ms", 50, again),
        Row("  kernels it started", ours["kernels"], "", 0),
        Row("  times that its cells ran", ours["executions"], "", 0),
    ]


PARTS: tuple[Callable[[Bench], list[Row]], ...] = (stage, sweep, fresh)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table; 0 if everything ran, whatever it cost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages", description="What stages cost.")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run?")
    parser.add_argument("--peer-python", default=sys.executable, help="the interpreter that papermill is installed in")
    parser.add_argument("--only", choices=[part.__name__ for part in PARTS], help="one part only")
    parser.add_argument("--json", type=Path, help="a file that gets the numbers too")
    options = parser.parse_args(arguments)

    peer = Side("papermill", options.peer_python, HERE / "papermill_jobs.py", needs=("pandas", "sklearn", "matplotlib"))
    found = peer.installed()
    sizes = QUICK if options.quick else FULL
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="nbmlops-bench-", ignore_cleanup_errors=True) as folder:
        ours = Side("nbmlops", sys.executable, HERE / "stage_jobs.py")
        bench = Bench(ours, peer if found else None, sizes, Path(folder))
        for part in PARTS:
            if options.only in {None, part.__name__}:
                print(f"… {part.__name__}", file=sys.stderr, flush=True)
                rows += part(bench)
    label = f"papermill {peer.version()}" if found else ""
    print_table(rows, label)
    if not found:
        print("\nskipped: papermill is not installed here (--peer-python PATH names an interpreter with it)")
    load = os.getloadavg()[0]
    print(f"\nmedians of {sizes.turns} turns; load average {load:.1f} on {os.cpu_count()} processors")
    if options.json:
        told = {"peer": label, "turns": sizes.turns, "load": load, "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(told, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
