"""Cards of what is known of cells: a verdict, an execution, a session; and a run's cells as a section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nbmlops.display.markup import sentence_html, style
from nbmlops.display.sections import Sections, error_block, grid, points, told
from nbmlops.display.shape import Block, Card, Column

_SAYS = {
    "strongly valid": "a clean run gives the same",
    "weakly valid": "a clean run repeats the same steps, but they rest on what may change",
    "invalid": "a clean run would differ or fail",
    "unknown": "it cannot be told without running it",
}
# What findings of a level stand below.
_LEADS = {
    "invalid": "a clean run would differ or fail",
    "unknown": "cannot be told without running it",
    "weakly valid": "rests on what may change",
}
MOST_MADE = 4  # things that a cell made and are named in a run's card


def says(verdict: str) -> str:
    """What a verdict means, in words."""
    return _SAYS.get(verdict, "")


def verdict(x: Any) -> Card:
    """The verdict, and for each reason the cells, what is wrong and how to mend it."""
    facts = told(
        ("says", says(x.verdict) if not x.findings else "", "text"),
        ("cells", f"{x.ran} of {x.cells} ran" if x.ran < x.cells else x.cells, "count"),
        ("notebook", x.notebook, "text"),
    )
    name = x.notebook.rpartition("/")[2] or "this notebook"
    return Card("clean run", name, x.verdict, facts, reasons(x.findings))


def reasons(findings: Sequence[Any]) -> Sections:
    """Whole sentences below what they lead to, the worst first."""
    levels = dict.fromkeys(one.level for one in findings)
    return tuple(
        section
        for level in levels
        for section in points(_LEADS.get(level, level), ((f.what, f.mend) for f in findings if f.level == level))
    )


class Remark:
    """One quiet line that a clean run would differ, for a cell that shows no card."""

    def __init__(self, found: Any) -> None:
        self.text = f"nbmlops: a clean run would differ: {_first(found.to_dict())} %mlops check tells more."

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        soft = f'<span class="nbm-soft">{sentence_html(self.text)}</span>'
        return f'<style>{style("theme")}</style><div class="nbm">{soft}</div>'


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
    return f"{held['verdict']}: {_first(held)}" if held.get("findings") else str(held["verdict"])


def _first(held: Mapping[str, Any]) -> str:
    found = held["findings"]
    return str(found[0]["what"]) + (f" (and {len(found) - 1} more)" if len(found) > 1 else "")


def of_run(cells: Sequence[Mapping[str, Any]]) -> Sections:
    """The cells of a run in the order in which they ran; the one below which the card is shown need not be told."""
    if len(cells) == 1 and cells[0]["status"] == "running":
        return ()
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
