"""A notebook executed in a fresh kernel against a scratch store, and what its runs logged there."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from nbmlops import secrets
from nbmlops.context import Context
from nbmlops.notebook import masking
from nbmlops.notebook.job import Event, Job, Outcome, Stop
from nbmlops.pipelines import works
from nbmlops.pipelines.desks import Desks
from nbmlops.reproduction import logged
from nbmlops.reproduction.logged import Logged
from nbmlops.reproduction.past import Past
from nbmlops.reproduction.scratch import blob_root, scratch
from nbmlops.store import Store

Told = Callable[[Event], None]


@dataclass(frozen=True)
class CellError:
    """A cell that raised: its index and id in the executed notebook, and what; whether the notebook went on."""

    index: int
    cell_id: str
    name: str
    message: str
    went_on: bool = False


@dataclass(frozen=True)
class Rerun:
    """What became of a notebook that was executed against a scratch store.

    ``status``: FINISHED, SKIPPED, FAILED, TIMEOUT, DIED or KILLED (stopped by its caller). ``runs`` are all runs it
    started, in that order; for one that logged nothing the mappings are empty. ``errors`` are the cells that raised, in
    order; ``error`` is what ended it (``name``, ``message``, ``traceback`` and, where a cell was to blame, ``cell``,
    its index). ``notebook`` is the executed notebook as plain JSON. Digests of data sets are of their content and may
    be compared with those of the user's store; packages of models likewise, if all libraries are the same.
    """

    status: str
    runs: tuple[Logged, ...]
    error: Mapping[str, Any] | None
    errors: tuple[CellError, ...]
    notebook: dict[str, Any] = field(repr=False)
    seconds: float
    cells_done: int = 0
    cells: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it came to its end."""
        return self.status in {"FINISHED", "SKIPPED"}


@dataclass(frozen=True)
class Wish:
    """How a notebook is executed: its folder, values, path (told, not read), further variables, and its limit."""

    folder: str
    path: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None
    skip_tags: tuple[str, ...] = ()


class Clean:
    """A scratch store with its desks. ``known`` are the runs that were there before the clean run."""

    def __init__(self, store: Store, context: Context) -> None:
        self.store, self.context = store, context
        self.desks = Desks.over(store, lambda: context)
        self.known = frozenset(logged.started(store, ()))

    def runs(self) -> tuple[Logged, ...]:
        """What the runs that were started here logged."""
        return tuple(logged.of_runs(self.store, self.desks.runs, logged.started(self.store, self.known)))

    def execute(self, document: dict[str, Any], wish: Wish, on_event: Told | None, stop: Stop) -> Rerun:
        """Execute a notebook here.

        Raises:
            KeyboardInterrupt: Ctrl-C ended it.
        """
        from nbmlops.notebook import engine

        interrupted = Stop()  # the engine's own: it is set by Ctrl-C too
        data = json.dumps(document).encode()
        with secrets.child() as child:
            job = Job(
                cwd=wish.folder,
                params=wish.params,
                environment={**wish.environment, **self._variables(wish), **child.to_environment()},
                timeout=wish.timeout,
                preload=works.preload([(data, wish.path or "the notebook")]),
                skip_tags=wish.skip_tags,
                path=wish.path,
            )
            with stop.calling(interrupted.set):
                outcome = masking.scrub_outcome(engine.execute(document, job, on_event, interrupted), child)
        if outcome.status == "KILLED" and not stop.is_set():
            raise KeyboardInterrupt
        return self._rerun(outcome)

    def _variables(self, wish: Wish) -> dict[str, str]:
        context = replace(self.context, notebook=wish.path or None)
        store = {"NBMLOPS_STORE": self.store.url, "NBMLOPS_ARTIFACTS": blob_root(self.store)}
        return {**store, **context.to_environment()}

    def _rerun(self, outcome: Outcome) -> Rerun:
        error = None
        if outcome.error is not None:
            error = {**outcome.error, "traceback": "\n".join(outcome.error["traceback"])}
            error |= {} if outcome.cell is None else {"cell": outcome.cell}
        return Rerun(
            outcome.status,
            self.runs(),
            error,
            tuple(cell_errors(outcome.nb, outcome.cell if error else None)),
            outcome.nb,
            outcome.duration,
            outcome.cells_done,
            outcome.cells,
            outcome.warnings,
        )


@contextlib.contextmanager
def clean(original: Store, context: Context, past: Past, text: str = "") -> Iterator[Clean]:
    """A scratch store of which everything that is done inside knows that it is one; gone at the end.

    Args:
        original: the store it stands for.
        context: who acts.
        past: what is there, and what references mean.
        text: what may name earlier runs.
    """
    with scratch(original, past, text) as store:
        own = Context(context.user, context.host, pins=dict(past.pins), reproducing=str(store.folder))
        yield Clean(store, own)


def cell_errors(notebook: Any, ended: int | None) -> Iterator[CellError]:
    """The cells of an executed notebook that raised; ``ended`` is the index of the one where it ended."""
    for index, cell in enumerate(notebook["cells"]):
        for output in cell.get("outputs", ()):
            if output.get("output_type") == "error":
                yield CellError(index, cell.get("id", ""), output["ename"], output["evalue"], index != ended)
                break
