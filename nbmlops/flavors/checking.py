"""Input against a signature: a frame with exactly the types the model was fitted with, or every fault at once.

Harmless differences are mended (integers for floats, floats without a fraction for integers, ISO text for dates,
columns in another order, further columns, which are dropped); everything else is a fault. Text is never a number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types as dtypes

from nbmlops.errors import InvalidValue
from nbmlops.flavors import nested
from nbmlops.flavors.signature import SHAPE, as_frame

_ZONE = re.compile(r"\d[T ]\d{2}.*(Z|[+-]\d{2}:?\d{2})$")


class _Fault(Exception):
    """One column's fault; :func:`check` gathers them."""


def check(signature: Mapping[str, Any], data: object, what: str = "the input") -> pd.DataFrame:
    """The columns of the signature, in its order and with its types. Rows in faults are counted from 0.

    Args:
        data: a frame, an array, or a list of records as they come from JSON.
        what: named in the error, for example the model's reference.

    Raises:
        InvalidValue: lists every missing column and every wrong one with a row and a value as an example.
    """
    frame = _aligned(signature, data)
    faults: list[str] = []
    columns: dict[str, pd.Series] = {}
    missing = [c["name"] for c in signature["inputs"] if c["name"] not in frame.columns]
    for column in signature["inputs"]:
        name = column["name"]
        if name in missing:
            continue
        try:
            columns[name] = _coerced(column, frame[name])
        except _Fault as fault:
            faults.append(f"{name}: {fault}")
    if missing:
        unused = [str(c) for c in frame.columns if c not in {i["name"] for i in signature["inputs"]}]
        also = f" (columns that were given and not asked for: {', '.join(unused[:10])})" if unused else ""
        faults.insert(0, f"{'column' if len(missing) == 1 else 'columns'} missing: {', '.join(missing)}{also}")
    if faults:
        wanted = ", ".join(f"{c['name']} ({c['type']})" for c in signature["inputs"][:12])
        more = f" and {len(signature['inputs']) - 12} more" if len(signature["inputs"]) > 12 else ""
        raise InvalidValue.of(what, faults, f"the model takes {wanted}{more}")
    return pd.DataFrame(columns, index=frame.index)


def _aligned(signature: Mapping[str, Any], data: object) -> pd.DataFrame:
    if isinstance(data, pd.DataFrame) and any(isinstance(c, str) for c in data.columns) and data.columns.is_unique:
        return data
    if isinstance(data, list | tuple) and not data:
        return pd.DataFrame({c["name"]: [] for c in signature["inputs"]})
    kind, frame = as_frame(data)
    wanted = [c["name"] for c in signature["inputs"]]
    shape, given = signature.get("shape", [-1, len(wanted)]), frame.attrs.get(SHAPE)
    if given is not None and given != shape and len(frame.columns) == len(wanted):
        raise InvalidValue(
            f"each row is {' x '.join(map(str, given[1:]))} numbers",
            f"the model takes {' x '.join(map(str, shape[1:]))}",
        )
    if kind in {"array", "series"} and len(frame.columns) == len(wanted):
        return frame.set_axis(wanted, axis=1)
    return frame


def _coerced(column: Mapping[str, Any], values: pd.Series) -> pd.Series:
    nulls = values.isna()
    # A missing number has a place in a float column even if training saw none; elsewhere it would change the type.
    if not column["nullable"] and not column["type"].lower().startswith("float") and nulls.any():
        raise _Fault(f"{_rows(nulls)} no value, and training saw none missing")
    if str(values.dtype) == column["type"] and column["kind"] != "categorical" and values.dtype != object:
        return values
    if not len(values):
        return _typed(column, values.astype(object))
    return _BY_KIND[column["kind"]](column, values, nulls)


def _number(column: Mapping[str, Any], values: pd.Series, nulls: pd.Series) -> pd.Series:
    whole = "int" in column["type"].lower()
    needed = "a whole number" if whole else "a number"
    if values.dtype == object:
        fits = values.map(
            lambda v: isinstance(v, int | float | np.integer | np.floating) and not isinstance(v, bool | np.bool_)
        )
        _refuse(values, ~fits.astype(bool) & ~nulls, needed)
        values = pd.to_numeric(values)
    elif not dtypes.is_numeric_dtype(values.dtype) or dtypes.is_bool_dtype(values.dtype):
        _refuse(values, ~nulls, needed)
    if whole and dtypes.is_float_dtype(values.dtype):
        _refuse(values, (~nulls & (values % 1 != 0)).fillna(False).astype(bool), needed)
    if whole:
        bits = np.iinfo(column["type"].lower().split("[")[0])
        _refuse(
            values,
            ((values < bits.min) | (values > bits.max)).fillna(False).astype(bool),
            f"a number that fits {column['type']}",
        )
    return _typed(column, values)


def _boolean(column: Mapping[str, Any], values: pd.Series, nulls: pd.Series) -> pd.Series:
    if not dtypes.is_bool_dtype(values.dtype):
        fits = values.map(lambda v: isinstance(v, bool | np.bool_)).astype(bool)
        _refuse(values, ~fits & ~nulls, "true or false")
    return _typed(column, values)


def _text(column: Mapping[str, Any], values: pd.Series, nulls: pd.Series) -> pd.Series:
    fits = values.astype(object).map(lambda v: isinstance(v, str)).astype(bool)
    _refuse(values, ~fits & ~nulls, "text")
    return _typed(column, values)


def _category(column: Mapping[str, Any], values: pd.Series, nulls: pd.Series) -> pd.Series:
    known = column["categories"]
    kind = pd.CategoricalDtype(
        pd.Index(known, dtype=object if not known else None), ordered=column.get("ordered", False)
    )
    if values.dtype == kind:
        return values
    # True == 1 in Python, and yet the category 1 does not mean true.
    places = {(isinstance(c, bool), c): i for i, c in enumerate(known)}

    def place(value: Any) -> int:
        try:
            return places.get((isinstance(value, bool | np.bool_), value), -1)
        except TypeError:  # a list or an object from JSON
            return -1

    codes = values.astype(object).map(place).astype("int64")
    shown = ", ".join(map(repr, known[:8])) + (", …" if len(known) > 8 else "")
    _refuse(values, (codes < 0) & ~nulls, f"one of {shown}")
    return pd.Series(pd.Categorical.from_codes(codes, dtype=kind), index=values.index, name=values.name)


def _datetime(column: Mapping[str, Any], values: pd.Series, nulls: pd.Series) -> pd.Series:
    aware = "," in column["type"] or "tz=" in column["type"]
    needed = (
        "a time with its zone, such as 2026-01-31T12:00:00Z"
        if aware
        else "a time without a zone, such as 2026-01-31T12:00:00"
    )
    if not dtypes.is_datetime64_any_dtype(values.dtype):
        texts = values.astype(object)
        fits = texts.map(
            lambda v: hasattr(v, "isoformat") or (isinstance(v, str) and bool(_ZONE.search(v)) == aware)
        ).astype(bool)
        _refuse(values, ~fits & ~nulls, needed)
        values = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=aware)
        _refuse(texts, values.isna() & ~nulls, needed)
    elif (getattr(values.dtype, "tz", None) is not None) != aware:
        _refuse(values, ~nulls, needed)
    if aware and isinstance(values.dtype, pd.DatetimeTZDtype) and column["type"].startswith("datetime64["):
        return values.astype(column["type"])
    return _typed(column, values)


def _nested(column: Mapping[str, Any], values: pd.Series, nulls: pd.Series) -> pd.Series:
    fits = values.astype(object).map(lambda v: nested.fits(column, v)).astype(bool)
    _refuse(values, ~fits & ~nulls, nested.wanted(column))
    return values.astype(object)


_BY_KIND = {
    "numeric": _number,
    "boolean": _boolean,
    "text": _text,
    "categorical": _category,
    "datetime": _datetime,
    nested.LIST: _nested,
    nested.STRUCT: _nested,
}


def _typed(column: Mapping[str, Any], values: pd.Series) -> pd.Series:
    if column["kind"] == "categorical":
        return _category(column, values, values.isna())
    try:
        return values.astype(column["type"])
    except (TypeError, ValueError, OverflowError) as error:
        raise _Fault(f"cannot become {column['type']} ({error})") from error


def _refuse(values: pd.Series, wrong: pd.Series, needed: str) -> None:
    if not (mask := wrong.to_numpy(dtype=bool)).any():
        return
    row = int(np.argmax(mask))
    value = values.iloc[row]
    more = f" (and {mask.sum() - 1:,} more rows)" if mask.sum() > 1 else ""
    shown = repr(value.item() if isinstance(value, np.generic) else value)
    raise _Fault(f"row {row} has {shown[:60]} ({_called(value)}){more}, and {needed} is needed")


def _called(value: object) -> str:
    names = {
        "str": "text",
        "bool": "boolean",
        "float": "float",
        "int": "integer",
        "dict": "object",
        "list": "list",
        "Timestamp": "time",
    }
    found = type(value.item() if isinstance(value, np.generic) else value).__name__
    return names.get(found, found)


def _rows(mask: pd.Series) -> str:
    places = np.flatnonzero(mask.to_numpy(dtype=bool))
    return f"row {places[0]} has" if len(places) == 1 else f"row {places[0]} and {len(places) - 1:,} more have"
