"""Columns of every dtype that must come back as it was; three rows each."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid

import numpy as np
import pandas as pd
import pyarrow as pa

N = 3
TYO = dt.timezone(dt.timedelta(hours=9))
COLUMNS = {
    "int64": [1, 2, 3],
    "uint8": np.array([1, 2, 255], np.uint8),
    "float": [1.5, np.nan, np.inf],
    "negative zero": [0.0, -0.0, 1.0],
    "float16": np.array([1, np.nan, 3], np.float16),
    "float32": np.array([1, np.nan, 3], np.float32),
    "bool": [True, False, True],
    "str": ["a", None, ""],
    "object strings": pd.Series(["a", None, ""], dtype=object),
    "object strings nan": pd.Series(["a", np.nan, ""], dtype=object),
    "object ints": pd.Series([1, None, 3], dtype=object),
    "object bools": pd.Series([True, None, False], dtype=object),
    "object uint64": pd.Series([2**63, 1, None], dtype=object),
    "all None": pd.Series([None] * N, dtype=object),
    "all NaT": pd.Series([pd.NaT] * N),
    "Int64": pd.array([1, None, 3], dtype="Int64"),
    "UInt8": pd.array([1, None, 3], dtype="UInt8"),
    "Float32": pd.array([1.5, None, 3], dtype="Float32"),
    "boolean": pd.array([True, None, False], dtype="boolean"),
    "string": pd.array(["a", None, "ü"], dtype="string"),
    "string python": pd.array(["a", None, "ü"], dtype=pd.StringDtype("python")),
    "arrow list": pd.array([[1], [], None], dtype=pd.ArrowDtype(pa.list_(pa.int8()))),
    "arrow dictionary": pd.array(["x", "y", None], dtype=pd.ArrowDtype(pa.dictionary(pa.int8(), pa.string()))),
    "arrow timestamp": pd.array([1, None, 3], dtype=pd.ArrowDtype(pa.timestamp("s", "UTC"))),
    "datetime ns": pd.Series(
        pd.to_datetime(["2020-01-01", None, "1999-12-31 23:59:59.123456789"], format="ISO8601")
    ).astype("datetime64[ns]"),
    "datetime s": pd.Series(pd.to_datetime(["2020-01-01", None, "1999-12-31"])).astype("datetime64[s]"),
    "zone": pd.date_range("2020-10-24", periods=N, tz="Europe/Berlin", unit="ms"),
    "offset": pd.Series(pd.date_range("2020", periods=N, tz=TYO)),
    "minus": pd.Series(pd.date_range("2020", periods=N, tz=dt.timezone(dt.timedelta(hours=-3, minutes=-30)))),
    "utc": pd.to_datetime(["2020", None, "2021"]).tz_localize("UTC"),
    "timedelta": pd.to_timedelta([1, None, -3], unit="s").astype("timedelta64[ms]"),
    "period": pd.PeriodIndex(["2020-01", "NaT", "2021-03"], freq="M"),
    "interval": pd.arrays.IntervalArray.from_tuples([(0, 1), (5, 9), (1, 2)], closed="left"),
    "interval float": pd.arrays.IntervalArray.from_tuples([(0.5, 1.0), np.nan, (1.0, 2.0)], closed="both"),
    "interval time": pd.IntervalIndex.from_breaks(pd.date_range("2020", periods=N + 1, tz="UTC")),
    "category str": pd.Categorical(["b", None, "b"], categories=["c", "b", "unused"]),
    "category int": pd.Categorical([3, 1, None], categories=[3, 2, 1], ordered=True),
    "category float": pd.Categorical([0.5, 2.0, None]),
    "category bool": pd.Categorical([True, False, None]),
    "category time": pd.Categorical(pd.to_datetime(["2020", "2021", None]).tz_localize("UTC")),
    "category interval": pd.cut([1, 5, 9.0], [0, 2, 6, 10]),
    "category overlapping": pd.Categorical(pd.arrays.IntervalArray.from_tuples([(0, 2), (1, 3), (0, 3)])),
    "category period": pd.Categorical(pd.period_range("2020", periods=N, freq="Q")),
    "category date": pd.Categorical([dt.date(2020, 1, 1), dt.date(2019, 1, 1), None]),
    "category range": pd.Categorical.from_codes([0, 2, -1], pd.RangeIndex(0, 30, 10)),
    "category empty": pd.Categorical([None] * N, categories=[]),
    "category object": pd.Categorical(["x", "y", "x"], categories=pd.Index(["y", "x"], dtype=object)),
    "lists": pd.Series([[1, 2], None, []]),
    "mixed lists": pd.Series([[1, "a", None], [2.5], []]),
    "tuples": pd.Series([(1, 2), None, ()]),
    "dicts": pd.Series([{"a": 1, "b": [1.5]}, None, {"a": 2, "b": []}]),
    "ragged dicts": pd.Series([{"a": 1}, {"b": {"c": None}}, {}]),
    "arrays": pd.Series([np.array([1.0, np.nan]), None, np.array([])]),
    "arrays int8": pd.Series([np.array([1, 2], np.int8), np.array([], np.int8), None]),
    "decimals": pd.Series([decimal.Decimal("1.10"), None, decimal.Decimal("-22.5")]),
    "bytes": pd.Series([b"\xff\x00", None, b""]),
    "dates": pd.Series([dt.date(2020, 1, 1), None, dt.date(1, 1, 1)]),
    "times": pd.Series([dt.time(1, 2, 3, 4), None, dt.time(0)]),
    "datetimes": pd.Series(
        [dt.datetime(2020, 1, 1, tzinfo=dt.UTC), None, dt.datetime(1900, 1, 1, tzinfo=dt.UTC)], dtype=object
    ),
    "sparse": pd.arrays.SparseArray([0, 1, 0]),
    "sparse float": pd.arrays.SparseArray([np.nan, 1.5, np.nan]),
    "sparse filled": pd.arrays.SparseArray([2, 2, 3], fill_value=2, dtype=pd.SparseDtype("int8", 2)),
    "complex": np.array([1 + 2j, complex(np.nan, -0.0), complex(-np.inf, 0)]),
    "complex64": np.array([1 + 2j, 0, -1j], np.complex64),
    "big endian": np.array([1, 2, -3], ">i4"),
    "big endian float": np.array([1.5, np.nan, -0.0], ">f8"),
    "long double": np.array([1, np.nan, np.longdouble(1) / 3], np.longdouble),
    "seconds far away": pd.Series(np.array([2**60, 0, -(2**60)], "M8[s]")),
    "category complex": pd.Categorical([1j, 2.0, 1j]),
    "category mixed": pd.Categorical([1, "1", (1,)]),
    "mixed": pd.Series([1, "x", None], dtype=object),
    "mixed missing": pd.Series([None, np.nan, pd.NA], dtype=object),
    "missing beside text": pd.Series(["a", np.nan, None], dtype=object),
    "bool beside int": pd.Series([1, True, 1.0], dtype=object),
    "timestamps": pd.Series([pd.Timestamp("2020"), pd.Timestamp("2020", tz="Asia/Tokyo"), pd.NaT], dtype=object),
    "timedeltas": pd.Series([pd.Timedelta(1, "ns"), pd.NaT, dt.timedelta.max], dtype=object),
    "periods": pd.Series([pd.Period("2020", "M"), None, pd.Interval(0, 1.5, "both")], dtype=object),
    "huge": pd.Series([1, 2**70, -(2**20000)], dtype=object),
    "surrogates": pd.Series(["a", "\ud800", "\ud800\udc00"], dtype=object),
    "sets": pd.Series([{1, 2}, frozenset("ab"), set()], dtype=object),
    "dicts of all keys": pd.Series([{1: (2, {"$": 3})}, {"$": "decimal", "v": "x"}, {(1, 2): None}], dtype=object),
    "matrices": pd.Series([np.zeros((2, 2)), np.array([1, 2], ">i2"), np.array([[None, "x"]], object)], dtype=object),
    "zones": pd.Series([dt.datetime(2020, 1, 1, tzinfo=z) for z in (TYO, dt.UTC, None)], dtype=object),
    "folds": pd.Series([dt.datetime(2020, 10, 25, 2, fold=f) for f in (0, 1, 0)], dtype=object),
    "times of zones": pd.Series([dt.time(1, tzinfo=TYO), dt.time(1), None], dtype=object),
    "numpy scalars": pd.Series([np.int8(1), np.int64(1), 1], dtype=object),
    "numpy floats": pd.Series([np.float32(0.1), np.float32(np.nan), np.float32(2)], dtype=object),
    "numpy moments": pd.Series([np.datetime64("2020", "D"), np.timedelta64(3, "h"), np.complex64(1j)], dtype=object),
    "lists of numpy": pd.Series([[np.int8(1)], [], None], dtype=object),
    "uuids": pd.Series([uuid.UUID(int=5), bytearray(b"x"), 1j], dtype=object),
    "odd decimals": pd.Series([decimal.Decimal(d) for d in ("-0", "Infinity", "NaN")], dtype=object),
    "dicts of nothing": pd.Series([{}, {}, None], dtype=object),
    "arrow interval": pd.array([(1, 2, 3), None, (0, 0, 0)], dtype=pd.ArrowDtype(pa.month_day_nano_interval())),
    "arrow extension": pd.Series(
        pd.arrays.ArrowExtensionArray(
            pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16] * N, pa.binary(16)))
        )
    ),
    "arrow struct of nothing": pd.Series(pd.arrays.ArrowExtensionArray(pa.array([{}, None, {}], pa.struct([])))),
}
