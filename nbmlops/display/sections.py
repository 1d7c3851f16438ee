"""The sections that cards are made of: small tables, findings, signatures, stages, drift, errors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nbmlops.display.shape import Block, Column, Grid, Points, number

MOST = 30  # rows of a section in a card; the rest is counted

Fact = tuple[str, Any, str]
Sections = tuple[Grid | Block | Points, ...]


def grid(title: str, columns: Iterable[Column], rows: Sequence[Sequence[Any]]) -> Sections:
    """The grid as a section, or nothing if it has no rows."""
    return (Grid(title, tuple(columns), rows[:MOST], max(0, len(rows) - MOST)),) if rows else ()


def points(title: str, found: Iterable[tuple[str, str]]) -> Sections:
    """Sentences, each with what to do, as a section; nothing if there are none."""
    listed = tuple(found)
    more = [(f"… and {len(listed) - MOST} more", "")] if len(listed) > MOST else []
    return (Points(title, (*listed[:MOST], *more)),) if listed else ()


def pairs(title: str, values: Mapping[str, Any], kind: str = "text") -> Sections:
    """A two-column section of names and values."""
    rows = [(str(k), short(v)) for k, v in values.items()]
    return grid(title, (Column("name", "name"), Column("value", "value", kind)), rows)


def short(value: Any, most: int = 200) -> Any:
    """Numbers and short texts as they are; anything else as JSON, cut at ``most`` characters."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= most else text[: most - 1] + "…"


def told(*facts: Fact) -> tuple[Fact, ...]:
    """The facts (label, value, kind) that say something."""
    return tuple(f for f in facts if f[1] not in (None, "", (), [], {}))


def error_block(error: Mapping[str, Any] | None) -> Sections:
    """An error's name, message and traceback; nothing if there is none."""
    if not error:
        return ()
    head = f"{error.get('name', 'Error')}: {error.get('message', '')}"
    trace = str(error.get("traceback") or "")
    # The last line of a traceback repeats name and message.
    return (Block("error", trace if trace and head in trace else f"{trace}\n{head}".strip()),)


def findings(found: Sequence[Any], title: str = "findings", most_passed: int | None = None) -> Sections:
    """Findings as a section: those that block first. More passes than ``most_passed`` are only counted and named."""
    rank = {"block": 0, "warn": 1}
    passed = [f for f in found if f.level == "pass"]
    if most_passed is not None and len(passed) > most_passed:
        rest = findings([f for f in found if f.level != "pass"], title)
        names = ", ".join(dict.fromkeys(str(f.check) for f in passed))
        return (*rest, Block("" if rest else title, f"{len(passed)} passed: {names}"))
    rows = [(f.level, f.check, f.asked, f.seen, f.hint) for f in sorted(found, key=lambda f: rank.get(f.level, 2))]
    columns = [
        Column("level", "", "status"),
        Column("check", "check"),
        Column("asked", "asked"),
        Column("seen", "seen"),
        Column("hint", "what to do"),
    ]
    shown = 5 if any(r[4] for r in rows) else 4  # where nothing is to do, there is no column that says it
    return grid(title, columns[:shown], [r[:shown] for r in rows])


def signature_grid(signature: Mapping[str, Any]) -> Sections:
    """Inputs and outputs of a model as sections; anything else in its signature as names and values."""
    sections: list[Grid | Block | Points] = []
    rest = {}
    columns = (
        Column("name", "name"),
        Column("type", "type", "code"),
        Column("nulls", ""),
        Column("values", "in training"),
    )
    for part, given in signature.items():
        if isinstance(given, list | tuple) and given and all(isinstance(c, Mapping) for c in given):
            rows = [
                (c.get("name", ""), c.get("type", ""), "may be null" if c.get("nullable") else "", _seen(c))
                for c in given
            ]
            keep = [0, 1, *(i for i in (2, 3) if any(row[i] for row in rows))]
            sections += grid(part, [columns[i] for i in keep], [[row[i] for i in keep] for row in rows])
        elif given not in (None, "", [], {}):
            rest[part] = given
    return (*sections, *pairs("signature", rest))


def _seen(column: Mapping[str, Any]) -> str:
    """The range or the categories that a model was trained on."""
    if column.get("categories"):
        return short(", ".join(str(c) for c in column["categories"]), 80)
    if "shape" in column or "fields" in column:
        return short(column.get("shape") or column["fields"], 80)
    unit = f" {column['unit']}" if column.get("unit") else ""
    return f"{number(column['min'])} … {number(column['max'])}{unit}" if "min" in column and "max" in column else unit


def drift_grid(drift: Sequence[Mapping[str, Any]]) -> Sections:
    """The drift table of a report; its columns are what the rows have, in the order met."""
    names: dict[str, None] = {}
    for row in drift:
        names.update(dict.fromkeys(row))
    columns = tuple(Column(n, n.replace("_", " "), _drift_kind(n, [row.get(n) for row in drift])) for n in names)
    return grid("drift", columns, [[short(row.get(n), 80) for n in names] for row in drift])


def _drift_kind(name: str, values: Sequence[Any]) -> str:
    if name in {"level", "status"}:
        return "status"
    return "text" if any(isinstance(v, str) for v in values) else "number"
