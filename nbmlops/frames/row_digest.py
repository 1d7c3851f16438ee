"""128-bit digests of rows: equal rows have equal digests, however the table is chunked or encoded.

A value becomes 128 bits by its kind: whole numbers, dates and times as 64-bit integers, floats as float64 with one NaN,
so that -0.0 differs from 0.0 and null from NaN; texts and bytes word by word; lists and structs from their parts.
Dictionaries, run-ends, views and large variants count as their values, as in ``digest``. Rows mix their columns in
order with two differently keyed lanes (multiply and shift, the finaliser of splitmix64: Steele, Lea and Flood 2014).

Two different rows share a digest by chance once in 2^128. Somebody who wants to can construct such rows, so these
digests find duplicates and never prove what data are: that is what ``digest`` is for. They depend on neither platform
nor library version, and are not stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from nbmlops.errors import NotFound
from nbmlops.frames import encode
from nbmlops.frames.digest import byte_offsets, contiguous, is_list, is_text

BLOCK = 1 << 15  # rows worked on at a time: two lanes and a column of them stay in the processor's cache
LONG = 256  # bytes; longer values are hashed one by one
Rows: TypeAlias = pa.Table | Iterable[pa.Table]
Lanes: TypeAlias = tuple[np.ndarray, np.ndarray]
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_ODD, _ODDER = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_NULL = np.uint64(0x6A09E667F3BCC909), np.uint64(0xBB67AE8584CAA73B)
_START = np.uint64(0x3C6EF372FE94F82B), np.uint64(0xA54FF53A5F1D36F1)
_S27, _S29, _S30, _S31, _S32 = (np.uint64(n) for n in (27, 29, 30, 31, 32))


def chunks(rows: Rows) -> Iterable[pa.Table]:
    """A table as one chunk, or the chunks there are."""
    return [rows] if isinstance(rows, pa.Table) else rows


def digests(rows: Rows, columns: Sequence[str] | None = None) -> np.ndarray:
    """One digest per row, shape (rows, 2), unsigned 64-bit; ``columns`` names which count, all by default.

    Only 16 bytes per row are held; chunks are read once and let go.

    Raises:
        NotFound: there is no such column.
    """
    made = [_table(chunk, columns) for chunk in chunks(rows)]
    if len(made) == 1:
        return made[0]
    return np.concatenate(made) if made else np.zeros((0, 2), np.uint64)


def mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64: every bit of the answer depends on every bit given; one-to-one."""
    mixed = values ^ (values >> _S30)
    mixed *= _M1
    mixed ^= mixed >> _S27
    mixed *= _M2
    mixed ^= mixed >> _S31
    return mixed


def _table(table: pa.Table, columns: Sequence[str] | None) -> np.ndarray:
    names = table.column_names if columns is None else list(columns)
    for name in names:
        if name not in table.column_names:
            raise NotFound.of("column", str(name), table.column_names)
    prepared = [_prepare(table.column(name)) for name in names]
    found = np.empty((table.num_rows, 2), np.uint64)
    for start in range(0, table.num_rows, BLOCK):
        stop = min(start + BLOCK, table.num_rows)
        a, b = np.full(stop - start, _START[0]), np.full(stop - start, _START[1])
        for column in prepared:
            _absorb(a, b, column.lanes(start, stop))
        found[start:stop, 0], found[start:stop, 1] = mix(a), mix(b)
    return found


def _absorb(a: np.ndarray, b: np.ndarray, lanes: Lanes) -> None:
    """Fold one value per row into the running lanes, in place."""
    a ^= lanes[0]
    a *= _ODD
    a ^= a >> _S29
    b += lanes[1]
    b *= _ODDER
    b ^= b >> _S32


class _Column:
    """A column whose lanes are taken block by block; of a dictionary its entries are digested once."""

    def __init__(self, values: pa.Array | None, known: Lanes | None = None, codes: np.ndarray | None = None) -> None:
        self.values, self.known, self.codes = values, known, codes

    def lanes(self, start: int, stop: int) -> Lanes:
        if self.values is not None:
            return _lanes(self.values.slice(start, stop - start))
        assert self.known is not None and self.codes is not None  # noqa: S101, PT018  (one or the other is given)
        picked = self.codes[start:stop]
        return self.known[0][picked], self.known[1][picked]


def _prepare(column: pa.ChunkedArray) -> _Column:
    if not pa.types.is_dictionary(column.type):
        return _Column(contiguous(_storage(encode.plain(column))))
    array = contiguous(column)
    entries = contiguous(_storage(encode.plain(pa.chunked_array([array.dictionary]))))
    a, b = _lanes(entries)
    known = np.append(a, _NULL[0]), np.append(b, _NULL[1])
    return _Column(None, known, np.asarray(array.indices.cast(pa.int64()).fill_null(len(entries))))


def _storage(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if isinstance(column.type, pa.BaseExtensionType):
        return _storage(pa.chunked_array([c.storage for c in column.chunks], column.type.storage_type))
    return column


# --- values by kind -----------------------------------------------------------------------------------------------
def _lanes(array: pa.Array) -> Lanes:
    """Two 64-bit numbers per value. Those of a 64-bit value are equal, which those of a null are not."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return _lanes(array.storage)
    if encode.plain_type(kind) != kind:
        return _lanes(contiguous(encode.plain(pa.chunked_array([array]))))
    if is_list(kind) and not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return _lanes(array.cast(pa.large_list(kind.value_type)))
    if pa.types.is_null(kind):
        return np.full(len(array), _NULL[0]), np.full(len(array), _NULL[1])
    if pa.types.is_nested(kind):
        a, b = _nested(array)
    elif is_text(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        a, b = _texts(array)
    elif kind.bit_width > 64:
        a, b = _wide(array)
    else:
        a = mix(_bits(array) + _ODD)
        b = a
    if array.null_count:
        missing = np.asarray(pc.is_null(array))
        a, b = np.where(missing, _NULL[0], a), np.where(missing, _NULL[1], b)
    return a, b


def _bits(array: pa.Array) -> np.ndarray:
    """Values of at most 64 bits as unsigned integers; equal values of different widths are equal."""
    kind = array.type
    if pa.types.is_boolean(kind):
        return np.asarray(array.fill_null(False) if array.null_count else array).astype(np.uint64)
    width = kind.bit_width // 8
    raw = np.frombuffer(array.buffers()[1], np.uint8)[array.offset * width : (array.offset + len(array)) * width]
    if pa.types.is_floating(kind):
        wide = raw.view(f"<f{width}").astype(np.float64)
        wide[np.isnan(wide)] = np.nan
        return wide.view(np.uint64)
    if pa.types.is_fixed_size_binary(kind) or pa.types.is_decimal(kind):
        padded = np.zeros((len(array), 8), np.uint8)
        padded[:, :width] = raw.reshape(len(array), width)
        return padded.view("<u8")[:, 0].astype(np.uint64)
    signed = "u" if pa.types.is_unsigned_integer(kind) else "i"
    return raw.view(f"<{signed}{width}").astype(np.int64 if signed == "i" else np.uint64).view(np.uint64)


def _wide(array: pa.Array) -> Lanes:
    """Fixed-width values of more than 64 bits (decimals, fixed-size binary), word by word."""
    width = array.type.bit_width // 8
    raw = np.frombuffer(array.buffers()[1], np.uint8)[array.offset * width : (array.offset + len(array)) * width]
    padded = np.zeros((len(array), -(-width // 8) * 8), np.uint8)
    padded[:, :width] = raw.reshape(len(array), width)
    a, b = np.full(len(array), _START[1]), np.full(len(array), _START[0])
    for word in padded.view("<u8").astype(np.uint64).T:
        _absorb(a, b, (word, word))
    return mix(a), mix(b)


def _texts(array: pa.Array) -> Lanes:
    """Length, then eight bytes at a time; rows drop out as their text ends."""
    ends = byte_offsets(array).astype(np.int64)
    starts, lengths = ends[:-1], np.diff(ends)
    seeds = lengths.astype(np.uint64)
    a, b = seeds + _START[1], seeds ^ _START[0]
    data = array.buffers()[2]
    if data is None or not len(array) or ends[-1] == ends[0]:
        return mix(a), mix(b)
    low = int(ends[0])
    part = np.zeros(int(ends[-1]) - low + 8, np.uint8)
    part[:-8] = np.frombuffer(data, np.uint8)[low : int(ends[-1])]
    words = np.ndarray((len(part) - 7,), "<u8", part, strides=(1,))
    live = np.flatnonzero((lengths > 0) & (lengths <= LONG))
    at, left = starts[live] - low, lengths[live]
    x, y = a[live], b[live]
    while len(live):
        word = words[at].astype(np.uint64)
        cut = np.minimum(left, 8).astype(np.uint64) * np.uint64(8)
        word &= ~np.uint64(0) >> (np.uint64(64) - cut)
        _absorb(x, y, (word, word))
        more = left > 8
        if not more.all():
            done = ~more
            a[live[done]], b[live[done]] = x[done], y[done]
            live, at, left, x, y = live[more], at[more], left[more], x[more], y[more]
        at, left = at + 8, left - 8
    for i in np.flatnonzero(lengths > LONG):
        a[i], b[i] = np.frombuffer(blake3(part[starts[i] - low : ends[i + 1] - low].data).digest(), "<u8")[:2]
    return mix(a), mix(b)


def _nested(array: pa.Array) -> Lanes:
    kind = array.type
    if pa.types.is_struct(kind):
        a, b = np.full(len(array), _START[0]), np.full(len(array), _START[1])
        for child in array.flatten():  # pushes the parent's nulls down
            _absorb(a, b, _lanes(child))
        return mix(a), mix(b)
    if pa.types.is_map(kind):
        array = array.cast(pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)])))
    lengths = np.asarray(pc.fill_null(pc.list_value_length(array), 0)).astype(np.int64)
    x, y = _lanes(contiguous(array.flatten()))
    first = np.cumsum(lengths) - lengths
    place = (np.arange(len(x)) - np.repeat(first, lengths)).astype(np.uint64) * _ODD
    return _summed(x, lengths, place, _START[0]), _summed(y, lengths, place, _START[1])


def _summed(items: np.ndarray, lengths: np.ndarray, place: np.ndarray, seed: np.uint64) -> np.ndarray:
    """Per list, the sum of its items' numbers, each mixed with its place, and the length."""
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mix(items ^ mix(place + seed)), dtype=np.uint64)])
    ends = np.cumsum(lengths)
    return mix(sums[ends] - sums[ends - lengths] + lengths.astype(np.uint64) * _ODDER + seed)
