"""Running jobs in fresh processes, and showing what they cost in a table.

A job is a function in one of the ``*_jobs.py`` files: it takes options, measures inside its own process and returns
numbers, which that process prints as one line of JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# Set in the process of a job: its own store, and no trace in the user's IPython history.
_OWN = {"PYTHONDONTWRITEBYTECODE": "", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


@dataclass(frozen=True)
class Side:
    """One of the two that are compared: the interpreter it is installed in, and its file of jobs."""

    name: str
    python: str
    script: Path

    def installed(self) -> bool:
        """Whether the interpreter exists and finds the library."""
        code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({self.name!r}) is None)"
        try:
            return subprocess.run([self.python, "-c", code], capture_output=True, check=False).returncode == 0
        except OSError:
            return False

    def version(self) -> str:
        """The installed version."""
        code = f"from importlib.metadata import version; print(version({self.name!r}))"
        done = subprocess.run([self.python, "-c", code], capture_output=True, text=True, check=False)
        return done.stdout.strip() or "?"

    def run(self, job: str, folder: Path, **options: Any) -> dict[str, Any]:
        """The numbers of one job, run in a fresh process that works, and keeps its store, in ``folder``.

        Raises:
            RuntimeError: the job failed; with the end of what it wrote.
        """
        folder.mkdir(parents=True, exist_ok=True)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("NBMLOPS_", "MLFLOW_"))}
        own = {**_OWN, "NBMLOPS_STORE": str(folder / "store"), "IPYTHONDIR": str(folder / "ipython")}
        command = [self.python, "-P", str(self.script), job, json.dumps(options)]
        done = subprocess.run(command, cwd=folder, env={**kept, **own}, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{self.name}: {job} failed\n{done.stderr[-3000:]}")
        return json.loads(done.stdout.strip().splitlines()[-1])


@dataclass
class Rounds:
    """Both sides of a job, turn by turn, each turn in new folders; numbers are medians over the turns."""

    ours: Side
    peer: Side | None
    turns: int
    folder: Path
    notes: list[str] = field(default_factory=list)

    def __call__(
        self, job: str, *, peer: bool = True, turns: int | None = None, peer_turns: int | None = None, **options: Any
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Medians of nbmlops and of the peer; ``ours_…`` and ``peer_…`` options go to one side only."""
        turns = turns or self.turns
        sides: list[tuple[Side, int, str]] = [(self.ours, turns, "ours_")]
        if self.peer is not None and peer:
            sides.append((self.peer, min(turns, peer_turns or turns), "peer_"))
        found: dict[str, list[dict[str, float]]] = {"ours_": [], "peer_": []}
        for turn in range(turns):
            for side, most, prefix in sides:
                if turn < most:
                    with tempfile.TemporaryDirectory(dir=self.folder, ignore_cleanup_errors=True) as place:
                        found[prefix].append(side.run(job, Path(place), **_options(options, prefix)))
        return _medians(found["ours_"]), _medians(found["peer_"])


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
        ratio = f"{_short(self.peer / self.ours)} x" if self.peer is not None and self.ours > 0 else ""
        met = "" if self.most is None else "yes" if self.ours <= self.most else "NO"
        return (self.job, *(self._with_unit(v) for v in (self.ours, self.peer)), ratio, self._with_unit(self.most), met)

    def _with_unit(self, value: float | None) -> str:
        return "" if value is None else f"{_short(value)} {self.unit}".rstrip()


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.3g}"


def print_table(rows: list[Row], peer: str, write: Callable[[str], None] = print) -> None:
    """The rows as aligned text."""
    table = [("", "nbmlops", peer, "ratio", "budget", "met"), *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table:
        first, *rest = (cell.ljust(w) if c == 0 else cell.rjust(w) for c, (cell, w) in enumerate(zip(line, widths)))
        write("  ".join((first, *rest)).rstrip())
