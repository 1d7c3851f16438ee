"""jupyter-scheduler's jobs with this engine: warm kernels, true states, and the reason when one ends badly.

Import it only where jupyter-scheduler is installed. To switch it on, in ``jupyter_server_config.py``::

    c.Scheduler.execution_manager_class = "nbmlops.notebook.scheduler.ExecutionManager"
"""

from __future__ import annotations

import os
from typing import Any

from jupyter_scheduler.executors import DefaultExecutionManager

from nbmlops.errors import StageFailed
from nbmlops.notebook import parameters
from nbmlops.notebook.job import Job
from nbmlops.notebook.types import Text


class ExecutionManager(DefaultExecutionManager):  # type: ignore[misc]  # untyped, and not installed everywhere
    """Executes a job's notebook; its outputs are written however it ended. One that skips itself is completed."""

    def execute(self) -> None:
        """Execute the notebook in its staging folder.

        Parameters come as text and get the types that the notebook's ``parameters`` cell declares.

        Raises:
            InvalidValue: listing every parameter that does not fit.
            StageFailed: it did not finish; jupyter-scheduler shows the message with the job.
        """
        import nbformat

        from nbmlops.notebook import engine

        job, source = self.model, self.staging_paths["input"]
        folder = os.path.dirname(source)
        nb = nbformat.read(source, as_version=4)
        # They go to the engine: the cell that jupyter-scheduler makes would be taken for an earlier execution's.
        given: dict[str, Any] = {k: Text(v) if isinstance(v, str) else v for k, v in (job.parameters or {}).items()}
        declared = parameters.read(nb, os.path.basename(source))
        params = declared.coerce(given) if declared.declared else job.parameters or {}
        outcome = engine.execute(nb, Job(cwd=folder, params=params, path=source))
        self.add_side_effects_files(folder)
        self.create_output_files(job, outcome.nb)
        if outcome.status not in {"FINISHED", "SKIPPED"}:
            error: dict[str, Any] = outcome.error or {"name": outcome.status, "message": ""}
            where = "" if outcome.cell is None else f"cell {outcome.cell + 1}: "
            raise StageFailed(f"{where}{error['name']}: {error['message']}", notebook=source)
