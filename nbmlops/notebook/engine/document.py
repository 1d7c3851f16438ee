"""The notebook as it is executed: a copy in today's format, with parameters; and its bytes."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

import nbformat
from papermill.version import version as papermill_version

from nbmlops.notebook import parameters, types
from nbmlops.notebook.job import Job

SKIP_TAG = "skip-execution"


def prepare(nb: Any, job: Job) -> Any:
    """A copy of the notebook, format 4.5, with cell ids, without old outputs, and with the given parameters injected.

    Cells without an id get one from their position, the same each time. An injected cell from an earlier execution is
    removed, because its values would otherwise override the defaults unseen.
    """
    nb = nbformat.from_dict(nb) if not isinstance(nb, nbformat.NotebookNode) else nbformat.from_dict(dict(nb))
    nb.cells = [c for c in nb.cells if parameters.INJECTED not in c.metadata.get("tags", [])]
    with_ids(nb)
    if job.params:
        cell = nbformat.v4.new_code_cell(parameters.injected_source(job.params), id="injected-parameters")
        cell.metadata["tags"] = [parameters.INJECTED]
        place = parameters.tagged(nb, parameters.TAG)
        nb.cells.insert(0 if place is None else place + 1, cell)
    nb.metadata["papermill"] = nbformat.from_dict(
        {
            "default_parameters": {},
            "environment_variables": {},
            "input_path": job.path or None,
            "output_path": None,
            "parameters": {k: types.to_json(v) for k, v in job.params.items()},
            "version": papermill_version,
        }
    )
    return nb


def with_ids(nb: Any) -> None:
    """Make the notebook, in place, one of format 4.5: every cell has an id, and its source in one text."""
    nb.nbformat, nb.nbformat_minor = 4, max(5, nb.get("nbformat_minor", 0))
    for index, cell in enumerate(nb.cells):
        cell.setdefault("id", f"cell-{index}")
        cell.source = parameters.cell_source(cell)


def to_bytes(nb: Any) -> bytes:
    """The notebook as its file would hold it."""
    return nbformat.writes(nb, version=nbformat.NO_CONVERT).encode()


def unfinished(nb: Any) -> tuple[bytes, float]:
    """The bytes of a notebook that still runs, and the seconds this took. Not validated, which takes far longer."""
    started = time.monotonic()
    return nbformat.v4.writes(nb).encode(), time.monotonic() - started


def skipped(cell: Any, tags: Collection[str]) -> bool:
    """Whether the cell has a tag that keeps it from being executed."""
    return cell.cell_type == "code" and not {SKIP_TAG, *tags}.isdisjoint(cell.metadata.get("tags", []))


def runs(cell: Any, tags: Collection[str]) -> bool:
    """Whether there is anything in the cell to execute."""
    return cell.cell_type == "code" and bool(cell.source.strip()) and not skipped(cell, tags)


def title(source: str) -> str:
    """The first line that says something: not blank, not a rule, not a cell magic unless there is nothing else."""
    lines = [line.strip() for line in source.splitlines() if any(c.isalnum() for c in line)]
    plain = [line for line in lines if not line.startswith("%%")]
    return (plain or lines or [""])[0][:200]
