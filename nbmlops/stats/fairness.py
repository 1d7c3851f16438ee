"""How a model treats groups of people: the same figures for each group, and how far apart they are.

Definitions as in Fairlearn's ``MetricFrame``, ``demographic_parity_difference`` and ``equalized_odds_difference``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nbmlops.stats import performance

if TYPE_CHECKING:
    import pandas as pd

LEAST_ROWS = 10
GROUPS = 50


def fairness(actual: pd.Series, outputs: pd.DataFrame, group: pd.Series, task: str) -> dict[str, Any]:
    """Figures by group, and the differences between the groups that are large enough.

    Of two classes the greater one counts as selected, with ``selection_rate true_positive_rate false_positive_rate``;
    of more only ``accuracy`` is compared, of numbers ``mae`` and ``mean_error`` (predicted minus actual).

    Args:
        actual: what was right, known in every row.
        outputs: ``prediction``, row by row.
        group: which group each row belongs to; a missing value is a group.
        task: ``classification`` or ``regression``.

    Returns:
        ``groups`` (``group rows …``), ``left_out`` (those with fewer than 10 rows), ``positive`` (the class that counts
        as selected), and for each figure ``<figure>_difference``; with two classes also
        ``demographic_parity_difference``, ``demographic_parity_ratio`` and ``equalized_odds_difference``.
    """
    names = group.astype(object).where(group.notna(), "(missing)").astype(str).to_numpy()
    found, often = np.unique(names, return_counts=True)
    large = [str(n) for n, c in sorted(zip(found, often, strict=True), key=lambda x: -x[1]) if c >= LEAST_ROWS][:GROUPS]
    left_out = [{"group": str(n), "rows": int(c)} for n, c in zip(found, often, strict=True) if str(n) not in large]
    measure, positive = _measure(actual, outputs, task)
    rows = [{"group": name, "rows": int((held := names == name).sum()), **measure(held)} for name in large]
    told: dict[str, Any] = {"groups": rows, "left_out": left_out, "positive": positive}
    figures = [key for key in (rows[0] if rows else {}) if key not in {"group", "rows"}]
    told |= {f"{key}_difference": _spread(rows, key) for key in figures}
    return told | (_parity(rows, told) if positive is not None else {})


def _measure(actual: pd.Series, outputs: pd.DataFrame, task: str) -> tuple[Any, str | None]:
    if task == "regression":
        error = outputs["prediction"].to_numpy(dtype=float) - actual.to_numpy(dtype=float)
        return lambda held: {"mae": float(np.abs(error[held]).mean()), "mean_error": float(error[held].mean())}, None
    truth, guess = performance.labels(actual), performance.labels(outputs["prediction"])
    right = truth == guess
    classes = performance.classes(performance.probabilities(outputs), truth, guess)
    if not performance.is_binary(classes, truth, guess):
        return lambda held: {"accuracy": float(right[held].mean())}, None
    real, said = truth == classes[1], guess == classes[1]

    def measure(held: np.ndarray) -> dict[str, float | None]:
        return {
            "accuracy": float(right[held].mean()),
            "selection_rate": float(said[held].mean()),
            "true_positive_rate": _share(said[held & real]),
            "false_positive_rate": _share(said[held & ~real]),
        }

    return measure, classes[1]


def _share(values: np.ndarray) -> float | None:
    """None where there is nothing to take a share of: an unknown rate is not a rate of zero."""
    return float(values.mean()) if len(values) else None


def _spread(rows: list[dict[str, Any]], key: str) -> float | None:
    values = [row[key] for row in rows if row[key] is not None]
    return max(values) - min(values) if values else None


def _parity(rows: list[dict[str, Any]], told: dict[str, Any]) -> dict[str, Any]:
    rates = [row["selection_rate"] for row in rows]
    odds = [told[f"{key}_difference"] for key in ("true_positive_rate", "false_positive_rate")]
    known = [value for value in odds if value is not None]
    return {
        "demographic_parity_difference": told["selection_rate_difference"],
        "demographic_parity_ratio": min(rates) / max(rates) if rates and max(rates) else None,
        "equalized_odds_difference": max(known) if known else None,
    }
