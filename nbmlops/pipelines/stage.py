"""One notebook as one tracked execution: a run, the executed notebook kept pass or fail, and its true status."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from nbmlops import clock, kernels, secrets, settings
from nbmlops.context import Context
from nbmlops.errors import NbmlopsError
from nbmlops.notebook import masking, parameters, types
from nbmlops.notebook.job import Job, Outcome, Stop
from nbmlops.pipelines import contracted
from nbmlops.pipelines.contracted import Contracts
from nbmlops.pipelines.desks import Desks
from nbmlops.pipelines.reuse import Reuse
from nbmlops.pipelines.work import Work
from nbmlops.records import ContractReport, StageRun
from nbmlops.store import Store, schema

if TYPE_CHECKING:
    from nbmlops.runs.live import LiveRun

EXECUTED = "executed.ipynb"
BACKOFF, LONGEST_BACKOFF = 1.0, 30.0  # seconds before the second attempt, doubled for each further one
LONGEST_PARAM = 10_000  # characters
_RUN_STATUS = {
    "FINISHED": "FINISHED", "FAILED": "FAILED", "TIMEOUT": "FAILED", "DIED": "KILLED", "KILLED": "KILLED",
    "SKIPPED": "FINISHED",
}  # fmt: skip
_AT_THE_END = ("executed", "cells_done", "cells", "reason", "peak_memory", "facts", "fingerprint")

Announce = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Produced:
    """What a run wrote: versions by reference, and the names of models it only logged."""

    versions: dict[str, int]
    logged: frozenset[str]


class StageRunner:
    """Executes works one at a time per thread; threads may share it. ``worker`` names another place it runs at."""

    def __init__(self, desks: Desks, context: Context, announce: Announce, worker: str | None = None) -> None:
        self.store, self.runs, self.contracts = desks.store, desks.runs, Contracts(desks.datasets)
        self.context, self.worker, self._announce = context, worker, announce
        self._reuse = Reuse(desks)

    def announce(self, event: dict[str, Any]) -> None:
        """Tell of an event, without secrets."""
        secrets.hear()
        self._announce(secrets.scrub(event))

    def attempts(self, work: Work, stop: Stop, first: int = 1) -> list[StageRun]:
        """Execute until it finishes or its retries are used up; each attempt is a run of its own, the last one decides.

        A stage that finished without writing what it declares, or whose data violate their contract, is not repeated:
        it would do so again.
        """
        done: list[StageRun] = []
        for attempt in range(first, work.limits.retries + 1 + first):
            done.append(self.once(work, stop, attempt))
            error = done[-1].error or {}
            hopeless = error.get("name") in {"MissingOutput", contracted.VIOLATED} and "cell" not in error
            last = attempt - first >= work.limits.retries
            if done[-1].status in {"FINISHED", "SKIPPED", "KILLED"} or hopeless or last:
                break
            if stop.wait(min(LONGEST_BACKOFF, BACKOFF * 2 ** (attempt - first))):
                break
        return done

    def once(self, work: Work, stop: Stop, attempt: int = 1) -> StageRun:
        """One execution. The executed notebook and the true status are stored before this returns, however it ended."""
        secrets.learn(work.declared.complete(work.params))
        source = self.store.blobs.put(work.document)
        tags = {
            "nbmlops.stage": work.stage,
            "nbmlops.attempt": attempt,
            **({"nbmlops.flow": work.flow_id} if work.flow_id else {}),
        }
        live = self.runs.start(
            experiment=work.experiment,
            name=work.label,
            parent_id=work.parent_id,
            kind="stage",
            tags=tags,
            params=_loggable(work),
            source={"type": "stage", "path": work.path, "cwd": str(Path(work.path).parent)},
        )
        row = self._row(work, live.run_id, source, attempt)
        with self.store.write() as db:
            db.execute(schema.stage_runs.insert(), row)
        try:
            return self._executed(work, live, row, stop)
        except BaseException as error:
            # Not the notebook's fault but ours, the store's or the user's Ctrl-C: the run must not stay open.
            fault = {"name": type(error).__name__, "message": str(error), "traceback": ""}
            status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
            self._end(live, status=status, error=fault, ended_at=clock.now())
            raise

    def skipped(self, work: Work, reason: str) -> StageRun:
        """A run that was not executed, on purpose, with the reason."""
        live = self.runs.start(
            experiment=work.experiment,
            name=work.label,
            kind="stage",
            params=_loggable(work),
            tags={"nbmlops.stage": work.stage, "nbmlops.flow": work.flow_id or ""},
            source={"type": "stage", "path": work.path, "cwd": str(Path(work.path).parent)},
        )
        row = {**self._row(work, live.run_id, self.store.blobs.put(work.document), 1), "reason": reason}
        with self.store.write() as db:
            db.execute(schema.stage_runs.insert(), row)
        told = {"stage": work.stage, "label": work.label, "run_id": live.run_id, "attempt": 1}
        return self._ended(live, row, told, status="SKIPPED", error=None)

    def pruned(self, run: StageRun) -> StageRun:
        """A trial that was stopped because others are ahead: not a failure, and recorded as what it is."""
        self._update(run.run_id, status="PRUNED", error=None)
        return replace(run, status="PRUNED", error=None)

    def _row(self, work: Work, run_id: str, source: str, attempt: int) -> dict[str, Any]:
        return {
            "run_id": run_id,
            "flow_id": work.flow_id,
            "stage": work.stage,
            "label": work.label,
            "notebook": work.notebook,
            "status": "RUNNING",
            "params": types.to_json(work.declared.complete(work.params)),
            "pins": work.pins,
            "source": source,
            "executed": None,
            "attempt": attempt,
            "cells_done": 0,
            "cells": 0,
            "error": None,
            "started_at": clock.now(),
            "ended_at": None,
            "facts": work.facts,
            "why": list(work.why) or None,
            "worker": self.worker,
        }

    def _executed(self, work: Work, live: LiveRun, row: dict[str, Any], stop: Stop) -> StageRun:
        from nbmlops.notebook import engine

        told = {"stage": work.stage, "label": work.label, "run_id": live.run_id, "attempt": row["attempt"]}
        self.announce({"type": "stage", "status": "RUNNING", "why": list(work.why), **told})
        if refused := self._held(lambda: self.contracts.before(work.contracts, work.pins), live, told):
            return self._ended(live, row, told, status="FAILED", error=refused)
        outcome = self._execute(work, live.run_id, told, stop)
        executed = self._keep(live.run_id, engine.to_bytes(outcome.nb))
        row |= {"executed": executed, "cells_done": outcome.cells_done, "cells": outcome.cells}
        row |= {"reason": outcome.reason or None, "peak_memory": outcome.peak_memory}
        status, error = outcome.status, _error(outcome)
        if status == "FINISHED" and (error := self._wrong(work, live, told)):
            status = "FAILED"
        if outcome.warnings:
            live.set_tags({"nbmlops.warnings": "; ".join(outcome.warnings)})
        return self._ended(live, self._reusable(work, live.run_id, row, status), told, status=status, error=error)

    def _save(self, run_id: str, notebook: bytes) -> None:
        """Keep the notebook as it is so far: what is left of a stage whose process is killed."""
        self._keep(run_id, notebook)

    def _keep(self, run_id: str, notebook: bytes) -> str:
        return self.runs.put_artifact(run_id, EXECUTED, notebook, "application/x-ipynb+json").digest

    def _reusable(self, work: Work, run_id: str, row: dict[str, Any], status: str) -> dict[str, Any]:
        """The row with what a later flow needs to know to reuse this result; without, where that would be wrong."""
        if work.facts is None or status != "FINISHED":
            return row
        wrote = set(self.produced(run_id).versions)
        facts = {**work.facts, "found": self._reuse.found(work, run_id, wrote)}
        right = work.fingerprint is not None and not self._reuse.changed_meanwhile(work)
        return {**row, "facts": facts, "fingerprint": work.fingerprint if right else None}

    def _wrong(self, work: Work, live: LiveRun, told: dict[str, Any]) -> dict[str, Any] | None:
        """What is wrong with what a stage that ended well has written."""
        produced = self.produced(live.run_id)
        if missing := _missing(work, produced):
            return {"name": "MissingOutput", "message": missing, "traceback": ""}
        return self._held(lambda: self.contracts.after(work.contracts, produced.versions), live, told)

    def _held(
        self, check: Callable[[], list[ContractReport]], live: LiveRun, told: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Note what contracts say with the run, announce what only warns, and give the error of those that refuse."""
        try:
            reports = check()
        except NbmlopsError as error:  # such data cannot be checked; what was executed must be kept all the same
            return {"name": type(error).__name__, "message": str(error), "traceback": ""}
        if found := contracted.tags(reports):
            live.set_tags(found)
        for report in reports:
            if report.status == "warn":
                seen = [v.line() for v in report.violations]
                self.announce({**told, "type": "contract", "subject": report.subject, "violations": seen})
        return contracted.refusal(reports)

    def _ended(
        self, live: LiveRun, row: dict[str, Any], told: dict[str, Any], *, status: str, error: dict[str, Any] | None
    ) -> StageRun:
        if status == "SKIPPED":
            live.set_tags({"nbmlops.skipped": row["reason"] or "no reason given"})
        kept = {name: row[name] for name in _AT_THE_END if name in row}
        ended = {**kept, "status": status, "error": error, "ended_at": clock.now()}
        self._end(live, **ended)
        seconds = ended["ended_at"] - row["started_at"]
        more = {"reason": row.get("reason")} if status == "SKIPPED" else {}
        self.announce({"type": "stage", "status": status, "error": error, **more, **told, "seconds": seconds})
        run = self.runs.get(live.run_id)
        made, handed = self.produced(live.run_id), self.runs.handed_on([live.run_id])[live.run_id]
        return stage_record({**row, **ended}, run.metrics, made, handed)

    def _execute(self, work: Work, run_id: str, told: dict[str, Any], stop: Stop) -> Outcome:
        from nbmlops.notebook import engine

        written = 0.0
        lock = threading.Lock()

        def on_event(event: dict[str, Any]) -> None:
            nonlocal written
            with lock:
                due = event["type"] == "cell" and clock.now() - written > 1.0
                written = clock.now() if due else written
            if due:  # so that others can watch; the last state is written at the end
                self._update(run_id, cells_done=event["done"], cells=event["cells"])
            self.announce({**told, **event})

        document = parameters.parse_document(work.document, work.notebook)
        with secrets.child() as child:
            job = Job(
                cwd=str(Path(work.path).parent),
                params=work.params,
                environment={**self._environment(work, run_id), **child.to_environment()},
                kernel=work.kernel,
                timeout=work.limits.timeout,
                cell_timeout=work.limits.cell_timeout,
                memory=work.limits.memory,
                skip_tags=work.skip,
                preload=work.preload,
                save=lambda notebook: self._save(run_id, notebook),
                path=work.path,
                record=True,
            )
            return masking.scrub_outcome(engine.execute(document, job, on_event, stop), child)

    def _environment(self, work: Work, run_id: str) -> dict[str, str]:
        context = replace(
            self.context,
            run_id=run_id,
            cell_id=None,
            notebook=work.path,
            flow_id=work.flow_id,
            stage=work.stage,
            pins=work.pins,
            candidate=work.candidate,
        )
        root = self.store.blobs.root
        artifacts = root if "://" in root else os.path.abspath(root)
        variables = {"NBMLOPS_STORE": self.store.url, "NBMLOPS_ARTIFACTS": artifacts, **context.to_environment()}
        if work.threads and "OMP_NUM_THREADS" not in os.environ:
            # OpenMP threads that outnumber the processors wait for each other by spinning: far slower than fewer.
            # A warm kernel takes the number of BLAS for all, and only that may differ between kernels of one zygote.
            warm = not kernels.available() and settings.value("kernel") != "cold" and not work.kernel
            variables["OPENBLAS_NUM_THREADS" if warm else "OMP_NUM_THREADS"] = str(work.threads)
        return variables

    def _end(self, live: LiveRun, **values: Any) -> None:
        """End the run and its stage at once: one whose process is killed between would be shown running for ever."""
        if live.ended:
            self._update(live.run_id, **values)
        else:
            live.end(_RUN_STATUS[values["status"]], values["error"], lambda db: _write(db, live.run_id, values))

    def _update(self, run_id: str, **values: Any) -> None:
        with self.store.write() as db:
            _write(db, run_id, values)

    def produced(self, run_id: str) -> Produced:
        """What a run wrote, as the store knows it; of several versions of one thing the newest."""
        return produced(self.store, [run_id])[run_id]


def _write(db: sa.Connection, run_id: str, values: dict[str, Any]) -> None:
    db.execute(schema.stage_runs.update().where(schema.stage_runs.c.run_id == run_id).values(**values))


def produced(store: Store, run_ids: list[str]) -> dict[str, Produced]:
    """What each of several runs wrote."""
    uses, models, logged = schema.dataset_uses, schema.model_versions, schema.logged_models
    found: dict[str, dict[str, int]] = {run_id: {} for run_id in run_ids}
    names: dict[str, set[str]] = {run_id: set() for run_id in run_ids}
    with store.read() as db:
        written = sa.select(uses.c.run_id, uses.c.name, uses.c.version).where(
            uses.c.run_id.in_(run_ids), uses.c.mode == "write"
        )
        for run_id, name, version in db.execute(written.order_by(uses.c.seq)):
            found[run_id][f"dataset:{name}"] = (
                version  # the last one written counts, also when it is an older version again
            )
        registered = sa.select(models.c.run_id, models.c.name, models.c.version).where(models.c.run_id.in_(run_ids))
        for run_id, name, version in db.execute(registered.order_by(models.c.version)):
            found[run_id][f"model:{name}"] = version
        for run_id, name in db.execute(sa.select(logged.c.run_id, logged.c.name).where(logged.c.run_id.in_(run_ids))):
            names[run_id].add(f"model:{name}")
    return {run_id: Produced(found[run_id], frozenset(names[run_id])) for run_id in run_ids}


def stage_record(row: Any, metrics: dict[str, float], made: Produced, handed_on: dict[str, Any]) -> StageRun:
    """The record of a row of ``stage_runs``."""
    names = (
        "run_id", "stage", "notebook", "status", "params", "pins", "executed", "attempt", "cells_done", "cells",
        "started_at", "ended_at", "error", "flow_id",
    )  # fmt: skip
    more = ("reason", "worker", "peak_memory")  # absent until the end, and in rows of earlier stores
    return StageRun(
        **{name: row[name] for name in names},
        **{name: row.get(name) for name in more},
        label=row.get("label") or row["stage"],
        why=tuple(row.get("why") or ()),
        metrics=metrics,
        results=handed_on,
        outputs=tuple(f"{k}@{v}" for k, v in made.versions.items()),
    )


def _loggable(work: Work) -> dict[str, Any]:
    """The values in force; one too long for a parameter of a run is cut there, and whole in ``stage_runs``."""
    values = types.to_json(work.declared.complete(work.params))
    return {name: v if len(text := str(v)) < LONGEST_PARAM else text[:1000] + "…" for name, v in values.items()}


def _missing(work: Work, made: Produced) -> str:
    """What a stage declares to write and did not, in words; empty if nothing is missing."""
    have = set(made.versions) | (made.logged if work.candidate else set())
    missing = [thing for thing in work.writes if thing not in have]
    if not missing:
        return ""
    wrote = ", ".join(f"{k}@{v}" for k, v in made.versions.items()) or "nothing"
    only_logged = [thing for thing in missing if thing in made.logged]
    more = f" ({', '.join(only_logged)} was logged and not registered)" if only_logged else ""
    return f"it declares writes: {', '.join(missing)}, and wrote {wrote}{more}"


def _error(outcome: Outcome) -> dict[str, Any] | None:
    """The outcome's error with its traceback as one text, and the cell (counted from 1) where it happened."""
    if outcome.error is None:
        return None
    place = {} if outcome.cell is None else {"cell": outcome.cell + 1}
    return {**outcome.error, "traceback": "\n".join(outcome.error["traceback"]), **place}
