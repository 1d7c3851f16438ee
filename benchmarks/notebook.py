"""Work in notebooks: ``python -m benchmarks.notebook [--quick] [--peer-python PATH] [--only PART] [--json FILE]``.

What the journal of cells adds to each of them, and what is made of it: verdicts, clean runs, stages, capsules. The
peer is papermill, which executes the same notebook again.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from benchmarks.measure import Rounds, Row
from benchmarks.program import Benchmark

KINDS = {
    "small": "a small cell",
    "long": "a cell of 40 lines",
    "names": "a small cell among 1,000 names",
    "prints": "a cell that prints 1,000 lines",
    "run": "a cell that logs 10 metrics to its run",
}
CELL = 2.0  # milliseconds that the journal may add to one
EXTENSION = 50.0  # milliseconds of %load_ext


@dataclass(frozen=True)
class Sizes:
    """How much of everything a run of the benchmark does."""

    turns: int
    cells: int
    judged: int
    ended: int
    repeats: int
    extracted: int
    runs: int
    quick: bool


FULL = Sizes(3, 300, 50, 20, 3, 20, 1_000, False)
QUICK = Sizes(1, 20, 10, 2, 1, 8, 50, True)


def cells(compare: Rounds, sizes: Sizes) -> list[Row]:
    rows, folding = [], []
    for kind, title in KINDS.items():
        added, _ = compare("overhead", peer=False, case=kind, cells=sizes.cells)
        rows += [
            Row(f"the journal adds to {title}", added["median"], "ms", CELL),
            Row("  processor time", added["cpu"], "ms", CELL),
            Row("  to 99 of 100, at most", added["p99"], "ms"),
            Row("  such a cell without it", added["alone"], "ms"),
        ]
        folding += [
            Row(f"folding {title} into the store", added["fold_wall"], "ms"),
            Row("  processor time", added["fold_cpu"], "ms"),
        ]
    return [*rows, *folding]


def loading(compare: Rounds, _sizes: Sizes) -> list[Row]:
    ours, _ = compare("load_ext", peer=False)
    return [
        Row("%load_ext nbmlops", ours["ms"], "ms", EXTENSION),
        Row("  heavy libraries it brings", ours["heavy"], "", 0),
    ]


def verdicts(compare: Rounds, sizes: Sizes) -> list[Row]:
    ours, _ = compare("verdict", peer=False, cells=sizes.judged, repeats=2 * sizes.repeats, quick=sizes.quick)
    ended, _ = compare("run_end", peer=False, before=sizes.judged, cells=sizes.ended, quick=sizes.quick)
    return [
        Row(f"a verdict on {sizes.judged} cells, the first in a process", ours["cold"], "ms"),
        Row("  on others, later", ours["warm"], "ms"),
        Row("  on the same with one more", ours["more"], "ms"),
        Row(f"a run from one cell to the next, after {sizes.judged}", ended["on"], "ms"),
        Row("  processor time", ended["on_cpu"], "ms"),
        Row("  without the journal and its verdict", ended["off"], "ms"),
        Row("  processor time without", ended["off_cpu"], "ms"),
    ]


def reproducing(compare: Rounds, sizes: Sizes) -> list[Row]:
    ours, peer = compare("reproduce", quick=sizes.quick, repeats=sizes.repeats)
    what = "a stage without a library" if sizes.quick else "a stage: pandas, scikit-learn, pyplot, a small fit"
    own = peer["before"] + peer["after"] if peer else None
    return [
        Row(f"{what}, reproduced", ours["wall"], "s", None, peer.get("wall")),
        Row("  its cells", ours["cells"], "s", None, peer.get("cells")),
        Row("  around them", ours["own"], "s", None, own),
        Row("  processor time, of the kernel too", ours["cpu"], "s", None, peer.get("cpu")),
        Row("  the first one in a process", ours["first"], "s", None, peer.get("first")),
    ]


def extracting(compare: Rounds, sizes: Sizes) -> list[Row]:
    ours, _ = compare("extract", peer=False, cells=sizes.extracted, repeats=sizes.repeats, quick=sizes.quick)
    return [
        Row(f"a stage extracted from {sizes.extracted} cells, proved", ours["wall"], "s"),
        Row("  without the proof", ours["cut_wall"], "s"),
        Row("  the first one in a process", ours["first_wall"], "s"),
    ]


def moving(compare: Rounds, sizes: Sizes) -> list[Row]:
    rows = []
    capsule, _ = compare("capsule", peer=False, quick=sizes.quick, repeats=sizes.repeats)
    if capsule:
        rows = [
            Row("a run exported as a capsule", capsule["export_wall"] * 1000, "ms"),
            Row("  imported elsewhere", capsule["import_wall"] * 1000, "ms"),
            Row("  once more", capsule["again_wall"] * 1000, "ms"),
            Row("  its size", capsule["bytes"] / 1000, "kB"),
        ]
    merged, _ = compare("merge", peer=False, runs=sizes.runs, repeats=sizes.repeats)
    return [
        *rows,
        Row(f"a store of {sizes.runs:,} runs merged into an empty one", merged["first_wall"], "s"),
        Row("  once more", merged["again_wall"], "s"),
    ]


BENCHMARK = Benchmark(
    "notebook",
    "What notebooks cost.",
    "notebook_jobs.py",
    "papermill",
    "papermill_jobs.py",
    FULL,
    QUICK,
    (cells, loading, verdicts, reproducing, extracting, moving),
    needs=("pandas", "sklearn", "matplotlib"),
)


if __name__ == "__main__":
    sys.exit(BENCHMARK.main())
