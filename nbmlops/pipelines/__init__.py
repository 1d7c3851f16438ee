"""The pipelines desk: notebooks as stages, in order, with pinned versions, each one tracked and kept."""

from __future__ import annotations

import contextlib
import functools
import os
import queue
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from nbmlops import settings
from nbmlops.context import ContextSource
from nbmlops.errors import NotFound, StoreFault, UsageFault
from nbmlops.notebook import parameters, uses
from nbmlops.notebook.job import Stop
from nbmlops.pipelines import plan as plans
from nbmlops.pipelines import progress as displays
from nbmlops.pipelines import rows, works
from nbmlops.pipelines.announcing import Announcer
from nbmlops.pipelines.desks import Desks
from nbmlops.pipelines.flow import FlowRun, Options, next_event, stage_failed
from nbmlops.pipelines.limits import Limits
from nbmlops.pipelines.outside import Outside
from nbmlops.pipelines.plan import Pipeline
from nbmlops.pipelines.reuse import FRESH, Reuse
from nbmlops.pipelines.stage import StageRunner
from nbmlops.pipelines.work import Work
from nbmlops.records import Flow, Plan, StageContract, StageRun
from nbmlops.refs import parse
from nbmlops.store import Store, schema

if TYPE_CHECKING:
    from nbmlops.datasets import Datasets
    from nbmlops.models import Models
    from nbmlops.pipelines.progress import Progress
    from nbmlops.pipelines.schedules import Schedule
    from nbmlops.promotion import Promotion
    from nbmlops.runs import Runs


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
        """The stages in their order, and for each whether its earlier result is still right, else why not.

        Nothing runs, and everything that can be checked is.

        Raises:
            InvalidValue: listing every fault of the file, the values and the notebooks' parameters, what is read and
                does not exist, an unknown environment, and facts that no rule can know.
            NotFound: there is no such file.
        """
        pipeline = plans.prepare(os.fspath(path), params, outside=self._outside)
        return pipeline.record(
            works.judge(pipeline, Reuse(self._desks), functools.partial(rows.stage_run, self._desks))
        )

    def run(
        self,
        path: str | os.PathLike[str],
        params: Mapping[str, Any] | None = None,
        options: Options | None = None,
        *,
        only: str | Iterable[str] | None = None,
        start: str | None = None,
        progress: Progress | bool | None = None,
    ) -> Flow:
        """Run a pipeline to its end and return the flow; BLOCKED is a flow whose promotion was refused.

        A stage whose code, values, inputs, packages and files are what they were has its result already: it is
        reused, and no kernel is started. So a flow that failed or was stopped goes on where it ended.

        Args:
            options: force, executor, workers and trigger.
            only: the stages to run; the others are left out, and what they write is read as it is in the store.
            start: this stage and those after it; as with ``only`` for the others.
            progress: called with each event; by default a display that suits terminal or notebook; False for none.

        Raises:
            InvalidValue: listing every fault; nothing was started.
            StageFailed: a stage ended with an error. The flow is recorded, and the executed notebook kept.
        """
        pipeline = plans.prepare(os.fspath(path), params, only, self._outside, start=start)
        return self._flow(pipeline, options or Options(), progress)

    def resume(
        self, ref: str | None = None, options: Options | None = None, *, progress: Progress | bool | None = None
    ) -> Flow:
        """Go on with a flow that failed or was stopped, on the versions it had pinned and with its values.

        What it finished is taken from it, also stages that are otherwise always executed; the notebooks may have been
        mended meanwhile.

        Args:
            ref: the flow; by default the last one.

        Raises:
            NotFound: there is no such flow.
            UsageFault: it has finished, or is running.
        """
        flow = self.get(ref) if ref is not None else next(iter(self.flows(1)), None)
        if flow is None:
            raise NotFound("there is no flow to resume", "run one with `nbmlops pipeline run FILE`")
        if flow.status not in {"FAILED", "KILLED"}:
            state = "is running" if flow.status == "RUNNING" else f"has ended as {flow.status}"
            raise UsageFault(
                f"{flow.ref} {state}: there is nothing to resume", "run it again with `nbmlops pipeline run FILE`"
            )
        row = rows.find_flow(self.store, flow.flow_id)
        trigger = row["trigger"]  # which stages it was to run, where that was not all of them
        pipeline = plans.prepare(flow.path, flow.params, trigger.get("stages"), self._outside)
        pipeline = pipeline.pinned(row["pins"] or {})
        if trigger["type"] == "stage":
            pipeline = replace(pipeline, spec=replace(pipeline.spec, promote=None))
        return self._flow(pipeline, replace(options or Options(), resumes=flow.flow_id), progress)

    def _flow(self, pipeline: Pipeline, options: Options, progress: Progress | bool | None) -> Flow:
        with displays.showing(progress) as shown:
            flow = FlowRun(self._desks, self.context(), pipeline, shown, options)
            flow.run()
        return self.get(flow.flow_id)

    def run_stage(
        self,
        notebook: str | os.PathLike[str],
        params: Mapping[str, Any] | None = None,
        *,
        limits: Limits | None = None,
        output: str | os.PathLike[str] | None = None,
        force: bool = False,
        progress: Progress | bool | None = None,
    ) -> StageRun:
        """Execute one notebook as one tracked, typed stage, or take its earlier result where that is still right.

        Args:
            limits: time, memory, attempts.
            output: where a copy of the executed notebook goes, whether it passed or failed.
            force: execute it in any case.

        Raises:
            InvalidValue: listing every fault of the values; nothing was started.
            NotFound: there is no such notebook.
            StageFailed: it ended with an error; its run and the executed notebook are kept.
        """
        work = self._work(os.fspath(notebook), params or {}, limits or Limits())
        verdict = Reuse(self._desks).judge(work, force=force)
        with displays.showing(progress) as shown:
            if verdict.state == FRESH and verdict.run_id:
                earlier = rows.stage_run(self._desks, verdict.run_id)
                stage = replace(earlier, stage=work.stage, label=work.label, notebook=work.notebook, reused=True)
                told = {"stage": stage.stage, "label": stage.label, "run_id": stage.run_id}
                shown({"type": "stage", "status": "REUSED", **told})
            else:
                stage = self._attempts(verdict.work, shown)[-1]
        if output is not None and stage.executed:
            _write_copy(Path(output), self.store.blobs.get(stage.executed))
        if stage.status not in {"FINISHED", "SKIPPED"}:
            raise stage_failed([(work.label, stage)])
        return stage

    def run_one(
        self,
        path: str | os.PathLike[str],
        stage: str,
        params: Mapping[str, Any] | None = None,
        *,
        force: bool = False,
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
        trigger = {"type": "stage", "ref": f"stage:{stage}"}
        return self._flow(pipeline, Options(force=force, trigger=trigger), progress)

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
        from nbmlops.runs import environment as surroundings

        pipeline = plans.prepare(os.fspath(path), params)
        noted = self.runs.get(run).environment if run is not None else None
        environment = self.store.blobs.get(noted) if noted else surroundings.now()
        return exports.export(pipeline, to, exports.Order(image, schedule, frozenset(params or ()), environment))

    def schedule(self, path: str | os.PathLike[str], cron: str, params: Mapping[str, Any] | None = None) -> Schedule:
        """The pipeline at the times of a cron line, for a crontab or for systemd; nothing is installed.

        Raises:
            InvalidValue: listing every fault of the file and the values, or of the cron line.
        """
        from nbmlops.pipelines.schedules import Schedule

        return Schedule.of(plans.prepare(os.fspath(path), params), cron, params or {})

    def show_stage(self, notebook: str | os.PathLike[str]) -> StageContract:
        """What a notebook takes, reads, writes and depends on, as its code says it; nothing is executed.

        Raises:
            InvalidValue: it is no notebook, or its parameters cell is not Python.
            NotFound: there is no such notebook.
        """
        from nbmlops.notebook import contract, installed

        path = os.fspath(notebook)
        document = parameters.parse_document(parameters.read_file(path), path)
        found = contract.read_contract(document, path, settings.project_root(Path(path).resolve().parent))
        return replace(found, packages=installed.versions(found.distributions))

    def _work(self, notebook: str, params: Mapping[str, Any], limits: Limits) -> Work:
        document = parameters.read_file(notebook)
        parsed = parameters.parse_document(document, notebook)
        declared = parameters.read(parsed, notebook)
        typed = declared.coerce(params)
        seen, name = uses.uses(parsed), Path(notebook).stem
        return Work(
            stage=name,
            label=name,
            notebook=notebook,
            path=str(Path(notebook).resolve()),
            document=document,
            declared=declared,
            params=typed,
            pins=self.context().pins,
            reads=tuple(parse(ref) for ref in seen.reads if ref not in seen.writes),
            limits=limits,
            preload=works.preload([(document, notebook)]),
        )

    def _attempts(self, work: Work, progress: Progress) -> list[StageRun]:
        """In a thread, so that this one shows progress and takes Ctrl-C."""
        events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        stop, others = Stop(), Announcer(self._desks, {work.stage: work.path})
        runner = StageRunner(self._desks, self.context(), events.put)
        with ThreadPoolExecutor(1, thread_name_prefix="nbmlops-stage") as pool:
            future = pool.submit(runner.attempts, work, stop)
            future.add_done_callback(events.put)
            try:
                while (event := next_event(events)) is None or isinstance(event, dict):
                    if event:
                        others(event)
                        with contextlib.suppress(Exception):  # a broken progress display must never fail a stage
                            progress(event)
            except BaseException:  # Ctrl-C: the kernel is ended and the run recorded before it is raised again
                stop.set()
                raise
            finally:
                others.close()
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


def _write_copy(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        raise StoreFault(
            f"cannot write {path}: {error.strerror}", "the executed notebook is kept with its run"
        ) from error
