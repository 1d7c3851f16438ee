"""Writing a frame: what the earlier version holds already is not written again.

Rows may come as one table or as a stream of tables larger than memory. Blobs are written first and in parallel; the
caller writes the row that makes the version exist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from nbmlops.frames import digest, parquet
from nbmlops.frames.chunks import cuts, patches
from nbmlops.frames.chunks.layout import SHORT, Chunk, Layout, Patch, Piece, row_bytes
from nbmlops.frames.chunks.reader import WORKERS, Reader

if TYPE_CHECKING:
    from nbmlops.store.blobs import Blobs

FILES = 12  # files that one chunk may be spread over; beyond, it is written anew in one
_STRETCH = 4  # chunks of the greatest size that are looked at together in a stream


@dataclass
class _Written:
    """What became of one chunk: its pieces, the files written for it, and changes still to be written as patches."""

    chunk: Chunk
    sizes: dict[str, int]
    changes: dict[str, tuple[np.ndarray, pa.ChunkedArray]]


class Writer:
    """Writes one version. ``before`` is the version to share with, ``blocks`` the table's block digests if known.

    Use: ``add`` tables with the schema given, then ``finish`` once.
    """

    def __init__(
        self,
        blobs: Blobs,
        schema: pa.Schema,
        before: Reader | None = None,
        blocks: Mapping[str, Sequence[bytes]] | None = None,
    ) -> None:
        self._blobs, self._schema, self._before = blobs, schema, before
        self._blocks: dict[str, list[bytes]] = {n: list((blocks or {}).get(n, ())) for n in schema.names}
        self._hashed = blocks is not None
        self._waiting: list[pa.Table] = []
        self._unhashed: list[pa.Table] = []  # rows after the last complete block: chunks may end before it does
        self._row, self._cut = 0, 0 if before is not None else None
        self._limits: cuts.Limits | None = before.layout.limits if before is not None else None
        self._end: int | None = None  # the number of rows, once it is known
        self._columns: list[str] = []
        self._written: list[_Written] = []
        self._prints: dict[str, list[int]] = {}
        self._options: dict[str, parquet.Options] = {}
        if before is not None:  # what suited the earlier version still does, and finding out takes time
            same = (
                n
                for n in schema.names
                if n in before.schema.names and schema.field(n).type == before.schema.field(n).type
            )
            self._options = {n: before.layout.options[n] for n in same if n in before.layout.options}

    def add(self, table: pa.Table) -> None:
        """Take more rows; those of a full stretch are written."""
        self._waiting.append(table)
        if not self._hashed:
            self._unhashed.append(table)
        if self._limits is None:
            self._limits = cuts.Limits.of(row_bytes(table))
        if sum(t.num_rows for t in self._waiting) >= 2 * _STRETCH * self._limits.most:
            self._flush(last=False)

    def finish(self) -> tuple[Layout, list[str]]:
        """Write what is left; returns where everything is, and the digest of each column."""
        self._flush(last=True)
        sizes: dict[str, int] = {}
        chunks = self._with_patches(sizes)
        for piece in (p for c in chunks for p in c.pieces.values()):
            for file in (piece.file, *(q.file for q in piece.patches)):
                sizes.setdefault(file, self._size(file))
        short = {c: [b[:SHORT] for b in found] for c, found in self._blocks.items()}
        layout = Layout(tuple(chunks), sizes, self._limits, self._options, self._prints, short)
        columns = [digest.of_blocks(f.type, self._row, self._blocks[f.name]) for f in self._schema]
        return layout, columns

    def _size(self, file: str) -> int:
        known = self._before.layout.sizes.get(file) if self._before is not None else None
        return known if known is not None else self._blobs.size(file)

    # --- one stretch --------------------------------------------------------------------------------------------
    def _flush(self, *, last: bool) -> None:
        table = pa.concat_tables(self._waiting) if self._waiting else self._schema.empty_table()
        if self._limits is None:
            self._limits = cuts.Limits.of(row_bytes(table))
        if not self._columns:
            self._columns = self._telling(table)
            self._prints = {c: [] for c in self._columns}
        if not self._hashed:
            self._count_blocks(last)
        self._end = self._row + table.num_rows if last else None
        place = cuts.Place(self._row, self._cut, last, self._short())
        before = self._before.layout.before if self._before is not None else None
        spans = cuts.plan(table, self._columns, self._limits, before, place)
        spans = spans if last else spans[:-1]
        self._fingerprints(table, spans)
        self._write(table, spans)
        self._cut = None
        if spans:
            end = spans[-1]
            self._cut = end.same + 1 if end.same is not None else None
            self._waiting = [table.slice(end.stop - self._row)] if end.stop < self._row + table.num_rows else []
            self._row = end.stop

    def _short(self) -> dict[str, list[bytes]]:
        return {c: [b[:SHORT] for b in self._blocks[c]] for c in self._columns}

    def _telling(self, table: pa.Table) -> list[str]:
        """The boundary columns of the earlier version that are still there, then others up to three."""
        wanted = cuts.boundary_columns(table)
        if self._before is None:
            return wanted
        mine, old = self._schema, self._before
        kept = [c for c in old.layout.prints if c in mine.names and mine.field(c).type == old.schema.field(c).type]
        return [*kept, *(c for c in wanted if c not in kept)][: cuts.COLUMNS]

    def _count_blocks(self, last: bool) -> None:
        """Digests of the blocks that are complete by now; a stretch may begin and end inside one."""
        there = sum(t.num_rows for t in self._unhashed)
        whole = there if last else there - there % digest.BLOCK
        if whole:
            table = pa.concat_tables(self._unhashed)
            part = table.slice(0, whole)
            with ThreadPoolExecutor(WORKERS) as pool:
                for name, found in zip(part.column_names, pool.map(digest.blocks, part.columns), strict=True):
                    self._blocks[name] += found
            self._unhashed = [table.slice(whole)] if there > whole else []

    def _fingerprints(self, table: pa.Table, spans: Sequence[cuts.Span]) -> None:
        for column, found in self._prints.items():
            values = table.column(column)
            found += [cuts.fingerprint(values, span.stop - self._row) for span in spans]

    def _write(self, table: pa.Table, spans: Sequence[cuts.Span]) -> None:
        with ThreadPoolExecutor(WORKERS) as pool:
            futures: list[Future[_Written]] = []
            for span in spans:
                part = table.slice(span.start - self._row, span.stop - span.start)
                futures.append(pool.submit(self._chunk, part, span))
            self._written += [f.result() for f in futures]

    # --- one chunk ----------------------------------------------------------------------------------------------
    def _chunk(self, part: pa.Table, span: cuts.Span) -> _Written:
        pieces: dict[str, Piece] = {}
        fresh: dict[str, str] = {}
        for name in part.column_names:
            piece, found = self._known(part.column(name), name, span)
            if piece is not None:
                pieces[name] = piece
            else:
                fresh[name] = found
        changes = self._changes(part, span, fresh, pieces)
        written = {n: d for n, d in fresh.items() if n not in pieces}
        if written and len({p.file for p in pieces.values()}) >= FILES:
            changes, written = {}, {n: fresh.get(n) or pieces[n].digest for n in part.column_names}
        sizes = {}
        if written:
            file, size = self._file(part.select(list(written)))
            sizes[file] = size
            pieces.update({n: Piece(d, file, n) for n, d in written.items()})
        ordered = {n: pieces[n] for n in part.column_names}
        return _Written(Chunk(span.start, part.num_rows, ordered), sizes, changes)

    def _known(self, column: pa.ChunkedArray, name: str, span: cuts.Span) -> tuple[Piece | None, str]:
        """The piece that holds these values already, and their digest."""
        if self._before is not None and span.same is not None:
            old = self._before.layout.chunks[span.same]
            if old.start == span.start and name in old.pieces and self._unchanged(name, span):
                return old.pieces[name], old.pieces[name].digest
        found = self._digest(column, name, span)
        return (self._before.layout.known.get(found) if self._before is not None else None), found

    def _digest(self, column: pa.ChunkedArray, name: str, span: cuts.Span) -> str:
        """The digest of a piece; of one that begins and ends with blocks, from theirs, without hashing it again."""
        first, last = span.start // digest.BLOCK, -(-span.stop // digest.BLOCK)
        ends = span.stop % digest.BLOCK == 0 or (last == len(self._blocks[name]) and span.stop == self._end)
        if span.start % digest.BLOCK == 0 and ends and last <= len(self._blocks[name]):
            return digest.of_blocks(column.type, len(column), self._blocks[name][first:last])
        return digest.column_digest(column)

    def _unchanged(self, name: str, span: cuts.Span) -> bool:
        """Whether every block that the span touches is as it was, at the same rows and with the same type."""
        assert self._before is not None  # noqa: S101
        old, new = self._before.layout.blocks.get(name, ()), self._blocks[name]
        first, last = span.start // digest.BLOCK, -(-span.stop // digest.BLOCK)
        if (
            not (last <= len(old) and last <= len(new))
            or self._schema.field(name).type != self._before.schema.field(name).type
        ):
            return False
        return all(old[i] == new[i][:SHORT] for i in range(first, last))

    def _changes(
        self, part: pa.Table, span: cuts.Span, fresh: Mapping[str, str], pieces: dict[str, Piece]
    ) -> dict[str, tuple[np.ndarray, pa.ChunkedArray]]:
        """Columns that differ in few rows from the earlier version's chunk; their pieces lack the patch itself."""
        found: dict[str, tuple[np.ndarray, pa.ChunkedArray]] = {}
        if self._before is None or span.same is None:
            return found
        old = self._before.layout.chunks[span.same]
        for name, new_digest in fresh.items():
            piece = old.pieces.get(name)
            if piece is None or self._before.schema.field(name).type != self._schema.field(name).type:
                continue
            column = part.column(name)
            if len(piece.patches) >= patches.LONGEST:
                piece = replace(piece, patches=())  # all of them become one
            rows = patches.changed(self._before.values(piece, name), column)
            if rows is not None and len(rows) and part.num_rows >= patches.ROWS:
                found[name] = rows, column.take(pa.array(rows))
                pieces[name] = replace(piece, digest=new_digest)
        return found

    def _file(self, part: pa.Table) -> tuple[str, int]:
        data = parquet.write(part, parquet.merged({f.name: self._option(part, f) for f in part.schema}))
        return self._blobs.put(memoryview(data)), data.size  # type: ignore[arg-type]

    def _option(self, part: pa.Table, field: pa.Field) -> parquet.Options:
        if field.name not in self._options:
            self._options[field.name] = parquet.option(part.column(field.name))
        return self._options[field.name]

    # --- patches ------------------------------------------------------------------------------------------------
    def _with_patches(self, sizes: dict[str, int]) -> list[Chunk]:
        """The chunks with their patches, of which each column gets one file for the whole version."""
        chunks = []
        for done in self._written:
            sizes.update(done.sizes)
        added: dict[tuple[int, str], Patch] = {}
        for name in self._schema.names:
            places = [i for i, done in enumerate(self._written) if name in done.changes]
            if not places:
                continue
            parts = [patches.table(*self._written[i].changes[name]) for i in places]
            data = parquet.write(pa.concat_tables(parts))
            file = self._blobs.put(memoryview(data))  # type: ignore[arg-type]
            sizes[file] = data.size
            start = 0
            for i, part in zip(places, parts, strict=True):
                added[i, name] = Patch(file, start, part.num_rows)
                start += part.num_rows
        for i, done in enumerate(self._written):
            pieces = {
                n: replace(p, patches=(*p.patches, added[i, n])) if (i, n) in added else p
                for n, p in done.chunk.pieces.items()
            }
            chunks.append(replace(done.chunk, pieces=pieces))
        return chunks
