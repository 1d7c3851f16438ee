"""Executes a notebook in a kernel of its own and tells what became of every cell.

The only package that knows papermill, nbclient and jupyter_client. Importing it costs about a second (they load
jsonschema), so import it inside functions.

Papermill keeps its conventions here: the ``injected-parameters`` cell, and the metadata under ``papermill``. What its
stock engine does not do: a dead or timed-out cell is ``failed`` and cells that never ran stay ``pending`` (it marks
all of them ``completed``); the kernel learns each cell's id; memory has a limit and is told; a notebook may skip
itself; huge outputs are cut; and the disk is written at a bounded rate instead of 3 + 2 x cells times.
"""

from __future__ import annotations

from nbmlops.notebook.engine.document import prepare, to_bytes
from nbmlops.notebook.engine.execution import execute

__all__ = ["execute", "prepare", "to_bytes"]
