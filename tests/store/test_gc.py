"""Clearing up: what is needed stays, what is not goes, whoever writes meanwhile and whenever it is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from nbmlops.errors import BlobCorrupt, InvalidValue, UsageFault
from nbmlops.store import Store, gc, open_store, schema
from nbmlops.store.blobs import Blobs
from nbmlops.store.references import _LONGEST, _NAMED, _names
from nbmlops.store.verify import verify
from nbmlops.workspace import Workspace

DAY = 86400.0


def age(store: Store, seconds: float = 3 * DAY) -> None:
    """Make every blob and temporary file look old."""
    past = time.time() - seconds
    for path in Path(store.blobs.root).rglob("*"):
        if path.is_file():
            os.utime(path, (past, past))


def ended_run(ws: Workspace, **more: Any) -> Any:
    """A run that writes no rows of its own any more: a live one records its environment in the background."""
    run = ws.runs.start(name="r", **more)
    run.end()
    return run


def digests(store: Store) -> set[str]:
    return set(store.blobs.digests())


def test_what_is_needed_stays_and_the_rest_goes(ws: Workspace) -> None:
    store = ws.store
    for n in range(3):
        ws.datasets.snapshot(pd.DataFrame({"a": range(n, n + 1000)}), "numbers")
    run = ended_run(ws)
    ws.runs.put_artifact(run.run_id, "notes.txt", b"notes")
    needed = digests(store)
    orphans = {store.blobs.put(f"orphan {n}".encode()) for n in range(5)}
    age(store)
    young = store.blobs.put(b"young")

    told = gc.collect(store)
    assert (told.deleted, told.blobs, told.young, told.needed) == (False, 5, 1, len(needed))
    assert told.bytes == sum(store.blobs.size(d) for d in orphans)
    assert {e["digest"] for e in told.examples} <= orphans
    assert digests(store) == needed | orphans | {young}, "a dry run deletes nothing"

    done = gc.collect(store, delete=True)
    assert (done.deleted, done.blobs, done.bytes, done.young) == (True, 5, told.bytes, 1)
    assert digests(store) == needed | {young}
    assert gc.collect(store, delete=True).blobs == 0, "nothing is left for a second one"
    for version in ws.datasets.versions("numbers"):
        assert all(f.ok for f in ws.datasets.verify(version))
    assert ws.runs.artifact(run.run_id, "notes.txt") == b"notes"
    assert verify(store).ok


def test_a_replaced_artifact_goes(ws: Workspace) -> None:
    run = ended_run(ws)
    for text in (b"first", b"second"):
        ws.runs.put_artifact(run.run_id, "notes.txt", text)
    age(ws.store)
    assert gc.collect(ws.store, delete=True).blobs == 1
    assert ws.runs.artifact(run.run_id, "notes.txt") == b"second"


def test_names_are_followed_through_json_and_compressed_json(ws: Workspace) -> None:
    blobs = ws.store.blobs
    leaf, bare = blobs.put(b"leaf"), blobs.put(b"bare")
    inner = blobs.put(zstandard.compress(json.dumps({"files": [leaf]}).encode()))
    outer = blobs.put(json.dumps([inner, bare.removeprefix("sha256:"), "f" * 64]).encode())
    run = ended_run(ws)
    with ws.store.write() as db:
        db.execute(schema.runs.update().where(schema.runs.c.id == run.run_id).values(source={"deep": [{"x": outer}]}))
    broken = ws.runs.put_artifact(run.run_id, "x.zst", b"\x28\xb5\x2f\xfd but not really").digest
    age(ws.store)
    gc.collect(ws.store, delete=True)
    assert {leaf, bare, inner, outer, broken} <= digests(ws.store)


def test_names_in_a_journal_that_is_not_folded_yet_count(ws: Workspace) -> None:
    digest = ws.store.blobs.put(b"named by a tag")
    (ws.store.journal_folder / "01RUN.1.aa").write_bytes(b"\0" * 50 + digest.encode() + b"\0" * 50)
    age(ws.store)
    assert gc.collect(ws.store, delete=True).blobs == 0
    assert ws.store.blobs.has(digest)


@settings(deadline=None)
@given(st.integers(0, 3 * _LONGEST), st.integers(1, 200), st.booleans())
def test_a_name_is_found_wherever_a_part_ends(before: int, size: int, sure: bool) -> None:
    class Slow:
        def __init__(self, data: bytes) -> None:
            self.data = data

        def read(self, _size: int) -> bytes:
            part, self.data = self.data[:size], self.data[size:]
            return part

    name = "0123456789abcdef" * 4
    data = b"-" * before + (b"sha256:" if sure else b"") + name.encode() + b'"' + b"-" * 100
    found = set(_names(Slow(data)))
    assert {n for _, n in found} == {name}
    if sure:
        assert (True, name) in found
    assert not _NAMED.findall(b"0" * 65), "another hash, longer than SHA-256"


def test_leftovers_of_dead_writers_go_and_living_ones_stay(store: Store) -> None:
    store.blobs.put(b"x")
    temporary = Path(store.blobs.root) / "tmp"
    (temporary / "dead").write_bytes(b"12345")
    age(store)
    (temporary / "alive").write_bytes(b"1")
    report = gc.collect(store, delete=True)
    assert (report.leftovers, report.leftover_bytes) == (1, 5)
    assert [p.name for p in temporary.iterdir()] == ["alive"]


# --- writers meanwhile --------------------------------------------------------------------------------------------
def test_storing_or_asking_for_what_is_there_keeps_it(store: Store) -> None:
    kept, asked, gone = (store.blobs.put(n) for n in (b"kept", b"asked", b"gone"))
    age(store)
    store.blobs.put(b"kept")
    assert store.blobs.missing([asked, "sha256:" + "0" * 64]) == {"sha256:" + "0" * 64}
    assert gc.collect(store, delete=True).blobs == 1
    assert digests(store) == {kept, asked}
    assert not store.blobs.has(gone)


def aside_of(store: Store) -> list[str]:
    return [h.name for h in store.blobs.place.aside()]


def test_a_writer_between_the_look_and_the_move_wins(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = store.blobs.put(b"wanted")
    age(store)
    real = os.replace

    def wanted_first(source: Any, target: Any) -> None:
        if "/gc/" in str(target):
            Blobs(store.blobs.root).put(b"wanted")  # after gc saw that it is old, before it moves it
        real(source, target)

    monkeypatch.setattr(os, "replace", wanted_first)
    assert gc.collect(store, delete=True).blobs == 0
    assert store.blobs.get(digest) == b"wanted"
    assert aside_of(store) == []


def test_a_row_committed_between_mark_and_sweep_brings_its_blob_back(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ws.store
    leaf = store.blobs.put(b"leaf")
    manifest = store.blobs.put(json.dumps([leaf]).encode())
    run = ended_run(ws)
    age(store)
    place = store.blobs.place
    real = place.set_aside

    def then_commit(names: Any, **more: Any) -> set[str]:
        moved = real(names, **more)
        with store.write() as db:
            db.execute(schema.runs.update().where(schema.runs.c.id == run.run_id).values(environment=manifest))
        return moved

    monkeypatch.setattr(place, "set_aside", then_commit)
    assert gc.collect(store, delete=True).blobs == 0
    assert store.blobs.get(leaf) == b"leaf"
    assert json.loads(store.blobs.get(manifest)) == [leaf]


@pytest.mark.parametrize("read", ["get", "read", "size", "open", "reader", "check"])
def test_what_a_killed_one_left_aside_is_found_by_readers(store: Store, read: str) -> None:
    digest = store.blobs.put(b"aside")
    age(store)
    place = store.blobs.place
    assert place.set_aside([digest.removeprefix("sha256:")], before=time.time(), place="01KILLED")
    assert not store.blobs.has(digest)
    getattr(store.blobs, read)(digest)
    assert store.blobs.has(digest)
    assert aside_of(store) == []


def test_what_a_killed_one_left_aside_is_put_back_by_the_next(ws: Workspace) -> None:
    store = ws.store
    ws.datasets.snapshot(pd.DataFrame({"a": range(100)}), "numbers")
    age(store)
    place = store.blobs.place
    place.set_aside([d.removeprefix("sha256:") for d in digests(store)], before=time.time(), place="01KILLED")
    assert digests(store) == set()
    assert gc.collect(store, delete=True).blobs == 0
    assert verify(store).ok
    assert aside_of(store) == []


_CLEAR = """
import sys
from nbmlops.store import open_store, gc
store = open_store(sys.argv[1])
print("ready", flush=True)
while True:
    gc.collect(store, grace=3600, delete=True)
"""
_WRITE = """
import sys
import pandas as pd
from nbmlops.workspace import Workspace
ws = Workspace(sys.argv[1])
for n in range(int(sys.argv[2])):
    ws.datasets.snapshot(pd.DataFrame({"a": range(n, n + 200), "b": str(n)}), f"d{n % 7}")
"""


@pytest.mark.slow
def test_killed_at_any_moment_beside_a_writer_it_loses_nothing(tmp_path: Path) -> None:
    """The writer's blobs are there before it starts, old and needed by nothing: just what is cleared up."""
    count = 60
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def start(code: str, *arguments: str, **more: Any) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment, text=True, **more)

    assert start(_WRITE, str(tmp_path / "first"), str(count)).wait() == 0
    store, first = open_store(tmp_path / "second"), open_store(tmp_path / "first")
    first.blobs.copy_to(store.blobs, first.blobs.digests())
    age(store)
    there = len(digests(store))
    writer = start(_WRITE, str(tmp_path / "second"), str(count))
    kills = 0
    while writer.poll() is None or kills < 3:
        clearer = start(_CLEAR, str(tmp_path / "second"), stdout=subprocess.PIPE)
        assert clearer.stdout is not None
        clearer.stdout.readline()
        try:
            clearer.wait(random.uniform(0.0, 0.15))
        except subprocess.TimeoutExpired:
            clearer.send_signal(signal.SIGKILL)
            clearer.wait()
        clearer.stdout.close()
        kills += 1
    assert writer.returncode == 0
    found = verify(store)
    assert found.ok, found.findings
    ws = Workspace(store)
    for version in (v for d in ws.datasets.list() for v in ws.datasets.versions(d.name)):
        assert all(f.ok for f in ws.datasets.verify(version))
    age(store)
    gc.collect(store, delete=True)
    assert verify(store).ok
    assert len(digests(store)) == there, "the writer needs all of them"
    assert gc.collect(store, delete=True).blobs == 0
    store.close()
    first.close()


# --- refusing -----------------------------------------------------------------------------------------------------
def damage(store: Store, digest: str) -> None:
    path = Path(store.blobs.url(digest))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def test_a_damaged_manifest_stops_it(ws: Workspace) -> None:
    version = ws.datasets.snapshot(pd.DataFrame({"a": range(100)}), "numbers")
    orphan = ws.store.blobs.put(b"orphan")
    with ws.store.read() as db:
        manifest = db.execute(sa.select(schema.dataset_versions.c.manifest)).scalar_one()
    damage(ws.store, manifest)
    age(ws.store)
    assert gc.collect(ws.store).damaged == 1
    with pytest.raises(BlobCorrupt, match=r"dataset_versions\.manifest.*nothing was deleted"):
        gc.collect(ws.store, delete=True)
    assert ws.store.blobs.has(orphan)
    assert version.rows == 100


def test_another_store_in_the_same_place_stops_it(tmp_path: Path) -> None:
    shared = str(tmp_path / "shared")
    one, two = (open_store(tmp_path / n, artifacts=shared) for n in ("one", "two"))
    one.blobs.put(b"of one")
    assert gc.collect(one, delete=True).blobs == 0
    two.blobs.put(b"of two")
    for store in (one, two):
        with pytest.raises(UsageFault, match="1 other stores keep files in"):
            gc.collect(store, delete=True)
    assert len(digests(one)) == 2
    one.close()
    two.close()


@pytest.mark.parametrize(("text", "seconds"), [("24h", DAY), ("90m", 5400), ("7d", 7 * DAY), ("30 s", 30), ("0", 0)])
def test_spans(text: str, seconds: float) -> None:
    assert gc.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-1h", "1w", "soon", "1h30m"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="is not a span of time"):
        gc.seconds(text)


# --- verify -------------------------------------------------------------------------------------------------------
def test_verify_names_what_is_damaged_and_missing_and_who_needs_it(ws: Workspace) -> None:
    store = ws.store
    ws.datasets.snapshot(pd.DataFrame({"a": range(100)}), "numbers")
    run = ended_run(ws, tags={"image": "sha256:" + "7" * 64})
    notes = ws.runs.put_artifact(run.run_id, "notes.txt", b"notes")
    with store.read() as db:
        row = db.execute(sa.select(schema.dataset_versions)).mappings().one()
    (file,) = ws.datasets.files("numbers")
    damage(store, notes.digest)
    Path(file).resolve().unlink()
    found = verify(store)
    assert not found.ok
    seen = {f.check: f for f in found.findings}
    assert "artifacts.digest" in seen[notes.digest].seen
    assert {n for n, f in seen.items() if f.level == "warn"} <= {"sha256:" + "7" * 64}, "a container image, no blob"
    lost = next(f for f in found.findings if "missing" in f.seen and f.level == "block")
    assert row["manifest"][:15] in lost.seen
    assert "dataset_versions.manifest" in lost.seen


# --- the command line ---------------------------------------------------------------------------------------------
def test_the_commands(nb: Any, cli: Callable[..., Any]) -> None:
    nb.snapshot(pd.DataFrame({"a": range(100)}), "numbers")
    store = open_store()
    orphan = store.blobs.put(b"orphan")
    age(store)
    assert "dry run" in cli("store", "gc").out
    assert store.blobs.has(orphan)
    told = cli("store", "gc", "--grace", "2h", "--json").json()
    assert (told["deleted"], told["blobs"]) == (False, 1)
    assert cli("store", "gc", "--delete", "--json").json()["blobs"] == 1
    assert not store.blobs.has(orphan)
    assert cli("store", "verify", "--json").json()["findings"] == []
    assert "not a span" in cli("store", "gc", "--grace", "soon", code=2).err
    digest = next(store.blobs.digests())
    damage(store, digest)
    assert [f["check"] for f in cli("store", "verify", "--json", code=1).json()["findings"]] == [digest]
    store.close()
