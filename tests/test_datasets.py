"""The desk of data sets on a real store."""

from __future__ import annotations

import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from nbmlops.context import Context
from nbmlops.datasets import Datasets
from nbmlops.errors import BlobCorrupt, InvalidValue, NotFound
from nbmlops.frames.chunks import cuts
from nbmlops.store import open_store, schema


class Uses:
    """Stands in for the desk of runs: remembers what it was told."""

    def __init__(self):
        self.told = []

    def use_dataset(self, run_id, name, version, mode="read"):
        self.told.append((run_id, name, version, mode))


@pytest.fixture
def uses():
    return Uses()


@pytest.fixture
def desk(store, uses):
    return Datasets(store, lambda: Context(user="tester"), uses)


FRAME = pd.DataFrame(
    {
        "a": [1, 2, 3],
        "c": pd.Categorical([3, None, 1], categories=[3, 2, 1]),
        "t": pd.date_range("2020", periods=3, tz="UTC"),
    },
    index=pd.Index(["x", "y", "z"], name="key"),
)


def count(store):
    with store.read() as db:
        return db.execute(sa.select(sa.func.count()).select_from(schema.dataset_versions)).scalar()


def blobs(store):
    return sorted(store.blobs.digests())


def test_snapshot_and_load(desk):
    made = desk.snapshot(FRAME, "sales", "first")
    assert (made.ref, made.new, made.rows, made.columns, made.message, made.user) == (
        "dataset:sales@1",
        True,
        3,
        3,
        "first",
        "tester",
    )
    assert [c["name"] for c in made.schema] == ["a", "c", "t", "key"]
    assert made.bytes > 0
    pd.testing.assert_frame_equal(desk.load("sales"), FRAME)
    pd.testing.assert_frame_equal(desk.load("dataset:sales@1", columns=["t", "a"]), FRAME[["t", "a"]])
    pd.testing.assert_frame_equal(made.to_pandas(columns=["c"]), FRAME[["c"]])
    assert isinstance(desk.load("sales", as_="polars"), pl.DataFrame)
    assert made.to_arrow(["a"]).to_pydict() == {"a": [1, 2, 3], "key": ["x", "y", "z"]}
    assert made.profile["rows"] == 3
    assert made.profile["columns"]["c"]["kind"] == "categorical"
    assert made.to_dict()["name"] == "sales"


def test_same_content_is_the_same_version(desk, store):
    first = desk.snapshot(FRAME, "sales")
    before = blobs(store)
    again = desk.snapshot(FRAME.copy(), "sales", "another message")
    assert (again.version, again.new, again.digest, again.message) == (1, False, first.digest, "")
    assert blobs(store) == before
    changed = desk.snapshot(FRAME.assign(a=[1, 2, 4]), "sales")
    assert (changed.version, changed.new) == (2, True)
    before = blobs(store)
    back = desk.snapshot(FRAME, "sales")
    assert (back.version, back.new, back.digest, back.manifest) == (3, True, first.digest, first.manifest)
    assert blobs(store) == before
    assert [v.version for v in desk.versions("sales")] == [1, 2, 3]
    assert desk.snapshot(FRAME, "other").manifest == first.manifest
    assert [v.ref for v in desk.list()] == ["dataset:other@1", "dataset:sales@3"]


def test_pins_and_aliases(store, uses):
    pins = {}
    desk = Datasets(store, lambda: Context(user="t", pins=pins), uses)
    desk.snapshot({"a": [1]}, "x")
    desk.snapshot({"a": [2]}, "x")
    with store.write() as db:
        db.execute(sa.insert(schema.dataset_aliases).values(name="x", alias="gold", version=1))
    assert desk.get("x").version == 2
    assert (desk.get("x@gold").version, desk.get("x@gold").aliases) == (1, ("gold",))
    pins["dataset:x"] = 1
    assert desk.get("x").version == 1
    assert desk.get("x@2").version == 2
    assert desk.load("x", as_="arrow").to_pydict() == {"a": [1]}


def test_uses_are_recorded_in_a_run(store, uses):
    desk = Datasets(store, lambda: Context(user="t", run_id="R", notebook="a.ipynb", cell_id="c1"), uses)
    made = desk.snapshot({"a": [1]}, "x", source={"note": "by hand"})
    desk.snapshot({"a": [1]}, "x")
    desk.load("x")
    desk.profile("x")
    assert uses.told == [("R", "x", 1, "write"), ("R", "x", 1, "write"), ("R", "x", 1, "read")]
    assert made.run_id == "R"
    assert made.source == {"type": "frame", "path": "a.ipynb", "cell_id": "c1", "run_id": "R", "note": "by hand"}


def test_a_failed_use_leaves_no_version(store):
    class Broken:
        def use_dataset(self, run_id, name, version, mode="read"):
            raise RuntimeError("no")

    desk = Datasets(store, lambda: Context(user="t", run_id="R"), Broken())
    with pytest.raises(RuntimeError):
        desk.snapshot({"a": [1]}, "x")
    assert count(store) == 0


def test_what_does_not_exist(desk):
    with pytest.raises(NotFound, match="no data set 'sale'") as caught:
        desk.get("sale")
    assert "snapshot" in caught.value.hint
    desk.snapshot(FRAME, "sales")
    with pytest.raises(NotFound) as caught:
        desk.load("sale")
    assert "'sales'" in caught.value.hint
    with pytest.raises(NotFound, match="data set 'sales' has no version 7") as caught:
        desk.load("sales@7")
    assert caught.value.hint == "there is: 1"
    with pytest.raises(NotFound, match="alias of data set 'sales' 'gold'"):
        desk.get("sales@gold")
    with pytest.raises(NotFound, match="no columns 'nope', 'b'"):
        desk.load("sales", columns=["a", "nope", "b"])
    with pytest.raises(NotFound, match="no column 'ab'"):
        desk.load("sales", columns="ab")
    with pytest.raises(InvalidValue, match="'spark'") as caught:
        desk.load("sales", as_="spark")
    assert "pandas, polars, arrow" in caught.value.hint
    with pytest.raises(InvalidValue, match="name of a data set"):
        desk.snapshot(FRAME, "../x")
    with pytest.raises(InvalidValue, match="not a frame"):
        desk.snapshot(3, "x")
    with pytest.raises(NotFound, match=r"no file or folder 'gone\.csv'"):
        desk.snapshot("gone.csv", "x")


def test_nothing_is_kept_of_a_frame_that_is_refused(desk, store):
    with pytest.raises(InvalidValue, match="column 'b'"):
        desk.snapshot(pd.DataFrame({"a": [1, 2], "b": pd.Series([1, object()], dtype=object)}), "x")
    assert count(store) == 0
    assert blobs(store) == []


def test_polars_and_arrow_come_back_as_they_were(desk):
    frame = pl.DataFrame({"e": pl.Series(["u", None], dtype=pl.Enum(["v", "u"])), "f": [1.0, None]})
    desk.snapshot(frame, "p")
    assert desk.load("p", as_="polars").equals(frame)
    assert desk.load("p", as_="polars", columns=["f", "e"]).columns == ["f", "e"]
    assert desk.load("p").dtypes["e"] == pd.CategoricalDtype(["v", "u"], ordered=True)
    table = pa.table({"t": pa.array([1, None], pa.timestamp("s")), "d": pa.array(["a", "b"]).dictionary_encode()})
    desk.snapshot(table, "a")
    assert desk.load("a", as_="arrow").equals(table)
    assert desk.load("a", as_="arrow", columns=["d"]).equals(table.select(["d"]))


def test_files_are_plain_parquet(desk, monkeypatch):
    monkeypatch.setattr(cuts, "ROWS", 512)
    frame = pd.DataFrame({"i": range(2500), "s": pd.Categorical(["a", "b"] * 1250)})
    made = desk.snapshot(frame, "big")
    assert 3 <= len(made.files()) <= 5
    assert pyarrow.dataset.dataset(made.files()).to_table()["i"].to_pylist() == list(range(2500))
    assert pl.concat([pl.read_parquet(f) for f in made.files()])["s"].to_list() == ["a", "b"] * 1250
    pd.testing.assert_frame_equal(desk.load("big"), frame)
    pd.testing.assert_frame_equal(desk.load("big", columns=["s"]), frame[["s"]])
    assert desk.verify("big")[0].ok
    assert pq.read_schema(made.files()[0]).names == ["i", "s"]


def test_csv_and_parquet_files(desk, tmp_path):
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=pd.Index([5, 6], name="k"))
    frame.to_csv(tmp_path / "f.csv")
    frame.to_parquet(tmp_path / "f.parquet")
    made = desk.snapshot(tmp_path / "f.csv", "csv")
    assert made.source["type"] == "file"
    assert made.source["path"].endswith("f.csv")
    assert desk.load("csv")["a"].tolist() == [1, 2]
    desk.snapshot(str(tmp_path / "f.parquet"), "parquet")
    pd.testing.assert_frame_equal(desk.load("parquet"), frame)
    (tmp_path / "bad.csv").write_text("a,b\n1\n")
    (tmp_path / "f.txt").write_text("x")
    with pytest.raises(InvalidValue, match=r"bad\.csv cannot be read"):
        desk.snapshot(tmp_path / "bad.csv", "x")
    with pytest.raises(InvalidValue, match=r"f\.txt is not a file"):
        desk.snapshot(tmp_path / "f.txt", "x")


def folder(path: Path) -> Path:
    (path / "sub").mkdir(parents=True)
    (path / "a.txt").write_text("one")
    (path / "sub" / "b.bin").write_bytes(bytes(range(256)))
    (path / "link").symlink_to("a.txt")
    (path / "away").symlink_to("/etc")
    return path


def test_folders(desk, store, tmp_path):
    tree = folder(tmp_path / "data")
    made = desk.snapshot(tree, "files")
    assert (made.kind, made.rows, made.columns, made.bytes) == ("files", 2, 0, 259)
    assert made.source["symlinks_left_out"] == 2
    view = desk.load("files")
    assert (len(view), list(view), "a.txt" in view) == (2, ["a.txt", "sub/b.bin"], True)
    assert view.bytes("a.txt") == b"one"
    assert view.open("sub/b.bin").read(3) == b"\x00\x01\x02"
    with pytest.raises(NotFound) as caught:
        view.bytes("b.txt")
    assert "a.txt" in caught.value.hint
    assert not desk.snapshot(tree, "files").new
    assert (tree / "a.txt").stat().st_nlink == 1
    (tree / "a.txt").write_text("two")
    changed = desk.snapshot(tree, "files")
    assert (changed.version, desk.load("files@1").bytes("a.txt")) == (2, b"one")
    difference = desk.diff("files@1", "files@2")
    assert (difference.same, difference.rows_added, difference.rows_removed) == (False, 1, 1)
    assert desk.profile("files") == {"files": 2, "bytes": 259, "suffixes": {".bin": 1, ".txt": 1}}
    written = desk.export("files@1", tmp_path / "out")
    assert [Path(w).read_bytes() for w in written] == [b"one", bytes(range(256))]
    with pytest.raises(InvalidValue, match="exist already"):
        desk.export("files@2", tmp_path / "out")
    with pytest.raises(InvalidValue, match="no columns"):
        desk.load("files", columns=["a"])
    with pytest.raises(InvalidValue, match="folder of files"):
        desk.to_arrow("files")
    desk.snapshot(FRAME, "sales")
    with pytest.raises(InvalidValue, match="compare two of one kind"):
        desk.diff("files", "sales")


def test_a_folder_around_the_store_leaves_the_store_out(desk, store):
    (store.folder.parent / "x.txt").write_text("x")
    assert list(desk.load(desk.snapshot(store.folder.parent, "here"))) == ["x.txt"]


def test_diff(desk):
    desk.snapshot(pd.DataFrame({"a": [1.0, 2, 3], "s": ["x", "x", "y"], "gone": 1}), "d")
    desk.snapshot(pd.DataFrame({"a": [1.0, 2, 30, 4], "s": pd.Categorical(["x", "x", "y", "y"]), "new": 1}), "d")
    made = desk.diff("d@1", "d@2")
    assert (made.same, made.rows_before, made.rows_after, made.rows_added, made.rows_removed) == (False, 3, 4, 2, 1)
    assert (made.columns_added, made.columns_removed) == (("new",), ("gone",))
    assert made.types_changed == {"s": ("large_string", "large_string (categorical)")}
    assert set(made.columns_changed) == {"a", "s"}
    assert made.columns_changed["a"]["mean"] == [2.0, 9.25]
    assert 0 < made.columns_changed["a"]["distance"] <= 1
    same = desk.get("d@1").diff("d@1")
    assert (same.same, same.rows_added) == (True, 0)


def test_export_of_a_frame(desk, tmp_path):
    desk.snapshot(FRAME, "sales")
    (written,) = desk.export("sales", tmp_path / "out")
    assert written.endswith("part-00000.parquet")
    assert pd.read_parquet(written)["a"].tolist() == [1, 2, 3]


def damage(store, digest):
    path = Path(store.blobs.url(digest))
    path.chmod(stat.S_IWUSR | stat.S_IRUSR)
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 0xFF
    path.write_bytes(data)


def test_damage_is_found(desk, store):
    noise = np.random.default_rng(0).normal(size=(20_000, 2))
    made = desk.snapshot(pd.DataFrame(noise, columns=["a", "b"]), "noise")
    desk.snapshot(FRAME, "fine")
    assert all(f.ok for f in desk.verify())
    name = Path(made.files()[0]).resolve()
    damage(store, f"sha256:{name.parent.name}{name.name}")
    findings = {f.asked.split()[0]: f for f in desk.verify()}
    assert findings["dataset:fine@1"].ok
    assert findings["dataset:noise@1"].level == "block"
    with pytest.raises(BlobCorrupt):
        desk.load("noise")
    with pytest.raises(BlobCorrupt):
        desk.load("noise", columns=["a"])
    os.remove(name)
    with pytest.raises(NotFound, match="missing"):
        desk.load("noise", columns=["a"])


def test_threads_with_the_same_frame_make_one_version(desk, store):
    start = threading.Barrier(8)

    def snap(i):
        start.wait()
        return desk.snapshot(FRAME if i % 2 else FRAME.copy(), "sales")

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(snap, range(8)))
    assert {m.version for m in made} == {1}
    assert sum(m.new for m in made) == 1
    assert count(store) == 1


def snap_in_a_process(folder, value):
    store = open_store(folder)
    made = Datasets(store, lambda: Context(user="t"), Uses()).snapshot({"a": [value]}, "x")
    store.close()
    return made.version


def test_processes(store):
    with get_context("spawn").Pool(4) as pool:
        same = pool.starmap(snap_in_a_process, [(store.folder, 1)] * 4)
        different = pool.starmap(snap_in_a_process, [(store.folder, i) for i in range(2, 8)])
    assert set(same) == {1}
    assert sorted(different) == [2, 3, 4, 5, 6, 7]


def test_odd_frames(desk):
    for i, frame in enumerate([pd.DataFrame(), pd.DataFrame(index=range(3)), FRAME.iloc[:0], pd.DataFrame(np.eye(2))]):
        made = desk.snapshot(frame, f"odd{i}")
        assert made.rows == len(frame)
        pd.testing.assert_frame_equal(desk.load(f"odd{i}"), frame)
        assert desk.verify(made)[0].ok
    assert desk.load("odd3", columns=[1])[1].tolist() == [0.0, 1.0]
