"""polars frames to plain Arrow columns and back, with exact dtypes (Categorical and Enum, also inside lists)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import pyarrow as pa

from nbmlops.errors import InvalidValue
from nbmlops.frames import encode


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
            notes.append({"field": series.name, "dtype": describe(series.dtype)})
            # One column at a time, so that a fault can name its column.
            arrow = series.to_frame().to_arrow(compat_level=pl.CompatLevel.oldest()).column(0)
            columns.append(encode.plain(arrow))
        except (InvalidValue, pa.ArrowException, pl.exceptions.PolarsError) as error:
            faults.append(f"column {series.name!r} has the dtype {series.dtype}, which cannot be kept: {error}")
    if faults:
        raise InvalidValue.of("the frame cannot be kept exactly", faults, "cast these columns to other dtypes first")
    return pa.table(columns, names=eager.columns), {"engine": "polars", "columns": notes}


def unpack(table: pa.Table, manifest: dict[str, Any], columns: Sequence[str] | None = None) -> pl.DataFrame:
    """The frame that :func:`pack` was given, or some of its columns."""
    names = [n["field"] for n in manifest["columns"]] if columns is None else list(columns)
    dtypes = {n["field"]: restore(n["dtype"]) for n in manifest["columns"]}
    frame = pl.from_arrow(table.select(names))
    assert isinstance(frame, pl.DataFrame)  # noqa: S101  (a table always gives a frame)
    return frame.cast({n: dtypes[n] for n in names}) if names else frame  # type: ignore[arg-type]


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
    frame = pl.from_arrow(pa.table(ready, names=table.column_names))
    assert isinstance(frame, pl.DataFrame)  # noqa: S101  (a table always gives a frame)
    return frame


def describe(dtype: Any) -> dict[str, Any]:
    """A polars dtype as JSON.

    Raises:
        InvalidValue: a dtype without an Arrow form (Object).
    """
    name = type(dtype).__name__
    if isinstance(dtype, pl.Object):
        raise InvalidValue("it holds Python objects", "cast the column")
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
    return {"polars": name if isinstance(dtype, pl.DataType) else dtype.__name__}


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
    return pl.Enum(note["categories"]) if kind is pl.Enum else kind()


def check(frame: pl.DataFrame, again: pl.DataFrame) -> None:
    """Compare a frame with what came back.

    Raises:
        InvalidValue: a dtype or value differs.
    """
    from polars.testing import assert_frame_equal

    try:
        assert_frame_equal(frame, again, check_exact=True)
    except AssertionError as error:
        what = " ".join(str(error).split())[:300]
        raise InvalidValue(
            f"the frame would not come back as it is: {what}", "cast the column named to a plainer dtype"
        ) from error
