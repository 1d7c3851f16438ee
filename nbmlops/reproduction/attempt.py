"""One attempt to make a run again, whatever it came from: what is common to stages and sessions."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from nbmlops.errors import NotFound
from nbmlops.records import CellExecution, CellSession, Difference, Run
from nbmlops.reproduction.logged import Logged

SUSPECT = frozenset({"weakly valid", "invalid"})


class Cells(Protocol):
    """What is asked of the cells desk, which is ``workspace.cells``."""

    def behind(self, run_id: str) -> list[CellExecution]:
        """Everything that ran in the run's sessions until its last cell, in order."""

    def document(self, run_id: str) -> tuple[dict[str, Any] | None, float | None]:
        """The notebook as it was on disk when the run ended, and when it was saved."""

    def made(self, kind: str, subject: str, name: str = "") -> CellExecution | None:
        """The execution that logged a metric, parameter, data set or model."""

    def session(self, session_id: str) -> CellSession:
        """The session of an execution."""

    def executions(self, session_id: str) -> list[CellExecution]:
        """Everything that ran in a session, in order."""


# Of a difference and the run as it was: the labels of the cells that made what differs.
Makers = Callable[[Difference, Logged], tuple[str, ...]]


@dataclass(frozen=True)
class Attempt:
    """What became of it.

    ``after`` is the clean run, None where none was started. ``error`` is the first cell that failed, ready for the
    certificate. ``cells`` names the cells that made what differs; ``suspects`` those that may explain a difference.
    """

    how: str
    after: Logged | None
    seconds: float
    error: Mapping[str, Any] | None = None
    differences: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()
    cells: Makers = field(default=lambda *_: (), repr=False)
    suspects: Callable[[], tuple[str, ...]] = field(default=tuple, repr=False)


def suspects(question: str, *arguments: Any, **more: Any) -> tuple[str, ...]:
    """What ``%mlops check`` says of these cells: ``[3] draws random numbers without a seed``."""
    try:
        verdicts = importlib.import_module("nbmlops.notebook.verdict")
    except ImportError:
        return ()
    try:
        found = getattr(verdicts, question)(*arguments, **more).findings
    except Exception as error:  # whatever it is: what was executed and compared must be kept all the same
        return (f"the cells could not be looked at: {type(error).__name__}: {error}",)
    return tuple(dict.fromkeys(f.what for f in found if f.level in SUSPECT))


def made_by(cells: Cells | None) -> Makers:
    """Finds the cell of a run that made what differs, as the journal has it."""

    def find(difference: Difference, run: Logged) -> tuple[str, ...]:
        kind, name = subject_of(difference)
        if cells is None:
            return ()
        kept = run.models.get(name) if kind == "model" else None
        if kind == "dataset" and name in run.datasets:
            made = cells.made(kind, run.datasets[name].ref)
        elif kept is not None and kept.version:
            made = cells.made(kind, f"model:{name}@{kept.version}")
        elif kind == "model":
            made = cells.made("artifact", run.run_id, f"models/{name}")
        else:
            made = cells.made(kind, run.run_id, name)
        return (made.label,) if made else ()

    return find


def subject_of(difference: Difference) -> tuple[str, str]:
    """Kind and name of the thing that differs, also where it is missing."""
    if difference.kind != "missing":
        return difference.kind, difference.name
    kind, _, name = difference.name.partition(" ")
    return kind, name


def folder_of(run: Run, *places: str) -> str:
    """The folder in which a run's notebook is executed again: the first of its places that is still there.

    Raises:
        NotFound: none is.
    """
    path, cwd = run.source.get("path") or "", run.source.get("cwd") or ""
    tried = [os.path.dirname(p) for p in (*places, path) if Path(p).is_absolute()] + [cwd]
    for place in tried:
        if place and os.path.isdir(place):
            return place
    raise NotFound(
        f"the folder of run {run.name!r} is not there: {tried[0] or 'unknown'}",
        "a notebook is executed in its own folder; bring it back, or make the run again",
    )


def as_text(value: Any) -> str:
    """What may name earlier runs, as one text."""
    return json.dumps(value, default=str)


def counted(executions: Sequence[CellExecution]) -> str:
    """The labels of some cells: ``[2], [5]``."""
    return ", ".join(dict.fromkeys(e.label for e in executions))
