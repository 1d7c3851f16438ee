"""Weighted order statistics: a distribution in a bounded number of points, with a known error.

The cells of a distribution are fine at its ends and wider in the middle, at the scale of ``arcsin(sqrt(q))`` (as in the
t-digest: Dunning 2019), and each is one of its own values with the cell's weight. ``error`` is how many rows the number
of values up to any ``x`` can be off: counted, not estimated. Of ``k`` cells it is about ``n π / 4k``. Errors of parts
add up when they merge, so relative to all rows they stay what they were; a merge that must make room adds a little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PART = 160  # points of one chunk's column
WHOLE = 512  # up to so many distinct values, all are kept with their counts
MERGED = 2048  # points after a merge


@dataclass(frozen=True, eq=False)
class Points:
    """Ascending distinct values (float64) and their weights (int64, the sum is the rows); ``error`` in rows.

    ``whole`` means that every distinct value is there with its exact count.
    """

    values: np.ndarray
    weights: np.ndarray
    error: int = 0
    whole: bool = True

    @property
    def rows(self) -> int:
        return int(self.weights.sum())

    def below(self, edges: np.ndarray, side: str = "left") -> np.ndarray:
        """How many rows are less than each edge; with ``side="right"`` also those that equal it."""
        total = np.concatenate([[0], np.cumsum(self.weights)])
        return total[np.searchsorted(self.values, edges, side=side)]  # type: ignore[call-overload]

    def quantile(self, q: float) -> float:
        """The value at ``q``: type 7 (Hyndman and Fan 1996) if whole, else between the middles of two cells.

        The rank of the answer is off by at most twice ``error`` and one row.
        """
        ends = np.cumsum(self.weights)
        place = q * (int(ends[-1]) - 1)
        if not self.whole:
            # A value of more rows than the error is level where it is sure; lines join the others' middles.
            margin = np.minimum(self.weights / 2, self.error + 0.5)
            knots = np.stack([ends - self.weights + margin, ends - margin], axis=1).reshape(-1) - 0.5
            return float(np.interp(place, knots, np.repeat(self.values, 2)))
        below, above = np.searchsorted(ends, [int(place), min(int(place) + 1, int(ends[-1]) - 1)], side="right")
        return between(float(self.values[below]), float(self.values[above]), place - int(place))


def between(low: float, high: float, part: float) -> float:
    """Linear interpolation that gives ``low`` itself when both ends are equal, and never overflows."""
    return low * (1 - part) + high * part if low != high else low


def of_sorted(ordered: np.ndarray, starts: np.ndarray, exact: bool) -> Points:
    """The points of sorted values; ``starts`` are the places of each distinct value, ``exact`` if floats hold them."""
    rows = len(ordered)
    if exact and len(starts) <= WHOLE:
        return Points(ordered[starts].astype(np.float64), np.diff(np.append(starts, rows)))
    scale = np.sin(np.linspace(0, np.pi / 2, PART + 1)) ** 2
    bounds = np.unique(np.rint(scale * rows).astype(np.int64))
    middle = (bounds[:-1] + bounds[1:] - 1) // 2
    error = int(np.maximum(middle - bounds[:-1], bounds[1:] - 1 - middle).max())
    return _joined(ordered[middle].astype(np.float64), np.diff(bounds), error, whole=False)


def merge(parts: Sequence[Points]) -> Points:
    """The points of all parts together, at most :data:`MERGED`."""
    values = np.concatenate([p.values for p in parts])
    order = np.argsort(values, kind="stable")
    weights = np.concatenate([p.weights for p in parts])[order]
    made = _joined(values[order], weights, sum(p.error for p in parts), all(p.whole for p in parts))
    return made if len(made.values) <= MERGED else _fewer(made)


def _joined(values: np.ndarray, weights: np.ndarray, error: int, whole: bool) -> Points:
    """Equal neighbours become one point."""
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    return Points(values[starts], np.add.reduceat(weights, starts), error, whole)


def _fewer(points: Points) -> Points:
    ends = np.cumsum(points.weights)
    middle = (ends - points.weights / 2) / ends[-1]
    cell = (MERGED * 2 / np.pi * np.arcsin(np.sqrt(middle))).astype(np.int64)
    starts = np.flatnonzero(np.append(True, cell[1:] != cell[:-1]))
    lasts = np.append(starts[1:], len(cell)) - 1
    first = ends[starts] - points.weights[starts]  # rows before the cell
    kept = np.clip(np.searchsorted(ends, (first + ends[lasts]) / 2), starts, lasts)  # the weighted median of the cell
    moved = np.maximum(ends[kept] - points.weights[kept] - first, ends[lasts] - ends[kept])
    return Points(points.values[kept], ends[lasts] - first, points.error + int(moved.max()), whole=False)


def largest_gap(a: Points, b: Points) -> float:
    """The Kolmogorov-Smirnov statistic of two distributions, between 0 and 1; off by the two relative errors."""
    both = np.concatenate([a.values, b.values])
    return float(np.abs(a.below(both, "right") / a.rows - b.below(both, "right") / b.rows).max())
