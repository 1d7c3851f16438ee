"""The minimal cells behind a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nbmlops.extraction.asking import Asked
from nbmlops.notebook.dataflow import Dataflow
from nbmlops.notebook.lifting import Cell
from nbmlops.notebook.lifting.stage import headings
from nbmlops.records import CellExecution

MOST_TOLD = 20


@dataclass(frozen=True)
class Slice:
    """``kept`` and ``dropped`` are places in the program; ``unknown`` says where the analysis could not know."""

    kept: tuple[int, ...]
    dropped: tuple[int, ...]
    unknown: tuple[str, ...] = ()


def needed(asked: Asked) -> Slice:
    """The cells that the asked result needs, in the order in which they ran, in-place changes included."""
    sources = [execution.source for execution in asked.program]
    if asked.name:  # a cell behind the last one that only looks at the variable
        found, unknown = behind(flow_of(asked.program, asked.name), [len(sources)])
    else:
        found, unknown = behind(flow_of(asked.program), asked.steps)
    kept = tuple(step for step in found if step < len(sources))
    labels = [e.label for e in asked.program]
    told = tuple(f"{labels[step]}: {why}" for step, why in unknown if step < len(sources))
    return Slice(kept, tuple(i for i in range(len(sources)) if i not in kept), told[:MOST_TOLD])


def flow_of(program: Sequence[CellExecution], *more: str) -> Dataflow:
    """The data flow of a program, and of further cells behind it; the names that the recorder saw set are known."""
    seen = [
        execution.stored if execution.session_id and execution.seconds is not None else None for execution in program
    ]
    return Dataflow.of([*(execution.source for execution in program), *more], stored=[*seen, *(None for _ in more)])


def behind(flow: Dataflow, steps: Sequence[int]) -> tuple[tuple[int, ...], list[tuple[int, str]]]:
    """What several steps need together, and where that is not known."""
    kept: set[int] = set()
    unknown: dict[tuple[int, str], None] = {}
    for step in steps:
        found = flow.behind(step)
        kept.update(found.steps)
        unknown.update(dict.fromkeys(found.unknown))
    return tuple(sorted(kept)), sorted(unknown)


def cells(program: Sequence[CellExecution], kept: Sequence[int], document: Mapping[str, object] | None) -> list[Cell]:
    """The kept cells with their labels, and the headings that the notebook has above them."""
    above = headings(document)
    return [
        Cell(e.source, e.label, above.get(e.cell_id or "", "") or above.get(e.source, ""), e.status == "error")
        for e in (program[step] for step in kept)
    ]
