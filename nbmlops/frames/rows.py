"""Equal rows: within a table (duplicates) and on both sides of a split (leakage), found by row digests.

Rows are numbered from 0, through all chunks. Tables may be given whole or as an iterable of chunks of one schema, of
which only the digests are held: 16 bytes per row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa

from nbmlops.errors import InvalidValue, NotFound
from nbmlops.frames import hashing
from nbmlops.frames.digest import logical_type
from nbmlops.records import Duplicates, Leakage

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = 5
_SHOWN = 10  # rows of a group that an example names


Rows: TypeAlias = pa.Table | Iterable[pa.Table]


def chunks(rows: Rows) -> Iterable[pa.Table]:
    """A table as one chunk, or the chunks there are."""
    return [rows] if isinstance(rows, pa.Table) else rows


def digests(rows: Rows, columns: Sequence[str] | None = None) -> np.ndarray:
    """One 128-bit digest per row, shape (rows, 2), see ``hashing``; ``columns`` names which count, all by default.

    Only 16 bytes per row are held; chunks are read once and let go.

    Raises:
        NotFound: there is no such column.
    """
    made = []
    for chunk in chunks(rows):
        names = chunk.column_names if columns is None else list(columns)
        for name in names:
            if name not in chunk.column_names:
                raise NotFound.of("column", str(name), chunk.column_names)
        made.append(hashing.row_hashes(chunk.select(names)))
    if len(made) == 1:
        return made[0]
    return np.concatenate(made) if made else np.zeros((0, 2), np.uint64)


def grouped(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equal digests side by side: an order of the rows, and where in it each group starts.

    Groups come in the order of their digests, so that they depend on the rows' content alone; rows within a group in
    their own order.
    """
    order = np.argsort(keys[:, 0], kind="stable")
    first = keys[order, 0]
    same = first[1:] == first[:-1]
    if np.any(same & (keys[order[1:], 1] != keys[order[:-1], 1])):  # one lane agrees and the other does not
        order = np.lexsort((np.arange(len(keys)), keys[:, 1], keys[:, 0]))
    both = keys[order]
    fresh = np.ones(len(keys), bool)
    fresh[1:] = (both[1:] != both[:-1]).any(axis=1)
    return order, np.flatnonzero(fresh)


def duplicates(rows: Rows, columns: Sequence[str] | None = None, subject: str = "") -> Duplicates:
    """Rows that are there more than once; ``columns`` names those that must be equal, all by default.

    Raises:
        NotFound: there is no such column.
    """
    schema, rows = _schema(rows)
    keys = digests(rows, columns)
    order, starts = grouped(keys)
    sizes = np.diff(np.append(starts, len(keys)))
    again = np.flatnonzero(sizes > 1)
    largest = again[np.lexsort((order[starts[again]], -sizes[again]))][:EXAMPLES]
    examples = tuple(tuple(int(r) for r in order[starts[g] : starts[g] + min(sizes[g], _SHOWN)]) for g in largest)
    compared = tuple(schema.names if columns is None else columns)
    return Duplicates(subject, len(keys), int((sizes[again] - 1).sum()), len(again), compared, examples)


def leakage(
    train: Rows,
    other: Rows,
    *,
    columns: Sequence[str] | None = None,
    label: str | None = None,
    ignore: Collection[str] = (),
    names: tuple[str, str] = ("train", "other"),
) -> Leakage:
    """Rows of ``other`` that ``train`` holds too, and rows of both with equal features and different labels.

    Args:
        columns: the features, by default all columns that both have with one type.
        label: the column that is predicted. A row is shared if its features are equal, whatever its label: the model
            has seen it; ``relabelled`` counts those of them whose label is none that train has for these features.
        ignore: columns that do not count, such as a row number that makes every row different.
        names: what the two sides are called.

    Raises:
        NotFound: a column or label that one of them does not have.
        InvalidValue: nothing is left to compare.
    """
    (schema, train), (against, other) = _schema(train), _schema(other)
    for name in [*(columns or ()), *([label] if label else ())]:
        for side in (schema, against):
            if name not in side.names:
                raise NotFound.of("column", name, side.names)
    asked = list(columns) if columns is not None else list(dict.fromkeys([*schema.names, *against.names]))
    asked = [n for n in asked if n != label and n not in ignore]
    left_out = {n: why for n in asked if (why := _unlike(n, schema, against))}
    features = [n for n in asked if n not in left_out]
    if not features:
        faults = [f"{n}: {why}" for n, why in left_out.items()] or ["every column is ignored"]
        raise InvalidValue.of("no column is there to compare", faults, "name columns that both have, of one type")
    parts = [_keys(side, features, label) for side in (train, other)]
    found = _both(parts[0][0], parts[1][0])
    seen = np.flatnonzero(found >= 0)
    moved = np.zeros(0, np.int64)
    if label is not None:
        moved = seen[_both(parts[0][1], parts[1][1][seen]) < 0]
    return Leakage(
        *names,
        rows_train=len(parts[0][0]),
        rows_other=len(parts[1][0]),
        shared=len(seen),
        relabelled=len(moved),
        columns=tuple(features),
        label=label,
        left_out=left_out,
        examples=tuple((int(found[i]), int(i)) for i in seen[:EXAMPLES]),
        examples_relabelled=tuple((int(found[i]), int(i)) for i in moved[:EXAMPLES]),
    )


def _unlike(name: str, a: pa.Schema, b: pa.Schema) -> str:
    """Why a column of two schemas cannot be compared; the empty text if it can."""
    missing = [side for side, schema in (("train", a), ("the other", b)) if name not in schema.names]
    if missing:
        return f"{missing[0]} does not have it"
    kinds = a.field(name).type, b.field(name).type
    return "" if _kind(kinds[0]) == _kind(kinds[1]) else f"of type {kinds[0]} and {kinds[1]}"


def _kind(kind: pa.DataType) -> str:
    """The type without its width: whole numbers of all widths have equal digests, and so have floats."""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return "integer" if pa.types.is_integer(kind) else "float"
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return _kind(kind.value_type)
    return logical_type(kind)


def _keys(rows: Rows, features: list[str], label: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Digests of the features, and of features with the label, in one reading of the chunks."""
    bare, full = [], []
    for chunk in [rows] if isinstance(rows, pa.Table) else rows:
        bare.append(digests(chunk, features))
        if label is not None:
            full.append(digests(chunk, [*features, label]))
    nothing = np.zeros((0, 2), np.uint64)
    return np.concatenate([nothing, *bare]), np.concatenate([nothing, *full])


def _both(train: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Per row of ``other`` the first row of ``train`` that is equal, or -1."""
    order, starts = grouped(np.concatenate([train, other]))
    first = order[starts]  # rows of train have the lower numbers and come first within their group
    sizes = np.diff(np.append(starts, len(order)))
    partner = np.empty(len(order), np.int64)
    partner[order] = np.repeat(np.where(first < len(train), first, -1), sizes)
    return partner[len(train) :]


def _schema(rows: Rows) -> tuple[pa.Schema, Rows]:
    """The schema, and the rows again with the chunk that was looked at."""
    if isinstance(rows, pa.Table):
        return rows.schema, rows
    rest: Iterator[pa.Table] = iter(rows)
    head = next(rest, None)
    if head is None:
        return pa.schema([]), []
    return head.schema, chain([head], rest)
