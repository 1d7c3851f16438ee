from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbmlops.errors import InvalidValue
from nbmlops.flavors import checking, signature

FRAME = pd.DataFrame(
    {
        "whole": [1, 2, 3],
        "small": np.array([1, 2, 3], dtype="int8"),
        "real": [0.5, 1.5, np.nan],
        "maybe": pd.array([1, None, 3], dtype="Int64"),
        "flag": [True, False, True],
        "perhaps": pd.array([True, None, False], dtype="boolean"),
        "text": ["a", "b", "c"],
        "old": pd.Series(["a", None, "c"], dtype=object),
        "kind": pd.Categorical(["x", "y", "x"], categories=["x", "y", "z"]),
        "rank": pd.Categorical([1, 2, 1], ordered=True),
        "day": pd.to_datetime(["2026-01-01", "2026-01-02", "2026-01-03"]),
        "moment": pd.to_datetime(["2026-01-01T10:00Z", "2026-01-02T10:00Z", "2026-01-03T10:00Z"]).tz_convert(
            "Europe/Paris"
        ),
    }
)
SIGNATURE = signature.infer(FRAME)
COLUMNS = {c["name"]: c for c in SIGNATURE["inputs"]}


def records(**changes):
    row = {
        "whole": 1,
        "small": 2,
        "real": 0.5,
        "maybe": None,
        "flag": True,
        "perhaps": None,
        "text": "a",
        "old": None,
        "kind": "x",
        "rank": 2,
        "day": "2026-01-01",
        "moment": "2026-01-01T10:00:00+01:00",
    }
    return [{**row, **changes}]


def test_a_frame_is_described():
    assert SIGNATURE["input_kind"] == "frame"
    assert {n: c["kind"] for n, c in COLUMNS.items()} == {
        "whole": "numeric",
        "small": "numeric",
        "real": "numeric",
        "maybe": "numeric",
        "flag": "boolean",
        "perhaps": "boolean",
        "text": "text",
        "old": "text",
        "kind": "categorical",
        "rank": "categorical",
        "day": "datetime",
        "moment": "datetime",
    }
    assert {n for n, c in COLUMNS.items() if c["nullable"]} == {"real", "maybe", "perhaps", "old"}
    assert COLUMNS["kind"]["categories"] == ["x", "y", "z"]
    assert (COLUMNS["rank"]["categories"], COLUMNS["rank"]["ordered"]) == ([1, 2], True)
    assert (COLUMNS["whole"]["min"], COLUMNS["whole"]["max"]) == (1, 3)
    assert COLUMNS["day"]["max"].startswith("2026-01-03")
    assert json.loads(json.dumps(SIGNATURE)) == SIGNATURE


def test_what_was_described_fits_unchanged():
    pd.testing.assert_frame_equal(checking.check(SIGNATURE, FRAME), FRAME)
    pd.testing.assert_frame_equal(checking.check(SIGNATURE, FRAME[FRAME.columns[::-1]].assign(more=1)), FRAME)


def test_records_from_json_get_the_types_of_training():
    found = checking.check(SIGNATURE, json.loads(json.dumps(records())))
    assert found.dtypes.to_dict() == FRAME.dtypes.to_dict()
    assert found["moment"][0] == pd.Timestamp("2026-01-01T09:00:00Z")
    assert found["maybe"].isna().all()


@pytest.mark.parametrize("convert", [pl.from_pandas, lambda f: __import__("pyarrow").Table.from_pandas(f)])
def test_other_frames_fit_too(convert):
    frame = FRAME[["whole", "real", "text", "day"]]
    described = signature.infer(frame)
    found = checking.check(described, convert(frame))
    assert found["whole"].tolist() == [1, 2, 3]
    assert found.dtypes.to_dict() == frame.dtypes.to_dict()
    assert [c["kind"] for c in signature.infer(convert(frame))["inputs"]] == ["numeric", "numeric", "text", "datetime"]


@pytest.mark.parametrize(
    ("name", "value", "fits"),
    [
        ("whole", 2.0, True),
        ("whole", 2.5, False),
        ("whole", "2", False),
        ("whole", True, False),
        ("whole", None, False),
        ("whole", [1], False),
        ("whole", 2**70, False),
        ("small", 300, False),
        ("small", -128, True),
        ("real", 3, True),
        ("real", None, True),
        ("real", "0.5", False),
        ("real", False, False),
        ("maybe", 4.0, True),
        ("maybe", 4.5, False),
        ("flag", 1, False),
        ("flag", "true", False),
        ("flag", None, False),
        ("perhaps", False, True),
        ("text", 3, False),
        ("text", None, False),
        ("old", {"a": 1}, False),
        ("kind", "z", True),
        ("kind", "other", False),
        ("kind", None, False),
        ("rank", 3, False),
        ("rank", 1.0, True),
        ("rank", True, False),
        ("kind", ["x"], False),
        ("day", "2026-02-30", False),
        ("day", "yesterday", False),
        ("day", 1700000000, False),
        ("day", "2026-01-01T10:00:00", True),
        ("day", "2026-01-01T10:00:00Z", False),
        ("day", dt.datetime(2026, 1, 1), True),
        ("day", None, False),
        ("moment", "2026-01-01T10:00:00", False),
        ("moment", "2026-01-01T10:00:00Z", True),
        ("moment", "2026-01-01 10:00+0530", True),
    ],
)
def test_what_fits_and_what_does_not(name, value, fits):
    if fits:
        found = checking.check(SIGNATURE, records(**{name: value}))
        assert found[name].dtype == FRAME[name].dtype
    else:
        with pytest.raises(InvalidValue) as raised:
            checking.check(SIGNATURE, records(**{name: value}))
        assert len(raised.value.faults) == 1
        assert raised.value.faults[0].startswith(f"{name}: row 0 has")


def test_all_faults_come_at_once():
    (row,) = records(whole="x", flag=3, kind="q")
    del row["text"], row["day"]
    with pytest.raises(InvalidValue) as raised:
        checking.check(SIGNATURE, [row, row], "input of model:m@1")
    assert raised.value.message.startswith("input of model:m@1: 4 faults: columns missing: text, day")
    assert "whole: row 0 has 'x' (text) (and 1 more rows), and a whole number is needed" in raised.value.faults
    assert "kind: row 0 has 'q' (text) (and 1 more rows), and one of 'x', 'y', 'z' is needed" in raised.value.faults
    assert "whole (int64)" in raised.value.hint


@pytest.mark.parametrize("empty", [[], FRAME.head(0), FRAME.head(0).astype(object)])
def test_no_rows_keep_their_types(empty):
    found = checking.check(SIGNATURE, empty)
    assert len(found) == 0
    assert found.dtypes.to_dict() == FRAME.dtypes.to_dict()


def test_an_array_is_described_by_place():
    values = np.arange(6.0).reshape(2, 3)
    described = signature.infer(values)
    assert (described["input_kind"], described["shape"]) == ("array", [-1, 3])
    assert [c["name"] for c in described["inputs"]] == ["x0", "x1", "x2"]
    found = checking.check(described, values)
    np.testing.assert_array_equal(signature.model_input(described, found), values)
    np.testing.assert_array_equal(checking.check(described, pd.DataFrame(values)), values)
    np.testing.assert_array_equal(checking.check(described, values.tolist()), values)
    with pytest.raises(InvalidValue, match="missing: x2"):
        checking.check(described, values[:, :2])


def test_texts_are_described():
    described = signature.infer(["some words", "more"])
    assert (described["input_kind"], described["inputs"][0]["kind"]) == ("series", "text")
    assert signature.model_input(described, checking.check(described, ["a", "b"])).tolist() == ["a", "b"]
    assert signature.infer(pd.Series(["a"], name="body"))["inputs"][0]["name"] == "body"


@pytest.mark.parametrize(
    ("column", "why"),
    [
        (pd.Series([1, "a"], dtype=object), "mixed"),
        (pd.Series([[1], ["a"]]), "list"),
        (pd.Series([{"a": [1]}]), "dict"),
        (pd.Series([None, None], dtype=object), "nothing but nulls"),
        (pd.Series([b"a"]), "bytes"),
        (pd.Series([1 + 2j]), "complex"),
        (pd.Series(pd.to_timedelta([1], unit="s")), "timedelta"),
        (pd.Series(pd.period_range("2026", periods=1)), "period"),
        (pd.Series(pd.cut([1, 2], 2)), "interval"),
        (pd.Series(pd.arrays.SparseArray([0, 1])), "sparse"),
        (pd.Series([dt.date(2026, 1, 1)]), "date"),
    ],
)
def test_what_cannot_be_described_is_refused_by_name(column, why):
    with pytest.raises(InvalidValue, match=f"odd: .*{why}"):
        signature.infer(pd.DataFrame({"good": range(len(column)), "odd": column}))


@pytest.mark.parametrize(
    "data",
    [
        3,
        "text",
        None,
        np.zeros(3),
        np.zeros((2, 2, 2), dtype=complex),
        np.array([[1, "a"]], dtype=object),
        pd.DataFrame({0: [1], 1: ["a"]}),
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pd.DataFrame([[1, 2]], columns=["a", 2]),
    ],
)
def test_what_is_no_table_is_refused(data):
    with pytest.raises(InvalidValue):
        signature.infer(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def faults_or_types(rows):
    """The names of the columns at fault; where there is none, the frame has exactly the types of training."""
    try:
        found = checking.check(SIGNATURE, rows)
    except InvalidValue as error:
        return {fault.split(":")[0] for fault in error.faults}
    assert found.dtypes.to_dict() == FRAME.dtypes.to_dict()
    return set()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(FRAME.columns, JSON)), min_size=1, max_size=3))
def test_any_json_is_answered_or_refused(rows):
    faults_or_types(rows)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(COLUMNS)), st.lists(JSON, min_size=1, max_size=4))
def test_a_fault_names_its_column_and_no_other(name, values):
    assert faults_or_types([{**records()[0], name: value} for value in values]) <= {name}
