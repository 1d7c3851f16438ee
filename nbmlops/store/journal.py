"""The journal of a run: what it logs is appended to a file in a microsecond, and folded into tables in the background.

One file per run and process, written with one ``write`` a record, so that a SIGKILL loses nothing that was logged.
Everything is in units of 32 bytes, little-endian: ``kind u4, key u4, step i8, time f8, value f8``; a *point* is one.
Other kinds (a key's name, a parameter, a tag) carry text: ``step`` holds its length in bytes, and it follows in as many
units as it needs. Folding a file reads complete records past the offset kept in ``journals`` and moves both the points
and the offset in one transaction, so that folding again, from any process, adds nothing twice.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbmlops import clock, secrets
from nbmlops.errors import StoreFault, StoreReadOnly
from nbmlops.refs import check_key

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UNIT = 32
POINT, KEY, PARAM, TAG = 1, 2, 3, 4
# A file is folded in parts: a run that logged for days without a reader must not need its size in memory.
_PART = 32 << 20
_pack = struct.Struct("<IIqdd").pack


class Journal:
    """The writing end: one open file. Threads may share it."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self.path = folder / f"{run_id}.{os.getpid()}.{os.urandom(4).hex()}"
        self._keys: dict[str, int] = {}
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)
        except OSError as error:
            raise _journal_fault(error, folder) from error

    def point(self, key: str, value: float, step: int, at: float) -> None:
        """Append one point of a metric."""
        number = self._keys.get(key) or self._define(key)
        try:
            written = os.write(self._file, _pack(POINT, number, step, at, value))
        except OSError as error:
            raise _journal_fault(error, self.path.parent) from error
        if written != UNIT:
            self._undo(written)

    def texts(self, kind: int, payloads: list[dict[str, Any]]) -> None:
        """Append parameters or tags: all of them, or none when the disk is full."""
        shown = secrets.scrub(payloads)
        self._write(b"".join(_text_record(kind, 0, json.dumps(p, ensure_ascii=False)) for p in shown))

    def _define(self, key: str) -> int:
        check_key(key, "metric")
        with self._lock:
            if key not in self._keys:
                number = len(self._keys) + 1
                self._write(_text_record(KEY, number, secrets.scrub_text(key)))
                self._keys[key] = number
            return self._keys[key]

    def _write(self, record: bytes) -> None:
        try:
            written = os.write(self._file, record)
        except OSError as error:
            raise _journal_fault(error, self.path.parent) from error
        if written != len(record):
            self._undo(written)

    def _undo(self, written: int) -> None:
        """A disk that fills up takes half a record: cut it off, so that the file stays readable."""
        os.ftruncate(self._file, os.fstat(self._file).st_size - written)
        raise _journal_fault(OSError(errno.ENOSPC, "no space left"), self.path.parent)

    def close(self) -> None:
        os.close(self._file)


def _text_record(kind: int, number: int, text: str) -> bytes:
    body = text.encode()
    return _pack(kind, number, len(body), clock.now(), 0.0) + body + bytes(-len(body) % UNIT)


def _journal_fault(error: OSError, folder: Path) -> StoreFault:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StoreFault(
            f"no space left for the journal in {folder}",
            "free some disk space and repeat; what was logged before is kept",
        )
    if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        return StoreReadOnly(
            f"the journal in {folder} cannot be written: {error.strerror}", "mend its permissions, or set NBMLOPS_STORE"
        )
    return StoreFault(f"the journal in {folder}: {error.strerror}", "run `nbmlops doctor`")


@dataclass
class Batch:
    """What one read of a journal yields. ``points`` maps a key to its steps, times (s) and values in logging order."""

    points: dict[str, tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]] = field(default_factory=dict)
    params: list[dict[str, Any]] = field(default_factory=list)
    tags: list[dict[str, Any]] = field(default_factory=list)
    end: int = 0


def files(folder: Path, run_id: str) -> list[Path]:
    """The journals of a run, those of forked and finished processes too, oldest first."""
    try:
        names = [e.name for e in os.scandir(folder) if e.name.startswith(run_id + ".")]
    except OSError:
        return []
    return sorted(folder / name for name in names)


@functools.cache
def _unit() -> np.dtype[Any]:
    import numpy as np

    return np.dtype([("kind", "<u4"), ("key", "<u4"), ("step", "<i8"), ("at", "<f8"), ("value", "<f8")])


def owner(path: Path) -> int:
    """The process that writes a journal."""
    return int(path.name.split(".")[1])


def read(path: Path, start: int, keys: dict[int, str]) -> Iterator[Batch]:
    """Complete records from offset ``start`` on, in bounded parts. ``keys`` remembers names across calls."""
    import numpy as np

    unit = _unit()
    with open(path, "rb") as file:
        if start and not keys:
            _read_keys(file, start, keys)
        while True:
            file.seek(start)
            data = file.read(_PART)
            rows = np.frombuffer(data[: len(data) // UNIT * UNIT], unit)
            batch, used = _parse(rows, data, keys)
            if not used:
                return
            start += used * UNIT
            batch.end = start
            yield batch


def _parse(rows: NDArray[Any], data: bytes, keys: dict[int, str]) -> tuple[Batch, int]:
    import numpy as np

    batch = Batch()
    is_point = rows["kind"] == POINT
    used, skip = len(rows), 0
    for place in np.flatnonzero(~is_point).tolist():
        if place < skip:
            continue  # text of an earlier record
        # Text may look like points to the comparison above: the first record that is not one says how far it goes.
        kind, number, length = int(rows["kind"][place]), int(rows["key"][place]), int(rows["step"][place])
        skip = place + 1 + -(-length // UNIT)
        if kind not in {KEY, PARAM, TAG} or length < 0:
            skip = place + 1  # a page that a power cut left empty
            continue
        if skip > len(rows):
            used = place  # its text is not complete yet
            break
        text = data[(place + 1) * UNIT : (place + 1) * UNIT + length].decode()
        is_point[place:skip] = False
        if kind == KEY:
            keys[number] = text
        else:
            (batch.params if kind == PARAM else batch.tags).append({**json.loads(text), "at": float(rows["at"][place])})
    points = rows[:used][is_point[:used]]
    for number in np.unique(points["key"]).tolist():
        mine = points[points["key"] == number]
        batch.points[keys.get(number, f"unknown-{number}")] = (
            mine["step"].copy(),
            mine["at"].copy(),
            mine["value"].copy(),
        )
    return batch, used


def _read_keys(file: Any, end: int, keys: dict[int, str]) -> None:
    """The key names defined before ``end``, when another process folded that part."""
    import numpy as np

    unit = _unit()
    file.seek(0)
    done = 0
    while done < end:
        file.seek(done)
        data = file.read(min(_PART, end - done))
        _, used = _parse(np.frombuffer(data[: len(data) // UNIT * UNIT], unit), data, keys)
        if not used:
            return
        done += used * UNIT


def remove(path: Path) -> None:
    """Delete a journal whose content is durable in the tables."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
