"""Loading some rows, large things piece by piece, tags, search, uses, contracts and splits at the desk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from nbmlops.context import Context, hostname
from nbmlops.datasets import profiles
from nbmlops.errors import ContractViolated, InvalidValue, NotFound
from nbmlops.frames import stored, stream
from nbmlops.frames.chunks import cuts, patches
from nbmlops.frames.chunks.reader import Reader
from nbmlops.workspace import Workspace


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(cuts, "ROWS", 256)
    monkeypatch.setattr(patches, "ROWS", 64)


def frame(rows: int = 3000) -> pd.DataFrame:
    r = np.random.default_rng(0)
    return pd.DataFrame(
        {"id": np.arange(rows), "x": r.normal(size=rows), "c": pd.Categorical(r.choice(["a", "b", "c"], rows))}
    )


def watched(monkeypatch) -> list[int]:
    """The numbers of the chunks that are read from now on."""
    read, seen = Reader.read, []

    def note(self, chunk, fields=None):
        seen.append(chunk)
        return read(self, chunk, fields)

    monkeypatch.setattr(Reader, "read", note)
    return seen


# --- filters --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("filters", "rows"),
    [
        ([("id", ">=", 2990)], lambda f: f["id"] >= 2990),
        ([("id", "<", 10), ("c", "==", "a")], lambda f: (f["id"] < 10) & (f["c"] == "a")),
        ([[("id", "<", 3)], [("id", "in", [7, 2000])]], lambda f: f["id"].isin([0, 1, 2, 7, 2000])),
        ([("id", ">", 10**6)], lambda f: f["id"] > 10**6),
    ],
)
def test_filters_leave_the_rows_with_their_labels(ws, filters, rows):
    whole = frame()
    ws.datasets.snapshot(whole, "x")
    wanted = whole[rows(whole)]
    found = ws.datasets.load("x", filters=filters)
    pd.testing.assert_frame_equal(found, wanted, check_index_type=False)
    assert ws.datasets.load("x", ["x"], "arrow", filters=filters)["x"].to_pylist() == wanted["x"].tolist()
    assert len(ws.datasets.load("x", as_="duckdb", filters=filters).df()) == len(wanted)
    assert len(ws.datasets.load("x", as_="dask", filters=filters)) == len(wanted)


def test_chunks_that_cannot_match_are_not_read(ws, monkeypatch):
    ws.datasets.snapshot(frame(), "x")
    seen = watched(monkeypatch)
    assert len(ws.datasets.load("x", filters=[("id", "==", 5)])) == 1
    assert seen == [0]


def test_filters_that_cannot_be(ws):
    ws.datasets.snapshot(frame(), "x")
    with pytest.raises(NotFound, match="'nope'"):
        ws.datasets.load("x", filters=[("nope", "==", 1)])
    for wrong in ("id > 3", [("id", "~", 3)], [("id",)], []):
        with pytest.raises(InvalidValue, match="filters"):
            ws.datasets.load("x", filters=wrong)
    with pytest.raises(InvalidValue, match="do not fit"):
        ws.datasets.load("x", filters=[("id", "==", "text")])


# --- piece by piece -------------------------------------------------------------------------------------------------
TABLE = pa.table(
    {
        "i": np.arange(2000),
        "d": pa.array([f"word {i % 50}" for i in range(2000)]).dictionary_encode(),
        "l": pa.array([[i] for i in range(2000)]),
    }
)


def test_large_files_are_streams_with_the_same_digest(ws, tmp_path, monkeypatch):
    frame().to_parquet(tmp_path / "pandas.parquet")
    pq.write_table(TABLE, tmp_path / "arrow.parquet", row_group_size=300)
    frame().to_csv(tmp_path / "f.csv", index=False)
    for name in ("pandas.parquet", "arrow.parquet", "f.csv"):
        whole = ws.datasets.snapshot(tmp_path / name, f"whole-{name}")
        monkeypatch.setattr(stream, "LARGE", 1)
        monkeypatch.setattr(stream, "_ROWS", 700)
        piecewise = ws.datasets.snapshot(tmp_path / name, f"stream-{name}")
        monkeypatch.undo()
        assert piecewise.digest == whole.digest
        assert ws.datasets.load(piecewise, as_="arrow").equals(ws.datasets.load(whole, as_="arrow"))
    pd.testing.assert_frame_equal(ws.datasets.load("stream-pandas.parquet"), frame())


def test_readers_and_arrow_data_sets(ws, tmp_path):
    made = ws.datasets.snapshot(TABLE.to_reader(400), "x")
    assert made.digest == ws.datasets.snapshot(TABLE, "y").digest
    pyarrow.dataset.write_dataset(TABLE, tmp_path / "parts", format="parquet")
    again = ws.datasets.snapshot(pyarrow.dataset.dataset(tmp_path / "parts"), "x")
    assert (again.version, again.new) == (1, False)
    assert all(f.ok for f in ws.datasets.verify())


def test_a_stream_that_breaks_leaves_no_version(ws):
    def batches():
        yield from TABLE.to_batches(500)[:2]
        raise OSError("the line is dead")

    with pytest.raises(InvalidValue, match="the line is dead"):
        ws.datasets.snapshot(pa.RecordBatchReader.from_batches(TABLE.schema, batches()), "x")
    assert ws.datasets.list() == []


# --- profiles of large versions -------------------------------------------------------------------------------------
def test_a_large_profile_is_made_when_asked_for_and_shared(ws, monkeypatch):
    monkeypatch.setattr(stored, "AT_ONCE", 100)
    whole = frame()
    first = ws.datasets.snapshot(whole, "x")
    assert first.known_profile is None
    profile = first.profile
    assert first.known_profile == profile
    assert profile["columns"]["x"]["mean"] == pytest.approx(whole["x"].mean())
    assert profile["columns"]["c"]["top"][0][1] == whole["c"].value_counts().max()
    second = ws.datasets.snapshot(pd.concat([whole, frame(10)], ignore_index=True), "x")
    seen = watched(monkeypatch)
    assert second.profile["rows"] == 3010
    assert len(set(seen)) <= 2, "only the chunks that are new"
    monkeypatch.setattr(profiles, "AT_ONCE", 0)
    third = ws.datasets.snapshot(whole.assign(x=whole["x"] + (whole["id"] < 100)), "x")
    change = first.diff(third).columns_changed["x"]
    assert 0 < change["part"] < 0.3
    assert 0 < change["distance"] <= change["part"]


# --- catalogue ------------------------------------------------------------------------------------------------------
def test_tags_and_search(ws):
    ws.datasets.snapshot(frame(), "sales", "the first, Oslo only", tags={"tier": "gold", "n": 3})
    ws.datasets.snapshot(frame(10), "other")
    assert ws.datasets.get("sales").tags == {"n": "3", "tier": "gold"}
    assert [v.name for v in ws.datasets.list(tags={"tier": "gold"})] == ["sales"]
    assert ws.datasets.tag("sales", {"tier": "silver", "n": None}).tags == {"tier": "silver"}
    assert ws.datasets.list(tags={"tier": "gold"}) == []
    assert [v.name for v in ws.datasets.list("oslo first")] == ["sales"]
    assert [v.name for v in ws.datasets.list("TESTER")] == ["other", "sales"]
    assert ws.datasets.list("oslo bern") == []
    assert ws.datasets.list("100%_") == []
    with pytest.raises(InvalidValue, match="no usable name"):
        ws.datasets.tag("sales", {"": 1})


def test_who_uses_it(nb):
    with nb.start_run("maker"):
        nb.snapshot(frame(), "x")
    with nb.start_run("reader") as run:
        data = nb.load_dataset("x")
        from sklearn.linear_model import LinearRegression

        nb.register_model(LinearRegression().fit(data[["id"]], data["x"]), "line", input_example=data[["id"]])
    uses = nb.get_dataset("x").uses()
    assert [(u.how, u.name) for u in uses[:2]] == [("wrote", "maker"), ("read", "reader")]
    assert uses[1].by == f"run:{run.run_id}"
    assert [u.by for u in uses[2:]] == ["model:line@1"]


# --- contracts and splits -------------------------------------------------------------------------------------------
RULES = {"columns": {"id": {"min": 0, "max": 99}, "c": {"in": ["a", "b"]}}}


def test_a_contract_refuses_before_there_is_a_version(ws, tmp_path):
    for data in (frame(), pa.Table.from_pandas(frame()).to_reader(500)):
        with pytest.raises(ContractViolated) as caught:
            ws.datasets.snapshot(data, "x", contract=RULES)
        assert len(caught.value.violations) == 2
        assert "row 100" in str(caught.value) or "2,900" in str(caught.value)
    assert ws.datasets.list() == []
    with pytest.warns(UserWarning, match="violates its contract"):
        made = ws.datasets.snapshot(frame(), "x", contract={**RULES, "on_violation": "warn"})
    assert made.source["contract"]["violations"] == 2
    draft = ws.datasets.infer_contract("x").to_yaml()
    (tmp_path / "x.yaml").write_text(draft)
    assert ws.datasets.check("x", tmp_path / "x.yaml").status == "pass"


def test_splits_are_parts(ws):
    whole = ws.datasets.snapshot(frame(), "x")
    parts = ws.datasets.split("x", {"train": 0.7, "test": 0.2, "monitor": 0.1}, by="stratified", column="c", seed=3)
    loaded = {name: ws.datasets.load(v) for name, v in parts.items()}
    rows = [set(f.index) for f in loaded.values()]
    assert [len(r) for r in rows] == [2100, 600, 300]
    assert not set.intersection(*rows)
    assert set.union(*rows) == set(range(3000))
    pd.testing.assert_frame_equal(loaded["test"], frame().loc[sorted(rows[1])], check_index_type=False)
    assert parts["test"].source["of"] == whole.ref
    assert parts["test"].source["digest"] == whole.digest
    again = ws.datasets.split("x@1", {"train": 0.7, "test": 0.2, "monitor": 0.1}, by="stratified", column="c", seed=3)
    assert not any(v.new for v in again.values())
    assert ws.datasets.leakage("x-train", "x-test").ok
    with pytest.raises(NotFound, match="'nope'"):
        ws.datasets.split("x", {"train": 0.5, "test": 0.5}, by="group", column="nope")


def test_a_split_knows_its_notebook(store):
    ws = Workspace(store, lambda: replace(Context(user="tester", host=hostname()), notebook="n.ipynb"))
    ws.datasets.snapshot(frame(), "x")
    made = ws.datasets.split("x", {"train": 0.5, "test": 0.5})
    assert (made["train"].source["type"], made["train"].source["path"]) == ("split", "n.ipynb")
