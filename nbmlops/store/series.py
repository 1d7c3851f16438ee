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
_POINT = struct.Struct("<qqd")
_SMALL = 24


def encode(steps: NDArray[np.int64], times_ms: NDArray[np.int64], values: NDArray[np.float64]) -> bytes:
    """Steps, milliseconds since the epoch, and values, each of the same length, as one chunk."""
    count = len(steps)
    if count == 1:  # most metrics of most runs: byte planes and differences of one number are the number itself
        return _HEAD.pack(1, 0, 1) + _POINT.pack(steps[0], times_ms[0], values[0])
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


def decode(*chunks: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """The steps, times (ms) and values of chunks, one after the other.

    Raises:
        BlobCorrupt: one is not a chunk this version knows.
    """
    try:
        heads = [_head(data) for data in chunks]
        total = sum(count for _, count in heads)
        steps, times, values = np.empty(total, "<i8"), np.empty(total, "<i8"), np.empty(total, "<f8")
        unpack = zstandard.ZstdDecompressor().decompress
        end = 0
        for data, (flags, count) in zip(chunks, heads, strict=True):
            part = slice(end, end := end + count)
            body = memoryview(data)[_HEAD.size :]
            if flags & _COMPRESSED:
                body = memoryview(unpack(body))
            size = 8 if flags & _CONSECUTIVE else 8 * count
            if flags & _CONSECUTIVE:
                first = int(np.frombuffer(body[:8], "<i8")[0])
                steps[part] = np.arange(count, dtype=np.int64) + first
            else:
                _read_integers(body[:size], steps[part])
            _read_integers(body[size : size + 8 * count], times[part])
            _read_planes(body[size + 8 * count :], values[part])
        return steps, times, values
    except (struct.error, ValueError, zstandard.ZstdError) as error:
        raise BlobCorrupt(f"a metric chunk cannot be read: {error}", "restore the store from a backup") from error


def _head(data: bytes) -> tuple[int, int]:
    """Flags and count of a chunk, once its length agrees with them: nothing is set aside for a count gone wrong."""
    version, flags, count = _HEAD.unpack_from(data)
    if version != 1:
        raise ValueError(f"chunk version {version}")
    body = memoryview(data)[_HEAD.size :]
    length = zstandard.frame_content_size(body) if flags & _COMPRESSED else len(body)
    if length != (8 if flags & _CONSECUTIVE else 8 * count) + 16 * count:
        raise ValueError(f"{length} bytes for {count} points")
    return flags, count


def _integers(numbers: NDArray[np.int64]) -> bytes:
    changes = numbers.astype("<i8")
    changes[1:] -= numbers[:-1]
    return _planes(changes)


def _read_integers(data: memoryview, out: NDArray[np.int64]) -> None:
    _read_planes(data, out)
    np.cumsum(out, out=out)


def _planes(numbers: NDArray[np.generic]) -> bytes:
    return np.ascontiguousarray(numbers).view(np.uint8).reshape(-1, 8).T.tobytes()


def _read_planes(data: memoryview, out: NDArray[np.generic]) -> None:
    if not len(out):
        return
    places, planes = out.view(np.uint8).reshape(-1, 8), np.frombuffer(data, np.uint8).reshape(8, -1)
    for place, plane in enumerate(planes):  # twice as fast as the transposed copy at once
        places[:, place] = plane
