"""Arrow arrays and schemas inside JSON."""

from __future__ import annotations

import base64
from typing import Any

import pyarrow as pa

from nbmlops.frames import digest
from nbmlops.frames.layouts import plain as plain
from nbmlops.frames.layouts import plain_array


def array_to_json(array: pa.Array) -> dict[str, str]:
    """An array as ``{"arrow": base64 of an IPC stream, "digest": of its values}``; small arrays only."""
    sink = pa.BufferOutputStream()
    table = pa.table({"v": array})
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return {"arrow": base64.b64encode(sink.getvalue()).decode(), "digest": digest.column_digest(plain_array(array))}


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
