"""Every frame comes back as it was: through pack, Parquet and unpack."""

from __future__ import annotations

import datetime as dt
import decimal
from enum import Enum

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from frame_samples import COLUMNS, N
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbmlops.errors import InvalidValue, NotFound
from nbmlops.frames import arrow, digest, parquet, tagged


class Zone(dt.tzinfo):
    """A time zone that only Python code knows."""

    def utcoffset(self, when):
        return dt.timedelta(hours=1)


LOOP = []
LOOP.append(LOOP)


def again(data, as_=None):
    """The frame after pack, Parquet and unpack; the built-in check runs too."""
    packed = arrow.pack(data)
    arrow.check_round_trip(data, packed)
    table = parquet.read(pa.BufferReader(parquet.write(packed.table)))
    return arrow.unpack(table, packed.manifest, as_ or packed.manifest["engine"])


def same_frame(a, b):
    pd.testing.assert_frame_equal(a, b, check_exact=True, check_index_type=True, check_column_type=True)
    assert list(map(str, a.dtypes)) == list(map(str, b.dtypes))


@pytest.mark.parametrize("name", COLUMNS)
def test_pandas_column(name):
    frame = pd.DataFrame({name: COLUMNS[name]})
    back = again(frame)
    same_frame(frame, back)
    for a, b in zip(frame[name], back[name], strict=True):
        assert type(a) is type(b)
    same_frame(frame.iloc[:0], again(frame.iloc[:0]))
    for as_ in ("polars", "arrow"):
        assert len(again(frame, as_)) == N


@pytest.mark.parametrize(
    "name",
    [
        n
        for n in COLUMNS
        if n not in {"lists", "mixed lists", "dicts", "ragged dicts", "arrays", "arrays int8", "float16"}
    ],
)
def test_pandas_index(name):
    frame = pd.DataFrame({"x": [1, 2, 3]}, index=pd.Index(COLUMNS[name], name="key"))
    same_frame(frame, again(frame))


INDEXES = {
    "range": pd.RangeIndex(10, 4, -2, name="r"),
    "unnamed": pd.Index(["a", "b", "c"]),
    "named 0": pd.Index([1, 2, 3], name=0),
    "named as a column": pd.Index([1, 2, 3], name="x"),
    "named tuple": pd.Index([1, 2, 3], name=("a", 1)),
    "multi": pd.MultiIndex.from_arrays([["a", "b", None], pd.Categorical([1, 2, 1])], names=["s", None]),
    "multi same names": pd.MultiIndex.from_arrays([[1, 2, 3], [4.5, 5, 6]], names=["x", "x"]),
    "multi with missing whole numbers": pd.MultiIndex(
        levels=[[2**60 + 1, 5], pd.array([1, 2], "Int8"), ["a", "b"]], codes=[[0, -1, 1], [0, 1, -1], [-1, -1, 1]]
    ),
    "not text": pd.Index([1, 2, 3], name="\ud800"),
    "freq": pd.date_range("2020", periods=N, freq="W", tz="Asia/Tokyo", name="when"),
    "freq delta": pd.timedelta_range("1s", periods=N, freq="7s"),
    "duplicates": pd.Index([1, 1, 1]),
}


@pytest.mark.parametrize("name", INDEXES)
def test_index_kinds(name):
    frame = pd.DataFrame({"x": [1, 2, 3], "y": ["a", "b", "c"]}, index=INDEXES[name])
    back = again(frame)
    same_frame(frame, back)
    if isinstance(frame.index, pd.MultiIndex):
        assert [level.dtype for level in back.index.levels] == [level.dtype for level in frame.index.levels]
        assert list(map(repr, back.index.drop_duplicates())) == list(map(repr, frame.index.drop_duplicates()))


LABELS = {
    "range": pd.RangeIndex(2),
    "ints": pd.Index([7, 3], name="n"),
    "times": pd.date_range("2020", periods=2, freq="D"),
    "multi": pd.MultiIndex.from_tuples([("a", 1), ("b", 1)], names=["u", None]),
    "object": pd.Index(["a", "b"], dtype=object, name="who"),
    "category": pd.CategoricalIndex(["b", "a"]),
    "empty and odd": pd.Index(["", "a b\n'\""]),
    "twice": pd.Index(["a", "a"]),
    "twice beside its other name": pd.Index(["a_", "a_"]),
    "of several types": pd.Index(["1", 1], dtype=object),
    "not text": pd.Index(["a\ud800", "a\\ud800"], dtype=object),
    "nothing": pd.Index([None, np.nan], dtype=object),
}


@pytest.mark.parametrize("name", LABELS)
def test_column_labels(name):
    frame = pd.DataFrame([[1, 2], [3, 4]], columns=LABELS[name])
    same_frame(frame, again(frame))


@pytest.mark.parametrize(
    "frame", [pd.DataFrame(), pd.DataFrame(index=range(4)), pd.DataFrame(columns=["a", "b"])], ids=str
)
def test_empty_frames(frame):
    same_frame(frame, again(frame))
    assert arrow.pack(frame).rows == len(frame)


def test_loaded_arrays_can_be_written():
    frame = again(pd.DataFrame({"i": [1, 2], "f": [1.0, 2.0], "t": pd.to_datetime(["2020", "2021"])}))
    frame.loc[0, "i"] = 9
    frame["f"].to_numpy(copy=True)[0] = 1
    assert frame["i"].tolist() == [9, 2]


REFUSED = {
    "objects": (pd.Series([1, object()], dtype=object), r"column 'c': row 1 holds <object object"),
    "nested objects": (pd.Series([[1], [{"a": object()}]], dtype=object), r"row 1 holds \[\{'a'"),
    "a class of one's own": (pd.Series([1, Enum("E", "A").A], dtype=object), r"row 1 holds <E.A: 1>.*not kept"),
    "itself": (pd.Series([1, LOOP], dtype=object), r"column 'c': row 1 holds \[\[...\]\]"),
    "a zone of one's own": (
        pd.Series([1, dt.datetime(2020, 1, 1, tzinfo=Zone())], dtype=object),
        "time zones of the type",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name_row_and_value(name):
    values, text = REFUSED[name]
    with pytest.raises(InvalidValue, match=text) as caught:
        arrow.pack(pd.DataFrame({"c": values}))
    assert caught.value.hint


def test_all_faults_at_once():
    odd = pd.Series([object(), 1], dtype=object)
    with pytest.raises(InvalidValue, match=r"2 faults.*column 'a'.*column 'b'") as caught:
        arrow.pack(pd.DataFrame({"a": odd, "b": odd, "c": [1, 2]}))
    assert len(caught.value.faults) == 2


def test_duplicate_names_of_arrow_tables_are_refused():
    with pytest.raises(InvalidValue, match="more than once: 'a'"):
        arrow.pack(pa.table([[1], [2]], names=["a", "a"]))
    with pytest.raises(InvalidValue, match="column name"):
        arrow.pack({"a\ud800": [1]})
    with pytest.raises(InvalidValue, match="twice"):
        arrow.pack({1: [1], "1": [2]})


def test_a_label_given_twice_is_loaded_twice():
    frame = pd.DataFrame([[1, "x", 3.5]], columns=["a", "b", "a"])
    packed = arrow.pack(frame)
    fields = arrow.fields_of(packed.manifest, ["a"])
    same_frame(frame[["a"]], arrow.unpack(packed.table.select(fields), packed.manifest, "pandas", ["a"]))


def test_names_of_other_types():
    frame = pd.DataFrame({"a": [1]})
    frame.index.name = pd.Timestamp("2020", tz="UTC")
    assert again(frame).index.name == pd.Timestamp("2020", tz="UTC")
    frame.index.name = Enum("E", "A").A
    with pytest.raises(InvalidValue, match="index is named"):
        arrow.pack(frame)


def test_attrs_and_flags_come_along():
    frame = pd.DataFrame({"a": [1]})
    frame.attrs.update({"unit": "cm", "when": dt.date(2020, 1, 1), 3: (1, 2)})
    frame = frame.set_flags(allows_duplicate_labels=False)
    back = again(frame)
    assert back.attrs == frame.attrs
    assert not back.flags.allows_duplicate_labels
    plain = arrow.pack(pd.DataFrame({"a": [1]}))
    assert digest.table_digest(plain.table, plain.manifest) != digest.table_digest(
        *((p := arrow.pack(frame)).table, p.manifest)
    )
    frame.attrs["odd"] = object()
    with pytest.raises(InvalidValue, match=r"attrs\['odd'\]"):
        arrow.pack(frame)


@pytest.mark.parametrize("data", [5, "text", [1, 2], pd.Series([1]), np.zeros(3), []], ids=repr)
def test_not_a_frame(data):
    assert not arrow.is_frame(data)
    with pytest.raises(InvalidValue):
        arrow.pack(data)


def test_columns_and_unknown_ones():
    frame = pd.DataFrame({"a": [1], "b": [2], "c": [3]}, index=["i"])
    packed = arrow.pack(frame)
    fields = arrow.fields_of(packed.manifest, ["c", "a"])
    back = arrow.unpack(packed.table.select(fields), packed.manifest, "pandas", ["c", "a"])
    same_frame(frame[["c", "a"]], back)
    with pytest.raises(NotFound, match="no columns 'x', 'y'"):
        arrow.fields_of(packed.manifest, ["x", "a", "y"])


def test_polars():
    frame = pl.DataFrame(
        {
            "s": ["x", None],
            "c": pl.Series(["u", "v"], dtype=pl.Categorical),
            "e": pl.Series(["u", None], dtype=pl.Enum(["v", "u", "unused"])),
            "lc": pl.Series([["u"], []], dtype=pl.List(pl.Categorical)),
            "le": pl.Series([["u"], None], dtype=pl.List(pl.Enum(["u", "v"]))),
            "t": pl.Series([1, None], dtype=pl.Time),
            "a": pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int8, 2)),
            "n": pl.Series([None, None], dtype=pl.Null),
            "st": [{"a": 1}, {"a": None}],
            "dt": pl.Series([1, 2], dtype=pl.Datetime("ms", "Asia/Tokyo")),
            "du": pl.Series([1, None], dtype=pl.Duration("ns")),
            "d": pl.Series([dt.date(2020, 1, 1), None]),
            "dec": pl.Series([1, 2], dtype=pl.Decimal(10, 2)),
            "b": [b"a", None],
            "f": [float("nan"), None],
        }
    )
    back = again(frame)
    assert back.schema == frame.schema
    assert back.equals(frame, null_equal=True)
    assert again(frame.lazy()).equals(frame)
    assert list(again(frame, "pandas").columns) == frame.columns
    with pytest.raises(InvalidValue, match="'o'"):
        arrow.pack(pl.DataFrame({"o": pl.Series([object()], dtype=pl.Object)}))


CATEGORIES = pl.Categories("colours", "tests", pl.UInt8)
POLARS = {
    "128 bits": pl.Series([1, None, -(2**127)], dtype=pl.Int128),
    "128 bits unsigned": pl.Series([1, None, 2**128 - 1], dtype=pl.UInt128),
    "128 bits in lists": pl.Series([[1], None, [None]], dtype=pl.List(pl.Int128)),
    "half": pl.Series([1, None, 0.5], dtype=pl.Float16),
    "matrix": pl.Series([[[1, 2], [3, 4]], None, None], dtype=pl.Array(pl.Int8, (2, 2))),
    "array of nothing": pl.Series([[], None], dtype=pl.Array(pl.Int8, 0)),
    "struct of nothing": pl.Series([{}, None], dtype=pl.Struct([])),
    "structs of nothing": pl.Series([[{}], None], dtype=pl.List(pl.Struct([]))),
    "named categories": pl.Series(["a", None, "b"], dtype=pl.Categorical(CATEGORIES)),
    "named inside": pl.Series([{"a": "x"}], dtype=pl.Struct({"a": pl.Categorical(CATEGORIES)})),
    "enum of nothing": pl.Series([None], dtype=pl.Enum([])),
    "objects": pl.Series([1, "a", None, (1, 2)], dtype=pl.Object),
    "map": pl.Series([[{"key": "a", "value": 2**100}], None], dtype=pl.Map(pl.String, pl.Int128)),
    "extension": pl.Series([1, 2]).ext.to(pl.Extension("tests.foo", pl.Int64, "more")),
    "null lists": pl.Series([[None], None], dtype=pl.List(pl.Null)),
}


@pytest.mark.parametrize("name", POLARS)
def test_polars_dtypes(name):
    frame = pl.DataFrame({name: POLARS[name]})
    back = again(frame)
    assert back.schema == frame.schema
    assert back[name].to_list() == frame[name].to_list()
    for as_ in ("pandas", "arrow"):
        assert len(again(frame, as_)) == len(frame)


def test_arrow_tables_keep_their_types():
    table = pa.table(
        {
            "d": pa.array(["a", "b", None]).dictionary_encode(),
            "o": pa.DictionaryArray.from_arrays(pa.array([1, 0, None], pa.int8()), pa.array(["z", "a"]), ordered=True),
            "t": pa.array([1, 2, 3], pa.timestamp("s")),
            "d64": pa.array([0, 86400000, None], pa.date64()),
            "ld": pa.array([["a"], [], None], pa.list_(pa.dictionary(pa.int32(), pa.string()))),
            "m": pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int8())),
            "v": pa.array(["a", None, "c"], pa.string_view()),
        }
    )
    assert again(table).equals(table)
    assert again(table.to_batches()[0]).equals(table)
    assert again(table, "pandas")["o"].cat.categories.tolist() == ["z", "a"]


def test_arrow_with_pandas_notes_gives_that_frame_back():
    frame = pd.DataFrame({"a": pd.Categorical(["x", "y"])}, index=pd.Index(["p", "q"], name="key"))
    same_frame(frame, again(pa.Table.from_pandas(frame), "pandas"))


def test_dicts_and_records():
    assert again({"a": [1, None], "b": np.array([1.5, 2])}).to_pydict() == {"a": [1, None], "b": [1.5, 2.0]}
    assert again([{"a": 1}, {"b": "x"}]).to_pydict() == {"a": [1, None], "b": [None, "x"]}
    with pytest.raises(InvalidValue, match="column 'a'"):
        arrow.pack({"a": [1, "x"]})
    with pytest.raises(InvalidValue, match="differ in length"):
        arrow.pack({"a": [1], "b": [1, 2]})


def test_stored_values_are_plain():
    frame = pd.DataFrame({"c": pd.Categorical([30, 10, 30]), "i": pd.cut([1, 5, 9.0], [0, 2, 6, 10])})
    table = pl.read_parquet(bytes(parquet.write(arrow.pack(frame).table)))
    assert table["c"].to_list() == [30, 10, 30]
    assert table["i"].to_list()[0] == {"left": 0, "right": 2}


SERIES = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=4, max_size=4).map(lambda v: pd.Series(v, dtype="int64")),
    st.lists(st.floats(), min_size=4, max_size=4).map(pd.Series),
    st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"])), min_size=4, max_size=4).map(
        lambda v: pd.Series(v, dtype="str")
    ),
    st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"])), min_size=4, max_size=4).map(
        lambda v: pd.Series(v, dtype=object)
    ),
    st.lists(st.none() | st.booleans(), min_size=4, max_size=4).map(lambda v: pd.Series(v, dtype="boolean")),
    st.lists(st.none() | st.integers(0, 255), min_size=4, max_size=4).map(lambda v: pd.Series(v, dtype="UInt8")),
    st.lists(st.none() | st.integers(-5, 5), min_size=4, max_size=4).map(lambda v: pd.Series(pd.Categorical(v))),
    st.lists(st.none() | st.datetimes(), min_size=4, max_size=4).map(lambda v: pd.Series(v, dtype="datetime64[us]")),
    st.lists(st.none() | st.binary(), min_size=4, max_size=4).map(lambda v: pd.Series(v, dtype=object)),
    st.lists(st.none() | st.lists(st.none() | st.integers(0, 9) | st.text("ab")), min_size=4, max_size=4).map(
        lambda v: pd.Series(v, dtype=object)
    ),
    st.lists(
        st.dictionaries(st.text("ab", max_size=2), st.none() | st.booleans() | st.integers(0, 3)),
        min_size=4,
        max_size=4,
    ).map(lambda v: pd.Series(v, dtype=object)),
    st.lists(st.none() | st.decimals(-1000, 1000, places=3), min_size=4, max_size=4).map(
        lambda v: pd.Series(v, dtype=object)
    ),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), SERIES, max_size=4), SERIES)
def test_any_pandas_frame(columns, index):
    frame = pd.DataFrame(columns, index=range(4))
    same_frame(frame, again(frame))
    if not any(isinstance(v, list | dict) for v in index):
        named = frame.set_index(pd.Index(index, name="i"))
        same_frame(named, again(named))


def test_rare_values_far_down_come_back():
    """The check reads the first rows only; packing looks at every value."""
    odd = pd.Series([1] * 5000 + ["x", np.nan, None, 1.0, True], dtype=object)
    lists = pd.Series([[1]] * 5000 + [[1.5], (1,), [None], ["a"], [True]], dtype=object)
    numbers = pd.Series([decimal.Decimal("1.5")] * 5000 + [decimal.Decimal("-0")] * 5, dtype=object)
    moments = pd.Series(np.array([0] * 5000 + [2**60] * 5, "M8[s]"))
    frame = pd.DataFrame({"odd": odd, "lists": lists, "numbers": numbers, "moments": moments})
    back = again(frame)
    same_frame(frame, back)
    for name in ("odd", "lists", "numbers"):
        assert all(map(tagged.same, frame[name], back[name]))
    with pytest.raises(InvalidValue, match="row 5000 holds"):
        arrow.pack(pd.DataFrame({"a": pd.Series([1] * 5000 + [object()], dtype=object)}))
