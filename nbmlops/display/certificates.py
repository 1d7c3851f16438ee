"""The card of a certificate, and the one line by which other cards tell of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbmlops import clock
from nbmlops.display.sections import grid, points, short, told
from nbmlops.display.shape import Card, Column, cell

_COLUMNS = (
    Column("kind", "what"),
    Column("name", "name"),
    Column("before", "before"),
    Column("after", "clean run"),
    Column("size", "size", "number"),
    Column("cells", "made in", "code"),
)
_LISTED = 10  # packages that differ and are named


def certificate(x: Any) -> Card:
    """What was compared, what differs, which cell failed and why, and what may explain it."""
    facts = told(
        ("how", _HOW.get(x.how, x.how), "text"),
        ("compared", compared(x.compared), "text"),
        ("differences", len(x.differences) if x.status == "drifted" else None, "count"),
        ("tolerance", x.tolerance or None, "number"),
        ("environment", environment(x.environment), "text"),
        ("took", x.seconds, "duration"),
        ("by", x.user, "text"),
        ("at", x.at or None, "time"),
    )
    rows = [(d.kind, d.name, _value(d.before), _value(d.after), d.size, ", ".join(d.cells)) for d in x.differences]
    error = x.error or {}
    sections = (
        *points("the first cell that failed", ((text, "") for text in (error.get("why", ""), _raised(error)) if text)),
        *grid("differences", _COLUMNS, rows),
        *points("may explain it", ((one, "") for one in x.suspects)),
    )
    return Card("certificate", x.ref, x.status, facts, sections)


def difference(x: Any) -> Card:
    """One thing that a clean run gave differently."""
    facts = told(
        ("before", _value(x.before), "text"),
        ("clean run", _value(x.after), "text"),
        ("size", x.size, "number"),
        ("made in", x.cells, "code"),
    )
    return Card("difference", f"{x.kind} {x.name}", "", facts)


def line(x: Any) -> str:
    """``reproduced 2026-11-25 03:20, compared 3 metrics, 1 models``; empty without a certificate."""
    if x is None:
        return ""
    if x.error:
        more = f"{x.error.get('cell')} {x.error.get('name')}".strip()
    elif x.differences:
        names = ", ".join(d.name for d in x.differences[:3])
        left = len(x.differences) - 3
        more = f"{len(x.differences)} of {sum(x.compared.values())}: {names}{f' and {left} more' if left > 0 else ''}"
    else:
        more = f"compared {compared(x.compared)}"
    return f"{x.status} {clock.local(x.at)}, {more}"


def compared(counts: Mapping[str, int]) -> str:
    """``3 metrics, 1 model``; nothing for nothing."""
    return ", ".join(f"{n} {kind.removesuffix('s') if n == 1 else kind}" for kind, n in counts.items()) or "nothing"


def environment(found: Mapping[str, Any]) -> str:
    """``the same``, or what differs: ``numpy: 2.2.1 (was 2.1.0)``."""
    if found.get("same") is None:
        return ""
    differing = found.get("differences") or ()
    listed = [f"{f['check']}: {f['seen']} (was {f['asked']})" for f in differing[:_LISTED]]
    more = f"; and {len(differing) - len(listed)} more" if len(differing) > len(listed) else ""
    return "the same" if found["same"] else "; ".join(listed) + more


_HOW = {
    "stage": "its notebook, as a stage",
    "notebook": "the notebook from top to bottom",
    "journal": "all cells in the order in which they ran",
}


def _value(value: Any) -> str:
    """Numbers in full: they may differ in their last digits."""
    return repr(value) if isinstance(value, float) else str(short(cell(value)))


def _raised(error: Mapping[str, Any]) -> str:
    return f"{error.get('name')}: {error['message']}" if error.get("message") else ""
