"""Tables that are read piece by piece: large Parquet and CSV files, Arrow readers and data sets.

Each piece is packed by itself; the manifests of all pieces must say the same, except for the entries of dictionaries,
which are collected.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.dataset
import pyarrow.parquet as pq

from nbmlops.errors import InvalidValue
from nbmlops.frames import arrow, digest, encode, files

LARGE = 256 << 20  # bytes in memory above which a file is read piece by piece
_ROWS = 1 << 17
_BATCHES = 1  # read ahead: each costs its bytes in memory
_COLLECTED = ("given", "layout")


class Stream:
    """Packed pieces of one table. ``manifest`` and ``schema`` are complete when all pieces were taken.

    Raises while iterated:
        InvalidValue: a piece cannot be kept exactly or does not fit the others, or the file cannot be read.
    """

    def __init__(self, batches: Iterator[pa.RecordBatch], schema: pa.Schema, source: str) -> None:
        self._batches = batches
        self._source = source
        first = arrow.pack(schema.empty_table())
        self.schema: pa.Schema = first.table.schema
        self.manifest: dict[str, Any] = first.manifest
        self._meaning = digest.meaning(self.manifest)
        self.rows = 0
        self._given = schema

    def __iter__(self) -> Iterator[pa.Table]:
        for batch in self._read():
            if not batch.num_rows:
                continue
            piece = pa.Table.from_batches([batch]).cast(self._given) if batch.schema != self._given else batch
            packed = arrow.pack(piece)
            if not self.rows:
                arrow.check_round_trip(piece, packed)
            self._add(packed)
            self.rows += packed.table.num_rows
            yield packed.table

    def _read(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._batches
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            hint = (
                "check that it is the kind of file its name says, and that every row fits the types of the first ones"
            )
            raise InvalidValue(f"{self._source} cannot be read: {error}", hint) from error

    def _add(self, packed: arrow.Packed) -> None:
        if not self.rows:
            self._meaning = digest.meaning(packed.manifest)
            self.manifest = packed.manifest
            return
        if packed.table.schema != self.schema or digest.meaning(packed.manifest) != self._meaning:
            raise InvalidValue(
                f"rows of {self._source} from {self.rows} on have other types or ordered categories than those before",
                "read it into one frame first, and give that",
            )
        for mine, other in zip(self.manifest["columns"], packed.manifest["columns"], strict=True):
            for key in _COLLECTED:
                mine["dtype"][key] = _merged(mine["dtype"].get(key), other["dtype"].get(key))
                if mine["dtype"][key] is None and key not in other["dtype"]:
                    del mine["dtype"][key]


def _merged(mine: Any, other: Any) -> Any:
    """The entries of two dictionaries, in the order they were met; of nested ones, by path."""
    if not isinstance(mine, dict) or not isinstance(other, dict):
        return None
    if "arrow" not in mine:
        return {path: _merged(mine[path], other[path]) for path in mine if path in other}
    entries = [encode.array_from_json(e) for e in (mine, other)]
    if entries[0].equals(entries[1]):
        return mine
    both = pa.chunked_array(entries)
    if pa.types.is_nested(both.type):
        return None  # they come back as their values, in a dictionary of their own
    return encode.array_to_json(pc.unique(both))


def of(data: Any) -> Stream | None:
    """A stream of what is too large, or not meant, to be read whole; None for everything else."""
    if isinstance(data, pa.RecordBatchReader):
        return Stream(iter(data), data.schema, "the reader")
    if isinstance(data, pyarrow.dataset.Dataset):
        batches = data.to_batches(batch_size=_ROWS, batch_readahead=_BATCHES, fragment_readahead=1)
        return Stream(batches, data.schema, "the Arrow data set")
    return None


def of_file(path: Path) -> Stream | None:
    """A stream of a Parquet or CSV file that is large in memory; None for a small one."""
    name = path.name.lower()
    try:
        if name.endswith(files.PARQUET):
            opened = pq.ParquetFile(path, memory_map=False, pre_buffer=False)
            groups = opened.metadata
            if sum(groups.row_group(i).total_byte_size for i in range(groups.num_row_groups)) < LARGE:
                return None
            return Stream(opened.iter_batches(_ROWS, use_threads=False), opened.schema_arrow, str(path))
        if name.endswith(".csv") and os.path.getsize(path) >= LARGE:
            reader = pyarrow.csv.open_csv(path)
            return Stream(iter(reader), reader.schema, str(path))
    except (pa.ArrowException, OSError):
        return None  # reading it whole says what is wrong
    return None
