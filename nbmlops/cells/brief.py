"""A run's cells in a few words each, for cards and lists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nbmlops.records import CellExecution

_LINE = 80


def brief(cells: Iterable[CellExecution], run_id: str) -> tuple[dict[str, Any], ...]:
    """For each cell ``cell`` (its label), ``line`` (its first line of code), ``status``, ``seconds`` and ``made``."""
    return tuple(
        {
            "cell": cell.label,
            "line": first_line(cell.source),
            "status": cell.status,
            "seconds": cell.seconds,
            "made": made(cell, run_id),
            "cell_id": cell.cell_id,
        }
        for cell in cells
    )


def first_line(source: str) -> str:
    """The first line that is code, cut to fit; of a cell of comments alone the first of these."""
    lines = [line.strip() for line in source.splitlines() if line.strip()]
    code = [line for line in lines if not line.startswith("#")] or lines
    text = code[0] if code else ""
    return text if len(text) <= _LINE else text[: _LINE - 1] + "…"


def made(cell: CellExecution, run_id: str) -> list[str]:
    """What the cell logged to the run, and which versions it made: ``metric auc``, ``dataset:sales@3``."""
    found = []
    for touch in sorted(cell.touched, key=lambda t: (t.kind, t.subject, t.name)):
        if touch.kind in {"dataset", "model"} and touch.mode == "write":
            found.append(touch.subject)
        elif touch.subject == run_id and touch.kind not in {"run", "tag"}:
            found.append(f"{touch.kind} {touch.name}")
    return found
