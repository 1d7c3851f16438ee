"""Which blobs the rows of a store need, directly or through other blobs. It knows nothing of what they mean.

A root is every ``sha256:`` followed by 64 hex digits in a text or JSON column of any table, or in a journal that is not
in the database yet. A blob that is JSON, or zstd-compressed, may name others in turn: there, 64 hex digits without
``sha256:`` count as well if there is a blob of that name. Taking too much for a reference only keeps a blob longer.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import sqlalchemy as sa

from nbmlops.errors import BlobCorrupt, NotFound
from nbmlops.store import schema
from nbmlops.store.blobs.names import parts
from nbmlops.store.blobs.ordered import ordered
from nbmlops.store.engine import Store

_NAMED = re.compile(rb"(sha256:)?(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])")
_LONGEST = 80  # a name that lies across two parts is found in the end of one and the start of the next
ZSTD = b"\x28\xb5\x2f\xfd"
_SNIFFED = 64


class References:
    """What is needed, by 64 hex digits, and where each was found first. Asked again, it reads only what is new.

    ``damaged`` has the blobs that may name others but are not what was written, ``missing`` those that are not there.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._behind: dict[str, frozenset[tuple[bool, str]]] = {}
        self.where: dict[str, str] = {}
        self.damaged: set[str] = set()
        self.missing: set[str] = set()

    def find(self, db: sa.Connection, there: Collection[str]) -> set[str]:
        """All names that are needed now; ``there`` are the blobs that a name without ``sha256:`` may mean."""
        used: set[str] = set()
        level = self._note((*_in_rows(db), *_in_journals(self._store.journal_folder)))
        while level:
            used |= level
            fresh = sorted(level - self._behind.keys())
            looked = ordered(self._look, fresh, workers=self._store.blobs.place.workers)
            behind = self._behind | dict(zip(fresh, looked))
            self._behind = {n: b for n, b in behind.items() if n not in self.missing}  # it may come yet
            level = self._note(
                (child, f"in sha256:{name[:12]}…, {self.where[name]}")
                for name in level
                for sure, child in behind[name]
                if child not in used and (sure or child in there)
            )
        return used

    def _note(self, found: Iterable[tuple[str, str]]) -> set[str]:
        level = set()
        for name, where in found:
            self.where.setdefault(name, where)
            level.add(name)
        return level

    def _look(self, name: str) -> frozenset[tuple[bool, str]]:
        """What a blob names: whether it is surely a digest, and the 64 hex digits."""
        blobs = self._store.blobs
        try:
            head = blobs.read(name, 0, _SNIFFED)
            if not may_name_others(head):
                return frozenset()
            with blobs.stream(name) as stream:
                found, digest = scan(stream, head)
        except NotFound:
            self.missing.add(name)
            return frozenset()
        if digest != name:
            self.damaged.add(name)
            return frozenset()
        return found


def may_name_others(head: bytes) -> bool:
    """Whether a blob that begins like this can be a manifest: JSON, or something compressed by zstd."""
    return head.startswith(ZSTD) or head.lstrip(b" \t\r\n\xef\xbb\xbf")[:1] in {b"{", b"["}


def scan(stream: Any, head: bytes) -> tuple[frozenset[tuple[bool, str]], str]:
    """What a blob that begins with ``head`` names, as (surely, name), in bounded memory, and its SHA-256."""
    hashed = _Hashed(stream)
    found: set[tuple[bool, str]] = set()
    found.update(_names_in(unpacked(hashed)) if head.startswith(ZSTD) else _names(hashed))
    for _ in parts(hashed):
        pass
    return frozenset(found), hashed.hasher.hexdigest()


def unpacked(stream: Any) -> Iterator[bytes]:
    """What is compressed in a stream by zstd, as far as it is; whether it is what was written, its hash says."""
    import zstandard

    source = cast(BinaryIO, stream)
    with contextlib.suppress(zstandard.ZstdError):  # somebody's own file may only begin like this
        yield from parts(zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True, closefd=False))


def _names(stream: Any) -> Iterator[tuple[bool, str]]:
    """What a stream names, and whether it says ``sha256:``; some of it twice."""
    return _names_in(parts(stream))


def _names_in(pieces: Iterable[bytes]) -> Iterator[tuple[bool, str]]:
    """The same of a stream's parts, one after the other."""
    tail = b""
    for part in pieces:
        window = tail + part
        yield from ((bool(sure), name.decode()) for sure, name in _NAMED.findall(window))
        tail = window[-_LONGEST:]


class _Hashed(io.RawIOBase):
    """A stream that is hashed while it is read."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.hasher = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        self.hasher.update(data)
        buffer[: len(data)] = data
        return len(data)


def _in_rows(db: sa.Connection) -> Iterator[tuple[str, str]]:
    for table in schema.metadata.sorted_tables:
        texts = [c for c in table.columns if isinstance(c.type, sa.String | sa.JSON)]
        if not texts:
            continue
        plain = [sa.cast(c, sa.Text).label(f"text_{c.name}") for c in texts]
        keys = [c.label(f"key_{c.name}") for c in table.primary_key]
        query = sa.select(*keys, *plain).where(sa.or_(*(p.element.like("%sha256:%") for p in plain)))
        for row in db.execute(query.execution_options(yield_per=1000)):
            key = "/".join(str(k) for k in row[: len(keys)])
            for column, text in zip(texts, row[len(keys) :]):
                for sure, name in _NAMED.findall((text or "").encode("utf-8", "replace")):
                    if sure:
                        yield name.decode(), f"{table.name}.{column.name} of {key}"


def _in_journals(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        try:
            with path.open("rb") as file:
                yield from ((name, f"journal {path.name}") for sure, name in _names(file) if sure)
        except FileNotFoundError:  # folded meanwhile: its content was in the database before it went
            continue


def refuse_damage(references: References, action: str) -> None:
    """Stops before anything that a damaged manifest may have named is lost.

    Raises:
        BlobCorrupt: there is one; names it and what needs it.
    """
    if references.damaged:
        name = min(references.damaged)
        raise BlobCorrupt(
            f"{len(references.damaged)} objects that name others are damaged, the first sha256:{name[:12]}…"
            f" ({references.where[name]}); {action}",
            "restore them from a backup; `nbmlops store verify` names them all",
        )
