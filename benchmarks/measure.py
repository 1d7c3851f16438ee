"""Running jobs in fresh processes, and showing what they cost in a table.

A job is a function in one of the ``*_jobs.py`` files: it takes options, measures inside its own process and returns
numbers, which that process prints as one line of JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# Set in the process of a job: its own store, and no trace in the user's IPython history.
_OWN = {"PYTHONDONTWRITEBYTECODE": "", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


@dataclass(frozen=True)
class Side:
    """One of those that are compared: the interpreter it is installed in, and its file of jobs.

    ``package`` is what it is installed as, if that is not its name; ``needs`` what its jobs import besides; ``fixed``
    are patterns of files, below a job's folder, that it never writes to again.
    """

    name: str
    python: str
    script: Path
    package: str = ""
    needs: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()

    def installed(self) -> bool:
        """Whether the interpreter exists and finds the library."""
        names = (self.name, *self.needs)
        code = f"import importlib.util, sys; sys.exit(None in map(importlib.util.find_spec, {names!r}))"
        try:
            return subprocess.run([self.python, "-c", code], capture_output=True, check=False).returncode == 0
        except OSError:
            return False

    def version(self) -> str:
        """The installed version."""
        code = f"from importlib.metadata import version; print(version({self.package or self.name!r}))"
        done = subprocess.run([self.python, "-c", code], capture_output=True, text=True, check=False)
        return done.stdout.strip() or "?"

    def run(self, job: str, folder: Path, **options: Any) -> dict[str, Any]:
        """The numbers of one job, run in a fresh process that works, and keeps its store, in ``folder``.

        Raises:
            RuntimeError: the job failed; with the end of what it wrote.
        """
        folder.mkdir(parents=True, exist_ok=True)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("NBMLOPS_", "MLFLOW_"))}
        path = os.pathsep.join(filter(None, (str(HERE.parent), kept.get("PYTHONPATH"))))
        own = {**_OWN, "PYTHONPATH": path, "NBMLOPS_STORE": str(folder / "store")}
        own["IPYTHONDIR"] = str(folder / "ipython")
        command = [self.python, "-P", str(self.script), job, json.dumps(options)]
        done = subprocess.run(command, cwd=folder, env={**kept, **own}, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{self.name}: {job} failed\n{done.stderr[-3000:]}")
        return json.loads(done.stdout.strip().splitlines()[-1])


@dataclass(frozen=True)
class Entry:
    """One that takes part in a comparison.

    Each of its turns begins with a copy of the folder ``state``, if given, or, if not ``copied``, works in it: for jobs
    that change nothing and know files by their inode.
    """

    side: Side
    job: str
    options: dict[str, Any] = field(default_factory=dict)
    state: Path | None = None
    copied: bool = True
    most: int | None = None

    def turn(self, folder: Path) -> dict[str, float]:
        """The numbers of one turn; ``folder`` is new."""
        place = folder / "turn"
        if self.state is not None and self.copied:
            _copy(self.state, place, self.side.fixed)
        # What the turn before has left to be written to the disk is not this one's burden.
        os.sync()
        return self.side.run(self.job, place if self.copied else self.state or place, **self.options)


def take_turns(entries: Mapping[str, Entry], turns: int, folder: Path) -> dict[str, dict[str, float]]:
    """The medians of each entry, which take turns (at most ``most``), each turn a new process in a new folder."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in entries}
    for turn in range(turns):
        for name, entry in entries.items():
            if turn < (entry.most or turns):
                with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as made:
                    found[name].append(entry.turn(Path(made)))
    return {name: _medians(rows) for name, rows in found.items()}


def _copy(state: Path, place: Path, fixed: tuple[str, ...]) -> None:
    """A folder again; files that are never written to get a second name instead."""

    def copy(source: str, target: str) -> None:
        inside = os.path.relpath(source, state)
        again = os.link if any(fnmatch(inside, pattern) for pattern in fixed) else shutil.copy2
        again(source, target)

    shutil.copytree(state, place, copy_function=copy)


@dataclass
class Rounds:
    """Both sides of a job, turn by turn, each turn in new folders; numbers are medians over the turns."""

    ours: Side
    peer: Side | None
    turns: int
    folder: Path

    def __call__(
        self, job: str, *, peer: bool = True, turns: int | None = None, peer_turns: int | None = None, **options: Any
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Medians of nbmlops and of the peer; ``ours_…`` and ``peer_…`` options go to one side only."""
        entries = {"ours": Entry(self.ours, job, _options(options, "ours_"))}
        if self.peer is not None and peer:
            entries["peer"] = Entry(self.peer, job, _options(options, "peer_"), most=peer_turns)
        found = take_turns(entries, turns or self.turns, self.folder)
        return found["ours"], found.get("peer", {})


def _options(options: dict[str, Any], prefix: str) -> dict[str, Any]:
    mine = {k.removeprefix(prefix): v for k, v in options.items() if k.startswith(prefix)}
    return {**{k: v for k, v in options.items() if not k.startswith(("ours_", "peer_"))}, **mine}


def _medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]} if rows else {}


@dataclass(frozen=True)
class Row:
    """One line of the table; ``most`` is the budget, in the same unit as the numbers."""

    job: str
    ours: float
    unit: str
    most: float | None = None
    peer: float | None = None

    def cells(self) -> tuple[str, ...]:
        """Row, nbmlops, peer, ratio, budget, met."""
        ratio = f"{short(self.peer / self.ours)} x" if self.peer is not None and self.ours > 0 else ""
        met = "" if self.most is None else "yes" if self.ours <= self.most else "NO"
        return (self.job, *(self._with_unit(v) for v in (self.ours, self.peer)), ratio, self._with_unit(self.most), met)

    def _with_unit(self, value: float | None) -> str:
        return "" if value is None else f"{short(value)} {self.unit}".rstrip()


def short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.3g}"


def print_table(rows: list[Row], peer: str, write: Callable[[str], None] = print) -> None:
    """The rows as aligned text."""
    print_cells([("", "nbmlops", peer, "ratio", "budget", "met"), *(row.cells() for row in rows)], write)


def print_cells(table: Sequence[Sequence[str]], write: Callable[[str], None] = print) -> None:
    """Lines of cells as aligned text: the first to the left, the others to the right."""
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table:
        first, *rest = (cell.ljust(w) if c == 0 else cell.rjust(w) for c, (cell, w) in enumerate(zip(line, widths)))
        write("  ".join((first, *rest)).rstrip())
