"""A notebook that is executed cell by cell in a shell, as somebody plays with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from nbmlops import session


class Notebook:
    """Cells in any order; the extension records them."""

    def __init__(self, folder: Path) -> None:
        InteractiveShell.clear_instance()
        self.shell = InteractiveShell.instance()
        self.folder = folder
        self.run("%load_ext nbmlops")

    def close(self) -> None:
        self.shell.run_line_magic("unload_ext", "nbmlops")
        self.shell.reset(new_session=False)
        InteractiveShell.clear_instance()

    def run(self, *cells: str, cell_id: str | None = None) -> Any:
        """The last cell's value; an error stays in the cell, as in a notebook."""
        result = None
        for source in cells:
            result = self.shell.run_cell(source, store_history=True, cell_id=cell_id).result
        return result

    def magic(self, line: str) -> Any:
        """The value of a magic's line; what it raises is raised."""
        done = self.shell.run_cell(line, store_history=True)
        done.raise_error()
        return done.result

    @property
    def last(self) -> str:
        """The reference of the run that ended last."""
        return session.workspace().runs.search(limit=1)[0].ref
