"""Equal content has one digest however it is laid out; different content has another."""

from __future__ import annotations

import io
import struct

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbmlops.frames import arrow, digest

H = digest.column_digest
INTS = pa.array([1, None, 3, 4, None], pa.int64())
TEXT = pa.array(["a", None, "ccc", ""])
LISTS = pa.array([[1.0, 2.0], None, [], [3.0]])
STRUCTS = pa.array([{"x": 1, "y": "a"}, None, {"x": None, "y": "b"}])
CODES = pa.array(list("xyzxyz"))
NAN = float("nan")


def nan_bits(bits):
    return pa.Array.from_buffers(pa.float64(), 2, [None, pa.py_buffer(struct.pack("<QQ", bits, 0x3FF0000000000000))])


EQUAL = {
    "offset": (INTS, pa.concat_arrays([pa.array([7, 8]), INTS]).slice(2)),
    "garbage under nulls": (
        INTS,
        pa.Array.from_buffers(pa.int64(), 5, [INTS.buffers()[0], pa.py_buffer(np.array([1, 99, 3, 4, 77]).tobytes())]),
    ),
    "garbage under null text": (
        TEXT,
        pa.Array.from_buffers(
            pa.string(),
            4,
            [TEXT.buffers()[0], pa.py_buffer(np.array([0, 1, 3, 6, 6], np.int32).tobytes()), pa.py_buffer(b"aXXccc")],
        ),
    ),
    "bit offset": (pa.array([True, False, True]), pa.array([False] * 3 + [True, False, True]).slice(3)),
    "bit offset with nulls": (pa.array([None, True]), pa.array([True, None, True]).slice(1)),
    "large text": (TEXT, TEXT.cast(pa.large_string())),
    "text view": (TEXT, TEXT.cast(pa.string_view())),
    "dictionary": (CODES, CODES.dictionary_encode()),
    "dictionary order and unused": (
        CODES,
        pa.DictionaryArray.from_arrays(pa.array([2, 1, 0, 2, 1, 0], pa.int8()), pa.array(["z", "y", "x", "unused"])),
    ),
    "run ends": (pa.array([1, 1, 2]), pc.run_end_encode(pa.array([1, 1, 2]))),
    "NaN payload": (nan_bits(0x7FF8000000000000), nan_bits(0xFFF8000000000123)),
    "list slice": (LISTS.slice(1), pa.array([None, [], [3.0]])),
    "large list": (LISTS, LISTS.cast(pa.large_list(pa.float64()))),
    "list view": (LISTS, pa.array(LISTS.to_pylist(), pa.list_view(pa.float64()))),
    "large list view": (LISTS.slice(1), pa.array(LISTS.to_pylist(), pa.large_list_view(pa.float64())).slice(1)),
    "list view inside": (
        pa.array([[[1], None], [[2]]], pa.list_(pa.list_(pa.int8()))),
        pa.array([[[1], None], [[2]]], pa.list_(pa.list_view(pa.int8()))),
    ),
    "struct slice": (STRUCTS.slice(1), pa.array([{"x": 1, "y": "q"}, None, {"x": None, "y": "b"}]).slice(1)),
    "chunks": (pa.chunked_array([[1, 2], [3]]), pa.chunked_array([[1], [], [2, 3]])),
    "full bitmap": (
        pa.array([1, 2, 3]),
        pa.Array.from_buffers(pa.int64(), 3, [pa.py_buffer(b"\xff"), pa.array([1, 2, 3]).buffers()[1]]),
    ),
    "decimal slice": (pa.array([1, 2, None], pa.decimal128(10, 2)).slice(1), pa.array([2, None], pa.decimal128(10, 2))),
    "half floats": (pa.array(np.array([1, 2], np.float16)), pa.array(np.array([0, 1, 2], np.float16)).slice(1)),
    "null type": (pa.nulls(3), pa.nulls(5).slice(2)),
    "fixed lists": (
        pa.array([[1.0, 2.0], None], pa.list_(pa.float64(), 2)),
        pa.array([[9.0, 9.0], [1.0, 2.0], None], pa.list_(pa.float64(), 2)).slice(1),
    ),
    "maps": (
        pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())),
        pa.array([[], [("a", 1)]], pa.map_(pa.string(), pa.int8())).slice(1),
    ),
    "UTC spelled": (pa.array([1], pa.timestamp("us", "UTC")), pa.array([1], pa.timestamp("us", "Etc/UTC"))),
}
DIFFERENT = {
    "width": (pa.array([1], pa.int32()), pa.array([1])),
    "sign": (pa.array([1]), pa.array([1], pa.uint64())),
    "negative zero": (pa.array([0.0]), pa.array([-0.0])),
    "null and NaN": (pa.array([None], pa.float64()), pa.array([NAN], from_pandas=False)),
    "null and empty": (pa.array([None], pa.string()), pa.array([""])),
    "text borders": (pa.array(["ab", "c"]), pa.array(["a", "bc"])),
    "null and empty list": (pa.array([[], None], pa.list_(pa.int8())), pa.array([None, []], pa.list_(pa.int8()))),
    "list borders": (pa.array([[1], [2, 3]]), pa.array([[1, 2], [3]])),
    "unit": (pa.array([1], pa.timestamp("us")), pa.array([1], pa.timestamp("ns"))),
    "zone": (pa.array([1], pa.timestamp("us")), pa.array([1], pa.timestamp("us", "UTC"))),
    "order": (pa.array([1, 2]), pa.array([2, 1])),
    "text and bytes": (pa.array(["a"]), pa.array([b"a"])),
    "rows": (pa.nulls(2), pa.nulls(3)),
    "scale": (pa.array([1], pa.decimal128(10, 2)), pa.array([1], pa.decimal128(10, 3))),
}


@pytest.mark.parametrize("name", EQUAL)
def test_equal(name):
    a, b = EQUAL[name]
    assert H(a) == H(b)


@pytest.mark.parametrize("name", DIFFERENT)
def test_different(name):
    a, b = DIFFERENT[name]
    assert H(a) != H(b)


def test_pinned():
    """The definition must never change: versions in existing stores would no longer be recognised."""
    table = pa.table({"a": INTS.slice(0, 4), "t": TEXT, "l": LISTS, "f": pa.array([0.0, -0.0, NAN, None])})
    assert (
        digest.table_digest(table, {"engine": "arrow"})[0]
        == "blake3:488882344a0720d96fa134914c9533fc26a730df319efebd1f4c6964d09b606d"
    )


def test_through_parquet_and_other_engines():
    table = pa.table(
        {
            "a": INTS.slice(0, 4),
            "t": TEXT,
            "f": pa.array([0.0, -0.0, NAN, None]),
            "c": CODES.slice(2).dictionary_encode(),
        }
    )
    file = io.BytesIO()
    pq.write_table(table, file)
    for back in (pq.read_table(io.BytesIO(file.getvalue())), pl.read_parquet(io.BytesIO(file.getvalue())).to_arrow()):
        assert [H(c) for c in back.columns] == [H(c) for c in table.columns]


def frame_digest(data):
    packed = arrow.pack(data)
    return digest.table_digest(packed.table, packed.manifest)[0]


BASE = pd.DataFrame({"a": [1, 2], "c": pd.Categorical(["x", "y"])})
CHANGED = {
    "name": BASE.rename(columns={"a": "b"}),
    "column order": BASE[["c", "a"]],
    "index": BASE.set_index(pd.Index([5, 6])),
    "range": BASE.set_index(pd.RangeIndex(1, 3)),
    "index name": BASE.rename_axis("i"),
    "category order": BASE.assign(c=pd.Categorical(["x", "y"], categories=["y", "x"])),
    "ordered": BASE.assign(c=pd.Categorical(["x", "y"], ordered=True)),
    "unused category": BASE.assign(c=pd.Categorical(["x", "y"], categories=["x", "y", "z"])),
    "no category": BASE.assign(c=["x", "y"]),
    "nullable": BASE.assign(a=pd.array([1, 2], dtype="Int64")),
    "object": BASE.assign(a=pd.Series([1, 2], dtype=object)),
}


@pytest.mark.parametrize("name", CHANGED)
def test_dtypes_are_content(name):
    assert frame_digest(BASE) != frame_digest(CHANGED[name])


def test_layout_is_not_content():
    assert frame_digest(BASE) == frame_digest(pd.concat([BASE.iloc[:1], BASE.iloc[1:]]).reset_index(drop=True))
    big = pd.concat([BASE] * 3).iloc[2:4].reset_index(drop=True)
    assert frame_digest(BASE) == frame_digest(big)
    table = pa.table({"s": ["a", "b", "a"]})
    encoded = table.set_column(0, "s", table["s"].dictionary_encode())
    assert frame_digest(table) == frame_digest(encoded)
    assert frame_digest(table) == frame_digest(pa.concat_tables([table.slice(0, 1), table.slice(1)]))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.none() | st.floats() | st.integers(0, 3).map(float), max_size=40), st.data())
def test_any_chunking(values, data):
    array = pa.array(values, pa.float64(), from_pandas=False)
    cut = data.draw(st.integers(0, len(values)))
    padded = pa.concat_arrays([pa.array([5.0]), array]).slice(1)
    assert H(array) == H(pa.chunked_array([array.slice(0, cut), array.slice(cut)], pa.float64())) == H(padded)


def test_blocks(monkeypatch):
    """Many blocks: chunk borders inside and between them do not matter."""
    monkeypatch.setattr(digest, "BLOCK", 8)
    array = pa.array([None if i % 7 == 0 else str(i) for i in range(100)])
    assert H(array) == H(pa.chunked_array([array.slice(0, 3), array.slice(3, 50), array.slice(53)]))
    assert H(array) != H(array.slice(0, 99))
