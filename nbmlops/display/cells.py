"""Cards of what is known of cells: a verdict, an execution, a session; and a run's cells as a section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nbmlops.display.sections import Sections, error_block, grid, told
from nbmlops.display.shape import Block, Card, Column

_SAYS = {
    "strongly valid": "a clean run gives the same",
    "weakly valid": "a clean run repeats the same steps, but they rest on what may change",
    "invalid": "a clean run would differ or fail",
    "unknown": "it cannot be told without running it",
}
MOST_MADE = 4  # things that a cell made and are named in a run's card


def says(verdict: str) -> str:
    """What a verdict means, in words."""
    return _SAYS.get(verdict, "")


def verdict(x: Any) -> Card:
    """The verdict, and for each reason the cells, what is wrong and how to mend it."""
    facts = told(
        ("says", says(x.verdict), "text"),
        ("notebook", x.notebook, "text"),
        ("cells", x.cells, "count"),
    )
    return Card("clean run", x.notebook.rpartition("/")[2] or "this notebook", x.verdict, facts, reasons(x.findings))


def reasons(findings: Sequence[Any]) -> Sections:
    """Each finding in whole lines: what is wrong, and what to do, must not be cut."""
    lines = []
    for finding in findings:
        told_of = finding if isinstance(finding, Mapping) else finding.to_dict()
        lines.append(f"{told_of['level']}: {told_of['what']}")
        if told_of.get("mend"):
            lines.append(f"    {told_of['mend']}")
    return (Block("reasons", "\n".join(lines)),) if lines else ()


def finding(x: Any) -> Card:
    """One reason of a verdict."""
    facts = told(
        ("cells", ", ".join(x.cells), "text"),
        ("names", x.names, "code"),
        ("what to do", x.mend, "text"),
    )
    return Card("reason", x.what, x.level, facts)


def touch(x: Any) -> Card:
    """Something that a cell logged, read or made."""
    return Card(
        "touch", x.name or x.subject, "", told(("kind", f"{x.mode} {x.kind}", "text"), ("of", x.subject, "code"))
    )


def quiet(held: Mapping[str, Any] | None) -> str:
    """A verdict as one line of a run's card: the verdict, and its first reason."""
    if not held:
        return ""
    found = held.get("findings") or ()
    first = f": {found[0]['what']}" if found else ""
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{held['verdict']}{first}{more}"


def of_run(cells: Sequence[Mapping[str, Any]]) -> Sections:
    """The cells of a run in the order in which they ran."""
    rows = []
    for cell in cells:
        made = list(cell["made"])
        more = [f"+{len(made) - MOST_MADE}"] if len(made) > MOST_MADE else []
        state = "" if cell["status"] == "ok" else cell["status"]
        rows.append((cell["cell"], cell["line"], cell["seconds"], ", ".join([*made[:MOST_MADE], *more]), state))
    columns = [
        Column("cell", "cell"),
        Column("line", "begins with", "code"),
        Column("seconds", "took", "duration"),
        Column("made", "made"),
        Column("status", "", "status"),
    ]
    shown = 5 if any(row[4] for row in rows) else 4
    return grid("cells", columns[:shown], [row[:shown] for row in rows])


def execution(x: Any) -> Card:
    """One execution of a cell: its source as it was, and what it touched."""
    facts = told(
        ("ran", x.started_at or None, "time"),
        ("took", x.seconds, "duration"),
        ("cell id", x.cell_id, "code"),
        ("uses", x.loaded, "code"),
        ("sets", x.stored, "code"),
        ("touched", tuple(f"{t.mode} {t.kind} {t.name or t.subject}" for t in x.touched if t.kind != "run"), "text"),
    )
    return Card("cell", x.label, x.status, facts, (Block("source", x.source), *error_block(x.error)))


def session(x: Any) -> Card:
    """One kernel or shell that recorded its cells."""
    facts = told(
        ("notebook", x.notebook, "text"),
        ("kind", x.frontend, "text"),
        ("user", x.user, "text"),
        ("started", x.started_at, "time"),
        ("ended", x.ended_at, "time"),
        ("id", x.session_id, "code"),
    )
    return Card("session", x.notebook.rpartition("/")[2] or x.session_id[-6:], "", facts)
