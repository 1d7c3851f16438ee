"""Groups of rows in which a model is worse than elsewhere, found by search, not only those that somebody named.

A group is one or two conditions on columns: a category, a range of a number, a missing value. As in Slice Finder (Chung
et al., 2019) single conditions are judged first, and the worst are joined in pairs; a group counts if it has enough
rows, its loss is greater than the rest's by Welch's test, and stays so after Holm's correction for all that were tried.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

LEAST_ROWS = 30
LEVEL = 0.05
FOUND = 10
_CATEGORIES = 20
_QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
_BEAM = 40
_SAME = 0.8  # of the rows of both together: the same group in other words


@dataclass(frozen=True)
class Condition:
    """One condition on a column, in words, and the rows it holds for."""

    column: str
    words: str
    holds: np.ndarray


@dataclass(frozen=True)
class _Group:
    conditions: tuple[Condition, ...]
    rows: np.ndarray
    gap: float
    p: float


def worst(columns: pd.DataFrame, loss: np.ndarray, *, least: int = LEAST_ROWS, level: float = LEVEL) -> dict[str, Any]:
    """The worst groups, by how far their mean loss is above the others', the worst first.

    Args:
        columns: what groups may be told apart by, row by row.
        loss: each row's loss: 0 or 1 for a wrong class, an absolute error, …
        least: groups with fewer rows are not looked at.
        level: the chance, over all groups together, to call one worse that is not.

    Returns:
        ``loss`` (the mean), ``rows``, ``tried`` (how many groups were judged) and ``found`` (``group rows share loss
        others gap p``).
    """
    told: dict[str, Any] = {
        "loss": float(loss.mean()) if len(loss) else None,
        "rows": len(loss),
        "tried": 0,
        "found": [],
    }
    if len(loss) < 2 * least or np.ptp(loss) == 0:
        return told
    single = [c for name in columns for c in _conditions(str(name), columns[name]) if _fits(c.holds, least)]
    beam = sorted(single, key=lambda c: -_gap(loss, c.holds))[:_BEAM]
    pairs = [(a, b) for a, b in combinations(beam, 2) if a.column != b.column and _fits(a.holds & b.holds, least)]
    judged = [
        _Group(conditions, rows := _rows(conditions), _gap(loss, rows), _p(loss, rows))
        for conditions in [*((c,) for c in single), *pairs]
    ]
    # Pairs that the beam left out were passed over because of their losses: they count as tried.
    tried = len(single) + comb(len(single), 2) - sum(comb(n, 2) for n in Counter(c.column for c in single).values())
    kept = _apart(_holm(judged, level, tried))
    found = [
        {
            "group": " and ".join(c.words for c in group.conditions),
            "rows": int(group.rows.sum()),
            "share": float(group.rows.mean()),
            "loss": float(loss[group.rows].mean()),
            "others": float(loss[~group.rows].mean()),
            "gap": group.gap,
            "p": group.p,
        }
        for group in kept[:FOUND]
    ]
    return {**told, "tried": tried, "found": found}


def _conditions(name: str, column: pd.Series) -> list[Condition]:
    from pandas.api import types

    missing = column.isna().to_numpy()
    found = [Condition(name, f"{name} is missing", missing)] if missing.any() else []
    if types.is_numeric_dtype(column) and not types.is_bool_dtype(column) and column.nunique() > _CATEGORIES // 2:
        return found + _ranges(name, column.to_numpy(dtype=float, na_value=np.nan))
    if types.is_datetime64_any_dtype(column):
        return found
    values = column.astype(object)
    frequent = values.value_counts().head(_CATEGORIES).index
    return found + [
        Condition(name, f"{name} = {value}", (values == value).fillna(False).to_numpy(bool)) for value in frequent
    ]


def _ranges(name: str, values: np.ndarray) -> list[Condition]:
    """Quarters; where values repeat so often that edges fall together, fewer."""
    there = np.isfinite(values)
    if not there.any():
        return []
    edges = np.unique(np.quantile(values[there], _QUARTERS))
    found = []
    for number, (low, high) in enumerate(pairwise(edges)):
        last = number == len(edges) - 2
        with np.errstate(invalid="ignore"):
            holds = there & (values >= low) & ((values <= high) if last else (values < high))
        words = (
            f"{name} >= {low:g}" if last else f"{name} < {high:g}" if not number else f"{low:g} <= {name} < {high:g}"
        )
        found.append(Condition(name, words, holds))
    return found if len(found) > 1 else []


def _rows(group: tuple[Condition, ...]) -> np.ndarray:
    return np.logical_and.reduce([c.holds for c in group])


def _fits(rows: np.ndarray, least: int) -> bool:
    return least <= int(rows.sum()) <= len(rows) - least


def _gap(loss: np.ndarray, rows: np.ndarray) -> float:
    return float(loss[rows].mean() - loss[~rows].mean())


def _p(loss: np.ndarray, rows: np.ndarray) -> float:
    """Welch's one-sided test that the group's mean loss is greater than the others'."""
    from scipy import stats

    inside, outside = loss[rows], loss[~rows]
    a, b = inside.var(ddof=1) / len(inside), outside.var(ddof=1) / len(outside)
    if a + b <= 0:
        return 0.0 if inside.mean() > outside.mean() else 1.0
    freedom = (a + b) ** 2 / (a**2 / (len(inside) - 1) + b**2 / (len(outside) - 1))
    return float(stats.t.sf((inside.mean() - outside.mean()) / np.sqrt(a + b), freedom))


def _holm(judged: list[_Group], level: float, tried: int) -> list[_Group]:
    """Those that stay below the level when all that were tried are counted (S. Holm, 1979)."""
    fine = []
    for place, group in enumerate(sorted(judged, key=lambda g: g.p)):
        if group.p > level / (tried - place):
            break
        fine.append(group)
    return fine


def _apart(groups: list[_Group]) -> list[_Group]:
    """Each group once: of those that hold nearly the same rows the simplest, then the worst."""
    kept: list[_Group] = []
    for group in sorted(groups, key=lambda g: (-g.gap, len(g.conditions))):
        twin = next((i for i, other in enumerate(kept) if _overlap(group.rows, other.rows) >= _SAME), None)
        if twin is None:
            kept.append(group)
        elif len(group.conditions) < len(kept[twin].conditions):
            kept[twin] = group
    return kept


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))
