"""From figures to a verdict: which columns drifted, whether performance fell, and whether that is an alert."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nbmlops.errors import InvalidValue
from nbmlops.records import Finding
from nbmlops.stats.distances import psi_by_chance
from nbmlops.stats.performance import HIGHER_IS_BETTER, LOWER_IS_BETTER

_HOLDOUT = ("", "test_", "holdout_", "val_", "valid_", "validation_", "eval_")


@dataclass(frozen=True)
class Limits:
    """When a column counts as drifted and a window as an alert. Shares and probabilities are between 0 and 1.

    A p-value alone never decides: with many rows every difference is significant. A column drifts when PSI reaches
    ``psi`` (a warning from ``psi_warn``) beyond what chance gives at this number of rows, or when the KS statistic
    reaches ``ks`` with a p-value below ``p_value`` after Holm's correction over all columns, or when the share of
    missing values rose by ``missing``, or ``new_categories`` of the values (beyond what a sample
    misses) were never seen in training.

    The window is an alert when ``share`` of the columns drifted, or a prediction column did, or a column that was
    there in training is missing in ``missing_alert`` more of the rows, or roc_auc or accuracy fell by ``score_drop``
    (absolute), or rmse or mae rose by ``error_rise`` (relative) against the training run's metric of that name.
    """

    psi: float = 0.2
    psi_warn: float = 0.1
    ks: float = 0.1
    p_value: float = 0.01
    share: float = 0.3
    missing: float = 0.1
    missing_alert: float = 0.5
    new_categories: float = 0.1
    out_of_range: float = 0.05
    score_drop: float = 0.05
    error_rise: float = 0.2
    rows: int = 30

    @classmethod
    def of(cls, given: Limits | Mapping[str, Any] | None) -> Limits:
        """The defaults, overlaid by what is given.

        Raises:
            InvalidValue: an unknown name, or a value that is no number; all of them at once.
        """
        if given is None or isinstance(given, Limits):
            return given or cls()
        names = [f.name for f in dataclasses.fields(cls)]
        faults = [f"there is no limit {name!r}" for name in given if name not in names]
        faults += [
            f"{name} is {value!r}, and a number of at least 0 is needed"
            for name, value in given.items()
            if name in names and (isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0)
        ]
        if faults:
            raise InvalidValue.of("limits", faults, f"limits are {', '.join(names)}")
        return cls(**given)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjusted p-values (S. Holm, 1979); None stays None and does not count."""
    order = sorted((i for i, p in enumerate(p_values) if p is not None), key=lambda i: p_values[i] or 0.0)
    adjusted: list[float | None] = [None] * len(p_values)
    last = 0.0
    for place, i in enumerate(order):
        last = max(last, min(1.0, (len(order) - place) * (p_values[i] or 0.0)))
        adjusted[i] = last
    return adjusted


def judge(rows: Sequence[Mapping[str, Any]], limits: Limits) -> list[dict[str, Any]]:
    """The rows of :func:`nbmlops.stats.drift.columns` with ``p_adjusted``, ``psi_chance``, ``verdict`` and ``reason``.

    ``verdict`` is ``ok``, ``warn``, ``drift`` or ``not enough data``.
    """
    enough = [min(row["rows"], row["reference_rows"]) >= limits.rows for row in rows]
    adjusted = holm([row["p_value"] if ok else None for row, ok in zip(rows, enough)])
    tested = max(1, sum(p is not None for p in adjusted))
    judged = []
    for row, ok, p_adjusted in zip(rows, enough, adjusted):
        chance = None
        if ok and row["psi"] is not None:
            chance = psi_by_chance(row["bins"], row["reference_rows"], row["rows"], limits.p_value / tested)
        full = {**row, "p_adjusted": p_adjusted, "psi_chance": chance}
        verdict, reason = _column(full, ok, limits)
        judged.append({"column": row.get("column"), "verdict": verdict, "reason": reason, **full})
    return judged


def _column(row: Mapping[str, Any], enough: bool, limits: Limits) -> tuple[str, str]:
    risen = _risen(row)
    if risen >= limits.missing:
        return "drift", f"{row['missing']:.0%} missing, {row['missing_reference'] or 0:.0%} in training"
    if not enough:
        return "not enough data", f"{row['rows']} values, {row['reference_rows']} in training; {limits.rows} are needed"
    if row["psi"] is not None and row["psi"] >= limits.psi and row["psi"] > row["psi_chance"]:
        return "drift", f"PSI {row['psi']:.3g} >= {limits.psi:g}"
    by_ks = str(row["test"]).startswith("ks") and row["statistic"] >= limits.ks
    if by_ks and row["p_adjusted"] < limits.p_value:
        return "drift", f"KS {row['statistic']:.3g} >= {limits.ks:g}, p {row['p_adjusted']:.2g} < {limits.p_value:g}"
    if (row["new_categories"] or 0) - (row["new_expected"] or 0) >= limits.new_categories:
        return "drift", f"{row['new_categories']:.0%} of the values were never seen in training"
    if row["psi"] is not None and row["psi"] >= limits.psi_warn and row["psi"] > row["psi_chance"]:
        return "warn", f"PSI {row['psi']:.3g} >= {limits.psi_warn:g}"
    if (row["out_of_range"] or 0) >= limits.out_of_range:
        return "warn", f"{row['out_of_range']:.0%} of the values are outside the range of training"
    if row["infinite"]:
        return "warn", f"{row['infinite']:.0%} of the values are infinite"
    return "ok", ""


def _risen(row: Mapping[str, Any]) -> float:
    return (row["missing"] or 0.0) - (row["missing_reference"] or 0.0)


def findings(
    inputs: Sequence[Mapping[str, Any]],
    outputs: Sequence[Mapping[str, Any]],
    performance: Mapping[str, float],
    training: Mapping[str, float],
    limits: Limits,
) -> list[Finding]:
    """The findings of a window: input drift, each prediction column, integrity, performance. ``block`` is an alert."""
    found = [_input_drift(inputs, limits)] if inputs else []
    found += [_output_drift(row) for row in outputs]
    found += [
        Finding(
            "integrity", "block", f"column {row['column']} is present", row["reason"], "mend the feed of this column"
        )
        for row in inputs
        if _risen(row) >= limits.missing_alert
    ]
    found += [
        Finding("integrity", "warn", f"column {row['column']} like training", row["reason"], "see the drift table")
        for row in inputs
        if row["verdict"] == "warn"
    ]
    return found + _performance(performance, training, limits)


def _input_drift(rows: Sequence[Mapping[str, Any]], limits: Limits) -> Finding:
    judged = [row for row in rows if row["verdict"] != "not enough data"]
    drifted = [row["column"] for row in judged if row["verdict"] == "drift"]
    asked = f"fewer than {limits.share:.0%} of the columns drifted"
    if not judged:
        return Finding("drift", "warn", asked, "not enough data in any column", "take a longer window")
    seen = f"{len(drifted)} of {len(judged)}" + (f": {', '.join(drifted[:8])}" if drifted else "")
    if len(drifted) / len(judged) >= limits.share:
        return Finding("drift", "block", asked, seen, "look at what changed in the data, then retrain")
    return Finding("drift", "warn" if drifted else "pass", asked, seen, "see the drift table" if drifted else "")


def _output_drift(row: Mapping[str, Any]) -> Finding:
    """Probabilities only inform: a model is surer on rows it was trained on, so they move without drift."""
    asked = f"{row['column']} distributed as in training"
    seen = row["reason"] or ("no distribution" if row["psi"] is None else f"PSI {row['psi']:.3g}")
    if str(row["column"]).startswith("probability_"):
        return Finding("prediction drift", "pass", asked, f"{seen} (for information)")
    level = {"drift": "block", "ok": "pass"}.get(row["verdict"], "warn")
    return Finding("prediction drift", level, asked, seen, "" if level == "pass" else "look at the inputs that drifted")


def _performance(current: Mapping[str, float], training: Mapping[str, float], limits: Limits) -> list[Finding]:
    rows = int(current.get("rows", 0))
    if not rows:
        return []
    if rows < limits.rows:
        seen = f"feedback on {rows} predictions; {limits.rows} are needed"
        return [Finding("performance", "pass", "performance as in training", seen, "record more feedback")]
    found = []
    for name in ("roc_auc", "accuracy"):
        before = training_metric(training, name)
        if name in current and before is not None:
            fell = before - current[name] > limits.score_drop
            found.append(_compared(name, f"at most {limits.score_drop:g} below", before, current[name], rows, fell))
    for name in ("rmse", "mae"):
        before = training_metric(training, name)
        if name in current and before is not None:
            rose = current[name] > before * (1 + limits.error_rise)
            found.append(_compared(name, f"at most {limits.error_rise:.0%} above", before, current[name], rows, rose))
    return found


def _compared(name: str, asked: str, before: float, now: float, rows: int, worse: bool) -> Finding:
    return Finding(
        "performance",
        "block" if worse else "pass",
        f"{name} {asked} {before:.4g} of training",
        f"{now:.4g} over {rows} predictions",
        "retrain with newer data" if worse else "",
    )


def training_metric(training: Mapping[str, float], name: str) -> float | None:
    """The training run's metric of this name, also with a prefix such as ``test_`` or ``val_``; None if not logged."""
    if name not in (*HIGHER_IS_BETTER, *LOWER_IS_BETTER):
        return None
    return next((float(training[prefix + name]) for prefix in _HOLDOUT if prefix + name in training), None)
