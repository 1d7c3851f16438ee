"""The table and the folder that are kept, and what becomes of them: always the same for the same sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

CHANGED = ("price", "lat", "store", "qty")
Tables = dict[str, pa.Table]


def sales(rows: int, *, seed: int = 0, start: int = 0) -> pa.Table:
    """Ten columns as they are met with: ids, categories as text, prices, times, a flag, missing values, noise."""
    draw = np.random.default_rng(seed)
    cities = np.array([f"city-{number:03d}" for number in range(200)])
    times = np.cumsum(draw.integers(0, 2_000_000, rows)).astype("timedelta64[us]")
    users = draw.integers(0, 10**8, rows).astype("U8")
    return pa.table(
        {
            "id": np.arange(start, start + rows),
            "store": draw.integers(0, 500, rows, dtype=np.int32),
            "price": np.round(draw.gamma(2.0, 30.0, rows), 2),
            "score": pa.array(draw.normal(size=rows), mask=draw.random(rows) < 0.05),
            "lat": draw.uniform(40, 60, rows),
            "ts": np.datetime64("2024-01-01", "us") + times,
            "flag": draw.random(rows) < 0.3,
            "city": pa.array(cities[draw.integers(0, 200, rows)]).cast(pa.string()),
            "user": pa.array(np.char.add("user_", users)).cast(pa.string()),
            "qty": draw.integers(0, 50, rows, dtype=np.int16),
        }
    )


def appended(before: pa.Table) -> Tables:
    """1 % more rows at the end; ``part`` is the new ones."""
    part = sales(before.num_rows // 100, seed=2, start=before.num_rows)
    return {"full": pa.concat_tables([before, part]).combine_chunks(), "part": part}


def cells(before: pa.Table) -> Tables:
    """0.1 % of the rows, at random, with other values in four columns; ``part`` is those rows."""
    rows = np.random.default_rng(1).choice(before.num_rows, before.num_rows // 1000, replace=False)
    full = before
    for name in CHANGED:
        values = before[name].to_numpy().copy()
        values[rows] += 1
        full = full.set_column(full.schema.get_field_index(name), name, pa.array(values))
    return {"full": full, "part": full.take(np.sort(rows))}


def block(before: pa.Table) -> Tables:
    """1 % of the rows, all in one place, replaced; ``part`` is the new ones, which have the ids of the old ones."""
    at, many = before.num_rows // 3, before.num_rows // 100
    part = sales(many, seed=7, start=at)
    parts = [before.slice(0, at), part, before.slice(at + many)]
    return {"full": pa.concat_tables(parts).combine_chunks(), "part": part}


def inserted(before: pa.Table) -> Tables:
    """1,000 rows more in the middle."""
    at = before.num_rows // 2
    part = sales(1000, seed=9, start=10**9)
    return {"full": pa.concat_tables([before.slice(0, at), part, before.slice(at)]).combine_chunks()}


def widened(before: pa.Table) -> Tables:
    """One more column of noise; ``part`` is that column."""
    part = pa.table({"feature": np.random.default_rng(5).normal(size=before.num_rows)})
    return {"full": before.append_column("feature", part["feature"]), "part": part}


def nudged(before: pa.Table) -> Tables:
    """100 rows in one place with another price: less than any chunk."""
    at = before.num_rows // 2
    prices = before["price"].to_numpy().copy()
    prices[at : at + 100] += 1
    return {"full": before.set_column(before.schema.get_field_index("price"), "price", pa.array(prices))}


CHANGES: dict[str, Callable[[pa.Table], Tables]] = {
    "append": appended,
    "cells": cells,
    "block": block,
    "insert": inserted,
    "column": widened,
    "nudge": nudged,
}


def write(table: pa.Table, path: Path) -> Path:
    """As an Arrow file, without compression, so that reading it back is quick."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as out:
        out.write_table(table)
    return path


def read(path: str) -> pa.Table:
    """Into memory, all of it."""
    with pa.OSFile(path) as source:
        return pa.ipc.open_file(source).read_all()


def write_tree(folder: Path, files: int) -> Path:
    """Files of 20 to 100 kB, 500 to a folder, no two alike, none of which can be compressed."""
    draw = np.random.default_rng(0)
    noise = draw.bytes(1 << 20)
    for number, size in enumerate(draw.integers(20_000, 100_000, files)):
        inside = folder / f"{number // 500:02d}"
        inside.mkdir(parents=True, exist_ok=True)
        at = number * 37 % 900_000
        (inside / f"{number:05d}.jpg").write_bytes(number.to_bytes(8, "little") + noise[at : at + int(size)])
    return folder
