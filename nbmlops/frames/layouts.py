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
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nbmlops.errors import InvalidValue
from nbmlops.frames import digest

INTERVAL = pa.struct([("months", pa.int32()), ("days", pa.int32()), ("nanoseconds", pa.int64())])
_INTERVAL = np.dtype([("months", "<i4"), ("days", "<i4"), ("nanoseconds", "<i8")])
_EXTENSION = b"ARROW:extension:"
_PARAMETERS = ("shape", "permutation", "dim_names", "type_name", "vendor_name")  # of Arrow's own extension types
# Seconds and days become milliseconds and days in Parquet: beyond these limits they would not come back.
_LIMITS = {"timestamp[s]": 2**63 // 1000 - 1, "time32[s]": 2**31 // 1000 - 1}


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
        fields = [pa.field(f"{i}_{f.name}", plain_type(f.type)) for i, f in enumerate(_fields(kind))]
        return pa.struct([pa.field("type", pa.int8()), *fields])
    fields = [_plain_field(f) for f in _fields(kind)]
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


def _fields(kind: pa.DataType) -> list[pa.Field]:
    """The fields of a nested type; of a map its key and its value."""
    if pa.types.is_map(kind):
        return [kind.key_field, kind.item_field]
    if pa.types.is_struct(kind) or pa.types.is_union(kind):
        return [kind.field(i) for i in range(kind.num_fields)]
    return [kind.value_field] if pa.types.is_nested(kind) and hasattr(kind, "value_field") else []


def _inner(kind: pa.DataType) -> pa.DataType | None:
    """The type below a layout that has one: an extension, a dictionary, run-ends."""
    if isinstance(kind, pa.BaseExtensionType):
        return kind.storage_type
    return kind.value_type if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind) else None


def meaning(field: pa.Field) -> list[list[Any]]:
    """What the plain type and the digest of the values do not tell, as ``[path, facts]``; empty for most types.

    It is part of a table's digest: two types that differ here are different content.
    """
    found = []
    for path, part in _walk(field, ""):
        kind, facts = part.type, dict(_extension(part))
        if path and not part.nullable:
            facts["nullable"] = False
        if pa.types.is_map(kind) and kind.keys_sorted:
            facts["keys_sorted"] = True
        if pa.types.is_union(kind):
            facts["union"] = [kind.mode, list(kind.type_codes), [[f.name, f.nullable] for f in _fields(kind)]]
        elif pa.types.is_interval(kind):
            facts["type"] = str(kind)
        elif pa.types.is_nested(kind) and pa.types.is_boolean(plain_type(kind)):
            facts["type"] = digest.logical_type(kind)
        elif pa.types.is_decimal(kind) and plain_type(kind) != kind:
            facts["type"] = str(kind)
        elif pa.types.is_fixed_size_binary(kind) and kind.byte_width == 0:
            facts["type"] = str(kind)
        if facts:
            found.append([path, facts])
    return found


def _walk(field: pa.Field, path: str) -> Iterator[tuple[str, pa.Field]]:
    yield path, field
    kind = field.type
    while (inner := _inner(kind)) is not None:
        kind = inner
        yield f"{path}.", field.with_type(kind).with_nullable(True).remove_metadata()
        path += "."
    for i, child in enumerate(_fields(kind)):
        # A map's key is never null; only what can be chosen is told.
        fixed = pa.types.is_map(kind) and i == 0
        yield from _walk(child.with_nullable(True) if fixed else child, f"{path}{i}/")


def _extension(field: pa.Field) -> Iterator[tuple[str, Any]]:
    kind, metadata = field.type, field.metadata or {}
    if isinstance(kind, pa.BaseExtensionType):
        yield "extension", kind.extension_name
        if hasattr(kind, "__arrow_ext_serialize__"):
            yield "parameters", kind.__arrow_ext_serialize__().hex()
        elif told := {k: v for k in _PARAMETERS if (v := getattr(kind, k, None)) is not None}:
            yield "parameters", json.dumps(told, sort_keys=True, default=list)
    elif _EXTENSION + b"name" in metadata:
        yield "extension", metadata[_EXTENSION + b"name"].decode(errors="backslashreplace")
        if told := metadata.get(_EXTENSION + b"metadata"):
            yield "parameters", told.hex()


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
        cells = np.frombuffer(array.buffers()[1], _INTERVAL)[array.offset : array.offset + len(array)]
        parts = [pa.array(np.ascontiguousarray(cells[f.name]), f.type) for f in INTERVAL]
        return pa.StructArray.from_arrays(parts, fields=list(INTERVAL), mask=array.is_null())
    if types.is_decimal(kind):
        return _reinterpret(array, target)
    if types.is_boolean(target):  # nothing but presence
        return pa.Array.from_buffers(target, len(array), [_validity(array), array.is_valid().buffers()[1]])
    if types.is_nested(kind):
        return _rebuild(array, target, [plain_array(c) for c in children(array)])
    return array.cast(target)


def _plain_union(array: pa.Array, target: pa.DataType) -> pa.Array:
    codes = np.asarray(array.type_codes)
    places = np.asarray(array.offsets) if array.type.mode == "dense" else np.arange(len(array))
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
        fields = [kind.key_field.with_nullable(True), kind.item_field]
        return array.cast(pa.list_(pa.struct(fields))).flatten().flatten()
    if pa.types.is_fixed_size_list(kind):  # nulls keep their place
        return [array.values.slice(array.offset * kind.list_size, len(array) * kind.list_size)]
    return [array.flatten()]


def _rebuild(array: pa.Array, target: pa.DataType, parts: list[pa.Array]) -> pa.Array:
    """An array of another nested type with the same nulls and lengths, around new children."""
    types, buffers = pa.types, [_validity(array)]
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
        array = array.cast(pa.list_(pa.struct([array.type.key_field, array.type.item_field])))
    lengths = array.value_lengths() if hasattr(array, "value_lengths") else pc.list_value_length(array)
    return np.asarray(lengths.fill_null(0)).astype(np.int64)


def _validity(array: pa.Array) -> pa.Buffer | None:
    return array.is_valid().buffers()[1] if array.null_count else None


def _reinterpret(array: pa.Array, target: pa.DataType) -> pa.Array:
    """The same bits as another type of the same width."""
    return pa.Array.from_buffers(target, len(array), array.buffers(), offset=array.offset)


# --- plain values back ------------------------------------------------------------------------------------------
def restore_column(
    column: pa.ChunkedArray, kind: pa.DataType, entries: Mapping[str, pa.Array] | None = None
) -> pa.ChunkedArray:
    """Plain values as the type they had.

    Args:
        column: what :func:`plain` made of a column of this type.
        kind: the type it had.
        entries: of dictionaries, by path, as :func:`entries` gives them.
    """
    entries = entries or {}
    if _identical(column.type, kind) and not entries:
        return column
    rows = _rows(kind, entries)
    made = []
    for chunk in column.chunks or [pa.nulls(0, column.type)]:
        for start in range(0, max(1, len(chunk)), rows):
            made.append(_restore(chunk.slice(start, rows), kind, entries, ""))
    return pa.chunked_array(made, kind)


def _identical(a: pa.DataType, b: pa.DataType) -> bool:
    """Equality of types that also looks at the names of list items, which Parquet writes as ``element``."""
    return a.equals(b, check_metadata=True)


def _rows(kind: pa.DataType, entries: Mapping[str, pa.Array]) -> int:
    """How many rows fit one chunk: run ends and indexes of 8 or 16 bits count no further."""
    inner: pa.DataType | None = kind
    rows, path = 1 << 40, ""
    while inner is not None:
        if pa.types.is_run_end_encoded(inner):
            rows = min(rows, _capacity(inner.run_end_type))
        elif pa.types.is_dictionary(inner) and path not in entries:
            rows = min(rows, _capacity(inner.index_type))
        inner, path = _inner(inner), f"{path}."
    return rows


def _restore(array: pa.Array, kind: pa.DataType, entries: Mapping[str, pa.Array], path: str) -> pa.Array:
    types = pa.types
    if _identical(array.type, kind) and not any(e.startswith(path) for e in entries):
        return array
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, _restore(array, kind.storage_type, entries, f"{path}."))
    if types.is_dictionary(kind):
        return _dictionary(array, kind, entries, path)
    if types.is_run_end_encoded(kind):
        return _run_ends(_restore(array, kind.value_type, entries, f"{path}."), kind)
    if types.is_union(kind):
        return _union(array, kind, entries, path)
    if types.is_interval(kind):
        cells = np.zeros(len(array), _INTERVAL)
        for part in INTERVAL:
            cells[part.name] = np.asarray(array.field(part.name).fill_null(0))
        return pa.Array.from_buffers(kind, len(array), [_validity(array), pa.py_buffer(cells.tobytes())])
    if array.type == kind and not types.is_nested(kind):
        return array
    if types.is_decimal(kind) and types.is_decimal(array.type):
        return _reinterpret(array, kind)
    if types.is_nested(kind):
        if types.is_boolean(array.type):
            inside = [pa.nulls(0, f.type) for f in _fields(kind)]
            return pa.Array.from_buffers(kind, len(array), [_validity(array)], children=inside)
        parts = zip(children(array), _fields(kind), strict=True)
        made = [_restore(c, f.type, entries, f"{path}{i}/") for i, (c, f) in enumerate(parts)]
        return _rebuild(array, kind, made)
    if types.is_fixed_size_binary(kind) and kind.byte_width == 0:
        return pa.Array.from_buffers(kind, len(array), [_validity(array), pa.py_buffer(b"")])
    return array.cast(kind)


def _dictionary(array: pa.Array, kind: pa.DataType, entries: Mapping[str, pa.Array], path: str) -> pa.Array:
    known = entries.get(path)
    if known is None:
        values = _restore(array, kind.value_type, entries, f"{path}.")
        try:
            made = values.dictionary_encode()
            positions, known = made.indices, made.dictionary
        except pa.ArrowException:  # Arrow encodes no nested values
            positions, known = pa.array(np.arange(len(values)), mask=np.asarray(values.is_null())), values
    else:
        positions = codes(array, known)
    return pa.DictionaryArray.from_arrays(positions.cast(kind.index_type), known, ordered=kind.ordered)


def _run_ends(values: pa.Array, kind: pa.DataType) -> pa.Array:
    ends = pa.array(np.arange(1, len(values) + 1), kind.run_end_type)
    try:
        encoded = pc.run_end_encode(values, kind.run_end_type)
    except pa.ArrowException:  # values that Arrow does not compare
        return pa.RunEndEncodedArray.from_arrays(ends, values, kind)
    return encoded if encoded.type == kind else pa.RunEndEncodedArray.from_arrays(ends, values, kind)


def _union(array: pa.Array, kind: pa.DataType, entries: Mapping[str, pa.Array], path: str) -> pa.Array:
    codes = np.asarray(array.field(0).fill_null(kind.type_codes[0]))
    parts = []
    for i, field in enumerate(_fields(kind)):
        parts.append(_restore(array.field(i + 1), field.type, entries, f"{path}{i}/"))
    buffers = [None, pa.py_buffer(codes.astype(np.int8).tobytes())]
    if kind.mode == "dense":
        buffers.append(pa.py_buffer(np.arange(len(array), dtype=np.int32).tobytes()))
    return pa.Array.from_buffers(kind, len(array), buffers, children=parts)


def entries(column: pa.ChunkedArray) -> dict[str, pa.Array | None]:
    """The entries of every dictionary inside a column, by path; None where its chunks have more than one can hold."""
    if not _has(column.type, pa.types.is_dictionary):
        return {}
    found: dict[str, list[pa.DictionaryArray]] = {}
    for chunk in column.chunks or [pa.nulls(0, column.type)]:
        for path, array in _dictionaries(chunk, ""):
            found.setdefault(path, []).append(array)
    return {path: _entries(arrays) for path, arrays in found.items()}


def _entries(arrays: list[pa.DictionaryArray]) -> pa.Array | None:
    first, kind = arrays[0].dictionary, arrays[0].type
    if all(a.dictionary.equals(first) for a in arrays[1:]):
        return first
    try:
        return pa.chunked_array(arrays).unify_dictionaries().chunk(0).dictionary
    except pa.ArrowException:  # nested values, or more than the index type counts
        joined = pa.concat_arrays([a.dictionary for a in arrays])
        return joined if len(joined) <= _capacity(kind.index_type) else None


def _capacity(kind: pa.DataType) -> int:
    return int(np.iinfo(kind.to_pandas_dtype()).max)


def _has(kind: pa.DataType, asked: Callable[[pa.DataType], bool]) -> bool:
    return any(asked(f.type) for _, f in _walk(pa.field("v", kind), ""))


def ordered_paths(kind: pa.DataType) -> set[str]:
    """The paths of dictionaries whose order has a meaning."""
    return {p for p, f in _walk(pa.field("v", kind), "") if pa.types.is_dictionary(f.type) and f.type.ordered}


def _dictionaries(array: pa.Array, path: str) -> Iterator[tuple[str, pa.DictionaryArray]]:
    kind = array.type
    if pa.types.is_dictionary(kind):
        yield path, array
    elif isinstance(kind, pa.BaseExtensionType):
        yield from _dictionaries(array.storage, f"{path}.")
    elif pa.types.is_run_end_encoded(kind):
        yield from _dictionaries(array.values, f"{path}.")
    elif pa.types.is_union(kind):
        for i in range(kind.num_fields):
            yield from _dictionaries(array.field(i), f"{path}{i}/")
    elif _fields(kind):
        for i, child in enumerate(children(array)):
            yield from _dictionaries(child, f"{path}{i}/")


def as_numbers(table: pa.Table) -> tuple[pa.Table, pa.Schema | None]:
    """The table with seconds and days that Parquet cannot hold as whole numbers, and the fields that it changed.

    Raises:
        InvalidValue: such values inside lists, structs or maps.
    """
    changed, faults = [], []
    for i, field in enumerate(table.schema):
        if not _has(field.type, _is_coarse):
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
        found = (beyond_parquet(c) for c in children(array))
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


# --- codes ------------------------------------------------------------------------------------------------------
def codes(column: pa.ChunkedArray | pa.Array, categories: pa.Array) -> pa.Array:
    """The position of each value in ``categories``; null where the value is null."""
    values, categories = plain_array(digest.contiguous(column)), plain_array(categories)
    if not len(categories):
        return pa.nulls(len(values), pa.int32())
    kind = categories.type
    if kind != values.type:
        values = values.cast(kind)
    if pa.types.is_decimal(kind) and kind.bit_width < 128:  # Arrow looks up wider ones only
        kind = pa.decimal128(kind.precision, kind.scale)
        values, categories = values.cast(kind), categories.cast(kind)
    if pa.types.is_floating(kind):
        return pc.index_in(_bits(values), _bits(categories), skip_nulls=True)
    if pa.types.is_struct(kind):
        return _struct_codes(values, categories)
    if pa.types.is_nested(kind):
        known = {digest.column_digest(categories.slice(i, 1)): i for i in range(len(categories))}
        found = (known.get(digest.column_digest(values.slice(i, 1))) for i in range(len(values)))
        return pa.array(found, pa.int32(), mask=np.asarray(values.is_null()))
    return pc.index_in(values, categories, skip_nulls=True)


def _bits(values: pa.Array) -> pa.Array:
    """Floats as whole numbers: -0.0 is not 0.0, and every NaN is the same."""
    whole = {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[values.type.bit_width]
    nan = pa.array([np.nan], values.type).view(whole)[0]
    odd = pc.is_nan(values if values.type.bit_width > 16 else values.cast(pa.float32()))
    return pc.if_else(odd, nan, values.view(whole))


def _struct_codes(values: pa.Array, categories: pa.Array) -> pa.Array:
    """Codes of structs (the two ends of intervals): each field's codes combined into one number."""
    total, known = np.zeros(len(values), np.int64), np.zeros(len(categories), np.int64)
    for field, reference in zip(values.flatten(), categories.flatten(), strict=True):
        distinct = pc.drop_null(reference) if pa.types.is_nested(reference.type) else pc.unique(reference)
        ours, theirs = (_with_null(a, distinct) for a in (field, reference))
        total = np.where((ours < 0) | (total < 0), -1, total * (len(distinct) + 1) + ours)
        known = known * (len(distinct) + 1) + theirs
    found = pc.index_in(pa.array(total), pa.array(known))
    return pc.if_else(values.is_valid(), found, pa.scalar(None, found.type))


def _with_null(values: pa.Array, distinct: pa.Array) -> np.ndarray:
    """Codes in which a null has one of its own, the last, and an unknown value has -1."""
    found = np.asarray(codes(values, distinct).fill_null(-1)).astype(np.int64)
    return np.where(np.asarray(values.is_null()), len(distinct), found)
