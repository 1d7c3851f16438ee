"""What the manifest of a chunked frame says, as records, and its JSON (format ``chunks-1``).

``{"format": "chunks-1", "schema", "frame": dtype manifest, "digests": {field: hex}, "rows": [of each chunk],
"limits": [least, most], "options": {field: how it is
written}, "prints": {field: [fingerprint before each cut]}, "blocks": {field: base64},
"files": [digest], "sizes": [bytes], "pieces": {field: {"digests": base64, "files": [number], "names"?, "patches"?}}}``

``pieces`` has an entry per chunk: the digest of the values (32 bytes), the file, and the column's name in it where
that is another. ``patches`` maps the number of a chunk to ``[file, first row, rows]`` of each patch, oldest first.
``blocks`` holds 16 bytes for each block of 65,536 rows of the whole column.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa

from nbmlops.frames import encode
from nbmlops.frames.chunks.cuts import Before, Limits
from nbmlops.frames.parquet import Options

FORMAT = "chunks-1"
SHORT = 16  # bytes kept of a block's digest: enough that nobody finds two blocks with one


@dataclass(frozen=True)
class Patch:
    """Rows ``start`` to ``start + rows`` of a patch file: positions in the chunk, and the values now there."""

    file: str
    start: int
    rows: int


@dataclass(frozen=True)
class Piece:
    """One column of one chunk: where its values are, and which they are. ``digest`` is empty in the oldest format."""

    digest: str
    file: str
    name: str
    patches: tuple[Patch, ...] = ()


@dataclass(frozen=True)
class Chunk:
    """Rows ``start`` to ``start + rows`` of a frame."""

    start: int
    rows: int
    pieces: Mapping[str, Piece]

    @property
    def digests(self) -> dict[str, str]:
        """By field the hex digest of its values here; empty where the format did not keep them."""
        return {name: piece.digest for name, piece in self.pieces.items() if piece.digest}


@dataclass(frozen=True)
class Layout:
    """Where a frame's values are. ``sizes`` are the bytes of each file."""

    chunks: tuple[Chunk, ...]
    sizes: Mapping[str, int]
    limits: Limits | None = None
    options: Mapping[str, Options] = field(default_factory=dict)
    prints: Mapping[str, Sequence[int]] = field(default_factory=dict)
    blocks: Mapping[str, Sequence[bytes]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return self.chunks[-1].start + self.chunks[-1].rows if self.chunks else 0

    @cached_property
    def before(self) -> Before:
        """What cutting the next version needs to know of this one."""
        return Before([0, *(c.start + c.rows for c in self.chunks)], self.prints, self.blocks)

    @cached_property
    def known(self) -> dict[str, Piece]:
        """Pieces by the digest of their values."""
        return {p.digest: p for c in self.chunks for p in c.pieces.values() if p.digest}

    def to_json(self) -> dict[str, Any]:
        """The part of the manifest that says where the values are."""
        files = list(self.sizes)
        number = {name: i for i, name in enumerate(files)}
        names = list(self.chunks[0].pieces) if self.chunks else []
        return {
            "rows": [c.rows for c in self.chunks],
            "limits": [self.limits.least, self.limits.most] if self.limits else None,
            "options": {c: astuple(o) for c, o in self.options.items()},
            "prints": {c: list(p) for c, p in self.prints.items()},
            "blocks": {
                c: base64.b64encode(b"".join(b[:SHORT] for b in found)).decode() for c, found in self.blocks.items()
            },
            "files": files,
            "sizes": list(self.sizes.values()),
            "pieces": {name: _pieces_to_json(name, [c.pieces[name] for c in self.chunks], number) for name in names},
        }


def _pieces_to_json(name: str, pieces: Sequence[Piece], number: Mapping[str, int]) -> dict[str, Any]:
    patches = {
        str(i): [[number[q.file], q.start, q.rows] for q in p.patches] for i, p in enumerate(pieces) if p.patches
    }
    more: dict[str, Any] = {"patches": patches} if patches else {}
    if any(p.name != name for p in pieces):
        more["names"] = [p.name for p in pieces]
    digests = base64.b64encode(b"".join(bytes.fromhex(p.digest) for p in pieces)).decode()
    return {"digests": digests, "files": [number[p.file] for p in pieces], **more}


def from_json(manifest: Mapping[str, Any]) -> Layout:
    """The layout of a manifest, of this format or of ``parquet-1``, which listed whole files without digests."""
    if manifest["format"] != FORMAT:
        return _from_files(manifest)
    files = manifest["files"]
    columns = {name: _pieces_from_json(name, data, files) for name, data in manifest["pieces"].items()}
    chunks, start = [], 0
    for i, rows in enumerate(manifest["rows"]):
        chunks.append(Chunk(start, rows, {name: pieces[i] for name, pieces in columns.items()}))
        start += rows
    blocks = {c: _split(base64.b64decode(text), SHORT) for c, text in manifest["blocks"].items()}
    sizes = dict(zip(files, manifest["sizes"], strict=True))
    options = {c: Options(*o) for c, o in manifest["options"].items()}
    return Layout(tuple(chunks), sizes, Limits(*manifest["limits"]), options, manifest["prints"], blocks)


def _pieces_from_json(name: str, data: Mapping[str, Any], files: Sequence[str]) -> list[Piece]:
    digests = [d.hex() for d in _split(base64.b64decode(data["digests"]), 32)]
    names = data.get("names") or [name] * len(digests)
    patches = {
        int(i): tuple(Patch(files[f], start, rows) for f, start, rows in found)
        for i, found in data.get("patches", {}).items()
    }
    return [
        Piece(digest, files[f], there, patches.get(i, ()))
        for i, (digest, f, there) in enumerate(zip(digests, data["files"], names, strict=True))
    ]


def _split(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def _from_files(manifest: Mapping[str, Any]) -> Layout:
    names = encode.schema_from_json(manifest["frame"]["stored"]).names
    chunks, start = [], 0
    for file in manifest["files"]:
        chunks.append(Chunk(start, file["rows"], {n: Piece("", file["digest"], n) for n in names}))
        start += file["rows"]
    return Layout(tuple(chunks), {f["digest"]: f["bytes"] for f in manifest["files"]})


def row_bytes(table: pa.Table) -> float:
    """Bytes of a row in memory, on average."""
    return table.nbytes / max(1, table.num_rows)
