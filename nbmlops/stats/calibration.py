"""Whether probabilities mean what they say: reliability by bins, calibration error, Brier's score taken apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nbmlops.stats import performance

if TYPE_CHECKING:
    import pandas as pd

BINS = 10


def calibration(actual: pd.Series, outputs: pd.DataFrame, *, bins: int = BINS) -> dict[str, Any]:
    """Of two classes the greater one's probability, of more that of the predicted class, against what came true.

    Bins hold equally many rows; equal probabilities stay together. ``ece`` is the expected calibration error (Naeini et
    al., 2015), ``mce`` the largest one. ``reliability - resolution + uncertainty`` is the Brier score of the bins
    (A. Murphy, 1973).

    Args:
        actual: what was right, known in every row.
        outputs: ``prediction`` and ``probability_<class>``.
        bins: at most so many.

    Returns:
        ``of`` (the class, or "the predicted class"), the figures, and ``bins`` (``low high rows said came``).
        Empty for a model without probabilities.
    """
    chances = performance.probabilities(outputs)
    if not len(chances.columns) or not len(actual):
        return {}
    truth = performance.labels(actual)
    classes = performance.classes(chances, truth, truth)
    values = chances.to_numpy(dtype=float)
    if len(classes) == 2:
        of, said, came = classes[1], values[:, 1], truth == classes[1]
    else:
        top = values.argmax(axis=1)
        of, said, came = "the predicted class", values.max(axis=1), truth == np.array(classes, dtype=object)[top]
    rows = _bins(said, came.astype(float), bins)
    weight = np.array([row["rows"] for row in rows]) / len(said)
    gap = np.array([row["said"] - row["came"] for row in rows])
    base = float(came.mean())
    return {
        "of": of,
        "ece": float(weight @ np.abs(gap)),
        "mce": float(np.abs(gap).max()),
        "reliability": float(weight @ gap**2),
        "resolution": float(weight @ np.array([(row["came"] - base) ** 2 for row in rows])),
        "uncertainty": base * (1 - base),
        "bins": rows,
    }


def _bins(said: np.ndarray, came: np.ndarray, bins: int) -> list[dict[str, float]]:
    edges = np.unique(np.quantile(said, np.linspace(0, 1, bins + 1)))
    place = np.clip(np.searchsorted(edges, said, side="right") - 1, 0, max(len(edges) - 2, 0))
    return [
        {
            "low": float(said[held].min()),
            "high": float(said[held].max()),
            "rows": int(held.sum()),
            "said": float(said[held].mean()),
            "came": float(came[held].mean()),
        }
        for number in np.unique(place)
        if (held := place == number).any()
    ]
