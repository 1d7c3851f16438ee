"""Which files a capsule has: names that are safe everywhere, and each blob once."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nbmlops.records import plain
from nbmlops.store import Store

FORMAT = "nbmlops-capsule-1"
INDEX = "capsule.json"
LONGEST_NAME = 400
_DRIVE = re.compile(r"[A-Za-z]:")


def wrong_name(name: str) -> str:
    """What makes a name unfit for a file in a capsule; empty if nothing does."""
    if not 0 < len(name) <= LONGEST_NAME:
        return f"its name has {len(name)} characters, and may have 1 to {LONGEST_NAME}"
    if not name.isprintable():
        return "its name has control characters"
    if name.startswith("/") or _DRIVE.match(name):
        return "its name is an absolute path"
    if "\\" in name:
        return "its name has a backslash"
    if any(part in {"", ".", ".."} for part in name.split("/")):
        return "its name leads elsewhere"
    return ""


def folded(name: str) -> str:
    """A name as file systems see it that do not tell case or ways of composing letters apart."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def clash(name: str, taken: Mapping[str, str]) -> str:
    """The name that keeps another from being a file beside it; ``taken`` maps folded names, folders too, to names."""
    key = folded(name)
    parts = key.split("/")
    above = ("/".join(parts[:n]) for n in range(1, len(parts)))
    return taken.get(key, "") or next((taken[a] for a in above if a in taken and not taken[a].endswith("/")), "")


def take(name: str, taken: dict[str, str]) -> None:
    """Remember a name and the folders above it."""
    parts = name.split("/")
    for n in range(1, len(parts)):
        taken.setdefault(folded("/".join(parts[:n])), "/".join(parts[:n]) + "/")
    taken[folded(name)] = name


def as_json(value: Any) -> bytes:
    """A value as JSON for people, the same each time."""
    return (json.dumps(plain(value), indent=1, sort_keys=True, ensure_ascii=False, default=str) + "\n").encode()


def content_hash(files: Mapping[str, Any]) -> str:
    """The hash of a whole capsule: of its list of files, each with hash and size, as canonical JSON."""
    text = json.dumps(files, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass
class Layout:
    """The files of a capsule by name, as bytes or as the digest of a blob."""

    store: Store
    parts: dict[str, bytes | str] = field(default_factory=dict)
    blobs: dict[str, str] = field(default_factory=dict)
    _taken: dict[str, str] = field(default_factory=lambda: {folded(INDEX): INDEX})

    def add(self, name: str, content: bytes) -> None:
        """A file that is made for the capsule; its name is ours."""
        self.parts[name] = content
        take(name, self._taken)

    def add_blob(self, name: str, digest: str) -> None:
        """A blob under a name that somebody else chose; under its digest if that is unfit or taken."""
        if digest in self.blobs:
            return
        if wrong_name(name) or clash(name, self._taken):
            name = f"blobs/{digest.removeprefix('sha256:')}"
        self.parts[name], self.blobs[digest] = digest, name
        take(name, self._taken)

    def files(self) -> dict[str, dict[str, Any]]:
        """Hash and size of each file, by name."""
        return {name: self._facts(part) for name, part in sorted(self.parts.items())}

    def _facts(self, part: bytes | str) -> dict[str, Any]:
        if isinstance(part, str):
            return {"sha256": part.removeprefix("sha256:"), "size": self.store.blobs.size(part)}
        return {"sha256": hashlib.sha256(part).hexdigest(), "size": len(part)}
