"""Records as plain JSON payloads for the widgets: no widget, no store, no HTML. NaN and infinities become texts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nbmlops.display import cards
from nbmlops.display.listing import Listing, table_of
from nbmlops.display.shape import Block, Column, Grid, Picture, Points
from nbmlops.records import plain

if TYPE_CHECKING:
    import pandas as pd

MOST_POINTS = 2000  # of one curve


def table_payload(records: Sequence[Any], kind: str = "rows") -> dict[str, Any]:
    """``kind``, ``columns``, ``rows`` and ``ids``, see :func:`row_id`."""
    columns, rows = table_of([_dict_without_lists(r) for r in records])
    return {
        "kind": (records.title if isinstance(records, Listing) else "") or kind,
        "columns": [c.to_dict() for c in columns],
        "rows": rows,
        "ids": [row_id(record, place) for place, record in enumerate(records)],
    }


def row_id(record: Any, place: int) -> str:
    """What is opened for a row: a report itself, an alert's report, else the record's reference."""
    if isinstance(record, Mapping):
        found = record.get("report_id") or record.get("id")
    else:
        found = getattr(record, "report_id", None) or getattr(record, "ref", None)
    return str(place if found is None else found)


def _dict_without_lists(record: Any) -> Any:
    """A dict without its nested values, which a table cannot show; anything else as it is."""
    if not isinstance(record, Mapping):
        return record
    return {k: v for k, v in record.items() if not isinstance(v, list | tuple | dict)}


def card_payload(record: Any) -> dict[str, Any]:
    """A record's card: kind, name, status, facts and sections."""
    card = cards.card(record)
    return {
        "kind": card.kind,
        "name": card.name,
        "status": card.status,
        "facts": [[label, plain(value), kind] for label, value, kind in card.facts],
        "sections": [_section(s) for s in card.sections if not isinstance(s, Picture)],
    }


def _section(section: Grid | Block | Points) -> dict[str, Any]:
    return grid_payload(section) if isinstance(section, Grid) else {"title": section.title, "text": section.text}


def grid_payload(grid: Grid) -> dict[str, Any]:
    """A small table: title, columns, rows, and how many rows are left out."""
    columns = [c.to_dict() for c in grid.columns]
    return {"title": grid.title, "columns": columns, "rows": plain([list(r) for r in grid.rows]), "more": grid.more}


def curve_payload(history: pd.DataFrame, most: int = MOST_POINTS) -> dict[str, Any]:
    """A metric's history as ``points`` [[x, y]], at most ``most``, of ``total``; ``by`` says what x is.

    ``odd`` counts the values that are no finite number.

    x is the step; where all steps are the same it is the place in the order of logging.
    """
    y = history["value"].to_numpy(dtype=float)
    steps = history["step"].to_numpy()
    by_step = len(steps) > 0 and bool((steps != steps[0]).any())
    x = steps if by_step else np.arange(len(y))
    if by_step and bool((x[1:] < x[:-1]).any()):
        order = np.argsort(x, kind="stable")
        x, y = x[order], y[order]
    keep = thin(y, most)
    points = [[int(a), plain(float(b))] for a, b in zip(x[keep], y[keep], strict=True)]
    odd = int((~np.isfinite(y)).sum())
    return {"points": points, "total": len(y), "odd": odd, "by": "step" if by_step else "order"}


def thin(values: np.ndarray, most: int) -> np.ndarray:
    """Places of at most ``most`` values: the first, the last, and the lowest and highest of each equal stretch.

    So no peak is lost. NaN is passed over, except where a stretch has nothing else.
    """
    if len(values) <= most:
        return np.arange(len(values))
    edges = np.linspace(1, len(values) - 1, max(1, (most - 2) // 2) + 1).astype(int)
    keep = {0, len(values) - 1}
    gaps = np.isnan(values)
    lows = highs = values
    if gaps.any():
        lows, highs = np.where(gaps, np.inf, values), np.where(gaps, -np.inf, values)
    for low, high in itertools.pairwise(edges.tolist()):
        keep.add(low + int(lows[low:high].argmin()))
        keep.add(low + int(highs[low:high].argmax()))
    return np.array(sorted(keep))


def profile_payload(profile: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The columns of a data set's profile as a list, each with its name; given with or without a ``columns`` level."""
    columns = profile.get("columns", profile)
    if not isinstance(columns, Mapping):
        return []
    wanted = ("type", "kind", "count", "nulls", "distinct", "min", "max", "mean", "histogram", "top")
    return [
        {"name": str(n), **{k: plain(c.get(k)) for k in wanted}} for n, c in columns.items() if isinstance(c, Mapping)
    ]


def pending_payload(approvals: Sequence[Any]) -> list[dict[str, Any]]:
    """Open approvals: what waits, for which environment, who asked and why, and who has approved so far."""
    return [
        {
            "name": a.model,
            "version": a.version,
            "environment": a.environment,
            "reason": a.reason,
            "user": a.user,
            "at": a.at,
            "approved_by": [vote.user for vote in a.votes],
            "required": a.required,
        }
        for a in approvals
    ]


def history_payload(changes: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """What each environment pointed to, the latest change first."""
    columns = (
        Column("at", "at", "time"),
        Column("environment", "environment", "status"),
        Column("version", "version"),
        Column("previous", "before"),
        Column("user", "by"),
        Column("reason", "reason"),
    )
    rows = [
        [row.get("at"), environment, row.get("version"), row.get("previous"), row.get("user"), row.get("reason")]
        for environment, found in changes.items()
        for row in found
    ]
    rows.sort(key=lambda row: row[0] or 0, reverse=True)
    return grid_payload(Grid("history", columns, rows[:20], max(0, len(rows) - 20)))
