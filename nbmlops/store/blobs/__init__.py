"""Content-addressed bytes: named by their SHA-256, written once, verified when read.

Layout below the root, local or remote: ``sha256/ab/cdef…``, which ``sha256sum`` checks by hand. Beside it ``tmp/``
(writes under way), ``gc/`` (what a clearing-up has moved aside), ``young/`` (remote: marks of writers), ``owners/``
(which stores keep their files here). A blob is complete under its name, or not there: see ``folder`` and ``remote``.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from nbmlops import secrets, settings
from nbmlops.errors import BlobCorrupt, NbmlopsError, NotFound
from nbmlops.store.blobs import guard, transfer
from nbmlops.store.blobs.cache import Cache
from nbmlops.store.blobs.folder import Folder
from nbmlops.store.blobs.names import DIGEST, PART, Data, Held, hex_of, shown
from nbmlops.store.blobs.ordered import ordered
from nbmlops.store.blobs.remote import Remote
from nbmlops.store.blobs.retry import Patience
from nbmlops.store.blobs.transfer import BlobSource, Copied, Progress

__all__ = ["DIGEST", "BlobSource", "Blobs", "Cache", "Copied", "Held", "Patience", "Progress"]

T = TypeVar("T")
_UNCACHED = ("memory://", "local://")


class Blobs:
    """The bytes of one store. ``root`` is a local folder or an fsspec URL. Threads may share it; it may be pickled.

    Args:
        root: a local folder, or an fsspec URL.
        cache: keeps local copies of remote blobs; by default as the settings ``cache`` and ``cache_gb`` say.
        patience: how long remote faults that may pass are waited for.
        owner: the id of the store, left beside blobs outside its own folder, so that none clears up another's.
    """

    def __init__(
        self, root: str, *, cache: Cache | None = None, patience: Patience | None = None, owner: str | None = None
    ) -> None:
        self.root = root.rstrip("/")
        self.owner = owner
        self._signed = False
        self._cache = cache
        self._patience = patience
        self.place: Folder | Remote
        if "://" not in root or root.startswith("file://"):
            self.place = Folder(Path(root.removeprefix("file://")))
            self._cache = None
        else:
            self.place = Remote(self.root, patience)
            if cache is None and not root.startswith(_UNCACHED):
                self._cache = default_cache()

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.root, self._cache, self._patience, self.owner)

    @property
    def shown_root(self) -> str:
        """The root, fit to be shown: without a password."""
        return shown(self.root)

    # --- writing --------------------------------------------------------------------------------------------------
    def put(self, data: Data) -> str:
        """Store bytes (any buffer), the content of a file, or a stream; returns ``sha256:…``. Storing again is free.

        Values of secrets are masked where bytes or a file are text. A stream is stored as it is, or refused.

        Raises:
            SecretInData: the value of a secret is in it, and cannot be masked.
            StoreFault: the disk is full or the remote fails; nothing is left half-written.
        """
        safe = guard.safe(data) if secrets.is_active() else data
        return self._act(lambda: f"sha256:{self._put(safe)}")

    def _put(self, data: Data) -> str:
        if self.owner and not self._signed:
            self.place.sign(self.owner)
            self._signed = True
        return self.place.put(data)

    def put_many(self, items: Iterable[Data], *, workers: int | None = None) -> list[str]:
        """Store many in parallel; the digests in the order of ``items``, which are taken as they are needed."""
        return list(ordered(self.put, items, workers=workers or self.place.workers))

    def missing(self, digests: Iterable[str]) -> set[str]:
        """Those of ``digests`` that are not stored. From the others ``gc`` stays away for its grace period."""
        named = {hex_of(d): d for d in digests}
        return {named[n] for n in self._act(lambda: self.place.missing(named))}

    def copy_to(
        self, other: Blobs, digests: Iterable[str], *, workers: int | None = None, progress: Progress | None = None
    ) -> Copied:
        """Bring blobs to another place: only what is missing there travels, in parallel, verified.

        Interrupted at any moment, it is repeated and goes on: what has arrived is not sent again.

        Args:
            other: where to.
            digests: what to bring; repeated ones count once.
            workers: blobs on their way at one time.
            progress: called after each blob with (blobs done, blobs that travel, bytes travelled).

        Raises:
            NotFound: a blob is neither here nor there.
            BlobCorrupt: a blob is damaged here; what came before it has arrived.
            StoreFault: one of the two places fails; says how many arrived.
        """
        return transfer.copy(self, other, digests, workers=workers, progress=progress)

    def receive(self, source: BlobSource, digests: Iterable[str], *, workers: int | None = None) -> Copied:
        """Bring blobs here from any place that has them; see :meth:`copy_to`."""
        return transfer.copy(source, self, digests, workers=workers)

    # --- reading --------------------------------------------------------------------------------------------------
    def get(self, digest: str) -> bytes:
        """The bytes, verified.

        Raises:
            NotFound: there is no such blob.
            BlobCorrupt: its content does not match its name.
        """
        name = hex_of(digest)
        if self._cache is not None and (copy := self._cache.get(name)) is not None:
            return copy
        data = self._found(digest, lambda: self.place.read(name))
        if hashlib.sha256(data).hexdigest() != name:
            # An answer that was cut off or mangled on its way is not what is stored: asked for once more.
            data = b"" if isinstance(self.place, Folder) else self._found(digest, lambda: self.place.read(name))
            if hashlib.sha256(data).hexdigest() != name:
                raise self._corrupt(digest)
        if self._cache is not None:
            self._cache.put(data)
        return data

    def get_many(self, digests: Iterable[str], *, workers: int | None = None) -> Iterator[bytes]:
        """The bytes of many, verified, in order, fetched in parallel; at most ``workers`` of them are in memory."""
        return ordered(self.get, digests, workers=workers or self.place.workers)

    def read(self, digest: str, offset: int = 0, length: int = -1) -> bytes:
        """A range of the bytes (to the end for a ``length`` of -1), **not verified**; shorter at the end of the blob.

        Raises:
            NotFound: there is no such blob.
        """
        name = hex_of(digest)
        return self._found(digest, lambda: self.place.read(name, offset, length))

    def open(self, digest: str) -> BinaryIO:
        """The bytes as a seekable stream, verified before it is handed over."""
        return io.BytesIO(self.get(digest))

    def reader(self, digest: str) -> Any:
        """A seekable file for Parquet, **not verified**; of a remote blob, only what is read travels.

        The caller closes it, and checks what it reads (page checksums, chunk digests).

        Raises:
            NotFound: there is no such blob.
        """
        name = hex_of(digest)
        if self._cache is not None and (copy := self._cache.reader(name)) is not None:
            return copy
        return self._found(digest, lambda: self.place.reader(name))

    def save(self, digest: str, path: str | os.PathLike[str]) -> None:
        """Write the bytes to a file, verified, in bounded memory; a damaged or interrupted one leaves no file.

        Raises:
            NotFound: there is no such blob.
            BlobCorrupt: its content does not match its name.
        """
        try:
            with open(path, "wb") as out:
                self._pour(digest, out.write)
        except BaseException:  # Ctrl-C too; raised again
            Path(path).unlink(missing_ok=True)
            raise

    def check(self, digest: str) -> int:
        """Hash a blob again, in bounded memory; returns its bytes.

        Raises:
            NotFound: there is no such blob.
            BlobCorrupt: its content does not match its name.
        """
        return self._pour(digest, len)

    def _pour(self, digest: str, sink: Callable[[bytes], object]) -> int:
        name, hasher, total = hex_of(digest), hashlib.sha256(), 0
        with self._found(digest, lambda: self.place.stream(name)) as stream:
            while part := self._act(lambda: stream.read(8 * PART)):
                hasher.update(part)
                total += len(part)
                sink(part)
        if hasher.hexdigest() != name:
            raise self._corrupt(digest)
        return total

    def stream(self, digest: str) -> BinaryIO:
        """The bytes as a seekable stream, **not verified**; :meth:`open` gives a verified one."""
        name = hex_of(digest)
        return self._found(digest, lambda: self.place.stream(name))

    def has(self, digest: str) -> bool:
        """Whether the blob is there now. To rely on it later, ask :meth:`missing`."""
        name = hex_of(digest)
        return self._act(lambda: self.place.exists(name))

    def size(self, digest: str) -> int:
        """The number of bytes.

        Raises:
            NotFound: there is no such blob.
        """
        name = hex_of(digest)
        return self._found(digest, lambda: self.place.size(name))

    def url(self, digest: str) -> str:
        """The local path, or the fsspec URL, of a blob; may hold a password."""
        return self.place.url(hex_of(digest))

    def digests(self) -> Iterator[str]:
        """The digests of all blobs that are there."""
        return (f"sha256:{held.name}" for held in self.held())

    def held(self) -> Iterator[Held]:
        """All blobs that are there, with size and the time they were last stored or wanted."""
        return self._act(self.place.names)

    # --- faults ---------------------------------------------------------------------------------------------------
    def _act(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except NbmlopsError:
            raise
        except Exception as error:  # every file system has its own; what is not its fault comes back as it is
            fault = self.place.fault(error)
            if fault is error:
                raise
            raise fault from error

    def _found(self, digest: str, action: Callable[[], T]) -> T:
        """``action``, once more if a clearing-up that was killed, or still runs, had moved the blob aside."""
        try:
            return self._act_or_missing(action)
        except FileNotFoundError as error:
            try:
                if self._act(lambda: self.place.put_back([hex_of(digest)])) or self.has(digest):
                    return self._act_or_missing(action)
            except FileNotFoundError:
                pass
            raise self._missing(digest) from error

    def _act_or_missing(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except (FileNotFoundError, NbmlopsError):
            raise
        except Exception as error:  # as in _act
            fault = self.place.fault(error)
            if fault is error:
                raise
            raise fault from error

    def _missing(self, digest: str) -> NotFound:
        return NotFound(
            f"the stored object {digest[:19]}… is missing",
            f"it should be at {shown(self.url(digest))}; restore it from a backup",
        )

    def _corrupt(self, digest: str) -> BlobCorrupt:
        return BlobCorrupt(
            f"the stored object {digest[:19]}… does not have the content its name promises",
            f"restore {shown(self.url(digest))} from a backup, or make the thing that uses it again",
        )


def default_cache() -> Cache:
    """The cache that the settings ``cache`` and ``cache_gb`` describe."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = settings.value("cache") or os.path.join(home, "nbmlops")
    return Cache(Path(folder).expanduser().absolute(), int(settings.value("cache_gb") * 1e9))


def _again(root: str, cache: Cache | None, patience: Patience | None, owner: str | None) -> Blobs:
    return Blobs(root, cache=cache, patience=patience, owner=owner)
