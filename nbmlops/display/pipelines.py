"""The cards of pipelines: plans, flows, and their stages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nbmlops import clock
from nbmlops.display import graph
from nbmlops.display.sections import MOST, Sections, error_block, findings, grid, pairs, short, told
from nbmlops.display.shape import Block, Card, Column, Picture, number
from nbmlops.records import FIRST_TIME, Finding

_NAMED = 4  # stages of which one thing is told


def planned(x: Any) -> Card:
    """One stage of a plan: what would become of it and why, what it waits for, reads and writes."""
    facts = told(
        ("why", "; ".join(x.why), "text"),
        ("notebook", x.notebook, "text"),
        ("after", x.needs, "text"),
        ("reads", x.reads, "code"),
        ("writes", x.writes, "code"),
        ("runs", x.runs, "count"),
    )
    return Card("planned stage", x.stage, x.state, facts, pairs("params", x.params))


def plan(x: Any) -> Card:
    """The graph, and a line for each stage; why it is not fresh stands below, in whole."""
    columns = (
        Column("place", "", "count"),
        Column("stage", "stage"),
        Column("state", "state", "status"),
        Column("runs", "runs", "count"),
        Column("needs", "after"),
        Column("reads", "reads", "code"),
        Column("writes", "writes", "code"),
        Column("notebook", "notebook"),
    )
    rows = [(i, s.stage, s.state, s.runs, s.needs, s.reads, s.writes, _notebook(s)) for i, s in enumerate(x.stages, 1)]
    states = [s.state for s in x.stages]
    counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    facts = told(("pipeline", x.path, "text"), ("stages", counted, "text"))
    why = _reasons("why", [(s.stage, "; ".join(s.why)) for s in x.stages])
    sections = (Picture(lambda: graph.svg(x)), *_filled("stages", columns, rows), *why)
    return Card("plan", x.name, "", facts, sections)


def stage(x: Any) -> Card:
    """One execution of a notebook, or its earlier result."""
    facts = told(
        ("reused", "its earlier result was still right, nothing was executed" if x.reused else "", "text"),
        ("skipped", (x.reason or "no reason given") if x.status == "SKIPPED" else "", "text"),
        ("ran because", _why(x), "text"),
        ("notebook", x.notebook, "text"),
        ("took", x.duration, "duration"),
        ("started", x.started_at or None, "time"),
        ("cells", f"{x.cells_done} of {x.cells}" if x.cells else "", "text"),
        ("attempt", x.attempt if x.attempt > 1 else None, "text"),
        ("peak memory", x.peak_memory, "bytes"),
        ("worker", x.worker, "code"),
        ("reads", [f"{name}@{version}" for name, version in x.pins.items()], "code"),
        ("writes", x.outputs, "code"),
        ("run", x.run_id, "code"),
    )
    sections = (
        *error_block(x.error),
        *pairs("params", x.params),
        *pairs("metrics", x.metrics, "number"),
        *pairs("handed on", x.results),
    )
    return Card("stage", x.label or x.stage, x.status, facts, sections)


def flow(x: Any) -> Card:
    """One execution of a pipeline: what became of each stage, why those that ran did, and of the promotion."""
    promotion = x.promotion
    reused = sum(s.reused for s in x.stages)
    facts = told(
        ("pipeline", x.path, "text"),
        ("started", x.started_at or None, "time"),
        ("took", x.duration, "duration"),
        ("reused", f"{reused} of {len(x.stages)} results" if reused else "", "text"),
        ("user", x.user, "text"),
        ("trigger", " ".join(str(v) for v in x.trigger.values()), "text"),
        ("wrote", [f"{name}@{version}" for name, version in x.outputs.items()], "code"),
        ("id", x.flow_id, "code"),
        ("promotion", f"{promotion.ref} to {promotion.environment}: {promotion.status}" if promotion else "", "text"),
    )
    sections = (
        *error_block(x.error),
        *_filled("stages", _COLUMNS, [_row(s) for s in x.stages]),
        *_reasons("why they ran", [(_name(s), _why(s)) for s in x.stages if not s.reused]),
        *_reasons("skipped", [(_name(s), s.reason or "no reason given") for s in x.stages if s.status == "SKIPPED"]),
        *pairs("handed on", _handed_on(x.stages)),
        *_decision(x),
        *pairs("params", x.params),
    )
    return Card("flow", x.name, x.status, facts, sections)


_COLUMNS = (
    Column("stage", "stage"),
    Column("status", "status", "status"),
    Column("took", "took", "duration"),
    Column("cells", "cells"),
    Column("metrics", "metrics"),
    Column("writes", "writes", "code"),
    Column("memory", "memory", "bytes"),
    Column("worker", "worker", "code"),
    Column("notebook", "notebook"),
)


def _row(s: Any) -> tuple[Any, ...]:
    """What a reused result took and used is told with the run that it is from."""
    return (
        _name(s),
        "reused" if s.reused else s.status,
        None if s.reused else s.duration,
        f"{s.cells_done}/{s.cells}" if s.cells and not s.reused else "",
        ", ".join(f"{k} {number(short(v, 40))}" for k, v in list(s.metrics.items())[:3]),
        list(s.outputs),
        None if s.reused else s.peak_memory,
        None if s.reused else s.worker,
        _notebook(s),
    )


def _name(s: Any) -> str:
    if not s.label and s.params:
        return f"{s.stage} ({', '.join(f'{k}={number(short(v, 40))}' for k, v in s.params.items())})"
    return str(s.label or s.stage) + (f", attempt {s.attempt}" if s.attempt > 1 else "")


def _notebook(s: Any) -> str:
    """The notebook, where the stage's name does not say it."""
    return "" if s.notebook == f"{s.stage}.ipynb" else str(s.notebook)


def _why(s: Any) -> str:
    return "; ".join(text for text in s.why if text not in FIRST_TIME)  # that it ran says so


def _filled(title: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> Sections:
    """The grid without the columns that have nothing to say in any row."""
    kept = [place for place in range(len(columns)) if any(row[place] not in (None, "", (), []) for row in rows)]
    return grid(title, [columns[place] for place in kept], [[row[place] for place in kept] for row in rows])


def _reasons(title: str, reasons: Iterable[tuple[str, str]]) -> Sections:
    """What is told of stages, in whole lines; several with the same reason in one."""
    same: dict[str, list[str]] = {}
    for name, reason in reasons:
        if reason:
            same.setdefault(reason, []).append(name)
    lines = [f"{_listed(names)}: {reason}" for reason, names in same.items()]
    more = [f"… and {len(lines) - MOST} more"] if len(lines) > MOST else []
    return (Block(title, "\n".join([*lines[:MOST], *more])),) if lines else ()


def _handed_on(stages: Iterable[Any]) -> dict[str, Any]:
    """Results by stage and name; a list for each where several executions handed it on."""
    found: dict[str, list[Any]] = {}
    for s in stages:
        for name, value in s.results.items():
            found.setdefault(f"{s.stage}.{name}", []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _listed(names: list[str]) -> str:
    if len(names) <= _NAMED:
        return ", ".join(names)
    return f"{', '.join(names[: _NAMED - 1])} and {len(names) - _NAMED + 1} more"


def _decision(x: Any) -> Sections:
    """What became of the promotion that a flow asked for; the message of a refusal is what its findings say."""
    decision: Mapping[str, Any] = x.decision or {}
    kept = [Finding(**f) for f in decision.get("findings", ())]
    found = x.promotion.findings if x.promotion is not None else kept
    left_out = {"findings", *({"message"} if found else ())}
    said = {name: value for name, value in decision.items() if value is not None and name not in left_out}
    if "at" in said:
        said["at"] = clock.local(said["at"])
    return (*pairs("decision", said), *findings(found, "gates", most_passed=0))
