"""Row and column differences of tables."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbmlops.frames import diff, profile

ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(0, 2),
        st.sampled_from(["a", "b", None]),
        st.sampled_from([0.0, -0.0, None, float("nan")]),
    ),
    max_size=8,
)


def table(rows):
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    return pa.table(
        [
            pa.array(c, t, from_pandas=False)
            for c, t in zip(columns, (pa.int64(), pa.string(), pa.float64()), strict=True)
        ],
        names="isf",
    )


@settings(max_examples=80, deadline=None)
@given(ROWS, ROWS)
def test_rows_are_a_multiset(before, after):
    a, b = (Counter(map(repr, rows)) for rows in (before, after))
    assert diff.row_changes(table(before), table(after)) == ((b - a).total(), (a - b).total())


def test_rows_of_odd_columns():
    before = pa.table(
        {
            "l": [[1], [2]],
            "d": pa.array(["x", "y"]).dictionary_encode(),
            "n": pa.nulls(2),
            "h": np.array([1, 2], np.float16),
        }
    )
    after = pa.table({"l": [[2], [3]], "d": ["y", "x"], "n": pa.nulls(2), "h": np.array([2, 1], np.float16)})
    assert diff.row_changes(before, after) == (1, 1)
    assert diff.row_changes(before, before.slice(1)) == (0, 1)


def test_ks_agrees_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(1)
    a, b = pa.chunked_array([rng.normal(size=500)]), pa.chunked_array([rng.normal(0.3, size=400)])
    made = diff.column_change(profile.profile_column(a), profile.profile_column(b), a, b)
    assert made["measure"] == "ks"
    assert made["distance"] == pytest.approx(stats.ks_2samp(a.to_numpy(), b.to_numpy()).statistic)


def test_total_variation():
    a, b = pa.chunked_array([["x"] * 3 + ["y"]]), pa.chunked_array([["x", "z"] * 2])
    made = diff.column_change(profile.profile_column(a), profile.profile_column(b), a, b)
    assert made["distance"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    "kind",
    [pa.timestamp("s"), pa.date32(), pa.duration("ms"), pa.time32("s"), pa.decimal128(12, 0), pa.float16()],
    ids=str,
)
def test_distance_of_other_numbers(kind):
    via = {"halffloat": pa.float64(), "timestamp[s]": pa.int64(), "duration[ms]": pa.int64()}.get(str(kind), pa.int32())
    a, b = (pa.chunked_array([pa.array(v, via).cast(kind)]) for v in ([1, 2], [3, 4]))
    made = diff.column_change(profile.profile_column(a), profile.profile_column(b), a, b)
    assert made["distance"] == 1.0
