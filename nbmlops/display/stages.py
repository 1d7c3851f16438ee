"""The card of a stage's contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbmlops.display.sections import MOST, grid, told
from nbmlops.display.shape import Block, Card, Column

_PARAMETERS = (
    Column("name", "name", "code"),
    Column("type", "type", "code"),
    Column("default", "default", "code"),
    Column("help", "what it is"),
)


def contract(x: Any) -> Card:
    """What a stage takes, reads, writes and depends on; last, what keeps its results from being reused."""
    facts = told(
        ("reads", x.reads, "code"),
        ("writes", x.writes, "code"),
        ("files", x.files, "code"),
        ("variables", x.variables, "code"),
        ("code cells", len(x.cells), "count"),
        ("modules", tuple(x.modules), "code"),
        ("reused", "never, unless the pipeline says cache: true" if x.impure else "", "text"),
    )
    rows = [(p["name"], p["type"], "required" if p["required"] else p["default"], p["help"]) for p in x.parameters]
    shown = 4 if any(row[3] for row in rows) else 3
    packages = list(x.packages.items())
    return Card(
        "stage",
        x.notebook,
        "",
        facts,
        (
            *grid("parameters", _PARAMETERS[:shown], [row[:shown] for row in rows]),
            *_places("never the same", x.impure),
            *_places("known only when it runs", x.dynamic),
            *grid("packages", (Column("name", "name"), Column("version", "version")), packages),
        ),
    )


def _places(title: str, places: Sequence[tuple[int, str]]) -> tuple[Block, ...]:
    """What is told of cells, in whole lines: a cut one would hide the name that matters."""
    lines = [f"cell {cell}: {what}" for cell, what in places[:MOST]]
    lines += [f"… and {len(places) - MOST} more"] if len(places) > MOST else []
    return (Block(title, "\n".join(lines)),) if lines else ()
