"""What was known of the files of a folder when it was last read: stat and digest, so that unchanged files stay closed.

The cache only saves time. It is believed where size, both times, inode and device are all as they were, and the caller
finds the digest among contents that are kept. A file touched so shortly before it was read that its times could not
show another change is not remembered (git calls such an entry racy). A file that is damaged counts as absent.

Layout: a magic line, the BLAKE3 of what follows, the number of files and of path bytes, five unsigned 64-bit columns,
32 bytes of SHA-256 for each file, and the paths, separated by NUL.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
from blake3 import blake3

from nbmlops.frames.folders.walk import Stat

Remembered: TypeAlias = dict[str, tuple[Stat, str]]

_MAGIC = b"nbmlops stat cache 1\n"
_FIELDS = 5
_SECOND = 1_000_000_000
# Linux stamps files with the time of its last tick, 10 ms at the slowest; ext3, HFS+ and FAT keep whole seconds or two.
_TICK, _COARSE = 50_000_000, 2 * _SECOND


def cache_file(cache: Path, folder: Path) -> Path:
    """Where the cache of a folder lies: named by its absolute path."""
    return cache / f"{blake3(os.fsencode(folder.resolve())).hexdigest()[:32]}.stat"


def is_settled(stat: Stat, started: int) -> bool:
    """Whether any later change would show: the last one was well before the reading started, in ns since 1970."""
    last = max(stat[1], stat[2])
    return last < started - (_COARSE if last % _SECOND == 0 else _TICK)


def load(path: Path | None) -> Remembered:
    """What was remembered; nothing if there is no cache, or it is not one that was completely written."""
    try:
        data = path.read_bytes() if path else b""
    except OSError:
        return {}
    head = len(_MAGIC) + 32
    if data[: len(_MAGIC)] != _MAGIC or blake3(memoryview(data)[head:]).digest() != data[len(_MAGIC) : head]:
        return {}
    files, text = (int(n) for n in np.frombuffer(data, "<u8", 2, head))
    start = head + 16
    if len(data) != start + files * (8 * _FIELDS + 32) + text or not files:
        return {}
    stats = np.frombuffer(data, "<u8", files * _FIELDS, start).reshape(files, _FIELDS).tolist()
    start += files * 8 * _FIELDS
    digests = data[start : start + 32 * files].hex()
    paths = data[start + 32 * files :].decode(errors="replace").split("\0")
    if len(paths) != files:
        return {}
    return {
        path: (tuple(stat), f"sha256:{digests[64 * i : 64 * i + 64]}")
        for i, (path, stat) in enumerate(zip(paths, stats, strict=True))
    }


def save(path: Path, remembered: Mapping[str, tuple[Stat, str]]) -> None:
    """Write the cache whole or not at all; that it cannot be written is no error."""
    paths = "\0".join(remembered).encode()
    stats = np.array([stat for stat, _ in remembered.values()], "<u8").reshape(-1, _FIELDS)
    digests = bytes.fromhex("".join(digest.removeprefix("sha256:") for _, digest in remembered.values()))
    body = np.array([len(remembered), len(paths)], "<u8").tobytes() + stats.tobytes() + digests + paths
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".stat-")
        try:
            with open(handle, "wb") as out:
                out.write(_MAGIC + blake3(body).digest() + body)
            os.replace(name, path)
        except BaseException:  # Ctrl-C too: no half-written file may stay; raised again
            Path(name).unlink(missing_ok=True)
            raise
