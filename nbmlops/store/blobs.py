"""Content-addressed bytes over fsspec: named by their SHA-256, written once, verified when read.

A local blob is written under a temporary name, hashed while it is written, synced, and renamed into place: a crash
or a full disk leaves no half-written blob. Layout: ``sha256/ab/cdef…``; ``sha256sum`` checks it by hand.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from nbmlops.errors import BlobCorrupt, NotFound, StoreFault, StoreReadOnly

_PART = 1 << 20


class Blobs:
    """The bytes of one store. ``root`` is a local folder or an fsspec URL."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        self._local = "://" not in root or root.startswith("file://")
        if self._local:
            self._folder = Path(root.removeprefix("file://"))
        else:
            import fsspec

            self._fs, self._prefix = fsspec.core.url_to_fs(self.root)

    def put(self, data: bytes | str | os.PathLike[str] | BinaryIO) -> str:
        """Store bytes, the content of a file, or a stream; returns the digest ``sha256:…``. Storing again is free.

        Raises:
            StoreFault: the disk is full or the remote fails; nothing is left half-written.
        """
        try:
            if self._local:
                return self._put_local(data)
            return self._put_remote(data)
        except OSError as error:
            raise self._fault(error) from error

    def _put_local(self, data: bytes | str | os.PathLike[str] | BinaryIO) -> str:
        if isinstance(data, bytes | bytearray | memoryview):
            digest = hashlib.sha256(data).hexdigest()
            if (self._folder / _key(digest)).exists():
                return f"sha256:{digest}"
        temporary = self._folder / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=temporary)
        try:
            with open(handle, "wb") as out:
                digest = _copy(data, out)
                out.flush()
                os.fsync(out.fileno())
            target = self._folder / _key(digest)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.chmod(name, 0o444)
            os.replace(name, target)
            _sync_folder(target.parent)
        except BaseException:  # Ctrl-C too: no half-written file may stay; raised again
            Path(name).unlink(missing_ok=True)
            raise
        return f"sha256:{digest}"

    def _put_remote(self, data: bytes | str | os.PathLike[str] | BinaryIO) -> str:
        # Hash first, upload once under the final name: object stores show an upload only when it is complete.
        with tempfile.SpooledTemporaryFile(max_size=64 << 20) as spool:
            digest = _copy(data, spool)
            target = f"{self._prefix}/{_key(digest)}"
            if not self._fs.exists(target):
                spool.seek(0)
                with self._fs.open(target, "wb") as out:
                    while part := spool.read(_PART):
                        out.write(part)
        return f"sha256:{digest}"

    def get(self, digest: str) -> bytes:
        """The bytes, verified.

        Raises:
            NotFound: there is no such blob.
            BlobCorrupt: its content does not match its name.
        """
        key = _key(_hex(digest))
        try:
            data = (self._folder / key).read_bytes() if self._local else self._fs.cat_file(f"{self._prefix}/{key}")
        except FileNotFoundError as error:
            raise self._missing(digest) from error
        except OSError as error:
            raise self._fault(error) from error
        if hashlib.sha256(data).hexdigest() != _hex(digest):
            raise BlobCorrupt(
                f"the stored object {digest[:19]}… does not have the content its name promises",
                f"restore {self.url(digest)} from a backup, or make the thing that uses it again",
            )
        return data

    def open(self, digest: str) -> BinaryIO:
        """The bytes as a seekable stream, verified before it is handed over."""
        return io.BytesIO(self.get(digest))

    def reader(self, digest: str) -> Any:
        """A seekable file of the bytes, not verified."""
        import pyarrow as pa

        return pa.memory_map(self.url(digest)) if self._local else self._fs.open(self.url(digest), "rb")

    def has(self, digest: str) -> bool:
        key = _key(_hex(digest))
        return (self._folder / key).exists() if self._local else bool(self._fs.exists(f"{self._prefix}/{key}"))

    def size(self, digest: str) -> int:
        """The number of bytes.

        Raises:
            NotFound: there is no such blob.
        """
        key = _key(_hex(digest))
        try:
            return (self._folder / key).stat().st_size if self._local else int(self._fs.size(f"{self._prefix}/{key}"))
        except FileNotFoundError as error:
            raise self._missing(digest) from error

    def url(self, digest: str) -> str:
        """The local path, or the fsspec URL, of a blob."""
        key = _key(_hex(digest))
        return str(self._folder / key) if self._local else f"{self.root}/{key}"

    def digests(self) -> Iterator[str]:
        """The digests of all blobs that are there."""
        if self._local:
            for path in sorted((self._folder / "sha256").glob("??/*")):
                yield f"sha256:{path.parent.name}{path.name}"
            return
        for name in sorted(self._fs.find(f"{self._prefix}/sha256")):
            *_, head, tail = name.split("/")
            yield f"sha256:{head}{tail}"

    def _missing(self, digest: str) -> NotFound:
        return NotFound(
            f"the stored object {digest[:19]}… is missing",
            f"it should be at {self.url(digest)}; restore it from a backup",
        )

    def _fault(self, error: OSError) -> StoreFault:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return StoreFault(
                f"no space left for blobs in {self.root}", "free some disk space and repeat; nothing was half-written"
            )
        if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
            return StoreReadOnly(
                f"the blobs in {self.root} are read-only: {error.strerror}",
                "mend the permissions of the folder, or set NBMLOPS_ARTIFACTS",
            )
        return StoreFault(f"blobs in {self.root}: {error.strerror or error}", "run `nbmlops doctor`")


def _copy(data: Any, out: Any) -> str:
    """Writes ``data`` to ``out`` and returns the hex digest of exactly what was written."""
    if isinstance(data, bytes | bytearray | memoryview):
        out.write(data)
        return hashlib.sha256(data).hexdigest()
    hasher = hashlib.sha256()
    stream = open(data, "rb") if isinstance(data, str | os.PathLike) else data  # noqa: SIM115  (closed below if ours)
    try:
        while part := stream.read(_PART):
            hasher.update(part)
            out.write(part)
    finally:
        if stream is not data:
            stream.close()
    return hasher.hexdigest()


def _hex(digest: str) -> str:
    text = digest.removeprefix("sha256:")
    if len(text) != 64 or not set(text) <= set("0123456789abcdef"):
        raise NotFound(
            f"{digest[:80]!r} is not the digest of a stored object", "digests look like sha256:… with 64 hex digits"
        )
    return text


def _key(hexdigest: str) -> str:
    return f"sha256/{hexdigest[:2]}/{hexdigest[2:]}"


def _sync_folder(folder: Path) -> None:
    """Makes a rename durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
