"""Blobs on any fsspec file system: object stores, SFTP, memory.

An object store shows an upload only when it is complete. Elsewhere a blob is written under a temporary name, looked at,
and moved.

Clearing up (``store/gc.py``) is safe without a rename that is atomic, because a writer and a clearer both leave a mark
*before* they look for the other's. The mark of a writer that finds an old blob is an object ``young/<name>/<random>``;
then it looks once more whether the blob is there. A clearer copies an old blob aside, deletes it, and then looks for
marks. If the writer's mark came first, the clearer sees it and puts the blob back; if it came later, the writer sees
that the blob is gone, and uploads it. (Amazon S3, GCS and Azure answer such reads consistently.)
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from nbmlops import clock
from nbmlops.errors import StoreFault
from nbmlops.store.blobs import retry, systems
from nbmlops.store.blobs.names import PART, Data, Held, as_bytes, key_of, name_of, parts, shown
from nbmlops.store.blobs.ordered import ordered

T = TypeVar("T")

# Below this age a blob that a writer finds is young enough as it is; gc on a remote store keeps everything younger.
FRESH = 3600.0
_WHOLE = 64 << 20  # above, a file is uploaded in parts, each tried again by itself
_ASKED_ONE_BY_ONE = 500


class Remote:
    """The blobs below one fsspec URL. May be pickled; a forked or unpickled one connects anew."""

    workers = 16  # round trips, not bytes, are what is waited for

    def __init__(self, root: str, patience: retry.Patience | None = None) -> None:
        self.root = root
        self.shown = shown(root)
        self.patience = patience or retry.Patience()
        self._opened: dict[tuple[int, int], Any] = {}
        self._prefix = ""
        self._system()  # says at once when the URL names no file system, or its library is missing

    def __reduce__(self) -> tuple[Any, ...]:
        return Remote, (self.root, self.patience)

    def _system(self, retries: int = 1) -> Any:
        """The file system of this process; fsspec's are not to be used after a fork."""
        found = self._opened.get((os.getpid(), retries))
        if found is None:
            import fsspec

            options = systems.options_for(self.root.partition("://")[0])
            try:
                found, self._prefix = fsspec.core.url_to_fs(self.root, skip_instance_cache=True, **options)
            except Exception as error:  # each file system refuses bad settings in its own way
                if isinstance(error, ValueError):
                    raise StoreFault(
                        f"{self.shown} cannot be used for blobs: {error}", "mend NBMLOPS_ARTIFACTS"
                    ) from error
                raise retry.lasting(error, self.shown) from error
            self._prefix = self._prefix.rstrip("/")
            if hasattr(found, "retries"):
                found.retries = retries  # s3fs: trying again is done here, with one bound for all
            if hasattr(found, "max_concurrency") and retries == 1:
                found.max_concurrency = 1  # s3fs would ask for the size before it reads
            if hasattr(found, "dircache"):
                found.dircache.use_listings_cache = False  # others write and delete too
            self._opened[os.getpid(), retries] = found
        return found

    def _do(self, action: Callable[[Any], T], *, retries: int = 1) -> T:
        return retry.retrying(lambda: action(self._system(retries)), patience=self.patience, url=self.shown)

    def _path(self, key: str) -> str:
        return f"{self._prefix}/{key}"

    def put(self, data: Data) -> str:
        """Store bytes, a file or a stream; returns the 64 hex digits. What is there already does not travel."""
        held = as_bytes(data)
        if held is not None:
            name = hashlib.sha256(held).hexdigest()
            if not self.claim(name, len(held)):
                self._upload(name, held)
            return name
        if not hasattr(data, "read"):
            return self._put_file(os.fspath(data))
        with tempfile.NamedTemporaryFile(prefix="nbmlops-") as spool:
            for part in parts(data):
                spool.write(part)
            spool.flush()
            return self._put_file(spool.name)

    def _put_file(self, path: str) -> str:
        """Large files go up in parts. A file that changes while it is uploaded would lie under a wrong name: seen."""
        size = os.stat(path).st_size
        if size <= _WHOLE:
            return self.put(Path(path).read_bytes())
        name = _sha256(path)
        if not self.claim(name, size):
            self._upload(name, path)
            if _sha256(path) != name:
                self._do(lambda fs: fs.rm_file(self._path(key_of(name))))
                raise StoreFault(f"{path} changed while it was stored", "repeat when nobody writes to it")
        return name

    def _upload(self, name: str, data: memoryview | str) -> None:
        """Bytes or the file at a path, complete or not at all."""
        target = self._path(key_of(name))
        if systems.uploads_whole(self._system()):
            if isinstance(data, str):
                self._do(lambda fs: fs.put_file(data, target), retries=5)
            else:
                content = bytes(data)
                self._do(lambda fs: fs.pipe_file(target, content))
            return
        self._do(lambda fs: self._write_and_move(fs, target, data))

    def _write_and_move(self, fs: Any, target: str, data: memoryview | str) -> None:
        temporary = self._path(f"tmp/{os.urandom(8).hex()}")
        systems.make_folder(fs, temporary)
        systems.make_folder(fs, target)
        try:
            if isinstance(data, str):
                fs.put_file(data, temporary)
            else:
                fs.pipe_file(temporary, bytes(data))
            size = os.stat(data).st_size if isinstance(data, str) else len(data)
            if fs.size(temporary) != size:
                raise ConnectionError(f"{fs.size(temporary)} of {size} bytes arrived")
            fs.mv(temporary, target)
        except BaseException:  # Ctrl-C too; raised again
            with suppress(Exception):  # the fault above is the one to tell; gc deletes what stays
                fs.rm_file(temporary)
            raise

    # --- who is there ---------------------------------------------------------------------------------------------
    def _info(self, key: str) -> dict[str, Any] | None:
        try:
            return self._do(lambda fs: fs.info(self._path(key)))
        except FileNotFoundError:
            return None

    def claim(self, name: str, size: int | None = None) -> bool:
        """Whether the blob is there, and young from now on. One of another ``size`` is damaged: as if missing."""
        found = self._info(key_of(name))
        if found is None or (size is not None and found.get("size") not in {None, size}):
            return False
        touched = systems.touched_at(found)
        if touched is None or clock.now() - touched < FRESH / 2:
            return True
        return self._mark_young(name)

    def _mark_young(self, name: str) -> bool:
        mark = self._path(f"young/{name}/{os.urandom(8).hex()}")
        self._do(lambda fs: systems.write_small(fs, mark))
        return self._info(key_of(name)) is not None

    def missing(self, names: Iterable[str]) -> set[str]:
        """Those that are not there; the others are young afterwards. Many are asked for by listings, not singly."""
        wanted = list(dict.fromkeys(names))
        if len(wanted) <= _ASKED_ONE_BY_ONE:
            there = ordered(self.claim, wanted, workers=self.workers)
            return {n for n, found in zip(wanted, there) if not found}
        limit = clock.now() - FRESH / 2
        held = {h.name: h.touched for h in self._listed(sorted({n[:2] for n in wanted}))}
        old = [n for n in wanted if (touched := held.get(n)) is not None and touched < limit]
        gone = {n for n, there in zip(old, ordered(self._mark_young, old, workers=self.workers)) if not there}
        return gone | {n for n in wanted if n not in held}

    def exists(self, name: str) -> bool:
        return self._info(key_of(name)) is not None

    def size(self, name: str) -> int:
        return int(self._do(lambda fs: fs.size(self._path(key_of(name)))))

    def url(self, name: str) -> str:
        return f"{self.root}/{key_of(name)}"

    def names(self) -> Iterator[Held]:
        """All blobs by name."""
        heads = self._do(lambda fs: systems.listing(fs, self._path("sha256"), deep=False))
        yield from self._listed(sorted(path.rpartition("/")[2] for path in heads))

    def _listed(self, heads: Iterable[str]) -> Iterator[Held]:
        def one(head: str) -> list[Held]:
            found = self._do(lambda fs: systems.listing(fs, self._path(f"sha256/{head}")))
            named = ((name_of(path), info) for path, info in sorted(found.items()))
            return [Held(n, int(i.get("size") or 0), systems.touched_at(i)) for n, i in named if n is not None]

        for group in ordered(one, heads, workers=self.workers):
            yield from group

    # --- reading --------------------------------------------------------------------------------------------------
    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        path = self._path(key_of(name))
        if offset == 0 and length < 0:
            return bytes(self._do(lambda fs: fs.cat_file(path)))
        if length == 0:
            return b""
        end = None if length < 0 else offset + length
        return bytes(self._do(lambda fs: fs.cat_file(path, start=offset, end=end)))

    def stream(self, name: str) -> BinaryIO:
        """A seekable file that asks for ranges, a megabyte or more at a time, each tried again by itself."""
        return io.BufferedReader(_Ranges(self, name), PART)

    reader = stream

    # --- clearing up ----------------------------------------------------------------------------------------------
    def now(self) -> float:
        """The time by the service's own clock."""
        key = f"tmp/{os.urandom(8).hex()}"
        self._do(lambda fs: systems.write_small(fs, self._path(key)))
        found = systems.touched_at(self._info(key) or {})
        self._do(lambda fs: systems.remove(fs, [self._path(key)]))
        return clock.now() if found is None else found

    def set_aside(self, names: Iterable[str], *, before: float, place: str) -> set[str]:
        """Move blobs to where no writer looks, except those that are wanted; returns what was moved."""
        names = set(names) - self._young(before)

        def hide(name: str) -> str | None:
            found = self._info(key_of(name))
            touched = systems.touched_at(found or {})
            if touched is None or touched >= before:
                return None
            source, hidden = self._path(key_of(name)), self._path(f"gc/{place}/{name}")
            try:
                self._do(lambda fs: systems.copy(fs, source, hidden))
                self._do(lambda fs: fs.rm_file(source))
            except FileNotFoundError:  # another clearer took it
                return None
            return name

        moved = {n for n in ordered(hide, sorted(names), workers=self.workers) if n}
        wanted = moved & self._young(before)
        self.put_back(wanted)
        return moved - wanted

    def _young(self, before: float) -> set[str]:
        """The blobs that writers have marked, but for marks that are too old to count."""
        marks = self._do(lambda fs: systems.listing(fs, self._path("young")))
        return {
            path.split("/")[-2]
            for path, info in marks.items()
            if (at := systems.touched_at(info)) is None or at >= before
        }

    def aside(self) -> list[Held]:
        """What clearers have moved aside and neither deleted nor put back."""
        found = self._do(lambda fs: systems.listing(fs, self._path("gc")))
        return [Held(p.rpartition("/")[2], int(i.get("size") or 0), systems.touched_at(i)) for p, i in found.items()]

    def put_back(self, names: Iterable[str] | None = None) -> set[str]:
        """Return what was set aside (all of it, without ``names``) to its place; the copy is young."""
        wanted = None if names is None else set(names)
        if wanted is not None and not wanted:
            return set()
        hidden = self._do(lambda fs: systems.listing(fs, self._path("gc")))
        mine = [p for p in hidden if wanted is None or p.rpartition("/")[2] in wanted]

        def back(path: str) -> str | None:
            name = path.rpartition("/")[2]
            try:
                self._do(lambda fs: systems.copy(fs, path, self._path(key_of(name))))
                self._do(lambda fs: fs.rm_file(path))
            except FileNotFoundError:  # somebody else did
                return None
            return name

        return {n for n in ordered(back, mine, workers=self.workers) if n}

    def forget(self, names: Iterable[str], *, place: str) -> set[str]:
        """Delete what this clearer set aside; returns what was deleted."""

        def gone(name: str) -> str | None:
            return name if self._do(lambda fs: systems.remove(fs, [self._path(f"gc/{place}/{name}")])) else None

        return {n for n in ordered(gone, names, workers=self.workers) if n}

    def leftovers(self, *, before: float) -> list[tuple[str, int]]:
        """Temporary files of writers that died, and marks of writers long gone, as (path, bytes)."""
        found = {
            **self._do(lambda fs: systems.listing(fs, self._path("tmp"))),
            **self._do(lambda fs: systems.listing(fs, self._path("young"))),
        }
        return [(p, int(i.get("size") or 0)) for p, i in found.items() if (at := systems.touched_at(i)) and at < before]

    def drop(self, leftovers: Iterable[str]) -> None:
        self._do(lambda fs: systems.remove(fs, leftovers))

    # --- who uses this place --------------------------------------------------------------------------------------
    def owners(self) -> set[str]:
        return {p.rpartition("/")[2] for p in self._do(lambda fs: systems.listing(fs, self._path("owners")))}

    def sign(self, owner: str) -> None:
        if self._info(f"owners/{owner}") is None:
            self._do(lambda fs: systems.write_small(fs, self._path(f"owners/{owner}")))

    def fault(self, error: Exception) -> Exception:
        """A fault that reached the surface, in our words."""
        return retry.lasting(error, self.shown)


class _Ranges(io.RawIOBase):
    """A blob as a file of which only what is read travels."""

    def __init__(self, remote: Remote, name: str) -> None:
        self._remote = remote
        self._name = name
        self._size = remote.size(name)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._size - self._at)
        if wanted <= 0:
            return 0
        data = self._remote.read(self._name, self._at, wanted)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
