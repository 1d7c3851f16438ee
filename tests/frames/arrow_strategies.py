"""Arrow types and arrays of every kind, for hypothesis: nested, encoded, sliced, chunked, with garbage under nulls."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from nbmlops.frames import layouts

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
WIDTHS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}
UNITS = ["s", "ms", "us", "ns"]
ZONES = [None, "UTC", "Europe/Berlin", "+02:00"]


class Labelled(pa.ExtensionType):
    """A type of a user, with a parameter."""

    def __init__(self, storage, label):
        self.label = label
        super().__init__(storage, "tests.labelled")

    def __arrow_ext_serialize__(self):
        return self.label.encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage, serialized):
        return cls(storage, serialized.decode())


def _decimals(draw):
    name, most = draw(st.sampled_from([("decimal128", 38), ("decimal256", 76), ("decimal32", 9), ("decimal64", 18)]))
    if not hasattr(pa, name):
        name, most = "decimal128", 38
    precision = draw(st.integers(1, most))
    return getattr(pa, name)(precision, draw(st.integers(-3, precision + 2)))


@st.composite
def leaf_types(draw):
    """Types without children."""
    kind = draw(st.sampled_from(["int", "timestamp", "duration", "decimal", *_CHOICES]))
    if kind == "int":
        return getattr(pa, draw(st.sampled_from(["", "u"])) + draw(st.sampled_from(list(WIDTHS))))()
    if kind == "decimal":
        return _decimals(draw)
    if kind in {"timestamp", "duration"}:
        unit = draw(st.sampled_from(UNITS))
        return pa.duration(unit) if kind == "duration" else pa.timestamp(unit, draw(st.sampled_from(ZONES)))
    return draw(_CHOICES[kind])


_CHOICES = {
    "float": st.sampled_from([pa.float16(), pa.float32(), pa.float64()]),
    "bool": st.just(pa.bool_()),
    "text": st.sampled_from([pa.string(), pa.large_string(), pa.string_view()]),
    "binary": st.sampled_from([pa.binary(), pa.large_binary(), pa.binary_view()]),
    "fixed": st.integers(0, 3).map(pa.binary),
    "date": st.sampled_from([pa.date32(), pa.date64()]),
    "time": st.sampled_from([pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")]),
    "null": st.just(pa.null()),
    "interval": st.just(pa.month_day_nano_interval()),
}


@st.composite
def arrays(draw, size, depth=2):
    """An array of ``size`` values of any type, nested up to ``depth`` levels."""
    if depth and draw(st.booleans()):
        return draw(NESTED[draw(st.sampled_from(sorted(NESTED)))](size, depth - 1))
    return draw(leaves(size, draw(leaf_types())))


@st.composite
def leaves(draw, size, kind):
    """An array of a type without children; sliced, and with garbage in the slots of nulls."""
    before = draw(st.integers(0, 2))
    total = size + before
    if pa.types.is_null(kind):
        return pa.nulls(total).slice(before)
    present = np.array(draw(st.lists(st.integers(0, 3).map(bool), min_size=total, max_size=total)), bool)
    validity = pa.array(present).buffers()[1] if total and draw(st.booleans()) else None
    if kind in {pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view()}:
        texts = draw(st.lists(TEXT, min_size=total, max_size=total))
        made = pa.array(texts, pa.large_string()).cast(pa.large_binary())
        whole = pa.Array.from_buffers(pa.large_binary(), total, [validity, *made.buffers()[1:]])
        whole = whole if "binary" in str(kind) else whole.cast(pa.large_string())
        return (whole if whole.type == kind else whole.cast(kind)).slice(before)
    numbers = draw(_bits(kind, total))
    return pa.Array.from_buffers(kind, total, [validity, pa.py_buffer(numbers)]).slice(before)


def _bits(kind, total):
    """The bytes of ``total`` values: any bits where any are allowed, NaN payloads and extremes among them."""
    if pa.types.is_boolean(kind):
        return st.binary(min_size=total // 8 + 1, max_size=total // 8 + 1)
    if pa.types.is_decimal(kind):
        most = 10**kind.precision - 1
        value = st.integers(-min(most, 10**12), min(most, 10**12)) | st.sampled_from([most, -most])
        width = kind.byte_width if hasattr(kind, "byte_width") else kind.bit_width // 8
        return _joined(value.map(lambda v: v.to_bytes(width, "little", signed=True)), total)
    if pa.types.is_date64(kind):
        days = st.integers(-(10**6), 10**6).map(lambda v: v * 86_400_000)
        return _joined(days.map(lambda v: v.to_bytes(8, "little", signed=True)), total)
    if pa.types.is_time(kind):
        width = kind.bit_width // 8
        most = 86_400 * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit] - 1
        return _joined(st.integers(0, most).map(lambda v: v.to_bytes(width, "little")), total)
    if pa.types.is_timestamp(kind) and kind.unit == "s":
        return _joined(st.integers(-(2**53), 2**53).map(lambda v: v.to_bytes(8, "little", signed=True)), total)
    width = 16 if pa.types.is_interval(kind) else kind.bit_width // 8
    plain = st.integers(0, 3).map(lambda v: v.to_bytes(width, "little") if width else b"")
    return _joined(plain | st.binary(min_size=width, max_size=width), total)


def _joined(cells, total):
    return st.lists(cells, min_size=total, max_size=total).map(b"".join)


def fields(draw, child):
    """A field for an array: without nulls only where there are none."""
    nullable = pa.types.is_null(child.type) or layouts.plain_array(child).null_count > 0 or draw(st.booleans())
    return pa.field(draw(TEXT), child.type, nullable)


@st.composite
def _lists(draw, size, depth):
    lengths = draw(st.lists(st.none() | st.integers(0, 3), min_size=size, max_size=size))
    ends = np.cumsum([0, *(n or 0 for n in lengths)])
    child = draw(arrays(int(ends[-1]), depth))
    field = fields(draw, child)
    make = draw(st.sampled_from([pa.list_, pa.large_list, pa.list_view, pa.large_list_view]))
    kind, wide = make(field), np.int64 if "large" in make.__name__ else np.int32
    buffers = [pa.array([n is not None for n in lengths], pa.bool_()).buffers()[1]]
    if "view" in make.__name__:
        buffers += [pa.py_buffer(ends[:-1].astype(wide)), pa.py_buffer(np.diff(ends).astype(wide))]
    else:
        buffers.append(pa.py_buffer(ends.astype(wide)))
    return pa.Array.from_buffers(kind, size, buffers, children=[child])


@st.composite
def _fixed_lists(draw, size, depth):
    width = draw(st.integers(0, 2))
    child = draw(arrays(size * width, depth))
    present = pa.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)), pa.bool_()).buffers()[1]
    kind = pa.list_(fields(draw, child), width)
    return pa.Array.from_buffers(kind, size, [present], children=[child])


@st.composite
def _structs(draw, size, depth):
    parts = [draw(arrays(size, depth)) for _ in range(draw(st.integers(0, 3)))]
    present = pa.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)), pa.bool_()).buffers()[1]
    names = draw(st.lists(TEXT.filter(bool), min_size=len(parts), max_size=len(parts), unique=True))
    kind = pa.struct([fields(draw, p).with_name(n) for n, p in zip(names, parts, strict=True)])
    return pa.Array.from_buffers(kind, size, [present], children=parts)


@st.composite
def _maps(draw, size, depth):
    lengths = draw(st.lists(st.none() | st.integers(0, 2), min_size=size, max_size=size))
    ends = np.cumsum([0, *(n or 0 for n in lengths)])
    keys = pa.array([str(i) for i in range(ends[-1])], draw(st.sampled_from([pa.string(), pa.large_string()])))
    items = draw(arrays(int(ends[-1]), depth))
    kind = pa.map_(keys.type, pa.field("value", items.type), keys_sorted=draw(st.booleans()))
    pair = pa.Array.from_buffers(
        pa.struct([kind.key_field, kind.item_field]), len(keys), [None], children=[keys, items]
    )
    present = pa.array([n is not None for n in lengths], pa.bool_()).buffers()[1]
    return pa.Array.from_buffers(kind, size, [present, pa.py_buffer(ends.astype(np.int32))], children=[pair])


def _can_be_entries(array):
    """Arrow does not write dictionaries of these: their reader would see another type."""
    return not isinstance(array, pa.ExtensionArray | pa.DictionaryArray)


@st.composite
def _encoded(draw, size, depth):
    values = draw(arrays(draw(st.integers(1, 4)), depth).filter(_can_be_entries))
    if draw(st.booleans()):
        index = getattr(pa, draw(st.sampled_from(["int8", "uint8", "int32", "uint32", "int64"])))()
        codes = draw(st.lists(st.none() | st.integers(0, len(values) - 1), min_size=size, max_size=size))
        return pa.DictionaryArray.from_arrays(pa.array(codes, index), values, ordered=draw(st.booleans()))
    values = draw(leaves(size, draw(leaf_types())))
    ends = pa.array(np.arange(1, size + 1), draw(st.sampled_from([pa.int16(), pa.int32(), pa.int64()])))
    return pa.RunEndEncodedArray.from_arrays(ends, values)


@st.composite
def _unions(draw, size, depth):
    codes = draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
    names = draw(st.lists(TEXT, min_size=2, max_size=2))
    if draw(st.booleans()):
        parts = [draw(arrays(size, depth)) for _ in range(2)]
        return pa.UnionArray.from_sparse(pa.array(codes, pa.int8()), parts, names)
    places = [codes[:i].count(c) for i, c in enumerate(codes)]
    parts = [draw(arrays(codes.count(c), depth)) for c in range(2)]
    return pa.UnionArray.from_dense(pa.array(codes, pa.int8()), pa.array(places, pa.int32()), parts, names)


@st.composite
def _extensions(draw, size, depth):
    storage = draw(arrays(size, depth).filter(lambda a: not isinstance(a, pa.ExtensionArray)))
    return pa.ExtensionArray.from_storage(Labelled(storage.type, draw(TEXT)), storage)


NESTED = {
    "list": _lists,
    "fixed": _fixed_lists,
    "struct": _structs,
    "map": _maps,
    "encoded": _encoded,
    "union": _unions,
    "extension": _extensions,
}


@st.composite
def tables(draw, most=5):
    """Tables of up to three columns, in chunks, with metadata."""
    size = draw(st.integers(0, most))
    names = draw(st.lists(TEXT, max_size=3, unique=True))
    made = [draw(arrays(size)) for _ in names]
    cut = draw(st.integers(0, size))
    columns = [pa.chunked_array([a.slice(0, cut), a.slice(cut)]) if draw(st.booleans()) else a for a in made]
    kinds = [pa.field(n, a.type, True, draw(st.none() | st.just({"k": "v"}))) for n, a in zip(names, made, strict=True)]
    return pa.Table.from_arrays(columns, schema=pa.schema(kinds, draw(st.none() | st.just({"about": "all"}))))
