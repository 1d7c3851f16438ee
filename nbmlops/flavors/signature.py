"""What a model takes and gives: inferred from data at registration, and enforced before every prediction.

    {"inputs": [{"name", "type", "kind", "nullable", "min"?, "max"?, "categories"?, "ordered"?, "unit"?, …}, …],
     "outputs": [{"name", "type", "kind", "nullable"}, …], "input_kind": "frame" | "array" | "series"}

``type`` is the pandas dtype the model was fitted with, ``kind`` one of numeric, boolean, categorical, text, datetime,
and of nested values list (with ``shape``) and struct (with ``fields``). ``unit`` is what ``frame.attrs["units"]`` says.
Columns of an unnamed array are called ``x0``, ``x1``, …, and the signature then has its ``shape``; one of more than two
dimensions is taken apart into such columns, and put together again for the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types as dtypes

from nbmlops.errors import InvalidValue
from nbmlops.flavors import nested

SHAPE = "nbmlops.shape"  # of an array that was taken apart into columns
_OBJECTS = {
    "string": "text",
    "boolean": "boolean",
    "integer": "numeric",
    "floating": "numeric",
    "mixed-integer-float": "numeric",
}


def infer(data: object) -> dict[str, Any]:
    """The signature of what a model was given, without outputs.

    Raises:
        InvalidValue: names every column that cannot be described, and why.
    """
    kind, frame = as_frame(data)
    faults: list[str] = []
    inputs = []
    given = frame.attrs.get("units")
    units = given if isinstance(given, Mapping) else {}
    for name in frame.columns:
        described = describe(str(name), frame[name])
        if isinstance(described, str):
            faults.append(f"{name}: {described}")
        else:
            inputs.append({**described, "unit": str(units[name])} if name in units else described)
    if faults:
        raise InvalidValue.of(
            "the model's input cannot be described",
            faults,
            "give the columns one type each: numbers, booleans, text, categories, dates, lists of numbers, or records",
        )
    found: dict[str, Any] = {"inputs": inputs, "outputs": [], "input_kind": kind}
    return {**found, "shape": frame.attrs.get(SHAPE, [-1, len(inputs)])} if kind == "array" else found


def as_frame(data: object) -> tuple[str, pd.DataFrame]:
    """The kind of input (frame, array, series) and the same values as a frame with text column names.

    Raises:
        InvalidValue: no table at all, or one whose columns cannot be told apart.
    """
    if isinstance(data, pd.DataFrame):
        return _named_frame(data)
    if isinstance(data, pd.Series):
        return "series", data.to_frame(data.name if isinstance(data.name, str) else "x0")
    if hasattr(data, "to_pandas"):  # polars and Arrow tables
        return _named_frame(data.to_pandas())
    if isinstance(data, list | tuple) and data and all(isinstance(row, Mapping) for row in data):
        return _named_frame(pd.DataFrame.from_records(list(data)))
    if isinstance(data, Mapping):
        return _named_frame(pd.DataFrame(dict(data)))
    if isinstance(data, list | tuple | np.ndarray):
        return _unnamed(np.asarray(data))
    raise InvalidValue(
        f"a {type(data).__module__}.{type(data).__name__} is no table",
        "give a pandas or polars frame, an Arrow table, a 2-D NumPy array, or a list of records",
    )


def _named_frame(frame: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    if not any(isinstance(c, str) for c in frame.columns):
        if frame.columns.nlevels == 1 and len({str(d) for d in frame.dtypes}) <= 1:
            return _unnamed(frame.to_numpy())
        raise InvalidValue("the frame's columns have no names", "name them: frame.columns = ['age', 'income', …]")
    other = [c for c in frame.columns if not isinstance(c, str)]
    twice = sorted({str(c) for c in frame.columns[frame.columns.duplicated()]})
    faults = [f"{c!r} is not text" for c in other] + [f"{c!r} is there more than once" for c in twice]
    if faults:
        raise InvalidValue.of("column names", faults, "give each column a name of its own, as text")
    return "frame", frame


def _unnamed(values: np.ndarray) -> tuple[str, pd.DataFrame]:
    if values.ndim == 1 and values.dtype.kind in "OUT" and len(values):  # documents, one text each
        return "series", pd.DataFrame({"x0": pd.Series(values.tolist(), dtype=object)})
    if values.ndim > 2 and values.dtype.kind in "biuf" and values.size:
        flat = pd.DataFrame(values.reshape(len(values), -1))
        flat.columns = [f"x{i}" for i in range(flat.shape[1])]
        flat.attrs[SHAPE] = [-1, *values.shape[1:]]
        return "array", flat
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        raise InvalidValue(
            f"an array of shape {values.shape} and type {values.dtype} cannot be described",
            "give an array of numbers with rows, or a frame with named columns",
        )
    return "array", pd.DataFrame(values, columns=[f"x{i}" for i in range(values.shape[1])])


def describe(name: str, column: pd.Series) -> dict[str, Any] | str:
    """One column's entry in a signature, or the reason why there can be none."""
    if column.dtype == object and (inside := nested.describe(column)) is not None:
        return {"name": name, "type": "object", "nullable": bool(column.isna().any()), **inside}
    kind = _kind(column)
    if kind not in {"numeric", "boolean", "categorical", "text", "datetime"}:
        return kind
    entry: dict[str, Any] = {
        "name": name,
        "type": str(column.dtype),
        "kind": kind,
        "nullable": bool(column.isna().any()),
    }
    if kind == "categorical":
        entry |= {"categories": column.cat.categories.tolist(), "ordered": bool(column.cat.ordered)}
    elif kind in {"numeric", "datetime"} and column.notna().any():
        low, high = column.min(), column.max()
        plain = (lambda v: v.isoformat()) if kind == "datetime" else (lambda v: v.item() if hasattr(v, "item") else v)
        if kind == "datetime" or bool(np.isfinite(float(low)) and np.isfinite(float(high))):
            entry |= {"min": plain(low), "max": plain(high)}
    return entry


def _kind(column: pd.Series) -> str:
    """The kind, or a reason against: a reason never equals a kind."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        inside = dtypes.infer_dtype(dtype.categories, skipna=True)
        return (
            "categorical"
            if inside in {"string", "integer", "boolean", "floating", "empty"}
            else f"its categories are {inside}"
        )
    if isinstance(dtype, pd.SparseDtype):
        return "it is sparse"
    if dtypes.is_bool_dtype(dtype):
        return "boolean"
    if dtypes.is_datetime64_any_dtype(dtype):
        return "datetime"
    if dtypes.is_integer_dtype(dtype) or dtypes.is_float_dtype(dtype):
        return "numeric"
    if dtypes.is_object_dtype(dtype):
        inside = dtypes.infer_dtype(column, skipna=True)
        if inside in _OBJECTS:
            return _OBJECTS[inside]
        if inside == "empty":
            return "it holds nothing but nulls, so its type is unknown"
        kinds = sorted({type(v).__name__ for v in column[column.notna()].head(1000)} if column.notna().any() else set())
        return f"it holds {inside} objects ({', '.join(kinds)})"
    if dtypes.is_string_dtype(dtype):
        return "text"
    return f"the type {dtype} is not supported"


def model_input(signature: Mapping[str, Any], frame: pd.DataFrame) -> Any:
    """A checked frame as the model was fitted with it: frame, array or series."""
    if signature["input_kind"] == "array":
        shape = signature.get("shape", ())
        return frame.to_numpy().reshape(len(frame), *shape[1:]) if len(shape) > 2 else frame.to_numpy()
    if signature["input_kind"] == "series":
        return frame.iloc[:, 0]
    return frame
