"""How a secret value may be written down: escaped, quoted, in hexadecimal, in base64, in parts. Pure functions."""

from __future__ import annotations

import base64
import contextlib
import html
import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

LEAST = 6  # characters of a value: what is shorter is found by chance in any text
_LONG = 16  # characters without a space: what a line of a longer secret must have to be searched for by itself
_TELLING = re.compile(r"key|secret|token|passw|credential|auth", re.IGNORECASE)
_ASSIGNED = re.compile(r"\s*(?:export\s+)?([\w.-]+)\s*[=:]\s*(.+?)\s*,?\s*")
_PERCENT = re.compile("%[0-9A-F]{2}")


def texts(value: str) -> set[str]:
    """Every text that gives a value away: the value and its telling parts, each in all its spellings."""
    return {spelled for part in _parts(value) for spelled in _spelled(part)}


def wide(value: str) -> set[bytes]:
    """The value as NumPy and other binary formats keep text: in UTF-16 and UTF-32."""
    return {
        part.encode(coding) for part in _parts(value) for coding in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
    }


def _parts(value: str) -> set[str]:
    """The value; the long lines of one with several; what JSON or NAME=VALUE lines in it name a secret; passwords."""
    found = {value, value.strip()}
    lines = value.splitlines()
    for line in lines if len(lines) > 1 else ():
        bare = line.strip()
        if len(bare) >= _LONG and not re.search(r"\s|-----", bare):
            found.add(bare)
        if (assigned := _ASSIGNED.fullmatch(line)) and _TELLING.search(assigned[1]):
            found.add(assigned[2].strip("\"'"))
    with contextlib.suppress(ValueError, RecursionError):
        for text in _telling(json.loads(value)):
            found |= {text, *(line for line in text.splitlines() if len(line) >= _LONG and "-----" not in line)}
    with contextlib.suppress(ValueError):
        found.add(urlsplit(value).password or "")
    return {part for part in found if len(part) >= LEAST}


def _telling(document: Any) -> Iterator[str]:
    """Texts below names such as ``private_key`` in a JSON document; addresses are no secrets."""
    if isinstance(document, list):
        for item in document:
            yield from _telling(item)
    elif isinstance(document, dict):
        for name, item in document.items():
            if isinstance(item, str) and _TELLING.search(name) and "://" not in item:
                yield item
            elif isinstance(item, list | dict):
                yield from _telling(item)


def _spelled(part: str) -> Iterator[str]:
    data = part.encode("utf-8", "surrogatepass")
    ways: tuple[Callable[[str], str], ...] = (
        _json, _json_ascii, lambda t: repr(t)[1:-1], lambda t: ascii(t)[1:-1], html.escape,
        lambda t: html.escape(t, quote=False),
    )  # fmt: skip
    once = {part, repr(data)[2:-1], *(way(part) for way in ways)}
    quoted = {q for safe in ("", "/", "/:@") for q in (quote(data, safe), quote_plus(data, safe))}
    once |= quoted | {_PERCENT.sub(lambda m: m[0].lower(), q) for q in quoted}
    twice = {way(text) for text in once for way in (_json, _json_ascii, html.escape)}
    yield from once | twice | {_json(text) for text in twice}
    yield data.hex()
    yield data.hex().upper()
    yield base64.b64encode(data).decode()
    yield base64.urlsafe_b64encode(data).decode()
    for core in _cores(data):
        yield core
        yield core.translate(str.maketrans("+/", "-_"))


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _json_ascii(text: str) -> str:
    return json.dumps(text)[1:-1]


def _cores(data: bytes) -> Iterator[str]:
    """What base64 of any longer text with these bytes in it must contain, for each place they can start at.

    A character holds six bits, so the first and last may belong to the neighbours too, and are left out.
    """
    for before, start in ((0, 0), (1, 2), (2, 3)):
        encoded = base64.b64encode(bytes(before) + data).decode()
        yield encoded[start : (before + len(data)) * 8 // 6]
