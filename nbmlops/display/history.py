"""The cards of the time machine: versions of a cell or variable, with what changed from one to the next."""

from __future__ import annotations

from typing import Any

from nbmlops.display.sections import grid, told
from nbmlops.display.shape import Block, Card, Column

_LINES = 12  # of a change that is shown
_RUNS = 3  # of a version that are named

_COLUMNS = (
    Column("ref", "restore", "code"),
    Column("started_at", "last run", "time"),
    Column("status", "", "status"),
    Column("times", "times", "count"),
    Column("line", "source", "code"),
    Column("result", "result"),
    Column("metrics", "metrics"),
    Column("runs", "runs", "code"),
)


def history(x: Any) -> Card:
    """All versions as a table, and below it what changed from each to the next."""
    if not x.versions:
        return Card("history", x.name or "nothing has run here yet")
    rows = [
        (
            v.ref,
            v.started_at or None,
            "" if v.status == "ok" else v.status,
            v.times if v.times > 1 else None,
            v.line,
            v.result,
            ", ".join(v.metrics),
            ", ".join(
                [*(run[-6:] for run in v.runs[:_RUNS]), *([f"+{len(v.runs) - _RUNS}"] if v.runs[_RUNS:] else [])]
            ),
        )
        for v in x.versions
    ]
    keep = [i for i in range(len(_COLUMNS)) if i < 2 or any(row[i] for row in rows)]
    columns = [_COLUMNS[i] for i in keep]
    table = grid("", columns, [[row[i] for i in keep] for row in rows])
    named = bool(x.name)
    changes = tuple(Block(f"version {v.version}", _cut(v.change or v.source)) for v in x.versions if named)
    facts = told(("left out", f"{x.more} older" if x.more else "", "text"))
    name = f"{x.kind} {x.name}" if named else "the last cells"
    return Card("history", name, "", facts, (*table, *changes))


def version(x: Any) -> Card:
    """One version with its whole source."""
    facts = told(
        ("cell", x.label, "code"),
        ("last run", x.started_at or None, "time"),
        ("took", x.seconds, "duration"),
        ("times", x.times, "count"),
        ("result", x.result, "text"),
        ("metrics", x.metrics, "text"),
        ("runs", x.runs, "code"),
        ("secrets", "masked" if x.masked else "", "text"),
    )
    return Card("cell", x.ref, x.status, facts, (Block("", x.source),))


def _cut(text: str) -> str:
    lines = text.strip("\n").splitlines()
    return "\n".join(lines[:_LINES] + ([f"… {len(lines) - _LINES} more lines"] if len(lines) > _LINES else []))
