"""Local copies of remote blobs: verified on entry, written whole, the longest unused evicted first.

A cache is a :class:`Folder`, so several processes may share one: a copy appears by a rename, and one that is being read
while it is evicted stays readable until it is closed. Reading makes a copy young.
"""

from __future__ import annotations

import hashlib
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from nbmlops.store.blobs.folder import Folder
from nbmlops.store.blobs.names import key_of

_KEPT = 0.9  # evicting goes a little below the limit, so that it is not done for every blob


class Cache:
    """Copies below ``folder`` of at most ``limit`` bytes in all; a limit of 0 keeps none."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self._copies = Folder(folder)
        self._added = limit  # the first entry looks at what is there
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Cache, (self.folder, self.limit)

    def get(self, name: str) -> bytes | None:
        """A copy, verified; one that is damaged is dropped."""
        if not self.limit:
            return None
        try:
            if not self._copies.claim(name):
                return None
            data = self._copies.read(name)
        except OSError:  # a cache never stands in the way: the blob is fetched instead
            return None
        if hashlib.sha256(data).hexdigest() != name:
            self.drop(name)
            return None
        return data

    def reader(self, name: str) -> Any:
        """A copy as a seekable file, or None."""
        with suppress(OSError):
            if self.limit and self._copies.claim(name):
                return self._copies.reader(name)
        return None

    def put(self, data: bytes) -> None:
        """Keep a copy of verified content, if it is small beside the limit."""
        if len(data) * 4 > self.limit:
            return
        with suppress(OSError):  # a full disk: no copy, no fault
            self._copies.put(data)
            with self._lock:
                self._added += len(data)
                due = self._added > self.limit * (1 - _KEPT)
                if due:
                    self._added = 0
            if due:
                self._evict()

    def drop(self, name: str) -> None:
        with suppress(OSError):
            (self.folder / key_of(name)).unlink(missing_ok=True)

    def _evict(self) -> None:
        held = sorted(self._copies.names(), key=lambda h: h.touched or 0.0)
        total = sum(h.bytes for h in held)
        if total <= self.limit:
            return
        for one in held:
            self.drop(one.name)
            total -= one.bytes
            if total <= self.limit * _KEPT:
                return
