"""polars frames to plain Arrow columns and back, with exact dtypes (Categorical and Enum, also inside lists)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from nbmlops.errors import InvalidValue
from nbmlops.frames import encode, layouts, restored

_WIDE = frozenset({"Int128", "UInt128"})


def pack(frame: pl.DataFrame | pl.LazyFrame) -> tuple[pa.Table, dict[str, Any]]:
    """A table of plain values and the manifest that brings the same frame back.

    Raises:
        InvalidValue: columns that cannot be kept exactly; all of them are named.
    """
    eager = frame.collect() if isinstance(frame, pl.LazyFrame) else frame
    assert isinstance(eager, pl.DataFrame)  # noqa: S101  (collect() without background has no other result)
    columns, notes, faults = [], [], []
    for series in eager.get_columns():
        try:
            # One column at a time, so that a fault can name its column.
            column, note = _pack(series)
            columns.append(column)
            notes.append({"field": series.name, **note})
        except InvalidValue as error:
            faults.append(error.message)
        except (pa.ArrowException, pl.exceptions.PolarsError) as error:
            faults.append(f"column {series.name!r} has the dtype {series.dtype}, which cannot be kept: {error}")
    if faults:
        raise InvalidValue.of("the frame cannot be kept exactly", faults, "cast these columns to other dtypes first")
    return pa.table(columns, names=eager.columns), {"engine": "polars", "columns": notes}


def _pack(series: pl.Series) -> tuple[pa.ChunkedArray, dict[str, Any]]:
    if isinstance(series.dtype, pl.Object):
        from nbmlops.frames import objects  # needs pandas, which the other dtypes do without

        values = np.empty(len(series), object)
        for i, value in enumerate(series.to_list()):
            values[i] = value
        array, kept = objects.pack(values, series.name)
        return pa.chunked_array([array]), {"dtype": {"polars": "Object", "values": kept}}
    note: dict[str, Any] = {"dtype": describe(series.dtype)}
    # Arrow has no whole numbers of 128 bits.
    wide = _swap(series.dtype, _WIDE, pl.Decimal(38, 0))
    if wide != series.dtype:
        try:
            series = series.cast(wide)
        except pl.exceptions.InvalidOperationError:  # more than 38 digits
            series = series.cast(_swap(series.dtype, _WIDE, pl.String()))
    arrow = series.to_frame().to_arrow(compat_level=pl.CompatLevel.oldest()).column(0)
    if isinstance(arrow.type, pa.BaseExtensionType):
        arrow = pa.chunked_array([c.storage for c in arrow.chunks], arrow.type.storage_type)
    plain = encode.plain(arrow)
    if layouts.holds(arrow.type, layouts.is_hollow):
        note["given"] = encode.schema_to_json(pa.schema([("v", arrow.type)]))  # structs and lists of nothing
        _unpack(plain, note)  # polars refuses some of them inside others
    return plain, note


def _swap(dtype: Any, old: frozenset[str], new: Any) -> Any:
    """A dtype with some of its innermost dtypes replaced."""
    if isinstance(dtype, pl.List):
        return pl.List(_swap(dtype.inner, old, new))
    if isinstance(dtype, pl.Array):
        return pl.Array(_swap(dtype.inner, old, new), dtype.size)
    if isinstance(dtype, pl.Struct):
        return pl.Struct([pl.Field(f.name, _swap(f.dtype, old, new)) for f in dtype.fields])
    if type(dtype).__name__ == "Map":
        return type(dtype)(_swap(dtype.key, old, new), _swap(dtype.value, old, new))
    return new if type(dtype).__name__ in old else dtype


def unpack(table: pa.Table, manifest: dict[str, Any], columns: Sequence[str] | None = None) -> pl.DataFrame:
    """The frame that :func:`pack` was given, or some of its columns."""
    names = [n["field"] for n in manifest["columns"]] if columns is None else list(columns)
    notes = {n["field"]: n for n in manifest["columns"]}
    return pl.DataFrame({n: _unpack(table.column(n), notes[n]) for n in names})


def _unpack(column: pa.ChunkedArray, note: dict[str, Any]) -> pl.Series:
    dtype = note["dtype"]
    if dtype["polars"] == "Object":
        from nbmlops.frames import objects

        return pl.Series(objects.unpack(column, dtype["values"]).tolist(), dtype=pl.Object)
    if dtype.get("size") == 0:  # polars does not take nulls among lists of size 0 from Arrow
        return pl.Series([None if v is None else [] for v in column.to_pylist()], dtype=restore(dtype))
    if "given" in note:
        column = restored.restore_column(column, encode.schema_from_json(note["given"]).field(0).type)
    series = pl.from_arrow(pa.table({"v": column})).to_series()  # type: ignore[union-attr]
    wanted = restore(dtype)
    return series if series.dtype == wanted else _cast(series, wanted)


def _cast(series: pl.Series, wanted: Any) -> pl.Series:
    if type(wanted).__name__ == "Extension":
        return series.cast(wanted.ext_storage()).ext.to(wanted)  # type: ignore[attr-defined]
    return series.cast(wanted)


def from_table(table: pa.Table) -> pl.DataFrame:
    """Any Arrow table as a polars frame; dictionaries of other values than text become their values.

    Times with a fixed offset come in UTC.
    """
    ready = []
    for column in table.columns:
        kind = column.type
        text = pa.types.is_dictionary(kind) and (
            pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type)
        )
        if pa.types.is_timestamp(kind) and kind.tz and kind.tz[0] in "+-":
            column = column.cast(pa.timestamp(kind.unit, "UTC"))  # polars knows named zones only; the moments stay
        ready.append(column if text else encode.plain(column))
    made, faults = {}, []
    for name, column in zip(table.column_names, ready, strict=True):
        try:
            column = column.cast(_for_polars(column.type)) if _for_polars(column.type) != column.type else column
            made[name] = pl.from_arrow(pa.table({"v": column})).to_series()  # type: ignore[union-attr]
        except (pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            faults.append(f"column {name!r} of type {column.type}: {str(error).splitlines()[0]}")
    if faults:
        raise InvalidValue.of("polars cannot hold the table", faults, "load it with as_='arrow', or other columns")
    return pl.DataFrame(made)


def _for_polars(kind: pa.DataType) -> pa.DataType:
    """A plain type with what polars lacks replaced: decimals that are too wide become text."""
    types = pa.types
    if types.is_decimal(kind):
        return pa.large_string() if types.is_decimal256(kind) else pa.decimal128(kind.precision, kind.scale)
    if types.is_struct(kind):
        return pa.struct([f.with_type(_for_polars(f.type)) for f in kind])
    if types.is_list(kind) or types.is_large_list(kind):
        make = pa.large_list if types.is_large_list(kind) else pa.list_
        return make(kind.value_field.with_type(_for_polars(kind.value_type)))
    if types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_for_polars(kind.value_type)), kind.list_size)
    if types.is_map(kind):
        return pa.map_(kind.key_field, kind.item_field.with_type(_for_polars(kind.item_type)))
    return kind


def describe(dtype: Any) -> dict[str, Any]:
    """A polars dtype as JSON.

    Raises:
        InvalidValue: a dtype without an Arrow form (Object).
    """
    name = type(dtype).__name__
    if isinstance(dtype, pl.Object):
        raise InvalidValue("it holds Python objects inside others", "cast the column")
    if isinstance(dtype, pl.List):
        return {"polars": name, "inner": describe(dtype.inner)}
    if isinstance(dtype, pl.Array):
        return {"polars": name, "inner": describe(dtype.inner), "size": dtype.size}
    if isinstance(dtype, pl.Struct):
        return {"polars": name, "fields": [[f.name, describe(f.dtype)] for f in dtype.fields]}
    if isinstance(dtype, pl.Datetime):
        return {"polars": name, "unit": dtype.time_unit, "tz": dtype.time_zone}
    if isinstance(dtype, pl.Duration):
        return {"polars": name, "unit": dtype.time_unit}
    if isinstance(dtype, pl.Decimal):
        return {"polars": name, "precision": dtype.precision, "scale": dtype.scale}
    if isinstance(dtype, pl.Enum):
        return {"polars": name, "categories": dtype.categories.to_list()}
    if isinstance(dtype, pl.Categorical) and (named := _named(dtype)):
        return {"polars": name, "named": named}
    if name == "Map":
        return {"polars": name, "key": describe(dtype.key), "value": describe(dtype.value)}
    if hasattr(dtype, "ext_storage"):
        kept = {"name": dtype.ext_name(), "metadata": dtype.ext_metadata()}
        return {"polars": "Extension", "storage": describe(dtype.ext_storage()), **kept}
    return {"polars": name if isinstance(dtype, pl.DataType) else dtype.__name__}


def _named(dtype: Any) -> list[str] | None:
    """Of categories other than the global ones their name, namespace and the dtype of their codes."""
    categories = getattr(dtype, "categories", None)  # older versions of polars know the global ones only
    if categories is None or not hasattr(categories, "is_global") or categories.is_global():
        return None
    return [categories.name(), categories.namespace(), str(categories.physical())]


def restore(note: dict[str, Any]) -> Any:
    """The polars dtype that :func:`describe` was given."""
    kind = getattr(pl, note["polars"])
    if "fields" in note:
        return pl.Struct([pl.Field(n, restore(d)) for n, d in note["fields"]])
    if "size" in note:
        return pl.Array(restore(note["inner"]), note["size"])
    if "inner" in note:
        return pl.List(restore(note["inner"]))
    if kind is pl.Datetime:
        return pl.Datetime(note["unit"], note["tz"])
    if kind is pl.Duration:
        return pl.Duration(note["unit"])
    if kind is pl.Decimal:
        return pl.Decimal(note["precision"], note["scale"])
    if "named" in note:
        name, space, physical = note["named"]
        return pl.Categorical(pl.Categories(name, space, getattr(pl, physical)))
    if "key" in note:
        return kind(restore(note["key"]), restore(note["value"]))
    if "storage" in note:
        return kind(note["name"], restore(note["storage"]), note["metadata"])
    return pl.Enum(note["categories"]) if kind is pl.Enum else kind()


def check(frame: pl.DataFrame, again: pl.DataFrame) -> None:
    """Compare a frame with what came back.

    Raises:
        InvalidValue: a dtype or value differs.
    """
    from polars.testing import assert_frame_equal

    kept = [s.name for s in frame.get_columns() if isinstance(s.dtype, pl.Object)]
    try:
        assert_frame_equal(frame.drop(kept), again.drop(kept), check_exact=True)
    except AssertionError as error:
        what = " ".join(str(error).split())[:300]
        raise InvalidValue(
            f"the frame would not come back as it is: {what}", "cast the column named to a plainer dtype"
        ) from error
