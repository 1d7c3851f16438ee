"""Reading the files of a folder that others may be writing: each content is whole, as it was at one moment.

A file is compared with itself before and after it is read and read again if it was touched meanwhile. The bytes that
are hashed are the bytes that are stored.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import groupby
from typing import BinaryIO, NamedTuple

from nbmlops.frames.folders.walk import Found, Rooted, Stat, open_file, stat_of

SMALL = 1 << 20
_TRIES = 5
_BATCH, _BATCH_BYTES, _AHEAD = 64, 4 << 20, 5
_THREADS = 3


class Content(NamedTuple):
    """A file as it was read. ``data`` is None if it is kept already: it is large, or somebody else holds it."""

    path: str
    digest: str
    stat: Stat
    data: bytes | None


class Fault(NamedTuple):
    """A file that could not be read, and why."""

    path: str
    why: str


class Keep(NamedTuple):
    """What is kept already, by digest; sizes of the large ones among them; how to keep another large one."""

    known: Collection[str]
    sizes: Collection[int]
    put: Callable[[BinaryIO], str]


def read_files(root: Rooted, files: Sequence[Found], keep: Keep) -> Generator[Content | Fault, None, None]:
    """The contents in the order of ``files``, read and hashed by a few threads; at most 24 MB wait at a time."""
    waiting: deque[Future[list[Content | Fault]]] = deque()
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            for batch in _batches(files):
                waiting.append(pool.submit(_read_batch, root, batch, keep))
                if len(waiting) >= _AHEAD:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _batches(files: Sequence[Found]) -> Iterator[list[Found]]:
    batch: list[Found] = []
    size = 0
    for found in files:
        if batch and (len(batch) == _BATCH or size + found.stat[0] > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(found)
        size += found.stat[0]
    if batch:
        yield batch


def _read_batch(root: Rooted, batch: list[Found], keep: Keep) -> list[Content | Fault]:
    done: list[Content | Fault] = []
    for parent, group in groupby(batch, lambda found: found.path.rpartition("/")[0]):
        paths = [found.path for found in group]
        with ExitStack() as stack:
            try:
                where = stack.enter_context(root.folder(parent))
            except OSError as error:
                done += [Fault(path, _why(error)) for path in paths]
                continue
            done += [_read(where, path, keep) for path in paths]
    return done


def _read(where: int | str, path: str, keep: Keep) -> Content | Fault:
    try:
        for _ in range(_TRIES):
            handle = open_file(where, path.rpartition("/")[2])
            size = os.fstat(handle).st_size
            content = _read_small(handle, path) if size <= SMALL else _read_large(handle, path, keep)
            if content is not None:
                return content
    except OSError as error:
        return Fault(path, _why(error))
    return Fault(path, f"changed each of the {_TRIES} times it was read")


def _why(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "vanished before it was read"
    return (error.strerror or str(error)).lower()


def _read_small(handle: int, path: str) -> Content | None:
    """None if the file was touched meanwhile. Closes the file."""
    try:
        before = stat_of(os.fstat(handle))
        data = os.read(handle, before[0] + 1)
        # A read may give less than is there, on network file systems for instance.
        while 0 < len(data) < before[0] and (more := os.read(handle, before[0] + 1 - len(data))):
            data += more
        after = stat_of(os.fstat(handle))
    finally:
        os.close(handle)
    if before != after or len(data) != after[0]:
        return None
    return Content(path, f"sha256:{hashlib.sha256(data).hexdigest()}", after, data)


def _read_large(handle: int, path: str, keep: Keep) -> Content | None:
    """None if the file was touched meanwhile. What is known is only hashed: of a size that nothing known has, kept."""
    with open(handle, "rb", buffering=0) as file:
        before = stat_of(os.fstat(handle))
        digest = ""
        if before[0] in keep.sizes:
            digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"  # type: ignore[arg-type]
        if digest not in keep.known:
            file.seek(0)
            digest = keep.put(file)  # type: ignore[arg-type]
        size = file.tell()
        after = stat_of(os.fstat(handle))
    return Content(path, digest, after, None) if before == after and size == after[0] else None
