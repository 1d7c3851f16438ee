"""Any frame to a table of plain Arrow columns plus a dtype manifest, and back to exactly the frame it was.

The table is what Parquet holds: plain values every engine reads. The manifest is JSON: it names the library the frame
came from (``engine``) and what Parquet cannot say. Libraries are recognised without being imported.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from nbmlops import lazy
from nbmlops.errors import InvalidValue, NotFound
from nbmlops.frames import coarse, digest, encode, layouts, restored

if TYPE_CHECKING:
    import pandas as pd

ENGINES = ("pandas", "polars", "arrow")
_HEAD = 64
_DICTIONARY = 100_000  # entries of an unordered Arrow dictionary that are worth keeping in the manifest


@dataclass(frozen=True)
class Packed:
    """A frame as plain Arrow columns, and the manifest that brings it back."""

    table: pa.Table
    manifest: dict[str, Any]

    @property
    def rows(self) -> int:
        """The number of rows, also of a frame that is only an index."""
        index = self.manifest.get("index", {})
        return len(range(*index["range"])) if "range" in index else self.table.num_rows

    def schema(self) -> list[dict[str, Any]]:
        """Per column name, Arrow type and nullability, index levels included: what records and catalogues show."""
        return [{"name": f.name, "type": str(f.type), "nullable": f.nullable} for f in self.table.schema]

    def categorical(self) -> set[str]:
        """The fields whose values are categories, whatever their type."""
        return {n["field"] for n in self.manifest["columns"] if _is_categorical(n["dtype"])}


def is_frame(data: object) -> bool:
    """Whether :func:`pack` knows what to do with an object."""
    return (
        lazy.is_instance(data, "pandas", "DataFrame")
        or lazy.is_instance(data, "polars", "DataFrame", "LazyFrame")
        or isinstance(data, pa.Table | pa.RecordBatch | pa.RecordBatchReader | dict)
        or (isinstance(data, list) and bool(data) and all(isinstance(r, dict) for r in data))
        or (hasattr(data, "__arrow_c_stream__") and not _is_series(data))
    )


def pack(data: Any) -> Packed:
    """A frame, a dict of columns or a list of records as plain Arrow columns and a manifest.

    Raises:
        InvalidValue: not a frame, or columns that cannot be kept exactly; all of them are named.
    """
    if lazy.is_instance(data, "pandas", "DataFrame"):
        from nbmlops.frames import pandas_frames

        table, manifest = pandas_frames.pack(data)
    elif lazy.is_instance(data, "polars", "DataFrame", "LazyFrame"):
        from nbmlops.frames import polars_frames

        table, manifest = polars_frames.pack(data)
    else:
        table, manifest = _pack_arrow(_table(data))
    table, numbers = coarse.as_numbers(table)
    if numbers:
        kinds = {f.name: digest.logical_type(f.type) for f in numbers}
        manifest["numbers"] = {"types": kinds, "given": encode.schema_to_json(numbers)}
    manifest["stored"] = encode.schema_to_json(table.schema)
    return Packed(table, manifest)


def unpack(table: pa.Table, manifest: dict[str, Any], as_: str, columns: Sequence[Hashable] | None = None) -> Any:
    """The frame as pandas, polars or Arrow; in the library it came from, exactly as it was.

    Args:
        table: the stored columns, at least those that :func:`fields_of` names.
        manifest: what :func:`pack` made.
        as_: one of ``ENGINES``.
        columns: labels, in the order wanted; all by default.
    """
    table = stored_types(table, manifest)
    engine = manifest["engine"]
    if engine == as_ == "pandas":
        from nbmlops.frames import pandas_frames

        return pandas_frames.unpack(table, manifest, columns)
    if engine == as_ == "polars":
        from nbmlops.frames import polars_frames

        return polars_frames.unpack(table, manifest, columns)  # type: ignore[arg-type]
    arrow = _unpack_arrow(table, manifest, columns)
    if as_ == "pandas":
        return _to_pandas(arrow)
    if as_ == "polars":
        lazy.need("polars", "a polars frame", "test")
        from nbmlops.frames import polars_frames

        return polars_frames.from_table(arrow)
    return arrow


def fields_of(manifest: dict[str, Any], columns: Sequence[Hashable] | None) -> list[str] | None:
    """The stored fields that these columns need, index levels included; None for all.

    Raises:
        NotFound: columns that do not exist; all of them are named.
    """
    if columns is None:
        return None
    names = [n["field"] for n in manifest["columns"]]
    if manifest["engine"] == "pandas":
        from nbmlops.frames import pandas_frames

        fields, unknown = pandas_frames.fields_of(manifest, columns)
    else:
        fields, unknown = [str(c) for c in columns if c in names], [c for c in columns if c not in names]
    if len(unknown) == 1:
        raise NotFound.of("column", str(unknown[0]), names)
    if unknown:
        shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
        raise NotFound(f"no columns {', '.join(repr(c) for c in unknown)}", f"there are: {shown}")
    return fields


def stored_types(table: pa.Table, manifest: dict[str, Any]) -> pa.Table:
    """The columns with the types they were packed with: Parquet widens some (seconds, dates in ms, list items)."""
    stored = encode.schema_from_json(manifest["stored"])
    wanted = pa.schema([stored.field(n) for n in table.column_names])
    table = table.replace_schema_metadata(None)
    if not table.schema.equals(wanted):
        # Only what differs: Arrow 26 spoils fixed-size lists of nulls when it casts them to the type they have.
        pairs = zip(table.columns, wanted, strict=True)
        table = pa.table([c if c.type.equals(f.type) else c.cast(f.type) for c, f in pairs], schema=wanted)
    if "numbers" in manifest:
        table = coarse.from_numbers(table, encode.schema_from_json(manifest["numbers"]["given"]))
    return table


def check_round_trip(data: Any, packed: Packed) -> None:
    """Write and read the first rows, and compare what comes back with what was given.

    Raises:
        InvalidValue: a dtype, label or value would not come back as it was.
    """
    from nbmlops.frames import parquet

    engine = packed.manifest["engine"]
    head = _head(data, packed)
    again = pack(head)
    try:
        back = unpack(parquet.read(pa.BufferReader(parquet.write(again.table))), again.manifest, engine)
    except pa.ArrowException as error:
        raise InvalidValue(f"the frame cannot be stored: {error}", "cast the columns of this type first") from error
    if engine == "pandas":
        from nbmlops.frames import pandas_frames

        pandas_frames.check(head, back)
    elif engine == "polars":
        from nbmlops.frames import polars_frames

        polars_frames.check(head, back)
    elif digest.table_digest(pack(back).table)[0] != digest.table_digest(again.table)[0] or back.schema != head.schema:
        changed = [
            f"{a.name}: {a.type} becomes {b.type}" for a, b in zip(head.schema, back.schema, strict=True) if a != b
        ]
        raise InvalidValue(f"the table would not come back as it is: {'; '.join(changed)}", "cast these columns first")


def _head(data: Any, packed: Packed) -> Any:
    if packed.manifest["engine"] == "pandas":
        return data.iloc[:_HEAD]
    if packed.manifest["engine"] == "polars":
        return data.head(_HEAD) if lazy.is_instance(data, "polars", "DataFrame") else data.head(_HEAD).collect()
    return _unpack_arrow(packed.table, packed.manifest, None).slice(0, _HEAD)


# --- Arrow tables, dicts and records ----------------------------------------------------------------------------
def _is_series(data: object) -> bool:
    return lazy.is_instance(data, "pandas", "Series") or lazy.is_instance(data, "polars", "Series")


def _table(data: Any) -> pa.Table:
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatchReader):
        return data.read_all()
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if isinstance(data, Mapping):
        return _from_columns(data)
    if isinstance(data, list) and data and all(isinstance(r, Mapping) for r in data):
        names = dict.fromkeys(k for record in data for k in record)
        return _from_columns({n: [record.get(n) for record in data] for n in names})
    if _is_series(data):
        raise InvalidValue("a single column is not a frame", "use .to_frame()")
    if hasattr(data, "__arrow_c_stream__"):
        return pa.table(data)
    hint = (
        "give a pandas, polars or Arrow frame, a dict of columns, a list of records, a CSV or Parquet file, or a folder"
    )
    raise InvalidValue(f"a {type(data).__module__}.{type(data).__name__} is not a frame", hint)


def _from_columns(data: Mapping[Any, Any]) -> pa.Table:
    arrays, faults = {}, []
    for name, values in data.items():
        if str(name) in arrays or not digest.is_valid_text(str(name)):
            faults.append(f"column name {name!a} is there twice as text, or is not valid text")
            continue
        try:
            arrays[str(name)] = values if isinstance(values, pa.ChunkedArray | pa.Array) else pa.array(values)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            faults.append(f"column {name!r}: {error}")
    if lengths := {n: len(a) for n, a in arrays.items() if len(a) != len(next(iter(arrays.values())))}:
        faults.append(f"columns differ in length: {lengths} and {len(next(iter(arrays.values())))}")
    if faults:
        raise InvalidValue.of(
            "the columns cannot be kept", faults, "make each column a list of one kind of value, all of one length"
        )
    return pa.table(arrays)


def _pack_arrow(given: pa.Table) -> tuple[pa.Table, dict[str, Any]]:
    names = given.column_names
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise InvalidValue(f"column names appear more than once: {', '.join(map(repr, twice))}", "rename them")
    columns, notes, faults = [], [], []
    for field, column in zip(given.schema, given.columns, strict=True):
        try:
            columns.append(encode.plain(column))
            notes.append({"field": field.name, "dtype": _describe(field, column)})
            if not field.nullable and column.null_count:
                faults.append(f"column {field.name!r} is declared without nulls and has {column.null_count}")
            elif columns[-1].type != column.type:
                _check_restored(column, columns[-1], notes[-1]["dtype"])
            kept = encode.schema_from_json(encode.schema_to_json(pa.schema([field]))).field(0)
            if not kept.equals(field, check_metadata=True):
                faults.append(f"column {field.name!r}: Arrow cannot write its type {column.type}")
        except (pa.ArrowException, TypeError, ValueError) as error:
            faults.append(f"column {field.name!r} of type {column.type}: {error}")
    if faults:
        raise InvalidValue.of("the table cannot be kept exactly", faults, "cast these columns to other types first")
    manifest: dict[str, Any] = {"engine": "arrow", "columns": notes, "given": encode.schema_to_json(given.schema)}
    if meaning := _pandas_metadata(given.schema):
        manifest["pandas"] = meaning
    fields = [
        pa.field(f.name, c.type, f.nullable or pa.types.is_null(c.type))
        for f, c in zip(given.schema, columns, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields)), manifest


def _check_restored(given: pa.ChunkedArray, stored: pa.ChunkedArray, note: dict[str, Any]) -> None:
    """Every value of a column that is stored as another type, not only the first ones, must come back."""
    if pa.types.is_dictionary(given.type) and not pa.types.is_nested(given.type.value_type) and note.get("given"):
        return  # entries and codes, known to come back
    back = _as_given(stored, note, given.type)
    again = encode.plain(back)
    if back.type != given.type or digest.column_digest(again) != digest.column_digest(stored):
        raise TypeError("its values would not come back as they are")


def _pandas_metadata(schema: pa.Schema) -> dict[str, Any] | None:
    """What pandas once wrote beside the columns, without the versions of the libraries that wrote it."""
    raw = (schema.metadata or {}).get(b"pandas")
    return {k: v for k, v in json.loads(raw).items() if k not in {"creator", "pandas_version"}} if raw else None


def _describe(field: pa.Field, column: pa.ChunkedArray) -> dict[str, Any]:
    """Of dictionaries their entries; the digest counts them only if their order has a meaning."""
    note: dict[str, Any] = {"kind": "arrow"}
    if exact := layouts.meaning(field.with_type(column.type)):
        note["exact"] = exact
    found = restored.entries(column)
    if pa.types.is_dictionary(column.type):
        entries = found[""]
        if column.type.ordered:
            return {**note, "kind": "dictionary", "ordered": True, "categories": encode.array_to_json(entries)}
        return {**note, "given": encode.array_to_json(entries) if _fits(entries) else None}
    ordered = restored.ordered_paths(column.type)
    for path, entries in found.items():
        if path in ordered:
            note.setdefault("ordered", {})[path] = encode.array_to_json(entries)
        elif _fits(entries):
            note.setdefault("layout", {})[path] = encode.array_to_json(entries)
    return note


def _fits(entries: pa.Array | None) -> bool:
    return entries is not None and len(entries) <= _DICTIONARY


def _is_categorical(note: dict[str, Any]) -> bool:
    kinds = {str(note.get("kind")), str(note.get("polars")), str(note.get("type")).partition("<")[0]}
    return bool(kinds & {"categorical", "dictionary", "Categorical", "Enum"}) or isinstance(note.get("given"), dict)


def _unpack_arrow(table: pa.Table, manifest: dict[str, Any], columns: Sequence[Hashable] | None) -> pa.Table:
    """The columns as Arrow users expect them: dictionaries where there were categories; a pandas index comes last."""
    fields = fields_of(manifest, columns) or table.column_names
    notes = {n["field"]: n["dtype"] for n in manifest["columns"]}
    if manifest["engine"] == "arrow":
        given = encode.schema_from_json(manifest["given"])
        schema = pa.schema([given.field(n) for n in fields], given.metadata if columns is None else None)
        made = [_as_given(table.column(n), notes[n], given.field(n).type) for n in fields]
        return pa.Table.from_arrays(made, schema=schema)
    made = [_as_dictionary(table.column(n), notes.get(n, {})) for n in fields]
    return pa.table(made, names=fields)


def _as_given(column: pa.ChunkedArray, note: dict[str, Any], kind: pa.DataType) -> pa.ChunkedArray:
    stored = note.get("categories") or note.get("given")
    found = {"": stored} if stored else {**(note.get("layout") or {}), **(note.get("ordered") or {})}
    return restored.restore_column(column, kind, {p: encode.array_from_json(e) for p, e in found.items()})


def _as_dictionary(column: pa.ChunkedArray, note: dict[str, Any]) -> pa.ChunkedArray:
    if note.get("kind") == "categorical":
        return _dictionary(column, encode.array_from_json(note["categories"]), pa.int32(), note["ordered"])
    if note.get("polars") == "Enum":
        return _dictionary(column, pa.array(note["categories"], column.type), pa.int32(), True)
    return column.dictionary_encode() if note.get("polars") == "Categorical" else column


def _dictionary(column: pa.ChunkedArray, entries: pa.Array, index: pa.DataType, ordered: bool) -> pa.ChunkedArray:
    kind = pa.dictionary(index, entries.type, ordered)
    return restored.restore_column(column, kind, {"": entries})


def _are_categories(column: pa.ChunkedArray) -> bool:
    """Whether the entries of a dictionary can be pandas categories: each there once, and none missing."""
    entries = digest.contiguous(column).dictionary
    return entries.null_count == 0 and (pa.types.is_nested(entries.type) or len(pc.unique(entries)) == len(entries))


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    for i, name in enumerate(table.column_names):
        column = table.column(i)
        known = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        odd = layouts.plain_type(known) != known  # Arrow converts few of these, and ends the process at others
        if odd or (known != column.type and not _are_categories(column)):
            column = layouts.plain(column)
        if column.type == pa.time64("ns"):  # Python's time objects, all that pandas has, end at microseconds
            column = column.cast(pa.time64("us"), safe=False)
        table = table.set_column(i, name, column) if column.type != table.schema.field(i).type else table
    # Without a note by pandas, dates are worth more as datetime64 than as Python objects.
    dates = b"pandas" in (table.schema.metadata or {})
    try:
        return table.to_pandas(date_as_object=dates)
    except (pa.ArrowException, ValueError):  # lists of some types and moments; pandas shows them as Arrow's own
        import pandas as pd

        return table.to_pandas(
            date_as_object=dates, types_mapper=lambda k: pd.ArrowDtype(k) if pa.types.is_nested(k) else None
        )
