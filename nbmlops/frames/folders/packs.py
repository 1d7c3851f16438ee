"""Packs: small contents one after the other in blobs of about 64 MB, after a line that says what this is.

10,000 files as one blob each cost 7.5 s, in packs 1.6 s: making, syncing and naming a file costs more than its 60 kB.
A pack is written while it is filled, and two are under way at a time, so that one is synced while the next is filled.
A content that would be alone in its pack is a blob of its own.
"""

from __future__ import annotations

import contextlib
import io
import queue
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from nbmlops.store.blobs import Blobs

PACK = 64 << 20
HEAD = b"nbmlops pack 1\n"  # so that no pack looks like the JSON or Parquet that its first file may be
_PART = 1 << 20
_WAITING = 8  # parts of 1 MB between filling and writing
# Of a content in a pack: "pack" (digest of the blob) and "offset"; empty if the content is a blob of its own.
Place: TypeAlias = dict[str, Any]


class Packs:
    """Fills packs; a context manager. The places it gives are complete once it has been left without an error."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._pool = ThreadPoolExecutor(2)
        self._pipe: _Pipe | None = None
        self._first: tuple[bytes, Place] | None = None
        self._written: list[tuple[Future[str], list[Place]]] = []

    def __enter__(self) -> Packs:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._end()
                for written, places in self._written:
                    digest = written.result()
                    for place in places:
                        place["pack"] = digest
            elif self._pipe is not None:
                self._pipe.abandon()
        finally:
            self._pool.shutdown(wait=True)

    def add(self, data: bytes) -> Place:
        """Append a content; where it will be found.

        Raises:
            StoreFault: a pack cannot be written.
        """
        place: Place = {}
        size = self._pipe.size if self._pipe is not None else len(HEAD) + len(self._first[0]) if self._first else 0
        if size + len(data) > PACK:
            self._end()
        if self._pipe is None and self._first is None:
            self._first = data, place  # there may be no second
            return place
        if self._pipe is None:
            self._begin()
        self._append(data, place)
        return place

    def _begin(self) -> None:
        self._pipe = _Pipe()
        self._pipe.reader = self._pool.submit(self._blobs.put, self._pipe)  # type: ignore[arg-type]
        self._written.append((self._pipe.reader, []))
        self._pipe.append(HEAD)
        if self._first is not None:
            self._append(*self._first)
        self._first = None

    def _append(self, data: bytes, place: Place) -> None:
        assert self._pipe is not None  # noqa: S101  (for mypy: _begin made it)
        place["offset"] = self._pipe.size
        self._written[-1][1].append(place)
        self._pipe.append(data)

    def _end(self) -> None:
        if self._pipe is not None:
            self._pipe.close_pack()
        elif self._first is not None:
            self._blobs.put(io.BytesIO(self._first[0]))  # a stream, which is kept as it is: its digest is known
        self._pipe = self._first = None


class _Abandoned(Exception):
    """The pack will not be completed: nothing of it may be kept."""


class _Pipe(io.RawIOBase):
    """A stream that one thread fills and ``Blobs.put`` reads."""

    def __init__(self) -> None:
        self.size = 0
        self.reader: Future[str] | None = None
        self._filling: list[bytes] = []
        self._filled = 0
        self._parts: queue.Queue[bytes | _Abandoned | None] = queue.Queue(_WAITING)
        self._rest = b""
        self._ended = False

    def append(self, data: bytes) -> None:
        self.size += len(data)
        self._filled += len(data)
        self._filling.append(data)
        if self._filled >= _PART:
            self._flush()

    def close_pack(self) -> None:
        """Say that nothing more comes."""
        self._flush()
        self._send(None)

    def abandon(self) -> None:
        """Let the reader fail, so that it keeps nothing."""
        with contextlib.suppress(Exception):  # it has failed already: that error is on its way
            self._send(_Abandoned())

    def _flush(self) -> None:
        self._send(b"".join(self._filling))
        self._filling, self._filled = [], 0

    def _send(self, part: bytes | _Abandoned | None) -> None:
        while True:
            if self.reader is not None and self.reader.done():
                self.reader.result()  # raises what went wrong, e.g. that the disk is full
            try:
                return self._parts.put(part, timeout=0.1)
            except queue.Full:
                continue

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer)
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to ``size`` bytes, at least one before the end; all that comes if ``size`` is negative."""
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(_PART), b""))
        while not self._rest and not self._ended:
            part = self._parts.get()
            if isinstance(part, _Abandoned):
                self._ended = True
                raise part
            self._ended = part is None
            self._rest = part or b""
        data, self._rest = (self._rest, b"") if len(self._rest) <= size else (self._rest[:size], self._rest[size:])
        return data
