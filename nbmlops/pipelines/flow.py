"""One execution of a pipeline: versions pinned at its start, stages in order, candidates in parallel, true rows."""

from __future__ import annotations

import graphlib
import math
import os
import queue
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nbmlops import clock, secrets
from nbmlops.context import Context
from nbmlops.errors import Blocked, StageFailed
from nbmlops.notebook.job import Stop
from nbmlops.pipelines.contracted import VIOLATED
from nbmlops.pipelines.desks import Desks
from nbmlops.pipelines.plan import Pipeline
from nbmlops.pipelines.spec import Select, Stage
from nbmlops.pipelines.stage import StageRunner, Work
from nbmlops.records import StageRun, plain
from nbmlops.runs.origin import pid_namespace
from nbmlops.store import schema

if TYPE_CHECKING:
    from nbmlops.runs.live import LiveRun

Progress = Callable[[dict[str, Any]], None]


@dataclass
class _Sweep:
    """A stage in progress: its executions so far, and the run that holds them together if it has a matrix."""

    stage: Stage
    total: int
    run: LiveRun | None = None
    results: dict[int, list[StageRun]] = field(default_factory=dict)


class FlowRun:
    """Runs a prepared pipeline once. Two of them at once share nothing but the store."""

    def __init__(
        self, desks: Desks, context: Context, pipeline: Pipeline, progress: Progress, trigger: dict[str, Any]
    ) -> None:
        self.desks, self.context, self.pipeline, self.progress = desks, context, pipeline, progress
        self.flow_id = clock.new_id()
        self.stop = Stop()
        self.events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.runner = StageRunner(desks, context, self.events.put, self.stop)
        self.pins, self.own = pipeline.pins.latest, pipeline.pins.named
        self.outputs: dict[str, int] = {}
        self.sweeps: dict[str, _Sweep] = {}
        self.failed: list[tuple[str, StageRun]] = []
        self.trigger = {**trigger, "host": context.host, "pid": os.getpid(), "pid_namespace": pid_namespace()}

    # -- the whole flow --------------------------------------------------------------------------------------------
    def run(self, workers: int) -> str:
        """Run it all and return the flow's status, FINISHED or BLOCKED.

        Raises:
            StageFailed: a stage ended with an error; the flow is FAILED, and what ran is kept.
            KeyboardInterrupt: Ctrl-C; kernels are ended and the flow is KILLED.
        """
        self._begin()
        decision: dict[str, Any] | None = None
        try:
            self._stages(workers)
            status, decision = self._promote()
        except KeyboardInterrupt:
            self._end("KILLED", {"name": "KeyboardInterrupt", "message": "stopped by the user", "traceback": ""})
            raise
        except BaseException as error:  # recorded, whatever it was, and raised again
            self._end("FAILED", self._fault(error))
            raise
        self._end(status, None, decision)
        return status

    def _begin(self) -> None:
        spec = self.pipeline.spec
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
        }
        with self.desks.store.write() as db:
            db.execute(schema.flows.insert(), row)
        runs = {name: len(found) for name, found in self.pipeline.candidates.items()}
        self._tell({"type": "flow", "status": "RUNNING", "flow_id": self.flow_id, "name": spec.name, "stages": runs})

    def _end(self, status: str, error: dict[str, Any] | None, decision: dict[str, Any] | None = None) -> None:
        for sweep in self.sweeps.values():
            if sweep.run is not None:  # those that ended well have ended their run already
                sweep.run.end("KILLED" if status == "KILLED" else "FAILED", error)
        ended = {
            "status": status,
            "error": error,
            "decision": decision,
            "outputs": self.outputs,
            "ended_at": clock.now(),
        }
        self._update(**ended)
        told = {
            "type": "flow",
            "status": status,
            "flow_id": self.flow_id,
            "name": self.pipeline.spec.name,
            "error": error,
        }
        self._tell({**told, "decision": decision})

    def _update(self, **values: Any) -> None:
        with self.desks.store.write() as db:
            db.execute(schema.flows.update().where(schema.flows.c.id == self.flow_id).values(**values))

    def _fault(self, error: BaseException) -> dict[str, Any]:
        fault: dict[str, Any] = {"name": type(error).__name__, "message": str(error), "traceback": ""}
        if isinstance(error, StageFailed) and self.failed:
            fault |= {"stage": self.failed[0][0], "run_id": error.run_id}
        return fault

    def _tell(self, event: dict[str, Any]) -> None:
        try:
            self.progress(event)
        except Exception:  # a broken progress display must never fail a flow, so it is only given up
            self.progress = lambda event: None

    # -- stages ----------------------------------------------------------------------------------------------------
    def _stages(self, workers: int) -> None:
        """Submit what is ready; this thread only waits, shows progress, chooses, registers and takes Ctrl-C."""
        sorter = graphlib.TopologicalSorter(self.pipeline.needs)
        sorter.prepare()
        pending: dict[Future[list[StageRun]], tuple[str, int]] = {}
        pool = ThreadPoolExecutor(workers, thread_name_prefix="nbmlops-stage")
        try:
            while sorter.is_active():
                for name in () if self.failed else sorter.get_ready():
                    self._submit(name, pool, pending)
                if not pending:
                    break
                event = next_event(self.events)
                if isinstance(event, dict):
                    self._tell(event)
                elif (place := pending.pop(event)) and self._collect(event, *place, list(pending)):
                    sorter.done(place[0])
        except BaseException:  # Ctrl-C or a fault of ours: no kernel may outlive its flow
            self.stop.set()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            self._drain()
        if self.failed:
            raise stage_failed(self.failed)

    def _drain(self) -> None:
        while not self.events.empty():
            if isinstance(event := self.events.get(), dict):
                self._tell(event)

    def _submit(
        self, name: str, pool: ThreadPoolExecutor, pending: dict[Future[list[StageRun]], tuple[str, int]]
    ) -> None:
        stage, candidates = self.pipeline.stages[name], self.pipeline.candidates[name]
        sweep = self.sweeps[name] = _Sweep(stage, len(candidates))
        if stage.matrix:
            tags = {"nbmlops.flow": self.flow_id, "nbmlops.stage": name}
            source = {"type": "stage", "path": stage.path, "cwd": os.path.dirname(stage.path)}
            sweep.run = self.desks.runs.start(
                experiment=self.pipeline.spec.name, name=name, kind="sweep", tags=tags, source=source
            )
        pins = {**self.pins, **self.outputs}
        for ref in stage.reads:
            if str(ref) in self.own:
                pins[f"{ref.kind}:{ref.name}"] = self.own[str(ref)]
        side_by_side = min(len(candidates), pool._max_workers)
        threads = max(1, (os.cpu_count() or 1) // side_by_side) if side_by_side > 1 else None
        for place, candidate in enumerate(candidates):
            work = Work(
                stage=name,
                label=candidate.label(name),
                notebook=stage.notebook,
                path=stage.path,
                document=stage.document,
                declared=stage.declared,
                params=candidate.params,
                pins=pins,
                writes=stage.writes,
                contracts=stage.contracts,
                candidate=stage.select is not None,
                retries=stage.retries,
                timeout=stage.timeout,
                kernel=stage.kernel,
                flow_id=self.flow_id,
                parent_id=sweep.run.run_id if sweep.run else None,
                experiment=self.pipeline.spec.name,
                threads=threads,
            )
            future = pool.submit(self.runner.attempts, work)
            pending[future] = name, place
            future.add_done_callback(self.events.put)

    def _collect(self, future: Future[list[StageRun]], name: str, place: int, others: list[Future[Any]]) -> bool:
        """Take one execution's result; whether its whole stage is now done."""
        if future.cancelled():
            return False
        sweep = self.sweeps[name]
        sweep.results[place] = future.result()
        last = sweep.results[place][-1]
        if last.status != "FINISHED":
            self.failed.append((self.pipeline.candidates[name][place].label(name), last))
            for other in others:
                other.cancel()  # what runs already may finish; nothing new starts
            return False
        if self.failed or len(sweep.results) < sweep.total:
            return False
        self._complete(name, sweep)
        return True

    def _complete(self, name: str, sweep: _Sweep) -> None:
        """A stage is done: choose, register what was chosen, and pin what was written for the stages after it."""
        runs = [sweep.results[place][-1] for place in range(sweep.total)]
        if sweep.stage.select is not None and sweep.run is not None:
            runs = [self._choose(name, sweep.stage.select, sweep.run, runs)]
        made: dict[str, int] = {}
        for run in runs:
            for key, version in self.runner.produced(run.run_id).versions.items():
                made[key] = max(version, made.get(key, 0)) if len(runs) > 1 else version
        if sweep.stage.select is not None:
            for thing in sweep.stage.writes:
                if thing.startswith("model:"):
                    made[thing] = self.desks.models.register(
                        f"run:{runs[0].run_id}", thing.removeprefix("model:")
                    ).version
        self.outputs |= made
        self._update(outputs=self.outputs)
        if sweep.run is not None:
            sweep.run.end("FINISHED")

    def _choose(self, name: str, select: Select, parent: LiveRun, runs: list[StageRun]) -> StageRun:
        """The candidate with the best metric, the first of equals; those without a number are named and left out."""
        labels = [c.label(name) for c in self.pipeline.candidates[name]]
        scored = [i for i, run in enumerate(runs) if math.isfinite(run.metrics.get(select.metric, math.nan))]
        unscored = [
            f"{labels[i]} ({select.metric}={runs[i].metrics.get(select.metric, 'missing')})"
            for i in range(len(runs))
            if i not in scored
        ]
        if not scored:
            logged = sorted({key for run in runs for key in run.metrics})
            message = f"no candidate logged a number as {select.metric!r}: {', '.join(unscored)}"
            hint = f"they logged {', '.join(logged)}" if logged else "log it in the notebook with log_metric"
            raise StageFailed(f"stage {name}: {message}", hint, parent.run_id, runs[0].notebook)
        sign = 1 if select.mode == "max" else -1
        best = max(scored, key=lambda i: (sign * runs[i].metrics[select.metric], -i))
        tags = {"nbmlops.selected": runs[best].run_id, "nbmlops.selected.label": labels[best]}
        parent.set_tags(tags | ({"nbmlops.unscored": "; ".join(unscored)} if unscored else {}))
        parent.log_metric(select.metric, runs[best].metrics[select.metric])
        told = {
            "type": "select",
            "stage": name,
            "label": labels[best],
            "run_id": runs[best].run_id,
            "unscored": unscored,
        }
        self._tell({**told, "metric": select.metric, "value": runs[best].metrics[select.metric]})
        return runs[best]

    # -- promotion -------------------------------------------------------------------------------------------------
    def _promote(self) -> tuple[str, dict[str, Any] | None]:
        """Ask for the promotion the file wants; blocked is an answer, not an error."""
        asked = self.pipeline.spec.promote
        if (
            asked is None or f"model:{asked.model}" not in self.outputs
        ):  # not written, because ``only`` left its stage out
            return "FINISHED", None
        version = self.outputs[f"model:{asked.model}"]
        reason = f"pipeline {self.pipeline.spec.name} flow {self.flow_id}"
        try:
            promotion = self.desks.promotion.promote(
                f"model:{asked.model}@{version}", asked.to, reason, rules=asked.rules
            )
        except Blocked as error:
            decision = {
                "model": asked.model,
                "version": version,
                "environment": asked.to,
                "status": "blocked",
                "reason": reason,
            }
            return "BLOCKED", {**decision, "message": error.message, "findings": plain(error.findings)}
        return "FINISHED", promotion.to_dict()


def next_event(events: queue.SimpleQueue[Any]) -> Any:
    """The next event, waited for in turns: an endless wait would not see an interrupt that reached another thread."""
    while True:
        try:
            return events.get(timeout=0.5)
        except queue.Empty:
            continue


def stage_failed(failed: list[tuple[str, StageRun]]) -> StageFailed:
    """The error for stages that did not finish: the first one's cell and message, and where its notebook is."""
    label, run = failed[0]
    error = run.error or {"name": run.status, "message": ""}
    lines = str(error["message"]).strip().splitlines() or [""]
    first = " ".join(lines) if error["name"] == VIOLATED else lines[0]
    where = f"cell {error['cell']}: " if "cell" in error else ""
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    kept = "its executed notebook was kept" if run.executed else "its notebook was not started"
    return StageFailed(
        f"stage {label}: {where}{error['name']}: {first}{more}",
        f"{kept}: nbmlops run show run:{run.run_id}",
        run.run_id,
        run.notebook,
    )
