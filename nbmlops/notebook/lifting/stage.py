"""A stage notebook made of lifted parts, as the JSON that its file holds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from nbmlops.notebook.lifting import Cell, Lifted
from nbmlops.notebook.parameters import TAG, cell_source

_KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def document(lifted: Lifted, title: str, extracted: Mapping[str, Any]) -> dict[str, Any]:
    """The notebook. ``title`` is markdown for its head, ``extracted`` what its metadata say of where it came from."""
    cells = [_markdown(title)]
    if lifted.extension:
        cells.append(_code("%load_ext nbmlops"))
    if lifted.imports:
        cells.append(_code(lifted.imports))
    if lifted.parameters:
        cells.append(_code(lifted.parameters_source, TAG))
    heading = ""
    for cell in lifted.cells:
        if cell.heading and cell.heading != heading:
            cells.append(_markdown(cell.heading))
        heading = cell.heading
        cells.append(_code(cell.source, *(["raises-exception"] if cell.raises else [])))
    for number, cell_ in enumerate(cells, 1):
        cell_["id"] = f"extracted-{number}"
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": dict(_KERNEL),
            "language_info": {"name": "python"},
            "nbmlops": {"extracted": dict(extracted)},
        },
        "cells": cells,
    }


def digest(cells: Sequence[Cell]) -> str:
    """What the cells are known by: the same sources in the same order have the same digest."""
    parts = (f"{len(cell.source)}\n{cell.source}" for cell in cells)
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def headings(document: Mapping[str, Any] | None) -> dict[str, str]:
    """The id, and the source, of each code cell -> the heading in the markdown cell right above it."""
    found: dict[str, str] = {}
    above = ""
    for cell in (document or {}).get("cells", ()):
        source = cell_source(cell)
        if cell.get("cell_type") == "markdown":
            above = next((line.strip() for line in source.splitlines() if line.lstrip().startswith("#")), "")
            continue
        if cell.get("cell_type") == "code" and above:
            found.update({key: above for key in (cell.get("id"), source) if key})
        above = ""
    return found


def _code(source: str, *tags: str) -> dict[str, Any]:
    metadata = {"tags": list(tags)} if tags else {}
    return {"cell_type": "code", "execution_count": None, "metadata": metadata, "outputs": [], "source": source}


def _markdown(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": source}
