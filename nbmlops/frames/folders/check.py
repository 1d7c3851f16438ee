"""Reading everything again: is a kept folder what it was?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nbmlops.frames import digest
from nbmlops.frames.folders.content import write_content
from nbmlops.frames.folders.labels import get_table
from nbmlops.frames.folders.manifest import folder_digest, get_entries

if TYPE_CHECKING:
    from nbmlops.store.blobs import Blobs


class _Nowhere:
    """A stream that keeps nothing."""

    def write(self, data: bytes) -> int:
        return len(data)


def verify_folder(blobs: Blobs, manifest: Mapping[str, Any]) -> str:
    """Read all files and labels, each compared with its digest; returns the digest of the folder as it is now.

    Raises:
        NotFound: a blob is missing.
        BlobCorrupt: a content is not what was kept.
    """
    entries = get_entries(blobs, manifest)
    nowhere: Any = _Nowhere()
    for entry in {e["digest"]: e for e in entries}.values():
        write_content(blobs, entry, nowhere)
    note = manifest.get("labels")
    if note is None:
        return folder_digest(entries)
    content, _ = digest.table_digest(get_table(blobs, note), note["frame"])
    return folder_digest(entries, {"column": note["column"], "digest": content})
