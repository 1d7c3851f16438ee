"""Snapshots in trouble: killed, racing, damaged on the disk, out of space, edited thirty times. Nothing may be torn."""

from __future__ import annotations

import importlib.util
import os
import random
import select
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from snapshot_writer import Writer, frame_of, tree_of

from nbmlops.context import Context, hostname
from nbmlops.errors import NbmlopsError, StoreFault, StoreReadOnly
from nbmlops.frames import stored
from nbmlops.store import open_store
from nbmlops.workspace import Workspace

ROWS = 300_000
needs_mount = pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run(["which", "mount"], capture_output=True).returncode != 0,
    reason="LOUD: only root can mount the small and the read-only file system this test needs",
)


def workspace(folder: Path) -> Workspace:
    return Workspace(open_store(folder), lambda: Context(user="tester", host=hostname()))


def content(ws: Workspace, ref: str) -> Any:
    """A frame, or of a folder all its files."""
    found = ws.datasets.load(ref)
    return found if isinstance(found, pd.DataFrame) else {path: found.bytes(path) for path in found}


def same(a: Any, b: Any) -> bool:
    return a == b if isinstance(a, dict) or isinstance(b, dict) else a.equals(b)


def versions(ws: Workspace, name: str) -> list[Any]:
    return ws.datasets.versions(name) if name in {v.name for v in ws.datasets.list()} else []


def assert_sound(ws: Workspace) -> None:
    """The database, the ledger and every version are what they claim to be."""
    with ws.store.read() as db:
        assert db.execute(sa.text("PRAGMA integrity_check")).scalar() == "ok"
    ws.verify_ledger()
    assert [f for f in ws.datasets.verify() if not f.ok] == []


def unfinished(store: Path) -> set[Path]:
    return {path for path in (store / "blobs" / "tmp").rglob("*") if path.is_file()}


def clear_up(ws: Workspace) -> bool:
    """Everything that nothing needs goes at once, if this version can do that."""
    if importlib.util.find_spec("nbmlops.store.gc") is None:
        return False
    from nbmlops.store import gc  # type: ignore[attr-defined]

    gc.collect(ws.store, grace=0, delete=True)
    return True


def size_of(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size
        except FileNotFoundError:  # a temporary file got its name
            continue
    return total


# --- killed ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def next_writer() -> Iterator[Callable[[], Writer]]:
    """Each call gives a started writer and starts the one after it, so that one never waits for imports."""
    started = [Writer()]

    def next_one() -> Writer:
        started.append(Writer())
        return started[-2]

    yield next_one
    for writer in started:
        writer.end()


def steps_of_a_snapshot(writer: Writer, **job: Any) -> int:
    writer.make(**job).go()
    answer = writer.answer()
    assert answer is not None
    return int(answer["steps"])


def check_after_a_kill(store: Path, name: str, before: int, wanted: Any) -> None:
    """Sound, the version is there whole or not at all, and the next snapshot of the same content completes."""
    ws = workspace(store)
    assert_sound(ws)
    found = versions(ws, name)
    assert [v.version for v in found] == list(range(1, len(found) + 1))
    assert len(found) in {before, before + 1}
    if len(found) > before:
        assert same(content(ws, found[-1].ref), wanted)
    there = unfinished(store)
    given = wanted if isinstance(wanted, pd.DataFrame) else store.parent / "tree"
    made = ws.datasets.snapshot(given, name)
    assert (made.version, made.new) == (before + 1, len(found) == before)
    assert same(content(ws, made.ref), wanted)
    assert unfinished(store) <= there
    ws.store.close()


def check_at_the_end(store: Path, name: str, kills: int, wanted: Callable[[int], Any]) -> None:
    ws = workspace(store)
    assert len(unfinished(store)) <= 8 * kills
    if clear_up(ws):
        assert unfinished(store) == set()
    assert_sound(ws)
    for version in versions(ws, name):
        assert same(content(ws, version.ref), wanted(version.version - 1))
    ws.store.close()


@pytest.mark.slow
def test_killed_at_any_step_of_a_snapshot_of_a_frame(tmp_path: Path, next_writer: Callable[[], Writer]) -> None:
    store, draw = tmp_path / "store", random.Random(1)
    job = {"store": store, "name": "x", "rows": ROWS}
    workspace(store).datasets.snapshot(frame_of(0, ROWS), "x")
    steps = steps_of_a_snapshot(next_writer(), **{**job, "seed": 1})
    for at in range(2, 16):
        writer = next_writer()
        part = (at - 2 + draw.random()) / 14
        writer.make(**job, seed=at, die_at=1 + int(part * steps)).go()
        writer.answer()
        writer.end()
        check_after_a_kill(store, "x", at, frame_of(at, ROWS))
    check_at_the_end(store, "x", 14, lambda seed: frame_of(seed, ROWS))


@pytest.mark.slow
def test_killed_while_the_bytes_of_a_frame_are_written(tmp_path: Path, next_writer: Callable[[], Writer]) -> None:
    """From outside, when the store has grown so far: in the midst of what libraries do without Python."""
    store = tmp_path / "store"
    job = {"store": store, "name": "x", "rows": ROWS}
    workspace(store).datasets.snapshot(frame_of(0, ROWS), "x")
    held = size_of(store)
    steps_of_a_snapshot(next_writer(), **{**job, "seed": 1})
    growth = size_of(store) - held
    for at in range(2, 9):
        writer = next_writer().make(**job, seed=at)
        start = size_of(store)
        writer.go()
        while size_of(store) < start + growth * (at - 1.5) / 7:
            if select.select([writer.process.stdout], [], [], 0.001)[0]:
                break
        writer.end()
        check_after_a_kill(store, "x", at, frame_of(at, ROWS))
    check_at_the_end(store, "x", 7, lambda seed: frame_of(seed, ROWS))


@pytest.mark.slow
def test_killed_at_any_step_of_a_snapshot_of_a_folder(tmp_path: Path, next_writer: Callable[[], Writer]) -> None:
    store, tree, draw = tmp_path / "store", tmp_path / "tree", random.Random(2)
    job = {"store": store, "name": "x", "tree": tree}
    kept = [tree_of(0, tree)]
    workspace(store).datasets.snapshot(tree, "x")
    kept.append(tree_of(1, tree))
    steps = steps_of_a_snapshot(next_writer(), **job, seed=1)
    for at in range(2, 10):
        kept.append(tree_of(at, tree))
        writer = next_writer()
        part = (at - 2 + draw.random()) / 8
        writer.make(**job, seed=at, die_at=1 + int(part * steps)).go()
        writer.answer()
        writer.end()
        check_after_a_kill(store, "x", at, kept[at])
    check_at_the_end(store, "x", 8, lambda at: kept[at])


@pytest.mark.slow
def test_killed_at_any_step_of_the_first_snapshot_of_all(tmp_path: Path, next_writer: Callable[[], Writer]) -> None:
    (tmp_path / "measured").mkdir()
    job = {"name": "x", "rows": 20_000, "seed": 3}
    steps = steps_of_a_snapshot(next_writer(), **job, store=tmp_path / "measured" / "store")
    for at in range(6):
        store = tmp_path / str(at) / "store"
        store.parent.mkdir()
        writer = next_writer()
        writer.make(**job, store=store, die_at=1 + at * steps // 6).go()
        writer.answer()
        writer.end()
        check_after_a_kill(store, "x", 0, frame_of(3, 20_000))


# --- racing ---------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def writers() -> Iterator[list[Writer]]:
    started = [Writer() for _ in range(4)]
    yield started
    for writer in started:
        writer.end()


def race(writers: list[Writer], jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for writer, job in zip(writers, jobs):
        writer.make(**job)
    for writer, _ in zip(writers, jobs):
        writer.go()
    answers = [writer.answer() for writer, _ in zip(writers, jobs)]
    assert None not in answers
    return answers  # type: ignore[return-value]


@pytest.mark.slow
@pytest.mark.parametrize("many", [2, 4])
@pytest.mark.parametrize("kind", ["frame", "folder"])
def test_processes_that_snapshot_one_name_at_once(tmp_path: Path, writers: list[Writer], many: int, kind: str) -> None:
    store = tmp_path / "store"
    trees = [tmp_path / f"tree{seed}" for seed in range(many)]
    made = [tree_of(seed, tree) if kind == "folder" else frame_of(seed, 50_000) for seed, tree in enumerate(trees)]

    def job(name: str, seed: int) -> dict[str, Any]:
        more = {"tree": trees[seed]} if kind == "folder" else {"rows": 50_000}
        return {"store": store, "name": name, "seed": seed, **more}

    workspace(store).store.close()
    for turn in range(3):
        equal = race(writers, [job(f"equal{turn}", turn % many)] * many)
        assert {a["version"] for a in equal} == {1}
        assert sum(a["new"] for a in equal) == 1
        assert len({a["digest"] for a in equal}) == 1
        different = race(writers, [job(f"different{turn}", seed) for seed in range(many)])
        assert sorted(a["version"] for a in different) == list(range(1, many + 1))
        ws = workspace(store)
        assert same(content(ws, f"equal{turn}"), made[turn % many])
        for seed, answer in enumerate(different):
            version = ws.datasets.get(f"different{turn}@{answer['version']}")
            assert version.digest == answer["digest"]
            assert same(content(ws, version.ref), made[seed])
        ws.store.close()
    ws = workspace(store)
    assert_sound(ws)
    assert unfinished(store) == set()


# --- damaged --------------------------------------------------------------------------------------------------------
@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 64 to 128 rows, so that small frames have many."""
    if importlib.util.find_spec("nbmlops.frames.chunks") is not None:
        from nbmlops.frames.chunks import cuts  # type: ignore[import-not-found]

        monkeypatch.setattr(cuts, "ROWS", 64)


def kept_in(ws: Workspace, tmp_path: Path) -> dict[str, Any]:
    """A data set of each kind, with versions that share, patch and add; what each version holds."""
    first = frame_of(1, 1000)
    patched = first.assign(cell=first["cell"].where(first.index % 97 != 0, -1))
    wider = patched.assign(more=np.random.default_rng(3).normal(size=1000))
    longer = pd.concat([wider, wider.iloc[:50] * 1], ignore_index=True)
    held = {}
    for frame in (first, patched, wider, longer):
        held[ws.datasets.snapshot(frame, "frame").ref] = frame
    category = pd.DataFrame({"c": pd.Categorical(["a", "b"] * 300), "n": pd.array([1, None] * 300, dtype="Int64")})
    held[ws.datasets.snapshot(category, "category").ref] = category
    tree = tmp_path / "tree"
    for seed in (0, 1):
        made = dict(list(tree_of(seed, tree).items()))
        held[ws.datasets.snapshot(tree, "tree").ref] = made
    for ref in held:
        assert ws.datasets.get(ref).profile
    return held


def refusals(ws: Workspace, ref: str, held: Any) -> list[str]:
    """Reads a version in every way; what is not refused must be equal. Returns what refused."""
    refused: list[str] = []
    said: list[NbmlopsError] = []

    def read(what: str, call: Callable[[], Any], wanted: Any) -> None:
        try:
            found = call()
        except NbmlopsError as error:
            refused.append(what)
            said.append(error)
        else:
            assert wanted is None or same(found, wanted), f"{ref}: {what} gives other data without a word"

    read("all of it", lambda: content(ws, ref), held)
    if isinstance(held, pd.DataFrame):
        for name in held.columns:
            read(f"column {name}", lambda name=name: ws.datasets.load(ref, columns=[name]), held[[name]])
    read("profile", lambda: ws.datasets.get(ref).profile, None)
    assert all(e.message and e.hint for e in said), "what to do is not said"
    return refused


@pytest.mark.slow
def test_a_flipped_byte_anywhere_is_named_and_refused(tmp_path: Path, small_chunks: None) -> None:
    store, draw = tmp_path / "store", random.Random(5)
    ws = workspace(store)
    held = kept_in(ws, tmp_path)
    assert_sound(ws)
    blobs = [path for path in sorted((store / "blobs" / "sha256").rglob("*")) if path.is_file()]
    assert len(blobs) > 20
    loads_refused = 0
    for path in blobs:
        data = path.read_bytes()
        at = draw.randrange(len(data))
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :])
        fresh = workspace(store)
        named = {f.asked.split()[0]: f for f in fresh.datasets.verify() if not f.ok}
        assert named, f"{path} was damaged at {at} of {len(data)}, and verify does not say so"
        for ref, finding in named.items():
            assert finding.level == "block"
            assert finding.hint, finding
            refused = refusals(fresh, ref, held[ref])
            assert refused, f"{path}, byte {at}: verify blames {ref} ({finding.seen}), and nothing of it is refused"
            loads_refused += "all of it" in refused
        for ref in held.keys() - named.keys():
            assert refusals(fresh, ref, held[ref]) == []
        fresh.store.close()
        path.write_bytes(data)
    assert loads_refused > len(blobs) // 3
    assert_sound(workspace(store))


@pytest.mark.slow
def test_a_lost_or_emptied_blob_is_named_and_refused(tmp_path: Path, small_chunks: None) -> None:
    store = tmp_path / "store"
    ws = workspace(store)
    held = kept_in(ws, tmp_path)
    for number, path in enumerate(sorted((store / "blobs" / "sha256").rglob("*"))):
        if not path.is_file():
            continue
        data = path.read_bytes()
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        if number % 2:
            path.unlink()
        else:
            path.write_bytes(data[: len(data) // 2])
        fresh = workspace(store)
        named = {f.asked.split()[0]: f for f in fresh.datasets.verify() if not f.ok}
        assert named, path
        for ref, frame in held.items():
            assert bool(refusals(fresh, ref, frame)) == (ref in named)
        fresh.store.close()
        path.write_bytes(data)
    assert_sound(workspace(store))


# --- no space, no right ---------------------------------------------------------------------------------------------
@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip(f"LOUD: no tmpfs can be mounted here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def noise(rows: int) -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(rows).normal(size=(rows, 5)), columns=list("abcde"))


@needs_mount
def test_a_disk_that_is_full_leaves_nothing_half_kept(small_disk: Path, tmp_path: Path) -> None:
    store = small_disk / "store"
    ws = workspace(store)
    first, large = noise(10_000), noise(600_000)
    ws.datasets.snapshot(first, "x")
    held = tree_of(0, tmp_path / "tree")
    for seed in (1, 2, 3, 4):
        (tmp_path / "tree" / f"{seed}.bin").write_bytes(np.random.default_rng(seed).bytes(4 << 20))
    for data, name in ((large, "x"), (large, "new"), (tmp_path / "tree", "files")):
        with pytest.raises(StoreFault, match="no space left") as caught:
            ws.datasets.snapshot(data, name)
        assert "free some disk space" in caught.value.hint
        assert unfinished(store) == set()
    assert [v.ref for v in ws.datasets.list()] == ["dataset:x@1"]
    pd.testing.assert_frame_equal(ws.datasets.load("x"), first)
    assert_sound(ws)
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    pd.testing.assert_frame_equal(content(ws, ws.datasets.snapshot(large, "x").ref), large)
    made = content(ws, ws.datasets.snapshot(tmp_path / "tree", "files").ref)
    assert {name: made[name] for name in held} == held
    assert_sound(ws)


@needs_mount
def test_a_read_only_store_is_read_in_every_way(
    tmp_path: Path, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    first, second = frame_of(1, 1000), frame_of(2, 1000)
    ws = workspace(store)
    for frame in (first, second):
        ws.datasets.snapshot(frame, "x")
    ws.datasets.snapshot(first, "y")
    monkeypatch.setattr(stored, "AT_ONCE", 100)
    ws.datasets.snapshot(second, "unprofiled")
    ws.store.close()
    subprocess.run(["mount", "--bind", str(store), str(store)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(store)], check=True)
        ws = workspace(store)
        pd.testing.assert_frame_equal(ws.datasets.load("x@1"), first)
        pd.testing.assert_frame_equal(ws.datasets.load("x", columns=["cell"]), second[["cell"]])
        assert ws.datasets.get("x").profile["rows"] == 1000
        assert ws.datasets.get("unprofiled").profile["rows"] == 1000
        assert not ws.datasets.diff("x@1", "x@2").same
        assert_sound(ws)
        with pytest.raises(StoreReadOnly):
            ws.datasets.snapshot(noise(100), "x")
        assert len(versions(ws, "x")) == 2
        ws.store.close()
    finally:
        subprocess.run(["umount", "-l", str(store)], check=True)
