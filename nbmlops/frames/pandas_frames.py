"""pandas frames to plain Arrow columns and back, with every dtype, the index and the column labels as they were.

Parquet alone loses much of this (an integer category comes back as int64, pandas#60491), so the table holds plain
values that any engine reads and a JSON manifest the rest: categories and their order, missing-value markers, indexes.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from nbmlops.errors import InvalidValue
from nbmlops.frames import encode, layouts, tagged
from nbmlops.frames.digest import column_digest, contiguous, is_valid_text
from nbmlops.frames.pandas_values import chunked, index_of, pack_values, range_note, unpack_values


def pack(frame: pd.DataFrame) -> tuple[pa.Table, dict[str, Any]]:
    """A table of plain values and the manifest that brings the same frame back.

    Raises:
        InvalidValue: columns or ``attrs`` that cannot be kept exactly; all of them are named.
    """
    fields = _field_names(frame.columns)
    arrays, notes, faults, hints = [], [], [], []
    for position, field in enumerate(fields):
        try:
            array, note = pack_values(frame.iloc[:, position], field)
        except InvalidValue as error:
            faults.append(error.message)
            hints.append(error.hint)
            continue
        except (pa.ArrowException, UnicodeError) as error:
            faults.append(f"column {field!r}: {error}")
            hints.append("mend the value, or convert the column")
            continue
        arrays.append(array)
        notes.append({"field": field, "dtype": note})
    if faults:
        raise InvalidValue.of("the frame cannot be kept exactly", faults, "; ".join(dict.fromkeys(hints)))
    index, levels = _pack_index(frame.index, fields)
    manifest = {"engine": "pandas", "columns": notes, "labels": _pack_labels(frame.columns), "index": index}
    if frame.attrs:
        manifest["attrs"] = _pack_attrs(frame.attrs)
    if not frame.flags.allows_duplicate_labels:
        manifest["flags"] = {"allows_duplicate_labels": False}
    return pa.table([*arrays, *levels.values()], names=[*fields, *levels]), manifest


def unpack(table: pa.Table, manifest: dict[str, Any], columns: Sequence[Hashable] | None = None) -> pd.DataFrame:
    """The frame that :func:`pack` was given, or some of its columns, in the order asked for, with its index."""
    notes, labels = manifest["columns"], _unpack_labels(manifest)
    chosen = list(range(len(notes)))
    if columns is not None:
        chosen = [i for c in columns for i in _positions(labels, notes, c)]
    index = _unpack_index(manifest["index"], table)
    data = {}
    for i in chosen:
        values = unpack_values(table.column(notes[i]["field"]), notes[i]["dtype"])
        data[i] = pd.Series(values, index=index, dtype=values.dtype, copy=False)  # the dtype stops pandas from guessing
    frame = pd.DataFrame(data, index=index, copy=False)
    frame.columns = labels if columns is None else labels[chosen]
    frame.attrs.update(tagged.decode(manifest.get("attrs", {})))
    return frame.set_flags(**manifest["flags"]) if "flags" in manifest else frame


def fields_of(manifest: dict[str, Any], columns: Sequence[Hashable]) -> tuple[list[str], list[Hashable]]:
    """The table's fields needed for these labels, index included, and the labels that do not exist."""
    notes, labels = manifest["columns"], _unpack_labels(manifest)
    unknown = [c for c in columns if c not in labels and c not in {n["field"] for n in notes}]
    wanted = [notes[i]["field"] for c in columns if c not in unknown for i in _positions(labels, notes, c)]
    return [*dict.fromkeys(wanted), *(level["field"] for level in manifest["index"].get("levels", ()))], unknown


def _positions(labels: pd.Index, notes: list[dict[str, Any]], column: Hashable) -> list[int]:
    """Where the columns of a label are; of a label that is no label, the column whose field has this name."""
    if column in labels:
        found = np.zeros(len(labels), bool)
        found[labels.get_loc(column)] = True
        return [int(i) for i in np.flatnonzero(found)]
    return [[n["field"] for n in notes].index(column)]  # type: ignore[arg-type]


def _pack_attrs(attrs: dict[Any, Any]) -> Any:
    faults = []
    for key, value in attrs.items():
        try:
            tagged.dumps({key: value})
        except (TypeError, ValueError, RecursionError) as error:
            faults.append(f"frame.attrs[{key!r}]: {error}")
    if faults:
        raise InvalidValue.of("the frame cannot be kept exactly", faults, "remove it: frame.attrs.pop(…)")
    return tagged.encode(dict(attrs))


# --- index and labels -------------------------------------------------------------------------------------------
def _field_names(labels: pd.Index) -> list[str]:
    """One distinct text per label: the label itself, or its text form with underscores added until it is distinct."""
    names: dict[str, None] = {}
    taken = {c for c in labels if isinstance(c, str) and is_valid_text(c)}
    for label in labels:
        own = isinstance(label, str) and label in taken and label not in names
        name = label if own else str(label).encode(errors="backslashreplace").decode()
        while not own and (name in names or name in taken):
            name += "_"
        names[name] = None
    return list(names)


def _pack_index(index: pd.Index, taken: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    if isinstance(index, pd.RangeIndex):
        return {"kind": "range", "name": _name(index.name), **range_note(index)}, {}
    levels, arrays = [], {}
    for i, values in enumerate(_levels(index)):
        named = isinstance(values.name, str) and values.name and is_valid_text(values.name)
        field = str(values.name) if named else f"__index_level_{i}__"
        while field in taken or field in arrays:
            field = f"__index_{field}__"
        level = {"field": field, "name": _name(values.name)}
        if isinstance(index, pd.MultiIndex) and index.levels[i].dtype != values.dtype:
            # Missing entries made another dtype of the values, such as floats of whole numbers.
            known, codes = index.levels[i], np.asarray(index.codes[i])
            array, note = pack_values(known, field)
            arrays[field] = contiguous(array).take(pa.array(codes, mask=codes < 0))
            levels.append({**level, "dtype": note, "missing": True})
            continue
        arrays[field], note = pack_values(values, field)
        levels.append({**level, "dtype": note, **range_note(values)})
    kind = "multi" if isinstance(index, pd.MultiIndex) else "values"
    return {"kind": kind, "levels": levels}, arrays


def _unpack_index(note: dict[str, Any], table: pa.Table) -> pd.Index:
    if note["kind"] == "range":
        return index_of(None, note, _unname(note["name"]))
    notes = note["levels"]
    indexes = [_unpack_level(table.column(level["field"]), level) for level in notes]
    if note["kind"] == "values":
        return indexes[0]
    with warnings.catch_warnings():  # pandas 3.1 sorts tuples by making a frame of them, and warns of its own doing
        warnings.simplefilter("ignore", DeprecationWarning)
        made = pd.MultiIndex.from_arrays(indexes, names=[i.name for i in indexes])
    for i, level in enumerate(notes):
        if level.get("missing"):
            made = _with_missing(made, i, table.column(level["field"]), level)
    return made


def _unpack_level(column: pa.ChunkedArray, note: dict[str, Any]) -> pd.Index:
    name = _unname(note["name"])
    if note.get("missing"):  # a place to be taken
        return pd.RangeIndex(len(column), name=name)
    return index_of(unpack_values(column, note["dtype"]), note, name)


def _with_missing(index: pd.MultiIndex, i: int, column: pa.ChunkedArray, note: dict[str, Any]) -> pd.MultiIndex:
    """The index with a level whose dtype has no missing values although some of its entries are missing."""
    present = np.asarray(column.is_valid())
    codes, known = pd.factorize(index_of(unpack_values(column.drop_null(), note["dtype"]), note), sort=False)
    all_codes = np.full(len(column), -1, np.int64)
    all_codes[present] = codes
    levels: list[Any] = list(index.levels)
    coded: list[Any] = list(index.codes)
    levels[i], coded[i] = pd.Index(known, dtype=known.dtype, tupleize_cols=False), all_codes
    return pd.MultiIndex(levels=levels, codes=coded, names=index.names, verify_integrity=False)


def _pack_labels(labels: pd.Index) -> dict[str, Any]:
    if isinstance(labels, pd.RangeIndex):
        return {"kind": "range", "name": _name(labels.name), **range_note(labels)}
    levels = []
    for values in _levels(labels):
        try:
            array, note = pack_values(values, "column names")
        except InvalidValue as error:
            raise InvalidValue(
                error.message, "give all columns names of one type: frame.columns = frame.columns.map(str)"
            ) from error
        level = {"name": _name(values.name), "dtype": note, **range_note(values)}
        levels.append({**level, **encode.array_to_json(contiguous(array))})
    return {"kind": "multi" if isinstance(labels, pd.MultiIndex) else "values", "levels": levels}


def _unpack_labels(manifest: dict[str, Any]) -> pd.Index:
    note = manifest["labels"]
    if note["kind"] == "range":
        return index_of(None, note, _unname(note["name"]))
    indexes = [
        index_of(unpack_values(chunked(encode.array_from_json(level)), level["dtype"]), level, _unname(level["name"]))
        for level in note["levels"]
    ]
    return (
        pd.MultiIndex.from_arrays(indexes, names=[i.name for i in indexes]) if note["kind"] == "multi" else indexes[0]
    )


def _levels(index: pd.Index) -> list[pd.Index]:
    return [index.get_level_values(i) for i in range(index.nlevels)] if isinstance(index, pd.MultiIndex) else [index]


def _name(name: Any) -> Any:
    """The name of an index as JSON holds it: text, a number, None, or a tuple of them."""
    if isinstance(name, tuple):
        return {"tuple": [_name(n) for n in name]}
    name = name.item() if isinstance(name, np.generic) else name
    plain = name is None or isinstance(name, int) or (isinstance(name, str) and is_valid_text(name))
    if plain or (isinstance(name, float) and np.isfinite(name)):
        return name
    try:
        return {"tagged": tagged.encode(name)}
    except TypeError as error:
        raise InvalidValue(
            f"an index is named {name!r:.60}: {error}", "name it with text, a number or nothing"
        ) from error


def _unname(name: Any) -> Any:
    if not isinstance(name, dict):
        return name
    return tuple(_unname(n) for n in name["tuple"]) if "tuple" in name else tagged.decode(name["tagged"])


def check(frame: pd.DataFrame, again: pd.DataFrame) -> None:
    """Compare a frame with what came back.

    Raises:
        InvalidValue: a dtype, label or value differs.
    """
    # pandas does not compare all of these.
    strange = [isinstance(d, pd.ArrowDtype) or pd.api.types.is_object_dtype(d) for d in frame.dtypes]
    plain = [i for i, odd in enumerate(strange) if not odd]
    try:
        pd.testing.assert_index_equal(frame.columns, again.columns, exact=True, check_exact=True, obj="column names")
        pd.testing.assert_frame_equal(
            frame.iloc[:, plain],
            again.iloc[:, plain],
            check_exact=True,
            check_index_type=True,
            check_column_type=True,
        )
    except AssertionError as error:
        what = " ".join(str(error).split())[:300]
        raise InvalidValue(
            f"the frame would not come back as it is: {what}", "convert the column named to a plainer dtype"
        ) from error
    _check_levels(frame.index, again.index)
    for position in (i for i, odd in enumerate(strange) if odd):
        given, back = frame.iloc[:, position], again.iloc[:, position]
        if isinstance(given.dtype, pd.ArrowDtype):
            _check_arrow(given, back)
        else:
            _check_objects(given, back)


def _check_levels(given: pd.Index, again: pd.Index) -> None:
    """The dtypes of a multiple index, which pandas compares only where nothing is missing."""
    if not isinstance(given, pd.MultiIndex) or not isinstance(again, pd.MultiIndex):
        return
    for i, (one, other) in enumerate(zip(given.levels, again.levels, strict=True)):
        if len(given) and one.dtype != other.dtype:
            raise InvalidValue(
                f"index level {i} ({given.names[i]!r}) of type {one.dtype} would come back as {other.dtype}",
                "make a column of it with .reset_index()",
            )


def _check_arrow(given: pd.Series, again: pd.Series) -> None:
    one, other = (layouts.plain(chunked(s.array.__arrow_array__())) for s in (given, again))  # type: ignore[attr-defined]
    if given.dtype != again.dtype or column_digest(one) != column_digest(other):
        raise InvalidValue(
            f"column {given.name!r} of type {given.dtype} would come back as {again.dtype}, or with other values",
            "register the extension type, or convert the column to a plainer dtype",
        )


def _check_objects(given: pd.Series, again: pd.Series) -> None:
    for row, (a, b) in enumerate(zip(given, again, strict=True)):
        if not tagged.same(a, b):
            raise InvalidValue(
                f"column {given.name!r}: row {row} holds {a!r:.60} and would come back as {b!r:.60}",
                "use plainer values",
            )
