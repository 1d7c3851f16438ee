"""The card of a capsule: what is in it, and what came of it."""

from __future__ import annotations

from typing import Any

from nbmlops.display.sections import grid, told
from nbmlops.display.shape import Card, Column

_INSIDE = (Column("what", "rows of"), Column("count", "", "count"))
_NUMBERS = (Column("there", "there", "code"), Column("here", "here", "code"))


def capsule(x: Any) -> Card:
    """What is in it, what came, and what does not come along."""
    came = x.merged
    rows = {k: came.added.get(k, 0) + came.updated.get(k, 0) for k in {**came.added, **came.updated}} if came else {}
    facts = told(
        ("run", x.run, "text"),
        ("id", x.run_id, "code"),
        ("files", x.files, "count"),
        ("size", x.bytes, "bytes"),
        ("content", x.content, "code"),
        ("came", ", ".join(f"{count} {kind}" for kind, count in rows.items()), "text"),
        ("data not included", x.without_data, "code"),
        ("event", x.event, "count"),
    )
    moved = [(r.there, r.here) for r in came.renumbered] if came else []
    inside = sorted(x.inside.items()) if x.done in {"exported", "inspected"} else []
    status = "warn" if came and came.left_out else "pass"
    left = [(text,) for text in came.left_out] if came else []
    return Card(
        "capsule",
        f"{x.path} ({x.done})",
        status,
        facts,
        (
            *grid("inside", _INSIDE, inside),
            *grid("numbers", _NUMBERS, moved),
            *grid("left out", (Column("what", ""),), left),
        ),
    )
