"""The blobs that rows need, directly or through manifests, and bringing those that are not here."""

from __future__ import annotations

import io
import json
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbmlops.errors import BlobCorrupt
from nbmlops.store.blobs import Blobs
from nbmlops.store.blobs.ordered import ordered
from nbmlops.store.blobs.transfer import BlobSource
from nbmlops.store.engine import Store
from nbmlops.store.merging import columns as c
from nbmlops.store.merging.columns import TABLES
from nbmlops.store.references import may_name_others, scan

_NAMED = re.compile(r"sha256:[0-9a-f]{64}(?![0-9a-f])")
_IN_MEMORY = 64 << 20
_SNIFFED = 64


@dataclass
class Needed:
    """What rows need.

    ``surely`` maps digests to what needs them. Those ``perhaps`` needed stand in somebody's text or file, and may as
    well be of something else: they come if they are there. ``bare`` are manifests that come without what they name.
    """

    surely: dict[str, str] = field(default_factory=dict)
    manifests: set[str] = field(default_factory=set)
    perhaps: set[str] = field(default_factory=set)
    bare: set[str] = field(default_factory=set)

    def note(self, table: str, row: Mapping[str, Any]) -> None:
        """Take up what a row names."""
        for name, kind in TABLES[table].columns.items():
            value = row[name]
            if not value:
                continue
            if kind in {c.DIGEST, c.MANIFEST}:
                self.surely.setdefault(value, f"{table}.{name}")
                if kind == c.MANIFEST and value not in self.bare:
                    self.manifests.add(value)
            elif isinstance(value, str | dict | list):
                self.perhaps.update(_NAMED.findall(value if isinstance(value, str) else json.dumps(value)))


def follow(store: Store, source: BlobSource, needed: Needed) -> tuple[set[str], dict[str, str]]:
    """All blobs that must or should be here, and those that are nowhere, with what needs them.

    Raises:
        BlobCorrupt: a manifest is not what was written.
    """
    wanted = {d for d in needed.perhaps if source.has(d)} | needed.surely.keys()
    missing: dict[str, str] = {}
    level = {d: d in needed.manifests for d in wanted}
    while level:
        behind = ordered(lambda each: _behind(store, source, *each), level.items(), workers=4)
        following: dict[str, bool] = {}
        for (digest, manifest), found in zip(level.items(), behind):
            if found is None:
                missing[digest] = needed.surely.get(digest, "a manifest")
                continue
            for surely, name in found:
                child = f"sha256:{name}"
                if child in wanted:
                    continue
                if (manifest and surely) or source.has(child):
                    wanted.add(child)
                    following[child] = manifest and surely
        level = following
    return wanted - missing.keys(), missing


def _behind(store: Store, source: BlobSource, digest: str, manifest: bool) -> Iterable[tuple[bool, str]] | None:
    """What a blob names; None if it is nowhere."""
    if not source.has(digest):
        if not store.blobs.has(digest):
            return None
        source = store.blobs
    if isinstance(source, Blobs) and not may_name_others(source.read(digest, 0, _SNIFFED)):
        return ()  # most are tables, and read once more when they travel
    if source.size(digest) <= _IN_MEMORY:
        data = source.get(digest)
        head = data[:_SNIFFED]
        return _names(io.BytesIO(data), head, digest) if may_name_others(head) else ()
    if not manifest:  # a table or an archive of somebody; what it may mention is no part of it
        return ()
    with tempfile.TemporaryDirectory(prefix="nbmlops-") as folder:
        path = Path(folder) / "blob"
        source.save(digest, path)
        with path.open("rb") as stream:
            head = stream.read(_SNIFFED)
            stream.seek(0)
            return _names(stream, head, digest)


def _names(stream: Any, head: bytes, digest: str) -> Iterable[tuple[bool, str]]:
    found, name = scan(stream, head)
    if f"sha256:{name}" != digest:
        raise BlobCorrupt(
            f"the stored object {digest[:19]}… does not have the content its name promises",
            "restore it from a backup there; nothing was taken over",
        )
    return found
