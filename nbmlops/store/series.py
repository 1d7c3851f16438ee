"""Compressed chunks of a metric's points, in logging order.

Layout of version 1: one byte ``1``, one byte of flags, a little-endian count, then steps, times (ms) and values.
Steps that rise by one are kept as their first value only. Each part is split into byte planes (like bytes of
neighbouring numbers compress well together; integers as differences first) and the whole is zstd, level 3.
Chunks of a few points stay uncompressed: there a zstd frame costs more than it saves.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import zstandard

from nbmlops.errors import BlobCorrupt

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK = 16_384
_HEAD = struct.Struct("<BBI")
_CONSECUTIVE, _COMPRESSED = 1, 2
_SMALL = 24


def encode(steps: NDArray[np.int64], times_ms: NDArray[np.int64], values: NDArray[np.float64]) -> bytes:
    """Steps, milliseconds since the epoch, and values, each of the same length, as one chunk."""
    count = len(steps)
    flags = _CONSECUTIVE if count > 1 and bool((np.diff(steps) == 1).all()) else 0
    parts = [
        steps[:1].astype("<i8").tobytes() if flags else _integers(steps),
        _integers(times_ms),
        _planes(values.astype("<f8")),
    ]
    body = b"".join(parts)
    if count > _SMALL:
        body = zstandard.ZstdCompressor(level=3).compress(body)
        flags |= _COMPRESSED
    return _HEAD.pack(1, flags, count) + body


def decode(data: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """The steps, times (ms) and values of a chunk.

    Raises:
        BlobCorrupt: it is not a chunk this version knows.
    """
    try:
        version, flags, count = _HEAD.unpack_from(data)
        if version != 1:
            raise ValueError(f"chunk version {version}")
        body = data[_HEAD.size :]
        if flags & _COMPRESSED:
            body = zstandard.ZstdDecompressor().decompress(body, max_output_size=24 * count + 64)
        size = 8 if flags & _CONSECUTIVE else 8 * count
        if len(body) != size + 16 * count:
            raise ValueError(f"{len(body)} bytes for {count} points")
        if flags & _CONSECUTIVE:
            steps = np.arange(count, dtype=np.int64) + np.frombuffer(body[:8], "<i8")[0]
        else:
            steps = _from_integers(body[:size])
        times = _from_integers(body[size : size + 8 * count])
        return steps, times, _from_planes(body[size + 8 * count :]).view("<f8")
    except (struct.error, ValueError, zstandard.ZstdError) as error:
        raise BlobCorrupt(f"a metric chunk cannot be read: {error}", "restore the store from a backup") from error


def _integers(numbers: NDArray[np.int64]) -> bytes:
    return _planes(np.diff(numbers.astype("<i8"), prepend=np.int64(0)).view("<i8"))


def _from_integers(data: bytes) -> NDArray[np.int64]:
    return np.cumsum(_from_planes(data).view("<i8"))


def _planes(numbers: NDArray[np.generic]) -> bytes:
    return np.ascontiguousarray(numbers).view(np.uint8).reshape(-1, 8).T.tobytes()


def _from_planes(data: bytes) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.frombuffer(data, np.uint8).reshape(8, -1).T).reshape(-1)
