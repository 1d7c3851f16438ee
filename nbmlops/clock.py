"""The only source of time and identity, so that tests can set both."""

from __future__ import annotations

import os
import re
import threading
import time
from datetime import UTC, datetime
from typing import Any

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(s|min|m|h|d)\s*")
_lock = threading.Lock()
_last = 0


def now() -> float:
    """Seconds since the epoch, UTC."""
    return time.time()


def new_id() -> str:
    """A ULID: 48 bits of milliseconds, 80 random bits, 26 characters of Crockford base 32.

    Ids of one process are strictly increasing, so that sorting by id is sorting by time
    (https://github.com/ulid/spec, monotonic factory).
    """
    global _last
    fresh = (int(now() * 1000) << 80) | int.from_bytes(os.urandom(10))
    with _lock:
        # Within one millisecond, or after the clock stepped back: one more than the last.
        _last = value = _last + 1 if fresh >> 80 <= _last >> 80 else fresh
    return "".join(_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))


def id_time(ulid: str) -> float:
    """The time, in seconds since the epoch, that is written in a ULID."""
    return id_number(ulid[:10]) / 1000


def id_number(ulid: str) -> int:
    """The number that a ULID, or the beginning of one, writes in base 32."""
    value = 0
    for character in ulid:
        value = value * 32 + _ALPHABET.index(character)
    return value


def id_floor(at: float) -> str:
    """The smallest ULID of a moment: a bound for range queries over ids."""
    value = int(at * 1000) << 80
    return "".join(_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))


def iso(at: float | None) -> str:
    """``2026-11-20T17:25:37Z``; the empty string for None."""
    if at is None:
        return ""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def local(at: float | None) -> str:
    """``2026-11-20 18:25:37`` in the reader's time zone, for tables."""
    return "" if at is None else datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")


def parse_time(text: str | float | datetime) -> float:
    """Seconds since the epoch from ISO text, a date, a datetime or a number; text without a zone is UTC.

    Raises:
        ValueError: the text is not a time.
    """
    if isinstance(text, int | float):
        return float(text)
    moment = text if isinstance(text, datetime) else datetime.fromisoformat(str(text))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def duration(seconds: float | None) -> str:
    """``0.4 s``, ``12 s``, ``3 min 5 s``, ``2 h 10 min``."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def seconds_in(value: Any) -> float:
    """``"20m"``, ``"1h30m"``, ``"14d"`` or a number of seconds.

    Raises:
        ValueError: it is none of these, or not above zero.
    """
    total = 0.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        total = float(value)
    elif isinstance(value, str):
        place = 0
        while place < len(value) and (match := _SPAN.match(value, place)):
            total, place = total + float(match[1]) * _UNITS[match[2]], match.end()
        total = total if place == len(value) else 0
    if not 0 < total < float("inf"):
        raise ValueError(f"{value!r} is not a duration such as 20m, 90s or 1h30m")
    return total
