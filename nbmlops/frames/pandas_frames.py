"""pandas frames to plain Arrow columns and back, with every dtype, the index and the column labels as they were.

Parquet alone loses much of this (an integer category comes back as int64, pandas#60491), so the table holds plain
values that any engine reads and a JSON manifest the rest: categories and their order, missing-value markers, indexes.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from nbmlops.errors import InvalidValue
from nbmlops.frames import encode, layouts, objects, restored, tagged
from nbmlops.frames.digest import contiguous, is_valid_text

Values = pd.Series | pd.Index
_NULLABLE = frozenset(
    {"boolean", "Float32", "Float64", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64"}
)
_NAT = np.iinfo(np.int64).min


def pack(frame: pd.DataFrame) -> tuple[pa.Table, dict[str, Any]]:
    """A table of plain values and the manifest that brings the same frame back.

    Raises:
        InvalidValue: duplicate labels, or columns that cannot be kept exactly; all of them are named.
    """
    if not frame.columns.is_unique:
        twice = ", ".join(repr(c) for c in frame.columns[frame.columns.duplicated()].unique())
        raise InvalidValue(
            f"column names appear more than once: {twice}", "rename them; a snapshot needs distinct names"
        )
    fields = _field_names(frame.columns)
    arrays, notes, faults, hints = [], [], [], []
    for position, field in enumerate(fields):
        try:
            array, note = pack_values(frame.iloc[:, position], field)
        except InvalidValue as error:
            faults.append(error.message)
            hints.append(error.hint)
            continue
        except (pa.ArrowException, UnicodeError) as error:
            faults.append(f"column {field!r}: {error}")
            hints.append("mend the value, or convert the column")
            continue
        arrays.append(array)
        notes.append({"field": field, "dtype": note})
    if faults:
        raise InvalidValue.of("the frame cannot be kept exactly", faults, "; ".join(dict.fromkeys(hints)))
    index, levels = _pack_index(frame.index, fields)
    manifest = {"engine": "pandas", "columns": notes, "labels": _pack_labels(frame.columns), "index": index}
    return pa.table([*arrays, *levels.values()], names=[*fields, *levels]), manifest


def unpack(table: pa.Table, manifest: dict[str, Any], columns: Sequence[Hashable] | None = None) -> pd.DataFrame:
    """The frame that :func:`pack` was given, or some of its columns, in the order asked for, with its index."""
    notes, labels = manifest["columns"], _unpack_labels(manifest)
    chosen = list(range(len(notes))) if columns is None else [_position(labels, notes, c) for c in columns]
    index = _unpack_index(manifest["index"], table)
    data = {}
    for i in chosen:
        values = unpack_values(table.column(notes[i]["field"]), notes[i]["dtype"])
        data[i] = pd.Series(values, index=index, dtype=values.dtype, copy=False)  # the dtype stops pandas from guessing
    frame = pd.DataFrame(data, index=index, copy=False)
    frame.columns = labels if columns is None else labels[chosen]
    return frame


def fields_of(manifest: dict[str, Any], columns: Sequence[Hashable]) -> tuple[list[str], list[Hashable]]:
    """The table's fields needed for these labels, index included, and the labels that do not exist."""
    notes, labels = manifest["columns"], _unpack_labels(manifest)
    unknown = [c for c in columns if c not in labels and c not in {n["field"] for n in notes}]
    wanted = [notes[_position(labels, notes, c)]["field"] for c in columns if c not in unknown]
    return [*dict.fromkeys(wanted), *(level["field"] for level in manifest["index"].get("levels", ()))], unknown


def _position(labels: pd.Index, notes: list[dict[str, Any]], column: Hashable) -> int:
    return labels.get_loc(column) if column in labels else [n["field"] for n in notes].index(column)  # type: ignore[arg-type,return-value]


# --- values -----------------------------------------------------------------------------------------------------
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
        given = _chunked(values.array.__arrow_array__())  # type: ignore[attr-defined]
        schema = encode.schema_to_json(pa.schema([("v", given.type)]))
        note = {"kind": "arrow", "type": str(given.type), "given": schema}
        if exact := layouts.meaning(pa.field("v", given.type)):
            note["exact"] = exact
        return layouts.plain(given), note
    if isinstance(dtype, pd.StringDtype):
        note = {"kind": "string", "storage": dtype.storage, "na": "NA" if dtype.na_value is pd.NA else "nan"}
        return _chunked(pa.array(values.array)).cast(pa.large_string()), note
    if isinstance(dtype, pd.DatetimeTZDtype):
        array = _chunked(pa.array(values.array))
        return array, {"kind": "zoned", "unit": dtype.unit, "tz": array.type.tz}
    if dtype.name in _NULLABLE:
        return pa.array(values.array), {"kind": "nullable", "name": dtype.name}
    hint = (
        ".sparse.to_dense() makes it an ordinary one"
        if isinstance(dtype, pd.SparseDtype)
        else "convert it with .astype(…)"
    )
    raise InvalidValue(f"column {column!r} has the dtype {dtype}, which cannot be kept", hint)


def _pack_numpy(values: Values, dtype: np.dtype[Any], column: str) -> tuple[pa.Array, dict[str, Any]]:
    if pd.api.types.is_object_dtype(dtype):
        return objects.pack(values.to_numpy(), column)
    if not dtype.isnative or dtype.kind not in "biufMm" or dtype.itemsize > 8:
        hint = "keep real and imaginary part in two columns" if dtype.kind == "c" else "convert it with .astype(…)"
        raise InvalidValue(
            f"column {column!r} has the dtype {dtype.str if not dtype.isnative else dtype}, which cannot be kept", hint
        )
    return pa.array(values.to_numpy(), from_pandas=True), {"kind": "numpy", "name": str(dtype)}


def _pack_categorical(values: Any, column: str) -> tuple[pa.Array, dict[str, Any]]:
    categories, note = pack_values(values.categories, f"{column} (categories)")
    categories = contiguous(categories)
    codes = np.asarray(values.codes)
    indices = pa.array(codes, mask=codes < 0)
    plain = categories.take(indices) if len(categories) else pa.nulls(len(codes), categories.type)
    stored = {"dtype": note, **encode.array_to_json(categories), **_range_note(values.categories)}
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
    if kind == "categorical":
        return _unpack_categorical(column, note)
    if kind == "period":
        ordinals = np.asarray(contiguous(column).fill_null(_NAT))
        return pd.PeriodIndex.from_ordinals(ordinals, freq=note["freq"]).array  # type: ignore[attr-defined]
    if kind == "interval":
        left, right = (unpack_values(_chunked(f), note["of"]) for f in contiguous(column).flatten())
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
    index = _index(unpack_values(_chunked(array), stored["dtype"]), stored)
    codes = np.asarray(restored.codes(column, array).fill_null(-1))
    return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(index, ordered=note["ordered"]))  # type: ignore[return-value]


def _chunked(array: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])


# --- index and labels -------------------------------------------------------------------------------------------
def _field_names(labels: pd.Index) -> list[str]:
    """One distinct text per label: the label itself, or its text form with underscores added until it is distinct."""
    if odd := [ascii(c) for c in labels if isinstance(c, str) and not is_valid_text(c)]:
        raise InvalidValue(f"column names that are not valid text: {', '.join(odd)}", "rename them")
    names: dict[str, None] = {}
    taken = {c for c in labels if isinstance(c, str)}
    for label in labels:
        name = label if isinstance(label, str) else str(label)
        while name in names or (not isinstance(label, str) and name in taken):
            name += "_"
        names[name] = None
    return list(names)


def _range_note(index: pd.Index) -> dict[str, Any]:
    """What an index is beyond its values: a range, or dates with a frequency."""
    if isinstance(index, pd.RangeIndex):
        return {"range": [index.start, index.stop, index.step]}
    freq = getattr(index, "freqstr", None) if isinstance(index, pd.DatetimeIndex | pd.TimedeltaIndex) else None
    return {"freq": freq} if freq else {}


def _index(values: Any, note: dict[str, Any], name: Hashable = None) -> pd.Index:
    if "range" in note:
        start, stop, step = note["range"]
        return pd.RangeIndex(start, stop, step, name=name)
    index = pd.Index(values, name=name, dtype=values.dtype)
    if "freq" in note:
        index.freq = note["freq"]  # type: ignore[attr-defined]
    return index


def _pack_index(index: pd.Index, taken: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    if isinstance(index, pd.RangeIndex):
        return {"kind": "range", "name": _name(index.name), **_range_note(index)}, {}
    levels, arrays = [], {}
    for i, values in enumerate(_levels(index)):
        field = values.name if isinstance(values.name, str) and values.name else f"__index_level_{i}__"
        while field in taken or field in arrays:
            field = f"__index_{field}__"
        array, note = pack_values(values, field)
        levels.append({"field": field, "name": _name(values.name), "dtype": note, **_range_note(values)})
        arrays[field] = array
    kind = "multi" if isinstance(index, pd.MultiIndex) else "values"
    return {"kind": kind, "levels": levels}, arrays


def _unpack_index(note: dict[str, Any], table: pa.Table) -> pd.Index:
    if note["kind"] == "range":
        return _index(None, note, _unname(note["name"]))
    indexes = [
        _index(unpack_values(table.column(level["field"]), level["dtype"]), level, _unname(level["name"]))
        for level in note["levels"]
    ]
    return (
        pd.MultiIndex.from_arrays(indexes, names=[i.name for i in indexes]) if note["kind"] == "multi" else indexes[0]
    )


def _pack_labels(labels: pd.Index) -> dict[str, Any]:
    if isinstance(labels, pd.RangeIndex):
        return {"kind": "range", "name": _name(labels.name), **_range_note(labels)}
    levels = []
    for values in _levels(labels):
        try:
            array, note = pack_values(values, "column names")
        except InvalidValue as error:
            raise InvalidValue(
                error.message, "give all columns names of one type: frame.columns = frame.columns.map(str)"
            ) from error
        level = {"name": _name(values.name), "dtype": note, **_range_note(values)}
        levels.append({**level, **encode.array_to_json(contiguous(array))})
    return {"kind": "multi" if isinstance(labels, pd.MultiIndex) else "values", "levels": levels}


def _unpack_labels(manifest: dict[str, Any]) -> pd.Index:
    note = manifest["labels"]
    if note["kind"] == "range":
        return _index(None, note, _unname(note["name"]))
    indexes = [
        _index(unpack_values(_chunked(encode.array_from_json(level)), level["dtype"]), level, _unname(level["name"]))
        for level in note["levels"]
    ]
    return (
        pd.MultiIndex.from_arrays(indexes, names=[i.name for i in indexes]) if note["kind"] == "multi" else indexes[0]
    )


def _levels(index: pd.Index) -> list[pd.Index]:
    return [index.get_level_values(i) for i in range(index.nlevels)] if isinstance(index, pd.MultiIndex) else [index]


def _name(name: Any) -> Any:
    """The name of an index as JSON holds it: text, a number, None, or a tuple of them."""
    if isinstance(name, tuple):
        return {"tuple": [_name(n) for n in name]}
    name = name.item() if isinstance(name, np.generic) else name
    if name is None or isinstance(name, str | int) or (isinstance(name, float) and np.isfinite(name)):
        return name
    raise InvalidValue(f"an index is named {name!r} ({type(name).__name__})", "name it with text, a number or nothing")


def _unname(name: Any) -> Any:
    return tuple(_unname(n) for n in name["tuple"]) if isinstance(name, dict) else name


def check(frame: pd.DataFrame, again: pd.DataFrame) -> None:
    """Compare a frame with what came back.

    Raises:
        InvalidValue: a dtype, label or value differs.
    """
    try:
        pd.testing.assert_frame_equal(frame, again, check_exact=True, check_index_type=True, check_column_type=True)
    except AssertionError as error:
        what = " ".join(str(error).split())[:300]
        raise InvalidValue(
            f"the frame would not come back as it is: {what}", "convert the column named to a plainer dtype"
        ) from error
    for position, dtype in enumerate(frame.dtypes):
        if pd.api.types.is_object_dtype(dtype):
            _check_objects(frame.iloc[:, position], again.iloc[:, position])


def _check_objects(given: pd.Series, again: pd.Series) -> None:
    for row, (a, b) in enumerate(zip(given, again, strict=True)):
        if not tagged.same(a, b):
            raise InvalidValue(
                f"column {given.name!r}: row {row} holds {a!r:.60} and would come back as {b!r:.60}",
                "use plainer values",
            )
