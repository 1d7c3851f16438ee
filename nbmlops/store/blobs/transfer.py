"""Blobs from one place to another: only what is missing there travels."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from nbmlops import secrets
from nbmlops.errors import BlobCorrupt, NbmlopsError, StoreFault
from nbmlops.store.blobs.ordered import ordered

if TYPE_CHECKING:
    from nbmlops.store.blobs import Blobs

_IN_MEMORY = 64 << 20
# Called after each blob with: blobs done, blobs in all, bytes that travelled so far.
Progress: TypeAlias = Callable[[int, int, int], None]


class BlobSource(Protocol):
    """Where the bytes come from: the blobs of another store, or an archive. ``digest`` is ``sha256:…``."""

    def has(self, digest: str) -> bool:
        """Whether it is there."""

    def size(self, digest: str) -> int:
        """Its number of bytes."""

    def get(self, digest: str) -> bytes:
        """Its bytes; whether they are what the digest says is looked at again when they have arrived."""

    def save(self, digest: str, path: str | os.PathLike[str]) -> None:
        """Write its bytes to a file, in bounded memory."""


@dataclass(frozen=True)
class Copied:
    """What a transfer did: blobs asked for, those that were there already, those that travelled, and their bytes."""

    asked: int
    there: int
    copied: int
    bytes: int


def copy(
    source: BlobSource,
    target: Blobs,
    digests: Iterable[str],
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Copied:
    """See :meth:`Blobs.copy_to`."""
    wanted = list(dict.fromkeys(digests))
    missing = target.missing(wanted)
    todo = [d for d in wanted if d in missing]
    done = travelled = 0
    try:
        for size in ordered(lambda d: _one(source, target, d), todo, workers=workers or 4):
            done, travelled = done + 1, travelled + size
            if progress is not None:
                progress(done, len(todo), travelled)
    except StoreFault as error:
        raise _stopped(error, done, len(todo)) from error
    return Copied(len(wanted), len(wanted) - len(todo), done, travelled)


def _one(source: BlobSource, target: Blobs, digest: str) -> int:
    """Content is verified when it is read, and named by what arrives."""
    size = source.size(digest)
    if size <= _IN_MEMORY:
        data = source.get(digest)
        # As a stream it is refused rather than masked: it has its name already.
        arrived = target.put(io.BytesIO(data) if secrets.is_active() else data)
    else:
        with tempfile.TemporaryDirectory(prefix="nbmlops-") as folder:
            path = os.path.join(folder, "blob")
            source.save(digest, path)
            arrived = target.put(path)
    if arrived.removeprefix("sha256:") != digest.removeprefix("sha256:"):
        raise BlobCorrupt(
            f"the stored object {digest[:19]}… arrived with another content", "check the place that it came from"
        )
    return size


def _stopped(error: NbmlopsError, done: int, total: int) -> NbmlopsError:
    """The same fault, which also says how far the transfer came."""
    return type(error)(
        f"{error.message}; {done} of {total} objects arrived before it",
        error.hint or "repeat: what has arrived is not sent again",
    )
