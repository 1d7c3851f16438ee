"""How a frame or a folder lies in blobs: data, a manifest that lists it, and a profile.

The manifest is JSON. Of a frame: ``{"format": "parquet-1", "schema", "frame": dtype manifest, "digests": {field: hex},
"files": [{"digest", "rows", "bytes"}]}``. Of a folder: see ``frames.folders.manifest``.
A later format may cut rows into other files; the content digest does not depend on it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nbmlops.frames import arrow, folders, parquet, profile

if TYPE_CHECKING:
    from nbmlops.store.blobs import Blobs

FRAME_FORMAT = "parquet-1"


def keep_frame(blobs: Blobs, packed: arrow.Packed, content: str, digests: Sequence[str]) -> dict[str, Any]:
    """Write a frame; returns what its row says: ``kind format digest manifest profile rows columns bytes schema``."""
    files = parquet.put_table(blobs, packed.table)
    manifest = {
        "format": FRAME_FORMAT,
        "schema": packed.schema(),
        "frame": packed.manifest,
        "digests": dict(zip(packed.table.column_names, digests, strict=True)),
        "files": files,
    }
    columns = profile.profile_table(packed.table, packed.categorical())
    return {
        "kind": "frame",
        "format": FRAME_FORMAT,
        "digest": content,
        "manifest": blobs.put(_json(manifest)),
        "profile": blobs.put(_json({"rows": packed.rows, "columns": columns})),
        "rows": packed.rows,
        "columns": len(packed.manifest["columns"]),
        "bytes": sum(f["bytes"] for f in files),
        "schema": packed.schema(),
    }


def keep_folder(
    blobs: Blobs, entries: Sequence[folders.Entry], content: str, labels: folders.Labels | None = None
) -> dict[str, Any]:
    """Write the list of a folder's files, which are blobs already; in what its row says, files count as rows."""
    total = sum(e["bytes"] for e in entries)
    summary = {"files": len(entries), "bytes": total, "suffixes": folders.suffixes(entries)}
    if labels is not None:
        summary["labels"] = labels.summary()
    note = None if labels is None else folders.put_labels(blobs, labels)
    return {
        "kind": "files",
        "format": folders.FORMAT,
        "digest": content,
        "manifest": folders.put_manifest(blobs, entries, note),
        "profile": blobs.put(_json(summary)),
        "rows": len(entries),
        "columns": 0,
        "bytes": total,
        "schema": [] if labels is None else labels.packed.schema(),
    }


def _json(data: Any) -> bytes:
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
