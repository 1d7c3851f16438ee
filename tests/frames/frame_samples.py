"""Columns of every dtype that must come back as it was; three rows each."""

from __future__ import annotations

import datetime as dt
import decimal

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
}
