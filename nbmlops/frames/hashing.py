"""Stable hashes of values and rows: vectorised, our own, and a function of the logical values alone.

Two lanes of 64 bits each. Equal values have equal hashes whatever their layout (dictionary, run-end, view, large,
chunks); every NaN is the same, -0.0 differs from 0.0, null differs from NaN, as in ``digest``. Numbers are mixed with
the finaliser of splitmix64 (Steele, Lea and Flood 2014), which loses nothing, so distinct numbers never collide; texts
take eight bytes a step. They tell equal from unequal and are no protection against someone who builds collisions:
content is named by ``digest``.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from nbmlops.frames import digest

Lanes: TypeAlias = list[np.ndarray]
LONG = 512  # bytes; a longer text is hashed on its own, with BLAKE3
_SEEDS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)
_ODD = (0xFF51AFD7ED558CCD, 0xD6E8FEB86659FD93)
_NULL = (0xD1B54A32D192ED03, 0x8CB92BA72F3D8DD7)
_FULL = 0xFFFFFFFFFFFFFFFF


def mix(values: np.ndarray) -> np.ndarray:
    """Each 64-bit number well mixed, in place: the finaliser of splitmix64, a bijection."""
    with np.errstate(over="ignore"):
        values ^= values >> np.uint64(30)
        values *= np.uint64(0xBF58476D1CE4E5B9)
        values ^= values >> np.uint64(27)
        values *= np.uint64(0x94D049BB133111EB)
        values ^= values >> np.uint64(31)
    return values


def row_hashes(table: pa.Table, lanes: int = 2) -> np.ndarray:
    """One row of ``lanes`` 64-bit numbers for each row of the table, a function of its values in column order."""
    rows = [np.full(table.num_rows, seed, np.uint64) for seed in _SEEDS[:lanes]]
    for column in table.columns:
        for lane, (total, own) in enumerate(zip(rows, column_hashes(column, lanes), strict=True)):
            with np.errstate(over="ignore"):
                total *= np.uint64(_ODD[lane])
                total += own
            mix(total)
    return np.stack(rows, axis=1)


def column_hashes(column: pa.ChunkedArray | pa.Array, lanes: int = 1) -> Lanes:
    """The hashes of a column's values, one array for each lane; any Arrow type."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    made = [_hashes(chunk, lanes) for chunk in chunks]
    if len(made) == 1:
        return made[0]
    return [np.concatenate([m[i] for m in made]) if made else np.zeros(0, np.uint64) for i in range(lanes)]


def number_hashes(values: np.ndarray, lanes: int = 1) -> Lanes:
    """The hashes of integers or floats, as :func:`column_hashes` gives them."""
    if values.dtype.kind == "f":
        wide = values.astype(np.float64)  # a copy: NaN is rewritten
        wide[np.isnan(wide)] = np.nan
        bits = wide.view(np.uint64)
    else:
        bits = values.astype(np.int64 if values.dtype.kind == "i" else np.uint64).view(np.uint64)
    with np.errstate(over="ignore"):
        return [mix(bits + np.uint64(seed)) for seed in _SEEDS[:lanes]]


def _hashes(array: pa.Array, lanes: int) -> Lanes:
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return _hashes(array.storage, lanes)
    if pa.types.is_run_end_encoded(kind):
        return _hashes(pc.run_end_decode(array), lanes)
    if pa.types.is_dictionary(kind):
        return _dictionary(array, lanes)
    if pa.types.is_null(kind):
        return [np.full(len(array), n, np.uint64) for n in _NULL[:lanes]]
    if pa.types.is_nested(kind):
        made = _nested(array, lanes)
    elif digest.is_text(kind) or _is_bytes(kind):
        made = _texts(array, lanes)
    else:
        made = _fixed(array, lanes)
    if array.null_count:
        missing = np.asarray(array.is_null())
        for lane, null in zip(made, _NULL, strict=False):
            lane[missing] = null
    return made


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def _dictionary(array: pa.DictionaryArray, lanes: int) -> Lanes:
    """The values of the dictionary are hashed once; an extra one at the end stands for null."""
    codes = np.asarray(array.indices.fill_null(-1) if array.null_count else array.indices)
    known = _hashes(array.dictionary, lanes)
    codes = np.where(codes < 0, len(array.dictionary), codes) if array.null_count else codes
    return [np.append(lane, np.uint64(null))[codes] for lane, null in zip(known, _NULL, strict=False)]


def _fixed(array: pa.Array, lanes: int) -> Lanes:
    """Values of one width: up to eight bytes are one number, wider ones (decimals, fixed binary) are read as words."""
    kind = array.type
    if pa.types.is_boolean(kind):
        return number_hashes(np.asarray(array.fill_null(False), dtype=bool).astype(np.uint64), lanes)
    width = kind.bit_width // 8
    raw = np.frombuffer(array.buffers()[1] or b"", np.uint8)
    raw = raw[array.offset * width : (array.offset + len(array)) * width]
    if pa.types.is_floating(kind):
        return number_hashes(raw.view(f"<f{width}"), lanes)
    if width in (1, 2, 4, 8):
        signed = not (pa.types.is_integer(kind) and not pa.types.is_signed_integer(kind))
        return number_hashes(raw.view(f"<{'i' if signed else 'u'}{width}"), lanes)
    starts = np.arange(len(array), dtype=np.int64) * width
    return _words(raw, starts, np.full(len(array), width, np.int64), lanes)


def _texts(array: pa.Array, lanes: int) -> Lanes:
    if pa.types.is_string_view(array.type) or pa.types.is_binary_view(array.type):
        array = array.cast(pa.large_string() if digest.is_text(array.type) else pa.large_binary())
    if not len(array):
        return [np.zeros(0, np.uint64) for _ in range(lanes)]
    ends = digest.byte_offsets(array)
    data = np.frombuffer(array.buffers()[2] or b"", np.uint8)
    return _words(data[int(ends[0]) : int(ends[-1])], ends[:-1] - ends[0], np.diff(ends), lanes)


def _words(data: np.ndarray, starts: np.ndarray, lengths: np.ndarray, lanes: int) -> Lanes:
    """The hashes of stretches of bytes, eight bytes a step for all stretches at once."""
    padded = np.zeros(len(data) + 8, np.uint8)
    padded[: len(data)] = data
    # Every byte position as the start of a little-endian word; reading unaligned words is what NumPy does well.
    words = np.lib.stride_tricks.as_strided(padded[:8].view("<u8"), (len(data) + 1,), (1,), writeable=False)
    sizes = lengths.astype(np.uint64)
    with np.errstate(over="ignore"):
        state = [sizes * np.uint64(odd) + np.uint64(seed) for odd, seed in zip(_ODD[:lanes], _SEEDS, strict=False)]
        longest = int(lengths.max()) if len(lengths) else 0
        for step in range(0, min(longest, LONG), 8):
            active = None if int(lengths.min()) > step else np.flatnonzero(lengths > step)
            _take_words(state, words, starts if active is None else starts[active], lengths, (active, step))
    if longest > LONG:
        _long(state, data, starts, lengths)
    return [mix(lane) for lane in state]


def _take_words(
    state: Lanes, words: np.ndarray, starts: np.ndarray, lengths: np.ndarray, place: tuple[np.ndarray | None, int]
) -> None:
    """Folds the word at byte ``step`` of each active stretch into the lanes; bytes behind its end count as zero."""
    active, step = place
    word = words[starts + step]
    left = (lengths if active is None else lengths[active]) - step
    if int(left.min()) < 8:
        word &= np.uint64(_FULL) >> (np.uint64(64) - np.uint64(8) * np.minimum(left, 8).astype(np.uint64))
    for place_, odd in enumerate(_ODD[: len(state)]):
        lane = state[place_] if active is None else state[place_][active]
        lane ^= word
        lane *= np.uint64(odd)
        lane ^= lane >> np.uint64(29 + 3 * place_)
        if active is not None:
            state[place_][active] = lane


def _long(state: Lanes, data: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> None:
    for i in np.flatnonzero(lengths > LONG):
        whole = blake3(data[int(starts[i]) : int(starts[i] + lengths[i])].data).digest()
        for lane in range(len(state)):
            state[lane][i] = int.from_bytes(whole[8 * lane : 8 * lane + 8], "little")


def _nested(array: pa.Array, lanes: int) -> Lanes:
    """Structs fold their fields; lists the sum of their items' hashes, each mixed with its place, and their length."""
    kind = array.type
    if pa.types.is_union(kind):
        return _texts(pa.array([repr(v) for v in array.to_pylist()], pa.large_string()), lanes)
    if pa.types.is_struct(kind):
        fields = [pa.chunked_array([f]) for f in array.flatten()]
        if not fields:
            return [np.full(len(array), seed, np.uint64) for seed in _SEEDS[:lanes]]
        made = row_hashes(pa.table(fields, names=[str(i) for i in range(len(fields))]), lanes)
        return [made[:, i].copy() for i in range(lanes)]
    if pa.types.is_map(kind):
        array = array.cast(pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)])))
    if pa.types.is_fixed_size_list(array.type) and array.null_count:
        array = array.cast(pa.list_(array.type.value_type))  # its null slots hold items
    lengths = np.asarray(pc.fill_null(pc.list_value_length(array), 0)).astype(np.int64)
    items = column_hashes(digest.contiguous(array.flatten()), lanes)
    starts = np.cumsum(lengths) - lengths
    place = (np.arange(int(lengths.sum())) - np.repeat(starts, lengths)).astype(np.uint64)
    made_lists = []
    with np.errstate(over="ignore"):
        for lane, seed in zip(items, _SEEDS, strict=False):
            mixed = np.append(np.uint64(0), np.cumsum(mix(lane + place * np.uint64(seed)), dtype=np.uint64))
            total = mixed[starts + lengths] - mixed[starts]
            made_lists.append(mix(total + lengths.astype(np.uint64) * np.uint64(_ODD[0])))
    return made_lists
