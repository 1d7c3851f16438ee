"""What one does with a kept folder: labels, views, plain files again, Croissant metadata."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from nbmlops.errors import BlobCorrupt, InvalidValue, NotFound
from nbmlops.frames import folders
from nbmlops.frames.folders import croissant
from nbmlops.store.blobs import Blobs

FILES = {
    "README": b"pets",
    "test/cat/d.txt": b"hiss",
    "train/cat/a.txt": b"purr",
    "train/cat/b.txt": b"meow",
    "train/dog/c.txt": "wüf".encode(),
}
LABELS = pd.DataFrame(
    {
        "file": ["train/dog/c.txt", "train/cat/a.txt", "train/cat/b.txt", "test/cat/d.txt"],
        "label": pd.Categorical(["dog", "cat", "cat", "cat"], ["dog", "cat", "cow"]),
        "weight": pd.array([1, None, 3, 4], dtype="Int8"),
        "split": ["train", "train", "train", "test"],
    }
)


@pytest.fixture
def blobs(tmp_path):
    return Blobs(str(tmp_path / "blobs"))


@pytest.fixture
def tree(tmp_path):
    return make(tmp_path / "tree", FILES)


def make(folder, files):
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def manifest_of(blobs, tree, labels=None):
    found = folders.scan(tree)
    table = None if labels is None else folders.read_labels(labels, found)
    note = None if table is None else folders.put_labels(blobs, table)
    return json.loads(blobs.get(folders.put_manifest(blobs, folders.put_tree(blobs, found), note)))


def view_of(blobs, tree, labels=None, cache=None):
    manifest = manifest_of(blobs, tree, labels)
    return folders.FolderView(blobs, folders.get_entries(blobs, manifest), "pets@1", manifest["labels"], cache)


# --- labels -------------------------------------------------------------------------------------------------------
def test_labels_come_back_as_they_were_given(blobs, tree):
    view = view_of(blobs, tree, LABELS)
    pd.testing.assert_frame_equal(view.labels, LABELS)
    indexed = LABELS.set_index("file")
    pd.testing.assert_frame_equal(view_of(blobs, tree, indexed).labels, indexed)
    unnamed = indexed.rename_axis(None)
    pd.testing.assert_frame_equal(view_of(blobs, tree, unnamed).labels, unnamed)
    polars = pl.DataFrame({"path": ["train/cat/a.txt"], "label": pl.Series(["x"], dtype=pl.Enum(["y", "x"]))})
    assert view_of(blobs, tree, polars).labels.equals(polars)
    table = pa.table({"path": ["train/cat/a.txt"], "boxes": [[1, 2]]})
    assert view_of(blobs, tree, table).labels.equals(table)
    assert view_of(blobs, tree).labels is None


def test_labels_from_files_and_from_folders(blobs, tree, tmp_path):
    LABELS.to_csv(tmp_path / "labels.csv", index=False)
    LABELS.to_parquet(tmp_path / "labels.parquet")
    assert list(view_of(blobs, tree, tmp_path / "labels.csv").labels["label"]) == ["dog", "cat", "cat", "cat"]
    assert list(view_of(blobs, tree, str(tmp_path / "labels.parquet")).labels["label"]) == ["dog", "cat", "cat", "cat"]
    found = folders.read_labels("folders", folders.scan(tree))
    assert found.unlabelled == ["README"]
    assert found.summary()["counts"] == {"label": {"cat": 3, "dog": 1}}
    labels = view_of(blobs, tree, "folders").labels
    assert dict(zip(labels["path"], labels["label"], strict=True))["train/dog/c.txt"] == "dog"
    LABELS.to_csv(tree / "own.csv", index=False)
    assert folders.read_labels("own.csv", folders.scan(tree)).unlabelled == ["README"], "it needs no label itself"


def test_what_is_wrong_with_labels_is_said_at_once(tree, tmp_path):
    found = folders.scan(tree)
    wrong = pd.DataFrame({"path": ["train/cat/a.txt", "gone.txt", None, "./README"], "label": 1})
    with pytest.raises(InvalidValue, match=r"3 faults: row 2 has no path; 'gone\.txt' is not .*; '\./README'"):
        folders.read_labels(wrong, found)
    many = pd.DataFrame({"path": [f"{i}.txt" for i in range(1000)]})
    with pytest.raises(InvalidValue, match="and 950 more"):
        folders.read_labels(many, found)
    for table in (pd.DataFrame({"image": ["README"]}), pd.DataFrame({"path": [1, 2]})):
        with pytest.raises(InvalidValue, match="no column of paths"):
            folders.read_labels(table, found)
    with pytest.raises(InvalidValue, match="could be its label"):
        folders.read_labels("folders", folders.scan(make(tmp_path / "flat", {"a": b""})))
    with pytest.raises(NotFound):
        folders.read_labels("gone.csv", found)
    with pytest.raises(InvalidValue):
        folders.read_labels(3, found)


def test_the_digest_covers_labels(tree):
    found = folders.scan(tree)
    tables = [LABELS, LABELS.assign(weight=0), LABELS.rename(columns={"file": "path"}), LABELS.iloc[::-1]]
    digests = {folders.folder_digest([], folders.read_labels(t, found).meaning()) for t in tables}
    assert len({*digests, folders.folder_digest([])}) == 5
    again = folders.read_labels(LABELS.copy(), found).meaning()
    assert folders.folder_digest([], again) in digests


def test_verify_reads_labels_too(blobs, tree):
    manifest = manifest_of(blobs, tree, LABELS)
    entries = folders.get_entries(blobs, manifest)
    labels = folders.read_labels(LABELS, folders.scan(tree))
    assert folders.verify_folder(blobs, manifest) == folders.folder_digest(entries, labels.meaning())
    assert folders.references(blobs, manifest) >= {f["digest"] for f in manifest["labels"]["files"]}


# --- views --------------------------------------------------------------------------------------------------------
def test_a_view_reads_files(blobs, tree):
    view = view_of(blobs, tree)
    assert (len(view), list(view), "README" in view, 3 in view) == (5, sorted(FILES), True, False)
    assert (view.bytes("README"), view.text("train/dog/c.txt"), view.size("README")) == (b"pets", "wüf", 4)
    assert view.digest("README") == f"sha256:{hashlib.sha256(b'pets').hexdigest()}"
    with view.open("README") as stream:
        stream.seek(1)
        assert stream.read() == b"ets"
    with pytest.raises(InvalidValue, match="not ascii text"):
        view.text("train/dog/c.txt", "ascii")
    with pytest.raises(NotFound, match="READM") as caught:
        view.bytes("READM")
    assert "README" in caught.value.hint


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("*.txt", 4),
        ("train/*/*.txt", 3),
        ("**/*.txt", 4),
        ("**", 5),
        ("**/cat/*", 3),
        ("*", 5),
        ("*/README", 0),
        ("**/README", 1),
        ("train/**/cat/**/a.txt", 1),
        ("train/**", 3),
        ("tra?n/c[ao]t/*", 2),
        ("x", 0),
        ("/".join(["**"] * 200 + ["x"]), 0),
    ],
)
def test_glob(blobs, tree, pattern, count):
    assert len(view_of(blobs, tree).glob(pattern)) == count


def test_a_frame_of_files_with_their_labels(blobs, tree):
    frame = view_of(blobs, tree, LABELS).frame()
    assert list(frame.columns) == ["path", "bytes", "label", "weight", "split"]
    assert list(frame["path"]) == sorted(FILES)
    assert frame["label"].dtype == LABELS["label"].dtype
    assert frame["label"].isna().tolist() == [True, False, False, False, False]
    boxes = pd.DataFrame({"path": ["README", "README"], "bytes": [1, 2]})
    assert view_of(blobs, tree, boxes).frame()["bytes_label"].dropna().tolist() == [1, 2]
    for labels in (LABELS.set_index("file"), LABELS.set_index("file").rename_axis(None)):
        pd.testing.assert_frame_equal(view_of(blobs, tree, labels).frame(), frame)
    assert list(view_of(blobs, tree).frame().columns) == ["path", "bytes"]


def test_select(blobs, tree):
    view = view_of(blobs, tree, LABELS)
    assert list(view.select("train/*/*")) == ["train/cat/a.txt", "train/cat/b.txt", "train/dog/c.txt"]
    cats = view.select(labels={"label": "cat", "split": ["train", "monitor"]})
    assert list(cats) == ["train/cat/a.txt", "train/cat/b.txt"]
    assert list(cats.labels["file"]) == ["train/cat/a.txt", "train/cat/b.txt"]
    assert list(cats.select(["train/cat/b.txt"])) == ["train/cat/b.txt"]
    assert list(view.select(labels={"weight": None})) == ["train/cat/a.txt"]
    with pytest.raises(NotFound, match=r"no files 'x', 'y'"):
        view.select(["x", "README", "y"])
    with pytest.raises(InvalidValue, match="no column 'colour'"):
        view.select(labels={"colour": 1})
    with pytest.raises(InvalidValue, match="cannot be"):
        view.select(labels={"weight": "heavy"})
    with pytest.raises(InvalidValue, match="has no labels"):
        view_of(blobs, tree).select(labels={"label": 1})


def length(view):
    return sum(len(view.bytes(path)) for path in view), len(view.labels)


def test_other_processes_read_from_a_pickled_view(blobs, tree):
    view = view_of(blobs, tree, LABELS)
    assert list(pickle.loads(pickle.dumps(view))) == list(view)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(length, view).result() == (sum(map(len, FILES.values())), 4)


def test_views_of_remote_blobs(tree):
    blobs = Blobs("memory://folders-view")
    view = view_of(blobs, tree, LABELS)
    assert view.bytes("train/cat/a.txt") == b"purr"
    pd.testing.assert_frame_equal(view.labels, LABELS)
    with pytest.raises(InvalidValue, match="say where"):
        view.local("README")


def test_local_copies_are_verified_and_read_only(blobs, tree, tmp_path):
    view = view_of(blobs, tree, cache=tmp_path / "cache")
    copy = view.local("train/cat/a.txt")
    assert (copy.name, copy.read_bytes(), copy.stat().st_mode & 0o777) == ("a.txt", b"purr", 0o444)
    made = copy.stat().st_ino
    assert view.local("train/cat/a.txt").stat().st_ino == made
    copy.chmod(0o644)
    copy.write_bytes(b"edited")
    assert view.local("train/cat/a.txt").read_bytes() == b"purr"
    assert view.local("README", tmp_path / "other").is_relative_to(tmp_path / "other")
    assert view.bytes("train/cat/a.txt") == b"purr"


def test_hostile_names_stay_text(blobs, tmp_path):
    names = ["<script>alert(1)</script>"[:9] + ">", "a&b'\".txt", "line\nbreak", "\u202eevil"]
    view = view_of(blobs, make(tmp_path / "t", dict.fromkeys(names, b"x")))
    shown = view._repr_html_()
    assert "<script" not in shown
    assert "a&amp;b" in shown
    assert "\u202e" not in shown
    assert "4 files" in repr(view)
    assert "<script" not in folders.FolderView(blobs, [], "<script>@1")._repr_html_()


# --- plain files again --------------------------------------------------------------------------------------------
def test_export_gives_the_tree_its_labels_and_metadata(blobs, tree, tmp_path):
    manifest = manifest_of(blobs, tree, LABELS)
    written = folders.export_folder(blobs, manifest, tmp_path / "out", croissant.About("pets", 3))
    assert {os.path.relpath(w, tmp_path / "out"): Path(w).read_bytes() for w in written} == FILES
    assert pd.read_parquet(tmp_path / "out" / "labels.parquet")["weight"].tolist()[0] == 1
    with pytest.raises(InvalidValue, match="exist already"):
        folders.export_folder(blobs, manifest, tmp_path / "out", croissant.About("pets", 3))


def test_the_names_of_a_folder_come_before_ours(blobs, tmp_path):
    tree = make(tmp_path / "t", {"Croissant.json": b"theirs", "labels.parquet": b"theirs", "x/a": b""})
    manifest = manifest_of(blobs, tree, "folders")
    folders.export_folder(blobs, manifest, tmp_path / "out", croissant.About("t", 1))
    assert (tmp_path / "out" / "Croissant.json").read_bytes() == b"theirs"
    assert (tmp_path / "out" / "labels.parquet").read_bytes() == b"theirs"
    assert len(pd.read_parquet(tmp_path / "out" / "labels-1.parquet")) == 1


HOSTILE = [
    "../x", "/etc/x", "a/../../x", "a//b", "./a", "", "a\0b", "C:\\x", "c:/x", "\\\\host\\share\\x", "a/..", "\udcff",
    None,
]  # fmt: skip


def test_hostile_paths_are_all_named_and_nothing_is_written(blobs, tmp_path):
    digest = blobs.put(b"evil")
    entries = [{"path": p, "digest": digest, "bytes": 4} for p in (*HOSTILE, "good")]
    with pytest.raises(InvalidValue) as caught:
        folders.export(blobs, entries, tmp_path / "out")
    assert len(caught.value.faults) == len(HOSTILE)
    assert not (tmp_path / "out").exists()
    view = folders.FolderView(blobs, entries, "x@1", cache=tmp_path / "cache")
    for path in HOSTILE:
        if path:
            with pytest.raises(InvalidValue):
                view.local(path)
    twice = [{"path": p, "digest": digest, "bytes": 4} for p in ("a", "a", "b", "b/c")]
    with pytest.raises(InvalidValue, match=r"2 faults: 'a' is there twice; 'b' is a file and a folder"):
        folders.export(blobs, twice, tmp_path / "out")


def test_export_does_not_go_through_links(blobs, tree, tmp_path):
    outside = tmp_path / "outside"
    (outside / "cat").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "train").symlink_to(outside)
    (tmp_path / "out" / "test").write_text("a file where a folder should be")
    with pytest.raises(InvalidValue, match=r"2 faults.*test.*train"):
        view_of(blobs, tree).materialize(tmp_path / "out")
    assert list((outside / "cat").iterdir()) == []
    (tmp_path / "third").mkdir()
    (tmp_path / "third" / "README").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InvalidValue, match="exist already"):
        view_of(blobs, tree).materialize(tmp_path / "third")
    assert not (tmp_path / "nowhere").exists()


def test_a_damaged_file_is_not_exported(blobs, tree, tmp_path, monkeypatch):
    from nbmlops.frames.folders import content, reading

    monkeypatch.setattr(reading, "SMALL", 3)
    monkeypatch.setattr(content, "SMALL", 3)
    view = view_of(blobs, tree)
    path = Path(blobs.url(view.digest("README")))
    path.chmod(0o644)
    path.write_bytes(b"pots")
    with pytest.raises(BlobCorrupt, match="README"):
        view.materialize(tmp_path / "out")
    assert not (tmp_path / "out" / "README").exists()


# --- Croissant ----------------------------------------------------------------------------------------------------
def check(metadata, folder):
    """The structure that Croissant 1.0 asks for: unique ids without spaces, sources that exist, checksums that hold."""
    assert (metadata["@type"], metadata["conformsTo"]) == ("sc:Dataset", "http://mlcommons.org/croissant/1.0")
    ids = [n["@id"] for n in metadata["distribution"]]
    for record in metadata["recordSet"]:
        assert record["@type"] == "cr:RecordSet"
        ids += [record["@id"], *(f["@id"] for f in record["field"])]
        for field in record["field"]:
            (source,) = [v["@id"] for k, v in field["source"].items() if k in {"fileObject", "fileSet"}]
            assert source in {n["@id"] for n in metadata["distribution"]}
            assert field["dataType"].startswith("sc:")
    assert len(set(ids)) == len(ids)
    assert not [i for i in ids if len(i.split()) != 1]
    for node in metadata["distribution"]:
        if node["@type"] == "cr:FileObject":
            data = (folder / node["contentUrl"]).read_bytes()
            assert node["sha256"] == hashlib.sha256(data).hexdigest()
            assert node["contentSize"] == f"{len(data)} B"
        else:
            patterns = node["includes"] if isinstance(node["includes"], list) else [node["includes"]]
            for pattern in patterns:
                assert list(folder.glob(pattern)), pattern


def test_croissant_of_a_folder(blobs, tmp_path):
    odd = {"with space.txt": b"1", "with_space.txt": b"2", "x[1].a*b": b"3", "p/i.JPG": b"4", "p/j.jpg": b"5"}
    tree = make(tmp_path / "t", {**FILES, **odd})
    about = croissant.About("pets", 3, "All our pets", "ada", 1.7e9)
    folders.export_folder(blobs, manifest_of(blobs, tree, LABELS), tmp_path / "out", about)
    metadata = json.loads((tmp_path / "out" / "croissant.json").read_text(encoding="utf-8"))
    check(metadata, tmp_path / "out")
    assert (metadata["name"], metadata["version"], metadata["creator"]["name"]) == ("pets", "3.0.0", "ada")
    assert metadata["datePublished"].startswith("2023-11-14")
    labels = next(r for r in metadata["recordSet"] if r["@id"] == "labels")
    assert {f["name"]: f["dataType"] for f in labels["field"]}["weight"] == "sc:Integer"
    kinds = {n["encodingFormat"] for n in metadata["distribution"] if n["@type"] == "cr:FileSet"}
    assert kinds == {"text/plain", "image/jpeg", "application/octet-stream"}


def test_croissant_of_a_large_folder_stays_small():
    files = [{"path": f"{i}.png", "digest": "sha256:0", "bytes": 1} for i in range(100_000)]
    assert len(croissant.to_bytes(croissant.folder_metadata(croissant.About("x", 1), files))) < 10_000


def test_croissant_of_a_frame(ws, tmp_path):
    frame = pd.DataFrame(
        {
            "i": [1],
            "x": [0.5],
            "b": [True],
            "s": ["a"],
            "t": pd.to_datetime(["2024-01-01"]),
            "l": [[1.5]],
            "a name\n": [b"x"],
        }
    )
    ws.datasets.snapshot(frame, "sales", "March")
    ws.datasets.export("sales", tmp_path / "out")
    metadata = json.loads((tmp_path / "out" / "croissant.json").read_text(encoding="utf-8"))
    check(metadata, tmp_path / "out")
    (record,) = metadata["recordSet"]
    assert [f["dataType"][3:] for f in record["field"]] == [
        "Integer", "Float", "Boolean", "Text", "Date", "Float", "Text",
    ]  # fmt: skip
    assert record["field"][5]["repeated"]
    assert metadata["description"] == "March"


def test_croissant_of_a_frame_in_parts():
    parts = [{"path": f"part-0000{i}.parquet", "digest": f"sha256:{i}", "bytes": 3} for i in range(2)]
    schema = [{"name": "a", "type": "int64", "nullable": False}]
    metadata = croissant.frame_metadata(croissant.About("x", 1), parts, schema)
    assert [n["@type"][3:] for n in metadata["distribution"]] == ["FileObject", "FileObject", "FileSet"]
    assert metadata["recordSet"][0]["field"][0]["source"]["fileSet"] == {"@id": "set/parts"}


# --- at the desk --------------------------------------------------------------------------------------------------
def test_a_labelled_folder_is_a_data_set(ws, tree, tmp_path):
    desk = ws.datasets
    with pytest.warns(UserWarning, match="of .* without label: 'README'"):
        first = desk.snapshot(tree, "pets", labels=LABELS)
    (tree / "README").unlink()
    second = desk.snapshot(tree, "pets", labels=LABELS)
    assert (first.rows, second.rows, second.version) == (5, 4, 2)
    assert not desk.snapshot(tree, "pets", labels=LABELS).new
    third = desk.snapshot(tree, "pets", labels=LABELS.assign(weight=0))
    assert (third.version, third.new) == (3, True)
    assert desk.snapshot(tree, "pets").version == 4
    pd.testing.assert_frame_equal(desk.load("pets@2").labels, LABELS)
    assert desk.load("pets@4").labels is None
    assert desk.profile("pets@3")["labels"]["counts"]["label"] == {"cat": 3, "dog": 1}
    assert all(finding.ok for finding in desk.verify())
    assert [Path(p).read_bytes() for p in desk.files("pets@4")] == [FILES[p] for p in sorted(FILES) if p != "README"]
    desk.export("pets@2", tmp_path / "out")
    with pytest.raises(InvalidValue, match="only a folder has labels"):
        desk.snapshot(LABELS, "x", labels=LABELS)


def test_a_wrong_label_keeps_nothing(ws, tree):
    with pytest.raises(InvalidValue, match="not in the folder"):
        ws.datasets.snapshot(tree, "pets", labels=pd.DataFrame({"path": ["gone"]}))
    assert list(ws.store.blobs.digests()) == []
    with pytest.raises(NotFound):
        ws.datasets.get("pets")
