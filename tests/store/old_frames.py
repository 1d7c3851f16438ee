"""What tests/data/store-0001 was made of, by nbmlops 0.1: three versions of one frame, and an Arrow table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

_FIRST = pd.DataFrame(
    {
        "price": [1.5, np.nan, -0.0, 4.25],
        "city": pd.Categorical(["Oslo", "Bern", None, "Oslo"], categories=["Bern", "Oslo", "unused"]),
        "n": pd.array([1, None, 3, 4], dtype="Int32"),
        "who": ["a", None, "ü", ""],
        "when": pd.date_range("2024-03-30", periods=4, tz="Europe/Berlin", unit="s"),
    },
    index=pd.Index([10, 11, 12, 13], name="key"),
)
SALES = [_FIRST, _FIRST.assign(price=[1.5, 2.0, -0.0, 4.25]), _FIRST.assign(extra=[True, False, True, False])]
ARROW = pa.table(
    {
        "d": pa.array(["x", "y", None, "x"]).dictionary_encode(),
        "l": pa.array([[1], [], None, [2, 3]], pa.list_(pa.int8())),
        "t": pa.array([1, 2, None, 4], pa.timestamp("s")),
    }
)
