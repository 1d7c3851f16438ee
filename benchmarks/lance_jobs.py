"""The jobs as a user of Lance writes them. Run as ``python lance_jobs.py JOB OPTIONS``, OPTIONS being JSON."""

from __future__ import annotations

import json
import sys

import lance
import pyarrow as pa

from benchmarks.meter import Meter, repeated
from benchmarks.samples import read, sales

STORE = "store"
DATA = "store/data.lance"


def _warm() -> None:
    """What is loaded late has been loaded before anything is measured."""
    lance.write_dataset(sales(1000), "warm.lance", mode="overwrite")
    lance.dataset("warm.lance").to_table().to_pandas()


def write(table: str, way: str, library: str = "arrow") -> dict[str, float]:
    """Keep a table, all of it or (``append``, ``merge``, ``add_columns``) only what is new, by the call for that."""
    data = read(table)
    _warm()
    given = data.to_pandas() if library == "pandas" else data
    with Meter(STORE) as spent:
        if way in {"create", "overwrite", "append"}:
            lance.write_dataset(given, DATA, mode=way)
        elif way == "merge":
            lance.dataset(DATA).merge_insert("id").when_matched_update_all().execute(data)
        else:
            lance.dataset(DATA).add_columns(data.to_reader(max_chunksize=1 << 17))
    return spent.costs()


def load(columns: list[str] | None, repeats: int) -> dict[str, float]:
    """A whole table, or one column, as Arrow and as pandas."""
    _warm()
    arrow = repeated(lambda: _loaded(columns), repeats, "arrow_")
    return {**arrow, **repeated(lambda: _loaded(columns).to_pandas(), repeats, "pandas_")}


def _loaded(columns: list[str] | None) -> pa.Table:
    return lance.dataset(DATA).to_table(columns=columns)


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](**json.loads(sys.argv[2]))))
