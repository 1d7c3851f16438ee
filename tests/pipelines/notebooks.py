"""Small notebooks and pipeline files for tests, and a look at what was executed."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import nbformat

from nbmlops.workspace import Workspace


def write(path: Path, *cells: str) -> Path:
    """A notebook whose first cell holds the parameters."""
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(textwrap.dedent(cell)) for cell in cells])
    nb.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nb, path)
    return path


def pipeline(folder: Path, text: str, name: str = "pipeline.yaml") -> Path:
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def executed(ws: Workspace, run_id: str) -> Any:
    return nbformat.reads(ws.runs.artifact(run_id, "executed.ipynb").decode(), as_version=4)


def printed(ws: Workspace, run_id: str) -> str:
    return "".join(o.get("text", "") for c in executed(ws, run_id).cells for o in c.get("outputs", []))
