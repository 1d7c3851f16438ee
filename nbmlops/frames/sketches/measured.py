"""The sketch of a column of numbers or times: moments, weighted order statistics, and for times the largest gap."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from nbmlops.frames.digest import contiguous
from nbmlops.frames.sketches import points
from nbmlops.frames.sketches.points import Points

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
BINS = 20
_SECONDS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
UNITS = frozenset({*_SECONDS.values(), 1 / 86400})
_EXACT = 2**53  # whole numbers up to here are exact as floats
_LARGEST = sys.float_info.max


@dataclass(frozen=True, eq=False)
class Measured:
    """All figures are in units of the column; ``unit`` divides them. ``infinite``: below and above.

    ``quantiles`` and ``histogram`` are exact ones, of rows that were seen together; empty after a merge. ``gap`` is
    the largest distance between neighbours, None where parts overlap.
    """

    unit: float
    moment: bool
    infinite: tuple[int, int]
    low: float  # an int of whole numbers, exact also where a float is not
    high: float
    mean: float
    std: float
    points: Points
    gap: float | None = None
    quantiles: tuple[float, ...] = field(default=())
    histogram: tuple[int, ...] = field(default=())


def numbers(column: pa.ChunkedArray) -> tuple[np.ndarray, float] | None:
    """The present values, not NaN, and what to divide them by; None for types that are not numbers."""
    kind, unit = column.type, 1.0
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind):
        unit, column = _SECONDS[kind.unit], column.cast(pa.int64())
    elif pa.types.is_time32(kind) or pa.types.is_time64(kind):
        unit, column = _SECONDS[kind.unit], column.cast(pa.int32() if pa.types.is_time32(kind) else pa.int64())
    elif pa.types.is_date32(kind):
        unit, column = 1 / 86400, column.cast(pa.int32())
    elif pa.types.is_date64(kind):
        unit, column = 1e3, column.cast(pa.int64())
    elif pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    elif pa.types.is_float16(kind):
        column = column.cast(pa.float32())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return None
    values = np.asarray(contiguous(column.drop_null() if column.null_count else column))
    if values.dtype.kind == "f" and np.isnan(values).any():
        values = values[~np.isnan(values)]
    return values, unit


def measure(values: np.ndarray, unit: float, moment: bool) -> tuple[Measured | None, np.ndarray]:
    """The sketch of the finite values, None without any; and every distinct value. One sort gives everything."""
    ordered = np.sort(values)
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    unique = ordered[starts]
    infinite = (0, 0)
    if ordered.dtype.kind == "f" and not (np.isfinite(ordered[0]) and np.isfinite(ordered[-1])):
        finite = ordered[np.isfinite(ordered)]
        infinite = (int((ordered == -np.inf).sum()), int((ordered == np.inf).sum()))
        ordered = finite
        starts = starts[np.isfinite(unique)] - infinite[0]
    if not len(ordered):
        return None, unique
    low, high = ordered[0].item(), ordered[-1].item()
    mean, std = _moments(ordered, max(abs(low), abs(high)))
    exact = ordered.dtype.kind == "f" or max(-low, high) <= _EXACT
    made = Measured(
        unit,
        moment,
        infinite,
        low,
        high,
        mean,
        std,
        points.of_sorted(ordered, starts, exact),
        _gap(ordered) if moment else None,
        tuple(_quantile(ordered, q) for q in QUANTILES),
        tuple(int(c) for c in _counts(ordered, low, high)),
    )
    return made, unique


def _moments(ordered: np.ndarray, size: float) -> tuple[float, float]:
    # Scaled, so that values near the largest float do not overflow when summed or squared.
    scale = size if ordered.dtype.kind == "f" and size > 1e100 else 1.0
    with np.errstate(over="ignore", under="ignore"):
        floats = ordered.astype(np.float64) / scale if scale != 1.0 else ordered.astype(np.float64, copy=False)
        mean = float(floats.mean()) * scale
        std = float(floats.std(ddof=1)) * scale if len(floats) > 1 else 0.0
    return mean, min(std, _LARGEST)


def _gap(ordered: np.ndarray) -> float:
    if len(ordered) < 2:
        return 0.0
    wide = ordered.astype(np.int64).view(np.uint64)  # a difference of int64 may need 64 bits
    return float((wide[1:] - wide[:-1]).max())


def _counts(ordered: np.ndarray, low: float, high: float) -> np.ndarray:
    inside = np.searchsorted(ordered, edges(low, high)[1:-1].astype(np.float64), side="left")
    return np.diff(np.concatenate([[0], inside, [len(ordered)]]))


def edges(low: float, high: float) -> np.ndarray:
    """The edges of the histogram's bins; of one value there is one bin."""
    part = np.linspace(0.0, 1.0, BINS + 1)
    return low * (1 - part) + high * part if high > low else np.array([low, high], np.float64)


def _quantile(ordered: np.ndarray, q: float) -> float:
    """Linear interpolation between the two nearest values (Hyndman and Fan 1996, type 7; NumPy's default)."""
    place = q * (len(ordered) - 1)
    below = int(place)
    return points.between(float(ordered[below]), float(ordered[min(below + 1, len(ordered) - 1)]), place - below)


# --- merging ----------------------------------------------------------------------------------------------------
def merge(parts: Sequence[Measured]) -> Measured:
    """The sketch of all parts together; moments as in Chan, Golub and LeVeque 1983."""
    low, high = min(p.low for p in parts), max(p.high for p in parts)
    made = points.merge([p.points for p in parts])
    scale = max(abs(low), abs(high)) if max(abs(low), abs(high)) > 1e100 else 1.0
    rows = [p.points.rows for p in parts]
    total = sum(rows)
    mean = math.fsum(n / total * (p.mean / scale) for n, p in zip(rows, parts, strict=True))
    square = math.fsum(
        term
        for n, p in zip(rows, parts, strict=True)
        for term in ((n - 1) * (p.std / scale) ** 2, n * (p.mean / scale - mean) ** 2)
    )
    std = math.sqrt(square / (total - 1)) * scale if total > 1 else 0.0
    infinite = (sum(p.infinite[0] for p in parts), sum(p.infinite[1] for p in parts))
    return Measured(
        parts[0].unit,
        parts[0].moment,
        infinite,
        low,
        high,
        float(min(max(mean * scale, low), high)),
        min(std, _LARGEST),
        made,
        _gap_between(parts),
    )


def with_infinite(sketch: Measured, more: tuple[int, int]) -> Measured:
    """The sketch with further infinite values."""
    return replace(sketch, infinite=(sketch.infinite[0] + more[0], sketch.infinite[1] + more[1]))


def in_turn(parts: Sequence[Measured]) -> list[Measured] | None:
    """The parts in ascending order if the values of one lie behind those of the one before, else None."""
    ordered = sorted(parts, key=lambda p: (p.low, p.high))
    apart = all(a.high <= b.low for a, b in itertools.pairwise(ordered))
    return ordered if apart else None


def _gap_between(parts: Sequence[Measured]) -> float | None:
    ordered = in_turn(parts)
    gaps = [p.gap for p in parts]
    if ordered is None or any(g is None for g in gaps):
        return None
    between = [b.low - a.high for a, b in itertools.pairwise(ordered)]
    return float(max([*(g for g in gaps if g is not None), *between]))


# --- as a profile -----------------------------------------------------------------------------------------------
def described(sketch: Measured) -> dict[str, Any]:
    """The keys that a profile has of numbers and times."""
    unit = sketch.unit
    places = edges(sketch.low, sketch.high)
    counts = sketch.histogram
    if not counts:
        rows = np.concatenate([[0], sketch.points.below(places[1:-1]), [sketch.points.rows]])
        counts = tuple(int(c) for c in np.diff(rows))
    quantiles = sketch.quantiles or [min(max(sketch.points.quantile(q), sketch.low), sketch.high) for q in QUANTILES]
    made = {
        "min": sketch.low / unit,
        "max": sketch.high / unit,
        "mean": sketch.mean / unit,
        "std": sketch.std / unit,
        "quantiles": {str(q): value / unit for q, value in zip(QUANTILES, quantiles, strict=True)},
        "histogram": {"edges": [float(e) / unit for e in places], "counts": list(counts)},
        "infinite": sum(sketch.infinite),
    }
    return {**made, "coverage": _coverage(sketch)} if sketch.moment else made


def _coverage(sketch: Measured) -> dict[str, Any]:
    """From when to when, in UTC, and in seconds how long that is and the longest time without a value."""
    first, last = sketch.low / sketch.unit, sketch.high / sketch.unit
    gap = None if sketch.gap is None else sketch.gap / sketch.unit
    return {"first": _moment(first), "last": _moment(last), "span": last - first, "largest_gap": gap}


def _moment(seconds: float) -> str:
    whole = math.floor(seconds)
    if abs(whole) > 1e14:  # some million years; NumPy would still say it, nobody could read it
        return f"{seconds:g} s"
    text = str(np.datetime64(whole, "s"))
    part = round((seconds - whole) * 1e6)
    return f"{text}.{part:06}".rstrip("0") if 0 < part < 1e6 else text
