"""A frame as plain Parquet files that other engines read in row order, made once where its chunks are not that.

Of a folder store they lie together in a folder of their own: links to stored files where a chunk is one whole file,
and real files where it is spread over several or patched.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from nbmlops.frames import parquet
from nbmlops.frames.chunks.layout import Chunk
from nbmlops.frames.chunks.reader import Reader

if TYPE_CHECKING:
    from nbmlops.store.blobs import Blobs


def part(number: int) -> str:
    """The name of the file of one chunk."""
    return f"part-{number:05}.parquet"


def files(blobs: Blobs, reader: Reader, folder: Path | None) -> list[str]:
    """Paths (below ``folder``, made when missing) or URLs of one Parquet file a chunk."""
    if folder is None:
        return [blobs.url(file) if file else blobs.url(_keep(blobs, reader, i)) for i, file in _sources(blobs, reader)]
    names = [str(folder / part(i)) for i in range(max(1, len(reader.chunks)))]
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".making-"))
        try:
            for i, file in _sources(blobs, reader):
                target = making / part(i)
                if file:
                    target.symlink_to(os.path.relpath(os.path.realpath(blobs.url(file)), os.path.realpath(folder)))
                else:
                    target.write_bytes(memoryview(parquet.write(reader.read(i))))  # type: ignore[arg-type]
            making.chmod(0o755)
            making.rename(folder)
        except OSError:
            shutil.rmtree(making, ignore_errors=True)
            if not folder.is_dir():  # else another process was first
                raise
    return names


def parts(blobs: Blobs, reader: Reader) -> list[dict[str, Any]]:
    """``{path, digest, rows, bytes}`` of one stored Parquet file a chunk, in row order; made where there is none."""
    found = []
    for i, file in _sources(blobs, reader):
        kept = file or _keep(blobs, reader, i)
        found.append({"path": part(i), "digest": kept, "rows": reader.chunks[i].rows, "bytes": blobs.size(kept)})
    return found


def _sources(blobs: Blobs, reader: Reader) -> Iterator[tuple[int, str | None]]:
    """The number of each chunk, and the stored file that is exactly it, if there is one."""
    for i, chunk in enumerate(reader.chunks):
        yield i, _whole(blobs, chunk, reader.schema.names)


def _whole(blobs: Blobs, chunk: Chunk, names: list[str]) -> str | None:
    pieces = [chunk.pieces[n] for n in names]
    if len({p.file for p in pieces}) != 1 or any(p.patches or p.name != n for p, n in zip(pieces, names, strict=True)):
        return None
    with pq.ParquetFile(blobs.reader(pieces[0].file)) as opened:
        there = opened.schema_arrow.names
    return pieces[0].file if there == names else None


def _keep(blobs: Blobs, reader: Reader, number: int) -> str:
    return blobs.put(memoryview(parquet.write(reader.read(number))))  # type: ignore[arg-type]
