"""What changed between two tables: rows as a multiset, and each column's distribution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nbmlops.frames.digest import contiguous, logical_type
from nbmlops.frames.encode import plain
from nbmlops.frames.sketches.measured import numbers

Profile = Mapping[str, Any]
_POINTS = 100_000
_ODD = np.uint64(0x9E3779B97F4A7C15)
_TELLING = frozenset({"categorical", "dictionary", "object", "nullable", "period", "interval", "Categorical", "Enum"})
_NULL = np.uint64(0xD1B54A32D192ED03)
_MULTIPLY = np.uint64(0xBF58476D1CE4E5B9)


def row_changes(before: pa.Table, after: pa.Table) -> tuple[int, int]:
    """How many rows were added and removed, as multisets over the columns both tables have with one type.

    Order does not count; a changed row counts once as removed and once as added.
    """
    shared = [
        n
        for n in before.column_names
        if n in after.column_names
        and logical_type(before.schema.field(n).type) == logical_type(after.schema.field(n).type)
    ]
    rows = np.zeros(before.num_rows + after.num_rows, np.uint64)
    for name in shared:
        _mix(rows, _codes(before.column(name), after.column(name)))
    old, had = np.unique(rows[: before.num_rows], return_counts=True)
    new, has = np.unique(rows[before.num_rows :], return_counts=True)
    place = np.minimum(np.searchsorted(old, new), max(0, len(old) - 1))
    both = old[place] == new if len(old) else np.zeros(len(new), bool)
    kept = int(np.minimum(had[place[both]], has[both]).sum())
    return after.num_rows - kept, before.num_rows - kept


def _codes(before: pa.ChunkedArray, after: pa.ChunkedArray) -> np.ndarray:
    """One number per value, the same for equal values of both columns; null has its own."""
    a, b = plain(before), plain(after)
    if isinstance(a.type, pa.BaseExtensionType):
        a, b = (pa.chunked_array([k.storage for k in c.chunks], c.type.storage_type) for c in (a, b))
    if b.type != a.type:
        b = b.cast(a.type)
    both = pa.chunked_array([*a.chunks, *b.chunks], a.type)
    if pa.types.is_nested(both.type):
        both = pa.chunked_array([[repr(v) for v in both.to_pylist()]], pa.large_string())
    if pa.types.is_null(both.type):
        return np.zeros(len(both), np.uint64)
    if pa.types.is_float16(both.type):
        both = both.cast(pa.float32())
    if pa.types.is_floating(both.type) or pa.types.is_integer(both.type) or pa.types.is_timestamp(both.type):
        return _bits(both)
    encoded = contiguous(both.dictionary_encode())
    return np.asarray(encoded.indices.fill_null(-1)).astype(np.int64).view(np.uint64)


def _bits(column: pa.ChunkedArray) -> np.ndarray:
    """The values' own bits; every NaN alike, and null unlike nearly everything."""
    missing = np.asarray(pc.is_null(column)) if column.null_count else None
    values = np.asarray(
        contiguous(column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).fill_null(0)
    )
    if values.dtype.kind == "f":
        wide = values.astype(np.float64)  # a copy: NaN is rewritten below
        wide[np.isnan(wide)] = np.nan
        bits = wide.view(np.uint64)
    else:
        bits = values.astype(np.uint64)
    if missing is not None:
        bits[missing] = _NULL
    return bits


def _mix(rows: np.ndarray, codes: np.ndarray) -> None:
    """Folds one column's codes into 64-bit row hashes, in place (multiply and shift, as in splitmix64)."""
    with np.errstate(over="ignore"):
        rows += (codes + np.uint64(1)) * _ODD
        rows ^= rows >> np.uint64(30)
        rows *= _MULTIPLY
        rows ^= rows >> np.uint64(27)


def column_change(before: Profile, after: Profile, a: pa.ChunkedArray, b: pa.ChunkedArray) -> dict[str, Any]:
    """How one column's distribution moved: nulls, distinct values, mean, and a distance between 0 and 1.

    ``measure`` is ``ks`` (largest gap between the two distribution functions, on at most 100,000 evenly spaced order
    statistics) or ``total variation`` (half the summed difference of the shares of the most frequent values).
    """
    change: dict[str, Any] = {
        "nulls": [before["nulls"], after["nulls"]],
        "distinct": [before["distinct"], after["distinct"]],
    }
    if "mean" in before and "mean" in after:
        change["mean"] = [before["mean"], after["mean"]]
        change.update(measure="ks", distance=_ks(_ordered(a), _ordered(b)))
    elif "top" in before and "top" in after:
        change.update(measure="total variation", distance=_total_variation(before, after))
    return change


def frame_changes(
    tables: tuple[pa.Table, pa.Table],
    manifests: tuple[Mapping[str, Any], Mapping[str, Any]],
    profiles: tuple[Mapping[str, Profile], Mapping[str, Profile]],
) -> dict[str, Any]:
    """The fields of a ``DatasetDiff`` that compare columns and rows; index levels count as columns."""
    before, after = tables
    old, new = (dict(m["digests"]) for m in manifests)
    types = tuple(_types(t, m) for t, m in zip(tables, manifests, strict=True))
    shared = [n for n in old if n in new]
    retyped = {n: (types[0][n], types[1][n]) for n in shared if types[0][n] != types[1][n]}
    changed = [n for n in shared if old[n] != new[n]]
    added, removed = row_changes(before, after)
    return {
        "columns_added": tuple(n for n in new if n not in old),
        "columns_removed": tuple(n for n in old if n not in new),
        "types_changed": retyped,
        "rows_added": added,
        "rows_removed": removed,
        "columns_changed": {
            n: column_change(profiles[0][n], profiles[1][n], before.column(n), after.column(n)) for n in changed
        },
    }


def _types(table: pa.Table, manifest: Mapping[str, Any]) -> dict[str, str]:
    """Per field the Arrow type, and in which pandas or polars dtype it comes back when that says more."""
    notes = {
        n["field"]: n["dtype"]
        for n in (*manifest["frame"]["columns"], *manifest["frame"].get("index", {}).get("levels", ()))
    }
    found = {}
    for field in table.schema:
        note = notes.get(field.name, {})
        extra = str(note.get("kind") or note.get("polars"))
        found[field.name] = f"{field.type} ({extra.lower()})" if extra in _TELLING else str(field.type)
    return found


def _ordered(column: pa.ChunkedArray) -> np.ndarray:
    """Up to 100,000 evenly spaced order statistics of a column that has a mean."""
    measured = numbers(plain(column))
    assert measured is not None  # noqa: S101  (only such columns have a mean)
    values = np.sort(measured[0].astype(np.float64) / measured[1])
    if len(values) <= _POINTS:
        return values
    return values[np.linspace(0, len(values) - 1, _POINTS).astype(np.int64)]


def _ks(a: np.ndarray, b: np.ndarray) -> float:
    """The two-sample Kolmogorov-Smirnov statistic, as ``scipy.stats.ks_2samp`` computes it."""
    both = np.concatenate([a, b])
    gaps = np.searchsorted(a, both, side="right") / len(a) - np.searchsorted(b, both, side="right") / len(b)
    return float(np.abs(gaps).max())


def _total_variation(before: Profile, after: Profile) -> float:
    old, new = ({str(v): n / max(1, p["count"]) for v, n in p["top"]} for p in (before, after))
    named = sum(abs(old.get(v, 0.0) - new.get(v, 0.0)) for v in {*old, *new})
    rest = abs(before["other"] / max(1, before["count"]) - after["other"] / max(1, after["count"]))
    return float(min(1.0, (named + rest) / 2))
