"""Any table Arrow can make comes back as it was, with one digest however it is laid out."""

from __future__ import annotations

import contextlib

import numpy as np
import pyarrow as pa
import pytest
from arrow_strategies import Labelled, arrays, tables
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbmlops.errors import InvalidValue
from nbmlops.frames import arrow, digest, layouts, parquet

MANY = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


def stored(packed):
    return parquet.read(pa.BufferReader(parquet.write(packed.table)))


def frame_digest(packed):
    return digest.table_digest(packed.table, packed.manifest)[0]


@MANY
@given(tables())
def test_comes_back(table):
    packed = arrow.pack(table)
    back = arrow.unpack(stored(packed), packed.manifest, "arrow")
    assert back.schema.equals(table.schema, check_metadata=True)
    back.validate(full=True)
    again = arrow.pack(back)
    assert frame_digest(again) == frame_digest(packed)
    for a, b in zip(table.columns, back.columns, strict=True):
        assert digest.column_digest(layouts.plain(a)) == digest.column_digest(layouts.plain(b))


@MANY
@given(arrays(6), st.data())
def test_layout_is_not_content(array, data):
    """Slices, chunkings, dictionaries, run-ends and what lies under nulls do not change a digest."""
    wanted = digest_of(array)
    cut = data.draw(st.integers(0, len(array)))
    padded = pa.concat_arrays([array, array]).slice(len(array)) if can_join(array.type) else array
    assert digest_of(padded) == wanted
    assert digest_of(pa.chunked_array([array.slice(0, cut), array.slice(cut)], array.type)) == wanted
    plain = layouts.plain_array(array)
    if not pa.types.is_nested(plain.type) and layouts.plain_type(array.type) == array.type:
        assert digest_of(dictionary(plain)) == wanted
        ends = pa.array(np.arange(1, len(plain) + 1), pa.int32())
        assert digest_of(pa.RunEndEncodedArray.from_arrays(ends, plain)) == wanted


def digest_of(values):
    return frame_digest(arrow.pack(pa.table({"c": values})))


def can_join(kind):
    """Arrow joins neither dictionaries inside others nor dense unions without trouble."""
    return not layouts.holds(kind, lambda t: pa.types.is_dictionary(t) or pa.types.is_union(t))


def dictionary(plain):
    order = np.arange(len(plain))[::-1]
    codes = pa.array(order, mask=np.asarray(plain.is_null()))
    return pa.DictionaryArray.from_arrays(codes, plain.take(pa.array(order)))


@MANY
@given(arrays(4), arrays(4))
def test_other_content_has_another_digest(a, b):
    """Equal digests mean equal plain values and types; only encodings may differ."""
    if digest_of(a) == digest_of(b):
        one, other = layouts.plain_array(a), layouts.plain_array(b)
        assert digest.logical_type(one.type) == digest.logical_type(other.type)
        assert bare(a.type) == bare(b.type)
        with contextlib.suppress(OverflowError, ValueError):  # moments that Python's dates do not reach
            assert list(map(repr, one.to_pylist())) == list(map(repr, other.to_pylist()))


def bare(kind):
    """What the plain values and the digest's notes tell of a type."""
    return layouts.meaning(pa.field("c", kind))


@settings(MANY, max_examples=80)
@given(arrays(4), st.data())
def test_one_value_changed(array, data):
    plain = layouts.plain_array(array)
    i = data.draw(st.integers(0, 3))
    order = [j for j in range(4) if j != i]
    j = data.draw(st.sampled_from(order))
    swapped = list(range(4))
    swapped[i] = j
    moved = plain.take(pa.array(swapped))
    same = digest.column_digest(plain.slice(i, 1)) == digest.column_digest(plain.slice(j, 1))
    assert (digest.column_digest(moved) == digest.column_digest(plain)) is same


TYPES = {
    "list item without nulls": (pa.list_(pa.int8()), pa.list_(pa.field("item", pa.int8(), False))),
    "field without nulls": (pa.struct([("a", pa.int8())]), pa.struct([pa.field("a", pa.int8(), False)])),
    "sorted keys": (pa.map_(pa.string(), pa.int8()), pa.map_(pa.string(), pa.int8(), keys_sorted=True)),
    "extension": (pa.int8(), Labelled(pa.int8(), "a")),
    "parameter": (Labelled(pa.int8(), "b"), Labelled(pa.int8(), "a")),
    "shape": (pa.fixed_shape_tensor(pa.int8(), [2, 3]), pa.fixed_shape_tensor(pa.int8(), [3, 2])),
    "interval": (layouts.INTERVAL, pa.month_day_nano_interval()),
    "scale": (pa.decimal128(5, -2), pa.decimal128(5, 0)),
    "width 0": (pa.binary(), pa.binary(0)),
    "nothing": (pa.struct([]), pa.bool_()),
    "nothing in lists": (pa.struct([]), pa.list_(pa.int8(), 0)),
    "order": (pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int8(), pa.string(), ordered=True)),
    "union mode": (pa.dense_union([pa.field("a", pa.int8())]), pa.sparse_union([pa.field("a", pa.int8())])),
}


@pytest.mark.parametrize("name", TYPES)
def test_types_are_content(name):
    a, b = (pa.table({"c": pa.nulls(2, kind)}) for kind in TYPES[name])
    assert frame_digest(arrow.pack(a)) != frame_digest(arrow.pack(b))


def test_an_unknown_extension_is_content():
    a = pa.schema([pa.field("c", pa.int8(), metadata={"ARROW:extension:name": "x"})])
    tables = [pa.table({"c": pa.array([1], pa.int8())}), pa.Table.from_arrays([pa.array([1], pa.int8())], schema=a)]
    assert len({frame_digest(arrow.pack(t)) for t in tables}) == 2


def test_moments_beyond_parquet_are_kept():
    table = pa.table(
        {
            "s": pa.array([2**60, None], pa.timestamp("s", "UTC")),
            "d": pa.array([86_400_001, None]).view(pa.date64()),
            "t": pa.array([2**31 - 1, None], pa.int32()).view(pa.time32("s")),
        }
    )
    packed = arrow.pack(table)
    assert arrow.unpack(stored(packed), packed.manifest, "arrow").equals(table)
    with pytest.raises(InvalidValue, match=r"column 'l'.*1152921504606846976"):
        arrow.pack(pa.table({"l": pa.array([[2**60]], pa.list_(pa.timestamp("s")))}))


def test_nulls_where_none_are_declared():
    field = pa.field("c", pa.int8(), nullable=False)
    with pytest.raises(InvalidValue, match="column 'c' is declared without nulls and has 1"):
        arrow.pack(pa.Table.from_arrays([pa.array([1, None], pa.int8())], schema=pa.schema([field])))


def test_dictionaries_of_structs():
    """Many fields, zeros of both signs, and decimals that Arrow does not look up."""
    kinds = [("a", pa.float64()), ("d", pa.decimal128(3, 1)), *((str(i), pa.int64()) for i in range(8))]
    rows = [{"a": z, "d": None, **{str(i): i * k for i in range(8)}} for k in range(300) for z in (0.0, -0.0)]
    entries = pa.array(rows, pa.struct(kinds))
    codes = pa.array([*range(599, -1, -1), None], pa.int16())
    table = pa.table({"c": pa.DictionaryArray.from_arrays(codes, entries)})
    packed = arrow.pack(table)
    back = arrow.unpack(stored(packed), packed.manifest, "arrow")
    assert repr(back["c"].to_pylist()) == repr(table["c"].to_pylist())
    assert back["c"].combine_chunks().indices.equals(codes)
