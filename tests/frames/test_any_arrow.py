"""Any table Arrow can make comes back as it was, with one digest however it is laid out."""

from __future__ import annotations

import pyarrow as pa
from arrow_strategies import tables
from hypothesis import HealthCheck, given, settings

from nbmlops.frames import arrow, digest, layouts, parquet

MANY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def stored(packed):
    return parquet.read(pa.BufferReader(parquet.write(packed.table)))


def frame_digest(packed):
    return digest.table_digest(packed.table, packed.manifest)[0]


@MANY
@given(tables())
def test_comes_back(table):
    packed = arrow.pack(table)
    back = arrow.unpack(stored(packed), packed.manifest, "arrow")
    assert back.schema.equals(table.schema, check_metadata=True)
    back.validate(full=True)
    again = arrow.pack(back)
    assert frame_digest(again) == frame_digest(packed)
    for a, b in zip(table.columns, back.columns, strict=True):
        assert digest.column_digest(layouts.plain(a)) == digest.column_digest(layouts.plain(b))
