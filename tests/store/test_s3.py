"""Blobs on S3, over HTTP: a real server, and faults on the way to it."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from nbmlops.errors import BlobCorrupt, NotFound, StoreFault, StoreReadOnly
from nbmlops.store import gc, open_store
from nbmlops.store.blobs import Blobs, Cache, Patience, remote, systems
from nbmlops.store.verify import verify
from nbmlops.workspace import Workspace
from tests.store.faulty import Faults, Proxy

pytest.importorskip("s3fs")
moto_server = pytest.importorskip("moto.server")

QUICK = Patience(tries=4, first=0.01)


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    server = moto_server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    proxy = Proxy(server.get_host_and_port()[1])
    yield proxy
    proxy.shutdown()
    proxy.server_close()
    server.stop()


@pytest.fixture
def root(proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket, and an environment that leads nowhere else."""
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ENDPOINT_URL": proxy.url, "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "NO_PROXY": "*", "NBMLOPS_CACHE": str(tmp_path / "cache"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{os.urandom(6).hex()}"
    import s3fs

    s3fs.S3FileSystem(skip_instance_cache=True).mkdir(bucket)
    proxy.faults = None
    proxy.forget()
    return f"s3://{bucket}/some/prefix"


@pytest.fixture
def blobs(root: str) -> Blobs:
    """Without a cache, so that every read travels."""
    return Blobs(root, cache=Cache(Path("unused"), 0), patience=QUICK)


def is_blob(path: str) -> bool:
    return "/sha256/" in path.partition("?")[0]


def blob_request(*methods: str) -> Any:
    return lambda method, path: method in methods and is_blob(path)


def test_what_goes_up_comes_down(blobs: Blobs, tmp_path: Path, proxy: Proxy) -> None:
    data = os.urandom(300_000)
    path = tmp_path / "file"
    path.write_bytes(data)
    with path.open("rb") as stream:
        found = {blobs.put(data), blobs.put(memoryview(data)), blobs.put(path), blobs.put(stream)}
    (digest,) = found
    assert proxy.seen["PUT"] == 1, "what is there does not travel"
    assert blobs.get(digest) == blobs.open(digest).read() == data
    assert (blobs.has(digest), blobs.size(digest), list(blobs.digests())) == (True, len(data), [digest])
    assert blobs.read(digest, 1000, 50) == data[1000:1050]
    assert blobs.read(digest, len(data) - 5, 50) == data[-5:]
    assert blobs.check(digest) == len(data)
    blobs.save(digest, tmp_path / "saved")
    assert (tmp_path / "saved").read_bytes() == data
    with pytest.raises(NotFound, match="is missing"):
        blobs.get("sha256:" + "0" * 64)


def test_many_in_order(blobs: Blobs) -> None:
    contents = [f"content {n}".encode() for n in range(40)]
    digests = blobs.put_many(iter(contents))
    assert list(blobs.get_many(digests)) == contents
    absent = {f"sha256:{n:064x}" for n in range(3)}
    assert blobs.missing([*digests, *absent]) == absent
    many = {f"sha256:{n:064x}" for n in range(600)}
    assert blobs.missing([*digests, *many]) == many, "asked by listings"


def test_a_column_of_parquet_travels_alone(blobs: Blobs, proxy: Proxy, tmp_path: Path) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({f"c{n}": np.random.default_rng(n).random(500_000) for n in range(10)})
    pq.write_table(table, tmp_path / "t.parquet")
    digest = blobs.put(tmp_path / "t.parquet")
    with pickle.loads(pickle.dumps(blobs)).reader(digest) as file:
        assert pq.ParquetFile(file).read(columns=["c7"]).equals(table.select(["c7"]))
    got = blobs.read(digest, 0, 4)
    assert got == b"PAR1"


@pytest.mark.slow
def test_a_large_file_goes_up_in_parts(blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_WHOLE", 1 << 20)
    path = tmp_path / "large"
    path.write_bytes(os.urandom(120 << 20))
    digest = blobs.put(path)
    assert blobs.check(digest) == 120 << 20


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("HEAD", "503"),
        ("PUT", "503"),
        ("PUT", "reset"),
        ("PUT", "lost"),
        ("GET", "503"),
        ("GET", "reset"),
        ("GET", "cut"),
    ],
)
def test_a_fault_that_passes_is_not_seen(blobs: Blobs, proxy: Proxy, kind: str, method: str) -> None:
    data = os.urandom(100_000)
    proxy.faults = Faults(kind, 2, blob_request(method))
    digest = blobs.put(data)
    assert blobs.get(digest) == data
    assert proxy.faults.times == 0
    assert list(blobs.digests()) == [digest]


def test_a_fault_that_lasts_is_told_with_tries_and_url(blobs: Blobs, proxy: Proxy) -> None:
    proxy.faults = Faults("503", 1000, blob_request("PUT"))
    with pytest.raises(StoreFault, match=r"s3://bucket-.*4 tries in .* s, the last: .*SlowDown") as caught:
        blobs.put(b"x")
    assert "repeat" in caught.value.hint
    assert proxy.faults.times == 1000 - 4
    proxy.faults = None
    assert list(blobs.digests()) == []


def test_a_server_that_is_gone_is_told(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreFault, match="4 tries"):
        Blobs(root, patience=QUICK).put(b"x")


def test_a_mangled_answer_is_asked_for_once_more(blobs: Blobs, proxy: Proxy) -> None:
    digest = blobs.put(b"content")
    proxy.faults = Faults("mangle", 1, blob_request("GET"))
    assert blobs.get(digest) == b"content"
    proxy.faults = Faults("mangle", 2, blob_request("GET"))
    with pytest.raises(BlobCorrupt, match="does not have the content its name promises"):
        blobs.get(digest)


def test_a_missing_bucket_is_told(root: str) -> None:
    with pytest.raises(StoreFault, match="there is no bucket 'no-such-bucket'") as caught:
        Blobs("s3://no-such-bucket/x", patience=QUICK).put(b"x")
    assert "NBMLOPS_ARTIFACTS" in caught.value.hint


def test_missing_keys_are_told(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreFault, match="needs credentials") as caught:
        Blobs(root, patience=QUICK).put(b"x")
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint


def test_refused_access_is_told_and_not_tried_again(blobs: Blobs, proxy: Proxy) -> None:
    proxy.faults = Faults("403", 1000, blob_request("PUT", "HEAD"))
    with pytest.raises(StoreReadOnly, match="refuses access") as caught:
        blobs.put(b"x")
    assert "AWS_PROFILE" in caught.value.hint
    assert proxy.faults.times == 999


# --- the cache ----------------------------------------------------------------------------------------------------
def test_what_was_read_once_does_not_travel_again(root: str, proxy: Proxy, tmp_path: Path) -> None:
    blobs = Blobs(root)
    digest = blobs.put(b"content")
    assert blobs.get(digest) == b"content"
    proxy.forget()
    assert Blobs(root).get(digest) == b"content"
    with Blobs(root).reader(digest) as file:
        assert file.read() == b"content"
    assert proxy.seen.total() == 0
    (copy,) = (p for p in (tmp_path / "cache").rglob("*") if p.is_file())
    copy.chmod(0o644)
    copy.write_bytes(b"c0ntent")
    assert blobs.get(digest) == b"content", "a damaged copy is fetched anew"
    assert proxy.seen["GET"] == 1


def test_the_longest_unused_copies_make_room(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 10_000)
    import hashlib

    contents = [os.urandom(1000) for _ in range(30)]
    first = hashlib.sha256(contents[0]).hexdigest()
    for n, content in enumerate(contents):
        cache.put(content)
        past = time.time() - 1000 + n
        path = tmp_path / "cache" / "sha256" / hashlib.sha256(content).hexdigest()[:2]
        for file in path.iterdir():
            if file.name == hashlib.sha256(content).hexdigest()[2:]:
                os.utime(file, (past, past))
        assert cache.get(first) == contents[0], "used again and again"
    held = sum(p.stat().st_size for p in (tmp_path / "cache" / "sha256").rglob("*") if p.is_file())
    assert 5_000 < held <= 11_000
    assert cache.get(hashlib.sha256(contents[1]).hexdigest()) is None
    cache.put(os.urandom(9000))
    assert cache.get(first) is not None, "one that would push out all others is not kept"


# --- transfers ----------------------------------------------------------------------------------------------------
def test_an_interrupted_transfer_goes_on_where_it_was(blobs: Blobs, proxy: Proxy, tmp_path: Path) -> None:
    local = Blobs(str(tmp_path / "local"))
    digests = local.put_many([os.urandom(10_000) for _ in range(30)])
    ten = iter(range(11))
    proxy.faults = Faults("503", 1000, lambda m, p: m == "PUT" and is_blob(p) and next(ten, None) is None)
    with pytest.raises(StoreFault, match=r"\d+ of 30 objects arrived before it"):
        local.copy_to(blobs, digests, workers=3)
    proxy.faults = None
    arrived = len(list(blobs.digests()))
    assert 0 < arrived < 30
    proxy.forget()
    told: list[tuple[int, int, int]] = []
    done = local.copy_to(blobs, digests, progress=lambda *now: told.append(now))
    assert (done.asked, done.there, done.copied, done.bytes) == (30, arrived, 30 - arrived, 10_000 * (30 - arrived))
    assert (proxy.seen["PUT"], proxy.sent) == (30 - arrived, done.bytes), "only what was missing travels"
    assert told[-1] == (30 - arrived, 30 - arrived, done.bytes)
    proxy.forget()
    assert local.copy_to(blobs, digests).copied == 0
    assert proxy.seen["PUT"] == 0
    back = Blobs(str(tmp_path / "back"))
    assert blobs.copy_to(back, digests).copied == 30
    assert list(back.digests()) == list(local.digests())


# --- the whole ----------------------------------------------------------------------------------------------------
def test_data_sets_live_on_s3(
    root: str, proxy: Proxy, nb: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NBMLOPS_ARTIFACTS", root)
    first = pd.DataFrame({"a": range(1000), "b": [str(n) for n in range(1000)]})
    second = pd.concat([first, first.tail(5)], ignore_index=True)
    nb.snapshot(first, "numbers")
    nb.snapshot(second, "numbers")
    pd.testing.assert_frame_equal(nb.load_dataset("numbers@1"), first)
    proxy.faults = Faults("cut", 2, blob_request("GET"))
    pd.testing.assert_frame_equal(nb.load_dataset("numbers", columns=["b"]), second[["b"]])
    proxy.faults = None
    ws = Workspace()
    assert ws.datasets.diff("numbers@1", "numbers@2").rows_added == 5
    assert all(f.ok for f in ws.datasets.verify("numbers@2"))
    ws.datasets.export("numbers@1", tmp_path / "out")
    assert list((tmp_path / "out").rglob("*.parquet"))
    assert not (tmp_path / "store" / "blobs").exists()
    orphan = ws.store.blobs.put(b"orphan")
    assert gc.collect(ws.store).young == 1
    assert gc.collect(ws.store, delete=True).blobs == 0
    all_old = -60.0
    assert gc.collect(ws.store, grace=all_old, delete=True).blobs == 1
    assert not ws.store.blobs.has(orphan)
    assert verify(ws.store).ok
    assert gc.collect(ws.store, grace=all_old, delete=True).blobs == 0
    ws.store.close()


@pytest.mark.parametrize("when", ["before the deletion", "after the deletion"])
def test_a_writer_and_a_clearer_see_each_other(
    root: str, blobs: Blobs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, when: str
) -> None:
    told = systems.touched_at  # S3 cannot be given an old object: blobs, but not the marks of writers, look a day older

    def a_day_older(info: dict[str, Any]) -> float | None:
        at = told(info)
        return at - 86400 if at is not None and "/sha256/" in info["name"] else at

    monkeypatch.setattr(systems, "touched_at", a_day_older)
    store = open_store(tmp_path / "store", artifacts=root)
    digest = store.blobs.put(b"wanted")
    system = store.blobs.place._system()  # type: ignore[union-attr]
    real, name = system.rm_file, digest.removeprefix("sha256:")

    def beside(path: str) -> None:
        ours = path.endswith(name[2:]) and "/sha256/" in path
        if ours and when == "before the deletion":
            blobs.put(b"wanted")
        real(path)
        if ours and when == "after the deletion":
            blobs.put(b"wanted")

    monkeypatch.setattr(system, "rm_file", beside)
    assert gc.collect(store, grace=3600, delete=True).blobs == (when == "after the deletion")
    assert blobs.get(digest) == b"wanted"
    store.close()


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    blobs = Blobs("memory://ana:secret@host/x", patience=replace(QUICK, tries=1))
    assert blobs.shown_root == "memory://…@host/x"
    with pytest.raises(NotFound) as caught:
        blobs.get("sha256:" + "0" * 64)
    assert "secret" not in caught.value.hint + caught.value.message
