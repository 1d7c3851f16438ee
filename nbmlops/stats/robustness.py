"""Rows turned strange in ways that happen: missing values, values out of range, noise, columns in another order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

FAR = 10.0  # widths of the range that was seen
NOISE = 0.01  # of that range
UNSEEN = "a value nobody has seen"


@dataclass(frozen=True)
class Strange:
    """Rows after something was done to them.

    ``same``: the answers must be those to the rows as they were. ``unseen``: training had nothing like it, so that an
    error is as good as a refusal.
    """

    check: str
    what: str
    rows: pd.DataFrame
    same: bool = False
    unseen: bool = False


def turned(rows: pd.DataFrame, inputs: list[dict[str, Any]], *, seed: int = 0) -> Iterator[Strange]:
    """Every way in which rows are turned strange, one after the other.

    Args:
        rows: as the model takes them.
        inputs: the signature's columns, with the ranges that training saw.
        seed: of the noise.
    """
    names = [c["name"] for c in inputs]
    yield Strange("columns in another order", "the columns reversed", rows[names[::-1]], same=True)
    yield Strange("rows in another order", "the rows reversed", rows.iloc[::-1], same=True)
    sometimes = [c["name"] for c in inputs if c["nullable"]]
    if sometimes:
        yield Strange("missing values", "every column that was empty in training, emptied", _emptied(rows, sometimes))
    never = [c["name"] for c in inputs if not c["nullable"]]
    if never:
        what = "columns that were never empty, emptied"
        yield Strange("unknown missing values", what, _emptied(rows, never), unseen=True)
    numbers = [c for c in inputs if c["kind"] == "numeric" and "min" in c]
    if numbers:
        yield Strange("out of range", f"numbers {FAR:g} ranges above what training saw", _shifted(rows, numbers, FAR))
        yield Strange("out of range below", f"numbers {FAR:g} ranges below", _shifted(rows, numbers, -FAR))
        yield Strange("extreme values", "the largest numbers that fit the types", _extreme(rows, numbers))
        yield Strange("noise", f"numbers moved by about {NOISE:.0%} of their range", _noisy(rows, numbers, seed))
    texts = [c for c in inputs if c["kind"] == "text"]
    if texts:
        yield Strange(
            "unseen text",
            "every text one that training cannot have seen",
            rows.assign(**{c["name"]: UNSEEN for c in texts}),
        )


def changed(before: pd.DataFrame, after: pd.DataFrame) -> float:
    """The share of rows with another answer; of numbers, the median relative change. The rows are the same ones."""
    from pandas.api import types

    a, b = before["prediction"], after["prediction"].reindex(before.index)
    if types.is_float_dtype(a.dtype):
        scale = np.maximum(np.abs(a.to_numpy(dtype=float)), 1e-12)
        return float(np.nanmedian(np.abs(b.to_numpy(dtype=float) - a.to_numpy(dtype=float)) / scale))
    return float((a.astype(object) != b.astype(object)).mean())


def unanswered(outputs: pd.DataFrame) -> int:
    """In how many rows an output is no value: null, or no finite number."""
    from pandas.api import types

    wrong = outputs.isna().any(axis=1).to_numpy(copy=True)
    for name in outputs.columns:
        if types.is_float_dtype(outputs[name].dtype):
            wrong |= ~np.isfinite(outputs[name].to_numpy(dtype=float))
    return int(wrong.sum())


def _emptied(rows: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    import pandas as pd

    return rows.assign(**{name: pd.Series([None] * len(rows), index=rows.index, dtype=object) for name in names})


def _shifted(rows: pd.DataFrame, numbers: list[dict[str, Any]], by: float) -> pd.DataFrame:
    moved = {}
    for column in numbers:
        low, high = float(column["min"]), float(column["max"])
        value = (high if by > 0 else low) + by * max(high - low, 1.0)
        moved[column["name"]] = _within(column, value)
    return rows.assign(**moved)


def _extreme(rows: pd.DataFrame, numbers: list[dict[str, Any]]) -> pd.DataFrame:
    return rows.assign(**{c["name"]: _within(c, float("inf")) for c in numbers})


def _within(column: dict[str, Any], value: float) -> float | int:
    """The value, or the nearest one that the column's type can hold."""
    kind = column["type"].lower().split("[")[0]
    if "int" in kind:
        bits = np.iinfo(kind)
        return int(bits.min) if value <= bits.min else int(bits.max) if value >= bits.max else int(value)
    largest = float(np.finfo(kind if kind in {"float16", "float32"} else "float64").max)
    return float(np.clip(value, -largest, largest))


def _noisy(rows: pd.DataFrame, numbers: list[dict[str, Any]], seed: int) -> pd.DataFrame:
    chance = np.random.default_rng(seed)
    moved = {}
    for column in numbers:
        values = rows[column["name"]]
        shift = chance.normal(0, NOISE * (float(column["max"]) - float(column["min"])), len(rows))
        whole = "int" in column["type"].lower()
        moved[column["name"]] = values + (np.round(shift).astype(int) if whole else shift)
    return rows.assign(**moved)
