"""Blobs in a local folder: temporary file, sync, rename, read-only.

The modification time of a blob says when somebody last stored or wanted it, and ``os.utime`` is the existence check of
every writer: when it succeeds, the blob is there *and* young. Clearing up (``store/gc.py``) renames an old blob aside
and looks at its time again, so that of a writer and a clearer one always sees the other: ``utime`` before the rename
leaves a young blob, which goes back; ``utime`` after it fails, and the writer writes.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from nbmlops import clock
from nbmlops.errors import StoreFault, StoreReadOnly
from nbmlops.store.blobs.names import Data, Held, as_bytes, key_of, name_of, parts

# A blob of another user cannot be made young; one older than this is replaced by our own copy instead.
_OLD = 3600.0


class Folder:
    """The blobs below one local folder."""

    workers = 4  # disks and hashing, not round trips

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, data: Data) -> str:
        """Store bytes, a file or a stream; returns the 64 hex digits."""
        held = as_bytes(data)
        if held is not None:
            name = hashlib.sha256(held).hexdigest()
            if self.claim(name, len(held)):
                return name
        try:
            handle, temporary = tempfile.mkstemp(dir=self.path / "tmp")
        except FileNotFoundError:
            (self.path / "tmp").mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self.path / "tmp")
        try:
            with open(handle, "wb", buffering=0) as out:
                if held is None:
                    name = _copy(data, out)
                    if self.claim(name, os.fstat(handle).st_size):
                        os.unlink(temporary)
                        return name
                else:
                    _write(held, out)
                os.fchmod(handle, 0o444)
                os.fsync(handle)
            self._into_place(temporary, self.path / key_of(name))
        except BaseException:  # Ctrl-C too: no half-written file may stay; raised again
            Path(temporary).unlink(missing_ok=True)
            raise
        return name

    def _into_place(self, temporary: str, target: Path) -> None:
        try:
            os.replace(temporary, target)
        except FileNotFoundError:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary, target)
            _sync_folder(target.parent.parent)
        _sync_folder(target.parent)

    def claim(self, name: str, size: int | None = None) -> bool:
        """Whether the blob is there, made young. One of another ``size`` is damaged, and counts as missing."""
        target = self.path / key_of(name)
        try:
            os.utime(target)
        except FileNotFoundError:
            return False
        except PermissionError:
            if clock.now() - target.stat().st_mtime > _OLD and size is not None:
                return False  # the caller has the content: its own copy takes the place of this one
        except OSError as error:
            if error.errno != errno.EROFS:  # nobody clears up on a read-only disk
                raise
        return size is None or target.stat().st_size == size

    def missing(self, names: Iterable[str]) -> set[str]:
        """Those that are not there; the others are young afterwards."""
        return {n for n in names if not self.claim(n)}

    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        with open(self.path / key_of(name), "rb", buffering=0) as file:
            if offset:
                file.seek(offset)
            return file.read(length)

    def reader(self, name: str) -> Any:
        """An ``pyarrow`` file: seekable, and read without the interpreter's lock."""
        import pyarrow as pa

        return pa.OSFile(str(self.path / key_of(name)), "rb")

    def stream(self, name: str) -> BinaryIO:
        return open(self.path / key_of(name), "rb")

    def exists(self, name: str) -> bool:
        return (self.path / key_of(name)).is_file()

    def size(self, name: str) -> int:
        return (self.path / key_of(name)).stat().st_size

    def url(self, name: str) -> str:
        return str(self.path / key_of(name))

    def names(self) -> Iterator[Held]:
        """All blobs, sorted by name within each of the 256 folders."""
        for folder in sorted(_scan(self.path / "sha256"), key=lambda e: e.name):
            for entry in sorted(_scan(Path(folder.path)), key=lambda e: e.name):
                name = name_of(f"{folder.name}/{entry.name}")
                if name is not None:
                    with suppress(FileNotFoundError):
                        found = entry.stat(follow_symlinks=False)
                        yield Held(name, found.st_size, found.st_mtime)

    # --- clearing up ----------------------------------------------------------------------------------------------
    def now(self) -> float:
        """The time by the clock that stamps the blobs: a server's, on a network file system."""
        (self.path / "tmp").mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.path / "tmp") as probe:
            return os.stat(probe.name).st_mtime

    def set_aside(self, names: Iterable[str], *, before: float, place: str) -> set[str]:
        """Move blobs out of every writer's sight, except those that became young; returns what was moved."""
        aside = self.path / "gc" / place
        aside.mkdir(parents=True, exist_ok=True)
        moved = set()
        for name in names:
            target, hidden = self.path / key_of(name), aside / name
            try:
                if target.stat().st_mtime >= before:
                    continue
                os.replace(target, hidden)
                if hidden.stat().st_mtime >= before:  # wanted between the two lines above
                    os.replace(hidden, target)
                    continue
            except FileNotFoundError:  # another clearer took it
                continue
            moved.add(name)
        return moved

    def aside(self) -> list[Held]:
        """What clearers have moved aside and neither deleted nor put back: one that runs, or one that was killed."""
        found = []
        for place in _scan(self.path / "gc"):
            for entry in _scan(Path(place.path)):
                with suppress(FileNotFoundError):
                    stat = entry.stat(follow_symlinks=False)
                    found.append(Held(entry.name, stat.st_size, stat.st_mtime))
        return found

    def put_back(self, names: Iterable[str] | None = None) -> set[str]:
        """Return what was set aside (all of it, without ``names``) to its place, young."""
        wanted = None if names is None else set(names)
        back = set()
        for place in _scan(self.path / "gc"):
            for entry in _scan(Path(place.path)):
                if wanted is None or entry.name in wanted:
                    with suppress(FileNotFoundError):
                        os.utime(entry.path)  # young first: it may take the place of a young one with the same content
                        self._into_place(entry.path, self.path / key_of(entry.name))
                        back.add(entry.name)
                with suppress(OSError):
                    Path(place.path).rmdir()
        return back

    def forget(self, names: Iterable[str], *, place: str) -> set[str]:
        """Delete what this clearer set aside; returns what was deleted."""
        gone = set()
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(self.path / "gc" / place / name)
                gone.add(name)
        with suppress(OSError):  # not empty: something was put there that nobody understands
            (self.path / "gc" / place).rmdir()
        return gone

    def leftovers(self, *, before: float) -> list[tuple[str, int]]:
        """Temporary files of writers that died, as (path, bytes)."""
        found = []
        for entry in _scan(self.path / "tmp"):
            with suppress(FileNotFoundError):
                stat = entry.stat(follow_symlinks=False)
                if entry.is_file(follow_symlinks=False) and stat.st_mtime < before:
                    found.append((entry.path, stat.st_size))
        return found

    def drop(self, leftovers: Iterable[str]) -> None:
        for path in leftovers:
            Path(path).unlink(missing_ok=True)

    # --- who uses this folder -------------------------------------------------------------------------------------
    def owners(self) -> set[str]:
        return {e.name for e in _scan(self.path / "owners")}

    def sign(self, owner: str) -> None:
        target = self.path / "owners" / owner
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()

    def fault(self, error: Exception) -> Exception:
        """A fault of the disk in our words."""
        if not isinstance(error, OSError):
            return error
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return StoreFault(
                f"no space left for blobs in {self.path}", "free some disk space and repeat; nothing was half-written"
            )
        if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
            return StoreReadOnly(
                f"the blobs in {self.path} are read-only: {error.strerror}",
                "mend the permissions of the folder, or set NBMLOPS_ARTIFACTS",
            )
        return StoreFault(f"blobs in {self.path}: {error.strerror or error}", "run `nbmlops doctor`")


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _write(held: memoryview, out: Any) -> None:
    while len(held):  # one write may take less than all of it
        held = held[out.write(held) :]


def _copy(data: Any, out: Any) -> str:
    """Writes a file or stream to ``out`` and returns the hex digest of exactly what was written."""
    hasher = hashlib.sha256()
    stream = data if hasattr(data, "read") else open(data, "rb", buffering=0)  # noqa: SIM115  (closed below if ours)
    try:
        for part in parts(stream):
            hasher.update(part)
            _write(memoryview(part), out)
    finally:
        if stream is not data:
            stream.close()
    return hasher.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Makes a rename durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
