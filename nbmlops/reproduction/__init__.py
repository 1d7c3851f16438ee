"""The reproduction desk: a run executed again in a fresh kernel, and what came out differently."""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbmlops import clock, secrets
from nbmlops.context import Context, ContextSource
from nbmlops.errors import InvalidValue, NotFound, UsageFault
from nbmlops.notebook import recorder
from nbmlops.notebook.job import Stop
from nbmlops.records import Certificate, ModelVersion, Run, plain
from nbmlops.reproduction import comparing, environments, logged, past, predicting
from nbmlops.reproduction.attempt import Attempt, Cells
from nbmlops.reproduction.comparing import Compared
from nbmlops.reproduction.logged import Kept, Logged, Metric, Written
from nbmlops.reproduction.past import Past
from nbmlops.reproduction.rerun import CellError, Rerun, Told, Wish, clean
from nbmlops.reproduction.sessions import SessionAgain
from nbmlops.reproduction.stages import StageAgain, row_of
from nbmlops.reproduction.watching import watched
from nbmlops.store import Store, ledger, schema

if TYPE_CHECKING:
    import pandas as pd

    from nbmlops.models import Models
    from nbmlops.pipelines.progress import Progress
    from nbmlops.runs import Runs

__all__ = ["CellError", "Kept", "Logged", "Metric", "Reproduction", "Rerun", "Written"]


CERTIFIED = "run.certified"
_COLUMNS = ("certificate_id", "run_id", "status", "user", "at")


class Reproduction:
    """Every verb about clean runs. Nothing that a clean run does reaches the store: it has a scratch store instead."""

    def __init__(
        self,
        store: Store,
        context: ContextSource,
        runs: Runs,
        models: Models,
        *,
        cells: Cells | None = None,
    ) -> None:
        self.store = store
        self.context = context
        self.runs = runs
        self.models = models
        self.cells = cells

    def reproduce(
        self,
        ref: str,
        *,
        tolerance: float = 0.0,
        how: str | None = None,
        progress: Progress | bool | None = None,
    ) -> Certificate:
        """Execute a run again in a fresh kernel, compare, and keep the certificate: a row, and an event of the ledger.

        A stage is executed as its notebook was, with the same values and versions. Of a run of a live session, the
        cells that ran before it ended are: those that its notebook still has, from top to bottom, each as it ran last;
        or with ``how="journal"`` all of them in the order in which they ran. What the clean run writes stays in a
        scratch store and goes with it; files that the notebook writes are written.

        Args:
            ref: a run, or a model version, whose run is meant.
            tolerance: relative; metrics and predictions this close are the same. At 0, to the last bit.
            how: of a session's run: ``notebook`` or ``journal``.
            progress: called with each event; by default a display that suits terminal or notebook; False for none.

        Raises:
            NotFound: no such run or model, or nothing is known of its cells.
            UsageFault: inside a clean run; or the run was stopped before its end.
            KeyboardInterrupt: Ctrl-C; nothing is recorded.
        """
        if self.context().reproducing:
            raise UsageFault("this is a clean run already", "what asks for one inside of it is left out")
        if not (isinstance(tolerance, int | float) and 0 <= tolerance < math.inf):
            raise InvalidValue(f"{tolerance!r} is no tolerance", "give a share such as 1e-6, or 0 for equal bits")
        run, version = self._asked(ref)
        return self._reproduce(run, version, tolerance=tolerance, how=how, progress=progress)

    def _reproduce(
        self,
        run: Run,
        until: str | tuple[str, int] | None,
        *,
        tolerance: float = 0.0,
        how: str | None = None,
        progress: Progress | bool | None = None,
    ) -> Certificate:
        work = self._again(run, until, how)
        before = logged.of_runs(self.store, self.runs, [run.run_id])[0]
        attempt: Attempt = watched(work, progress)
        return self._keep(self._certificate(run, before, attempt, float(tolerance)))

    def certify(
        self, version: ModelVersion, *, now: bool = False, progress: Progress | bool | None = None
    ) -> ModelVersion:
        """Reproduce the run of a model version; the version comes back with its certificate.

        Inside a clean run nothing is done: it would begin another one of itself.

        Args:
            version: the model version.
            now: it was registered just now: the cell that runs is the last one of the clean run, and of a run that is
                active, what it has logged so far is compared.
            progress: as in :meth:`reproduce`.

        Raises:
            UsageFault: the model was registered outside of any run.
        """
        if self.context().reproducing:
            return version
        if version.run_id is None:
            raise UsageFault(
                f"{version.ref} was registered outside of any run: there is nothing to reproduce",
                "register it inside one, with start_run() or as a stage",
            )
        run, until = self.runs.get(f"run:{version.run_id}"), version.ref if version.version else None
        here = _running_cell() if now else None
        return replace(version, certificate=self._reproduce(run, here or until, progress=progress))

    def _asked(self, ref: str) -> tuple[Run, str | None]:
        """The run, and the model version by which it was asked for."""
        model = str(ref).startswith(("model:", "models:/"))
        version = self.models.get(ref) if model else None
        if version is None:
            return self.runs.get(ref), None
        if version.run_id is None:
            raise NotFound(f"{version.ref} was registered outside of any run", "register it inside one")
        return self.runs.get(f"run:{version.run_id}"), version.ref

    def _again(self, run: Run, until: str | tuple[str, int] | None, how: str | None) -> Any:
        """What executes the run again, given what takes events and what stops it."""
        context = self.context()
        if until is None and context.run_id == run.run_id:  # it is active, and a cell of it asks
            until = _running_cell()
        row = row_of(self.store, self.runs, run)
        if row is None:
            return functools.partial(SessionAgain(self.store, self.cells, run, until, how).attempt, context)
        if how is not None:
            raise UsageFault(
                f"{run.ref} is a stage's, whose notebook is kept", "leave out how: it is for live sessions"
            )
        here = context.cell_id if context.run_id == row["run_id"] else None
        return functools.partial(StageAgain(self.store, self.runs, self.cells, row, here).attempt, run, context)

    def _certificate(self, run: Run, before: Logged, attempt: Attempt, tolerance: float) -> Certificate:
        compared, error = Compared(), attempt.error
        if error is None and attempt.after is None:
            error = {
                "cell": "",
                "name": "NoRun",
                "message": "",
                "why": "the cells ran, and none of them began such a run",
            }
        elif error is None and attempt.after is not None:
            alike = predicting.by_predictions(self.store, tolerance, functools.partial(self._rows_read, run))
            so_far = run.status == "RUNNING"
            compared = comparing.compare(before, attempt.after, alike, tolerance=tolerance, so_far=so_far)
        found = (*attempt.differences, *compared.differences)
        differences = tuple(replace(difference, cells=attempt.cells(difference, before)) for difference in found)
        status = "not reproducible" if error else "drifted" if differences else "reproduced"
        return Certificate(
            certificate_id=clock.new_id(),
            run_id=run.run_id,
            status=status,
            how=attempt.how,
            compared=dict(compared.counts),
            differences=differences,
            error=dict(error) if error else None,
            suspects=(*(attempt.suspects() if status != "reproduced" else ()), *attempt.notes),
            environment=environments.compared(self.store, before.environment, attempt.after),
            tolerance=tolerance,
            seconds=attempt.seconds,
            user=self.context().user,
            at=clock.now(),
        )

    def _rows_read(self, run: Run, signature: Mapping[str, Any]) -> pd.DataFrame | None:
        """Rows that a model takes, of a data set that the run read; None if it read no such."""
        from nbmlops.datasets import Datasets

        names = [column["name"] for column in signature["inputs"]]
        outside = Context(self.context().user)  # that it is read here is no use by the active run or cell
        datasets = Datasets(self.store, lambda: outside, self.runs)
        for ref in reversed(run.datasets):
            version = datasets.get(ref)
            if version.kind == "frame" and set(names) <= {column["name"] for column in version.schema}:
                return datasets.load(version, names)
        return None

    def _keep(self, made: Certificate) -> Certificate:
        """The certificate, in the store and told by the ledger, both or neither."""
        report = {k: v for k, v in secrets.scrub(made.to_dict()).items() if k not in _COLUMNS}
        told = {k: report[k] for k in ("how", "compared", "tolerance")}
        facts = {
            "certificate": made.certificate_id,
            "status": made.status,
            **told,
            "differences": len(made.differences),
        }
        row = {"id": made.certificate_id, "report": report, **{k: getattr(made, k) for k in _COLUMNS[1:]}}
        with self.store.write() as db:
            db.execute(schema.certificates.insert(), row)
            ledger.append(db, type=CERTIFIED, subject=made.ref, user=made.user, data=plain(facts))
        kept = self.runs.certificate(made.run_id)
        return kept if kept is not None else made

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


def _running_cell() -> tuple[str, int] | None:
    """Session and number of the cell that runs in this process, if it is recorded."""
    here = recorder.current()
    return (here.session_id, here.number) if here is not None and here.recording and here.execution_id else None


def _folder(folder: str | os.PathLike[str]) -> str:
    path = os.path.abspath(folder)
    if not os.path.isdir(path):
        raise NotFound(f"no folder {path!r}", "a notebook is executed in its own folder; move it back, or name another")
    return path
