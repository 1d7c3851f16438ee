"""Data sets: ``python -m benchmarks.datasets [--quick] [--peer-python PATH] [--only PART]``.

The peers are Lance, Delta (delta-rs) and DVC. All work in this machine's same minutes, turn by turn, each turn a fresh
process that begins with a store of its own in the same state.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import samples
from benchmarks.measure import HERE, Entry, Side, print_cells, short, take_turns

MEGA = 1e6
LABELS = {"nbmlops": "nbmlops", "lance": "Lance", "deltalake": "Delta", "dvc": "DVC"}
# How each side keeps a table that has changed; the ways that are given the new rows or the new column alone.
WAYS = {
    "append": {"lance": ("append", "overwrite"), "deltalake": ("append", "overwrite")},
    "cells": {"lance": ("merge", "overwrite"), "deltalake": ("merge", "overwrite")},
    "block": {"lance": ("merge", "overwrite"), "deltalake": ("merge", "overwrite")},
    "insert": {"lance": ("overwrite",), "deltalake": ("overwrite",)},
    "column": {"lance": ("add_columns", "overwrite"), "deltalake": ("overwrite",)},
}
PARTIAL = {"append", "merge", "add_columns"}
Costs = dict[str, float]


@dataclass(frozen=True)
class Sizes:
    """How much of everything a run of the benchmark does."""

    turns: int
    rows: int
    files: int
    repeats: int


FULL = Sizes(3, 5_000_000, 10_000, 3)
QUICK = Sizes(1, 50_000, 200, 1)


@dataclass(frozen=True)
class Budget:
    """What nbmlops may need: seconds, megabytes added, so many times as long as another line of the same group."""

    seconds: float | None = None
    added: float | None = None
    times: float | None = None
    beside: str = ""

    def cells(self, costs: Costs, others: dict[str, Costs]) -> tuple[str, str]:
        """The budget in words and whether it is met; a line that is missing is not compared with."""
        words, met = [], []
        if self.seconds is not None:
            words.append(f"{self.seconds:g} s")
            met.append(costs["wall"] <= self.seconds)
        if self.beside:
            words.append(f"{self.times:g} x {self.beside}" if self.times != 1 else f"as {self.beside}")
            if self.beside in others:
                met.append(costs["wall"] <= (self.times or 1) * others[self.beside]["wall"])
        if self.added is not None:
            words.append(f"{self.added:g} MB")
            met.append(costs["bytes"] <= self.added * MEGA)
        return ", ".join(words), ("yes" if all(met) else "NO") if met else ""


@dataclass
class Group:
    """The lines of one scenario; peers are compared with the line that ``beside`` names, else with the first one."""

    title: str
    lines: dict[str, Costs]
    budgets: dict[str, Budget] = field(default_factory=dict)
    beside: dict[str, str] = field(default_factory=dict)

    def cells(self) -> Iterator[tuple[str, ...]]:
        yield (self.title, *[""] * 7)
        first = next(iter(self.lines))
        for name, costs in self.lines.items():
            ours = self.lines[self.beside.get(name, first)]
            peer = not name.startswith("nbmlops")
            times, more = (_times(costs.get(key), ours.get(key)) if peer else "" for key in ("wall", "bytes"))
            added = f"{short(costs['bytes'] / MEGA)} MB" if "bytes" in costs else ""
            budget = self.budgets[name].cells(costs, self.lines) if name in self.budgets else ("", "")
            yield (f"  {name}", _seconds(costs["wall"]), _seconds(costs["cpu"]), added, times, more, *budget)


def _times(peer: float | None, ours: float | None) -> str:
    return f"{short(round(peer / ours, 2))} x" if peer and ours else ""


def _seconds(value: float) -> str:
    return f"{value:.3f} s" if value < 1 else f"{value:.2f} s"


class Bench:
    """The sides, the folder of this run, and what several parts begin with, each made once."""

    def __init__(self, peers: list[Side], sizes: Sizes, folder: Path) -> None:
        ours = Side("nbmlops", sys.executable, HERE / "dataset_jobs.py", fixed=("store/blobs/sha256/*",))
        self.ours = ours
        self.sides = [ours, *peers]
        self.sizes = sizes
        self.folder = folder
        self._made: dict[str, Any] = {}

    def once(self, name: str, make: Callable[[Path], Any]) -> Any:
        """What ``make`` gives for a new path of that name, made when it is first asked for."""
        if name not in self._made:
            self._made[name] = make(self.folder / name)
        return self._made[name]

    def table(self) -> Any:
        return self.once("table", lambda _: samples.sales(self.sizes.rows))

    def file(self) -> str:
        """The table as an Arrow file."""
        return str(self.once("table.arrow", lambda path: samples.write(self.table(), path)))

    def state(self, side: Side) -> Path:
        """A folder in which a side keeps the table as its first version."""

        def make(path: Path) -> Path:
            side.run("write", path, table=self.file(), way=_first_way(side))
            return path

        return self.once(f"state-{side.name}", make)

    def tree(self) -> str:
        return str(self.once("tree", lambda path: samples.write_tree(path, self.sizes.files)))

    @contextmanager
    def changed(self, kind: str) -> Iterator[dict[str, str]]:
        """The files of the changed table and of what is new in it; removed afterwards."""
        tables = samples.CHANGES[kind](self.table())
        files = {name: samples.write(table, self.folder / f"{kind}-{name}.arrow") for name, table in tables.items()}
        del tables
        try:
            yield {name: str(path) for name, path in files.items()}
        finally:
            for path in files.values():
                path.unlink()

    def turns(self, entries: dict[str, Entry]) -> dict[str, Costs]:
        return take_turns(entries, self.sizes.turns, self.folder)


def _first_way(side: Side) -> str:
    return {"nbmlops": "snapshot", "dvc": "add"}.get(side.name, "create")


def first(bench: Bench) -> list[Group]:
    entries = {
        f"{LABELS[side.name]}, {library}": Entry(
            side, "write", {"table": bench.file(), "way": _first_way(side), "library": library}
        )
        for side in bench.sides
        for library in ("arrow", "pandas")
    }
    budgets = {f"nbmlops, {library}": Budget(None, 215, 1, f"Lance, {library}") for library in ("arrow", "pandas")}
    beside = {name: f"nbmlops, {name.rpartition(' ')[2]}" for name in entries}
    title = f"first snapshot of {bench.sizes.rows:,} x 10, given as an Arrow table or as a pandas frame"
    return [Group(title, bench.turns(entries), budgets, beside)]


def again(bench: Bench) -> list[Group]:
    entries = {}
    for side in bench.sides:
        way = "overwrite" if _first_way(side) == "create" else _first_way(side)
        options = {"table": bench.file(), "way": way}
        entries[f"{LABELS[side.name]}, {way}"] = Entry(side, "write", options, bench.state(side))
    return [Group("again, unchanged", bench.turns(entries), {"nbmlops, snapshot": Budget(0.25, 0)})]


def _changed(bench: Bench, kind: str, title: str, budget: Budget) -> list[Group]:
    entries = {}
    with bench.changed(kind) as files:
        for side in bench.sides:
            for way in WAYS[kind].get(side.name, (_first_way(side),)):
                options = {"table": files["part" if way in PARTIAL else "full"], "way": way}
                entries[f"{LABELS[side.name]}, {way}"] = Entry(side, "write", options, bench.state(side))
        lines = bench.turns(entries)
    return [Group(title, lines, {"nbmlops, snapshot": budget})]


def append(bench: Bench) -> list[Group]:
    return _changed(bench, "append", "1 % appended", Budget(0.3, 3.5))


def cells(bench: Bench) -> list[Group]:
    return _changed(bench, "cells", "0.1 % of the rows changed at random, 4 columns", Budget(None, 0.5))


def block(bench: Bench) -> list[Group]:
    return _changed(bench, "block", "a block of 1 % changed", Budget(None, 7))


def insert(bench: Bench) -> list[Group]:
    return _changed(bench, "insert", "1,000 rows inserted in the middle", Budget(None, 4))


def column(bench: Bench) -> list[Group]:
    return _changed(bench, "column", "a column of noise added", Budget(None, 40))


def load(bench: Bench) -> list[Group]:
    plain = bench.folder / "plain.parquet"
    bench.ours.run("write_plain", bench.folder, table=bench.file(), file=str(plain))
    groups = []
    for title, columns in (("load it all", None), ("load one column", ["price"])):
        options = {"columns": columns, "repeats": bench.sizes.repeats}
        entries = {
            LABELS[side.name]: Entry(side, "load", options, bench.state(side))
            for side in bench.sides
            if side.name != "dvc"
        }
        entries["plain Parquet"] = Entry(bench.ours, "plain", {**options, "file": str(plain)})
        found = bench.turns(entries)
        for library in ("arrow", "pandas"):
            lines = {name: {k: costs[f"{library}_{k}"] for k in ("wall", "cpu")} for name, costs in found.items()}
            budgets = {"nbmlops": Budget(times=1.2, beside="plain Parquet")}
            groups.append(Group(f"{title}, as {library}", lines, budgets))
    return groups


def tree(bench: Bench) -> list[Group]:
    options = {"tree": bench.tree()}
    sides = {LABELS[side.name]: side for side in bench.sides if side.name in {"nbmlops", "dvc"}}
    made = bench.turns({name: Entry(side, "first_tree", options) for name, side in sides.items()})
    kept = {}
    for name, side in sides.items():
        place = bench.folder / f"tree-{side.name}"
        side.run("first_tree", place, **options)
        kept[name] = Entry(side, "tree_again", options, place, copied=False)
    title = f"a folder of {bench.sizes.files:,} files, {sum(f.stat().st_size for f in _files(bench)) / MEGA:,.0f} MB"
    repeated = Group("  again, unchanged", bench.turns(kept), {"nbmlops": Budget(0.3, 0)})
    return [Group(title, made), repeated]


def _files(bench: Bench) -> Iterator[Path]:
    return (path for path in Path(bench.tree()).rglob("*") if path.is_file())


def insight(bench: Bench) -> list[Group]:
    state = bench.state(bench.ours)
    with bench.changed("append") as files:
        found = bench.turns({"profile": Entry(bench.ours, "profile", {"table": files["full"]}, state)})["profile"]
    with bench.changed("nudge") as files:
        compared = bench.turns({"diff": Entry(bench.ours, "diff", {"table": files["full"]}, state)})["diff"]
    lines = {
        "nbmlops, profile of the first version": _only(found, "first_"),
        "nbmlops, profile after 1 % was appended": _only(found, "second_"),
        "nbmlops, diff of two that differ in one chunk": _only(compared, "first_"),
        "nbmlops, the same diff again": _only(compared, "again_"),
    }
    budgets = {name: Budget(0.5) for name in lines if "diff" in name}
    return [Group("profile and diff, asked for after the snapshot", lines, budgets)]


def _only(costs: Costs, prefix: str) -> Costs:
    return {key.removeprefix(prefix): value for key, value in costs.items() if key.startswith(prefix)}


PARTS: tuple[Callable[[Bench], list[Group]], ...] = (
    first, again, append, cells, block, insert, column, load, tree, insight,
)  # fmt: skip


def _peers(python: str) -> list[Side]:
    arrow = ("pyarrow", "numpy")
    return [
        Side("lance", python, HERE / "lance_jobs.py", "pylance", arrow, ("store/data.lance/data/*",)),
        Side("deltalake", python, HERE / "delta_jobs.py", "", arrow, ("store/data/*.parquet",)),
        Side("dvc", python, HERE / "dvc_jobs.py", "", arrow, ("store/.dvc/cache/files/*",)),
    ]


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table; 0 if everything ran, whatever it cost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.datasets", description="What data sets cost.")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run?")
    parser.add_argument("--peer-python", default=sys.executable, help="the interpreter that the peers are installed in")
    parser.add_argument("--only", choices=[part.__name__ for part in PARTS], help="one part only")
    options = parser.parse_args(arguments)

    peers = _peers(options.peer_python)
    found = [side for side in peers if side.installed()]
    sizes = QUICK if options.quick else FULL
    table: list[tuple[str, ...]] = [("", "wall", "CPU", "added", "time", "bytes", "budget", "met")]
    with tempfile.TemporaryDirectory(prefix="nbmlops-bench-", ignore_cleanup_errors=True) as folder:
        bench = Bench(found, sizes, Path(folder))
        for part in PARTS:
            if options.only in {None, part.__name__}:
                print(f"… {part.__name__}", file=sys.stderr, flush=True)
                table += [line for group in part(bench) for line in group.cells()]
    print_cells(table)
    print("\ntime, bytes: how many times those of nbmlops" + "".join(f" · {_named(side)}" for side in found))
    for side in peers:
        if side not in found:
            print(
                f"skipped: {LABELS[side.name]} is not installed here (--peer-python PATH names an interpreter with it)"
            )
    print(f"medians of {sizes.turns} turns; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    return 0


def _named(side: Side) -> str:
    return f"{LABELS[side.name]} {side.version()}"


if __name__ == "__main__":
    sys.exit(main())
