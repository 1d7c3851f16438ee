"""Column profiles: what a catalogue shows, a contract checks and a monitor compares with.

One profile is a dict that JSON can hold: ``type`` (Arrow), ``kind`` (numeric, boolean, categorical, text, datetime,
nested or empty), ``count`` of present values, ``nulls`` (NaN is one of them), ``distinct``. Numeric and datetime
columns (in seconds since the epoch; durations and times of day in seconds) add ``min max mean std quantiles histogram``
over their finite values and ``infinite``, the number of the others. Text, categories and booleans add ``top``, up to 20
``[value, count]``, and ``other``, the number of remaining values.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nbmlops.frames.digest import contiguous, is_text
from nbmlops.frames.encode import plain

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
BINS = 20
TOP = 20
LONGEST = 200  # characters of a text value that a profile keeps
_SECONDS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


def profile_table(table: pa.Table, categorical: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """The profile of every column, by name; ``categorical`` names columns whose values are categories."""
    with ThreadPoolExecutor(2) as pool:
        made = pool.map(lambda n: profile_column(table.column(n), n in categorical), table.column_names)
        return dict(zip(table.column_names, made, strict=True))


def profile_column(column: pa.ChunkedArray | pa.Array, categorical: bool = False) -> dict[str, Any]:
    """The profile of one column; every type has one."""
    if isinstance(column, pa.Array):
        column = pa.chunked_array([column])
    kind = column.type
    categorical = categorical or pa.types.is_dictionary(kind)
    column = plain(column)
    if isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array([c.storage for c in column.chunks], column.type.storage_type)
    nulls = column.null_count
    if pa.types.is_floating(column.type):
        nulls += int(pc.sum(pc.is_nan(column)).as_py() or 0)
    head = {"type": str(kind), "kind": "empty", "count": len(column) - nulls, "nulls": nulls, "distinct": 0}
    if head["count"] == 0:
        return head
    if categorical or pa.types.is_boolean(column.type) or is_text(column.type) or _is_bytes(column.type):
        return {**head, **_values(column, categorical, head["count"])}
    measured = numbers(column)
    if measured is None:
        return {**head, "kind": "nested"}
    moment = pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)
    return {**head, "kind": "datetime" if moment else "numeric", **_numeric(*measured)}


def _is_bytes(kind: pa.DataType) -> bool:
    return (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )


# --- values that are counted ------------------------------------------------------------------------------------
def _values(column: pa.ChunkedArray, categorical: bool, count: int) -> dict[str, Any]:
    try:
        counted = pc.value_counts(column.drop_null())
    except pa.ArrowException:  # categories of a nested type, such as intervals
        texts = pa.array([None if v is None else str(v) for v in column.to_pylist()], pa.large_string())
        counted = pc.value_counts(texts.drop_null())
    values, counts = counted.flatten()
    if pa.types.is_floating(values.type):
        present = pc.invert(pc.is_nan(values))
        values, counts = values.filter(present), counts.filter(present)
    amount = np.asarray(counts)
    best = np.argpartition(-amount, TOP - 1)[:TOP] if len(amount) > TOP else np.arange(len(amount))
    top = [[_shown(values[int(i)].as_py()), int(amount[i])] for i in best]
    top.sort(key=lambda pair: (-pair[1], str(pair[0])))
    if pa.types.is_boolean(column.type):
        kind = "boolean"
    else:
        few = len(amount) <= 50 or (len(amount) <= 1000 and len(amount) * 2 <= count)
        kind = "categorical" if categorical or (few and not _is_bytes(column.type)) else "text"
    return {"kind": kind, "distinct": len(amount), "top": top, "other": int(amount.sum()) - sum(n for _, n in top)}


def _shown(value: Any) -> Any:
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


# --- values that are measured -----------------------------------------------------------------------------------
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


def _numeric(values: np.ndarray, unit: float) -> dict[str, Any]:
    """One sort gives everything: distinct values, extremes, quantiles and histogram."""
    ordered = np.sort(values)
    distinct = 1 + int(np.count_nonzero(ordered[1:] != ordered[:-1]))
    infinite = 0
    if ordered.dtype.kind == "f" and not (np.isfinite(ordered[0]) and np.isfinite(ordered[-1])):
        finite = ordered[np.isfinite(ordered)]
        infinite, ordered = len(ordered) - len(finite), finite
    if not len(ordered):
        return {"distinct": distinct, "infinite": infinite}
    low, high = float(ordered[0]), float(ordered[-1])
    scale = max(abs(low), abs(high), 1.0) if ordered.dtype.kind == "f" else 1.0
    with np.errstate(over="ignore", under="ignore"):
        # Scaled, so that values near the largest float do not overflow when summed or squared.
        scale = scale if scale > 1e100 else 1.0
        floats = ordered.astype(np.float64) / scale if scale != 1.0 else ordered.astype(np.float64, copy=False)
        mean = float(floats.mean()) * scale
        std = float(floats.std(ddof=1)) * scale if len(floats) > 1 else 0.0
    edges = np.linspace(0.0, 1.0, BINS + 1)
    edges = low * (1 - edges) + high * edges if high > low else np.array([low, high])
    inside = np.searchsorted(ordered, edges[1:-1].astype(np.float64), side="left")
    counts = np.diff(np.concatenate([[0], inside, [len(ordered)]]))
    return {
        "distinct": distinct,
        "min": low / unit,
        "max": high / unit,
        "mean": mean / unit,
        "std": std / unit,
        "quantiles": {str(q): _quantile(ordered, q) / unit for q in QUANTILES},
        "histogram": {"edges": [float(e) / unit for e in edges], "counts": [int(c) for c in counts]},
        "infinite": infinite,
    }


def _quantile(ordered: np.ndarray, q: float) -> float:
    """Linear interpolation between the two nearest values (Hyndman and Fan 1996, type 7; NumPy's default)."""
    place = q * (len(ordered) - 1)
    below = int(place)
    part = place - below
    low, high = float(ordered[below]), float(ordered[min(below + 1, len(ordered) - 1)])
    return low * (1 - part) + high * part if low != high else low
