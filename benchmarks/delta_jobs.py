"""The jobs as a user of Delta (delta-rs) writes them. Run as ``python delta_jobs.py JOB OPTIONS``, as JSON."""

from __future__ import annotations

import json
import sys

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from benchmarks.meter import Meter, repeated
from benchmarks.samples import read, sales

STORE = "store"
DATA = "store/data"


def _warm() -> None:
    """What is loaded late has been loaded before anything is measured."""
    write_deltalake("warm", sales(1000), mode="overwrite")
    DeltaTable("warm").to_pyarrow_table().to_pandas()


def write(table: str, way: str, library: str = "arrow") -> dict[str, float]:
    """Keep a table, all of it or (``append``, ``merge``) only what is new, by the call meant for that."""
    data = read(table)
    _warm()
    given = data.to_pandas() if library == "pandas" else data
    with Meter(STORE) as spent:
        if way in {"create", "append"}:
            write_deltalake(DATA, given, mode="append" if way == "append" else "error")
        elif way == "overwrite":
            write_deltalake(DATA, given, mode="overwrite", schema_mode="overwrite")
        else:
            merge = DeltaTable(DATA).merge(data, "t.id = s.id", source_alias="s", target_alias="t")
            merge.when_matched_update_all().execute()
    return spent.costs()


def load(columns: list[str] | None, repeats: int) -> dict[str, float]:
    """A whole table, or one column, as Arrow and as pandas."""
    _warm()
    arrow = repeated(lambda: _loaded(columns), repeats, "arrow_")
    return {**arrow, **repeated(lambda: _loaded(columns).to_pandas(), repeats, "pandas_")}


def _loaded(columns: list[str] | None) -> pa.Table:
    return DeltaTable(DATA).to_pyarrow_table(columns=columns)


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](**json.loads(sys.argv[2]))))
