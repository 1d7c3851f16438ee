"""The reproduction desk: a run executed again in a fresh kernel, and what came out differently."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nbmlops.context import ContextSource
from nbmlops.errors import NotFound
from nbmlops.notebook.job import Event, Stop
from nbmlops.reproduction import past
from nbmlops.reproduction.logged import Kept, Logged, Metric, Written
from nbmlops.reproduction.past import Past
from nbmlops.reproduction.rerun import CellError, Rerun, Told, Wish, clean
from nbmlops.store import Store

if TYPE_CHECKING:
    from nbmlops.models import Models
    from nbmlops.runs import Runs

__all__ = ["CellError", "Event", "Kept", "Logged", "Metric", "Reproduction", "Rerun", "Written"]


class Reproduction:
    """Every verb about clean runs. Nothing that a clean run does reaches the store: it has a scratch store instead."""

    def __init__(self, store: Store, context: ContextSource, runs: Runs, models: Models) -> None:
        self.store = store
        self.context = context
        self.runs = runs
        self.models = models

    def rerun(
        self,
        document: Mapping[str, Any],
        *,
        folder: str | os.PathLike[str],
        params: Mapping[str, Any] | None = None,
        pins: Mapping[str, int] | None = None,
        like: str | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float | None = None,
        on_event: Told | None = None,
        stop: Stop | None = None,
    ) -> Rerun:
        """Execute a notebook in a fresh, warm kernel; what its runs logged comes back, and the store stays as it is.

        Data sets and models are read as they are now, or as the run ``like`` found them. Versions that are written get
        numbers that mean nothing outside; their digests do. Errors of cells are not raised: see :class:`Rerun`.

        Args:
            document: the notebook as JSON, format 4; it is not changed.
            folder: the working folder; files that the notebook writes there are written.
            params: typed values for its cell tagged ``parameters``, as ``Parameters.coerce`` gives them.
            pins: ``{"dataset:x": 3}``: the versions meant by references without one.
            like: a run whose past it sees: versions made since it began are not there, and what it read is pinned.
            environment: further variables of the kernel.
            timeout: seconds for the whole notebook.
            on_event: gets, in another thread, what ``engine.execute`` tells of cells.
            stop: ends it early; its status is then KILLED.

        Raises:
            KeyboardInterrupt: Ctrl-C; the kernel has ended.
            NotFound: there is no such folder, or no run ``like``.
        """
        found = Past(pins=dict(pins or {}))
        if like is not None:
            run = self.runs.get(like)
            seen = past.of_runs(self.store, [run.run_id], run.started_at)
            found = Past(seen.at, seen.read, {**seen.pins, **found.pins})
        wish = Wish(_folder(folder), params=params or {}, environment=environment or {}, timeout=timeout)
        plain = json.loads(json.dumps(document))
        with clean(self.store, self.context(), found, json.dumps([plain, str(params)])) as here:
            return here.execute(plain, wish, on_event, stop or Stop())


def _folder(folder: str | os.PathLike[str]) -> str:
    path = os.path.abspath(folder)
    if not os.path.isdir(path):
        raise NotFound(f"no folder {path!r}", "a notebook is executed in its own folder; move it back, or name another")
    return path
