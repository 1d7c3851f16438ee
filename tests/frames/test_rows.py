"""Digests of rows, duplicates and leakage."""

from __future__ import annotations

import datetime as dt
import decimal
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbmlops.errors import InvalidValue, NotFound
from nbmlops.frames import rows

VALUES = {
    pa.int8(): st.integers(-128, 127),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float64(): st.sampled_from([0.0, -0.0, 1.5, float("nan"), float("inf")]),
    pa.float16(): st.sampled_from([0.0, -0.0, 1.5, float("nan")]).map(np.float16),
    pa.bool_(): st.booleans(),
    pa.string(): st.text(max_size=20) | st.sampled_from(["x" * 255, "x" * 256, "x" * 257, "x" * 300]),
    pa.large_binary(): st.binary(max_size=20),
    pa.binary(3): st.binary(min_size=3, max_size=3),
    pa.binary(17): st.binary(min_size=17, max_size=17),
    pa.decimal128(20, 2): st.decimals(-1000, 1000, places=2),
    pa.timestamp("us", "UTC"): st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2100, 1, 1)).map(
        lambda t: t.replace(tzinfo=dt.UTC)
    ),
    pa.date32(): st.dates(dt.date(1900, 1, 1), dt.date(2100, 1, 1)),
    pa.list_(pa.int64()): st.lists(st.none() | st.integers(0, 2), max_size=3),
    pa.list_(pa.int64(), 2): st.lists(st.integers(0, 2), min_size=2, max_size=2),
    pa.list_(pa.list_(pa.string())): st.lists(st.none() | st.lists(st.text("ab", max_size=2), max_size=2), max_size=2),
    pa.struct([("a", pa.int64()), ("b", pa.string())]): st.fixed_dictionaries(
        {"a": st.none() | st.integers(0, 2), "b": st.sampled_from(["", "a", None])}
    ),
    pa.map_(pa.string(), pa.int64()): st.lists(
        st.tuples(st.text("ab", min_size=1, max_size=2), st.integers(0, 2)), max_size=2
    ),
    pa.null(): st.none(),
}  # fmt: skip


PINNED = [[8930586150472462798, 9621130010004123596], [2541462810443357320, 12312700150090765959]]


def told(value):
    """What tells values apart: the sign of zero does, and every NaN is the same."""
    if isinstance(value, float | np.floating):
        return "nan" if np.isnan(value) else (float(value), bool(np.signbit(value)))
    if isinstance(value, decimal.Decimal):
        return str(value.quantize(decimal.Decimal("0.01")) + 0)
    return repr(value)


@settings(max_examples=15, deadline=None)
@given(st.data())
@pytest.mark.parametrize("kind", VALUES, ids=str)
def test_equal_values_have_equal_digests_and_no_others(kind, data):
    values = data.draw(st.lists(st.none() | VALUES[kind], max_size=12))
    array = pa.array(values, kind, from_pandas=False)
    keys = [tuple(k) for k in rows.digests(pa.table({"x": array})).tolist()]
    same = {(told(v), k) for v, k in zip(array.to_pylist(), keys, strict=True)}
    assert len(same) == len({t for t, _ in same}) == len({k for _, k in same})


@settings(max_examples=15, deadline=None)
@given(st.data())
@pytest.mark.parametrize("kind", VALUES, ids=str)
def test_digests_do_not_know_of_slices_and_chunks(kind, data):
    values = data.draw(st.lists(st.none() | VALUES[kind], min_size=1, max_size=12))
    cut = data.draw(st.integers(0, len(values)))
    whole = pa.table({"x": pa.array([*values, *values], kind, from_pandas=False), "i": np.arange(2 * len(values))})
    expected = rows.digests(whole)
    parts = [whole.slice(0, cut), whole.slice(cut)]
    assert (rows.digests(pa.concat_tables(parts)) == expected).all()
    assert (rows.digests(iter(parts)) == expected).all()
    assert (rows.digests(whole.slice(len(values)), ["x"]) == rows.digests(whole, ["x"])[: len(values)]).all()


def test_digests_do_not_know_of_encodings():
    plain = pa.array(["b", "a", None, "b", "long " * 70])
    expected = rows.digests(pa.table({"x": plain}))
    for other in (
        plain.dictionary_encode(),
        pa.DictionaryArray.from_arrays(pa.array([1, 0, None, 1, 3]), ["a", "b", "unused", "long " * 70]),
        plain.cast(pa.large_string()),
        plain.cast(pa.string_view()),
        pc.run_end_encode(plain),
    ):
        assert (rows.digests(pa.table({"x": other})) == expected).all(), other.type
    numbers = rows.digests(pa.table({"x": pa.array([1, -2, None], pa.int8())}))
    assert (numbers == rows.digests(pa.table({"x": pa.array([1, -2, None], pa.int64())}))).all()


def test_values_move_with_their_columns():
    keys = rows.digests(pa.table({"a": ["x", "", "xy", None], "b": ["", "x", None, "xy"]}))
    assert len({tuple(k) for k in keys.tolist()}) == 4


def test_each_lane_alone_tells_a_million_rows_apart():
    keys = rows.digests(pa.table({"a": np.repeat(np.arange(1000), 1000), "b": np.tile(np.arange(1000), 1000)}))
    assert len(np.unique(keys[:, 0])) == len(np.unique(keys[:, 1])) == 1_000_000


def test_a_known_digest_stays():
    table = pa.table({"i": [1, None], "f": [-0.0, float("nan")], "s": ["flight", "x" * 300], "b": [True, False]})
    assert rows.digests(table).tolist() == PINNED


def test_groups_of_digests_that_agree_in_one_lane():
    keys = np.array([[1, 2], [1, 1], [1, 2], [0, 9]], np.uint64)
    order, starts = rows.grouped(keys)
    assert order.tolist() == [3, 1, 0, 2]
    assert starts.tolist() == [0, 1, 2]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["a", "b", None])), max_size=30), st.integers(0, 30))
def test_duplicates_are_counted(given_rows, cut):
    numbers, texts = pa.array([r[0] for r in given_rows], pa.int64()), pa.array([r[1] for r in given_rows], pa.string())
    table = pa.table({"n": numbers, "s": texts})
    counts = Counter(given_rows)
    for data in (table, iter([table.slice(0, cut), table.slice(cut)])):
        found = rows.duplicates(data)
        assert found.rows == len(given_rows)
        assert found.rows_more == len(given_rows) - len(counts)
        assert found.groups == sum(n > 1 for n in counts.values())
        for group in found.examples:
            assert len({given_rows[i] for i in group}) == 1 < len(group)
    assert found.ok == (len(counts) == len(given_rows))


def test_duplicates_of_some_columns():
    table = pa.table({"key": [1, 1, 2, 3, 3, 3], "value": [1, 2, 3, 4, 5, 6]})
    found = rows.duplicates(table, ["key"], "dataset:a@1")
    assert (found.rows_more, found.groups, found.examples) == (3, 2, ((3, 4, 5), (0, 1)))
    assert found.columns == ("key",)
    assert rows.duplicates(table).ok
    with pytest.raises(NotFound, match="no column 'kye'"):
        rows.duplicates(table, ["kye"])
    assert rows.duplicates(iter([])).ok


def test_leakage_finds_shared_rows_and_other_labels():
    train = pa.table({"a": [1, 2, 3, 4], "b": ["x", "y", "z", None], "late": [0, 1, 0, 1], "id": [1, 2, 3, 4]})
    test = pa.table({"late": [0, 0, 1, 1], "id": [5, 6, 7, 8], "b": ["x", "y", "q", None], "a": [1, 2, 3, 4]})
    found = rows.leakage(train, test, label="late", ignore=["id"], names=("flights@1", "flights@2"))
    assert found.shared == 3
    assert found.share == 0.75
    assert found.examples == ((0, 0), (1, 1), (3, 3))
    assert (found.relabelled, found.examples_relabelled) == (1, ((1, 1),))
    assert found.columns == ("a", "b")
    assert not found.ok
    assert rows.leakage(train, test).ok, "with the ids no two rows are equal"
    parts = (iter([train.slice(0, 1), train.slice(1)]), iter([test.slice(0, 3), test.slice(3)]))
    assert rows.leakage(*parts, label="late", ignore=["id"]).shared == 3


def test_leakage_says_what_it_left_out():
    train = pa.table({"a": pa.array([1, 2], pa.int32()), "b": ["1", "2"], "c": [1, 2]})
    test = pa.table({"a": pa.array([2, 3], pa.int64()), "b": [1, 2]})
    found = rows.leakage(train, test)
    assert found.shared == 1
    assert found.columns == ("a",)
    assert found.left_out == {"b": "of type string and int64", "c": "the other does not have it"}
    with pytest.raises(InvalidValue, match="no column is there to compare: 2 faults"):
        rows.leakage(train, test, ignore=["a"])
    with pytest.raises(NotFound, match="no column 'lable'"):
        rows.leakage(train, test, label="lable")
