"""The history and a clean run, followed side by side."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nbmlops.notebook.dataflow.machine import Machine, Step
from nbmlops.notebook.dataflow.slices import attempt_cell, machine_for, run_cell
from nbmlops.notebook.dataflow.things import Versions
from nbmlops.notebook.verdict.matching import Cell, History, Ran
from nbmlops.records.cells import CellExecution


@dataclass
class Followed:
    """Steps in the order of the executions, or of the cells, and what the names are in the end."""

    steps: list[Step]
    machine: Machine

    def final(self, name: str) -> tuple[int | None, int]:
        """The version of a name in the end, and the steps that made it."""
        bound = self.machine.top.names.get(name)
        if bound is None:
            return None, 0
        self.machine.step = Step(-1)
        version = self.machine.of_bound(bound)
        return version, self.machine.step.needs


@dataclass
class Comparison:
    """Where the history and a clean run part. ``cells`` made something else, ``names`` end as something else."""

    ran: Followed
    clean: Followed
    cells: list[Cell]
    names: list[str]

    @property
    def same(self) -> bool:
        return not self.cells and not self.names


@dataclass
class Both:
    """The history and a clean run."""

    ran: Followed
    clean: Followed


def follow(history: History, *, hopeful: bool = False) -> Both:
    """Follow both; ``hopeful`` takes what code unknown may have changed for unchanged."""
    versions = Versions()
    ran = _follow_history(history, versions, hopeful=hopeful)
    return Both(ran, ran if history.straight else _follow_clean(history, versions, hopeful=hopeful))


def compare(history: History, both: Both) -> Comparison:
    """Where they part."""
    ran, clean = both.ran, both.clean
    place = {id(one): number for number, one in enumerate(history.ran)}
    different, names, shown = [], {}, False
    for number, cell in enumerate(history.cells):
        last = cell.last
        if last is None or not last.current:
            continue
        step = ran.steps[place[id(last)]]
        if step.made != clean.steps[number].made:
            different.append(cell)
        shown = shown or step.shown != clean.steps[number].shown
        names.update(dict.fromkeys(n for n in step.stored if not n.startswith("<")))
    ended = [name for name in names if ran.final(name)[0] != clean.final(name)[0]]
    if not ended and not shown:
        different = []  # what was made otherwise on the way is gone
    return Comparison(ran, clean, different, ended)


def _follow_history(history: History, versions: Versions, *, hopeful: bool) -> Followed:
    machine = machine_for(versions, hopeful=hopeful)
    return Followed([_executed(machine, number, one) for number, one in enumerate(history.ran)], machine)


def _executed(machine: Machine, number: int, one: Ran) -> Step:
    execution = one.execution
    expected = one.cell is not None and "raises-exception" in one.cell.tags
    if one.failed and not expected:
        return attempt_cell(machine, execution.source, number, line=_line(execution))
    return run_cell(machine, execution.source, number, stored=execution.stored, count=execution.count)


def _line(execution: CellExecution) -> int | None:
    """The line of the cell at which it stopped, as the traceback tells it; cell magics shift lines."""
    told = (execution.error or {}).get("traceback")
    if not isinstance(told, str) or execution.source.lstrip().startswith("%%"):
        return None
    found = re.search(r"line (\d{1,6}), in <module>", told)
    return int(found[1]) if found else None


def _follow_clean(history: History, versions: Versions, *, hopeful: bool) -> Followed:
    """A clean run: the cells as they are now, each once; what they set unseen is taken from their last execution."""
    machine = machine_for(versions, hopeful=hopeful)
    steps = []
    for number, cell in enumerate(history.cells):
        stored = cell.last.execution.stored if cell.last is not None and cell.last.current else None
        steps.append(run_cell(machine, cell.source, number, stored=stored))
    return Followed(steps, machine)
