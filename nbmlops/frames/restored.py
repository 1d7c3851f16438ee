"""Plain Arrow values as the type they had: the inverse of :mod:`nbmlops.frames.layouts`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nbmlops.frames import digest, layouts


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
        inner, path = layouts.type_below(inner), f"{path}."
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
        cells = np.zeros(len(array), layouts.INTERVAL_BITS)
        for part in layouts.INTERVAL:
            cells[part.name] = np.asarray(array.field(part.name).fill_null(0))
        return pa.Array.from_buffers(kind, len(array), [layouts.validity(array), pa.py_buffer(cells.tobytes())])
    if array.type == kind and not types.is_nested(kind):
        return array
    if types.is_decimal(kind) and types.is_decimal(array.type):
        return layouts.reinterpret(array, kind)
    if types.is_nested(kind):
        if types.is_boolean(array.type):
            empty = [pa.nulls(0, layouts.plain_type(f.type)) for f in layouts.fields_in(kind)]
            inner = zip(empty, layouts.fields_in(kind), strict=True)
            inside = [_restore(e, f.type, entries, f"{path}0/") for e, f in inner]
            return pa.Array.from_buffers(kind, len(array), [layouts.validity(array)], children=inside)
        parts = zip(layouts.children(array), layouts.fields_in(kind), strict=True)
        made = [_restore(c, f.type, entries, f"{path}{i}/") for i, (c, f) in enumerate(parts)]
        return layouts.rebuild(array, kind, made)
    if types.is_fixed_size_binary(kind) and kind.byte_width == 0:
        return pa.Array.from_buffers(kind, len(array), [layouts.validity(array), pa.py_buffer(b"")])
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
    for i, field in enumerate(layouts.fields_in(kind)):
        parts.append(_restore(array.field(i + 1), field.type, entries, f"{path}{i}/"))
    buffers = [None, pa.py_buffer(codes.astype(np.int8).tobytes())]
    if kind.mode == "dense":
        buffers.append(pa.py_buffer(np.arange(len(array), dtype=np.int32).tobytes()))
    return pa.Array.from_buffers(kind, len(array), buffers, children=parts)


def entries(column: pa.ChunkedArray) -> dict[str, pa.Array | None]:
    """The entries of every dictionary inside a column, by path; None where its chunks have more than one can hold."""
    if not layouts.holds(column.type, pa.types.is_dictionary):
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


def ordered_paths(kind: pa.DataType) -> set[str]:
    """The paths of dictionaries whose order has a meaning."""
    return {p for p, f in layouts.walk(pa.field("v", kind), "") if pa.types.is_dictionary(f.type) and f.type.ordered}


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
    elif layouts.fields_in(kind):
        for i, child in enumerate(layouts.children(array)):
            yield from _dictionaries(child, f"{path}{i}/")


# --- codes ------------------------------------------------------------------------------------------------------
def codes(column: pa.ChunkedArray | pa.Array, categories: pa.Array) -> pa.Array:
    """The position of each value in ``categories``; null where the value is null."""
    values, categories = layouts.plain_array(digest.contiguous(column)), layouts.plain_array(categories)
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
        distinct = _distinct(reference)
        ours, theirs = (_with_null(a, distinct) for a in (field, reference))
        total = np.where((ours < 0) | (total < 0), -1, total * (len(distinct) + 1) + ours)
        # Numbered anew after each field, so that many fields do not overflow.
        seen, known = np.unique(known * (len(distinct) + 1) + theirs, return_inverse=True)
        place = np.searchsorted(seen, total).clip(max=max(0, len(seen) - 1))
        total = np.where(seen[place] == total, place, -1) if len(seen) else np.full(len(total), -1)
    found = pc.index_in(pa.array(total), pa.array(known))
    return pc.if_else(values.is_valid(), found, pa.scalar(None, found.type))


def _distinct(values: pa.Array) -> pa.Array:
    """At least the distinct values; all of them where Arrow knows no equality, or the wrong one (0.0 and -0.0)."""
    if pa.types.is_nested(values.type) or pa.types.is_floating(values.type):
        return pc.drop_null(values)
    try:
        return pc.unique(values)
    except pa.ArrowNotImplementedError:
        return pc.drop_null(values)


def _with_null(values: pa.Array, distinct: pa.Array) -> np.ndarray:
    """Codes in which a null has one of its own, the last, and an unknown value has -1."""
    found = np.asarray(codes(values, distinct).fill_null(-1)).astype(np.int64)
    return np.where(np.asarray(values.is_null()), len(distinct), found)
