"""Flows and stage runs read back from the store, with what has become of processes that died."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from nbmlops.context import Context
from nbmlops.errors import NotFound
from nbmlops.pipelines.desks import Desks
from nbmlops.pipelines.stage import produced, stage_record
from nbmlops.pipelines.sweep import reused, together
from nbmlops.records import Finding, Flow, Promotion, StageRun
from nbmlops.runs import Runs
from nbmlops.runs.frame import logged
from nbmlops.runs.origin import pid_namespace
from nbmlops.store import Store, schema

_PROMOTION = ("model", "version", "environment", "status", "reason", "user", "previous", "approval_id", "event", "at")


def find_flow(store: Store, asked: str) -> Any:
    """The row of a flow: by its id, a unique part of it, or the name of a pipeline, whose last flow is meant.

    Raises:
        NotFound: none, or more than one.
    """
    f = schema.flows
    up = asked.upper()
    part = sa.or_(f.c.id.startswith(up, autoescape=True), f.c.id.endswith(up, autoescape=True))
    with store.read() as db:
        row = db.execute(sa.select(f).where(f.c.id == up)).mappings().first()
        row = (
            row or db.execute(sa.select(f).where(f.c.name == asked).order_by(f.c.id.desc()).limit(1)).mappings().first()
        )
        near = [] if row else db.execute(sa.select(f).where(part).limit(3)).mappings().all()
    if row or len(near) == 1:
        return row or near[0]
    if near:
        raise NotFound(
            f"{asked!r} means more than one flow", f"give more of the id: {', '.join(r['id'] for r in near)}, …"
        )
    raise NotFound(
        f"no flow {asked!r}",
        "list them with `nbmlops pipelines`; an id, a unique part of it, or a pipeline's name is enough",
    )


def flow_records(store: Store, runs: Runs, context: Context, rows: Sequence[Any]) -> list[Flow]:
    """Records of rows of ``flows``, with their stages, reused ones too, in the order in which they began."""
    s, u, ids = schema.stage_runs, schema.reused_stages, [row["id"] for row in rows]
    with store.read() as db:
        own = db.execute(sa.select(s).where(s.c.flow_id.in_(ids))).mappings().all()
        taken = db.execute(sa.select(u).where(u.c.flow_id.in_(ids)).order_by(u.c.seq)).mappings().all()
        earlier = db.execute(sa.select(s).where(s.c.run_id.in_([row["run_id"] for row in taken]))).mappings().all()
    stages: dict[str | None, list[tuple[float, StageRun]]] = defaultdict(list)
    for stage in stage_records(store, runs, own):
        stages[stage.flow_id].append((stage.started_at, stage))
    results = {stage.run_id: stage for stage in stage_records(store, runs, earlier)}
    for row in taken:
        stage = replace(results[row["run_id"]], stage=row["stage"], label=row["label"])
        stages[row["flow_id"]].append((row["at"], reused(stage, row["flow_id"])))
    order = {flow: sorted(found, key=lambda each: (each[0], each[1].run_id)) for flow, found in stages.items()}
    return [_flow(row, tuple(stage for _, stage in order.get(row["id"], [])), context) for row in rows]


def stage_run(desks: Desks, run_id: str) -> StageRun:
    """The record of one stage run."""
    s = schema.stage_runs
    with desks.store.read() as db:
        row = db.execute(sa.select(s).where(s.c.run_id == run_id)).mappings().one()
    return stage_records(desks.store, desks.runs, [row])[0]


def stage_records(store: Store, runs: Runs, rows: Sequence[Any]) -> list[StageRun]:
    """Records of rows of ``stage_runs``; one whose process died is KILLED, as its run is."""
    ids = [row["run_id"] for row in rows]
    if not ids:
        return []
    runs.reap()
    r = schema.runs
    with store.read() as db:
        states = {
            row["id"]: row
            for row in db.execute(
                sa.select(r.c.id, r.c.seq, r.c.status, r.c.ended_at).where(r.c.id.in_(ids))
            ).mappings()
        }
        _, metrics, _ = logged(db, [state["seq"] for state in states.values()])
    made, handed = produced(store, ids), runs.handed_on(ids)
    found = []
    for row in rows:
        state = states[row["run_id"]]
        record = stage_record(row, metrics.get(state["seq"], {}), made[row["run_id"]], handed[row["run_id"]])
        if record.status == "RUNNING" and state["status"] == "KILLED":
            record = replace(record, status="KILLED", ended_at=state["ended_at"])
        found.append(record)
    return found


def _flow(row: Any, stages: tuple[StageRun, ...], context: Context) -> Flow:
    status, ended = row["status"], row["ended_at"]
    own = [stage for stage in stages if not stage.reused]
    if status == "RUNNING" and _is_gone(row["trigger"], own, context):
        status = "KILLED"
        ended = max((s.ended_at for s in stages if s.ended_at), default=row["started_at"])
    decision = row["decision"]
    return Flow(
        flow_id=row["id"],
        name=row["name"],
        path=row["path"],
        status=status,
        params=row["params"],
        stages=stages,
        outputs=row["outputs"],
        promotion=_promotion(decision) if decision and decision["status"] != "blocked" else None,
        decision=decision,
        trigger={k: v for k, v in row["trigger"].items() if k in {"type", "ref"}},
        user=row["user"],
        started_at=row["started_at"],
        ended_at=ended,
        error=row["error"],
    )


def _is_gone(process: dict[str, Any], stages: list[StageRun], context: Context) -> bool:
    """Whether the process that ran a flow has ended. Known on its own host; elsewhere the lease of its runs decides.

    A stage whose worker was lost does not end a flow: another worker takes it over.
    """
    if process.get("host") == context.host and process.get("pid_namespace") == pid_namespace() != "":
        return not os.path.exists(f"/proc/{process['pid']}")
    return any(stage.status == "KILLED" and not stage.worker for stage in stages)


def _promotion(decision: dict[str, Any]) -> Promotion:
    findings = tuple(Finding(**finding) for finding in decision["findings"])
    return Promotion(**{name: decision[name] for name in _PROMOTION}, findings=findings)


def last_results(desks: Desks, pipeline: str, stage: str) -> dict[str, Any]:
    """What a stage handed on when it last finished in a flow of this pipeline; empty if it never did.

    Of a sweep it is what the chosen candidate handed on, else lists, as in a flow itself.
    """
    s, f, r = schema.stage_runs, schema.flows, schema.runs
    query = sa.select(s.c.run_id, r.c.parent_id).join(f, f.c.id == s.c.flow_id).join(r, r.c.id == s.c.run_id)
    done = query.where(f.c.name == pipeline, s.c.stage == stage, s.c.status == "FINISHED").order_by(s.c.run_id.desc())
    with desks.store.read() as db:
        last = db.execute(done.limit(1)).first()
        same = [last.run_id] if last else []
        if last and last.parent_id:
            same = [row.run_id for row in db.execute(done.where(r.c.parent_id == last.parent_id))][::-1]
    if last and last.parent_id and (chosen := desks.runs.get(last.parent_id).tags.get("nbmlops.selected")):
        same = [chosen]
    return together(list(desks.runs.handed_on(same).values()))
