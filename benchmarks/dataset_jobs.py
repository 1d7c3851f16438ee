"""The jobs of data sets as a user of nbmlops writes them. Run as ``python dataset_jobs.py JOB OPTIONS``, as JSON."""

from __future__ import annotations

import json
import sys

import pandas as pd
import pyarrow.parquet as pq

import nbmlops
from benchmarks.meter import Meter, repeated
from benchmarks.samples import read, sales

STORE = "store"


def _warm() -> None:
    """The store is there, and what is loaded late has been loaded, before anything is measured."""
    nbmlops.snapshot(sales(1000, seed=99), "warm")
    nbmlops.load_dataset("warm")
    nbmlops.load_dataset("warm", as_="arrow")


def write(table: str, way: str, library: str = "arrow") -> dict[str, float]:
    """``snapshot`` of a whole table: there is no other way, whatever has changed. It must come back equal."""
    data = read(table)
    given = data.to_pandas() if library == "pandas" else data
    _warm()
    with Meter(STORE) as spent:
        nbmlops.snapshot(given, "sales")
    assert way == "snapshot"
    assert nbmlops.load_dataset("sales", as_=library).equals(given)
    return spent.costs()


def load(columns: list[str] | None, repeats: int) -> dict[str, float]:
    """A whole table, or one column, as Arrow and as pandas."""
    _warm()
    arrow = repeated(lambda: nbmlops.load_dataset("sales", columns=columns, as_="arrow"), repeats, "arrow_")
    return {**arrow, **repeated(lambda: nbmlops.load_dataset("sales", columns=columns), repeats, "pandas_")}


def plain(file: str, columns: list[str] | None, repeats: int) -> dict[str, float]:
    """The same from one plain Parquet file, which is what DVC gives back."""
    pq.write_table(sales(1000), "warm.parquet")
    pd.read_parquet("warm.parquet")
    arrow = repeated(lambda: pq.read_table(file, columns=columns), repeats, "arrow_")
    return {**arrow, **repeated(lambda: pd.read_parquet(file, columns=columns), repeats, "pandas_")}


def write_plain(table: str, file: str) -> dict[str, float]:
    pq.write_table(read(table), file)
    return {}


def profile(table: str) -> dict[str, float]:
    """The profile of the first version; then of one with rows appended. Each is asked for once."""
    first = nbmlops.get_dataset("sales@1")
    _warm()
    with Meter() as spent:
        assert first.profile["rows"] == first.rows
    second = nbmlops.snapshot(read(table), "sales")
    with Meter() as more:
        assert second.profile["rows"] == second.rows
    return {**spent.costs("first_"), **more.costs("second_")}


def diff(table: str) -> dict[str, float]:
    """The difference to a version in which one place has changed: asked for the first time, and again."""
    _warm()
    second = nbmlops.snapshot(read(table), "sales")
    with Meter() as spent:
        found = second.diff("sales@1")
    with Meter() as more:
        second.diff("sales@1")
    assert not found.same
    assert list(found.columns_changed) == ["price"]
    return {**spent.costs("first_"), **more.costs("again_")}


def first_tree(tree: str) -> dict[str, float]:
    _warm()
    with Meter(STORE) as spent:
        nbmlops.snapshot(tree, "tree")
    return spent.costs()


def tree_again(tree: str) -> dict[str, float]:
    _warm()
    with Meter(STORE) as spent:
        assert not nbmlops.snapshot(tree, "tree").new
    return spent.costs()


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](**json.loads(sys.argv[2]))))
