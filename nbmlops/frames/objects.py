"""pandas columns of Python objects: to Arrow when all values are of one kind, refused by row when they are not."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from nbmlops.errors import InvalidValue

_SCALARS: dict[type, str] = {
    str: "str",
    bytes: "bytes",
    bool: "bool",
    int: "int",
    float: "float",
    Decimal: "decimal",
    date: "date",
    datetime: "datetime",
    time: "time",
    timedelta: "timedelta",
}
_NESTED: dict[type, str] = {list: "list", tuple: "tuple", dict: "dict", np.ndarray: "ndarray"}
_ARROW: dict[str, pa.DataType] = {
    "str": pa.large_string(),
    "bytes": pa.large_binary(),
    "bool": pa.bool_(),
    "float": pa.float64(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timedelta": pa.duration("us"),
}
_NUMPY: dict[type, type] = {np.floating: float, np.integer: int, np.bool_: bool, np.str_: str, np.bytes_: bytes}
_HINTS = {
    "Timestamp": "use pd.to_datetime on the column",
    "Timedelta": "use pd.to_timedelta on the column",
    "Period": "use .astype('period[…]') on the column",
    "Interval": "use pd.arrays.IntervalArray for the column",
    "complex": "keep the real and the imaginary part in two columns",
}


def pack(values: np.ndarray, column: str) -> tuple[pa.Array, dict[str, Any]]:
    """An object array as Arrow and the descriptor that brings the same Python objects back.

    Missing values of several kinds (None beside NaN) in one column come back as None.

    Raises:
        InvalidValue: values that Arrow cannot hold or that would change; names the column, the row and the value.
    """
    missing = np.asarray(pd.isna(values), dtype=bool)
    kind = _kind(values, missing, column)
    note: dict[str, Any] = {"kind": "object", "of": kind, "null": _mark(values[missing])}
    given = [None if gone else v for v, gone in zip(values, missing, strict=True)] if missing.any() else list(values)
    try:
        if kind == "null":
            return pa.nulls(len(values)), note
        if kind == "ndarray":
            return _pack_arrays(given, note, column)
        if kind in {"list", "tuple", "dict"}:
            return _pack_nested(given, note, column)
        return _pack_scalars(given, kind, column), note
    except (pa.ArrowException, UnicodeError, OverflowError, TypeError, ValueError) as error:
        if isinstance(error, InvalidValue):
            raise
        raise _refuse_value(given, column, error) from error


def unpack(array: pa.ChunkedArray, note: dict[str, Any]) -> np.ndarray:
    """The Python objects that :func:`pack` was given."""
    if note["of"] in {"str", "bytes"} and note["null"] == "None":
        return array.to_numpy()  # the same as below, five times as fast
    values: Sequence[Any] = array.to_pylist()
    if convert := _back(note):
        values = [None if v is None else convert(v) for v in values]
    out = np.empty(len(values), dtype=object)
    out[:] = values if note["of"] not in _NESTED.values() else pd.Series(values, dtype=object).to_numpy()
    mark = {"None": None, "nan": np.nan, "NA": pd.NA, "NaT": pd.NaT}[note["null"]]
    if mark is not None and array.null_count:
        out[[v is None for v in values]] = mark
    return out


def _back(note: dict[str, Any]) -> Callable[[Any], Any] | None:
    if note.get("json"):
        return (lambda text: tuple(json.loads(text))) if note["of"] == "tuple" else json.loads
    if note["of"] == "tuple":
        return tuple
    if note["of"] == "ndarray":
        return lambda items: np.array(items, dtype=note["numpy"])
    return None


def _python_type(value: object) -> type:
    kind = type(value)
    if isinstance(value, np.generic):
        return next((p for n, p in _NUMPY.items() if isinstance(value, n)), kind)
    return kind


def _kind(values: np.ndarray, missing: np.ndarray, column: str) -> str:
    """The one kind of all values, or an error that names the first that does not fit."""
    present = values[~missing]
    types = set(map(type, present))
    if types & {k for k in types if issubclass(k, np.generic)}:
        types = {_python_type(v) for v in present}
    if not types:
        return "null"
    common = Counter(map(_python_type, present[:1000])).most_common(1)[0][0] if len(types) > 1 else next(iter(types))
    known = _SCALARS.get(common) or _NESTED.get(common)
    if len(types) == 1 and known:
        return known
    row = next(i for i, v in enumerate(values) if not missing[i] and (not known or _python_type(v) is not common))
    wrong = type(values[row]).__name__
    shown = repr(values[row])[:60]
    if not known:
        raise InvalidValue(
            f"column {column!r} holds objects of type {wrong}, first in row {row}: {shown}",
            _HINTS.get(wrong, "convert the column to text, numbers or dates first"),
        )
    raise InvalidValue(
        f"column {column!r} mixes {common.__name__} and {wrong}: row {row} holds {shown}",
        "make the column one type, for example with .astype(str) or pd.to_numeric",
    )


def _mark(missing: np.ndarray) -> str:
    marks = {
        "None"
        if v is None
        else "NA"
        if v is pd.NA
        else "NaT"
        if v is pd.NaT
        else "nan"
        if isinstance(v, float)
        else "None"
        for v in missing
    }
    return marks.pop() if len(marks) == 1 else "None"


def _pack_scalars(given: list[Any], kind: str, column: str) -> pa.Array:
    if kind == "int":
        try:
            return pa.array(given, pa.int64())
        except (pa.ArrowException, OverflowError):
            return pa.array(given, pa.uint64())
    if kind == "datetime":
        zones = {str(v.tzinfo): v.tzinfo for v in given if v is not None}
        if len(zones) > 1:
            raise InvalidValue(
                f"column {column!r} mixes time zones: {', '.join(sorted(zones))}",
                "use pd.to_datetime(column, utc=True)",
            )
        return pa.array(given)
    if (
        kind == "time"
        and (row := next((i for i, v in enumerate(given) if v is not None and v.tzinfo), None)) is not None
    ):
        raise InvalidValue(
            f"column {column!r}: the time in row {row} has a time zone", "keep the zone in a column of its own"
        )
    return pa.array(given, _ARROW.get(kind))


def _pack_arrays(given: list[Any], note: dict[str, Any], column: str) -> tuple[pa.Array, dict[str, Any]]:
    present = [v for v in given if v is not None]
    types = {v.dtype for v in present}
    row = next((i for i, v in enumerate(given) if v is not None and (v.ndim != 1 or v.dtype.kind not in "biufU")), None)
    if row is not None or len(types) != 1:
        row = next(i for i, v in enumerate(given) if v is not None) if row is None else row
        raise InvalidValue(
            f"column {column!r} needs arrays of one dimension and one type of number; row {row} has shape"
            f" {given[row].shape} and {given[row].dtype}; there are: {', '.join(sorted(map(str, types)))}",
            "make them alike, or use .tolist() on each",
        )
    note["numpy"] = str(types.pop())
    return pa.array(given), note


def _pack_nested(given: list[Any], note: dict[str, Any], column: str) -> tuple[pa.Array, dict[str, Any]]:
    """Natively when every value comes back as it was, else as JSON text when that brings it back."""
    plain = [list(v) if isinstance(v, tuple) else v for v in given]
    try:
        array = pa.array(plain)
        if all(map(same, plain, array.to_pylist())):
            return array, note
    except (pa.ArrowException, UnicodeError, OverflowError, TypeError, ValueError):
        pass  # ragged dicts and mixed lists: JSON keeps them
    texts: list[str | None] = []
    for row, value in enumerate(plain):
        text = None if value is None else _json(value)
        if value is not None and text is None:
            raise InvalidValue(
                f"column {column!r}: row {row} holds {repr(value)[:60]}, which would not come back unchanged",
                "use lists and dicts of text, numbers and None, or one kind of value in all rows",
            )
        texts.append(text)
    note["json"] = True
    return pa.array(texts, pa.large_string()), note


def _json(value: Any) -> str | None:
    try:
        text = json.dumps(value, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError):
        return None
    return text if same(value, json.loads(text)) else None


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal in value and type, all the way down; NaN equals NaN, 0.0 differs from -0.0."""
    if isinstance(a, np.generic):
        a = a.item()
    if type(a) is not type(b):
        return False
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(v, b[k]) for k, v in a.items())
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    return bool(a == b)


def _refuse_value(given: list[Any], column: str, error: Exception) -> InvalidValue:
    """The error for a value of the right type that Arrow refuses: finds its row."""
    for row, value in enumerate(given):
        try:
            pa.array([value], pa.uint64() if isinstance(value, int) and value > 0 else None)
        except (pa.ArrowException, UnicodeError, OverflowError, TypeError, ValueError) as reason:
            return InvalidValue(
                f"column {column!r}: row {row} holds {ascii(value)[:60]}, which cannot be stored: {reason}",
                "mend the value, or convert the column to text",
            )
    return InvalidValue(
        f"column {column!r} cannot be stored: {error}", "convert the column to text, numbers or dates first"
    )
