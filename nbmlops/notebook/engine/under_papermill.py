"""Our execution between papermill's preparation and its raising: see :mod:`nbmlops.notebook.papermill_engine`.

Papermill parameterises, raises and marks as always; only the execution in between is ours: warm kernels, true states
of cells, a memory limit, and far fewer writes of the output notebook.
"""

from __future__ import annotations

import os
from typing import Any

from jupyter_client.kernelspec import NoSuchKernel
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.iorw import papermill_io, write_ipynb
from papermill.log import logger

from nbmlops.notebook.engine.client import OutputClient
from nbmlops.notebook.engine.document import with_ids
from nbmlops.notebook.engine.execution import run
from nbmlops.notebook.engine.states import States
from nbmlops.notebook.job import Job, Outcome, Stop

_OURS = ("memory", "preload", "warm", "skip_tags")
_PAPERMILLS = frozenset({"input_path", "start_timeout", "execution_timeout", "timeout", "startup_timeout"})


def execute_notebook(
    nb: Any,
    kernel_name: str,
    *,
    output_path: str | None = None,
    progress_bar: bool | dict[str, Any] = True,
    log_output: bool = False,
    autosave_cell_every: int = 30,
    **given: Any,
) -> Any:
    """The executed notebook. It was written to ``output_path`` at the start, the end, and in between.

    ``autosave_cell_every`` is the longest time between two writes, in seconds; 0 leaves it at five minutes. ``given``
    is what papermill passes on (``start_timeout``, ``execution_timeout``…), options of nbclient's client, and
    ``memory``, ``preload``, ``warm`` and ``skip_tags`` as :class:`nbmlops.notebook.job.Job` has them.

    Raises:
        NoSuchKernel: there is no such kernelspec.
        DeadKernelError: the kernel died, or did not start; the message says why.
        CellTimeoutError: a cell took longer than ``execution_timeout``.
        KeyboardInterrupt: Ctrl-C.
    """
    with_ids(nb)
    job = _job(kernel_name, output_path, autosave_cell_every, given)
    shown = {"output_path": output_path, "progress_bar": progress_bar, "log_output": log_output}
    states = _Written(nb, lambda event: None, job.skip_tags, **shown)
    options = {k: v for k, v in given.items() if k in OutputClient.class_trait_names() and k not in _PAPERMILLS}
    if ignored := sorted(set(given) - set(options) - _PAPERMILLS - set(_OURS)):
        logger.warning(f"the engine nbmlops does not know: {', '.join(ignored)}")
    outcome = run(states, job, Stop(), {"log": logger, "log_output": log_output, **options})
    if outcome.status == "SKIPPED":
        logger.info(f"skipped: {outcome.reason}")
    elif outcome.status != "FINISHED":
        _raise(outcome, kernel_name)
    return outcome.nb


class _Written(States):
    """Writes the notebook where papermill wants it, at the start and at the end."""

    def notebook_start(self, **kwargs: Any) -> None:
        super().notebook_start(**kwargs)
        write_ipynb(self.nb, self.output_path)

    def notebook_complete(self, **kwargs: Any) -> None:
        super().notebook_complete(**kwargs)
        write_ipynb(self.nb, self.output_path)


def _job(kernel_name: str, output_path: str | None, autosave: int, given: dict[str, Any]) -> Job:
    source = given.get("input_path")
    here = isinstance(source, str) and os.path.exists(source)
    return Job(
        cwd=os.getcwd(),
        kernel=kernel_name,
        cell_timeout=given.get("execution_timeout") or given.get("timeout"),
        start_timeout=given.get("start_timeout") or 60,
        path=os.path.abspath(source) if here and source else "",
        save=(lambda data: papermill_io.write(data.decode(), output_path)) if output_path else None,
        save_every=autosave or 300,
        **{name: given[name] for name in _OURS if name in given},
    )


def _raise(outcome: Outcome, kernel_name: str) -> None:
    """The error that nbclient has for it; none for an error in a cell, which papermill looks for itself."""
    error = outcome.error or {"name": outcome.status, "message": ""}
    if outcome.status == "KILLED":
        raise KeyboardInterrupt
    if outcome.status == "DIED":
        raise DeadKernelError(error["message"])
    if outcome.status == "TIMEOUT" or error["name"] == "OutputTimeout":
        raise CellTimeoutError(error["message"])
    if outcome.cell is None:
        raise NoSuchKernel(kernel_name)
