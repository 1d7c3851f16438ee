"""Where a model errs: the confusion of classes, and the residuals of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nbmlops.stats import performance

if TYPE_CHECKING:
    import pandas as pd

CLASSES = 30  # more are put together
_BINS = 10
OTHERS = "(others)"


def confusion(actual: pd.Series, predicted: pd.Series) -> dict[str, Any]:
    """How often each class was taken for each.

    Returns:
        ``classes``, ``counts`` (a row for each true class, a column for each predicted one), and ``by_class``
        (``class rows precision recall f1``). Beyond 30 classes the rarest are one.
    """
    truth, guess = performance.labels(actual), performance.labels(predicted)
    names, often = np.unique(np.concatenate([truth, guess]).astype(str), return_counts=True)
    if len(names) > CLASSES:
        kept = set(names[np.argsort(-often, kind="stable")[: CLASSES - 1]])
        truth, guess = (np.array([v if v in kept else OTHERS for v in side], dtype=object) for side in (truth, guess))
        names = np.array([*sorted(kept), OTHERS])
    ordered = performance.classes(None, truth, guess)
    place = {name: number for number, name in enumerate(ordered)}
    counts = np.zeros((len(ordered), len(ordered)), dtype=int)
    np.add.at(counts, ([place[v] for v in truth], [place[v] for v in guess]), 1)
    return {"classes": ordered, "counts": counts.tolist(), "by_class": _by_class(ordered, counts)}


def _by_class(names: list[str], counts: np.ndarray) -> list[dict[str, Any]]:
    right, real, said = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    return [
        {
            "class": name,
            "rows": int(real[i]),
            "precision": float(right[i] / said[i]) if said[i] else 0.0,
            "recall": float(right[i] / real[i]) if real[i] else 0.0,
            "f1": float(2 * right[i] / (real[i] + said[i])),
        }
        for i, name in enumerate(names)
        if real[i] + said[i]
    ]


def residuals(actual: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """Actual minus predicted: ``mean sd``, quantiles, the share within one ``rmse``, and by tenths of the prediction.

    A mean of a tenth that is far from zero tells that the model is wrong in a way that depends on what it says.

    Args:
        actual, predicted: finite numbers, row by row.
    """
    left = actual - predicted
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, _BINS + 1)))
    place = np.clip(np.searchsorted(edges, predicted, side="right") - 1, 0, max(len(edges) - 2, 0))
    rmse = float(np.sqrt(np.mean(left**2)))
    named = zip(("p05", "p25", "median", "p75", "p95"), np.quantile(left, (0.05, 0.25, 0.5, 0.75, 0.95)), strict=True)
    return {
        "mean": float(left.mean()),
        "sd": float(left.std()),
        **{name: float(value) for name, value in named},
        "within_rmse": float(np.mean(np.abs(left) <= rmse)),
        "by_prediction": [
            {
                "predicted": float(predicted[held].mean()),
                "rows": int(held.sum()),
                "mean": float(left[held].mean()),
                "sd": float(left[held].std()),
            }
            for number in np.unique(place)
            if (held := place == number).any()
        ],
    }
