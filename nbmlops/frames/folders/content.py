"""Keeping a folder, and reading a file of it again: entries ``{"path", "digest", "bytes"}``, in a pack with two more.

``digest`` is the SHA-256 of the file. Without ``pack`` it names the blob that holds it; with ``pack`` the file is the
bytes at ``offset`` of that blob.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import fsspec

from nbmlops.errors import BlobCorrupt
from nbmlops.frames.folders import statcache
from nbmlops.frames.folders.packs import Packs, Place
from nbmlops.frames.folders.reading import SMALL, Fault, Keep, read_files
from nbmlops.frames.folders.walk import Found, Rooted, Stat, Tree, raise_faults

if TYPE_CHECKING:
    from nbmlops.store.blobs import Blobs

Entry: TypeAlias = dict[str, Any]
_Read: TypeAlias = dict[str, tuple[Stat, str]]


def put_tree(blobs: Blobs, tree: Tree, known: Iterable[Entry] = (), cache: Path | None = None) -> list[Entry]:
    """Copy what is not kept yet; returns the entries, sorted by path.

    Args:
        blobs: where contents go: files up to 1 MB into packs, larger ones as blobs of their own.
        tree: what :func:`scan` found.
        known: entries whose contents are kept already, of the previous version for instance; they are not written
            again, whatever their path, unless a blob of them is lost.
        cache: a local folder for the stat cache; files that it knows unchanged are not opened.

    Raises:
        InvalidValue: files that cannot be read, or that change all the time; all of them are named.
        StoreFault: the store cannot be written; contents already copied stay, and are found when it is repeated.
    """
    started = time.time_ns()
    held = _held(blobs, known)
    places: dict[str, Place] = {digest: _place(e) for digest, e in held.items()}
    kept_at = statcache.cache_file(cache, tree.folder) if cache else None
    remembered = statcache.load(kept_at)
    read: _Read = {}
    todo: list[Found] = []
    for found in tree.files:
        stat, digest = remembered.get(found.path, (None, ""))
        if stat == found.stat and digest in held and held[digest]["bytes"] == found.stat[0]:
            read[found.path] = (found.stat, digest)
        else:
            todo.append(found)
    if todo:
        large = frozenset(e["bytes"] for e in held.values() if e["bytes"] > SMALL)
        read |= _copy(blobs, tree, todo, places, large)
    now = {p: r for p, r in read.items() if statcache.is_settled(r[0], started)}
    if kept_at and now != remembered:
        statcache.save(kept_at, now)
    return [_entry(found.path, *read[found.path], places) for found in tree.files]


def _held(blobs: Blobs, known: Iterable[Entry]) -> dict[str, Entry]:
    """What is really kept, by digest. Asking also keeps clean-up away from it until the new version is recorded."""
    held = {e["digest"]: e for e in known}
    used = {str(e.get("pack", e["digest"])) for e in held.values()}
    ask = getattr(blobs, "missing", None)
    lost = ask(used) if ask else {digest for digest in used if not blobs.has(digest)}
    return {d: e for d, e in held.items() if e.get("pack", d) not in lost} if lost else held


def _place(entry: Entry) -> Place:
    return {"pack": entry["pack"], "offset": entry["offset"]} if "pack" in entry else {}


def _entry(path: str, stat: Stat, digest: str, places: dict[str, Place]) -> Entry:
    return {"path": path, "digest": digest, "bytes": stat[0], **places[digest]}


def _copy(blobs: Blobs, tree: Tree, todo: list[Found], places: dict[str, Place], large: frozenset[int]) -> _Read:
    """Read files and keep what is new of them; adds to ``places``."""
    keep = Keep(frozenset(places), large, blobs.put)
    read: _Read = {}
    faults: list[str] = []
    with Rooted(tree.folder) as root, Packs(blobs) as packs, closing(read_files(root, todo, keep)) as contents:
        for one in contents:
            if isinstance(one, Fault):
                faults.append(f"{one.path!r}: {one.why}")
                continue
            if one.digest not in places:
                places[one.digest] = {} if one.data is None else packs.add(one.data)
            read[one.path] = (one.stat, one.digest)
        raise_faults(tree.folder, faults, "mend the permissions, or repeat when nobody is writing; no version was made")
    return read


def get_content(blobs: Blobs, entry: Entry) -> bytes:
    """The bytes of one file, verified.

    Raises:
        NotFound: the blob is missing.
        BlobCorrupt: it is not what was kept.
    """
    if "pack" not in entry:
        return blobs.get(entry["digest"])
    data = _slice(blobs, entry["pack"], entry["offset"], entry["bytes"])
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != entry["digest"]:
        raise _corrupt(blobs, entry)
    return data


def write_content(blobs: Blobs, entry: Entry, out: BinaryIO) -> None:
    """Write one file to a stream, verified while it is written: when this fails, what was written is worthless.

    Raises:
        NotFound: the blob is missing.
        BlobCorrupt: it is not what was kept.
    """
    if "pack" in entry or entry["bytes"] <= SMALL:
        out.write(get_content(blobs, entry))
        return
    hasher = hashlib.sha256()
    with _stream(blobs, entry["digest"]) as stream:
        while part := stream.read(1 << 20):
            hasher.update(part)
            out.write(part)
    if f"sha256:{hasher.hexdigest()}" != entry["digest"]:
        raise _corrupt(blobs, entry)


def _slice(blobs: Blobs, digest: str, offset: int, length: int) -> bytes:
    if ranged := getattr(blobs, "read", None):
        return bytes(ranged(digest, offset, length))
    with _stream(blobs, digest) as stream:
        stream.seek(offset)
        return bytes(stream.read(length))


def _stream(blobs: Blobs, digest: str) -> Any:
    if unverified := getattr(blobs, "stream", None):
        return unverified(digest)
    blobs.size(digest)  # says clearly when it is missing
    return fsspec.open(blobs.url(digest), "rb")


def _corrupt(blobs: Blobs, entry: Entry) -> BlobCorrupt:
    return BlobCorrupt(
        f"the stored content of {entry['path']!r} is not what was kept",
        f"restore {blobs.url(str(entry.get('pack', entry['digest'])))} from a backup, or take the snapshot again",
    )
