"""Sketches of columns: small, mergeable, and enough for a profile.

A data set is stored in chunks of rows. Of each chunk's column one sketch is made, once; the profile of a version comes
from the merge of its chunks' sketches, so a new version costs only its new chunks. Of one chunk everything is exact.
After a merge rows, nulls, infinities, extremes and lengths are exact, mean and standard deviation are so up to
rounding, and the rest has errors that the profile names in ``approximate``:

- ``rank``: the share of rows by which the rank of a quantile, or a bar of the histogram, may be off (at most; see
  ``points``; far less at both ends);
- ``distinct``: the relative standard error of ``distinct`` (see ``distinct``);
- ``top``: how many rows a count in ``top`` may be too low (see ``counted``).

A key that is missing there is exact: few distinct values, for example, are kept with their counts.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nbmlops.errors import InvalidValue
from nbmlops.frames import hashing
from nbmlops.frames.digest import is_text
from nbmlops.frames.encode import plain
from nbmlops.frames.sketches import counted, distinct, measured
from nbmlops.frames.sketches.counted import Counted
from nbmlops.frames.sketches.measured import Measured
from nbmlops.frames.sketches.points import largest_gap

__all__ = ["Sketch", "change", "merge", "name_of", "sketch_column", "to_profile"]


@dataclass(frozen=True, eq=False)
class Sketch:
    """What is kept of one column of some rows.

    ``family``: ``measured``, ``counted``, ``nested``, or ``empty`` where no value is present. ``distinct`` is None
    where it must be estimated from ``registers``.
    """

    family: str
    type: str
    categorical: bool
    rows: int
    nulls: int
    distinct: int | None = 0
    registers: np.ndarray | None = None
    measured: Measured | None = None
    counted: Counted | None = None
    infinite: tuple[int, int] = (0, 0)  # where no value is finite, ``measured`` is None


def name_of(digest: str, categorical: bool) -> str:
    """Under which name the sketch of a chunk's column is kept: numbers that are categories have another sketch."""
    return f"{digest}.c" if categorical else digest


def sketch_column(column: pa.ChunkedArray | pa.Array, categorical: bool = False) -> Sketch:
    """The sketch of one column of some rows; every Arrow type has one."""
    if isinstance(column, pa.Array):
        column = pa.chunked_array([column])
    kind = str(column.type)
    categorical = categorical or pa.types.is_dictionary(column.type)
    column = plain(column)
    if isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array([c.storage for c in column.chunks], column.type.storage_type)
    rows, nulls = len(column), column.null_count
    if pa.types.is_floating(column.type):
        nulls += int(pc.sum(pc.is_nan(column)).as_py() or 0)
    if rows == nulls:
        return Sketch("empty", kind, categorical, rows, nulls)
    if categorical or pa.types.is_boolean(column.type) or is_text(column.type) or counted.is_bytes(column.type):
        made, unique, hashes = counted.count(column)
        registers = distinct.registers(hashes)
        return Sketch("counted", kind, categorical, rows, nulls, unique, registers, counted=made)
    found = measured.numbers(column)
    if found is None:
        return Sketch("nested", kind, categorical, rows, nulls)
    moment = pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)
    sketch, values = measured.measure(*found, moment)
    own = hashing.number_hashes(values + values.dtype.type(0))[0]  # -0.0 counts as 0.0
    below = int((found[0] < 0).sum()) if sketch is None else 0
    infinite = (below, len(found[0]) - below) if sketch is None else (0, 0)
    head = ("measured", kind, categorical, rows, nulls, len(values), distinct.registers(own))
    return Sketch(*head, sketch, infinite=infinite)


def merge(sketches: Sequence[Sketch]) -> Sketch:
    """The sketch of all rows together; best in one call, because each merge may add a little to the errors.

    Raises:
        InvalidValue: there are none, or they are of columns of several types.
    """
    if len(sketches) == 1:
        return sketches[0]
    families = {s.family for s in sketches} - {"empty"}
    if not sketches or len(families) > 1:
        what = "no sketches" if not sketches else f"sketches of columns that are {', '.join(sorted(families))}"
        raise InvalidValue(f"{what} cannot be merged", "merge the sketches of one column")
    full = [s for s in sketches if s.family != "empty"]
    rows, nulls = sum(s.rows for s in sketches), sum(s.nulls for s in sketches)
    first = (full or sketches)[0]
    head = (first.family, first.type, any(s.categorical for s in sketches), rows, nulls)
    if first.family == "measured":
        return _merged_numbers(head, full)
    if first.family == "counted":
        together = counted.merge([s.counted for s in full if s.counted is not None])
        exact = full[0].distinct if len(full) == 1 else len(together.keys) if together.whole else None
        return Sketch(*head, exact, _registers(full), counted=together)
    return Sketch(*head)


def _registers(sketches: Sequence[Sketch]) -> np.ndarray:
    return distinct.union([s.registers for s in sketches if s.registers is not None])


def _merged_numbers(head: tuple[str, str, bool, int, int], full: Sequence[Sketch]) -> Sketch:
    parts = [s.measured for s in full if s.measured is not None]
    none = [s.infinite for s in full if s.measured is None]
    below, above = sum(n[0] for n in none), sum(n[1] for n in none)
    if not parts:
        return Sketch(*head, (below > 0) + (above > 0), _registers(full), infinite=(below, above))
    made = parts[0] if len(parts) == 1 else measured.merge(parts)
    if none:
        made = measured.with_infinite(made, (below, above))
    return Sketch(*head, _exact_distinct(made, parts, full), _registers(full), made)


def _exact_distinct(made: Measured, parts: Sequence[Measured], full: Sequence[Sketch]) -> int | None:
    """How many distinct values there are, if every one is known, or if the parts' ranges do not overlap."""
    if len(full) == 1:
        return full[0].distinct
    infinities = sum(n > 0 for n in made.infinite)
    if made.points.whole:
        return len(made.points.values) + infinities
    ordered = measured.in_turn(parts)
    amounts = [s.distinct for s in full]
    if ordered is None or any(made.infinite) or any(n is None for n in amounts):
        return None
    shared = sum(a.high == b.low for a, b in itertools.pairwise(ordered))
    return sum(n for n in amounts if n is not None) - shared


def _distinct(sketch: Sketch) -> int:
    if sketch.distinct is not None:
        return sketch.distinct
    if sketch.registers is None:
        return 0
    return max(1, min(sketch.rows - sketch.nulls, round(distinct.estimate(sketch.registers))))


def to_profile(sketch: Sketch) -> dict[str, Any]:
    """A sketch as the profile that ``frames.profile`` describes."""
    count = sketch.rows - sketch.nulls
    unique = _distinct(sketch)
    made: dict[str, Any] = {"type": sketch.type, "kind": sketch.family, "rows": sketch.rows, "count": count}
    made |= {"nulls": sketch.nulls, "distinct": unique}
    if sketch.family == "counted" and sketch.counted is not None:
        made |= counted.described(sketch.counted, unique, sketch.categorical)
    elif sketch.family == "measured":
        made["kind"] = "numeric"
        made |= {"infinite": sum(sketch.infinite)} if sketch.measured is None else measured.described(sketch.measured)
        if sketch.measured is not None and sketch.measured.moment:
            made["kind"] = "datetime"
    about = _approximate(sketch)
    return {**made, "approximate": about} if about else made


def _approximate(sketch: Sketch) -> dict[str, float]:
    about: dict[str, float] = {}
    if sketch.distinct is None:
        about["distinct"] = distinct.ERROR
    numbers, values = sketch.measured, sketch.counted
    if numbers is not None and not numbers.quantiles and numbers.points.error:
        about["rank"] = (2 * numbers.points.error + 1) / numbers.points.rows
    if values is not None and values.entropy is None and values.floor:
        about["top"] = values.floor
    return about


def change(before: Sketch, after: Sketch) -> dict[str, Any]:
    """How one column's distribution moved: nulls, distinct values, mean and deviation, and a distance from 0 to 1.

    Of times the first and the last stand in place of mean and deviation.
    Each figure is a list, before and after. ``measure`` is ``ks`` (Kolmogorov-Smirnov, the largest gap between the two
    distribution functions) or ``total variation`` (half the summed difference of the shares of frequent values).
    """
    old, new = to_profile(before), to_profile(after)
    made: dict[str, Any] = {name: [old[name], new[name]] for name in ("nulls", "distinct")}
    if before.measured is not None and after.measured is not None:
        if before.measured.moment and after.measured.moment:
            made |= {name: [old["coverage"][name], new["coverage"][name]] for name in ("first", "last")}
        else:
            made |= {name: [old[name], new[name]] for name in ("mean", "std")}
        made |= {"measure": "ks", "distance": largest_gap(before.measured.points, after.measured.points)}
    elif before.counted is not None and after.counted is not None:
        made |= {"measure": "total variation", "distance": counted.variation(before.counted, after.counted)}
    return made
