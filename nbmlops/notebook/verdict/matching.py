"""Which cell of the notebook each execution was of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbmlops.notebook.cells import SKIPPED, syntax_of
from nbmlops.notebook.parameters import cell_source
from nbmlops.records.cells import CellExecution


@dataclass(eq=False)
class Cell:
    """A code cell as it is now. ``number`` is its place in the file, from 1 over all cells; ``ran`` its executions."""

    source: str
    number: int = 0
    cell_id: str | None = None
    tags: tuple[str, ...] = ()
    ran: list[Ran] = field(default_factory=list)

    @property
    def text(self) -> str:
        return syntax_of(self.source)[0]

    @property
    def label(self) -> str:
        """``[3]`` of its last execution, or ``cell 3`` of the file."""
        return self.ran[-1].execution.label if self.ran else f"cell {self.number}"

    @property
    def last(self) -> Ran | None:
        return self.ran[-1] if self.ran else None


@dataclass(eq=False)
class Ran:
    """One execution; ``cell`` is None where the notebook has it no more."""

    execution: CellExecution
    cell: Cell | None = None

    @property
    def text(self) -> str:
        return syntax_of(self.execution.source)[0]

    @property
    def current(self) -> bool:
        """Whether the cell still reads as it did."""
        return self.cell is not None and self.cell.text == self.text

    @property
    def failed(self) -> bool:
        """Whether it may have stopped before its end."""
        return self.execution.status in {"error", "interrupted", "lost"}


@dataclass
class History:
    """The cells in the order of the notebook, and the executions in the order in which they ran."""

    cells: list[Cell]
    ran: list[Ran]

    @property
    def straight(self) -> bool:
        """Whether exactly the cells of the notebook ran, each once, from top to bottom."""
        executed = [(ran.cell, ran.current, ran.failed) for ran in self.ran]
        return executed == [(cell, True, False) for cell in self.cells]


def match(
    executions: Sequence[CellExecution], document: Mapping[str, Any] | None, saved_at: float | None = None
) -> History:
    """Executions of nothing but comments count for nothing.

    What ran after the notebook was saved and is not in it, or reads otherwise there, is taken for not saved yet.
    """
    ran = [Ran(execution) for execution in executions if syntax_of(execution.source)[0] or not execution.source]
    if document is None:
        return History(_without_document(ran), ran)
    cells = document_cells(document)
    by_id = {cell.cell_id: cell for cell in cells if cell.cell_id}
    by_text: dict[str, list[Cell]] = {}
    for known in cells:
        by_text.setdefault(known.text, []).append(known)
    before: Cell | None = None
    cell: Cell | None
    for one in ran:
        cell = by_id.get(one.execution.cell_id) if one.execution.cell_id else None
        cell = cell or _by_text(one, by_text)
        late = saved_at is not None and one.execution.started_at > saved_at
        if cell is None and late:
            cell = Cell(one.execution.source, cell_id=one.execution.cell_id)
            cells.insert(cells.index(before) + 1 if before is not None else 0, cell)
            if cell.cell_id:
                by_id[cell.cell_id] = cell
            by_text.setdefault(cell.text, []).append(cell)
        elif cell is not None and late and cell.text != one.text:
            cell.source = one.execution.source
        if cell is not None:
            one.cell = before = cell
            cell.ran.append(one)
    return History(cells, ran)


def _by_text(one: Ran, by_text: dict[str, list[Cell]]) -> Cell | None:
    """The cell that reads like this; of several, the one that ran least often so far, for they ran in turn."""
    found = [c for c in by_text.get(one.text, ()) if not one.execution.cell_id or not _ran_by_id(c)]
    return min(found, key=lambda cell: len(cell.ran), default=None)


def _ran_by_id(cell: Cell) -> bool:
    return any(ran.execution.cell_id == cell.cell_id for ran in cell.ran)


def _without_document(ran: Sequence[Ran]) -> list[Cell]:
    """The cells that ran, in the order of their last runs; without ids every execution is a cell of its own."""
    cells: dict[Any, Cell] = {}
    for number, one in enumerate(ran):
        key = one.execution.cell_id or number
        cell = cells.pop(key, None) or Cell("", cell_id=one.execution.cell_id)
        cell.source = one.execution.source
        cells[key] = cell
        cell.ran.append(one)
        one.cell = cell
    for number, cell in enumerate(cells.values(), 1):
        cell.number = number
    return list(cells.values())


def document_cells(document: Mapping[str, Any]) -> list[Cell]:
    """The cells of a file that do something; what is no cell is left out."""
    found = []
    cells = document.get("cells")
    for index, cell in enumerate(cells if isinstance(cells, list) else ()):
        if not isinstance(cell, Mapping) or cell.get("cell_type") != "code":
            continue
        metadata = cell.get("metadata")
        tags = metadata.get("tags") if isinstance(metadata, Mapping) else None
        tags = tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list | tuple) else ()
        if not _is_text(cell.get("source", "")):
            continue
        source = cell_source(cell)
        if SKIPPED in tags or not source.strip() or not syntax_of(source)[0]:
            continue
        cell_id = cell.get("id")
        found.append(Cell(source, index + 1, cell_id if isinstance(cell_id, str) else None, tags))
    return found


def _is_text(source: Any) -> bool:
    return isinstance(source, str) or (isinstance(source, list) and all(isinstance(line, str) for line in source))
