"""Arrow arrays of every type as plain ones that Parquet holds, and back to exactly the type they had.

Plain are numbers, decimals, times, text, bytes, lists, structs that have fields, and maps. The others become:

- dictionaries, run-ends, views and extensions: their values; list views: lists;
- ``month_day_nano_interval``: a struct of ``months``, ``days`` and ``nanoseconds``;
- unions: a struct of the type code and one nullable field per child;
- structs without fields and lists of size 0: a boolean that is true where the value is present;
- binary of width 0: binary; decimals that scale to the left: the unscaled whole number.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nbmlops.frames import digest

INTERVAL = pa.struct([("months", pa.int32()), ("days", pa.int32()), ("nanoseconds", pa.int64())])
INTERVAL_BITS = np.dtype([("months", "<i4"), ("days", "<i4"), ("nanoseconds", "<i8")])
_EXTENSION = b"ARROW:extension:"
_PARAMETERS = ("shape", "permutation", "dim_names", "type_name", "vendor_name")  # of Arrow's own extension types


# --- types ------------------------------------------------------------------------------------------------------
def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type that the values of a type are stored as."""
    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind.storage_type)
    if types.is_string_view(kind) or types.is_binary_view(kind):
        return pa.large_string() if types.is_string_view(kind) else pa.large_binary()
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if types.is_nested(kind):
        return _plain_nested(kind)
    if types.is_fixed_size_binary(kind) and kind.byte_width == 0:
        return pa.binary()
    if types.is_interval(kind):
        return INTERVAL
    if types.is_decimal(kind) and not 0 <= kind.scale <= kind.precision:
        return _decimal(kind, 0)
    return kind


def _plain_nested(kind: pa.DataType) -> pa.DataType:
    types = pa.types
    if types.is_union(kind):
        if not kind.num_fields:
            raise TypeError("a union of no types holds nothing")
        fields = [pa.field(f"{i}_{f.name}", plain_type(f.type)) for i, f in enumerate(fields_in(kind))]
        return pa.struct([pa.field("type", pa.int8()), *fields])
    fields = [_plain_field(f) for f in fields_in(kind)]
    if types.is_struct(kind):
        return pa.struct(fields) if fields else pa.bool_()
    if types.is_map(kind):
        plain = pa.map_(fields[0].with_nullable(False), fields[1], keys_sorted=kind.keys_sorted)
        return kind if plain == kind else plain
    if types.is_fixed_size_list(kind):
        return pa.list_(fields[0], kind.list_size) if kind.list_size else pa.bool_()
    return pa.large_list(fields[0]) if "large_list" in str(kind).partition("<")[0] else pa.list_(fields[0])


def _plain_field(field: pa.Field) -> pa.Field:
    """The field inside a nested type that stores a field; nullable, because what is under a null may be anything."""
    return pa.field(field.name, plain_type(field.type), metadata=field.metadata)


def _decimal(kind: pa.DataType, scale: int) -> pa.DataType:
    name = str(kind).partition("(")[0]
    return getattr(pa, name)(kind.precision, scale)


def fields_in(kind: pa.DataType) -> list[pa.Field]:
    """The fields of a nested type; of a map its key and its value."""
    if pa.types.is_map(kind):
        return [kind.key_field, kind.item_field]
    if pa.types.is_struct(kind) or pa.types.is_union(kind):
        return [kind.field(i) for i in range(kind.num_fields)]
    return [kind.value_field] if pa.types.is_nested(kind) and hasattr(kind, "value_field") else []


def type_below(kind: pa.DataType) -> pa.DataType | None:
    """The type below a layout that has one: an extension, a dictionary, run-ends."""
    if isinstance(kind, pa.BaseExtensionType):
        return kind.storage_type
    return kind.value_type if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind) else None


def meaning(field: pa.Field) -> list[list[Any]]:
    """What the plain type and the digest of the values do not tell, as ``[path, facts]``; empty for most types.

    It is part of a table's digest: two types that differ here are different content.
    """
    found = []
    for path, part in walk(field, ""):
        kind, facts = part.type, dict(_extension(part))
        if path and not part.nullable:
            facts["nullable"] = False
        if pa.types.is_map(kind) and kind.keys_sorted:
            facts["keys_sorted"] = True
        if pa.types.is_union(kind):
            facts["union"] = [kind.mode, list(kind.type_codes), [[f.name, f.nullable] for f in fields_in(kind)]]
        elif _is_told(kind):
            facts["type"] = digest.logical_type(kind)
        if facts:
            found.append([path, facts])
    return found


def is_hollow(kind: pa.DataType) -> bool:
    """Whether the type is a struct without fields or a list of size 0, which hold nothing but their presence."""
    if pa.types.is_struct(kind):
        return kind.num_fields == 0
    return pa.types.is_fixed_size_list(kind) and kind.list_size == 0


def _is_told(kind: pa.DataType) -> bool:
    """Whether the type that stores a type does not tell which one it was."""
    if is_hollow(kind):
        return True
    odd = pa.types.is_decimal(kind) or (pa.types.is_fixed_size_binary(kind) and kind.byte_width == 0)
    return pa.types.is_interval(kind) or (odd and plain_type(kind) != kind)


def walk(field: pa.Field, path: str) -> Iterator[tuple[str, pa.Field]]:
    """A field and every one inside it, by path: ``.`` leads below a layout, ``0/`` to the first child."""
    yield path, field
    kind = field.type
    while (inner := type_below(kind)) is not None:
        kind = inner
        yield f"{path}.", field.with_type(kind).with_nullable(True).remove_metadata()
        path += "."
    for i, child in enumerate(fields_in(kind)):
        # A map's key is never null; only what can be chosen is told.
        fixed = pa.types.is_map(kind) and i == 0
        yield from walk(child.with_nullable(True) if fixed else child, f"{path}{i}/")


def _extension(field: pa.Field) -> Iterator[tuple[str, Any]]:
    kind, metadata = field.type, field.metadata or {}
    if isinstance(kind, pa.BaseExtensionType):
        yield "extension", kind.extension_name
        if hasattr(kind, "__arrow_ext_serialize__"):
            yield "parameters", kind.__arrow_ext_serialize__().hex()
        elif parameters := {k: v for k in _PARAMETERS if (v := getattr(kind, k, None)) is not None}:
            yield "parameters", json.dumps(parameters, sort_keys=True, default=list)
    elif _EXTENSION + b"name" in metadata:
        yield "extension", metadata[_EXTENSION + b"name"].decode(errors="backslashreplace")
        if serialized := metadata.get(_EXTENSION + b"metadata"):
            yield "parameters", serialized.hex()


# --- values to plain --------------------------------------------------------------------------------------------
def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column's values as plain ones; the same column when they are plain already."""
    target = plain_type(column.type)
    if target == column.type:
        return column
    return pa.chunked_array([plain_array(chunk) for chunk in column.chunks], target)


def plain_array(array: pa.Array) -> pa.Array:
    """An array's values as plain ones; the same array when they are plain already."""
    kind, target, types = array.type, plain_type(array.type), pa.types
    if kind == target:
        return array
    if isinstance(kind, pa.BaseExtensionType):
        return plain_array(array.storage)
    if types.is_dictionary(kind):
        return plain_array(array.dictionary).take(array.indices)
    if types.is_run_end_encoded(kind):
        ends = np.asarray(array.run_ends)
        runs = np.searchsorted(ends, np.arange(array.offset, array.offset + len(array)), side="right")
        return plain_array(array.values).take(pa.array(runs))
    if types.is_union(kind):
        return _plain_union(array, target)
    if types.is_interval(kind):
        return _plain_interval(array)
    if types.is_decimal(kind):
        return reinterpret(array, target)
    if types.is_boolean(target):  # nothing but presence
        return pa.Array.from_buffers(target, len(array), [validity(array), array.is_valid().buffers()[1]])
    if types.is_nested(kind):
        return rebuild(array, target, [plain_array(c) for c in children(array)])
    return array.cast(target)


def _plain_interval(array: pa.Array) -> pa.Array:
    width = INTERVAL_BITS.itemsize
    bits = memoryview(array.buffers()[1] or b"")[array.offset * width : (array.offset + len(array)) * width]
    cells = np.frombuffer(bits, INTERVAL_BITS)
    parts = [pa.array(np.ascontiguousarray(cells[f.name]), f.type) for f in INTERVAL]
    return pa.StructArray.from_arrays(parts, fields=list(INTERVAL), mask=array.is_null())


def _plain_union(array: pa.Array, target: pa.DataType) -> pa.Array:
    # From the buffers: pyarrow's type_codes and offsets forget where a slice begins.
    start, stop, bits = array.offset, array.offset + len(array), array.buffers()
    codes = np.frombuffer(bits[1] or b"", np.int8)[start:stop]
    dense = array.type.mode == "dense"
    places = np.frombuffer(bits[2] or b"", np.int32)[start:stop] if dense else np.arange(len(array))
    parts = [pa.array(codes, pa.int8())]
    for i, code in enumerate(array.type.type_codes):
        rows = pa.array(places.astype(np.int64), mask=codes != code)
        child = plain_array(array.field(i))
        parts.append(child.take(rows) if len(child) else pa.nulls(len(array), child.type))
    return pa.StructArray.from_arrays(parts, fields=list(target))


def children(array: pa.Array) -> list[pa.Array]:
    """The values inside a list, struct or map, without what a slice or a null leaves out."""
    kind = array.type
    if pa.types.is_struct(kind):
        return [array.field(i) for i in range(kind.num_fields)]
    if pa.types.is_map(kind):
        return [_entries_of(array, part) for part in (array.keys, array.items)]
    if pa.types.is_fixed_size_list(kind):  # nulls keep their place
        return [array.values.slice(array.offset * kind.list_size, len(array) * kind.list_size)]
    return [array.flatten()]


def rebuild(array: pa.Array, target: pa.DataType, parts: list[pa.Array]) -> pa.Array:
    """An array of another nested type with the same nulls and lengths, around new children."""
    types, buffers = pa.types, [validity(array)]
    if digest.is_list(target) or types.is_map(target):
        ends = np.zeros(len(array) + 1, np.int64)
        np.cumsum(_lengths(array), out=ends[1:])
        width = np.int64 if "large_list" in str(target).partition("<")[0] else np.int32
        if "_view" in str(target).partition("<")[0]:
            buffers += [pa.py_buffer(v.astype(width)) for v in (ends[:-1], np.diff(ends))]
        else:
            buffers.append(pa.py_buffer(ends.astype(width)))
    if types.is_map(target):
        pair = pa.struct([target.key_field, target.item_field])
        parts = [pa.Array.from_buffers(pair, len(parts[0]), [None], children=parts)]
    return pa.Array.from_buffers(target, len(array), buffers, array.null_count, children=parts)


def _lengths(array: pa.Array) -> np.ndarray:
    if pa.types.is_map(array.type):
        lengths = np.diff(_map_offsets(array))
        return np.where(np.asarray(array.is_valid()), lengths, 0)
    return np.asarray(pc.list_value_length(array).fill_null(0)).astype(np.int64)


def _map_offsets(array: pa.Array) -> np.ndarray:
    bits = array.buffers()[1]
    if bits is None or not len(array):
        return np.zeros(len(array) + 1, np.int64)
    return np.frombuffer(bits, np.int32)[array.offset : array.offset + len(array) + 1].astype(np.int64)


def _entries_of(array: pa.Array, part: pa.Array) -> pa.Array:
    """The keys or values of a map array, without those under nulls. (Arrow casts not every map to a list.)"""
    offsets, lengths = _map_offsets(array), _lengths(array)
    first, last = int(offsets[0]), int(offsets[-1])
    if lengths.sum() == last - first:
        return part.slice(first, last - first)
    return pa.concat_arrays([part.slice(int(o), int(n)) for o, n in zip(offsets[:-1], lengths, strict=True)])


def validity(array: pa.Array) -> pa.Buffer | None:
    """The bitmap of an array's nulls from bit 0 on; None without nulls."""
    return array.is_valid().buffers()[1] if array.null_count else None


def reinterpret(array: pa.Array, target: pa.DataType) -> pa.Array:
    """The same bits as another type of the same width."""
    return pa.Array.from_buffers(target, len(array), array.buffers(), offset=array.offset)


def holds(kind: pa.DataType, asked: Callable[[pa.DataType], bool]) -> bool:
    """Whether a type is, or holds, one that is asked for."""
    return any(asked(f.type) for _, f in walk(pa.field("v", kind), ""))
