"""Blobs: written once, verified when read, nothing half-written."""

from __future__ import annotations

import io
import os
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
