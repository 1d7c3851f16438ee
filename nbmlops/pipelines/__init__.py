"""The pipelines desk: notebooks as stages, in order, with pinned versions, each one tracked and kept."""

from __future__ import annotations

import contextlib
import os
import queue
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from nbmlops.context import ContextSource
from nbmlops.errors import InvalidValue, StoreFault
from nbmlops.notebook import parameters
from nbmlops.notebook.job import Stop
from nbmlops.pipelines import plan as plans
from nbmlops.pipelines import progress as displays
from nbmlops.pipelines import rows
from nbmlops.pipelines.desks import Desks
from nbmlops.pipelines.flow import FlowRun, next_event, stage_failed
from nbmlops.pipelines.outside import Outside
from nbmlops.pipelines.spec import seconds
from nbmlops.pipelines.stage import StageRunner, Work
from nbmlops.records import Flow, Plan, StageRun
from nbmlops.refs import parse
from nbmlops.store import Store, schema

if TYPE_CHECKING:
    from nbmlops.datasets import Datasets
    from nbmlops.models import Models
    from nbmlops.pipelines.progress import Progress
    from nbmlops.pipelines.schedules import Schedule
    from nbmlops.promotion import Promotion
    from nbmlops.runs import Runs

DEFAULT_WORKERS = 2


class Pipelines:
    """Every verb about pipelines and stages."""

    def __init__(
        self, store: Store, context: ContextSource, runs: Runs, datasets: Datasets, models: Models, promotion: Promotion
    ) -> None:
        self.store = store
        self.context = context
        self.runs = runs
        self._desks = Desks(store, runs, datasets, models, promotion)
        self._outside = Outside(datasets, models, promotion)

    def plan(self, path: str | os.PathLike[str], params: Mapping[str, Any] | None = None) -> Plan:
        """The stages in the order in which they would run. Nothing runs, and everything that can be checked is.

        Raises:
            InvalidValue: listing every fault of the file, the values and the notebooks' parameters, what is read and
                does not exist, an unknown environment, and facts that no rule can know.
            NotFound: there is no such file.
        """
        return plans.prepare(os.fspath(path), params, outside=self._outside).record()

    def run(
        self,
        path: str | os.PathLike[str],
        params: Mapping[str, Any] | None = None,
        force: bool = False,
        only: str | Iterable[str] | None = None,
        workers: int | None = None,
        trigger: Mapping[str, Any] | None = None,
        progress: Progress | bool | None = None,
    ) -> Flow:
        """Run a pipeline to its end and return the flow; BLOCKED is a flow whose promotion was refused.

        Args:
            force: run stages even where an earlier result would do. There is no reuse of results so far, so every
                stage runs either way.
            only: the stages to run; the others are left out, and what they write is read as it is in the store.
            workers: executions at a time, at most one per processor; 2 by default.
            trigger: why it runs, ``{"type": "user" | "alert", "ref": …}``.
            progress: called with each event; by default a display that suits terminal or notebook; False for none.

        Raises:
            InvalidValue: listing every fault; nothing was started.
            StageFailed: a stage ended with an error. The flow is recorded, and the executed notebook kept.
        """
        pipeline = plans.prepare(os.fspath(path), params, only, self._outside)
        with displays.showing(progress) as shown:
            flow = FlowRun(self._desks, self.context(), pipeline, shown, dict(trigger or {"type": "user"}))
            flow.run(_workers(workers))
        return self.get(flow.flow_id)

    def run_stage(
        self,
        notebook: str | os.PathLike[str],
        params: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        timeout: str | float | None = None,
        output: str | os.PathLike[str] | None = None,
        retries: int = 0,
        progress: Progress | bool | None = None,
    ) -> StageRun:
        """Execute one notebook as one tracked, typed stage.

        Args:
            name: of the stage; by default the notebook's.
            timeout: for the whole notebook: seconds, or text such as ``20m``.
            output: where a copy of the executed notebook goes, whether it passed or failed.

        Raises:
            InvalidValue: listing every fault of the values; nothing was started.
            NotFound: there is no such notebook.
            StageFailed: it ended with an error; its run and the executed notebook are kept.
        """
        work = self._work(os.fspath(notebook), params or {}, name, timeout, retries)
        with displays.showing(progress) as shown:
            stage = self._attempts(work, shown)[-1]
        if output is not None and stage.executed:
            _write_copy(Path(output), self.store.blobs.get(stage.executed))
        if stage.status != "FINISHED":
            raise stage_failed([(work.label, stage)])
        return stage

    def run_one(
        self,
        path: str | os.PathLike[str],
        stage: str,
        params: Mapping[str, Any] | None = None,
        *,
        progress: Progress | bool | None = None,
    ) -> Flow:
        """Run one stage of a pipeline, with its sweep, on the latest versions of what the others write.

        It is what another scheduler calls, stage by stage. Nothing is promoted, since the stages after it have not run.

        Raises:
            InvalidValue: listing every fault; nothing was started.
            StageFailed: it ended with an error; the flow is recorded, and the executed notebook kept.
        """
        pipeline = plans.prepare(os.fspath(path), params, stage, self._outside)
        pipeline = replace(pipeline, spec=replace(pipeline.spec, promote=None))
        with displays.showing(progress) as shown:
            flow = FlowRun(self._desks, self.context(), pipeline, shown, {"type": "stage", "ref": f"stage:{stage}"})
            flow.run(_workers(None))
        return self.get(flow.flow_id)

    def export(
        self,
        path: str | os.PathLike[str],
        to: str,
        params: Mapping[str, Any] | None = None,
        *,
        image: str | None = None,
        schedule: str | None = None,
        run: str | None = None,
    ) -> dict[str, str]:
        """Files for another scheduler, by their names: ``airflow``, ``kubernetes``, ``github-actions`` or ``docker``.

        The store is not asked: the export may be for another one.

        Args:
            image: the container image that Kubernetes starts.
            schedule: a cron line.
            run: whose environment ``docker`` rebuilds; by default that of this process.

        Raises:
            InvalidValue: listing every fault of the file and the values; or the target lacks something.
        """
        from nbmlops.pipelines import exports
        from nbmlops.runs import origin

        pipeline = plans.prepare(os.fspath(path), params)
        noted = self.runs.get(run).environment if run is not None else None
        environment = self.store.blobs.get(noted) if noted else origin.environment()
        return exports.export(pipeline, to, exports.Order(image, schedule, frozenset(params or ()), environment))

    def schedule(self, path: str | os.PathLike[str], cron: str, params: Mapping[str, Any] | None = None) -> Schedule:
        """The pipeline at the times of a cron line, for a crontab or for systemd; nothing is installed.

        Raises:
            InvalidValue: listing every fault of the file and the values, or of the cron line.
        """
        from nbmlops.pipelines.schedules import Schedule

        return Schedule.of(plans.prepare(os.fspath(path), params), cron, params or {})

    def _work(
        self, notebook: str, params: Mapping[str, Any], name: str | None, timeout: str | float | None, retries: int
    ) -> Work:
        document = parameters.read_file(notebook)
        declared = parameters.read(parameters.parse_document(document, notebook), notebook)
        typed, faults = declared.check(params)
        limit = None
        try:
            limit = None if timeout is None else seconds(timeout)
        except ValueError as error:
            faults.append(f"timeout: {error}")
        if faults:
            raise InvalidValue.of(f"parameters of {notebook}", faults, declared.hint())
        name = name or Path(notebook).stem
        return Work(
            stage=name,
            label=name,
            notebook=notebook,
            path=str(Path(notebook).resolve()),
            document=document,
            declared=declared,
            params=typed,
            pins=self.context().pins,
            retries=retries,
            timeout=limit,
        )

    def _attempts(self, work: Work, progress: Progress) -> list[StageRun]:
        """In a thread, so that this one shows progress and takes Ctrl-C."""
        events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        stop = Stop()
        runner = StageRunner(self._desks, self.context(), events.put, stop)
        with ThreadPoolExecutor(1, thread_name_prefix="nbmlops-stage") as pool:
            future = pool.submit(runner.attempts, work)
            future.add_done_callback(events.put)
            try:
                while isinstance(event := next_event(events), dict):
                    with contextlib.suppress(Exception):  # a broken progress display must never fail a stage
                        progress(event)
            except BaseException:  # Ctrl-C: the kernel is ended and the run recorded before it is raised again
                stop.set()
                raise
        return future.result()

    def flows(self, limit: int = 100) -> list[Flow]:
        """The last flows, newest first."""
        f = schema.flows
        with self.store.read() as db:
            found = db.execute(sa.select(f).order_by(f.c.id.desc()).limit(limit)).mappings().all()
        return rows.flow_records(self.store, self.runs, self.context(), found)

    def get(self, ref: str) -> Flow:
        """One flow, by its reference, a unique part of its id, or a pipeline's name, whose last flow is meant.

        Raises:
            NotFound: no flow, or more than one, answers to it.
        """
        row = rows.find_flow(self.store, parse(ref, "flow").name)
        return rows.flow_records(self.store, self.runs, self.context(), [row])[0]

    def stages(self, limit: int = 100) -> list[StageRun]:
        """The last executions of stages, in flows or alone, newest first."""
        s = schema.stage_runs
        with self.store.read() as db:
            found = db.execute(sa.select(s).order_by(s.c.run_id.desc()).limit(limit)).mappings().all()
        return rows.stage_records(self.store, self.runs, found)


def _workers(asked: int | None) -> int:
    if asked is not None and (isinstance(asked, bool) or not isinstance(asked, int) or asked < 1):
        raise InvalidValue(f"workers must be a whole number above zero, not {asked!r}", "leave it out for the default")
    return min(asked or DEFAULT_WORKERS, os.cpu_count() or 1)


def _write_copy(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        raise StoreFault(
            f"cannot write {path}: {error.strerror}", "the executed notebook is kept with its run"
        ) from error
