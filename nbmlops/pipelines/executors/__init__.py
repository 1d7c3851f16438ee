"""Where stages are executed: threads of this process with a kernel each, or the workers of a Dask cluster.

Both do the same work with the same code and leave the same records. An executor is closed by leaving its context.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

from nbmlops import settings
from nbmlops.context import Context
from nbmlops.errors import InvalidValue
from nbmlops.pipelines import limits
from nbmlops.pipelines.desks import Desks
from nbmlops.pipelines.work import Execution, Work

Announce = Callable[[dict[str, Any]], None]
DEFAULT_WORKERS = 2


class Executor(Protocol):
    """Executes works, at most ``workers`` at a time."""

    workers: int

    def submit(self, work: Work) -> Execution:
        """Hand a work over; returns at once."""

    def lacking(self, resources: dict[str, float]) -> list[str]:
        """What of these resources no place has, however long one waits; each in words."""

    def close(self) -> None:
        """Wait for what runs, and give everything back."""


def make(desks: Desks, context: Context, announce: Announce, *, name: str, workers: int | None) -> Executor:
    """The executor that ``local``, ``dask`` or a scheduler's address (``tcp://…``) means.

    Raises:
        InvalidValue: there is no such executor, or the number of workers is none.
        MissingLibrary: Dask is asked for and not installed.
    """
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise InvalidValue(
            f"workers must be a whole number above zero, not {workers!r}", "leave it out for the default"
        )
    if name == "local":
        from nbmlops.pipelines.executors.local import LocalExecutor

        return LocalExecutor(desks, context, announce, workers=min(workers or DEFAULT_WORKERS, os.cpu_count() or 1))
    if name == "dask" or "://" in name:
        from nbmlops.pipelines.executors.dask import DaskExecutor

        return DaskExecutor(desks, context, announce, address=None if name == "dask" else name, workers=workers)
    raise InvalidValue(
        f"there is no executor {name!r}", "use local, dask, or a Dask scheduler's address: tcp://HOST:8786"
    )


def offered() -> dict[str, float]:
    """What the setting ``resources`` says this machine has for stages that ask for it.

    Raises:
        InvalidValue: the setting cannot be read.
    """
    try:
        return limits.offered(settings.value("resources"))
    except ValueError as error:
        raise InvalidValue(f"setting resources: {error}", "write it as gpu=1,license=2") from error
