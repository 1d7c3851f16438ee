"""The plain files of a version, read by other engines: the same rows in the same order, however they are stored."""

from __future__ import annotations

from pathlib import Path

import dask
import dask.dataframe
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.dataset
import pytest

from nbmlops.frames.chunks import cuts, patches

ROWS = 5000


def first() -> pd.DataFrame:
    r = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": np.arange(ROWS),
            "x": np.where(r.random(ROWS) < 0.1, np.nan, r.normal(size=ROWS)),
            "n": pd.array(np.where(r.random(ROWS) < 0.1, None, r.integers(0, 9, ROWS)), dtype="Int64"),
            "c": pd.Categorical(r.choice(["a", "b"], ROWS)),
            "when": pd.date_range("2024", periods=ROWS, freq="min", tz="Europe/Berlin"),
            "list": [[i, i + 1] for i in range(ROWS)],
            "text": r.choice(["", "one", None], ROWS),
        }
    )


def patched(frame):
    return frame.assign(x=frame["x"].where(frame.index % 701 != 0, 0.25))


VERSIONS = {
    "whole": lambda f: f,
    "patched": patched,
    "a column added": lambda f: f.assign(more=f["id"] % 7),
    "a column renamed": lambda f: f.rename(columns={"text": "label"}),
    "rows inserted": lambda f: pd.concat([f.iloc[:2000], f.iloc[10:60], f.iloc[2000:]], ignore_index=True),
}


@pytest.fixture(params=VERSIONS)
def version(request, ws, monkeypatch):
    monkeypatch.setattr(cuts, "ROWS", 512)
    monkeypatch.setattr(patches, "ROWS", 64)
    ws.datasets.snapshot(first(), "x")
    return ws.datasets.snapshot(VERSIONS[request.param](first()), "x")


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """What counts: the values, not in which dtype an engine has them."""
    text = next(c for c in ("text", "label") if c in frame)
    return pd.DataFrame(
        {
            "id": frame["id"].astype("int64"),
            "x": frame["x"].astype("float64"),
            "n": frame["n"].astype("Int64"),
            "c": frame["c"].astype(str),
            "when": pd.to_datetime(frame["when"], utc=True).astype("datetime64[ns, UTC]"),
            "list": [[int(i) for i in v] for v in frame["list"]],
            "text": [v if isinstance(v, str) else None for v in frame[text]],
        }
    ).reset_index(drop=True)


def by_dask(files):
    with dask.config.set({"dataframe.convert-string": False}):  # it would make text of lists
        return dask.dataframe.read_parquet(files).compute()


def test_every_engine_reads_the_same_rows(ws, version):
    files = version.files()
    (folder,) = {str(Path(f).parent) for f in files}
    assert len(files) > 3
    wanted = plain(ws.datasets.load(version))
    found = {
        "pyarrow, files": pyarrow.dataset.dataset(files).to_table().to_pandas(),
        "pyarrow, folder": pyarrow.dataset.dataset(folder).to_table().to_pandas(),
        "duckdb": duckdb.read_parquet(files).df(),
        "duckdb, folder": duckdb.sql(f"SELECT * FROM read_parquet('{folder}/*.parquet')").df(),
        "polars": pl.read_parquet(files).to_pandas(),
        "polars, lazily": pl.scan_parquet(folder).collect().to_pandas(),
        "dask": by_dask(files),
        "dask, folder": by_dask(folder),
        "as duckdb": ws.datasets.load(version, as_="duckdb").df(),
        "as dask": ws.datasets.load(version, as_="dask").compute(),
    }
    for engine, frame in found.items():
        pd.testing.assert_frame_equal(plain(frame), wanted, obj=engine)
    total = duckdb.read_parquet(files).aggregate("count(*), sum(id)").fetchall()[0]
    assert total == (len(wanted), wanted["id"].sum())


def test_dask_has_what_pandas_has(ws, version):
    whole = ws.datasets.load(version)
    lazily = ws.datasets.load(version, as_="dask")
    assert lazily.npartitions == len(version.files())
    assert lazily.dtypes.astype(str).to_dict() == whole.dtypes.astype(str).to_dict()
    pd.testing.assert_frame_equal(lazily.compute(), whole)
    some = ws.datasets.load(version, columns=["x", "id"], as_="dask").compute()
    pd.testing.assert_frame_equal(some, whole[["x", "id"]])
