"""Column profiles: what a catalogue shows, a contract checks and a monitor compares with.

One profile is a dict that JSON can hold: ``type`` (Arrow), ``kind`` (numeric, boolean, categorical, text, datetime,
nested or empty), ``rows``, ``count`` of present values, ``nulls`` (NaN is one of them), ``distinct``. Numeric and
datetime columns (in seconds since the epoch; durations and times of day in seconds) add ``min max mean std quantiles
histogram`` over their finite values and ``infinite``, the number of the others; datetime columns ``coverage`` (first,
last, and in seconds span and largest gap). Text, categories and booleans add ``top``, up to 20 ``[value, count]``,
``other``, the number of remaining values, and ``lengths`` of texts in characters (of bytes in bytes) or ``balance`` of
classes, or both.

A profile of rows that are in memory is exact. One that is merged from chunks says in ``approximate`` what is not; see
``frames.sketches``.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from nbmlops.frames.sketches import sketch_column, to_profile


def profile_table(table: pa.Table, categorical: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """The profile of every column, by name; ``categorical`` names columns whose values are categories."""
    with ThreadPoolExecutor(2) as pool:
        made = pool.map(lambda n: profile_column(table.column(n), n in categorical), table.column_names)
        return dict(zip(table.column_names, made, strict=True))


def profile_column(column: pa.ChunkedArray | pa.Array, categorical: bool = False) -> dict[str, Any]:
    """The profile of one column; every type has one."""
    return to_profile(sketch_column(column, categorical))
