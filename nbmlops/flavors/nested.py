"""Columns whose values are lists of numbers, or records of plain values: what they are like, and what fits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

LIST, STRUCT = "list", "struct"
_LOOKED_AT = 1_000  # values of a column


def describe(column: pd.Series) -> dict[str, Any] | None:
    """``kind`` list with its ``shape`` (``[-1]``: of any length), or struct with its ``fields``; None for other values.

    Values that are partly one and partly another, or records with other keys, are neither.
    """
    values = column[column.notna()].head(_LOOKED_AT).tolist()
    if values and all(isinstance(v, list | tuple | np.ndarray) for v in values):
        shapes = {_shape(v) for v in values}
        if None in shapes:
            return None
        one = shapes.pop() if len(shapes) == 1 else None
        if one is not None:
            return {"kind": LIST, "shape": list(one)}
        return {"kind": LIST, "shape": [-1]} if all(s is not None and len(s) == 1 for s in shapes) else None
    if values and all(isinstance(v, Mapping) for v in values):
        fields = _fields(values[0])
        same = fields is not None and all(_fields(v) == fields for v in values)
        return {"kind": STRUCT, "fields": fields} if same else None
    return None


def plain(inputs: list[dict[str, Any]], frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with lists in place of arrays in such columns: what Arrow and JSON hold."""
    lists = [c["name"] for c in inputs if c["kind"] == LIST]
    held = {n: frame[n].map(lambda v: v.tolist() if isinstance(v, np.ndarray) else v) for n in lists}
    return frame.assign(**held) if held else frame


def wanted(column: Mapping[str, Any]) -> str:
    """What a value must be, in words."""
    if column["kind"] == STRUCT:
        return "an object with " + ", ".join(f"{name} ({kind})" for name, kind in column["fields"].items())
    shape = column["shape"]
    return "a list of numbers" if shape == [-1] else f"a list of {' x '.join(map(str, shape))} numbers"


def fits(column: Mapping[str, Any], value: object) -> bool:
    """Whether a value is as training had them."""
    if column["kind"] == STRUCT:
        return isinstance(value, Mapping) and _fields(value) == column["fields"]
    shape = _shape(value) if isinstance(value, list | tuple | np.ndarray) else None
    return shape is not None and (list(shape) == column["shape"] or (column["shape"] == [-1] and len(shape) == 1))


def _shape(value: Any) -> tuple[int, ...] | None:
    """The shape of a list of numbers, or of lists of them; None where it has none, or holds something else."""
    try:
        found = np.asarray(value)
    except ValueError:  # lists of different lengths
        return None
    whole = found.dtype.kind in "iuf" and not any(
        isinstance(v, bool) for v in np.ravel(np.asarray(value, dtype=object))
    )
    return found.shape if whole or found.size == 0 else None


def _fields(value: Mapping[str, Any]) -> dict[str, str] | None:
    """The kinds of a record's values, by key in order; None if one is no plain value."""
    kinds: dict[str, str] = {}
    for name, part in sorted(value.items(), key=lambda item: str(item[0])):
        if isinstance(part, bool | np.bool_):
            kinds[str(name)] = "boolean"
        elif isinstance(part, int | float | np.integer | np.floating):
            kinds[str(name)] = "numeric"
        elif isinstance(part, str):
            kinds[str(name)] = "text"
        else:
            return None
    return kinds
