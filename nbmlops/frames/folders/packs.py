"""Packs: small contents one after the other in blobs of about 64 MB.

10,000 files as one blob each cost 7.5 s, in packs 1.6 s: making, syncing and naming a file costs more than its 60 kB.
A pack is written while it is filled, and two are under way at a time, so that one is synced while the next is filled.
"""

from __future__ import annotations

import io
import queue
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from nbmlops.store.blobs import Blobs

PACK = 64 << 20
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
        self._written: deque[tuple[Future[str], list[Place]]] = deque()

    def __enter__(self) -> Packs:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if self._pipe is not None:
                self._pipe.close_pack(abandon=kind is not None)
            if kind is None:
                while self._written:
                    self._name(*self._written.popleft())
        finally:
            self._pool.shutdown(wait=True)

    def add(self, data: bytes) -> Place:
        """Append a content; where it will be found.

        Raises:
            StoreFault: a pack cannot be written.
        """
        if self._pipe is None or self._pipe.size + len(data) > PACK:
            self._next()
        assert self._pipe is not None  # noqa: S101  (for mypy: _next made it)
        place: Place = {"offset": self._pipe.size}
        self._written[-1][1].append(place)
        self._pipe.append(data, self._written[-1][0])
        return place

    def _next(self) -> None:
        if self._pipe is not None:
            self._pipe.close_pack(abandon=False)
        pipe = self._pipe = _Pipe()
        self._written.append((self._pool.submit(self._blobs.put, pipe), []))  # type: ignore[arg-type]

    @staticmethod
    def _name(written: Future[str], places: list[Place]) -> None:
        digest = written.result()
        for place in places:
            place["pack"] = digest
        if len(places) == 1:
            places[0].clear()  # alone in its pack: the pack is the file


class _Abandoned(Exception):
    """The pack will not be completed: nothing of it may be kept."""


class _Pipe(io.RawIOBase):
    """A stream that one thread fills and ``Blobs.put`` reads."""

    def __init__(self) -> None:
        self.size = 0
        self._filling: list[bytes] = []
        self._filled = 0
        self._parts: queue.Queue[bytes | _Abandoned | None] = queue.Queue(_WAITING)
        self._rest = b""
        self._ended = False
        self._reader: Future[str] | None = None

    def append(self, data: bytes, reader: Future[str]) -> None:
        self._reader = reader
        self.size += len(data)
        self._filled += len(data)
        self._filling.append(data)
        if self._filled >= _PART:
            self._send(b"".join(self._filling))
            self._filling, self._filled = [], 0

    def close_pack(self, *, abandon: bool) -> None:
        """Say that nothing more comes; when abandoned, the reader fails and keeps nothing."""
        if abandon:
            self._send(_Abandoned(), failing=True)
            return
        self._send(b"".join(self._filling))
        self._send(None)

    def _send(self, part: bytes | _Abandoned | None, *, failing: bool = False) -> None:
        while True:
            if self._reader is not None and self._reader.done():
                if failing:
                    return
                self._reader.result()  # raises what went wrong, e.g. that the disk is full
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
