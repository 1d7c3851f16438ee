"""Rows of a chunked frame: only the columns asked for, verified, with patches applied."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from nbmlops.errors import BlobCorrupt, NbmlopsError, StoreFault
from nbmlops.frames import digest
from nbmlops.frames.chunks import patches
from nbmlops.frames.chunks.layout import Chunk, Layout, Piece

if TYPE_CHECKING:
    from nbmlops.store.blobs import Blobs

WORKERS = min(8, (os.cpu_count() or 2) + 2)  # more than processors: some wait for the disk or the network
_WHOLE = 1 << 20  # bytes below which a file is read whole rather than by column


class Reader:
    """Reads chunks of one frame. ``schema`` has the types that its columns were stored with.

    Whole files are checked against their SHA-256, single columns against the digest of their values. Safe to use from
    several threads.

    Raises, from every method:
        NotFound: a stored file is missing.
        BlobCorrupt: a stored file is not what was written.
    """

    def __init__(self, blobs: Blobs, layout: Layout, schema: pa.Schema) -> None:
        self.layout, self.schema = layout, schema
        self._blobs = blobs
        self._patches: dict[str, pa.Table] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Reader, (self._blobs, self.layout, self.schema)

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        """The chunks in row order."""
        return self.layout.chunks

    def read(self, chunk: int, fields: Sequence[str] | None = None) -> pa.Table:
        """Some or all columns of one chunk."""
        return self._read(self.layout.chunks[chunk], self.schema.names if fields is None else fields)

    def tables(self, fields: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """One table a chunk, in row order; a few are read ahead in parallel."""
        names = self.schema.names if fields is None else list(fields)
        todo = iter(self.layout.chunks)
        with ThreadPoolExecutor(WORKERS) as pool:
            ahead = [pool.submit(self._read, c, names) for c in itertools.islice(todo, WORKERS + 1)]
            while ahead:
                yield ahead.pop(0).result()
                ahead += [pool.submit(self._read, c, names) for c in itertools.islice(todo, 1)]

    def table(self, fields: Sequence[str] | None = None) -> pa.Table:
        """All rows."""
        names = self.schema.names if fields is None else list(fields)
        with ThreadPoolExecutor(WORKERS) as pool:
            found = list(pool.map(lambda c: self._read(c, names), self.layout.chunks))
        return pa.concat_tables(found) if found else self._empty(names)

    def may_hold(self, chunk: int, expression: ds.Expression, fields: Sequence[str]) -> bool:
        """Whether the extremes that Parquet keeps allow rows for which ``expression`` over ``fields`` is true."""
        pieces = [self.layout.chunks[chunk].pieces[f] for f in fields]
        plain = all(not p.patches and p.name == f for p, f in zip(pieces, fields, strict=True))
        if not plain or len({p.file for p in pieces}) != 1:
            return True
        try:
            with self._blobs.reader(pieces[0].file) as source:
                fragment = ds.ParquetFileFormat().make_fragment(
                    pa.PythonFile(source) if hasattr(source, "fs") else source
                )
                return bool(fragment.subset(filter=expression, schema=fragment.physical_schema).row_groups)
        except (pa.ArrowException, OSError):
            return True  # what is wrong is told when the chunk is read

    def values(self, piece: Piece, field: str, *, patched: bool = True) -> pa.ChunkedArray:
        """One column of one chunk; without its patches if ``patched`` is False."""
        column = self._cast(self._columns(piece.file, {piece.name}, False)[piece.name], field)
        for patch in piece.patches if patched else ():
            column = patches.apply(column, self._patch(patch.file).slice(patch.start, patch.rows))
        return column

    def _empty(self, names: Sequence[str]) -> pa.Table:
        return pa.schema([self.schema.field(n) for n in names]).empty_table()

    def _read(self, chunk: Chunk, names: Sequence[str]) -> pa.Table:
        by_file: dict[str, set[str]] = {}
        for name in names:
            by_file.setdefault(chunk.pieces[name].file, set()).add(chunk.pieces[name].name)
        there = {f: len({p.name for p in chunk.pieces.values() if p.file == f}) for f in by_file}
        whole = {f: len(wanted) == there[f] for f, wanted in by_file.items()}
        found = {f: self._columns(f, wanted, whole[f], chunk.rows) for f, wanted in by_file.items()}
        columns = []
        for name in names:
            piece = chunk.pieces[name]
            column = self._cast(found[piece.file][piece.name], name)
            for patch in piece.patches:
                column = patches.apply(column, self._patch(patch.file).slice(patch.start, patch.rows))
            if not whole[piece.file]:
                self._check(piece, column)
            if len(column) != chunk.rows:
                raise _torn(piece.file)
            columns.append(column)
        schema = pa.schema([self.schema.field(n) for n in names])
        if not columns:
            return pa.table({"": pa.nulls(chunk.rows)}).select([])
        return pa.Table.from_arrays(columns, schema=schema)

    def _cast(self, column: pa.ChunkedArray, field: str) -> pa.ChunkedArray:
        kind = self.schema.field(field).type
        return column if column.type == kind else column.cast(kind)

    def _check(self, piece: Piece, column: pa.ChunkedArray) -> None:
        if piece.digest and digest.column_digest(column) != piece.digest:
            self._blobs.get(piece.file)  # says so where the file itself is to blame
            raise _torn(piece.file)

    def _columns(
        self, file: str, wanted: set[str], whole: bool, rows: int | None = None
    ) -> Mapping[str, pa.ChunkedArray]:
        """Columns of a file, which has so many ``rows``: looked at first, for a few bytes may promise gigabytes."""
        try:
            if whole or self._blobs.size(file) <= _WHOLE:
                source: Any = pa.BufferReader(self._blobs.get(file))
            else:
                source = self._blobs.reader(file)
            # Files of the oldest format have page checksums, and no digest of each column.
            with pq.ParquetFile(source, page_checksum_verification=True) as opened:
                if rows is not None and opened.metadata.num_rows != rows:
                    raise _torn(file)
                # A name with a dot also selects fields of structs, so what came is picked by its exact name.
                table = opened.read(columns=None if whole else sorted(wanted), use_threads=False)
                return {n: table.column(n) for n in wanted}
        except NbmlopsError:
            raise
        except (pa.ArrowException, OSError, KeyError) as error:
            self._blobs.get(file)  # raises BlobCorrupt when the content is to blame
            raise StoreFault(f"{self._blobs.url(file)} cannot be read: {error}", "run `nbmlops doctor`") from error

    def _patch(self, file: str) -> pa.Table:
        with self._lock:
            if file not in self._patches:
                with pq.ParquetFile(pa.BufferReader(self._blobs.get(file))) as opened:
                    self._patches[file] = opened.read(use_threads=False)
            return self._patches[file]


def _torn(file: str) -> BlobCorrupt:
    return BlobCorrupt(
        f"the values in the stored object {file[:19]}… are not those of this version",
        "restore the store from a backup, or take the snapshot again",
    )
