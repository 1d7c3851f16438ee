"""Cards of what decisions rest on: evidence, reviews, approvals, the rules of environments, who acts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbmlops import clock
from nbmlops.display.sections import Sections, findings, grid, pairs, points, told
from nbmlops.display.shape import Block, Card, Column

_VOTES = (
    Column("decision", "", "status"),
    Column("user", "who"),
    Column("identity", "known by"),
    Column("roles", "roles"),
    Column("reason", "reason"),
    Column("at", "at", "time"),
)


def evidence(x: Any) -> Card:
    """Its numbers as pairs, its tables as tables."""
    facts = told(
        ("model", x.ref, "code"), ("took", x.seconds, "duration"), ("by", x.user, "text"), ("at", x.at, "time")
    )
    sections = (*_report("", x.report), *pairs("files", x.files, "code"))
    return Card("evidence", x.kind, x.status, facts, sections)


def _report(title: str, report: Mapping[str, Any]) -> Sections:
    """Plain values as pairs, tables as tables, and what has the same few figures under several names as a table too."""
    plain = {k: v for k, v in report.items() if not _is_table(v) and not isinstance(v, Mapping)}
    alike = {k: v for k, v in report.items() if isinstance(v, Mapping) and _is_flat(v)}
    sections: Sections = pairs(title, plain)
    rows = [{"": k, **v} for k, v in alike.items()]
    sections = (*sections, *_table(title if not plain else "", rows))
    for name, value in report.items():
        under = f"{title} · {name}" if title else str(name)
        if _is_table(value):
            sections = (*sections, *_table(under, value))
        elif isinstance(value, Mapping) and name not in alike:
            sections = (*sections, *_report(under, value))
    return sections


def _table(title: str, rows: Any) -> Sections:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_shown(row.get(key)) for key in columns] for row in rows]
    kinds = ["text" if any(isinstance(row[i], str) for row in cells) else "number" for i in range(len(columns))]
    return grid(title, [Column(c, c.replace("_", " "), k) for c, k in zip(columns, kinds, strict=True)], cells)


def _is_flat(value: Mapping[str, Any]) -> bool:
    return bool(value) and all(v is None or isinstance(v, bool | int | float | str) for v in value.values())


def policy(x: Any) -> Card:
    """What a version must fulfil to stand there."""
    facts = told(
        ("after", x.after, "text"),
        ("approvers", x.approvers, "count"),
        ("roles", ", ".join(x.roles), "text"),
        ("four eyes", "yes" if x.four_eyes else None, "text"),
        ("an approval expires after", clock.duration(x.expires) if x.expires else None, "text"),
        ("gate", x.gate, "code"),
        ("tested as a service", "yes" if x.service else None, "text"),
        ("shadow", _share(x.shadow), "text"),
        ("canary", _share(x.canary), "text"),
    )
    rules = (Block("rules", "\n".join(x.rules)),) if x.rules else ()
    return Card("environment", x.name, "", facts, rules)


def identity(x: Any) -> Card:
    """Who acts here."""
    facts = told(("known by", x.how, "text"), ("key", x.key, "code"), ("roles", ", ".join(x.roles), "text"))
    return Card("identity", x.user, "", facts)


def vote(x: Any) -> Card:
    """One person's word."""
    facts = told(
        ("known by", x.identity, "text"),
        ("roles", ", ".join(x.roles), "text"),
        ("reason", x.reason, "text"),
        ("at", x.at, "time"),
        ("event", x.event, "count"),
    )
    return Card("vote", x.user, x.decision, facts)


def approval(x: Any) -> Card:
    """What waits, for whom, and who has said what."""
    given = sum(v.decision == "approve" for v in x.votes)
    facts = told(
        ("into", x.environment, "text"),
        ("asked by", x.user, "text"),
        ("because", x.reason, "text"),
        ("at", x.at, "time"),
        ("approved by", f"{given} of {x.required}", "text"),
        ("roles", ", ".join(x.roles), "text"),
        ("four eyes", "yes" if x.four_eyes else None, "text"),
        ("expires", x.expires_at, "time"),
        ("review", x.review, "code"),
        ("id", x.approval_id, "code"),
    )
    rows = [(v.decision, v.user, v.identity, ", ".join(v.roles), v.reason, v.at) for v in x.votes]
    return Card(
        "approval", x.ref, x.status, facts, (*grid("votes", _VOTES, rows), *findings(x.findings, most_passed=5))
    )


def review(x: Any) -> Card:
    """The findings of an environment's tests, and where their notebook is."""
    facts = told(
        ("for", x.environment, "text"),
        ("by", x.user, "text"),
        ("at", x.at, "time"),
        ("notebook", x.notebook, "code"),
        ("page", x.page, "code"),
        ("id", x.review_id, "code"),
    )
    return Card("review", x.ref, x.status, facts, findings(x.findings, most_passed=5))


def exported(x: Any) -> Card:
    """Where it is, and whether it is ONNX too."""
    facts = told(("folder", x.folder, "code"), ("format", x.format, "text"), ("onnx", f"{x.onnx}: {x.reason}", "text"))
    return Card("export", x.ref, "", facts, (Block("files", "\n".join(x.files)),))


def card(x: Any) -> Card:
    """A card or dossier: what is missing first, then what is said, with what shows it."""
    missing = x.missing()
    facts = told(("written", x.at, "time"), ("still missing", len(missing) or None, "count"))
    sections = points("still to be written or measured", [(s.text, s.write) for s in missing])
    columns = (Column("said", ""), Column("shown by", "shown by", "code"))
    for section in x.sections:
        rows = [(s.text, s.source) for s in section.statements if not s.missing]
        sections = (*sections, *grid(section.title, columns, rows))
    return Card(type(x).__name__.lower().replace("modelcard", "model card"), x.ref, "", facts, sections)


def section(x: Any) -> Card:
    """One part of a card."""
    return Card("section", x.title, "", (), grid("", (Column("said", ""),), [(s.text,) for s in x.statements]))


def statement(x: Any) -> Card:
    """One thing that is said, or missing."""
    facts = told(("shown by", x.source, "code"), ("write it", x.write, "code"))
    return Card("statement", x.text, "missing" if x.missing else "", facts, _table("", x.table))


def _is_table(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _shown(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float | str) else str(value)


def _share(value: float) -> str | None:
    return f"{value:.1%} of the requests" if value else None
