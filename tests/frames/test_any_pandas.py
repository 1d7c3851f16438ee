"""Any frame pandas can make comes back as it was, with one digest."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
from hypothesis import HealthCheck, example, given, settings
from pandas_strategies import frames

from nbmlops.frames import arrow, digest, parquet, tagged

MANY = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


def again(frame):
    packed = arrow.pack(frame)
    arrow.check_round_trip(frame, packed)
    table = parquet.read(pa.BufferReader(parquet.write(packed.table)))
    return packed, arrow.unpack(table, packed.manifest, "pandas")


def frame_digest(packed):
    return digest.table_digest(packed.table, packed.manifest)[0]


def assert_same(a, b):
    """Equal down to the type of every object."""
    assert list(map(repr, a.columns)) == list(map(repr, b.columns))
    pd.testing.assert_index_equal(a.index, b.index, exact=True, check_exact=True)
    for i in range(a.shape[1]):
        one, other = a.iloc[:, i], b.iloc[:, i]
        assert one.dtype == other.dtype
        if one.dtype == object:
            assert all(map(tagged.same, one, other))
        elif not isinstance(one.dtype, pd.ArrowDtype):  # pandas cannot compare all of these; their digests are
            pd.testing.assert_series_equal(one, other, check_exact=True, check_index=False)


@MANY
@given(frames())
@example(pd.DataFrame(index=pd.MultiIndex.from_tuples([(float("nan"), (0, "")), (float("nan"), "")])))
def test_comes_back(frame):
    packed, back = again(frame)
    assert_same(frame, back)
    assert frame_digest(packed) == frame_digest(arrow.pack(back))
    try:
        twice = back.take([*range(len(back)), *range(len(back))])
    except (ValueError, pa.ArrowNotImplementedError):  # pandas moves no rows of big-endian and run-end columns
        return
    moved = twice.iloc[len(back) :].set_axis(back.index)
    assert frame_digest(packed) == frame_digest(arrow.pack(moved))
