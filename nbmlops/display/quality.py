"""The cards of records about the quality of data."""

from __future__ import annotations

from typing import Any

from nbmlops.display.sections import grid, short, told
from nbmlops.display.shape import Block, Card, Column

_VIOLATIONS = (
    Column("column", "column", "code"),
    Column("asked", "asked"),
    Column("seen", "seen"),
    Column("rows", "rows", "count"),
    Column("examples", "for example"),
)


def contract_report(x: Any) -> Card:
    """A contract's verdict, with every violation."""
    facts = told(("rows", x.rows, "count"), ("rules", x.rules, "count"), ("contract", x.contract, "code"))
    rows = [(v.column, v.asked, v.seen, v.rows, _examples(v)) for v in x.violations]
    return Card("contract", x.subject or x.contract, x.status, facts, grid("violations", _VIOLATIONS, rows))


def violation(x: Any) -> Card:
    """One violation of a contract."""
    facts = told(
        ("asked", x.asked, "text"),
        ("seen", x.seen, "text"),
        ("rows", x.rows, "count"),
        ("share", x.share, "number"),
        ("for example", _examples(x), "text"),
        ("what to do", x.hint, "text"),
    )
    return Card("violation", x.column or x.rule, "", facts)


def _examples(x: Any) -> str:
    return ", ".join(f"row {e['row']}" + (f": {short(e['value'], 60)}" if "value" in e else "") for e in x.examples)


def duplicates(x: Any) -> Card:
    """How many rows are there again, and where."""
    facts = told(
        ("rows", x.rows, "count"),
        ("rows too many", x.rows_more, "count"),
        ("distinct rows repeated", x.groups, "count"),
        ("compared", x.columns, "code"),
    )
    rows = [(i, ", ".join(map(str, group))) for i, group in enumerate(x.examples, 1)]
    columns = (Column("group", "", "count"), Column("rows", "rows"))
    return Card("duplicates", x.subject, "pass" if x.ok else "warn", facts, grid("for example", columns, rows))


def leakage(x: Any) -> Card:
    """Rows on both sides of a split."""
    facts = told(
        ("rows of train", x.rows_train, "count"),
        ("rows of the other", x.rows_other, "count"),
        ("in both", x.shared, "count"),
        ("share", x.share, "number"),
        ("same features, another label", x.relabelled, "count"),
        ("label", x.label, "code"),
        ("compared", x.columns, "code"),
    )
    columns = (Column("train", "row of train", "count"), Column("other", "row of the other", "count"))
    sections = (
        *grid("in both, for example", columns, x.examples),
        *grid("another label, for example", columns, x.examples_relabelled),
        *grid("not compared", (Column("name", "column"), Column("why", "why")), list(x.left_out.items())),
    )
    return Card("leakage", f"{x.train} → {x.other}", "pass" if x.ok else "block", facts, sections)


def label_report(x: Any) -> Card:
    """Suspected label errors, by class and the most certain first."""
    facts = told(
        ("label", x.label, "code"),
        ("rows", x.rows, "count"),
        ("examined", x.examined, "count"),
        ("suspects", len(x.suspects), "count"),
        ("estimated noise", f"{x.noise:.1%}", "text"),
        (f"accuracy in {x.folds} folds", x.accuracy, "number"),
        ("model", x.model, "text"),
    )
    named = (Column("label", "label"), Column("rows", "rows", "count"), Column("suspects", "suspects", "count"))
    classes = [(short(c["label"], 60), c["rows"], c["suspects"], c["noise"]) for c in x.classes]
    rows = [(s["row"], short(s["given"], 60), short(s["suggested"], 60), s["confidence"]) for s in x.suspects]
    columns = (
        Column("row", "row", "count"),
        Column("given", "given"),
        Column("suggested", "suggested"),
        Column("confidence", "confidence", "number"),
    )
    sections = (
        *grid("classes", (*named, Column("noise", "estimated noise", "number")), classes),
        *grid("suspects", columns, rows),
        *((Block("notes", "\n".join(x.notes)),) if x.notes else ()),
    )
    return Card("labels", x.subject or x.label, "warn" if x.suspects else "pass", facts, sections)
