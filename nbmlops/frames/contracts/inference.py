"""A first draft of a contract, from data that are known to be good."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nbmlops.frames import arrow, encode
from nbmlops.frames.contracts import kinds
from nbmlops.frames.contracts.contract import ColumnRule, Contract, Range
from nbmlops.frames.digest import is_text
from nbmlops.frames.rows import digests, grouped

FEW = 20  # distinct texts that are listed; more of them are no list of what is allowed
LONGEST = 60  # characters of a listed text
ENOUGH = 100  # rows from which on distinct values are taken for a key


def infer_contract(data: Any, name: str = "contract", index: Iterable[str] = ()) -> Contract:
    """Draft a contract: types, missing values, bounds of numbers, the few texts there are, keys.

    Bounds are those seen; of times only the first, as the last one moves on. A person should widen what may grow.

    Args:
        data: a frame, or an iterable of Arrow tables, which is read once.
        name: what the data are called.
        index: columns that are index levels.

    Raises:
        InvalidValue: this is no frame.
    """
    levels = list(index)
    if arrow.is_frame(data) or not isinstance(data, Iterable) or isinstance(data, str | bytes):
        packed = arrow.pack(data)
        levels += [level["field"] for level in packed.manifest.get("index", {}).get("levels", ())]
        data = [packed.table]
    seen: dict[str, _Seen] = {}
    rows = 0
    for chunk in data:
        rows += chunk.num_rows
        for field_ in chunk.schema:
            seen.setdefault(field_.name, _Seen(field_.type)).look(chunk.column(field_.name))
    rules = {n: s.rule(rows) for n, s in seen.items()}
    note = (
        f"drafted from {name}: {rows:,} rows\n"
        "bounds and lists are what was seen there: widen what may grow, and delete what need not hold"
    )
    return Contract(
        {n: r for n, r in rules.items() if n not in levels},
        {n: r for n, r in rules.items() if n in levels},
        rows=Range(min=1),
        name=name,
        note=note,
    )


@dataclass
class _Seen:
    """What one column holds, over all chunks."""

    kind: pa.DataType
    missing: int = 0
    low: Any = None
    high: Any = None
    texts: set[str] | None = field(default_factory=set)
    keys: list[np.ndarray] | None = field(default_factory=list)

    def look(self, column: pa.ChunkedArray) -> None:
        self._key(column)
        column = encode.plain(column)
        if isinstance(column.type, pa.BaseExtensionType):
            column = pa.chunked_array([c.storage for c in column.chunks], column.type.storage_type)
        if pa.types.is_floating(column.type):
            column = column.cast(pa.float32()) if pa.types.is_float16(column.type) else column
            column = pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))
        self.missing += column.null_count
        if is_text(column.type):
            self._text(column)
        elif _bounded(column.type) and len(column) > column.null_count:
            ends = pc.min_max(column)
            low, high = ends["min"].as_py(), ends["max"].as_py()
            self.low = low if self.low is None else min(self.low, low)
            self.high = high if self.high is None else max(self.high, high)

    def _text(self, column: pa.ChunkedArray) -> None:
        if self.texts is not None:
            found = pc.unique(column.slice(0, 10_000)).drop_null()
            if len(found) <= FEW:
                found = pc.unique(column).drop_null()
            self.texts |= set(found.to_pylist()) if len(found) <= FEW else set(range(FEW + 1))  # type: ignore[arg-type]
            if len(self.texts) > FEW:
                self.texts = None

    def _key(self, column: pa.ChunkedArray) -> None:
        """Keys are whole numbers or texts; the first repetition ends the question."""
        if self.keys is None:
            return
        plain = kinds.plain(column.type)
        found = digests(pa.table({"x": column})) if pa.types.is_integer(plain) or is_text(plain) else None
        if found is None or column.null_count or len(grouped(found[:10_000])[1]) < len(found[:10_000]):
            self.keys = None
        else:
            self.keys.append(found)

    def rule(self, rows: int) -> ColumnRule:
        listed = self.texts if is_text(kinds.plain(self.kind)) and rows > 2 * FEW else None
        few = listed and max(map(len, listed)) <= LONGEST
        unique = self.keys is not None and rows >= ENOUGH and _distinct(self.keys) == rows
        moment = pa.types.is_temporal(kinds.plain(self.kind))
        return ColumnRule(
            type=kinds.word(self.kind),
            nullable=bool(self.missing),
            unique=unique,
            min=_tidy(self.low),
            max=None if moment or unique else _tidy(self.high),
            isin=tuple(sorted(listed or ())) if few else None,
            share_null=min(1.0, math.ceil(100 * self.missing / rows + 1) / 100) if self.missing else None,
        )


def _distinct(keys: list[np.ndarray]) -> int:
    return len(grouped(np.concatenate(keys))[1]) if keys else 0


def _bounded(kind: pa.DataType) -> bool:
    numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return numbers or pa.types.is_timestamp(kind) or pa.types.is_date(kind)


def _tidy(value: Any) -> Any:
    """A pandas timestamp, which Arrow gives for nanoseconds, as YAML can write it: rounded down to microseconds."""
    return value.to_pydatetime(warn=False) if hasattr(value, "to_pydatetime") else value
