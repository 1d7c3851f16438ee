"""Merges that are killed, run beside each other, or are given only some rows; and random stores."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from nbmlops import audit, clock
from nbmlops.errors import BlobCorrupt, InvalidValue, StoreFault
from nbmlops.store import Store, ledger, open_store, schema
from nbmlops.store.blobs.folder import Folder
from nbmlops.store.merging import merge_rows, merge_store
from nbmlops.store.merging.columns import TABLES
from nbmlops.store.merging.source import StoreRows
from tests.store_rows import content

OLD = Path(__file__).parents[1] / "data" / "store-0003"


def names(store: Store) -> list[str]:
    with store.read() as db:
        return list(db.execute(sa.select(schema.runs.c.name).order_by(schema.runs.c.seq)).scalars())


KILLED = """
import os, signal, sys
from nbmlops.store import ledger, open_store
from nbmlops.store.blobs.folder import Folder
from nbmlops.store.merging import merge_store
from nbmlops.store.merging.taking import Taking

def dying(method, calls, after=True):
    def die(*args, **more):
        calls.pop()
        made = method(*args, **more) if calls or after else None
        if not calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return made
    return die

place = sys.argv[1]
if place == "files":
    Folder._into_place = dying(Folder._into_place, [0] * 4, after=False)
elif place == "rows":
    Taking._write_rows = dying(Taking._write_rows, [0] * 12)
elif place == "event":
    ledger.append = dying(ledger.append, [0])
merge_store(open_store(sys.argv[2]), sys.argv[3])
"""


@pytest.mark.parametrize("place", ["files", "rows", "event"])
def test_killed_it_leaves_nothing_and_goes_on(tmp_path: Path, place: str) -> None:
    store = open_store(tmp_path / "ours")
    before = content(store)
    command = [sys.executable, "-c", KILLED, place, str(tmp_path / "ours"), str(OLD)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert content(store) == before
    arrived = set(store.blobs.digests())
    assert arrived
    merged = merge_store(store, OLD)
    assert merged.added["runs"] == 3
    assert merged.blobs == len(set(store.blobs.digests()) - arrived)
    assert audit.verify(store) == 1
    store.close()


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path / "ours")
    puts = iter(range(100))
    put = Folder.put

    def full(self: Folder, data: Any) -> str:
        if next(puts) == 5:
            raise OSError(28, "No space left on device")
        return put(self, data)

    monkeypatch.setattr(Folder, "put", full)
    with pytest.raises(StoreFault):
        merge_store(store, OLD)
    assert names(store) == []
    monkeypatch.setattr(Folder, "put", put)
    assert merge_store(store, OLD).added["runs"] == 3
    store.close()


def test_two_at_once(tmp_path: Path) -> None:
    with (
        made(tmp_path / "a", [("data", 0, 1), ("model", 0, 1), ("run", 0, 0)]),
        made(tmp_path / "b", [("data", 0, 2), ("model", 0, 2), ("run", 0, 0)]),
    ):
        stores = [open_store(tmp_path / "ours") for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(merge_store, s, tmp_path / name) for s, name in zip(stores, "abab")]
            added = [job.result().added.get("runs", 0) for job in jobs]
        assert sorted(added) == [0, 0, 1, 1]
        assert len(names(stores[0])) == 2
        assert audit.verify(stores[0]) == 4
        for store in stores:
            store.close()


# --- some rows only -------------------------------------------------------------------------------------------------
class Archive:
    """Blobs in a dictionary, as an archive has them."""

    def __init__(self, held: dict[str, bytes]) -> None:
        self.held = held

    def has(self, digest: str) -> bool:
        return digest in self.held

    def size(self, digest: str) -> int:
        return len(self.held[digest])

    def get(self, digest: str) -> bytes:
        return self.held[digest]

    def save(self, digest: str, path: Any) -> None:
        Path(path).write_bytes(self.held[digest])


@pytest.fixture
def some(tmp_path: Path) -> tuple[dict[str, list[Any]], Archive]:
    """One run of an old store with its data, as another part of nbmlops would hand it over."""
    shutil.copytree(OLD, tmp_path / "old")
    store = open_store(tmp_path / "old")
    with store.read() as db:
        rows = {name: list(each) for name, each in StoreRows(db).items()}
        held = {d: store.blobs.get(d) for d in store.blobs.digests()}
    store.close()
    run = rows["runs"][0]
    picked = {name: rows[name] for name in ("experiments", "keys", "datasets", "dataset_versions", "dataset_uses")}
    picked["runs"] = [run]
    for name in ("params", "tags", "metric_latest", "metric_chunks", "artifacts"):
        picked[name] = [row for row in rows[name] if row["run_seq"] == run["seq"]]
    picked["dataset_uses"] = [row for row in rows["dataset_uses"] if row["run_id"] == run["id"]]
    picked["models"], picked["model_versions"] = rows["models"], rows["model_versions"][:1]
    return picked, Archive(held)


def test_some_rows_come_and_are_told_of(some: Any, tmp_path: Path) -> None:
    rows, archive = some
    store = open_store(tmp_path / "ours")
    merged = merge_rows(store, rows, blobs=archive, origin="capsule x.zip", user="anna")
    assert (merged.added["runs"], merged.added["model versions"], merged.store_id) == (1, 1, None)
    event = ledger.read(store)[0]
    assert (event.type, event.subject, event.user) == ("store.merged", "capsule x.zip", "anna")
    assert audit.verify(store) == 1  # the model has no event of its own; ours tells of it
    before = content(store)
    assert merge_rows(store, rows, blobs=archive, origin="capsule x.zip").added == {}
    assert content(store) == before
    whole = merge_store(store, OLD)  # the rest comes with its store
    assert whole.added["runs"] == 2
    assert whole.added["model versions"] == 1
    assert whole.renumbered == ()
    store.close()


def test_some_rows_that_do_not_fit(some: Any, tmp_path: Path) -> None:
    rows, archive = some
    store = open_store(tmp_path / "ours")

    def refused(**changed: Any) -> str:
        with pytest.raises(InvalidValue) as error:
            merge_rows(store, {**rows, **changed}, blobs=archive, origin="x")
        return str(error.value)

    assert "is there twice" in refused(runs=rows["runs"] * 2)
    assert "is no run among the rows" in refused(runs=[])
    assert "is no key among the rows" in refused(keys=[])
    assert "dataset:trips@2 is not among the rows" in refused(dataset_versions=rows["dataset_versions"][:1])
    assert "no table is called" in refused(odd=[])
    assert "columns ended_at, extra are missing" in refused(
        runs=[{**{k: v for k, v in rows["runs"][0].items() if k != "ended_at"}, "extra": 1}]
    )
    assert "is no text that can be kept" in refused(runs=[{**rows["runs"][0], "name": "a\0b"}])
    assert "nested too deeply" in refused(runs=[{**rows["runs"][0], "git": json.loads("[" * 500 + "]" * 500)}])
    assert content(store)["runs"] == []
    bent = Archive({**archive.held, rows["artifacts"][0]["digest"]: b"another"})
    with pytest.raises(BlobCorrupt):
        merge_rows(store, rows, blobs=bent, origin="x")
    assert content(store)["runs"] == []
    store.close()


def test_an_id_of_ours_with_other_content_is_refused(some: Any, tmp_path: Path) -> None:
    rows, archive = some
    store = open_store(tmp_path / "ours")
    merge_rows(store, rows, blobs=archive, origin="x")
    other = [{**row, "digest": "blake3:other"} for row in rows["dataset_versions"]]
    with pytest.raises(InvalidValue, match="has the id of another version here"):
        merge_rows(store, {**rows, "dataset_versions": other}, blobs=archive, origin="x")
    store.close()


# --- random stores --------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def made(where: Path, steps: list[tuple[str, int, int]]) -> Iterator[Store]:
    """A store made of rows: versions of data sets and models, and runs that use what is there."""
    store = open_store(where)
    s = schema
    for kind, thing, value in steps:
        name, at = f"thing-{thing}", clock.now()
        with store.write() as db:
            if kind == "run":
                run(store, db, name, value)
                continue
            names, table = (s.datasets, s.dataset_versions) if kind == "data" else (s.models, s.model_versions)
            number = (db.execute(sa.select(sa.func.max(table.c.version)).where(table.c.name == name)).scalar() or 0) + 1
            row = {"id": clock.new_id(), "name": name, "created_at": at}
            db.execute(store.insert(names).on_conflict_do_nothing(), row | _named(kind))
            blob = store.blobs.put(f"{kind} {value}".encode())
            row = {"id": clock.new_id(), "name": name, "version": number, "user": "u", "bytes": 1, "created_at": at}
            if kind == "data":
                more = {"digest": f"blake3:{value}", "kind": "frame", "format": "chunks-1", "manifest": blob}
                more |= {"profile": "", "rows": 1, "columns": 1, "schema": [], "message": "", "source": {}}
            else:
                more = {"flavor": "skops", "package": blob, "signature": {}, "metrics": {}, "description": ""}
                latest = f"dataset:{name}@{_latest(db, name)}"
                more |= {"datasets": [latest] if not latest.endswith("@None") else []}
                ledger.append(db, type="model.registered", subject=f"model:{name}@{number}", user="u", data={})
            db.execute(table.insert(), row | more)
    yield store
    store.close()


def _named(kind: str) -> dict[str, Any]:
    return {"tags": {}} if kind == "data" else {"description": ""}


def _latest(db: sa.Connection, name: str) -> int | None:
    v = schema.dataset_versions
    return db.execute(sa.select(sa.func.max(v.c.version)).where(v.c.name == name)).scalar()


def run(store: Store, db: sa.Connection, name: str, value: int) -> None:
    """A run that reads the latest version, if there is one, and says so in a param."""
    s, at = schema, clock.now()
    experiment = {"id": clock.new_id(), "name": "e", "created_at": at, "tags": {}}
    db.execute(store.insert(s.experiments).on_conflict_do_nothing(), experiment)
    row = {
        "id": clock.new_id(), "experiment_id": db.execute(sa.select(s.experiments.c.id)).scalar(), "name": "r",
        "kind": "run", "status": "FINISHED", "started_at": at, "ended_at": at, "heartbeat_at": at, "user": "u",
        "host": "h", "pid": 1, "source": {}, "description": "",
    }  # fmt: skip
    seq = db.execute(s.runs.insert(), row).inserted_primary_key[0]  # type: ignore[index]
    key = store.key_ids(db, [f"key-{value}", "data"])
    db.execute(s.params.insert(), {"run_seq": seq, "key_id": key[f"key-{value}"], "value": str(value), "type": "int"})
    if (latest := _latest(db, name)) is not None:
        db.execute(
            s.dataset_uses.insert(), {"run_id": row["id"], "name": name, "version": latest, "mode": "read", "at": at}
        )
        text = {"run_seq": seq, "key_id": key["data"], "value": f"dataset:{name}@{latest}", "type": "str"}
        db.execute(s.params.insert(), text)


def meant(store: Store) -> Any:
    """What is there and what it means, whatever the numbers."""
    s = schema
    with store.read() as db:
        data = {f"dataset:{r.name}@{r.version}": r for r in db.execute(sa.select(s.dataset_versions))}
        models = list(db.execute(sa.select(s.model_versions)))
        runs = db.execute(
            sa.select(s.runs.c.id, s.keys.c.name, s.params.c.value)
            .join(s.params, s.params.c.run_seq == s.runs.c.seq)
            .join(s.keys, s.keys.c.id == s.params.c.key_id)
        ).all()
        uses = db.execute(sa.select(s.dataset_uses)).all()
    return {
        "models": {(m.id, m.name, m.package, *(data[d].digest for d in m.datasets)) for m in models},
        "params": {(i, k, (data[v].name, data[v].digest) if k == "data" else v) for i, k, v in runs},
        "uses": {(u.run_id, u.name, data[f"dataset:{u.name}@{u.version}"].digest) for u in uses},
    }, sorted((r.name, r.digest) for r in data.values())


STEPS = st.lists(st.tuples(st.sampled_from(["data", "model", "run"]), st.integers(0, 1), st.integers(0, 2)), max_size=7)


@settings(max_examples=8, deadline=None)
@given(STEPS, STEPS, STEPS)
def test_random_stores(first: Any, second: Any, third: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with made(place / "a", first) as a, made(place / "b", second) as b, made(place / "c", third) as c:
            parts = [meant(store) for store in (a, b, c)]
            merge_store(c, place / "b")
            ours = open_store(place / "ours")
            for name in "abca":
                merge_store(ours, place / name)
            facts, versions = meant(ours)
            for kind in facts:
                assert facts[kind] == set().union(*(part[0][kind] for part in parts))
            # Each content as often as in the store that has it most often.
            most = {v: max(part[1].count(v) for part in parts) for part in parts for v in part[1]}
            assert {v: versions.count(v) for v in versions} == most
            before = content(ours)
            for name in "cab":
                merge_store(ours, place / name)
            assert content(ours) == before
            assert audit.verify(ours) == 7
            ours.close()


def test_tables_are_taken_in_an_order_in_which_nothing_is_named_before_it_came() -> None:
    order = list(TABLES)
    for name, table in TABLES.items():
        for column, kind in table.columns.items():
            if kind in {"run seq", "run"} and name != "runs":
                assert order.index("runs") < order.index(name), column
            if kind == "data set version" and name != "dataset_versions":
                assert order.index("dataset_versions") < order.index(name), column
