"""The canonical digest of a table: a function of its schema and values, and of nothing else.

Library hashes are unusable here: those of polars and DuckDB changed between releases, and all of them call 0.0 and -0.0
equal. Parquet bytes change with every writer. So the definition is our own, ``nbmlops-frame-1``, byte by byte in
docs/digests.md:

- a column is cut into blocks of 65,536 rows, whatever its chunks; each block is one BLAKE3 over its canonical bytes;
- canonical bytes: row count, null count, the validity bits if there are nulls, then the values little-endian with
  zeroed null slots; strings as lengths and UTF-8, lists as lengths and items, structs field by field;
- dictionaries, run-ends, views and large variants count as their plain values;
- every NaN is the same NaN, -0.0 differs from 0.0, null differs from NaN;
- a table is the JSON of its field names, logical types, row count and dtype manifest, then the column digests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

BLOCK = 1 << 16
VERSION = "nbmlops-frame-1"
# Keys of a dtype manifest that say again what another key says, in bytes that a library version may change.
ENCODED = frozenset({"arrow", "stored", "given", "layout"})


class _Hasher(Protocol):
    def update(self, data: Any, /) -> Any: ...


def table_digest(table: pa.Table, manifest: Mapping[str, Any] | None = None) -> tuple[str, list[str]]:
    """The digest of a whole table, ``blake3:…``, and the hex digest of each column in order."""
    with ThreadPoolExecutor(2) as pool:
        columns = list(pool.map(column_digest, table.columns))
    return whole(table.schema, table.num_rows, manifest or {}, columns), columns


def whole(schema: pa.Schema, rows: int, manifest: Mapping[str, Any], columns: Sequence[str]) -> str:
    """The digest of a table from what is known of it: its fields, rows, dtype manifest and column digests."""
    head = {
        "rows": rows,
        "fields": [[f.name, logical_type(f.type), f.nullable] for f in schema],
        "manifest": meaning(manifest),
    }
    hasher = blake3(VERSION.encode())
    hasher.update(json.dumps(head, sort_keys=True, separators=(",", ":")).encode())
    for digest in columns:
        hasher.update(bytes.fromhex(digest))
    return f"blake3:{hasher.hexdigest()}"


def column_digest(column: pa.ChunkedArray | pa.Array) -> str:
    """The hex digest of one column's type and values."""
    return of_blocks(column.type, len(column), blocks(column))


def blocks(column: pa.ChunkedArray | pa.Array) -> list[bytes]:
    """The digests of a column's blocks of 65,536 rows, in order; equal blocks hold equal values."""
    found = []
    for start in range(0, len(column), BLOCK):
        block = blake3()
        _feed(block, contiguous(column.slice(start, BLOCK)))
        found.append(block.digest())
    return found


def of_blocks(kind: pa.DataType, rows: int, found: Sequence[bytes]) -> str:
    """The hex digest of a column from its type, its number of rows and :func:`blocks`."""
    hasher = blake3(f"{VERSION}|{logical_type(kind)}|{rows}".encode())
    for block in found:
        hasher.update(block)
    return hasher.hexdigest()


class Running:
    """The digest of a table whose rows come piece by piece."""

    def __init__(self, schema: pa.Schema) -> None:
        self.rows = 0
        self._schema = schema
        self._waiting: list[pa.Table] = []
        self._blocks: list[list[bytes]] = [[] for _ in schema]

    def add(self, table: pa.Table) -> None:
        """Take more rows."""
        self._waiting.append(table)
        self.rows += table.num_rows
        whole = sum(t.num_rows for t in self._waiting) // BLOCK * BLOCK
        if whole:
            joined = pa.concat_tables(self._waiting)
            self._count(joined.slice(0, whole))
            self._waiting = [joined.slice(whole)]

    def columns(self) -> list[str]:
        """The hex digests of the columns, when all rows were taken."""
        if self._waiting:
            self._count(pa.concat_tables(self._waiting))
            self._waiting = []
        return [of_blocks(f.type, self.rows, b) for f, b in zip(self._schema, self._blocks, strict=True)]

    def _count(self, table: pa.Table) -> None:
        with ThreadPoolExecutor(2) as pool:
            for known, found in zip(self._blocks, pool.map(blocks, table.columns), strict=True):
                known += found


def contiguous(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column as one array; nothing is copied when it is one already."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.nulls(0, column.type)


def logical_type(kind: pa.DataType) -> str:
    """The type without its encoding: dictionaries, run-ends, views and large variants are their value types."""
    if isinstance(kind, pa.BaseExtensionType):
        return f"extension<{kind.extension_name}>[{logical_type(kind.storage_type)}]"
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return logical_type(kind.value_type)
    if is_text(kind):
        return "utf8"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return "binary"
    if pa.types.is_fixed_size_list(kind):
        return f"list<{logical_type(kind.value_type)}>[{kind.list_size}]"
    if pa.types.is_map(kind):
        return f"map<{logical_type(kind.key_type)},{logical_type(kind.item_type)}>"
    if is_list(kind):
        return f"list<{logical_type(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return "struct<" + ",".join(f"{json.dumps(f.name)}:{logical_type(f.type)}" for f in kind) + ">"
    if pa.types.is_timestamp(kind) and kind.tz in {"Etc/UTC", "Z", "+00:00"}:
        return f"timestamp[{kind.unit}, tz=UTC]"  # DuckDB and others spell UTC differently
    return str(kind)


def is_text(kind: pa.DataType) -> bool:
    """Whether the type is any of Arrow's string types."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def is_valid_text(text: str) -> bool:
    """Whether a text can be written as UTF-8: no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_list(kind: pa.DataType) -> bool:
    """Whether the type is a list of varying length, in any of its layouts."""
    views = (getattr(pa.types, n, None) for n in ("is_list_view", "is_large_list_view"))
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or any(v is not None and v(kind) for v in views)


def meaning(value: Any) -> Any:
    """The manifest without the keys that only encode what others say."""
    if isinstance(value, Mapping):
        return {k: meaning(v) for k, v in value.items() if k not in ENCODED}
    return [meaning(v) for v in value] if isinstance(value, list | tuple) else value


def _plain(array: pa.Array) -> pa.Array:
    """The values without dictionary, run-end, extension or view layout."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(array.storage)
    if pa.types.is_dictionary(kind):
        return _plain(array.dictionary_decode())
    if pa.types.is_run_end_encoded(kind):
        return _plain(pc.run_end_decode(array))
    if pa.types.is_string_view(kind):
        return array.cast(pa.large_string())
    if pa.types.is_binary_view(kind):
        return array.cast(pa.large_binary())
    if is_list(kind) and "view" in str(kind).partition("<")[0]:
        return _list_of_view(array)
    return array


def _list_of_view(array: pa.Array) -> pa.Array:
    """A list view as a list. Arrow's own cast leaves the last offset out, so its lists end anywhere."""
    ends = np.zeros(len(array) + 1, np.int64)
    np.cumsum(np.asarray(pc.fill_null(pc.list_value_length(array), 0)), out=ends[1:])
    bits = array.is_valid().buffers()[1] if array.null_count else None
    kind = pa.large_list(array.type.value_field)
    return pa.Array.from_buffers(kind, len(array), [bits, pa.py_buffer(ends)], children=[array.flatten()])


def _feed(hasher: _Hasher, array: pa.Array) -> None:
    array = _plain(array)
    kind, rows, nulls = array.type, len(array), array.null_count
    hasher.update(rows.to_bytes(8, "little") + nulls.to_bytes(8, "little"))
    valid = None
    if nulls:
        valid = np.asarray(array.is_valid())
        hasher.update(np.packbits(valid, bitorder="little").data)
    if rows == 0 or pa.types.is_null(kind):
        return
    if pa.types.is_nested(kind):
        _feed_nested(hasher, array)
    elif pa.types.is_boolean(kind):
        bits = np.asarray(array.fill_null(False) if nulls else array, dtype=bool)
        hasher.update(np.packbits(bits, bitorder="little").data)
    elif is_text(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        _feed_bytes(hasher, array, valid)
    else:
        _feed_fixed(hasher, array, valid)


def _feed_nested(hasher: _Hasher, array: pa.Array) -> None:
    kind = array.type
    if pa.types.is_struct(kind):
        for child in array.flatten():  # pushes the parent's nulls down
            _feed(hasher, child)
        return
    if pa.types.is_map(kind):
        array = array.cast(pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)])))
    if not pa.types.is_fixed_size_list(array.type):
        lengths = np.asarray(pc.fill_null(pc.list_value_length(array), 0)).astype("<i8")
        hasher.update(lengths.view(np.uint8).data)
    _feed(hasher, contiguous(array.flatten()))


def _feed_bytes(hasher: _Hasher, array: pa.Array, valid: np.ndarray | None) -> None:
    ends = byte_offsets(array)
    if valid is not None and (np.diff(ends)[~valid] != 0).any():  # null slots may hold garbage
        array = array.fill_null("" if is_text(array.type) else b"")
        ends = byte_offsets(array)
    hasher.update(np.diff(ends).astype("<i8").view(np.uint8).data)
    if ends[-1] > ends[0]:
        hasher.update(memoryview(array.buffers()[2])[int(ends[0]) : int(ends[-1])])


def byte_offsets(array: pa.Array) -> np.ndarray:
    """The offsets of a string or binary array's values in its data buffer; one more than there are values."""
    wide = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    offsets = np.frombuffer(array.buffers()[1], np.int64 if wide else np.int32)
    return offsets[array.offset : array.offset + len(array) + 1]


def _feed_fixed(hasher: _Hasher, array: pa.Array, valid: np.ndarray | None) -> None:
    kind, rows = array.type, len(array)
    width = kind.bit_width // 8
    values = np.frombuffer(array.buffers()[1], np.uint8)[array.offset * width : (array.offset + rows) * width]
    if pa.types.is_floating(kind):
        numbers = values.view(f"<f{width}")
        nans = np.isnan(numbers)
        if nans.any():
            numbers = numbers.copy()
            numbers[nans] = np.nan
            values = numbers.view(np.uint8)
    if valid is not None:
        cells = values.reshape(rows, width).copy()
        cells[~valid] = 0
        values = cells.reshape(-1)
    hasher.update(values.data)
