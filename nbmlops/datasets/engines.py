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
_BY_VALUE = ("!=", "in", "not in")


@dataclass(frozen=True)
class Where:
    """Filters as an expression over stored ``fields``. ``prunes``: extremes tell which chunks cannot hold such rows.

    Of floats they do not tell of NaN, which differs from every value, nor which zero it is.
    """

    expression: ds.Expression
    fields: list[str]
    prunes: bool


@dataclass(frozen=True)
class Wish:
    """What to load of a frame: ``columns`` by label, the rows that ``filters`` leave; ``manifest`` is its dtypes."""

    manifest: dict[str, Any]
    columns: Sequence[Any] | None = None
    filters: Filters | None = None

    def fields(self) -> list[str] | None:
        """The stored fields to read, index levels included; None for all."""
        return arrow.fields_of(self.manifest, self.columns)

    def condition(self) -> Where | None:
        """The filters over stored fields.

        Raises:
            NotFound: a filter names a column that does not exist.
            InvalidValue: they are no filters.
        """
        if self.filters is None:
            return None
        hint = 'give [("column", ">=", 3), …]; operators are ==, !=, <, <=, >, >=, in, not in'
        try:
            groups = [list(g) for g in self.filters] if isinstance(self.filters[0], list) else [list(self.filters)]
            labels = list(dict.fromkeys(label for group in groups for label, _, _ in group))
        except (TypeError, ValueError, IndexError, KeyError) as error:
            raise InvalidValue(f"{self.filters!r} are no filters", hint) from error
        arrow.fields_of(self.manifest, labels)  # names all that do not exist
        field = {label: (arrow.fields_of(self.manifest, [label]) or [""])[0] for label in labels}
        schema = encode.schema_from_json(self.manifest["stored"])
        try:
            plain = [
                [
                    (field[label], operator, _in_zone(value, schema.field(field[label]).type))
                    for label, operator, value in g
                ]
                for g in groups
            ]
            expression = pq.filters_to_expression(plain)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise InvalidValue(f"the filters cannot be used: {error}", hint) from error
        by_value = (schema.field(name).type for group in plain for name, operator, _ in group if operator in _BY_VALUE)
        return Where(expression, list(dict.fromkeys(field.values())), not any(map(pa.types.is_floating, by_value)))


def _in_zone(value: Any, kind: pa.DataType) -> Any:
    """A time with an offset in the time zone of the column: Arrow compares only times of one zone."""
    if not pa.types.is_timestamp(kind) or kind.tz is None:
        return value
    if isinstance(value, list | tuple | set) and value and all(getattr(v, "tzinfo", None) is not None for v in value):
        there = pa.array(list(value))
    elif getattr(value, "tzinfo", None) is not None:
        there = pa.scalar(value)
    else:
        return value
    return there.cast(pa.timestamp(there.type.unit, kind.tz))


def as_frame(reader: Reader, wish: Wish, as_: str, chunks: Sequence[int] | None = None) -> Any:
    """A pandas, polars or Arrow frame; of filtered rows, with ``chunks`` of those in them."""
    fields, where = wish.fields(), wish.condition()
    if where is None:
        return arrow.unpack(reader.table(fields), wish.manifest, as_, wish.columns)
    names = reader.schema.names if fields is None else fields
    table, rows = _filtered(reader, names, where, _held(reader, where) if chunks is None else chunks)
    manifest = wish.manifest
    if as_ == manifest["engine"] == "pandas" and manifest["index"]["kind"] == "range":
        table, manifest = _with_rows(table, rows, manifest)
    return arrow.unpack(table, manifest, as_, wish.columns)


def _held(reader: Reader, where: Where) -> list[int]:
    """The chunks that may hold rows that the filters leave."""
    every = range(len(reader.chunks))
    return [i for i in every if not where.prunes or reader.may_hold(i, where.expression, where.fields)]


def _filtered(reader: Reader, names: Sequence[str], where: Where, chunks: Iterable[int]) -> tuple[pa.Table, np.ndarray]:
    """The rows that are left, and where each stands in the whole frame."""
    wanted, row = list(dict.fromkeys([*names, *where.fields])), _free(reader.schema.names)

    def left(table: pa.Table, start: int) -> pa.Table:
        table = table.append_column(row, pa.array(np.arange(start, start + table.num_rows)))
        try:
            return table.filter(where.expression)
        except pa.ArrowException as error:
            raise InvalidValue(
                f"the filters do not fit the columns: {error}", "compare with values of the column's type"
            ) from error

    # The empty one tells whether the filters fit, whatever is read.
    tables = [left(pa.schema([reader.schema.field(n) for n in wanted]).empty_table(), 0)]
    tables += [left(reader.read(i, wanted), reader.chunks[i].start) for i in chunks]
    found = pa.concat_tables(tables)
    return found.select(names), found.column(row).to_numpy()


def _free(names: Sequence[str]) -> str:
    """A name for the column of row numbers that no other column has."""
    return "_" * (1 + max(map(len, names), default=0)) + "row"


def _with_rows(table: pa.Table, rows: np.ndarray, manifest: dict[str, Any]) -> tuple[pa.Table, dict[str, Any]]:
    """A pandas range index of which only some rows are left, as values."""
    note = manifest["index"]
    start, _, step = note["range"]
    schema = encode.schema_from_json(manifest["stored"])
    field = _free(schema.names)
    level = {"field": field, "name": note["name"], "dtype": {"kind": "numpy", "name": "int64"}}
    stored = {**manifest, "index": {"kind": "values", "levels": [level]}}
    values = pa.array(rows * step + start)
    schema = schema.append(pa.field(field, pa.int64()))
    return table.append_column(field, values), {**stored, "stored": encode.schema_to_json(schema)}


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
    """A Dask frame with one partition a chunk that may hold rows, each exactly as pandas has it."""
    dask = lazy.need("dask.dataframe", "a Dask frame", "dask")
    import dask.config as config

    part = _Part(reader, wish)
    where = wish.condition()
    chunks: list[int | None] = [*(range(len(reader.chunks)) if where is None else _held(reader, where))]
    # Else Dask makes text of every object column, also of lists, in a type of its own.
    with config.set({"dataframe.convert-string": False}):
        return dask.from_map(part, chunks or [None], meta=part.empty(), enforce_metadata=False)


@dataclass(frozen=True)
class _Part:
    """Reads one chunk as pandas, in any process; no chunk is an empty frame."""

    reader: Reader
    wish: Wish

    def __call__(self, number: int | None) -> Any:
        if number is None:
            return self.empty()
        if self.wish.filters is not None:
            return as_frame(self.reader, self.wish, "pandas", [number])
        chunk = self.reader.chunks[number]
        return self._unpack(self.reader.read(number, self.wish.fields()), chunk.start)

    def empty(self) -> Any:
        if self.wish.filters is not None:
            return as_frame(self.reader, self.wish, "pandas", [])
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
