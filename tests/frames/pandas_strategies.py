"""Whole pandas frames for hypothesis: every dtype, every kind of index, labels of any type."""

from __future__ import annotations

import datetime as dt
import uuid
import zoneinfo

import numpy as np
import pandas as pd
import pyarrow as pa
from arrow_strategies import TEXT, arrays
from hypothesis import strategies as st

ZONES = [dt.UTC, zoneinfo.ZoneInfo("Europe/Berlin"), dt.timezone(dt.timedelta(hours=-3, minutes=-30)), None]
MISSING = st.sampled_from([None, float("nan"), pd.NA, pd.NaT])
MOMENTS = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2250, 1, 1), timezones=st.sampled_from(ZONES))
SCALARS = st.one_of(
    st.booleans(),
    st.integers(),
    st.integers(-(2**80), 2**80),
    st.floats(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.decimals(),
    st.dates(),
    MOMENTS,
    MOMENTS.map(pd.Timestamp),
    st.times(),
    st.timedeltas(),
    st.timedeltas(dt.timedelta(days=-9999), dt.timedelta(days=9999)).map(pd.Timedelta),
    st.complex_numbers(),
    st.uuids().map(lambda v: uuid.UUID(int=v.int)),
    st.integers(-99, 99).map(lambda n: pd.Period(ordinal=n, freq="M")),
    st.integers(0, 9).map(lambda n: pd.Interval(n, n + 1.5, "left")),
    st.integers(-99, 99).map(np.int8),
    st.floats(width=32).map(np.float32),
    st.booleans().map(np.bool_),
    MISSING,
)
HASHABLE = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=2), st.tuples(st.integers(), TEXT))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.lists(inner, max_size=2).map(tuple),
        st.dictionaries(st.text(max_size=2) | HASHABLE, inner, max_size=2),
        st.sets(HASHABLE, max_size=2),
        st.frozensets(HASHABLE, max_size=2),
        st.lists(st.integers(-9, 9), max_size=4).map(lambda v: np.array(v, ">i2")),
    ),
    max_leaves=4,
)


def _list(values, size):
    return st.lists(values, min_size=size, max_size=size)


def _numpy(size):
    names = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16", ">i4", ">f8", ">u2"]

    def bits(name):
        width = np.dtype(name).itemsize * size
        zeros = st.lists(st.sampled_from([0, 0, 1, 255]), min_size=width, max_size=width).map(bytes)
        return (zeros | st.binary(min_size=width, max_size=width)).map(
            lambda b: pd.Series(np.frombuffer(b, name).copy())
        )

    return st.sampled_from(names).flatmap(bits)


def _objects(values, size):
    def make(items):
        out = np.empty(size, object)
        for i, item in enumerate(items):
            out[i] = item
        return pd.Series(out, dtype=object)

    return _list(values, size).map(make)


def _moments(size):
    whole = st.none() | st.integers(-(2**62), 2**62)

    def make(told):
        kind, unit, zone, numbers = told
        numbers = [np.iinfo("i8").min if n is None else (n >> 20 if unit == "s" else n) for n in numbers]
        values = pd.Series(np.array(numbers, "i8").view(f"{kind}8[{unit}]"))
        return values if kind == "m" or zone is None else _zoned(values, zone)

    units = st.sampled_from(["s", "ms", "us", "ns"])
    return st.tuples(st.sampled_from("mM"), units, st.sampled_from(ZONES), _list(whole, size)).map(make)


def _zoned(values, zone):
    """In UTC first: local times near the ends of time do not exist."""
    tame = values.where(values.dt.year.between(1700, 2250))
    return tame.dt.tz_localize("UTC").dt.tz_convert(zone)


def _categories(size):
    inner = st.one_of(
        _list(st.integers(-9, 9), 3),
        _list(TEXT, 3),
        _list(st.booleans() | st.integers() | st.text(max_size=2), 3),
        _list(st.floats(allow_nan=False), 3),
        st.just(list(pd.interval_range(0, 3))),
        st.just(list(pd.date_range("2020", periods=3, tz="Asia/Tokyo"))),
        st.just(list(pd.period_range("2020", periods=3, freq="Q"))),
    )

    def make(told):
        values, codes, ordered = told
        index = pd.Index(values, tupleize_cols=False).unique()
        codes = [min(c, len(index) - 1) for c in codes]
        return pd.Series(pd.Categorical.from_codes(codes, index, ordered=ordered))

    return st.tuples(inner, _list(st.integers(-1, 2), size), st.booleans()).map(make)


def _arrow(size):
    """Types that pandas itself knows."""
    return (
        arrays(size)
        .filter(lambda a: _known(a.type))
        .map(lambda a: pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([a]))))
    )


def _known(kind):
    try:
        return bool(pd.ArrowDtype(kind).type)
    except NotImplementedError:
        return False


def columns(size):
    """A column of any dtype."""
    whole = st.none() | st.integers(0, 100)
    nullable = ["Int8", "Int64", "UInt8", "UInt64", "Float32", "Float64"]
    return st.one_of(
        _numpy(size),
        _moments(size),
        _categories(size),
        _objects(VALUES, size),
        _objects(st.none() | st.text(max_size=3), size),
        _objects(st.none() | st.integers(0, 2**64 - 1), size),
        _objects(st.floats() | st.none(), size),
        _objects(MISSING, size),
        _arrow(size),
        st.tuples(_list(whole, size), st.sampled_from(nullable)).map(lambda t: pd.Series(pd.array(t[0], dtype=t[1]))),
        _list(st.none() | st.booleans(), size).map(lambda v: pd.Series(pd.array(v, dtype="boolean"))),
        st.tuples(
            _list(st.none() | TEXT, size),
            st.sampled_from(["str", "string", pd.StringDtype("python"), pd.StringDtype("python", na_value=np.nan)]),
        ).map(lambda t: pd.Series(t[0], dtype=t[1])),
        _list(st.none() | st.integers(-500, 500), size).map(
            lambda v: pd.Series(pd.array([n if n is None else pd.Period(ordinal=n, freq="W") for n in v], "period[W]"))
        ),
        _list(st.none() | st.integers(0, 9), size).map(
            lambda v: pd.Series([None if n is None else pd.Interval(n, n + 1.5) for n in v], dtype="interval[float64]")
        ),
        st.tuples(_list(st.integers(0, 2), size), st.sampled_from([0, 1])).map(
            lambda t: pd.Series(pd.arrays.SparseArray(np.array(t[0], "i8"), fill_value=t[1]))
        ),
    )


def indexes(size):
    """An index of any kind."""
    plain = st.one_of(_numpy(size), _moments(size), _categories(size), _objects(HASHABLE, size)).filter(
        lambda s: not isinstance(s.dtype, np.dtype) or (s.dtype.isnative and str(s.dtype) != "float16")
    )
    named = st.tuples(plain, HASHABLE).map(lambda t: pd.Index(t[0], name=t[1], tupleize_cols=False))
    several = st.lists(plain, min_size=2, max_size=3).map(lambda v: pd.MultiIndex.from_arrays(v, names=range(len(v))))
    ranges = st.tuples(st.integers(-5, 5), st.sampled_from([1, 3, -2])).map(
        lambda t: pd.RangeIndex(t[0], t[0] + size * t[1], t[1], name="r")
    )
    dated = st.sampled_from(["D", "h", "MS"]).map(lambda f: pd.date_range("2020", periods=size, freq=f))
    return st.one_of(named, several, ranges, dated)


@st.composite
def frames(draw):
    """Frames of up to three columns and four rows."""
    size = draw(st.integers(0, 4))
    made = draw(st.lists(columns(size), max_size=3))
    index = draw(indexes(size))
    frame = pd.DataFrame({i: s.set_axis(index) for i, s in enumerate(made)}, index=index)
    labels = draw(st.lists(HASHABLE | st.text(max_size=2), min_size=len(made), max_size=len(made)))
    frame.columns = pd.Index(labels, dtype=object, tupleize_cols=False)
    return frame
