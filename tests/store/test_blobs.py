"""Blobs: written once, verified when read, nothing half-written."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbmlops.errors import BlobCorrupt, NotFound, StoreFault
from nbmlops.store.blobs import Blobs


@pytest.fixture(params=["folder", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return Blobs(str(tmp_path / "blobs") if request.param == "folder" else f"memory://{tmp_path.name}")


def test_bytes_files_and_streams_give_the_same_digest(blobs: Blobs, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    path = tmp_path / "file"
    path.write_bytes(data)
    digests = {blobs.put(data), blobs.put(path), blobs.put(str(path)), blobs.put(io.BytesIO(data))}
    assert len(digests) == 1
    digest = digests.pop()
    assert blobs.get(digest) == data
    assert blobs.open(digest).read() == data
    assert blobs.size(digest) == len(data)
    assert list(blobs.digests()) == [digest]


def test_the_digest_is_the_files_sha256(tmp_path: Path) -> None:
    digest = Blobs(str(tmp_path)).put(b"abc")
    assert digest == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_changed_blob_is_refused(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    digest = blobs.put(b"original")
    path = Path(blobs.url(digest))
    path.chmod(0o644)
    path.write_bytes(b"0riginal")
    with pytest.raises(BlobCorrupt) as caught:
        blobs.get(digest)
    assert str(path) in caught.value.hint


@pytest.mark.parametrize("name", ["sha256:" + "0" * 64, "../../etc/passwd", "sha256:../x", "", "sha256:ABC"])
def test_an_unknown_or_hostile_digest_is_not_found(blobs: Blobs, name: str) -> None:
    with pytest.raises(NotFound):
        blobs.get(name)


def test_a_failing_stream_leaves_nothing(tmp_path: Path) -> None:
    class Failing(io.RawIOBase):
        calls = 0

        def read(self, size: int = -1) -> bytes:
            self.calls += 1
            if self.calls > 2:
                raise OSError(28, "No space left on device")
            return b"x" * 1000

    blobs = Blobs(str(tmp_path))
    with pytest.raises(StoreFault, match="no space left"):
        blobs.put(Failing())  # type: ignore[arg-type]
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


@given(st.binary(max_size=2000))
def test_round_trip(data: bytes) -> None:
    blobs = Blobs("memory://round-trip")
    assert blobs.get(blobs.put(data)) == data


# --- many at once, ranges, transfers ------------------------------------------------------------------------------
def test_many_come_back_in_order_whatever_is_read_ahead(blobs: Blobs) -> None:
    contents = [f"{n}".encode() * 100 for n in range(50)]
    taken = 0

    def items() -> Iterator[bytes]:
        nonlocal taken
        for content in contents:
            taken += 1
            yield content

    digests = blobs.put_many(items(), workers=3)
    assert taken == 50
    reading = blobs.get_many(iter(digests), workers=3)
    assert next(reading) == contents[0]
    assert list(reading) == contents[1:]
    absent = "sha256:" + "0" * 64
    assert blobs.missing([digests[0], absent, digests[1]]) == {absent}
    with pytest.raises(NotFound):
        list(blobs.get_many([digests[0], absent, digests[1]]))


@given(st.binary(max_size=200), st.integers(0, 250), st.integers(-1, 250))
def test_ranges(data: bytes, offset: int, length: int) -> None:
    blobs = Blobs("memory://ranges")
    digest = blobs.put(data)
    wanted = data[offset:] if length < 0 else data[offset : offset + length]
    assert blobs.read(digest, offset, length) == wanted


def test_a_reader_seeks_and_a_saved_file_is_verified(blobs: Blobs, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    digest = blobs.put(data)
    with blobs.reader(digest) as file:
        file.seek(2_000_000)
        assert file.read(10) == data[2_000_000:2_000_010]
        assert file.tell() == 2_000_010
    again = pickle.loads(pickle.dumps(blobs))
    again.save(digest, tmp_path / "saved")
    assert (tmp_path / "saved").read_bytes() == data
    assert again.check(digest) == len(data)
    with pytest.raises(NotFound):
        blobs.reader("sha256:" + "0" * 64)


def test_a_damaged_blob_is_not_saved_nor_copied_and_storing_a_short_one_again_mends_it(tmp_path: Path) -> None:
    blobs, other = Blobs(str(tmp_path / "a")), Blobs(str(tmp_path / "b"))
    digest = blobs.put(b"original")
    path = Path(blobs.url(digest))
    path.chmod(0o644)
    path.write_bytes(b"0riginal")
    with pytest.raises(BlobCorrupt):
        blobs.save(digest, tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
    with pytest.raises(BlobCorrupt, match="0 of 1 objects arrived"):
        blobs.copy_to(other, [digest])
    path.write_bytes(b"orig")
    blobs.put(b"original")
    assert blobs.get(digest) == b"original"


def test_only_what_is_missing_is_copied(blobs: Blobs, tmp_path: Path) -> None:
    other = Blobs(str(tmp_path / "other"))
    digests = blobs.put_many([f"{n}".encode() for n in range(10)])
    other.put(b"3")
    done = blobs.copy_to(other, [*digests, digests[0]])
    assert (done.asked, done.there, done.copied, done.bytes) == (10, 1, 9, 9)
    assert blobs.copy_to(other, digests).copied == 0
    assert set(other.digests()) == set(digests)


def test_an_unknown_kind_of_url_is_told() -> None:
    with pytest.raises(StoreFault, match="nosuch://x cannot be used for blobs"):
        Blobs("nosuch://x")


def test_concurrent_puts_of_the_same_leave_one(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    data = os.urandom(500_000)
    assert len(set(blobs.put_many([data] * 32, workers=16))) == 1
    assert list((tmp_path / "tmp").iterdir()) == []
    assert len(list(blobs.digests())) == 1
