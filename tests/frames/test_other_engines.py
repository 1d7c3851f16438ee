"""A frame of one library can be loaded as one of another, whatever its types."""

from __future__ import annotations

import pyarrow as pa
import pytest
from arrow_strategies import tables
from hypothesis import HealthCheck, given, settings
from pandas_strategies import frames

from nbmlops.frames import arrow, parquet

MANY = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def loaded(data, as_):
    packed = arrow.pack(data)
    table = parquet.read(pa.BufferReader(parquet.write(packed.table)))
    return packed, arrow.unpack(table, packed.manifest, as_)


@pytest.mark.parametrize("as_", ["pandas", "polars"])
@MANY
@given(table=tables())
def test_arrow_as_others(as_, table):
    packed, made = loaded(table, as_)
    assert [str(c) for c in made.columns] == table.column_names
    assert not table.num_columns or len(made) == packed.rows


def test_a_fixed_list_of_nulls_beside_a_column_that_is_stored_as_another_type():
    lists = pa.FixedSizeListArray.from_arrays(pa.nulls(4), 2)
    nested = pa.StructArray.from_arrays([lists, pa.array([1, 2])], ["l", "n"])
    _, made = loaded(pa.table({"date": pa.array([0, 0], pa.date64()), "nested": nested}), "pandas")
    assert [(list(row["l"]), row["n"]) for row in made["nested"]] == [([None, None], 1), ([None, None], 2)]


def test_decimals_too_wide_for_polars_are_text():
    kind = pa.map_(pa.string(), pa.decimal256(50, 0))
    table = pa.table({"m": pa.array([[("a", 10**45)]], kind), "d": pa.array([1], pa.decimal256(50, 0))})
    _, made = loaded(table, "polars")
    assert made["d"].to_list() == ["1"]


@pytest.mark.parametrize("as_", ["arrow", "polars"])
@MANY
@given(frame=frames())
def test_pandas_as_others(as_, frame):
    packed, made = loaded(frame, as_)
    assert len(made) == packed.table.num_rows
