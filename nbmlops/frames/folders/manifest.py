"""The list of a folder's files as blobs: format ``files-2``, and how ``files-1`` is read.

``files-2`` is ``{"format", "files", "bytes", "pages": [digest …], "labels"}``. A page is JSON of some hundred files
next to each other in path order, column by column: ``paths``, ``sha256`` (base64 of 32 bytes each), ``bytes``, ``blob``
(index into ``blobs``; -1: the file is the blob of its own digest) and ``offset``. Pages end where the CRC-32 of a path
says so: a changed file costs its page, not the list. Every blob that a version needs stands in the manifest or in a
page as ``sha256:…``, a file in a pack does not: that is how clean-up and backup tell what is in use.

``files-1`` lists ``{"path", "digest", "bytes"}`` in the manifest, each file a blob.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from nbmlops.errors import BlobCorrupt
from nbmlops.frames.folders.content import Entry

if TYPE_CHECKING:
    from nbmlops.store.blobs import Blobs

FORMAT, OLD_FORMAT = "files-2", "files-1"
_CUT, _MOST = 512, 4096  # files of a page: on average, and at most


def folder_digest(entries: Sequence[Entry], labels: Mapping[str, str] | None = None) -> str:
    """The digest of a folder's content, ``blake3:…``: paths, sizes and file digests in path order, nothing else.

    ``nbmlops-files-1`` is the BLAKE3 of the JSON of that name and the sorted rows. With labels it is
    ``nbmlops-files-2``, followed by the rows, the name of the column of paths and the digest of the label table.
    """
    rows = sorted([e["path"], e["digest"], e["bytes"]] for e in entries)
    whole = ["nbmlops-files-2", rows, labels["column"], labels["digest"]] if labels else ["nbmlops-files-1", rows]
    return f"blake3:{blake3(json.dumps(whole, separators=(',', ':')).encode()).hexdigest()}"


def suffixes(entries: Sequence[Entry]) -> dict[str, int]:
    """How many files end with what, the most frequent first."""
    counts: dict[str, int] = {}
    for entry in entries:
        suffix = PurePosixPath(entry["path"]).suffix.lower()
        counts[suffix] = counts.get(suffix, 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def put_manifest(blobs: Blobs, entries: Sequence[Entry], labels: dict[str, Any] | None = None) -> str:
    """Write the list of files, whose contents are kept already; returns the digest of the manifest."""
    manifest = {
        "format": FORMAT,
        "files": len(entries),
        "bytes": sum(e["bytes"] for e in entries),
        "pages": [blobs.put(_page(part)) for part in _parts(entries)],
        "labels": labels,
    }
    return blobs.put(_json(manifest))


def _parts(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    part: list[Entry] = []
    for entry in entries:
        part.append(entry)
        if zlib.crc32(entry["path"].encode()) % _CUT == 0 or len(part) == _MOST:
            yield part
            part = []
    if part:
        yield part


def _page(entries: Sequence[Entry]) -> bytes:
    used = dict.fromkeys(e.get("pack", e["digest"]) for e in entries)
    index = {digest: i for i, digest in enumerate(used)}
    page = {
        "paths": [e["path"] for e in entries],
        "sha256": base64.b64encode(b"".join(bytes.fromhex(e["digest"][7:]) for e in entries)).decode(),
        "bytes": [e["bytes"] for e in entries],
        "blob": [index[e["pack"]] if "pack" in e else -1 for e in entries],
        "offset": [e.get("offset", 0) for e in entries],
        "blobs": list(used),
    }
    return _json(page)


def get_entries(blobs: Blobs, manifest: Mapping[str, Any]) -> list[Entry]:
    """The files that a manifest lists, in path order: ``{"path", "digest", "bytes"}``, with ``pack`` and ``offset``.

    Raises:
        BlobCorrupt: a page is damaged, or nbmlops did not write it.
    """
    if manifest["format"] == OLD_FORMAT:
        return list(manifest["files"])
    entries: list[Entry] = []
    for digest in manifest["pages"]:
        try:
            entries += _unpage(json.loads(blobs.get(digest)))
        except (KeyError, TypeError, ValueError) as error:
            raise BlobCorrupt(
                f"the list of files {digest[:19]}… cannot be understood", "restore the store from a backup"
            ) from error
    return entries


def _unpage(page: dict[str, Any]) -> Iterator[Entry]:
    digests = base64.b64decode(page["sha256"], validate=True).hex()
    columns = [page[name] for name in ("paths", "bytes", "blob", "offset")]
    if not _makes_sense(columns, len(page["blobs"])) or len(digests) != 64 * len(columns[0]):
        raise ValueError("columns of other types or lengths than were written")
    blobs = page["blobs"]
    for i, (path, size, blob, offset) in enumerate(zip(*columns, strict=True)):
        entry: Entry = {"path": path, "digest": f"sha256:{digests[64 * i : 64 * i + 64]}", "bytes": size}
        if blob >= 0:
            entry["pack"], entry["offset"] = blobs[blob], offset
        yield entry


def _makes_sense(columns: Sequence[Any], blobs: int) -> bool:
    paths, sizes, indexes, offsets = columns
    return (
        all(type(column) is list for column in columns)
        and {type(path) for path in paths} <= {str}
        and {type(n) for column in (sizes, indexes, offsets) for n in column} <= {int}
        and min(sizes, default=0) >= 0
        and min(offsets, default=0) >= 0
        and all(-1 <= i < blobs for i in indexes)
    )


def references(blobs: Blobs, manifest: Mapping[str, Any]) -> set[str]:
    """The digests of all blobs that a folder's manifest needs, its pages and label table included."""
    used = {str(e.get("pack", e["digest"])) for e in get_entries(blobs, manifest)}
    used.update(manifest.get("pages", ()))
    return used | {f["digest"] for f in (manifest.get("labels") or {}).get("files", ())}


def _json(data: Any) -> bytes:
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
