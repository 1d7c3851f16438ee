"""Loading what filters leave, and as frames that read when they must."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbmlops.datasets import Datasets
from nbmlops.errors import BlobCorrupt, InvalidValue, NotFound
from nbmlops.frames.chunks import cuts
from nbmlops.workspace import Workspace

ROWS = 1000


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(cuts, "ROWS", 64)


@pytest.fixture
def desk(ws: Workspace) -> Datasets:
    return ws.datasets


def frame() -> pd.DataFrame:
    r = np.random.default_rng(0)
    made = pd.DataFrame(
        {
            "place": np.arange(ROWS) // 10,
            "x": r.normal(size=ROWS),
            "c": pd.Categorical(r.choice(["a", "b"], ROWS), categories=["b", "a", "z"]),
            "t": pd.date_range("2024", periods=ROWS, freq="h", tz="Europe/Berlin", unit="ns"),
            "s": pd.Series(r.choice(["u", "v", None], ROWS), dtype="str"),
        },
        index=pd.RangeIndex(5, 5 + 3 * ROWS, 3, name="row"),
    )
    made.loc[made.index[::7], "x"] = np.nan
    return made


FRAME = frame()


# --- filters -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("filters", "mask"),
    [
        ([("place", ">=", 90)], FRAME.place >= 90),
        ([("place", "<", 3), ("c", "==", "a")], (FRAME.place < 3) & (FRAME.c == "a")),
        ([[("place", "<", 3), ("c", "in", ["a"])], [("s", "==", "v")]],
         (FRAME.place < 3) & (FRAME.c == "a") | (FRAME.s == "v")),
        ([("t", "<", pd.Timestamp("2024-01-02", tz="UTC"))], FRAME.t < pd.Timestamp("2024-01-02", tz="UTC")),
        ([("t", "in", [pd.Timestamp("2024-01-02", tz="UTC")])], FRAME.t == pd.Timestamp("2024-01-02", tz="UTC")),
        ([("s", "!=", "u")], FRAME.s.notna() & (FRAME.s != "u")),
        ([("s", "not in", ["u"])], FRAME.s != "u"),
        ([("x", ">", 0.5)], FRAME.x > 0.5),
        ([("t", "in", [])], FRAME.place < 0),
        ([("place", "==", -1)], FRAME.place < 0),
    ],
)  # fmt: skip
def test_filtered_rows_keep_their_labels(desk, filters, mask):
    desk.snapshot(FRAME, "f")
    pd.testing.assert_frame_equal(desk.load("f", filters=filters), FRAME[mask])
    pd.testing.assert_frame_equal(desk.load("f", ["s", "x"], filters=filters), FRAME.loc[mask, ["s", "x"]])
    assert desk.load("f", ["place"], as_="polars", filters=filters)["place"].to_list() == FRAME.place[mask].tolist()
    lazily = desk.load("f", as_="dask", filters=filters)
    pd.testing.assert_frame_equal(lazily.compute(), FRAME[mask])
    found = desk.load("f", ["place"], as_="duckdb", filters=filters)
    assert found.fetchnumpy()["place"].tolist() == FRAME.place[mask].tolist()


def test_filters_of_frames_with_other_labels(desk):
    keyed = FRAME.set_index(["s", "t"])
    desk.snapshot(keyed, "keyed")
    pd.testing.assert_frame_equal(desk.load("keyed", filters=[("place", "<", 7)]), keyed[keyed.place < 7])
    numbered = pd.DataFrame({1: [1, 2, 3], 2: ["a", "b", "c"]})
    desk.snapshot(numbered, "numbered")
    pd.testing.assert_frame_equal(desk.load("numbered", [2], filters=[(1, ">", 1)]), numbered.loc[1:, [2]])
    odd = pd.DataFrame({"__row__": [1, 2, 3], "_row": [4, 5, 6]})
    desk.snapshot(odd, "odd")
    pd.testing.assert_frame_equal(desk.load("odd", filters=[("__row__", ">", 1), ("_row", "<", 6)]), odd[1:2])
    desk.snapshot(pl.DataFrame({"n": [1, 2], "c": pl.Series(["x", "y"], dtype=pl.Categorical)}), "polars")
    assert desk.load("polars", as_="polars", filters=[("c", "==", "y")])["n"].to_list() == [2]
    assert desk.load("polars", filters=[("n", ">", 1)])["c"].tolist() == ["y"]


@pytest.mark.parametrize("as_", ["pandas", "arrow", "dask", "duckdb"])
def test_filters_that_do_not_fit(desk, as_):
    desk.snapshot(FRAME, "f")
    with pytest.raises(NotFound, match="no columns 'nope', 'neither'"):
        desk.load("f", as_=as_, filters=[[("nope", ">", 1)], [("place", ">", 1), ("neither", "==", 1)]])
    for wrong in ([("place", "<", "a")], [("s", "<", 5)], [("t", "<", "yesterday")]):
        with pytest.raises(InvalidValue, match="do not fit the columns"):
            desk.load("f", as_=as_, filters=wrong)
    for wrong in ([], [[]], [("place", 3)], ("place", ">", 3), "place > 3", [("place", "~", 3)], [(["place"], ">", 3)]):
        with pytest.raises(InvalidValue, match="filters"):
            desk.load("f", as_=as_, filters=wrong)


def test_chunks_that_cannot_hold_such_rows_are_not_read(desk):
    made = desk.snapshot(FRAME[["place", "x"]], "f")
    lost = made.files()[-1]  # a link to the stored file
    first = pq.read_metadata(made.files()[0]).num_rows
    path = Path(lost).resolve()
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 0xFF
    path.write_bytes(data)
    few = [("place", "<", first // 10)]
    pd.testing.assert_frame_equal(desk.load("f", filters=few), FRAME.loc[FRAME.place < first // 10, ["place", "x"]])
    assert len(desk.load("f", as_="dask", filters=few)) == first // 10 * 10
    assert desk.load("f", as_="dask", filters=few).npartitions == 1
    with pytest.raises(BlobCorrupt):
        desk.load("f", filters=[("place", ">", 90)])


VALUES = [3.0, -0.0, 0.0, 1.5, float("inf"), float("nan"), None]
OPERATORS = ["==", "!=", "<", "<=", ">", ">=", "in", "not in"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_what_is_skipped_changes_nothing(desk, data):
    runs = data.draw(st.lists(st.tuples(st.sampled_from(VALUES), st.integers(1, 150)), min_size=1, max_size=6))
    column = [value for value, count in runs for _ in range(count)]
    column[0] = data.draw(st.sampled_from(VALUES))
    table = pa.table({"x": pa.array(column, pa.float64()), "n": range(len(column))})
    desk.snapshot(table, "t")
    operator, value = data.draw(st.sampled_from(OPERATORS)), data.draw(st.sampled_from(VALUES[:5]))
    asked = [("x", operator, [value, 7.0] if operator.endswith("in") else value)]
    expected = table.filter(pq.filters_to_expression(asked))
    assert desk.load("t", ["n"], as_="arrow", filters=asked)["n"].to_pylist() == expected["n"].to_pylist()


# --- DuckDB and Dask ---------------------------------------------------------------------------------------------
def test_a_duckdb_relation(desk):
    desk.snapshot(FRAME, "f")
    relation = desk.load("f", as_="duckdb")
    assert relation.columns == [*FRAME.columns]
    assert relation.aggregate("count(*), max(place)").fetchall() == [(ROWS, 99)]
    per_class = dict(relation.filter("s = 'u'").aggregate("c, count(*)", "c").fetchall())
    assert per_class == FRAME[FRAME.s == "u"].c.value_counts()[["a", "b"]].to_dict()
    assert desk.load("f", ["x", "c"], as_="duckdb").columns == ["x", "c"]
    assert desk.load("f", ["x"], as_="duckdb").fetchnumpy()["x"].shape == (ROWS,)
    keyed = FRAME.set_index("t")
    desk.snapshot(keyed, "keyed")
    assert desk.load("keyed", as_="duckdb").columns == ["place", "x", "c", "s", "t"]
    assert desk.load("keyed", ["s"], as_="duckdb").columns == ["s", "t"]


@pytest.mark.parametrize("index", [[], ["t"], ["t", "s"]])
def test_a_dask_frame_is_what_pandas_has(desk, index):
    whole = FRAME.set_index(index) if index else FRAME
    desk.snapshot(whole, "f")
    lazily = desk.load("f", as_="dask")
    assert lazily.npartitions > 3
    assert lazily.dtypes.to_dict() == whole.dtypes.to_dict()
    pd.testing.assert_frame_equal(lazily.compute(), whole, check_freq=False)
    pd.testing.assert_frame_equal(desk.load("f", ["c", "x"], as_="dask").compute(), whole[["c", "x"]], check_freq=False)
    sums = lazily.groupby("c", observed=True)["place"].sum().compute()
    assert sums.to_dict() == whole.groupby("c", observed=True)["place"].sum().to_dict()


def test_lazy_frames_of_no_rows(desk):
    desk.snapshot(FRAME[:0], "none")
    pd.testing.assert_frame_equal(desk.load("none", as_="dask").compute(), FRAME[:0])
    assert desk.load("none", as_="duckdb").fetchall() == []
    pd.testing.assert_frame_equal(desk.load("none", filters=[("place", ">", 1)]), FRAME[:0], check_index_type=False)


def test_lazy_frames_of_arrow_tables(desk):
    table = pa.table({"n": range(500), "d": pa.array(["x", "y"] * 250).dictionary_encode()})
    desk.snapshot(table, "t")
    assert desk.load("t", as_="dask").n.sum().compute() == pc.sum(table["n"]).as_py()
    assert desk.load("t", as_="duckdb").filter("d = 'x'").aggregate("count(*)").fetchall() == [(250,)]
