"""Any frame polars can make comes back as it was, with one digest."""

from __future__ import annotations

import warnings

import polars as pl
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from polars.testing.parametric import dataframes

from nbmlops.frames import arrow, digest, parquet

MANY = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


def frame_digest(frame):
    packed = arrow.pack(frame)
    return digest.table_digest(packed.table, packed.manifest)[0]


def bits(frame):
    """The frame with floats as text, so that NaN equals itself and -0.0 differs from 0.0."""
    return [[repr(v) for v in column.to_list()] for column in frame.get_columns()]


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    FRAMES = dataframes(max_cols=4, max_size=6, allow_null=True, allow_chunks=True)


@MANY
@given(FRAMES)
def test_comes_back(frame):
    packed = arrow.pack(frame)
    arrow.check_round_trip(frame, packed)
    table = parquet.read(pa.BufferReader(parquet.write(packed.table)))
    back = arrow.unpack(table, packed.manifest, "polars")
    assert back.schema == frame.schema
    assert bits(back) == bits(frame)
    assert frame_digest(back) == frame_digest(frame) == frame_digest(frame.rechunk())
    twice = pl.concat([frame, frame]).slice(frame.height)
    assert frame_digest(twice) == frame_digest(frame)


def test_a_column_without_a_name():
    test_comes_back.hypothesis.inner_test(pl.DataFrame({"": [1, 2]}))
