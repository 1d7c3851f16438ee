"""A run and its clean run held against each other: parameters, metrics, data sets, models."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nbmlops.records import Difference
from nbmlops.reproduction.logged import Kept, Logged, Metric, Written

_OURS = "system/"
_OUR_SECONDS = "fit_seconds"
_NOTHING = "nothing"


@dataclass(frozen=True)
class Compared:
    """How many things were held against each other, by kind, and those that differ."""

    counts: Mapping[str, int] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()


# Of two packages: what differs in their predictions in words, and by how much; None if nothing does.
Predictions = Callable[[Kept, Kept], tuple[str, float | None] | None]


def compare(
    before: Logged, after: Logged, predictions: Predictions, *, tolerance: float = 0.0, so_far: bool = False
) -> Compared:
    """What a clean run gave differently.

    Args:
        before: the run.
        after: the clean one.
        predictions: compares two models whose packages differ.
        tolerance: relative; numbers that are this close are the same. At 0 they must be equal to the last bit.
        so_far: the run goes on, so that what only the clean one has says nothing.
    """
    differences = [
        *_params(before.params, after.params, so_far),
        *_metrics(_told(before.metrics), _told(after.metrics), tolerance, so_far),
        *_datasets(before.datasets, after.datasets, so_far),
        *_models(before.models, after.models, predictions, so_far),
    ]
    counts = {
        "params": len(before.params),
        "metrics": len(_told(before.metrics)),
        "data sets": len(before.datasets),
        "models": sum(not kept.later or name in after.models for name, kept in before.models.items()),
    }
    return Compared({kind: count for kind, count in counts.items() if count}, tuple(differences))


def same(before: float, after: float, tolerance: float) -> bool:
    """Whether two numbers are the same; NaN is NaN."""
    if math.isnan(before) or math.isnan(after):
        return math.isnan(before) and math.isnan(after)
    return before == after or math.isclose(before, after, rel_tol=tolerance, abs_tol=0.0)


def is_clock(metric: str) -> bool:
    """Whether a metric is what nbmlops itself measures while a run lasts: no two runs have the same."""
    return metric.startswith(_OURS) or metric.rpartition("/")[2].endswith(_OUR_SECONDS)


def _told(metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    return {k: m for k, m in metrics.items() if not is_clock(k)}


def _absent(
    kind: str, before: Mapping[str, Any], after: Mapping[str, Any], so_far: bool, shown: Callable[[Any], Any]
) -> Iterator[Difference]:
    """What one of the two does not have."""
    for name, value in before.items():
        if name not in after:
            yield Difference("missing", f"{kind} {name}", shown(value), _NOTHING)
    for name, value in after.items():
        if name not in before and not so_far:
            yield Difference("missing", f"{kind} {name}", _NOTHING, shown(value))


def _params(before: Mapping[str, str], after: Mapping[str, str], so_far: bool) -> Iterator[Difference]:
    yield from _absent("param", before, after, so_far, str)
    for name in [name for name in before if name in after]:
        if before[name] != after[name]:
            yield Difference("param", name, before[name], after[name])


def _metrics(
    before: Mapping[str, Metric], after: Mapping[str, Metric], tolerance: float, so_far: bool
) -> Iterator[Difference]:
    yield from _absent("metric", before, after, so_far, lambda metric: metric.value)
    for name in [name for name in before if name in after]:
        was, now = before[name], after[name]
        if not same(was.value, now.value, tolerance):
            yield Difference("metric", name, was.value, now.value, abs(now.value - was.value))
        elif was.points != now.points:
            yield Difference(
                "metric", name, f"{was.points} points", f"{now.points} points", abs(now.points - was.points)
            )


def _datasets(before: Mapping[str, Written], after: Mapping[str, Written], so_far: bool) -> Iterator[Difference]:
    yield from _absent("dataset", before, after, so_far, _content)
    for name in [name for name in before if name in after]:
        was, now = before[name], after[name]
        if was.digest != now.digest:
            yield Difference("dataset", name, _content(was), _content(now), abs(now.rows - was.rows) or None)


def _content(written: Written) -> str:
    return f"{written.rows:,} rows, {written.digest[:19]}…"


def _models(
    before: Mapping[str, Kept], after: Mapping[str, Kept], predictions: Predictions, so_far: bool
) -> Iterator[Difference]:
    expected = {name: kept for name, kept in before.items() if not kept.later or name in after}
    # One that was only registered after the run had ended may have been so by other cells.
    found = {name: kept for name, kept in after.items() if not kept.later or name in before}
    yield from _absent("model", expected, found, so_far, lambda kept: f"package {kept.package[:19]}…")
    for name in [name for name in expected if name in found]:
        if expected[name].package != found[name].package and (told := predictions(expected[name], found[name])):
            text, size = told
            yield Difference("model", name, f"package {expected[name].package[:19]}…", text, size)
