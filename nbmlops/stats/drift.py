"""Drift and integrity of columns: a window of values against the training sample and profile.

A row of the answer is a plain dict with ``column`` and ``_FIELDS``; what does not apply is None. The verdict is
filled in by :func:`nbmlops.stats.verdict.judge`, because it depends on all columns together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nbmlops.stats.distances import Array, chi_square, js, ks, ks_p_value, ks_sorted, psi, wasserstein

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["chi_square", "columns", "js", "ks", "label", "measure", "psi", "wasserstein"]

_FIELDS = (
    *("kind", "test", "statistic", "p_value", "psi", "bins", "wasserstein", "js", "rows", "reference_rows"),
    *("missing", "missing_reference", "infinite", "out_of_range", "new_categories", "new_expected"),
)
_BINS = 10  # deciles of the reference
_FEW = 10  # up to so many distinct numbers, each is its own bin
_TOP = 30  # categories with a bin of their own; the rest share one
_NUMERIC = {"numeric", "datetime"}
_CATEGORICAL = {"categorical", "boolean", "text"}
_OTHER = "\0other"  # stands for the values a profile does not list


def columns(
    reference: pd.DataFrame | None, profiles: Mapping[str, Mapping[str, Any]], current: pd.DataFrame
) -> list[dict[str, Any]]:
    """One row for every column of the reference, measured but not yet judged; in the order of the reference.

    ``profiles`` maps column names to training profiles, where ``count`` is the number of present values; a column
    without a sample is compared with its profile's histogram or top values. A column that the window lacks has ``rows``
    0 and ``missing`` 1.
    """
    import pandas as pd

    names = list(dict.fromkeys([*(profiles or {}), *([] if reference is None else reference.columns)]))
    rows = []
    for name in names:
        sample = reference[name] if reference is not None and name in reference.columns else None
        values = current[name] if name in current.columns else pd.Series([None] * len(current), dtype=object)
        rows.append({"column": str(name), **measure(values, sample, profiles.get(name))})
    return rows


def measure(
    current: pd.Series | Array, reference: pd.Series | Array | None = None, profile: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Drift and integrity figures of one column; at least one of ``reference`` and ``profile`` is needed.

    Missing values (None, NaN, NaT) are left out of the distances and counted in ``missing``. Infinite values take part
    in the tests, which only use order, but not in the Wasserstein distance.
    """
    import pandas as pd

    values = pd.Series(current)
    sample = None if reference is None else pd.Series(reference)
    kind = (profile or {}).get("kind") or _kind(sample)
    present = int(values.notna().sum())
    row: dict[str, Any] = dict.fromkeys(_FIELDS)
    row |= {"kind": kind, "rows": present, "reference_rows": _reference_rows(sample, profile)}
    row |= {"missing": _share(len(values) - present, len(values)), "missing_reference": _missing(sample, profile)}
    if kind in _NUMERIC:
        row |= _numeric(_numbers(values), None if sample is None else _numbers(sample), profile or {})
    elif kind in _CATEGORICAL:
        row |= _categorical(_counts(values), None if sample is None else _counts(sample), profile or {})
    return row


def label(value: Any) -> str:
    """One text for values that are equal across JSON, Parquet and pandas: 1, 1.0, True and numpy's are all ``1``."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _kind(sample: pd.Series | None) -> str:
    from pandas.api import types

    if sample is None or sample.isna().all():
        return "empty"
    if types.is_bool_dtype(sample):
        return "boolean"
    if types.is_numeric_dtype(sample):
        return "numeric"
    return "datetime" if types.is_datetime64_any_dtype(sample) else "categorical"


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _missing(sample: pd.Series | None, profile: Mapping[str, Any] | None) -> float | None:
    if profile and profile.get("nulls") is not None:
        return _share(profile["nulls"], profile["nulls"] + (profile.get("count") or 0))
    return None if sample is None else _share(int(sample.isna().sum()), len(sample))


def _reference_rows(sample: pd.Series | None, profile: Mapping[str, Any] | None) -> int:
    if sample is not None:
        return int(sample.notna().sum())
    return int((profile or {}).get("count") or 0)


def _numbers(values: pd.Series) -> Array:
    """The values without missing ones as floats; times as seconds since the epoch; what is no number is dropped."""
    import pandas as pd
    from pandas.api import types

    if types.is_datetime64_any_dtype(values):
        moments = values.dropna()
        moments = moments.dt.tz_convert("UTC").dt.tz_localize(None) if moments.dt.tz is not None else moments
        return moments.astype("datetime64[us]").astype("int64").to_numpy() / 1e6
    if not types.is_numeric_dtype(values):
        values = pd.to_numeric(values, errors="coerce")
    array = values.to_numpy(dtype=float, na_value=np.nan)
    return array[~np.isnan(array)]


def _numeric(current: Array, reference: Array | None, profile: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"infinite": _share(int(np.isinf(current).sum()), len(current))}
    low, high = profile.get("min"), profile.get("max")
    if low is None and reference is not None and len(reference):
        low, high = reference.min(), reference.max()
    if low is not None and high is not None and len(current):
        row["out_of_range"] = float(((current < float(low)) | (current > float(high))).mean())
    current = np.sort(current)
    if not len(current):
        return row
    if reference is not None and len(reference):
        return row | _against_sample(np.sort(reference), current)
    histogram = profile.get("histogram") or {}
    if histogram.get("counts"):
        row |= _against_histogram(
            np.asarray(histogram["edges"], float), np.asarray(histogram["counts"], float), current
        )
    return row


def _against_sample(reference: Array, current: Array) -> dict[str, Any]:
    """Both sorted. Bins: deciles of the reference, or its distinct values if there are at most ten."""
    statistic = ks_sorted(reference, current)
    edges = reference[np.linspace(0, len(reference) - 1, _BINS + 1).round().astype(np.intp)[1:-1]]
    distinct = reference[np.concatenate([[True], reference[1:] != reference[:-1]])]
    if len(distinct) <= _FEW:
        expected, actual = _per_value(distinct, reference), _per_value(distinct, current)
    else:
        expected, actual = _per_bin(np.unique(edges), reference), _per_bin(np.unique(edges), current)
    finite, seen = reference[np.isfinite(reference)], current[np.isfinite(current)]
    return {
        "test": "ks",
        "statistic": statistic,
        "p_value": ks_p_value(statistic, len(reference), len(current)),
        "psi": psi(expected, actual),
        "bins": len(expected),
        "js": js(expected, actual),
        "wasserstein": wasserstein(finite, seen) if len(finite) and len(seen) else None,
    }


def _per_value(values: Array, ordered: Array) -> Array:
    """Counts of each of the values, and at the end of all others."""
    counts = ordered.searchsorted(values, "right") - ordered.searchsorted(values, "left")
    return np.append(counts, len(ordered) - counts.sum())


def _per_bin(edges: Array, ordered: Array) -> Array:
    """Counts in (-inf, e1], (e1, e2], …, (ek, inf)."""
    return np.diff(np.concatenate([[0], ordered.searchsorted(edges, "right"), [len(ordered)]]))


def _against_histogram(edges: Array, counts: Array, current: Array) -> dict[str, Any]:
    """KS at the edges only: a lower bound of the statistic, so its p-value is an upper bound."""
    actual = np.diff(np.concatenate([[0], current.searchsorted(edges[1:-1], "left"), [len(current)]]))
    below = np.append(current.searchsorted(edges[0], "left"), current.searchsorted(edges[1:-1], "left"))
    below = np.append(below, current.searchsorted(edges[-1], "right")) / len(current)
    statistic = float(np.abs(below - np.concatenate([[0], np.cumsum(counts) / counts.sum()])).max())
    return {
        "test": "ks (histogram)",
        "statistic": statistic,
        "p_value": ks_p_value(statistic, int(counts.sum()), len(current)),
        "psi": psi(counts, actual),
        "bins": len(counts),
        "js": js(counts, actual),
    }


def _counts(values: pd.Series) -> dict[str, int]:
    present = values.dropna()
    try:
        found = present.value_counts()
    except TypeError:  # lists and dicts are no keys
        found = present.astype(str).value_counts()
    counts: dict[str, int] = {}
    for value, count in found.items():
        if count:
            counts[label(value)] = counts.get(label(value), 0) + int(count)
    return counts


def _categorical(
    current: dict[str, int], reference: dict[str, int] | None, profile: Mapping[str, Any]
) -> dict[str, Any]:
    top = {label(value): int(count) for value, count in profile.get("top") or []}
    rest = int(profile.get("other") or 0)
    expected = dict(reference) if reference is not None else top | ({_OTHER: rest} if rest else {})
    rows = sum(current.values())
    if not rows or not expected or _is_free_text(expected):
        return {}
    row: dict[str, Any] = {}
    if reference is not None or not rest:
        known = set(top) | set(expected)
        row["new_categories"] = sum(count for name, count in current.items() if name not in known) / rows
        # Good-Turing: the share of values seen once is what a further sample holds of values not seen at all.
        row["new_expected"] = (
            sum(count == 1 for count in expected.values()) / sum(expected.values()) if rest or not top else 0.0
        )
    own = set(sorted(expected, key=lambda name: (-expected[name], name))[:_TOP])
    before, after = _grouped(expected, own), _grouped(current, own)
    statistic, p_value = chi_square(before, after)
    order = sorted(before | after, key=str)
    e, a = (np.array([side.get(name, 0) for name in order]) for side in (before, after))
    return row | {
        "test": "chi-square",
        "statistic": statistic,
        "p_value": p_value,
        "psi": psi(e, a),
        "bins": len(order),
        "js": js(e, a),
    }


def _is_free_text(counts: dict[str, int]) -> bool:
    """Mostly different values: there is no distribution worth comparing."""
    rows = sum(counts.values())
    return rows >= 50 and len(counts) > rows / 2


def _grouped(counts: dict[str, int], own: set[str]) -> dict[Any, int]:
    """Counts of the categories with a bin of their own; all others in one."""
    own = own - {_OTHER}
    grouped: dict[Any, int] = {name: count for name, count in counts.items() if name in own}
    if other := sum(counts.values()) - sum(grouped.values()):
        grouped[_OTHER] = other
    return grouped
