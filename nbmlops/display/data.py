"""The cards of data sets, of their profiles and of what changed between two versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nbmlops import clock
from nbmlops.display import plots
from nbmlops.display.sections import Sections, grid, short, told
from nbmlops.display.shape import Card, Column, number

_EXAMPLE = 120  # characters of the values of one row


def dataset(x: Any) -> Card:
    """A version: what it holds and where it came from; with its profile, if that is known, else with its schema."""
    facts = told(
        ("rows", x.rows, "count"),
        ("columns", x.columns, "count"),
        ("size", x.bytes, "bytes"),
        ("message", x.message, "text"),
        ("user", x.user, "text"),
        ("created", x.created_at or None, "time"),
        ("source", _source(x.source), "text"),
        ("run", x.run_id, "code"),
        ("aliases", x.aliases, "badges"),
        ("tags", tuple(f"{k}={v}" for k, v in x.tags.items()), "badges"),
        ("digest", x.digest, "code"),
    )
    known = x.known_profile
    columns = known.get("columns") if isinstance(known, Mapping) else None
    section = profiled("columns", columns) if columns else _schema(x.schema)
    return Card("data set", f"{x.name}@{x.version}", "" if x.new else "unchanged", facts, section)


def _source(facts: Mapping[str, Any]) -> str:
    """Where a version came from: a file, a notebook, or the version it is a part of."""
    if facts.get("type") == "split":
        return f"{facts.get('part')} of {facts.get('of')}, {facts.get('by')}"
    return str(facts.get("path") or facts.get("type") or "")


def _schema(schema: Sequence[Mapping[str, Any]]) -> Sections:
    rows = [(c.get("name", ""), c.get("type", ""), "" if c.get("nullable", True) else "never null") for c in schema]
    return grid("schema", (Column("name", "column"), Column("type", "type", "code"), Column("null", "")), rows)


def use(x: Any) -> Card:
    """Who made or read a version."""
    facts = told(
        ("data set", x.dataset, "code"),
        ("name", x.name, "text"),
        ("user", x.user, "text"),
        ("when", x.at or None, "time"),
    )
    return Card("use", x.by, x.how, facts)


def profile(x: Any) -> Card:
    """A profile: one line for each column, and what of it is not exact."""
    about = [c["approximate"] for c in x.columns.values() if c.get("approximate")]
    told_of = told(
        ("rows", x.rows, "count"),
        ("columns", len(x.columns), "count"),
        ("approximate", _approximate(about), "text"),
    )
    return Card("profile", x.dataset or "of a frame", "", told_of, profiled("columns", x.columns))


def _approximate(about: Sequence[Mapping[str, float]]) -> str:
    """The largest errors that any column states, in words."""
    most = {name: max((a[name] for a in about if name in a), default=0.0) for name in ("distinct", "rank", "top")}
    words = (
        ("distinct", f"distinct values ± {most['distinct']:.1%}"),
        ("rank", f"ranks of quantiles within {most['rank']:.1%}"),
        ("top", f"frequent values up to {most['top']:,.0f} rows too low"),
    )
    return ", ".join(text for name, text in words if most[name])


def profiled(title: str, columns: Mapping[str, Mapping[str, Any]]) -> Sections:
    """One line for each column: type, nulls, distinct values, range, middle, and a small plot."""
    heads = (
        Column("name", "column"),
        Column("type", "type", "code"),
        Column("nulls", "nulls", "count"),
        Column("distinct", "distinct", "count"),
        Column("min", "min", "number"),
        Column("mean", "mean or most frequent", "number"),
        Column("max", "max", "number"),
        Column("plot", "", "plot"),
    )
    return grid(title, heads, [_line(str(n), c) for n, c in columns.items()])


def _line(name: str, column: Mapping[str, Any]) -> tuple[Any, ...]:
    low, middle, high = column.get("min"), column.get("mean"), column.get("max")
    coverage = column.get("coverage")
    if isinstance(coverage, Mapping):
        low, high = coverage.get("first"), coverage.get("last")
        middle = f"over {_span(float(coverage.get('span') or 0.0))}"
    elif column.get("top"):
        value, amount = column["top"][0]
        middle = f"{short(value, 40)} ({amount / max(1, column.get('count') or 1):.0%})"
    unique = column.get("distinct") if column.get("kind") != "nested" else None
    about = "≈ " if "distinct" in (column.get("approximate") or {}) else ""
    shown = f"{about}{unique:,}" if isinstance(unique, int) else ""
    return name, column.get("type"), column.get("nulls"), shown, low, middle, high, plots.of_profile(column)


def _span(seconds: float) -> str:
    return f"{seconds / 86400:,.0f} days" if seconds >= 172800 else clock.duration(seconds)


def difference(x: Any) -> Card:
    """What changed: rows, columns, values, and some of the rows that did."""
    facts = told(
        ("rows", f"{x.rows_before:,} → {x.rows_after:,}", "text"),
        ("key", x.key, "code"),
        ("rows added", x.rows_added, "count"),
        ("rows removed", x.rows_removed, "count"),
        ("rows changed", x.rows_changed or None, "count"),
        ("columns added", x.columns_added, "code"),
        ("columns removed", x.columns_removed, "code"),
        ("columns renamed", [f"{old} → {new}" for old, new in x.renamed.items()], "code"),
        ("order of columns", "another" if x.columns_moved else "", "text"),
    )
    types = [(name, before, after) for name, (before, after) in x.types_changed.items()]
    heads = (Column("name", "column"), Column("before", "before", "code"), Column("after", "after", "code"))
    sections = (*grid("types changed", heads, types), *_values(x), *_examples(x.examples))
    return Card("difference", f"{x.before} → {x.after}", "same content" if x.same else "changed", facts, sections)


def _values(x: Any) -> Sections:
    names = list(dict.fromkeys([*x.columns_changed, *x.cells_changed]))
    rows: list[tuple[Any, ...]] = []
    for name in names:
        moved = dict(x.columns_changed.get(name, {}))
        measure, distance = moved.pop("measure", ""), moved.pop("distance", None)
        told_of = ", ".join(f"{k} {_change(v)}" for k, v in moved.items() if v is not True and not _same(v))
        far = "" if distance is None else f"{float(distance):.2g} {measure}".strip()
        rows.append((name, x.cells_changed.get(name), far, told_of))
    heads = [
        Column("name", "column"),
        Column("cells", "values changed", "count"),
        Column("distance", "distance"),
        Column("what", "what"),
    ]
    if not x.cells_changed:
        heads, rows = [heads[0], *heads[2:]], [(r[0], *r[2:]) for r in rows]
    return grid("columns changed", heads, rows)


def _same(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and value[0] == value[1]


def _change(value: Any) -> str:
    if isinstance(value, list | tuple) and len(value) == 2:
        return " → ".join(number(v) if isinstance(v, float) else str(short(v, 40)) for v in value)
    return number(value) if isinstance(value, float) else str(short(value, 60))


def _examples(examples: Sequence[Mapping[str, Any]]) -> Sections:
    rows = [
        (
            e.get("change", ""),
            _cells(e["key"]) if e.get("key") else f"row {e['row']:,}" if isinstance(e.get("row"), int) else "",
            _cells(e.get("before", {})),
            _cells(e.get("after", {})),
        )
        for e in examples
    ]
    heads = (Column("change", ""), Column("where", "row"), Column("before", "before"), Column("after", "after"))
    return grid("for example", heads, rows)


def _cells(values: Mapping[str, Any]) -> str:
    told_of = ", ".join(f"{name}={number(v) if isinstance(v, float) else v}" for name, v in values.items())
    return str(short(told_of, _EXAMPLE))
