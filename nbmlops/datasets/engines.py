"""A stored frame in the library somebody works with, whole or lazily, with the rows that filters leave."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from nbmlops import lazy
from nbmlops.errors import InvalidValue
from nbmlops.frames import arrow, encode
from nbmlops.frames.chunks.reader import Reader

ENGINES = (*arrow.ENGINES, "duckdb", "dask")
Condition: TypeAlias = tuple[Any, str, Any]
Filters: TypeAlias = Sequence[Condition] | Sequence[Sequence[Condition]]
_ROW = "__row__"


@dataclass(frozen=True)
class Wish:
    """What to load of a frame: ``columns`` by label, the rows that ``filters`` leave; ``manifest`` is its dtypes."""

    manifest: dict[str, Any]
    columns: Sequence[Any] | None = None
    filters: Filters | None = None

    def fields(self) -> list[str] | None:
        """The stored fields to read, index levels included; None for all."""
        return arrow.fields_of(self.manifest, self.columns)

    def condition(self) -> tuple[ds.Expression, list[str]] | None:
        """The filters over stored fields, and these fields.

        Raises:
            NotFound: a filter names a column that does not exist.
            InvalidValue: they are no filters.
        """
        if self.filters is None:
            return None
        hint = 'give [("column", ">=", 3), …]; operators are ==, !=, <, <=, >, >=, in, not in'
        try:
            groups = [list(g) for g in self.filters] if isinstance(self.filters[0], list) else [list(self.filters)]
            labels = [label for group in groups for label, _, _ in group]
        except (TypeError, ValueError, IndexError, KeyError) as error:
            raise InvalidValue(f"{self.filters!r} are no filters", hint) from error
        arrow.fields_of(self.manifest, labels)  # names all that do not exist
        field = {label: (arrow.fields_of(self.manifest, [label]) or [""])[0] for label in labels}
        try:
            plain = [[(field[label], operator, value) for label, operator, value in group] for group in groups]
            return pq.filters_to_expression(plain), list(dict.fromkeys(field.values()))
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise InvalidValue(f"the filters cannot be used: {error}", hint) from error


def as_frame(reader: Reader, wish: Wish, as_: str) -> Any:
    """A pandas, polars or Arrow frame."""
    fields, condition = wish.fields(), wish.condition()
    if condition is None:
        return arrow.unpack(reader.table(fields), wish.manifest, as_, wish.columns)
    table, rows = _filtered(reader, fields, condition)
    manifest = wish.manifest
    if as_ == manifest["engine"] == "pandas" and manifest["index"]["kind"] == "range":
        table, manifest = _with_rows(table, rows, manifest)
    return arrow.unpack(table, manifest, as_, wish.columns)


def _filtered(
    reader: Reader, fields: Sequence[str] | None, condition: tuple[ds.Expression, list[str]]
) -> tuple[pa.Table, np.ndarray]:
    expression, needed = condition
    names = reader.schema.names if fields is None else list(fields)
    found, rows = [pa.schema([reader.schema.field(n) for n in names]).empty_table()], [np.zeros(0, np.int64)]
    for number, chunk in enumerate(reader.chunks):
        if not reader.may_hold(number, expression, needed):
            continue
        table = reader.read(number, list(dict.fromkeys([*names, *needed])))
        table = table.append_column(_ROW, pa.array(np.arange(chunk.start, chunk.start + chunk.rows)))
        try:
            table = table.filter(expression)
        except pa.ArrowException as error:
            raise InvalidValue(
                f"the filters do not fit the columns: {error}", "compare with values of the column's type"
            ) from error
        rows.append(table.column(_ROW).to_numpy())
        found.append(table.select(names))
    return pa.concat_tables(found), np.concatenate(rows)


def _with_rows(table: pa.Table, rows: np.ndarray, manifest: dict[str, Any]) -> tuple[pa.Table, dict[str, Any]]:
    """A pandas range index of which only some rows are left, as values."""
    note = manifest["index"]
    start, _, step = note["range"]
    level = {"field": _ROW, "name": note["name"], "dtype": {"kind": "numpy", "name": "int64"}}
    stored = {**manifest, "index": {"kind": "values", "levels": [level]}}
    values = pa.array(rows * step + start)
    schema = encode.schema_from_json(manifest["stored"]).append(pa.field(_ROW, pa.int64()))
    return table.append_column(_ROW, values), {**stored, "stored": encode.schema_to_json(schema)}


def as_duckdb(reader: Reader, wish: Wish, files: Sequence[str]) -> Any:
    """A DuckDB relation: lazily over the plain files, or over the rows that filters leave."""
    duckdb = lazy.need("duckdb", "a DuckDB relation", "data")
    if wish.filters is not None or any("://" in f for f in files):
        return duckdb.from_arrow(as_frame(reader, wish, "arrow"))
    fields = wish.fields()
    relation = duckdb.read_parquet(list(files))
    if fields is None:
        return relation
    return relation.select(*(duckdb.ColumnExpression(f) for f in fields))


def as_dask(reader: Reader, wish: Wish) -> Any:
    """A Dask frame with one partition a chunk, each exactly as pandas has it."""
    dask = lazy.need("dask.dataframe", "a Dask frame", "dask")
    import dask.config as config

    # Else Dask makes text of every object column, also of lists.
    with config.set({"dataframe.convert-string": False}):
        if wish.filters is not None:
            return dask.from_pandas(as_frame(reader, wish, "pandas"), npartitions=1, sort=False)
        part = _Part(reader, wish)
        return dask.from_map(part, range(len(reader.chunks)), meta=part.empty(), enforce_metadata=False)


@dataclass(frozen=True)
class _Part:
    """Reads one chunk as pandas, in any process."""

    reader: Reader
    wish: Wish

    def __call__(self, number: int) -> Any:
        chunk = self.reader.chunks[number]
        return self._unpack(self.reader.read(number, self.wish.fields()), chunk.start)

    def empty(self) -> Any:
        names: Iterable[str] = self.wish.fields() or self.reader.schema.names
        return self._unpack(pa.schema([self.reader.schema.field(n) for n in names]).empty_table(), 0)

    def _unpack(self, table: pa.Table, start: int) -> Any:
        manifest = self.wish.manifest
        if manifest["engine"] == "pandas" and manifest["index"]["kind"] == "range":
            first, _, step = manifest["index"]["range"]
            first += start * step
            window = [first, first + table.num_rows * step, step]
            manifest = {**manifest, "index": {**manifest["index"], "range": window}}
        return arrow.unpack(table, manifest, "pandas", self.wish.columns)
