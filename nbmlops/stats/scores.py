"""Figures of weighted rows, many weightings at once: what bootstrap intervals and paired comparisons are made of.

A weighting is how often each row was drawn; a score takes an array of shape (draws, rows) and gives one figure a draw.
With a weight of one for every row a score is the figure of :mod:`nbmlops.stats.performance`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from nbmlops.stats import performance

if TYPE_CHECKING:
    import pandas as pd

Score = Callable[[np.ndarray], np.ndarray]
HIGHER = ("roc_auc", "accuracy", "f1", "recall", "precision", "r2")
LOWER = ("log_loss", "brier", "mae", "rmse")
_AT_ONCE = 2_000_000  # cells of one array of weights: 16 MB
_LEAST = 1e-15  # a probability's floor in the log loss, as in scikit-learn before 1.3


def known(actual: pd.Series, outputs: pd.DataFrame, task: str) -> np.ndarray:
    """Which rows can be scored, as truth values: the outcome is known, and of a regression both are finite numbers."""
    there = actual.notna().to_numpy()
    if task != "regression":
        return there
    guess = _numbers(outputs["prediction"])
    return there & np.isfinite(_numbers(actual)) & np.isfinite(guess)


def scores(actual: pd.Series, outputs: pd.DataFrame, task: str) -> dict[str, Score]:
    """The scores that these rows allow, by name.

    Args:
        actual: what was right, known in every row.
        outputs: ``prediction`` and perhaps ``probability_<class>``.
        task: ``classification`` or ``regression``.
    """
    if task == "regression":
        return _regression(_numbers(actual), _numbers(outputs["prediction"]))
    return _classification(actual, outputs)


def resampled(rows: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Bootstrap weightings of so many rows, a few at a time: arrays of shape (some, rows)."""
    chance = np.random.default_rng(seed)
    some = max(1, min(draws, _AT_ONCE // max(rows, 1)))
    for start in range(0, draws, some):
        count = min(some, draws - start)
        drawn = chance.integers(0, rows, (count, rows)) + np.arange(count)[:, None] * rows
        yield np.bincount(drawn.ravel(), minlength=count * rows).reshape(count, rows).astype(float)


def whole(score: Score, rows: int) -> float:
    """A score with every row once."""
    return float(score(np.ones((1, rows)))[0])


def main(names: dict[str, Any] | list[str]) -> str:
    """The one by which a model is judged where nobody says which."""
    return next(name for name in ("roc_auc", "accuracy", "rmse") if name in names)


def _numbers(values: Any) -> np.ndarray:
    import pandas as pd

    return pd.to_numeric(pd.Series(list(values), dtype=object), errors="coerce").to_numpy(dtype=float)


def _mean(of: np.ndarray) -> Score:
    return lambda weights: weights @ of / weights.sum(axis=1)


def _regression(truth: np.ndarray, guess: np.ndarray) -> dict[str, Score]:
    error = (guess - truth) ** 2
    square = _mean(error)
    centred = truth - truth.mean()  # large values with small differences stay exact

    def explained(weights: np.ndarray) -> np.ndarray:
        spread = weights @ centred**2 - (weights @ centred) ** 2 / weights.sum(axis=1)
        return 1 - weights @ error / np.where(spread > 0, spread, np.nan)

    found = {"rmse": lambda weights: np.sqrt(square(weights)), "mae": _mean(np.abs(guess - truth))}
    return found | ({"r2": explained} if len(truth) and np.ptp(truth) > 0 else {})


def _classification(actual: pd.Series, outputs: pd.DataFrame) -> dict[str, Score]:
    truth, guess = performance.labels(actual), performance.labels(outputs["prediction"])
    chances = performance.probabilities(outputs)
    classes = performance.classes(chances, truth, guess)
    hits = np.stack([truth == name for name in classes], axis=1).astype(float)
    found: dict[str, Score] = {"accuracy": _mean((truth == guess).astype(float))}
    if performance.is_binary(classes, truth, guess):
        found |= _of_class((truth == classes[1]).astype(float), (guess == classes[1]).astype(float))
    else:
        found["f1"] = _macro_f1(truth, guess)
    if len(chances.columns):
        found |= _probabilistic(chances.to_numpy(dtype=float), hits)
    return found


def _of_class(hit: np.ndarray, said: np.ndarray) -> dict[str, Score]:
    """Recall, precision and F1 of one class; 0 where nothing can be divided, as scikit-learn's ``zero_division=0``."""

    def share(of: np.ndarray, base: np.ndarray) -> Score:
        return lambda weights: _divided(weights @ of, weights @ base)

    return {
        "f1": share(2 * hit * said, hit + said),
        "recall": share(hit * said, hit),
        "precision": share(hit * said, said),
    }


def _divided(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _macro_f1(truth: np.ndarray, guess: np.ndarray) -> Score:
    names = sorted({*truth, *guess})
    hit = np.stack([truth == name for name in names], axis=1).astype(float)
    said = np.stack([guess == name for name in names], axis=1).astype(float)

    def score(weights: np.ndarray) -> np.ndarray:
        base = weights @ (hit + said)
        there = base > 0  # a class that was drawn in neither counts for nothing
        return _divided(_divided(2 * (weights @ (hit * said)), base).sum(axis=1), there.sum(axis=1).astype(float))

    return score


def _probabilistic(chances: np.ndarray, hits: np.ndarray) -> dict[str, Score]:
    two = chances.shape[1] == 2
    right = np.where(hits.any(axis=1), (chances * hits).sum(axis=1), 0.0)
    error = (chances[:, 1] - hits[:, 1]) ** 2 if two else ((chances - hits) ** 2).sum(axis=1)
    found = {"log_loss": _mean(-np.log(np.clip(right, _LEAST, 1.0))), "brier": _mean(error)}
    often = hits.sum(axis=0)
    if often.min() > 0 and often.max() < len(hits):
        chosen = [1] if two else range(chances.shape[1])
        areas = [_area(chances[:, i], hits[:, i]) for i in chosen]
        found["roc_auc"] = lambda weights: np.mean([area(weights) for area in areas], axis=0)
    return found


def _area(chance: np.ndarray, hit: np.ndarray) -> Score:
    """The area under the ROC curve as the weighted Mann-Whitney statistic, ties counted half."""
    order = np.argsort(chance, kind="stable")
    pos, neg = order[hit[order] > 0], order[hit[order] == 0]
    # How many negatives have a lower chance than each positive, and how many have one that is not higher.
    lower, not_higher = (np.searchsorted(chance[neg], chance[pos], side) for side in ("left", "right"))

    def score(weights: np.ndarray) -> np.ndarray:
        drawn, beaten = weights[:, pos], np.zeros((len(weights), len(neg) + 1))  # of the first 0, 1, … negatives
        np.cumsum(weights[:, neg], axis=1, out=beaten[:, 1:])
        won = np.einsum("ij,ij->i", drawn, beaten[:, lower] + beaten[:, not_higher]) / 2
        pairs = drawn.sum(axis=1) * beaten[:, -1]
        return np.divide(won, pairs, out=np.full_like(won, np.nan), where=pairs > 0)

    return score
