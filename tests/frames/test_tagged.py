"""Python values as JSON text: what comes back, what others read, and what a hostile text can do."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas_strategies import VALUES

from nbmlops.errors import StoreFault
from nbmlops.frames import tagged


@settings(max_examples=300, deadline=None)
@given(VALUES)
def test_comes_back(value):
    text = tagged.dumps(value)
    json.loads(text)
    text.encode()
    back = tagged.loads(text)
    assert tagged.same(value, back)
    assert tagged.dumps(back) == text


@settings(max_examples=200, deadline=None)
@given(VALUES, VALUES)
def test_other_values_have_other_texts(a, b):
    assert tagged.same(a, b) or tagged.dumps(a) != tagged.dumps(b)


def test_plain_values_are_plain_json():
    value = [1, 2.5, "ü", None, True, {"a": [-0.0]}]
    assert tagged.dumps(value) == '[1,2.5,"ü",null,true,{"a":[-0.0]}]'
    assert json.loads(tagged.dumps(pd.Timestamp("2020", tz="UTC"))) == {
        "$": "Timestamp",
        "v": {"value": 1577836800000000, "unit": "us", "at": "2020-01-01T00:00:00+00:00", "zone": {"offset": 0.0}},
    }


def test_sets_have_one_text():
    assert tagged.dumps({1, 17, "a", "b"}) == tagged.dumps({"b", "a", 17, 1})


HOSTILE = [
    "{",
    "[" * 100_000,
    '{"$": "__import__", "v": "os"}',
    '{"$": ["list"], "v": []}',
    '{"$": "numpy"}',
    '{"$": "numpy", "v": {"dtype": "O", "value": 1}}',
    '{"$": "numpy", "v": {"dtype": "V8", "value": "x"}}',
    '{"$": "numpy", "v": {"dtype": "i4,i4", "value": 1}}',
    '{"$": "array", "v": {"dtype": "O", "shape": [1], "bytes": "AAAAAAAAAAA="}}',
    '{"$": "array", "v": {"dtype": "<i8", "shape": [99], "bytes": "AAAAAAAAAAA="}}',
    '{"$": "array", "v": {"dtype": "<i8", "shape": [1], "bytes": "?"}}',
    '{"$": "array", "v": {"dtype": "O", "shape": [1000000000000], "items": [1]}}',
    '{"$": "datetime", "v": {"at": "2020-01-01", "zone": "../../etc/passwd"}}',
    '{"$": "datetime", "v": {"at": "2020-01-01", "zone": "No/Where"}}',
    '{"$": "datetime", "v": {"at": "2020-01-01", "zone": {"offset": 1e300}}}',
    '{"$": "Period", "v": {"ordinal": 1, "freq": "__import__(\'os\')"}}',
    '{"$": "Interval", "v": {"left": 3, "right": 1, "closed": "left"}}',
    '{"$": "Timestamp", "v": {"value": 1, "unit": "O"}}',
    '{"$": "Timestamp", "v": {"value": 99999999999999999999999, "unit": "s"}}',
    '{"$": "decimal", "v": "one"}',
    '{"$": "int", "v": "zz"}',
    '{"$": "bytes", "v": "*"}',
    '{"$": "uuid", "v": "1"}',
    '{"$": "set", "v": [[1]]}',
    '{"$": "dict", "v": [1]}',
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda t: t[:50])
def test_a_hostile_text_is_an_error(text):
    with pytest.raises(StoreFault, match="cannot be read"):
        tagged.loads(text)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from(["<i8", "ns", "UTC"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["$", "v", "dtype", "value", "shape", "items", "at", "zone"]), inner, max_size=3
        )
        | st.tuples(st.sampled_from(sorted(tagged._DECODERS)), inner).map(lambda t: {"$": t[0], "v": t[1]})
    ),
    max_leaves=6,
)


@settings(max_examples=500, deadline=None)
@given(JSON)
def test_any_text_is_a_value_or_a_fault(told):
    with contextlib.suppress(StoreFault):
        tagged.loads(json.dumps(told))


@pytest.mark.parametrize(
    "value",
    [object(), np.void(b"x"), range(3), pd.Series([1]), [pd.Index([1])], {1: {object()}}],
    ids=lambda v: type(v).__name__,
)
def test_not_kept(value):
    with pytest.raises(TypeError, match="not kept"):
        tagged.dumps(value)


def test_same():
    assert tagged.same(float("nan"), float("nan"))
    assert not tagged.same(0.0, -0.0)
    assert not tagged.same(1, 1.0)
    assert not tagged.same([np.int8(1)], [1])
    assert not tagged.same(np.array([1]), np.array([1], ">i8"))
    assert not tagged.same({"a": 1, "b": 2}, {"b": 2, "a": 1})
