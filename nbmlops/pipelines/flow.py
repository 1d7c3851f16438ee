"""One execution of a pipeline: versions pinned at its start, stages in order, candidates in parallel, true rows."""

from __future__ import annotations

import contextlib
import graphlib
import os
import queue
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from nbmlops import clock, secrets
from nbmlops.context import Context
from nbmlops.errors import StageFailed
from nbmlops.pipelines import executors, rows
from nbmlops.pipelines.announcing import of_flow
from nbmlops.pipelines.candidates import Candidate, resolve
from nbmlops.pipelines.contracted import VIOLATED
from nbmlops.pipelines.desks import Desks
from nbmlops.pipelines.executors import Executor
from nbmlops.pipelines.plan import Pipeline
from nbmlops.pipelines.promoting import promote
from nbmlops.pipelines.reuse import FRESH, Reuse
from nbmlops.pipelines.stage import StageRunner
from nbmlops.pipelines.sweep import PRUNED, Sweep, reused
from nbmlops.pipelines.trials import Trials
from nbmlops.pipelines.work import Execution, Work
from nbmlops.pipelines.works import build, preload, threads
from nbmlops.records import StageRun, plain
from nbmlops.runs.origin import pid_namespace
from nbmlops.store import schema

Progress = Callable[[dict[str, Any]], None]
_TICK = 0.5  # seconds between two looks at trials in progress


@dataclass(frozen=True)
class Options:
    """How a flow is run. ``resumes`` is the flow it goes on with, whose finished stages it takes."""

    force: bool = False
    executor: str = "local"
    workers: int | None = None
    trigger: dict[str, Any] = field(default_factory=lambda: {"type": "user"})
    resumes: str | None = None


class FlowRun:
    """Runs a prepared pipeline once. Two of them at once share nothing but the store."""

    def __init__(
        self, desks: Desks, context: Context, pipeline: Pipeline, progress: Progress, options: Options
    ) -> None:
        self.desks, self.context, self.pipeline, self.progress = desks, context, pipeline, progress
        self.options, self.flow_id = options, clock.new_id()
        self.events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.reuse = Reuse(desks)
        self.runner = StageRunner(desks, context, self.events.put)
        self.outputs: dict[str, int] = {}
        self.results: dict[str, dict[str, Any]] = {}
        self.unwritten: dict[str, str] = {}  # what skipped stages did not write, and which stage that was
        self.sweeps: dict[str, Sweep] = {}
        self.pending: dict[Future[list[StageRun]], tuple[str, int, Execution]] = {}
        self._looked, self.trials = 0.0, Trials(desks, self.flow_id)
        notebooks = {name: stage.path for name, stage in pipeline.stages.items()}
        self.others = of_flow(desks, self.flow_id, pipeline.spec.name, (pipeline.spec.path, notebooks))
        self.preload = preload((stage.document, stage.notebook) for stage in pipeline.stages.values())
        self.failed: list[tuple[str, StageRun]] = []
        where = {"host": context.host, "pid": os.getpid(), "pid_namespace": pid_namespace()}
        part = {} if len(pipeline.stages) == len(pipeline.spec.stages) else {"stages": list(pipeline.stages)}
        self.trigger = {**options.trigger, **where, **part}

    # -- the whole flow --------------------------------------------------------------------------------------------
    def run(self) -> str:
        """Run it all and return the flow's status, FINISHED or BLOCKED.

        Raises:
            StageFailed: a stage ended with an error; the flow is FAILED, and what ran is kept.
            KeyboardInterrupt: Ctrl-C; kernels are ended and the flow is KILLED.
        """
        options = self.options
        # Before the flow's row: a cluster that cannot be reached is no flow.
        executor = executors.make(
            self.desks, self.context, self.events.put, name=options.executor, workers=options.workers
        )
        decision: dict[str, Any] | None = None
        try:
            self._begin()
            self._stages(executor)
            status, decision = self._promoted()
        except KeyboardInterrupt:
            self._end("KILLED", {"name": "KeyboardInterrupt", "message": "stopped by the user", "traceback": ""})
            raise
        except BaseException as error:  # recorded, whatever it was, and raised again
            self._end("FAILED", self._fault(error))
            raise
        finally:
            executor.close()
        self._end(status, None, decision)
        return status

    def _promoted(self) -> tuple[str, dict[str, Any] | None]:
        spec = self.pipeline.spec
        version = self.outputs.get(f"model:{spec.promote.model}") if spec.promote else None
        if spec.promote is None or version is None:  # not written, because ``only`` left its stage out
            return "FINISHED", None
        return promote(self.desks, spec.promote, version, f"pipeline {spec.name} flow {self.flow_id}")

    def _begin(self) -> None:
        spec, pins = self.pipeline.spec, self.pipeline.pins
        for name, found in self.pipeline.candidates.items():  # before anything is written
            secrets.learn([self.pipeline.stages[name].declared.complete(c.params) for c in found])
        row = {
            "id": self.flow_id,
            "name": spec.name,
            "path": spec.path,
            "status": "RUNNING",
            "params": plain(self.pipeline.record_params()),
            "outputs": {},
            "decision": None,
            "trigger": self.trigger,
            "spec": self.desks.store.blobs.put(spec.source),
            "user": self.context.user,
            "started_at": clock.now(),
            "ended_at": None,
            "error": None,
            "pins": {**pins.latest, **pins.named},
            "resumes": self.options.resumes,
        }
        with self.desks.store.write() as db:
            db.execute(schema.flows.insert(), row)
        runs = {name: len(found) for name, found in self.pipeline.candidates.items()}
        self._tell({"type": "flow", "status": "RUNNING", "flow_id": self.flow_id, "name": spec.name, "stages": runs})

    def _end(self, status: str, error: dict[str, Any] | None, decision: dict[str, Any] | None = None) -> None:
        for sweep in self.sweeps.values():
            sweep.end("KILLED" if status == "KILLED" else "FAILED", error)
        ended = {"status": status, "error": error, "decision": decision}
        self._update(**ended, outputs=self.outputs, ended_at=clock.now())
        self._tell({"type": "flow", "flow_id": self.flow_id, "name": self.pipeline.spec.name, **ended})
        self.others.close()

    def _update(self, **values: Any) -> None:
        with self.desks.store.write() as db:
            db.execute(schema.flows.update().where(schema.flows.c.id == self.flow_id).values(**values))

    def _fault(self, error: BaseException) -> dict[str, Any]:
        fault: dict[str, Any] = {"name": type(error).__name__, "message": str(error), "traceback": ""}
        if isinstance(error, StageFailed) and self.failed:
            fault |= {"stage": self.failed[0][0], "run_id": error.run_id}
        return fault

    def _tell(self, event: dict[str, Any]) -> None:
        self.others(event)
        try:
            self.progress(event)
        except Exception:  # a broken progress display must never fail a flow, so it is only given up
            self.progress = lambda event: None

    # -- stages ----------------------------------------------------------------------------------------------------
    def _stages(self, executor: Executor) -> None:
        """Begin what is ready; this thread only waits, shows progress, chooses, registers and takes Ctrl-C."""
        sorter = graphlib.TopologicalSorter(self.pipeline.needs)
        sorter.prepare()
        try:
            while sorter.is_active():
                while not self.failed and (ready := sorter.get_ready()):
                    for name in ready:
                        if self._begin_stage(name, executor):
                            sorter.done(name)
                if not self.pending:
                    break
                event = next_event(self.events, _TICK)
                self._prune()
                if isinstance(event, dict):
                    self._tell(event)
                elif event is not None and event in self.pending and (name := self._collect(event, executor)):
                    sorter.done(name)
        except BaseException:  # Ctrl-C or a fault of ours: no kernel may outlive its flow
            for _, _, execution in self.pending.values():
                execution.stop()
            raise
        finally:
            executor.close()
            self._drain()
        if self.failed:
            raise stage_failed(self.failed, resume=True)

    def _drain(self) -> None:
        while not self.events.empty():
            if isinstance(event := self.events.get(), dict):
                self._tell(event)

    def _begin_stage(self, name: str, executor: Executor) -> bool:
        """Begin a stage's executions; whether it is done already, because all of them are reused or skipped."""
        stage, candidates = self.pipeline.stages[name], self.pipeline.candidates[name]
        if lacking := executor.lacking(stage.limits.resources):
            raise StageFailed(f"stage {name}: {'; '.join(lacking)}", "offer it, or ask for less in the pipeline file")
        sweep = self.sweeps[name] = Sweep(stage, list(candidates), len(candidates))
        if reason := self._without_input(name):
            first = candidates[0] if candidates else Candidate({})
            sweep.results[0], sweep.expected = self.runner.skipped(self._work(name, first, executor), reason), 1
        elif candidates:
            for place in range(len(candidates)):
                self._start(sweep, place, executor)
        else:
            self._search(name, sweep, executor)
        return self._complete_if_done(name, sweep)

    def _search(self, name: str, sweep: Sweep, executor: Executor) -> None:
        """Begin as many trials of a search as there are workers; each that ends makes room for the next."""
        from nbmlops.pipelines.study import Study

        search, select = self.pipeline.searches[name], sweep.stage.select
        assert select is not None  # noqa: S101  (a search without is a fault of the file)
        sweep.study, sweep.expected = Study(search, select), search.runs
        self._next_trials(sweep, executor)

    def _next_trials(self, sweep: Sweep, executor: Executor) -> None:
        def running() -> int:
            return sum(name == sweep.stage.name for name, _, _ in self.pending.values())

        while running() < executor.workers and (place := sweep.drawn(self.pipeline)) is not None:
            self._start(sweep, place, executor)

    def _start(self, sweep: Sweep, place: int, executor: Executor) -> None:
        """Take the earlier result of a candidate where it is still right, else have it executed."""
        name = sweep.stage.name
        work = self._work(name, sweep.candidates[place], executor)
        verdict = self.reuse.judge(work, force=self.options.force, earlier=self.options.resumes)
        if verdict.state == FRESH and verdict.run_id:
            self._take(sweep, place, self._reused(verdict.work, verdict.run_id))
            return
        if sweep.run is None and (sweep.stage.matrix or sweep.stage.search):
            sweep.run = self._sweep_run(name, sweep.stage.path)
        work = replace(verdict.work, parent_id=sweep.run.run_id if sweep.run else None)
        execution = executor.submit(work)
        self.pending[execution.future] = name, place, execution
        execution.future.add_done_callback(self.events.put)

    def _work(self, name: str, candidate: Candidate, executor: Executor) -> Work:
        """The work of a candidate, now that everything before its stage is done.

        Raises:
            StageFailed: what a stage before it handed on does not fit its parameters.
        """
        stage, pins = self.pipeline.stages[name], {**self.pipeline.pins.latest, **self.outputs}
        if candidate.later and not self._without_input(name):
            params, faults = resolve(stage, candidate, self._handed_on(candidate))
            if faults:
                raise StageFailed(f"stage {name}: {'; '.join(faults)}", "mend what is handed on, or the value's name")
            candidate = replace(candidate, params=params)
        work = build(self.pipeline, name, candidate, pins)
        return replace(
            work, flow_id=self.flow_id, threads=threads(self.pipeline, name, executor.workers), preload=self.preload
        )

    def _handed_on(self, candidate: Candidate) -> dict[str, dict[str, Any]]:
        """The results of stages before; of those left out (``only``, ``start``) the last ones there are."""
        left_out = [other for other in self.pipeline.spec.stages if other not in self.pipeline.stages]
        asked = [other for other in left_out if f"stages.{other}." in str(candidate.later)]
        return {**{o: rows.last_results(self.desks, self.pipeline.spec.name, o) for o in asked}, **self.results}

    def _without_input(self, name: str) -> str:
        """Why a stage cannot run after stages that were skipped; empty if it can."""
        for ref in self.pipeline.stages[name].reads:
            if str(ref) in self.unwritten and not self.desks.exists(ref):
                return f"{self.unwritten[str(ref)]} was skipped, and there is no {ref}"
        for other in self.pipeline.needs[name]:
            sweep = self.sweeps.get(other)
            takes = f"stages.{other}." in str(self.pipeline.stages[name].params)
            if takes and sweep and sweep.skipped() is not None and not self.results.get(other):
                return f"{other} was skipped, and handed nothing on"
        return ""

    def _reused(self, work: Work, run_id: str) -> StageRun:
        row = {"flow_id": self.flow_id, "stage": work.stage, "label": work.label, "run_id": run_id, "at": clock.now()}
        with self.desks.store.write() as db:
            db.execute(schema.reused_stages.insert(), row)
        told = {"stage": work.stage, "label": work.label, "run_id": run_id}
        self._tell({"type": "stage", "status": "REUSED", **told})
        return reused(rows.stage_run(self.desks, run_id), self.flow_id)

    def _sweep_run(self, name: str, path: str) -> Any:
        tags = {"nbmlops.flow": self.flow_id, "nbmlops.stage": name}
        source = {"type": "stage", "path": path, "cwd": os.path.dirname(path)}
        return self.desks.runs.start(
            experiment=self.pipeline.spec.name, name=name, kind="sweep", tags=tags, source=source
        )

    def _collect(self, future: Future[list[StageRun]], executor: Executor) -> str:
        """Take one execution's result; the name of its stage if that is now done."""
        name, place, _ = self.pending.pop(future)
        if future.cancelled():
            return ""
        sweep, last = self.sweeps[name], future.result()[-1]
        if last.status == "KILLED" and place in sweep.pruned:
            last = self.runner.pruned(last)
        self._take(sweep, place, last)
        if last.status not in {"FINISHED", "SKIPPED", PRUNED}:
            self.failed.append((sweep.label(place), last))
            for other in self.pending:
                other.cancel()  # what runs already may finish; nothing new starts
            return ""
        if sweep.study is not None and not self.failed:
            self._next_trials(sweep, executor)
        return name if not self.failed and self._complete_if_done(name, sweep) else ""

    def _prune(self) -> None:
        """Stop trials that fall behind the others at the same step of their metric; looked at now and then."""
        if clock.now() - self._looked < _TICK:
            return
        self._looked = clock.now()
        for name, place, execution in self.pending.values():
            sweep = self.sweeps[name]
            if sweep.study is None or place in sweep.pruned:
                continue
            if self.trials.is_behind(sweep, place):
                sweep.pruned.add(place)
                execution.stop()

    def _take(self, sweep: Sweep, place: int, run: StageRun) -> None:
        self.trials.is_behind(sweep, place, run.run_id)  # its points count for the others
        sweep.take(place, run)

    def _complete_if_done(self, name: str, sweep: Sweep) -> bool:
        """Where a stage is done: choose, register what was chosen, and pin what it wrote for the stages after it."""
        if not sweep.done:
            return False
        if (reason := sweep.skipped()) is not None:
            self.unwritten |= dict.fromkeys(sweep.stage.writes, name)
            sweep.end("FINISHED")
            with contextlib.suppress(KeyError):
                self.results[name] = sweep.handed_on(None)
            self._tell({"type": "skip", "stage": name, "reason": reason})
            return True
        select, chosen = sweep.stage.select, None
        if select is not None:
            chosen = self._choose(name, sweep)
        made: dict[str, int] = {}
        runs = [chosen] if chosen else sweep.runs()
        for run in runs:
            for key, version in self.runner.produced(run.run_id).versions.items():
                made[key] = max(version, made.get(key, 0)) if len(runs) > 1 else version
        if chosen is not None:
            made |= {thing: self._registered(chosen, thing) for thing in sweep.stage.writes if thing[:6] == "model:"}
        self.outputs |= made
        self.results[name] = sweep.handed_on(chosen)
        self._update(outputs=self.outputs)
        sweep.end("FINISHED")
        return True

    def _registered(self, chosen: StageRun, thing: str) -> int:
        """The version of a chosen candidate's model; an earlier flow may have registered it already."""
        name = thing.removeprefix("model:")
        known = self.runner.produced(chosen.run_id).versions.get(thing)
        return known or self.desks.models.register(f"run:{chosen.run_id}", name).version

    def _choose(self, name: str, sweep: Sweep) -> StageRun:
        """Let the sweep choose, and note what it chose with its run."""
        select = sweep.stage.select
        assert select is not None  # noqa: S101  (its caller asked)
        best, unscored = sweep.choose(select)
        run, label = sweep.results[best], sweep.label(best)
        if sweep.run is not None:
            tags = {"nbmlops.selected": run.run_id, "nbmlops.selected.label": label}
            sweep.run.set_tags(tags | ({"nbmlops.unscored": "; ".join(unscored)} if unscored else {}))
            sweep.run.log_metric(select.metric, run.metrics[select.metric])
        told = {"type": "select", "stage": name, "label": label, "run_id": run.run_id, "unscored": unscored}
        self._tell({**told, "metric": select.metric, "value": run.metrics[select.metric]})
        return run


def next_event(events: queue.SimpleQueue[Any], seconds: float = 0.5) -> Any:
    """The next event, or None after some seconds: an endless wait would not see an interrupt of another thread."""
    try:
        return events.get(timeout=seconds)
    except queue.Empty:
        return None


def stage_failed(failed: list[tuple[str, StageRun]], resume: bool = False) -> StageFailed:
    """The error for stages that did not finish: the first one's cell and message, and where its notebook is."""
    label, run = failed[0]
    error = run.error or {"name": run.status, "message": ""}
    lines = str(error["message"]).strip().splitlines() or [""]
    first = " ".join(lines) if error["name"] == VIOLATED else lines[0]
    where = f"cell {error['cell']}: " if "cell" in error else ""
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    kept = "its executed notebook was kept" if run.executed else "its notebook was not started"
    then = "; when it is mended: nbmlops pipeline resume" if resume else ""
    return StageFailed(
        f"stage {label}: {where}{error['name']}: {first}{more}",
        f"{kept}: nbmlops run show run:{run.run_id}{then}",
        run.run_id,
        run.notebook,
    )
