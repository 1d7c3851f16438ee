"""Seconds and days that Parquet, which counts in milliseconds and whole days, would change or refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from nbmlops.errors import InvalidValue
from nbmlops.frames import layouts

_LIMITS = {"timestamp[s]": 2**63 // 1000 - 1, "time32[s]": 2**31 // 1000 - 1}


def as_numbers(table: pa.Table) -> tuple[pa.Table, pa.Schema | None]:
    """The table with seconds and days that Parquet cannot hold as whole numbers, and the fields that it changed.

    Raises:
        InvalidValue: such values inside lists, structs or maps.
    """
    changed, faults = [], []
    for i, field in enumerate(table.schema):
        if not layouts.holds(field.type, _is_coarse):
            continue
        odd = next((v for c in table.column(i).chunks if (v := beyond_parquet(c)) is not None), None)
        if odd is None:
            continue
        if pa.types.is_nested(field.type):
            faults.append(f"column {field.name!r} of type {field.type} holds {odd}, which Parquet cannot keep")
            continue
        whole = pa.int32() if pa.types.is_time32(field.type) else pa.int64()
        numbers = pa.chunked_array([c.view(whole) for c in table.column(i).chunks], whole)
        table = table.set_column(i, field.with_type(whole), numbers)
        changed.append(field)
    if faults:
        raise InvalidValue.of("the frame cannot be kept exactly", faults, "cast the values to whole numbers")
    return table, pa.schema(changed) if changed else None


def from_numbers(table: pa.Table, fields: pa.Schema) -> pa.Table:
    """The inverse of :func:`as_numbers`."""
    for field in fields:
        i = table.schema.get_field_index(field.name)
        if i >= 0:
            moments = pa.chunked_array([c.view(field.type) for c in table.column(i).chunks], field.type)
            table = table.set_column(i, field, moments)
    return table


def _is_coarse(kind: pa.DataType) -> bool:
    return pa.types.is_date64(kind) or str(kind).startswith(("timestamp[s", "time32[s"))


def beyond_parquet(array: pa.Array) -> Any | None:
    """The first value of a plain array that Parquet would change or refuse, or None; only some types have any."""
    kind = array.type
    if pa.types.is_nested(kind):
        found = (beyond_parquet(c) for c in layouts.children(array))
        return next((v for v in found if v is not None), None)
    if not _is_coarse(kind):
        return None
    numbers = array.view(pa.int32() if pa.types.is_time32(kind) else pa.int64()).drop_null()
    values = np.asarray(numbers)
    if pa.types.is_date64(kind):
        odd = values % 86_400_000 != 0
    else:
        limit = _LIMITS["time32[s]" if pa.types.is_time32(kind) else "timestamp[s]"]
        odd = (values > limit) | (values < (0 if pa.types.is_time32(kind) else -limit))
    return int(values[odd.argmax()]) if odd.any() else None
