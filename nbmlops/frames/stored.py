"""How a frame or a folder lies in blobs: data, a manifest that lists it, and a profile.

A frame's manifest is described in ``chunks.layout``; stores of the first release hold ``parquet-1`` manifests, with
whole files ``[{"digest", "rows", "bytes"}]``. Those of folders are described in ``folders.manifest``. The content
digest does not depend on any of this.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from nbmlops.frames import arrow, digest, encode, folders, profile
from nbmlops.frames.chunks import layout
from nbmlops.frames.chunks.reader import WORKERS, Reader
from nbmlops.frames.chunks.writer import Writer
from nbmlops.frames.stream import Stream

if TYPE_CHECKING:
    from nbmlops.store.blobs import Blobs

AT_ONCE = 1 << 17  # rows up to which the profile is made with the snapshot; larger ones when first asked for

Blocks = dict[str, list[bytes]]


def reader(blobs: Blobs, manifest: Mapping[str, Any]) -> Reader:
    """What reads the rows of a frame's manifest, of any format."""
    return Reader(blobs, layout.from_json(manifest), encode.schema_from_json(manifest["frame"]["stored"]))


def content_of(packed: arrow.Packed) -> tuple[str, Blocks]:
    """The content digest of a packed frame, and the block digests it was made from."""
    table = packed.table
    with ThreadPoolExecutor(WORKERS) as pool:
        blocks = dict(zip(table.column_names, pool.map(digest.blocks, table.columns), strict=True))
    columns = [digest.of_blocks(f.type, table.num_rows, blocks[f.name]) for f in table.schema]
    return digest.whole(table.schema, table.num_rows, packed.manifest, columns), blocks


def keep_frame(
    blobs: Blobs, packed: arrow.Packed, content: str, blocks: Blocks, before: Reader | None = None
) -> dict[str, Any]:
    """Write a frame; returns what its row says: ``kind format digest manifest profile rows columns bytes schema``.

    ``before`` reads the version to share chunks with.
    """
    writer = Writer(blobs, packed.table.schema, before, blocks)
    writer.add(packed.table)
    made, columns = writer.finish()
    told = None
    if packed.table.num_rows <= AT_ONCE:
        found = profile.profile_table(packed.table, packed.categorical())
        told = blobs.put(_json({"rows": packed.rows, "columns": found}))
    return _frame(blobs, packed, content, (made, columns), told)


def keep_stream(blobs: Blobs, stream: Stream, before: Reader | None = None) -> dict[str, Any]:
    """Write a table that is read piece by piece; returns what :func:`keep_frame` returns."""
    writer = Writer(blobs, stream.schema, before)
    for piece in stream:
        writer.add(piece)
    made, columns = writer.finish()
    packed = arrow.Packed(stream.schema.empty_table(), stream.manifest)
    content = digest.whole(stream.schema, stream.rows, stream.manifest, columns)
    return {**_frame(blobs, packed, content, (made, columns), None), "rows": stream.rows}


def _frame(
    blobs: Blobs, packed: arrow.Packed, content: str, made: tuple[layout.Layout, Sequence[str]], told: str | None
) -> dict[str, Any]:
    where, columns = made
    manifest = {
        "format": layout.FORMAT,
        "schema": packed.schema(),
        "frame": packed.manifest,
        "digests": dict(zip(packed.table.column_names, columns, strict=True)),
        **where.to_json(),
    }
    return {
        "kind": "frame",
        "format": layout.FORMAT,
        "digest": content,
        "manifest": blobs.put(_json(manifest)),
        "profile": told or "",
        "rows": packed.rows,
        "columns": len(packed.manifest["columns"]),
        "bytes": sum(where.sizes.values()),
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
