"""The sketch of a column of texts, categories, booleans or bytes: its frequent values and the lengths of texts.

Of few distinct values all are kept with exact counts. Of many, the most frequent are; ``floor`` is then the most that a
value may occur more often than is known of it, also one that is not kept at all (as in the mergeable summaries of
Agarwal et al. 2012): counts are never too high, and too low by ``floor`` at most.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nbmlops.frames import hashing
from nbmlops.frames.digest import byte_offsets, contiguous, is_text

Key: TypeAlias = bool | int | float | str
TOP = 20
LONGEST = 200  # characters of a text value that a profile keeps
MOST, ROOM = 256, 3072  # values that the sketch of a chunk keeps, and bytes that they may take; but TOP in any case
MERGED = 1024  # values that are kept after a merge
_SAMPLE = 8192
_HASHED = 16  # hexadecimal digits behind a text that is cut


@dataclass(frozen=True, eq=False)
class Counted:
    """``keys`` by descending count; a long text is cut and followed by its hash. ``lengths``: min, max, sum, empty.

    ``entropy`` (nats) is exact; None after a merge that did not know every value.
    """

    kind: str  # boolean, bytes, text or other
    keys: tuple[Key, ...]
    counts: np.ndarray
    rows: int
    whole: bool
    floor: int = 0
    entropy: float | None = None
    lengths: tuple[int, int, int, int] | None = None


def is_bytes(kind: pa.DataType) -> bool:
    """Whether the type is any of Arrow's types of bytes."""
    return (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )


def count(column: pa.ChunkedArray) -> tuple[Counted, int, np.ndarray]:
    """The sketch of the present values, how many distinct ones there are, and their hashes."""
    column = column.drop_null() if column.null_count else column
    texts = is_text(column.type) or is_bytes(column.type)
    if texts and len(column) > _SAMPLE and pc.count_distinct(column.slice(0, _SAMPLE)).as_py() > _SAMPLE // 2:
        values, amount, hashes, lengths = _by_hash(contiguous(column))
    else:
        values, amount, hashes, lengths = _by_value(column)
    keys, counts = _kept(values, amount, hashes, _most(amount, hashes))
    whole = len(keys) == len(amount)
    made = Counted(
        _kind(column.type),
        tuple(keys),
        counts,
        int(amount.sum()),
        whole,
        0 if whole else int(counts[-1]),
        entropy_of(amount),
        lengths,
    )
    return made, len(amount), hashes


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "boolean"
    return "bytes" if is_bytes(kind) else "text" if is_text(kind) else "other"


def _by_value(column: pa.ChunkedArray) -> tuple[Any, np.ndarray, np.ndarray, Any]:
    try:
        counted = pc.value_counts(column)
    except pa.ArrowException:  # categories of a nested type, such as intervals
        counted = pc.value_counts(pa.array([str(v) for v in column.to_pylist()], pa.large_string()))
    values, counts = counted.flatten()
    if pa.types.is_floating(values.type):
        present = pc.invert(pc.is_nan(values))
        values, counts = values.filter(present), counts.filter(present)
    amount = np.asarray(counts).astype(np.int64)
    lengths = None
    if is_text(values.type) or is_bytes(values.type):
        sizes = np.asarray(pc.utf8_length(values) if is_text(values.type) else pc.binary_length(values)).astype(int)
        lengths = int(sizes.min()), int(sizes.max()), int((sizes * amount).sum()), int(amount[sizes == 0].sum())
    return values, amount, hashing.column_hashes(values)[0], lengths


def _by_hash(array: pa.Array) -> tuple[Any, np.ndarray, np.ndarray, Any]:
    """Of many distinct texts: sorting 64-bit hashes takes half the time of Arrow's hash table."""
    hashes = hashing.column_hashes(array)[0]
    ordered = np.sort(hashes)
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    amount = np.diff(np.append(starts, len(ordered)))
    sizes = _sizes(array)
    lengths = int(sizes.min()), int(sizes.max()), int(sizes.sum()), int((sizes == 0).sum())
    return (array, hashes), amount, ordered[starts], lengths


def _sizes(array: pa.Array) -> np.ndarray:
    """Characters of texts, bytes of bytes."""
    if is_text(array.type) and not pa.types.is_string_view(array.type):
        ends = byte_offsets(array)
        data = np.frombuffer(array.buffers()[2] or b"", np.uint8)[int(ends[0]) : int(ends[-1])]
        if not len(data) or data.max() < 128:
            return np.diff(ends)
    return np.asarray(pc.utf8_length(array) if is_text(array.type) else pc.binary_length(array))


def _most(amount: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """The places of the most frequent values, those first; of equally frequent ones the smaller hash is taken.

    So chunks agree about which of many rare values they keep.
    """
    if len(amount) > MOST:
        # Mostly a value that occurs once: partitioning many equal numbers is slow.
        repeated = amount[amount > 1]
        least = np.partition(repeated, -MOST)[-MOST] if len(repeated) >= MOST else 1
        above, equal = np.flatnonzero(amount > least), np.flatnonzero(amount == least)
        left = MOST - len(above)
        if len(equal) > left:
            equal = equal[np.argpartition(hashes[equal], left - 1)[:left]]
        places = np.concatenate([above, equal])
    else:
        places = np.arange(len(amount))
    return places[np.lexsort((hashes[places], -amount[places]))]


def _kept(values: Any, amount: np.ndarray, hashes: np.ndarray, best: np.ndarray) -> tuple[list[Key], np.ndarray]:
    """The keys and counts of the values to keep, the most frequent first."""
    if isinstance(values, tuple):  # texts with their hashes: find one row of each
        repeated = max(TOP, int(np.count_nonzero(amount[best] > 1)))
        best = best[:repeated]
        array, every = values
        marked = np.zeros(1 << 16, bool)
        marked[hashes[best] >> np.uint64(48)] = True
        near = np.flatnonzero(marked[every >> np.uint64(48)])
        wanted, first = np.unique(every[near], return_index=True)
        rows = near[first[np.searchsorted(wanted, hashes[best])]]
        chosen = array.take(pa.array(rows))
    else:
        chosen = values.take(pa.array(best))
    keys = [key_of(v, int(h)) for v, h in zip(chosen.to_pylist(), hashes[best], strict=True)]
    room = np.cumsum([len(k.encode()) if isinstance(k, str) else 8 for k in keys])
    fits = max(TOP, int(np.searchsorted(room, ROOM, side="right")))
    # Of equally frequent values the order is that of their texts, as after a merge.
    pairs = sorted(zip(amount[best[:fits]].tolist(), keys, strict=False), key=lambda pair: (-pair[0], str(pair[1])))
    return [key for _, key in pairs], np.array([n for n, _ in pairs], np.int64)


def key_of(value: Any, own: int) -> Key:
    """What is kept of a value: JSON can hold it, and distinct values have distinct keys."""
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…{own:0{_HASHED}x}"


def shown(key: Key) -> Key:
    """A key without the hash that follows a text that was cut."""
    return key[:LONGEST] if isinstance(key, str) else key


def entropy_of(amount: np.ndarray) -> float:
    """Shannon's entropy of counts, in nats."""
    total = int(amount.sum())
    repeated = amount[amount > 1]
    return max(0.0, math.log(total) - float((repeated * np.log(repeated)).sum()) / total)


# --- merging ----------------------------------------------------------------------------------------------------
def merge(parts: Sequence[Counted]) -> Counted:
    """The sketch of all parts together."""
    totals: dict[Key, int] = {}
    for part in parts:
        for key, amount in zip(part.keys, part.counts.tolist(), strict=True):
            totals[key] = totals.get(key, 0) + amount
    ordered = sorted(totals.items(), key=lambda pair: (-pair[1], str(pair[0])))
    floor = sum(p.floor for p in parts) + (ordered[MERGED][1] if len(ordered) > MERGED else 0)
    whole = floor == 0
    counts = np.array([n for _, n in ordered[:MERGED]], np.int64)
    known = [p.lengths for p in parts if p.lengths is not None]
    lengths = None
    if known:
        low, high, total, empty = zip(*known, strict=True)
        lengths = min(low), max(high), sum(total), sum(empty)
    return Counted(
        parts[0].kind,
        tuple(k for k, _ in ordered[:MERGED]),
        counts,
        sum(p.rows for p in parts),
        whole,
        floor,
        entropy_of(counts) if whole else None,
        lengths,
    )


# --- as a profile -----------------------------------------------------------------------------------------------
def described(sketch: Counted, distinct: int, categorical: bool) -> dict[str, Any]:
    """The keys that a profile has of values that are counted."""
    top = [[shown(k), n] for k, n in zip(sketch.keys[:TOP], sketch.counts[:TOP].tolist(), strict=True)]
    top.sort(key=lambda pair: (-pair[1], str(pair[0])))
    kind = sketch.kind
    if kind != "boolean":
        few = distinct <= 50 or (distinct <= 1000 and distinct * 2 <= sketch.rows)
        kind = "categorical" if categorical or (few and kind != "bytes") else "text"
    made: dict[str, Any] = {"kind": kind, "top": top, "other": sketch.rows - sum(n for _, n in top)}
    if sketch.lengths is not None:
        low, high, total, empty = sketch.lengths
        made["lengths"] = {"min": low, "max": high, "mean": total / sketch.rows, "empty": empty}
    if kind != "text":
        made["balance"] = _balance(sketch, distinct)
    return made


def _balance(sketch: Counted, distinct: int) -> dict[str, float]:
    """How evenly the classes are filled.

    ``largest`` and ``smallest`` are shares of the rows (the smallest only where every class is known), ``entropy`` is
    1 where all classes are of one size and 0 where there is one class only.
    """
    entropy = sketch.entropy
    if entropy is None:
        known = sketch.counts / sketch.rows
        rest = max(0.0, 1.0 - float(known.sum()))
        more = max(1, distinct - len(known))
        entropy = float(-(known * np.log(known)).sum()) - (rest * math.log(rest / more) if rest > 0 else 0.0)
    made = {"entropy": min(1.0, entropy / math.log(distinct)) if distinct > 1 else 0.0}
    made["largest"] = int(sketch.counts[0]) / sketch.rows
    if sketch.whole:
        made["smallest"] = int(sketch.counts[-1]) / sketch.rows
    return made


def variation(a: Counted, b: Counted) -> float:
    """The total variation distance of two distributions of values, 0 to 1; what neither names is one value."""
    old = {str(k): n / a.rows for k, n in zip(a.keys, a.counts.tolist(), strict=True)}
    new = {str(k): n / b.rows for k, n in zip(b.keys, b.counts.tolist(), strict=True)}
    named = math.fsum(abs(old.get(k, 0.0) - new.get(k, 0.0)) for k in sorted({*old, *new}))
    rest = abs(math.fsum(old.values()) - math.fsum(new.values()))
    return min(1.0, (named + rest) / 2)
