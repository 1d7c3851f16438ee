"""How a blob is called: its digest, its key below the root, and a root without its password."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from nbmlops.errors import NotFound

DIGEST = re.compile(rb"sha256:([0-9a-f]{64})(?![0-9a-f])")
PART = 1 << 20
# Bytes of any kind (``bytes``, ``bytearray``, ``memoryview``, an Arrow buffer), a path, or a binary stream.
Data: TypeAlias = Any


@dataclass(frozen=True)
class Held:
    """A blob that is there: 64 hex digits, its size, and when it was last written or wanted (None: nobody knows)."""

    name: str
    bytes: int
    touched: float | None


def hex_of(digest: str) -> str:
    """The 64 hex digits of a digest.

    Raises:
        NotFound: this is not the digest of a blob.
    """
    text = digest.removeprefix("sha256:")
    if len(text) != 64 or not set(text) <= set("0123456789abcdef"):
        raise NotFound(
            f"{digest[:80]!r} is not the digest of a stored object", "digests look like sha256:… with 64 hex digits"
        )
    return text


def key_of(name: str) -> str:
    """Where a blob lies below the root."""
    return f"sha256/{name[:2]}/{name[2:]}"


def name_of(key: str) -> str | None:
    """The inverse of :func:`key_of`; None for a file that is not a blob."""
    *_, head, tail = key.split("/")
    name = head + tail
    return name if len(head) == 2 and len(name) == 64 and set(name) <= set("0123456789abcdef") else None


def shown(url: str) -> str:
    """A URL without what may be a password, fit for a message."""
    head, sign, tail = url.partition("://")
    if not sign or "@" not in tail.split("/", 1)[0]:
        return url
    return f"{head}://…@{tail.partition('@')[2]}"


def parts(stream: Any) -> Iterator[bytes]:
    """What is left of a binary stream, at most a megabyte at a time."""
    while part := stream.read(PART):
        yield part


def as_bytes(data: Data) -> memoryview | None:
    """The bytes themselves, without a copy; None if ``data`` is a path or a stream."""
    if isinstance(data, str) or hasattr(data, "read") or hasattr(data, "__fspath__"):
        return None
    return memoryview(data).cast("B")
