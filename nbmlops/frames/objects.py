"""pandas columns of Python objects: plain Arrow values when all are of one kind, else JSON text with tags."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from nbmlops.errors import InvalidValue
from nbmlops.frames import layouts, tagged
from nbmlops.frames.tagged import same

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
_NUMPY: dict[str, str] = {"b": "bool", "i": "int", "u": "int", "f": "float"}
# What Arrow takes of these comes back; lists and dicts are compared where they are packed.
_EXACT = frozenset({"str", "bytes", "bool", "int", "float", "date", "list", "tuple", "dict"})
_MARKS = {"None": None, "nan": np.nan, "NA": pd.NA, "NaT": pd.NaT}
_FAILS = (pa.ArrowException, UnicodeError, OverflowError, TypeError, ValueError, AttributeError)


def pack(values: np.ndarray, column: str) -> tuple[pa.Array, dict[str, Any]]:
    """An object array as Arrow and the descriptor that brings the same Python objects back.

    Values of one type are stored as that type. All others (several types, several kinds of missing values, types
    that Arrow lacks) are stored as JSON text, see :mod:`nbmlops.frames.tagged`.

    Raises:
        InvalidValue: values of a type that is not kept; names the column, the row and the value.
    """
    missing = np.asarray(pd.isna(values), dtype=bool)
    kind, scalar = _kind(values[~missing])
    mark = _mark(values[missing], scalar)
    if kind is None or mark is None:
        return _pack_tagged(values, column)
    note: dict[str, Any] = {"kind": "object", "of": kind, "null": mark}
    if scalar is not None:
        note["scalar"] = str(scalar)
    given = [None if gone else v for v, gone in zip(values, missing, strict=True)] if missing.any() else list(values)
    try:
        array, note = _pack_alike(given, note)
        if kind in _EXACT or _comes_back(given, array, {**note, "null": "None"}):
            return array, note
    except _FAILS:
        pass  # a value that does not fit its kind: too large, a lone surrogate, zones that differ
    return _pack_tagged(values, column)


def _pack_alike(given: list[Any], note: dict[str, Any]) -> tuple[pa.Array, dict[str, Any]]:
    kind = note["of"]
    if kind == "null":
        return pa.nulls(len(given)), note
    if kind == "ndarray":
        return _pack_arrays(given, note)
    if kind in {"list", "tuple", "dict"}:
        return _pack_nested(given, note)
    return _pack_scalars(given, note)


def _comes_back(given: list[Any], array: pa.Array, note: dict[str, Any]) -> bool:
    return all(map(same, given, unpack(pa.chunked_array([array]), note)))


def unpack(array: pa.ChunkedArray, note: dict[str, Any]) -> np.ndarray:
    """The Python objects that :func:`pack` was given."""
    if note["of"] in {"str", "bytes"} and note["null"] == "None":
        return array.to_numpy()  # the same as below, five times as fast
    values: Sequence[Any] = array.to_pylist()
    if convert := _back(note):
        values = [None if v is None else convert(v) for v in values]
    out = np.empty(len(values), dtype=object)
    if note["of"] in _NESTED.values() or note["of"] == "mixed":
        for i, value in enumerate(values):
            out[i] = value
    else:
        out[:] = values
    mark = np.dtype(note["scalar"]).type(np.nan) if note["null"] == "scalar" else _MARKS[note["null"]]
    if mark is not None and array.null_count:
        out[[v is None for v in values]] = mark
    return out


def _back(note: dict[str, Any]) -> Callable[[Any], Any] | None:
    kind = note["of"]
    if kind == "mixed":
        return tagged.loads
    if note.get("json"):
        return (lambda text: tuple(json.loads(text))) if kind == "tuple" else json.loads
    if "scalar" in note:
        scalar = np.dtype(note["scalar"]).type
        if kind in {"list", "tuple"}:
            make = list if kind == "list" else tuple
            return lambda items: make(map(scalar, items))
        return scalar
    if kind == "datetime" and "layout" in note:
        zone = tagged.unzone(note["layout"])
        return lambda moment: moment.astimezone(zone)
    if kind == "ndarray":
        return lambda items: np.array(items, dtype=note["numpy"])
    return tuple if kind == "tuple" else None


def _kind(present: np.ndarray) -> tuple[str | None, np.dtype[Any] | None]:
    """The one kind of all values and, of NumPy scalars, their dtype; ``(None, None)`` when they differ."""
    types = set(map(type, present))
    if not types:
        return "null", None
    common = types.pop()
    if types:
        return None, None
    if issubclass(common, np.generic) and common.__module__ == "numpy":
        dtype = present[0].dtype
        plain = dtype.kind in _NUMPY and dtype.itemsize <= 8
        return (_NUMPY[dtype.kind], dtype) if plain else (None, None)
    return _SCALARS.get(common) or _NESTED.get(common), None


def _mark(missing: np.ndarray, scalar: np.dtype[Any] | None) -> str | None:
    """Which one value stands for missing ones; None when there are several."""
    if not len(missing):
        return "None"
    marks = {_mark_of(v, scalar) for v in missing}
    return marks.pop() if len(marks) == 1 else None


def _mark_of(value: Any, scalar: np.dtype[Any] | None) -> str | None:
    if type(value) is float:
        return "nan"
    if scalar is not None and scalar.kind == "f" and type(value) is scalar.type:
        return "scalar"
    return next((name for name, mark in _MARKS.items() if value is mark), None)


def _pack_scalars(given: list[Any], note: dict[str, Any]) -> tuple[pa.Array, dict[str, Any]]:
    kind = note["of"]
    if kind == "int":
        try:
            return pa.array(given, pa.int64()), note
        except (pa.ArrowException, OverflowError):
            return pa.array(given, pa.uint64()), note
    if kind == "datetime":
        zones = {v.tzinfo for v in given if v is not None}
        if len(zones) > 1:
            raise ValueError("several time zones")
        if (zone := zones.pop() if zones else None) is not None:
            note = {**note, "layout": tagged.zone(zone)}  # Arrow gives another object for the same zone
    return pa.array(given, _ARROW.get(kind)), note


def _pack_arrays(given: list[Any], note: dict[str, Any]) -> tuple[pa.Array, dict[str, Any]]:
    types = {v.dtype for v in given if v is not None}
    if len(types) != 1 or any(v.ndim != 1 for v in given if v is not None):
        raise ValueError("arrays of several dimensions or types")
    dtype = types.pop()
    if dtype.kind not in "biufU" or not dtype.isnative or (dtype.itemsize > 8 and dtype.kind == "f"):
        raise ValueError("arrays of other values")
    return pa.array(given), {**note, "numpy": str(dtype)}


def _pack_nested(given: list[Any], note: dict[str, Any]) -> tuple[pa.Array, dict[str, Any]]:
    """Natively when every value comes back as it was, else as JSON text when that brings it back."""
    plain = [list(v) if isinstance(v, tuple) else v for v in given]
    if (scalar := _scalar_inside(plain)) is not None:
        note = {**note, "scalar": str(scalar)}
        return pa.array([None if v is None else [i.item() for i in v] for v in plain]), note
    try:
        array = pa.array(plain)
        if layouts.plain_type(array.type) == array.type and all(map(same, plain, array.to_pylist())):
            return array, note
    except _FAILS:
        pass  # ragged dicts and mixed lists: JSON keeps them
    texts = [None if v is None else _json(v) for v in plain]
    return pa.array(texts, pa.large_string()), {**note, "json": True}


def _scalar_inside(given: list[Any]) -> np.dtype[Any] | None:
    """The dtype of the NumPy numbers that are all that the lists hold, or None."""
    first = next((i for v in given if isinstance(v, list) for i in v), None)
    if not isinstance(first, np.generic) or first.dtype.kind not in _NUMPY or first.dtype.itemsize > 8:
        return None
    kind = type(first)
    alike = all(v is None or (isinstance(v, list) and all(type(i) is kind for i in v)) for v in given)
    return first.dtype if alike else None


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    text.encode()
    if not same(value, json.loads(text)):
        raise ValueError("JSON does not keep it")
    return text


def _pack_tagged(values: np.ndarray, column: str) -> tuple[pa.Array, dict[str, Any]]:
    texts: list[str | None] = []
    checked: set[str] = set()
    for row, value in enumerate(values):
        if value is None:
            texts.append(None)
            continue
        try:
            text = tagged.dumps(value)
            if text not in checked and not same(value, tagged.loads(text)):
                raise TypeError("it would not come back unchanged")
        except (TypeError, ValueError, RecursionError, OverflowError) as error:
            raise InvalidValue(
                f"column {column!r}: row {row} holds {_shown(value)}: {error}",
                "convert the column to text, numbers, dates, or lists and dicts of them",
            ) from error
        checked.add(text)
        texts.append(text)
    return pa.array(texts, pa.large_string()), {"kind": "object", "of": "mixed", "null": "None"}


def _shown(value: Any) -> str:
    try:
        return ascii(value)[:60]
    except RecursionError:
        return f"a {type(value).__name__} that holds itself"
