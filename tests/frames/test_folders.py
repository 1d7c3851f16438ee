"""Folders: what is kept, what is left out, what costs nothing, and what is refused."""

from __future__ import annotations

import json
import os
import random
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbmlops.errors import BlobCorrupt, InvalidValue, NotFound, StoreFault
from nbmlops.frames import folders
from nbmlops.frames.folders import packs, reading, statcache, walk
from nbmlops.store.blobs import Blobs

OLD = Path(__file__).parent.parent / "data" / "files-1"


@pytest.fixture
def blobs(tmp_path):
    return Blobs(str(tmp_path / "blobs"))


@pytest.fixture
def tree(tmp_path):
    return make(tmp_path / "tree", {"a.txt": b"one", "sub/b.bin": bytes(range(256)), "sub/deep/c": b""})


def make(folder, files):
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def long_ago(*paths):
    """Set both times back as far as a user can; ctime stays young."""
    for path in paths:
        os.utime(path, ns=(10**18, 10**18))


def keep(blobs, folder, known=(), cache=None):
    return folders.put_tree(blobs, folders.scan(folder), known, cache)


def read(blobs, entries):
    return {e["path"]: folders.get_content(blobs, e) for e in entries}


def stored(blobs):
    return {d: blobs.size(d) for d in blobs.digests()}


# --- what is kept -------------------------------------------------------------------------------------------------
def test_round_trip(blobs, tree):
    entries = keep(blobs, tree)
    assert read(blobs, entries) == {"a.txt": b"one", "sub/b.bin": bytes(range(256)), "sub/deep/c": b""}
    assert [e["bytes"] for e in entries] == [3, 256, 0]
    assert len(stored(blobs)) == 1, "small files share a pack"
    manifest = json.loads(blobs.get(folders.put_manifest(blobs, entries)))
    assert folders.get_entries(blobs, manifest) == entries
    assert folders.verify_folder(blobs, manifest) == folders.folder_digest(entries)
    assert folders.references(blobs, manifest) <= set(stored(blobs))


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda n: n not in {".", ".."} and len(n.encode()) < 200
)
contents = st.one_of(st.binary(max_size=50), st.sampled_from([b"same", b"x" * 3000, b"y" * 5000]))


@settings(deadline=None, max_examples=40)
@given(first=st.dictionaries(names, contents, max_size=8), second=st.dictionaries(names, contents, max_size=8))
def test_any_names_and_contents_come_back(first, second):
    import tempfile

    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(packs, "PACK", 6000)
        patch.setattr(reading, "SMALL", 4000)
        base, known = Path(place), ()
        blobs = Blobs(str(base / "blobs"))
        for version in (first, second, first):
            for old in (base / "t").glob("**/*") if (base / "t").exists() else ():
                if old.is_file():
                    old.unlink()
            make(base / "t", {f"{len(n) % 3}/{n}": data for n, data in version.items()})
            (base / "t").mkdir(exist_ok=True)
            known = keep(blobs, base / "t", known, base / "cache")
            assert read(blobs, known) == {f"{len(n) % 3}/{n}": data for n, data in version.items()}
            manifest = json.loads(blobs.get(folders.put_manifest(blobs, known)))
            assert folders.get_entries(blobs, manifest) == known
            assert folders.references(blobs, manifest) <= set(stored(blobs))


def test_large_files_are_blobs_of_their_own(blobs, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "SMALL", 1000)
    big = os.urandom(5000)
    tree = make(tmp_path / "t", {"big": big, "copy of big": big, "small": b"s", "small copy": b"s", "other": b"o"})
    entries = keep(blobs, tree)
    assert read(blobs, entries)["copy of big"] == big
    by_path = {e["path"]: e for e in entries}
    assert "pack" not in by_path["big"]
    assert by_path["small"]["offset"] == by_path["small copy"]["offset"]
    assert sorted(stored(blobs).values()) == [len(packs.HEAD) + 2, 5000]


def test_packs_are_filled_up_to_a_size_and_the_same_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(packs, "PACK", 10_000)
    rng = random.Random(1)
    tree = make(tmp_path / "t", {f"{i:03}": rng.randbytes(rng.randrange(3000)) for i in range(200)})
    first, second = Blobs(str(tmp_path / "b1")), Blobs(str(tmp_path / "b2"))
    entries = keep(first, tree)
    assert entries == keep(second, tree)
    assert stored(first) == stored(second)
    assert max(stored(first).values()) <= 10_000
    assert len(stored(first)) < 60
    assert read(first, entries) == {f"{i:03}": (tree / f"{i:03}").read_bytes() for i in range(200)}


def test_a_file_alone_in_its_pack_is_a_plain_blob(blobs, tree):
    before = keep(blobs, tree)
    (tree / "a.txt").write_text("two")
    after = {e["path"]: e for e in keep(blobs, tree, before)}
    assert "pack" not in after["a.txt"]
    assert blobs.get(after["a.txt"]["digest"]) == b"two"
    assert after["sub/b.bin"] == before[1]


def test_renames_copies_and_touches_write_nothing(blobs, tree, monkeypatch):
    monkeypatch.setattr(reading, "SMALL", 100)
    before = keep(blobs, tree)
    known = stored(blobs)
    (tree / "a.txt").rename(tree / "z.txt")
    (tree / "sub/b.bin").rename(tree / "large too")
    (tree / "copy").write_bytes(b"one")
    long_ago(tree / "copy")
    assert [e["path"] for e in keep(blobs, tree, before)] == ["copy", "large too", "sub/deep/c", "z.txt"]
    assert stored(blobs) == known


def test_a_lost_pack_is_written_again(blobs, tree, tmp_path, settled):
    cache = tmp_path / "cache"
    before = keep(blobs, tree, cache=cache)
    Path(blobs.url(before[0]["pack"])).unlink()
    assert keep(blobs, tree, before, cache) == before
    assert len(stored(blobs)) == 1


def test_a_pack_does_not_look_like_its_first_file(blobs, tmp_path):
    tree = make(tmp_path / "t", {"a.json": b'{"of": "sha256:' + b"0" * 64 + b'"}', "b": b""})
    pack = blobs.get(keep(blobs, tree)[0]["pack"])
    assert pack.startswith(b"nbmlops pack 1\n{")


def test_an_empty_folder(blobs, tmp_path):
    (tmp_path / "t" / "nothing here").mkdir(parents=True)
    assert keep(blobs, tmp_path / "t") == []
    manifest = json.loads(blobs.get(folders.put_manifest(blobs, [])))
    assert folders.get_entries(blobs, manifest) == []
    assert len(folders.FolderView(blobs, [], "x@1")) == 0


def test_names_that_differ_in_case_or_composition_are_two_files(blobs, tmp_path):
    tree = make(tmp_path / "t", {"A": b"1", "a": b"2", "\u00e9": b"3", "e\u0301": b"4"})
    if len(list(tree.iterdir())) < 4:
        pytest.skip("this disk folds names")
    assert sorted(read(blobs, keep(blobs, tree)).values()) == [b"1", b"2", b"3", b"4"]


def test_the_digest_is_what_it_was():
    entries = [
        {"path": "b", "digest": "sha256:" + "1" * 64, "bytes": 3},
        {"path": "ä", "digest": "sha256:2", "bytes": 0},
    ]
    digest = folders.folder_digest(entries)
    assert digest == "blake3:fe4d4e7ebec6f49b0e7b5ccb2535c747b952a8cb5147db79489b35a4e1263bf0"
    moved = [{**entries[1], "pack": "sha256:3", "offset": 7}, entries[0]]
    assert folders.folder_digest(moved) == digest
    labelled = folders.folder_digest(entries, {"column": "path", "digest": "blake3:4"})
    assert labelled == "blake3:fb848a11b36808a609742dec7fd53be35b56c37114e35c8ccd8efc4cf55674ad"


def test_folders_of_the_first_format_are_read_and_continued(tmp_path):
    import shutil

    shutil.copytree(OLD, tmp_path / "old")
    blobs = Blobs(str(tmp_path / "old" / "blobs"))
    row = json.loads((OLD / "row.json").read_text())
    manifest = json.loads(blobs.get(row["manifest"]))
    entries = folders.get_entries(blobs, manifest)
    assert folders.folder_digest(entries) == row["digest"] == folders.verify_folder(blobs, manifest)
    before = stored(blobs)
    assert folders.references(blobs, manifest) | {row["manifest"], row["profile"]} == set(before)
    view = folders.FolderView(blobs, entries, "pets@1")
    assert view.text("dogs/copy.txt") == "purr\n"
    view.materialize(tmp_path / "out")
    again = keep(blobs, tmp_path / "out", entries)
    assert (folders.folder_digest(again), stored(blobs)) == (row["digest"], before)


def test_one_changed_file_among_many_costs_little(blobs, tmp_path):
    tree = make(tmp_path / "t", {f"d{i % 7}/{i:05}": b"%d" % i for i in range(6000)})
    before = keep(blobs, tree)
    folders.put_manifest(blobs, before)
    known = stored(blobs)
    (tree / "d3/00003").write_text("changed")
    folders.put_manifest(blobs, keep(blobs, tree, before))
    added = sum(size for digest, size in stored(blobs).items() if digest not in known)
    assert added < sum(known.values()) / 4


# --- what is left out, and what is refused ------------------------------------------------------------------------
def test_links_sockets_and_pipes_are_counted_and_left_out(blobs, tree):
    (tree / "link").symlink_to("a.txt")
    (tree / "away").symlink_to("/etc")
    os.mkfifo(tree / "pipe")
    here = Path.cwd()
    os.chdir(tree)  # the path of a socket is short
    server = socket.socket(socket.AF_UNIX)
    server.bind("socket")
    os.chdir(here)
    found = folders.scan(tree)
    server.close()
    assert [f.path for f in found.files] == ["a.txt", "sub/b.bin", "sub/deep/c"]
    assert found.left_out() == {"symlinks_left_out": 2, "special_files_left_out": 2}


def test_folders_to_leave_out_are_found_by_what_they_are(tree, tmp_path):
    (tmp_path / "alias").symlink_to(tree / "sub")
    assert [f.path for f in folders.scan(tree, [tmp_path / "alias", tmp_path / "gone"]).files] == ["a.txt"]


def test_a_missing_folder(tmp_path):
    with pytest.raises(NotFound, match="no folder"):
        folders.scan(tmp_path / "gone")


def test_names_that_are_not_text_are_all_named(tree):
    for name in (b"\xff.txt", b"sub/\xfe"):
        Path(os.fsdecode(os.fsencode(tree) + b"/" + name)).write_bytes(b"")
    with pytest.raises(InvalidValue, match=r"2 faults.*udcff\.txt.*udcfe") as caught:
        folders.scan(tree)
    str(caught.value).encode()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_files_are_all_named(blobs, tree):
    (tree / "a.txt").chmod(0)
    (tree / "sub/b.bin").chmod(0)
    with pytest.raises(InvalidValue, match=r"2 faults.*a\.txt.*permission denied.*sub/b\.bin"):
        keep(blobs, tree)
    assert stored(blobs) == {}


def test_files_that_vanish_or_become_links_after_the_scan_are_all_named(blobs, tree, tmp_path):
    found = folders.scan(tree)
    make(tmp_path / "secret", {"b.bin": b"secret", "deep/c": b"secret"})
    (tree / "a.txt").unlink()
    (tree / "sub").rename(tmp_path / "moved")
    (tree / "sub").symlink_to(tmp_path / "secret")
    with pytest.raises(InvalidValue, match=r"3 faults: 'a\.txt': vanished.*'sub/b\.bin'.*'sub/deep/c'"):
        folders.put_tree(blobs, found)
    assert stored(blobs) == {}


def test_a_file_that_becomes_a_pipe_does_not_wait_for_a_writer(blobs, tree):
    found = folders.scan(tree)
    (tree / "a.txt").unlink()
    os.mkfifo(tree / "a.txt")
    with pytest.raises(InvalidValue, match="not a regular file"):
        folders.put_tree(blobs, found)


@pytest.mark.parametrize("size", [500, 5000])
def test_a_file_that_changes_all_the_time_is_named(blobs, tree, monkeypatch, size):
    monkeypatch.setattr(reading, "SMALL", 1000)
    (tree / "a.txt").write_bytes(b"x" * size)
    stat_of = walk.stat_of
    changes = iter(range(100))

    def touched(found):
        if found.st_size == size:
            os.utime(tree / "a.txt", ns=(1, next(changes)))
        return stat_of(os.stat(tree / "a.txt")) if found.st_size == size else stat_of(found)

    found = folders.scan(tree)
    monkeypatch.setattr(reading, "stat_of", touched)
    with pytest.raises(InvalidValue, match=r"'a\.txt': changed each of the 5 times"):
        folders.put_tree(blobs, found)


def test_a_file_that_is_being_written_is_whole_or_refused(blobs, tmp_path):
    """Every content kept is one that the file had: all bytes are alike in each."""
    tree = make(tmp_path / "t", {"f": bytes(200_000)})
    stop = threading.Event()

    def write():
        value = 0
        while not stop.is_set():
            value = (value + 1) % 256
            with (tree / "f").open("r+b", buffering=0) as file:
                file.write(bytes([value]) * 200_000)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            try:
                (entry,) = keep(blobs, tree)
            except InvalidValue:
                continue
            assert len(set(folders.get_content(blobs, entry))) <= 2
    finally:
        stop.set()
        writer.join()


def test_a_store_that_cannot_be_written_keeps_no_half_pack(tree, tmp_path):
    class Full(Blobs):
        def put(self, data):
            raise StoreFault("no space left", "free some")

    blobs = Full(str(tmp_path / "full"))
    make(tree, {f"{i:04}": os.urandom(20_000) for i in range(400)})
    with pytest.raises(StoreFault, match="no space left"):
        keep(blobs, tree)


def test_nothing_half_is_kept_when_a_file_at_the_end_cannot_be_read(blobs, tree):
    make(tree, {f"{i:04}": os.urandom(20_000) for i in range(100)})
    found = folders.scan(tree)
    (tree / "sub/deep/c").unlink()
    with pytest.raises(InvalidValue, match="vanished"):
        folders.put_tree(blobs, found)
    assert stored(blobs) == {}
    assert not list(Path(blobs.root).glob("tmp/*"))


# --- the stat cache -----------------------------------------------------------------------------------------------
@pytest.fixture
def settled(monkeypatch):
    """Files written a moment ago count as settled, as they would a moment later."""
    monkeypatch.setattr(statcache, "is_settled", lambda stat, started: True)


def opened(monkeypatch):
    seen = []
    monkeypatch.setattr(reading, "open_file", lambda where, name: seen.append(name) or walk.open_file(where, name))
    return seen


def test_unchanged_files_are_not_opened(blobs, tree, tmp_path, monkeypatch, settled):
    cache = tmp_path / "cache"
    before = keep(blobs, tree, cache=cache)
    (written,) = cache.iterdir()
    made = written.stat().st_ino
    seen = opened(monkeypatch)
    assert keep(blobs, tree, before, cache) == before
    assert seen == []
    assert written.stat().st_ino == made, "the cache is not written again"
    (tree / "a.txt").write_text("two")
    assert keep(blobs, tree, before, cache) != before
    assert seen == ["a.txt"]


def test_a_change_that_hides_its_size_and_time_is_seen(blobs, tree, tmp_path, settled):
    stat = (tree / "a.txt").stat()
    before = keep(blobs, tree, cache=tmp_path / "cache")
    (tree / "a.txt").write_text("two")
    os.utime(tree / "a.txt", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert read(blobs, keep(blobs, tree, before, tmp_path / "cache"))["a.txt"] == b"two"


def test_files_touched_just_before_they_are_read_are_not_remembered(blobs, tree, tmp_path):
    cache = tmp_path / "cache"
    future = 10**9 * (int(os.stat(tree).st_mtime) + 3600)
    os.utime(tree / "a.txt", ns=(future, future))
    keep(blobs, tree, cache=cache)
    assert "a.txt" not in statcache.load(statcache.cache_file(cache, tree))
    second = 1_000_000_000
    assert statcache.is_settled((0, 5 * second + 1, 5 * second + 1, 0, 0), 6 * second)
    assert not statcache.is_settled((0, 5 * second + 1, 6 * second - 1, 0, 0), 6 * second)
    assert not statcache.is_settled((0, 5 * second, 5 * second, 0, 0), 6 * second), "whole seconds: a coarse clock"


def test_the_cache_is_not_believed_about_contents_that_are_not_kept(tree, tmp_path, settled):
    cache = tmp_path / "cache"
    keep(Blobs(str(tmp_path / "first")), tree, cache=cache)
    second = Blobs(str(tmp_path / "second"))
    assert read(second, keep(second, tree, cache=cache))["a.txt"] == b"one"


def test_a_damaged_cache_is_ignored(blobs, tree, tmp_path, settled):
    cache = tmp_path / "cache"
    before = keep(blobs, tree, cache=cache)
    path = statcache.cache_file(cache, tree)
    whole = path.read_bytes()
    remembered = statcache.load(path)
    assert len(remembered) == 3
    rng = random.Random(3)
    damaged = [whole[:n] for n in (0, 5, 30, 60, len(whole) - 1)] + [whole + b"x", b"{}", os.urandom(500)]
    for _ in range(30):
        flipped = bytearray(whole)
        flipped[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        damaged.append(bytes(flipped))
    for data in damaged:
        path.write_bytes(data)
        assert statcache.load(path) == {}
    assert keep(blobs, tree, before, cache) == before
    assert statcache.load(path) == remembered
    path.unlink()
    path.mkdir()
    assert keep(blobs, tree, before, cache) == before, "a cache that cannot be written is no error"


# --- damage -------------------------------------------------------------------------------------------------------
def test_a_flipped_byte_in_a_pack_spoils_only_its_file(blobs, tree):
    entries = keep(blobs, tree)
    manifest = json.loads(blobs.get(folders.put_manifest(blobs, entries)))
    path = Path(blobs.url(entries[0]["pack"]))
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[entries[1]["offset"] + 7] ^= 1
    path.write_bytes(data)
    view = folders.FolderView(blobs, entries, "x@1")
    if not hasattr(blobs, "read"):
        assert view.bytes("a.txt") == b"one"
    with pytest.raises(BlobCorrupt):
        view.bytes("sub/b.bin")
    with pytest.raises(BlobCorrupt):
        folders.verify_folder(blobs, manifest)
    path.unlink()
    with pytest.raises(NotFound, match="missing"):
        view.bytes("a.txt")


@pytest.mark.parametrize(
    "page",
    [
        {},
        [],
        {"paths": ["a"], "sha256": "", "bytes": [1], "blob": [3], "offset": [0], "blobs": []},
        {"paths": ["a", "b"], "sha256": "!", "bytes": [1], "blob": [-1], "offset": [0], "blobs": []},
        {"paths": ["a"], "sha256": "AAAA", "bytes": [1], "blob": [-1], "offset": [0], "blobs": []},
        {"paths": ["a"], "sha256": "A" * 43 + "=", "bytes": [-1], "blob": [-1], "offset": [0], "blobs": []},
        {"paths": ["a"], "sha256": "A" * 43 + "=", "bytes": [1], "blob": [0], "offset": [-5], "blobs": ["sha256:1"]},
        {"paths": [None], "sha256": "A" * 43 + "=", "bytes": [1], "blob": [-1], "offset": [0], "blobs": []},
    ],
)
def test_a_list_of_files_that_makes_no_sense(blobs, page):
    manifest = {"format": "files-2", "pages": [blobs.put(json.dumps(page).encode())]}
    with pytest.raises(BlobCorrupt, match="cannot be understood"):
        folders.get_entries(blobs, manifest)
