"""pandas columns and index levels to plain Arrow values and back, by dtype."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from nbmlops.errors import InvalidValue
from nbmlops.frames import encode, layouts, objects, restored, tagged
from nbmlops.frames.digest import contiguous

Values = pd.Series | pd.Index
_NULLABLE = frozenset(
    {"boolean", "Float32", "Float64", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64"}
)
_NAT = np.iinfo(np.int64).min


def pack_values(values: Values, column: str) -> tuple[pa.Array | pa.ChunkedArray, dict[str, Any]]:
    """One column or index level as plain Arrow values and its dtype descriptor.

    Raises:
        InvalidValue: the dtype or a value cannot be kept exactly.
    """
    dtype = values.dtype
    if isinstance(dtype, np.dtype):
        return _pack_numpy(values, dtype, column)
    if isinstance(dtype, pd.CategoricalDtype):
        return _pack_categorical(values.array, column)
    if isinstance(dtype, pd.PeriodDtype):
        ordinals = np.asarray(values.array.asi8)  # type: ignore[attr-defined]
        return pa.array(ordinals, mask=ordinals == _NAT), {"kind": "period", "freq": dtype.name[7:-1]}
    if isinstance(dtype, pd.IntervalDtype):
        return _pack_interval(values.array, dtype, column)
    if isinstance(dtype, pd.ArrowDtype):
        given = chunked(values.array.__arrow_array__())  # type: ignore[attr-defined]
        schema = encode.schema_to_json(pa.schema([("v", given.type)]))
        note: dict[str, Any] = {"kind": "arrow", "type": str(given.type), "given": schema}
        if exact := layouts.meaning(pa.field("v", given.type)):
            note["exact"] = exact
        return layouts.plain(given), note
    if isinstance(dtype, pd.StringDtype):
        note = {"kind": "string", "storage": dtype.storage, "na": "NA" if dtype.na_value is pd.NA else "nan"}
        return chunked(pa.array(values.array)).cast(pa.large_string()), note
    if isinstance(dtype, pd.DatetimeTZDtype):
        array = chunked(pa.array(values.array))
        return array, {"kind": "zoned", "unit": dtype.unit, "tz": array.type.tz}
    if dtype.name in _NULLABLE:
        return pa.array(values.array), {"kind": "nullable", "name": dtype.name}
    if isinstance(dtype, pd.SparseDtype):
        dense, note = pack_values(pd.Series(values.array.to_dense()), column)  # type: ignore[attr-defined]
        fill = dtype.fill_value
        if isinstance(fill, np.number | np.bool_):  # a Python number, as pandas makes them by default
            fill = fill.item()
        return dense, {"kind": "sparse", "fill": tagged.encode(fill), "of": note}
    raise InvalidValue(f"column {column!r} has the dtype {dtype}, which cannot be kept", "convert it with .astype(…)")


def _pack_numpy(values: Values, dtype: np.dtype[Any], column: str) -> tuple[pa.Array, dict[str, Any]]:
    if pd.api.types.is_object_dtype(dtype):
        return objects.pack(values.to_numpy(), column)
    if dtype.kind == "c" and dtype.itemsize <= 16:
        numbers = values.to_numpy().astype(dtype.newbyteorder("="), copy=False)
        parts = [pa.array(np.ascontiguousarray(p), from_pandas=False) for p in (numbers.real, numbers.imag)]
        return pa.StructArray.from_arrays(parts, names=["real", "imag"]), {"kind": "complex", "name": dtype.str}
    if dtype.kind == "f" and dtype.itemsize > 8:
        return _pack_long(values.to_numpy(), column), {"kind": "long", "name": str(dtype)}
    if dtype.kind not in "biufMm":
        raise InvalidValue(f"column {column!r} has the dtype {dtype}, which cannot be kept", "use .astype(…)")
    if not dtype.isnative:
        native = values.to_numpy().astype(dtype.newbyteorder("="))
        return pa.array(native, from_pandas=True), {"kind": "numpy", "name": dtype.str}
    return pa.array(values.to_numpy(), from_pandas=True), {"kind": "numpy", "name": str(dtype)}


def _pack_long(numbers: np.ndarray, column: str) -> pa.Array:
    """Long doubles as the sum of two doubles, which holds the 64 bits of their mantissa.

    Raises:
        InvalidValue: a number beyond the range of doubles.
    """
    with np.errstate(all="ignore"):
        high = numbers.astype(np.float64)
        low = np.where(np.isfinite(high), (numbers - high).astype(np.float64), 0.0)
        odd = ~((high.astype(numbers.dtype) + low == numbers) | np.isnan(numbers))
    if odd.any():
        row = int(odd.argmax())
        raise InvalidValue(
            f"column {column!r} has the dtype {numbers.dtype}: row {row} holds {numbers[row]}, beyond two doubles",
            "convert the column with .astype('float64')",
        )
    missing = pa.array(np.isnan(numbers))
    return pa.StructArray.from_arrays([pa.array(high), pa.array(low)], names=["high", "low"], mask=missing)


def _pack_categorical(values: Any, column: str) -> tuple[pa.Array, dict[str, Any]]:
    categories, note = pack_values(values.categories, f"{column} (categories)")
    categories = contiguous(categories)
    found = np.asarray(restored.codes(categories, categories))
    if (found != np.arange(len(categories))).any():
        row = int((found != np.arange(len(categories))).argmax())
        raise InvalidValue(
            f"column {column!r}: the category {values.categories[row]!r:.60} is stored like another one",
            "convert the column with .astype(object)",
        )
    codes = np.asarray(values.codes)
    indices = pa.array(codes, mask=codes < 0)
    plain = categories.take(indices) if len(categories) else pa.nulls(len(codes), categories.type)
    stored = {"dtype": note, **encode.array_to_json(categories), **range_note(values.categories)}
    return plain, {"kind": "categorical", "ordered": bool(values.ordered), "categories": stored}


def _pack_interval(values: Any, dtype: pd.IntervalDtype, column: str) -> tuple[pa.Array, dict[str, Any]]:
    missing = pa.array(np.asarray(values.isna()))
    left, note = pack_values(pd.Index(values.left), column)
    right, _ = pack_values(pd.Index(values.right), column)
    array = pa.StructArray.from_arrays([contiguous(left), contiguous(right)], names=["left", "right"], mask=missing)
    return array, {"kind": "interval", "closed": dtype.closed, "of": note}


def unpack_values(column: pa.ChunkedArray, note: dict[str, Any]) -> Any:
    """The pandas or NumPy array that :func:`pack_values` was given."""
    kind = note["kind"]
    if kind == "object":
        return objects.unpack(column, note)
    if kind == "numpy":
        return _numpy(column, note["name"])
    if kind == "sparse":
        dense = unpack_values(column, note["of"])
        return pd.arrays.SparseArray(dense, dtype=pd.SparseDtype(dense.dtype, tagged.decode(note["fill"])))
    if kind == "complex":
        made = np.empty(len(column), np.dtype(note["name"]))
        made.real, made.imag = (np.asarray(p) for p in contiguous(column).flatten())
        return made
    if kind == "long":
        high, low = (np.asarray(p.fill_null(np.nan)) for p in contiguous(column).flatten())
        return high.astype(note["name"]) + low
    if kind == "categorical":
        return _unpack_categorical(column, note)
    if kind == "period":
        ordinals = np.asarray(contiguous(column).fill_null(_NAT))
        return pd.PeriodIndex.from_ordinals(ordinals, freq=note["freq"]).array  # type: ignore[attr-defined]
    if kind == "interval":
        left, right = (unpack_values(chunked(f), note["of"]) for f in contiguous(column).flatten())
        return pd.arrays.IntervalArray.from_arrays(left, right, closed=note["closed"])
    if kind == "arrow":
        kind = encode.schema_from_json(note["given"]).field(0).type
        return pd.arrays.ArrowExtensionArray(restored.restore_column(column, kind))
    if kind == "string":
        more = {} if note["na"] == "NA" else {"na_value": np.nan}
        return pd.StringDtype(note["storage"], **more).__from_arrow__(column)  # type: ignore[attr-defined]
    if kind == "zoned":
        moments = _numpy(column.cast(pa.timestamp(note["unit"])), f"datetime64[{note['unit']}]")
        return pd.DatetimeIndex(moments).tz_localize("UTC").tz_convert(_zone(note["tz"])).array
    return pd.api.types.pandas_dtype(note["name"]).__from_arrow__(column)  # type: ignore[union-attr]


def _zone(name: str) -> Any:
    """Arrow writes fixed offsets as ``+02:00``, which pandas reads through ``UTC+02:00``."""
    return f"UTC{name}" if name[:1] in {"+", "-"} else name


def _numpy(column: pa.ChunkedArray, name: str) -> np.ndarray:
    values = column.to_numpy().astype(name, copy=False)
    return values if values.flags.writeable else values.copy()


def _unpack_categorical(column: pa.ChunkedArray, note: dict[str, Any]) -> pd.Categorical:
    stored = note["categories"]
    array = encode.array_from_json(stored)
    index = index_of(unpack_values(chunked(array), stored["dtype"]), stored)
    codes = np.asarray(restored.codes(column, array).fill_null(-1))
    return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(index, ordered=note["ordered"]))  # type: ignore[return-value]


def chunked(array: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    """An array as a column of one chunk."""
    return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])


def range_note(index: pd.Index) -> dict[str, Any]:
    """What an index is beyond its values: a range, or dates with a frequency."""
    if isinstance(index, pd.RangeIndex):
        return {"range": [index.start, index.stop, index.step]}
    freq = getattr(index, "freqstr", None) if isinstance(index, pd.DatetimeIndex | pd.TimedeltaIndex) else None
    return {"freq": freq} if freq else {}


def index_of(values: Any, note: dict[str, Any], name: Hashable = None) -> pd.Index:
    """An index around values, with what :func:`range_note` noted."""
    if "range" in note:
        start, stop, step = note["range"]
        return pd.RangeIndex(start, stop, step, name=name)
    index = pd.Index(values, name=name, dtype=values.dtype, tupleize_cols=False)
    if "freq" in note:
        index.freq = note["freq"]  # type: ignore[attr-defined]
    return index
