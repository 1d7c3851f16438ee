"""Sketches as bytes: ``nbmlops-sketches-1``, one zstd frame of a JSON head and the numbers behind it.

Behind the magic line stands a zstd frame: eight bytes with the length of the head (little-endian), the head, then all
registers (one byte each), points, weights (float64 and int64, each as eight planes of bytes, which packs better) and
counts (int64, likewise). The head is a list with one entry for each sketch, by name. The same sketches give the same
bytes, with one version of zstd. What is read may be anything: it is checked before it is used, and nothing is executed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import zstandard

from nbmlops.errors import InvalidValue
from nbmlops.frames.sketches import Sketch, distinct
from nbmlops.frames.sketches.counted import MERGED, Counted
from nbmlops.frames.sketches.measured import BINS, QUANTILES, UNITS, Measured
from nbmlops.frames.sketches.points import MERGED as MOST_POINTS
from nbmlops.frames.sketches.points import Points

MAGIC = b"nbmlops-sketches-1\n"
_LARGEST = 1 << 28  # bytes of an unpacked frame: some 50,000 sketches
_LEVEL = 6
_MOST_ROWS = 1 << 62
_FAMILIES = frozenset({"measured", "counted", "nested", "empty"})
_KINDS = frozenset({"boolean", "bytes", "text", "other"})


def dump(sketches: Mapping[str, Sketch]) -> bytes:
    """The sketches by name as bytes, for :func:`load`."""
    names = sorted(sketches)
    found = [sketches[n] for n in names]
    head = json.dumps([[n, *_entry(s)] for n, s in zip(names, found, strict=True)], separators=(",", ":")).encode()
    registers = [s.registers for s in found if s.registers is not None]
    points = [s.measured.points for s in found if s.measured is not None]
    counts = [s.counted.counts for s in found if s.counted is not None]
    body = b"".join(
        (
            len(head).to_bytes(8, "little"),
            head,
            *(r.tobytes() for r in registers),
            _planes([p.values.astype("<f8") for p in points]),
            _planes([p.weights.astype("<i8") for p in points]),
            _planes([c.astype("<i8") for c in counts]),
        )
    )
    return MAGIC + zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True).compress(body)


def _planes(arrays: list[np.ndarray]) -> bytes:
    """The first bytes of all numbers, then the second ones, and so on."""
    whole = np.concatenate(arrays) if arrays else np.zeros(0)
    return np.ascontiguousarray(whole.view(np.uint8).reshape(-1, 8).T).tobytes()


def _entry(sketch: Sketch) -> list[Any]:
    numbers, values = sketch.measured, sketch.counted
    kept = sketch.registers is not None
    entry = [sketch.family, sketch.type, sketch.categorical, sketch.rows, sketch.nulls, sketch.distinct, kept]
    entry.append(list(sketch.infinite))
    if numbers is not None:
        entry.append([getattr(numbers, n) for n in _NUMBERS])
        entry.append([len(numbers.points.values), numbers.points.error, numbers.points.whole])
    elif values is not None:
        entry.append([getattr(values, n) for n in _VALUES])
    return entry


_NUMBERS = ("unit", "moment", "infinite", "low", "high", "mean", "std", "gap", "quantiles", "histogram")
_VALUES = ("kind", "keys", "rows", "whole", "floor", "entropy", "lengths")


def load(data: bytes) -> dict[str, Sketch]:
    """What :func:`dump` wrote.

    Raises:
        InvalidValue: these are not such bytes, or they were damaged.
    """
    data = bytes(data)
    if not data.startswith(MAGIC):
        _refuse(f"they do not begin with {MAGIC.decode().strip()}")
    try:
        packed = data[len(MAGIC) :]
        size = zstandard.frame_content_size(packed)
        if not 8 <= size <= _LARGEST:
            _refuse(f"they say to hold {size} bytes")
        body = zstandard.ZstdDecompressor().decompress(packed)
        length = int.from_bytes(body[:8], "little")
        head = json.loads(body[8 : 8 + length], parse_constant=_refuse)
        return _Reader(head, body[8 + length :]).sketches()
    except (zstandard.ZstdError, ValueError, TypeError, KeyError, IndexError, RecursionError, OverflowError) as error:
        raise _fault(str(error)) from error


def _fault(why: str) -> InvalidValue:
    return InvalidValue(f"these bytes are not sketches of columns: {why}", "make the profile again")


def _refuse(why: str) -> NoReturn:
    raise _fault(why)


class _Reader:
    """Takes the numbers of the body apart again; every size and every value is checked."""

    def __init__(self, head: list[Any], body: bytes) -> None:
        self._head = head
        with_registers = sum(bool(e[7]) for e in head)
        points = sum(_whole(e[10][0], MOST_POINTS) for e in head if e[1] == "measured" and len(e) > 9)
        counts = sum(len(e[9][1]) for e in head if e[1] == "counted")
        wanted = distinct.SIZE * with_registers + 16 * points + 8 * counts
        if len(body) != wanted:
            _refuse(f"{len(body)} bytes of numbers where {wanted} belong")
        cuts = np.cumsum([0, distinct.SIZE * with_registers, 8 * points, 8 * points, 8 * counts])
        parts = [body[a:b] for a, b in zip(cuts, cuts[1:], strict=False)]  # noqa: RUF007  (an array)
        self._registers = np.frombuffer(parts[0], np.uint8).reshape(-1, distinct.SIZE)
        self._values, self._weights, self._counts = (
            np.ascontiguousarray(np.frombuffer(p, np.uint8).reshape(8, -1).T).reshape(-1).view(kind)
            for p, kind in zip(parts[1:], ("<f8", "<i8", "<i8"), strict=True)
        )
        if not (np.isfinite(self._values).all() and (self._registers <= distinct.MOST).all()):
            _refuse("a number is out of range")
        if (self._weights < 1).any() or (self._counts < 1).any():
            _refuse("a count is not positive")
        self._place = [0, 0, 0]

    def sketches(self) -> dict[str, Sketch]:
        return {_text(e[0]): self._sketch(e[1:]) for e in self._head}

    def _take(self, place: int, amount: int) -> slice:
        start = self._place[place]
        self._place[place] += amount
        return slice(start, start + amount)

    def _sketch(self, entry: list[Any]) -> Sketch:
        family, kind, categorical, rows, nulls, unique, kept, infinite = entry[:8]
        if family not in _FAMILIES or (family in {"counted", "measured"}) != bool(kept):
            _refuse(f"no family {family!r}")
        rows, nulls = _whole(rows), _whole(nulls)
        if nulls > rows or (nulls == rows) != (family == "empty"):
            _refuse(f"{nulls} nulls of {rows} rows")
        return Sketch(
            family,
            _text(kind),
            bool(categorical),
            rows,
            nulls,
            None if unique is None else _whole(unique, rows),
            self._registers[self._take(0, 1)][0] if kept else None,
            self._measured(entry[8], entry[9], rows - nulls) if family == "measured" and len(entry) > 8 else None,
            self._counted(entry[8], rows - nulls) if family == "counted" else None,
            _pair(infinite),
        )

    def _measured(self, entry: list[Any], points: list[Any], rows: int) -> Measured:
        told = dict(zip(_NUMBERS, entry, strict=True))
        amount, error, whole = points
        place = self._take(1, _whole(amount, MOST_POINTS))
        made = Points(self._values[place], self._weights[place], _whole(error), bool(whole))
        figures = [_number(told[n]) for n in ("low", "high", "mean", "std")]
        infinite = _pair(told["infinite"])
        quantiles = tuple(_number(v) for v in told["quantiles"])
        histogram = tuple(_whole(v) for v in told["histogram"])
        ascending = bool((made.values[1:] > made.values[:-1]).all())
        if not ascending or made.rows + sum(infinite) != rows or figures[0] > figures[1] or told["unit"] not in UNITS:
            _refuse("points that are no distribution")
        if len(quantiles) not in (0, len(QUANTILES)) or len(histogram) not in (0, 1, BINS):
            _refuse("quantiles or a histogram of another size")
        gap = None if told["gap"] is None else _number(told["gap"])
        return Measured(
            _number(told["unit"]),
            bool(told["moment"]),
            infinite,
            *figures,
            made,
            gap,
            quantiles,
            histogram,  # type: ignore[call-arg]
        )

    def _counted(self, entry: list[Any], rows: int) -> Counted:
        told = dict(zip(_VALUES, entry, strict=True))
        keys = tuple(k if isinstance(k, str | bool | int) else _number(k) for k in told["keys"])
        counts = self._counts[self._take(2, len(keys))]
        if told["kind"] not in _KINDS or not 0 < len(keys) <= MERGED or _whole(told["rows"]) != rows:
            _refuse("values of another column")
        if int(counts.sum()) > rows or (counts[1:] > counts[:-1]).any():
            _refuse("counts that are no distribution")
        entropy = None if told["entropy"] is None else _number(told["entropy"])
        lengths = None if told["lengths"] is None else tuple(_whole(n) for n in told["lengths"])
        if lengths is not None and len(lengths) != 4:
            _refuse("lengths of another size")
        return Counted(told["kind"], keys, counts, rows, bool(told["whole"]), _whole(told["floor"]), entropy, lengths)  # type: ignore[arg-type]


def _whole(value: Any, most: int = _MOST_ROWS) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        _refuse(f"{value!r} is not a number of rows")
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        _refuse(f"{value!r} is not a finite number")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        _refuse(f"{value!r} is not a text")
    return value


def _pair(value: Any) -> tuple[int, int]:
    below, above = value
    return _whole(below), _whole(above)
