"""Arrow arrays and schemas inside JSON, and the code of each value in a list of categories."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nbmlops.frames import digest


def array_to_json(array: pa.Array) -> dict[str, str]:
    """An array as ``{"arrow": base64 of an IPC stream, "digest": of its values}``; small arrays only."""
    sink = pa.BufferOutputStream()
    table = pa.table({"v": array})
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return {"arrow": base64.b64encode(sink.getvalue()).decode(), "digest": digest.column_digest(array)}


def array_from_json(data: dict[str, Any]) -> pa.Array:
    """The inverse of :func:`array_to_json`."""
    with pa.ipc.open_stream(pa.py_buffer(base64.b64decode(data["arrow"]))) as stream:
        return digest.contiguous(stream.read_all().column(0))


def schema_to_json(schema: pa.Schema) -> str:
    """A schema as base64 of its IPC message."""
    return base64.b64encode(schema.serialize()).decode()


def schema_from_json(text: str) -> pa.Schema:
    """The inverse of :func:`schema_to_json`."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type with every dictionary, run-end encoding and view, also nested ones, replaced by its values."""
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return pa.large_string() if pa.types.is_string_view(kind) else pa.large_binary()
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if pa.types.is_struct(kind):
        return pa.struct([f.with_type(plain_type(f.type)) for f in kind])
    if pa.types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(plain_type(kind.value_type)))
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(plain_type(kind.value_type)))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(plain_type(kind.value_type)), kind.list_size)
    return kind


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column's values without dictionaries and run-ends."""
    if pa.types.is_run_end_encoded(column.type):
        return pa.chunked_array([pc.run_end_decode(c) for c in column.chunks], column.type.value_type)
    if pa.types.is_dictionary(column.type) and pa.types.is_nested(column.type.value_type):
        # Arrow's cast cannot decode these.
        return plain(pa.chunked_array([c.dictionary.take(c.indices) for c in column.chunks], column.type.value_type))
    target = plain_type(column.type)
    return column if target == column.type else column.cast(target)


def codes(column: pa.ChunkedArray | pa.Array, categories: pa.Array) -> pa.Array:
    """The position of each value in ``categories``; null where the value is null."""
    values = digest.contiguous(column)
    if not len(categories):
        return pa.nulls(len(values), pa.int32())
    kind = categories.type
    if kind != values.type:
        values = values.cast(kind)
    if pa.types.is_float16(kind):
        return pc.index_in(values.cast(pa.float32()), categories.cast(pa.float32()))
    if pa.types.is_struct(kind):
        return _struct_codes(values, categories)
    if pa.types.is_nested(kind):
        known = {repr(c): i for i, c in enumerate(categories.to_pylist())}
        return pa.array([known.get(repr(v)) if v is not None else None for v in values.to_pylist()], pa.int32())
    return pc.index_in(values, categories, skip_nulls=True)


def _struct_codes(values: pa.Array, categories: pa.Array) -> pa.Array:
    """Codes of structs (the two ends of intervals): each field's codes combined into one number."""
    total, known = np.zeros(len(values), np.int64), np.zeros(len(categories), np.int64)
    for field, reference in zip(values.flatten(), categories.flatten(), strict=True):
        distinct = pc.unique(reference)
        ours = np.asarray(codes(field, distinct).fill_null(-1)).astype(np.int64)
        total = np.where((ours < 0) | (total < 0), -1, total * len(distinct) + ours)
        known = known * len(distinct) + np.asarray(codes(reference, distinct)).astype(np.int64)
    found = pc.index_in(pa.array(total), pa.array(known))
    return pc.if_else(values.is_valid(), found, pa.scalar(None, found.type))
