"""From the cells that ran to the notebook of a clean run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nbmlops.notebook import parameters
from nbmlops.records import CellExecution

HOW = ("notebook", "journal")
_LEFT_OUT = {
    "interrupted": "it was interrupted by hand, and nobody knows where",
    "lost": "the kernel died in it",
}
_LOADS = re.compile(r"^\s*%(?:re)?load_ext\s+nbmlops\b", re.MULTILINE)
_LOAD = "%load_ext nbmlops"


@dataclass(frozen=True)
class Step:
    """A cell of the clean run: the execution whose source it has, and its id in the notebook that is executed."""

    execution: CellExecution
    cell_id: str


@dataclass(frozen=True)
class Steps:
    """The cells of a clean run in their order, and what is not executed, with the reason."""

    how: str
    steps: tuple[Step, ...]
    left_out: tuple[tuple[CellExecution, str], ...] = ()

    def document(self, metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The notebook that is executed. Cells that raised may raise again."""
        cells = [] if any(_LOADS.search(s.execution.source) for s in self.steps) else [_cell(_LOAD, "load-ext")]
        for step in self.steps:
            tags = ["raises-exception"] if step.execution.status == "error" else []
            cells.append(_cell(step.execution.source, step.cell_id, tags))
        kept = {k: v for k, v in (metadata or {}).items() if k in {"kernelspec", "language_info"}}
        return {"cells": cells, "metadata": kept, "nbformat": 4, "nbformat_minor": 5}

    def of(self, cell_id: str) -> Step | None:
        """The step that a cell of the executed notebook is."""
        return next((step for step in self.steps if step.cell_id == cell_id), None)


def _cell(source: str, cell_id: str, tags: Sequence[str] = ()) -> dict[str, Any]:
    empty: dict[str, Any] = {"execution_count": None, "outputs": [], "metadata": {"tags": list(tags)} if tags else {}}
    return {"cell_type": "code", "id": cell_id, "source": source, **empty}


def in_order(executions: Sequence[CellExecution]) -> Steps:
    """Every execution in the order in which it ran, also of cells that are no longer there."""
    return _steps("journal", executions, [])


def as_notebook(
    executions: Sequence[CellExecution], document: Mapping[str, Any], saved_at: float | None = None
) -> Steps:
    """The cells that ran, in the order of the document, each as it was when it ran last.

    A cell that is not in the document was deleted, unless it ran first after the document was saved: then it is new,
    and stands behind the cell that ran before it.
    """
    order, belongs = _places(executions, document)
    last: dict[str, CellExecution] = {}
    gone: dict[str, list[CellExecution]] = {}
    before: str | None = None
    for execution in executions:
        key = belongs.get(execution.execution_id)
        if key is None and execution.cell_id and _is_new(execution, executions, saved_at):
            key = execution.cell_id
            if key not in order:
                order.insert(order.index(before) + 1 if before in order else len(order), key)
        if key is None:
            gone.setdefault(execution.cell_id or execution.execution_id, []).append(execution)
            continue
        last[key], before = execution, key
    deleted = [(found[-1], "the notebook does not have it any more") for found in gone.values()]
    return _steps("notebook", [last[key] for key in order if key in last], deleted)


def _steps(how: str, chosen: Sequence[CellExecution], left_out: list[tuple[CellExecution, str]]) -> Steps:
    steps: list[Step] = []
    taken: set[str] = {"load-ext"}
    for execution in chosen:
        if execution.status in _LEFT_OUT:
            left_out.append((execution, _LEFT_OUT[execution.status]))
            continue
        own = re.sub(r"[^a-zA-Z0-9-_]", "-", execution.cell_id or "")[:50] or "cell"
        cell_id = own if own not in taken and execution.cell_id else f"{own}-{execution.number}"
        while cell_id in taken:
            cell_id += "x"
        taken.add(cell_id)
        steps.append(Step(execution, cell_id))
    return Steps(how, tuple(steps), tuple(left_out))


def _places(executions: Sequence[CellExecution], document: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    """The keys of the document's code cells in their order, and the cell of each execution that has one.

    By the cell's id; in notebooks of before format 4.5 front ends make up ids that no file has, so there by the text.
    """
    cells = [cell for cell in document.get("cells", ()) if cell.get("cell_type") == "code"]
    keys = [str(cell.get("id") or f"place-{place}") for place, cell in enumerate(cells)]
    texts: dict[str, list[str]] = {}
    for key, cell in zip(keys, cells):
        if not cell.get("id"):
            texts.setdefault(parameters.cell_source(cell).strip(), []).append(key)
    belongs: dict[str, str] = {}
    by_id: dict[str, str] = {}
    for execution in executions:
        found = execution.cell_id if execution.cell_id in keys else None
        if found is None and (same := texts.get(execution.source.strip())):
            found = by_id.setdefault(execution.cell_id or execution.execution_id, same[0])
            if len(same) > 1 and found == same[0]:
                same.pop(0)
        if found is not None:
            belongs[execution.execution_id] = found
    return list(dict.fromkeys(keys)), belongs


def _is_new(execution: CellExecution, executions: Sequence[CellExecution], saved_at: float | None) -> bool:
    first = next(e for e in executions if e.cell_id == execution.cell_id)
    return saved_at is not None and first.started_at > saved_at
