"""The record of cell states, as papermill keeps it in the notebook, and what those who watch are told."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from papermill.engines import NotebookExecutionManager

from nbmlops.notebook.engine import document
from nbmlops.notebook.job import Event

SOURCE_TOLD = 2_000  # characters


class States(NotebookExecutionManager):
    """Papermill's record of cell states, made true for cells that died or never ran. It writes no files."""

    def __init__(
        self, nb: Any, on_event: Callable[[Event], None], skip_tags: Collection[str] = (), **shown: Any
    ) -> None:
        """``shown`` is what papermill's own class takes: ``progress_bar``, ``log_output``."""
        super().__init__(nb, **{"progress_bar": False, **shown, "autosave_cell_every": 0})
        self.on_event = on_event
        self.skip_tags = frozenset(skip_tags)
        self.cells = sum(self.runs(cell) for cell in nb.cells)
        self.done = 0

    def runs(self, cell: Any) -> bool:
        """Whether the cell is to be executed."""
        return document.runs(cell, self.skip_tags)

    def printed(self, index: int, text: str) -> None:
        """Tell the last lines that a cell has printed."""
        self.on_event({"type": "output", "index": index, "text": text})

    def _tell(self, index: int, status: str, cell: Any) -> None:
        counts = {"done": self.done, "cells": self.cells}
        code = {"source": cell.source[:SOURCE_TOLD], "title": document.title(cell.source)}
        self.on_event({"type": "cell", "index": index, "status": status, **counts, **code})

    def save(self, **kwargs: Any) -> None:
        """Nothing: papermill's would write the whole notebook at each change of a cell. See :mod:`saving`."""

    def cell_start(self, cell: Any, cell_index: int | None = None, **kwargs: Any) -> None:
        """A cell begins."""
        super().cell_start(cell, cell_index, **kwargs)
        if self.runs(cell):
            self._tell(cell_index or 0, "running", cell)

    def cell_complete(self, cell: Any, cell_index: int | None = None, **kwargs: Any) -> None:
        """A cell is over, well or not."""
        super().cell_complete(cell, cell_index, **kwargs)
        status = cell.metadata.papermill["status"]
        if self.runs(cell):
            self.done += status == self.COMPLETED
            self._tell(cell_index or 0, status, cell)

    def passed_over(self) -> None:
        """A cell is not executed and stays pending; a progress bar counts it all the same."""
        if self.pbar:
            self.pbar.update(1)

    def notebook_complete(self, **kwargs: Any) -> None:
        """Times only: the stock method calls every cell that never ran completed."""
        self.end_time = self.now()
        self.nb.metadata.papermill["end_time"] = self.end_time.isoformat()
        self.nb.metadata.papermill["duration"] = (self.end_time - self.start_time).total_seconds()
        self.cleanup_pbar()
