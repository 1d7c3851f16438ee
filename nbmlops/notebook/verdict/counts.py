"""The history of a saved notebook, as far as its execution counts tell it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbmlops.notebook.parameters import cell_source
from nbmlops.notebook.verdict.matching import document_cells
from nbmlops.records.cells import CellExecution


def counted(document: Mapping[str, Any]) -> tuple[list[CellExecution], list[str]]:
    """Each cell's last execution, in order, and the gaps between counts; without any count each ran once, in order."""
    cells = document.get("cells")
    raw = list(cells) if isinstance(cells, list) else []
    numbers = {cell.number for cell in document_cells(document)}
    found = []
    for index, cell in enumerate(raw):
        if index + 1 not in numbers:
            continue
        count = cell.get("execution_count")
        found.append((count if isinstance(count, int) and not isinstance(count, bool) else None, index, cell))
    counts = [count for count, _, _ in found if count is not None]
    if not counts:
        return [_execution(number, cell, None) for number, (_, _, cell) in enumerate(found, 1)], []
    ran = sorted((one for one in found if one[0] is not None), key=lambda one: (one[0] or 0, one[1]))
    gaps = [
        f"between [{a}] and [{b}]" if a else f"before [{b}]"
        for a, b in zip([0, *sorted(counts)], sorted(counts))
        if b - a > 1
    ]
    return [_execution(number, cell, count) for number, (count, _, cell) in enumerate(ran, 1)], gaps


def _execution(number: int, cell: Mapping[str, Any], count: int | None) -> CellExecution:
    error = _error(cell)
    cell_id = cell.get("id")
    return CellExecution(
        str(number),
        "",
        number,
        cell_source(cell),
        cell_id=cell_id if isinstance(cell_id, str) else None,
        count=count,
        status="error" if error else "ok",
        error=error,
    )


def _error(cell: Mapping[str, Any]) -> dict[str, Any] | None:
    outputs = cell.get("outputs")
    for output in outputs if isinstance(outputs, list) else ():
        if isinstance(output, Mapping) and output.get("output_type") == "error":
            return {"ename": str(output.get("ename", "")), "evalue": str(output.get("evalue", ""))}
    return None
