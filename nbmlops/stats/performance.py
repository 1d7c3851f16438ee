"""Performance against feedback: the figures of a window whose true outcomes are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nbmlops.stats.drift import label

if TYPE_CHECKING:
    import pandas as pd

HIGHER_IS_BETTER = ("roc_auc", "accuracy", "f1", "r2")
LOWER_IS_BETTER = ("rmse", "mae", "brier")
_PREFIX = "probability_"


def performance(outputs: pd.DataFrame, actual: pd.Series, task: str) -> dict[str, float]:
    """Figures of the rows that have feedback; empty if there are none.

    ``outputs`` has the column ``prediction`` and, for classifiers, ``probability_<class>``; ``task`` is
    ``classification`` or ``regression``.
    """
    known = actual.notna().to_numpy()
    if not known.any():
        return {}
    outputs, actual = outputs[known], actual[known]
    if task == "regression":
        return regression(actual, outputs["prediction"])
    return classification(actual, outputs["prediction"], probabilities(outputs))


def task_of(outputs: pd.DataFrame, profile: dict[str, Any] | None = None) -> str:
    """``classification`` if there are probabilities, classes as text or truth values, or few whole numbers."""
    from pandas.api import types

    predicted = outputs["prediction"]
    if any(str(c).startswith(_PREFIX) for c in outputs.columns):
        return "classification"
    if types.is_bool_dtype(predicted) or not types.is_numeric_dtype(predicted):
        return "classification"
    few = int((profile or {}).get("distinct") or predicted.nunique()) <= 20
    return "classification" if types.is_integer_dtype(predicted) and few else "regression"


def classification(actual: Any, predicted: Any, probabilities: pd.DataFrame | None = None) -> dict[str, float]:
    """``rows``, ``accuracy``, ``f1``, and with probabilities ``roc_auc`` and ``brier``.

    Two classes: F1 of the greater label, as scikit-learn's ``pos_label``; more: macro F1 and one-vs-rest ROC AUC, and
    Brier's original score over all classes (G. Brier, 1950). ROC AUC is left out while only one class was seen.
    """
    from sklearn.metrics import accuracy_score, f1_score

    truth, guess = labels(actual), labels(predicted)
    named = classes(probabilities, truth, guess)
    binary = is_binary(named, truth, guess)
    figures = {
        "rows": float(len(truth)),
        "accuracy": float(accuracy_score(truth.astype(str), guess.astype(str))),
        "f1": float(
            f1_score(truth == named[1], guess == named[1], zero_division=0)
            if binary
            else f1_score(truth.astype(str), guess.astype(str), average="macro", zero_division=0)
        ),
    }
    if probabilities is not None and len(probabilities.columns):
        figures |= _probabilistic(truth, probabilities.to_numpy(dtype=float), named)
    return figures


def labels(values: Any) -> np.ndarray:
    """Classes as texts that are equal where the classes are, whatever types they come in."""
    return np.array([label(v) for v in values], dtype=object)


def probabilities(outputs: pd.DataFrame) -> pd.DataFrame:
    """The columns ``probability_<class>``; none for a model without them."""
    return outputs[[c for c in outputs.columns if str(c).startswith(_PREFIX)]]


def is_binary(classes: list[str], truth: np.ndarray, guess: np.ndarray) -> bool:
    """Whether there are two classes, and nothing else was seen."""
    return len(classes) == 2 and set(truth) | set(guess) <= set(classes)


def classes(probabilities: pd.DataFrame | None, truth: np.ndarray, guess: np.ndarray) -> list[str]:
    """The classes as labels, in the order of the probability columns, else in natural order."""
    if probabilities is not None and len(probabilities.columns):
        return [label(_number(str(c).removeprefix(_PREFIX))) for c in probabilities.columns]
    found = sorted({*truth, *guess})
    return sorted(found, key=float) if all(_is_number(name) for name in found) else found


def _number(text: str) -> Any:
    if text in {"True", "False"}:
        return text == "True"
    return float(text) if _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _probabilistic(truth: np.ndarray, chances: np.ndarray, classes: list[str]) -> dict[str, float]:
    from sklearn.metrics import roc_auc_score

    hits = np.stack([truth == name for name in classes], axis=1).astype(float)
    figures: dict[str, float] = {}
    seen = hits.sum(axis=0)
    if len(classes) == 2:
        figures["brier"] = float(np.mean((chances[:, 1] - hits[:, 1]) ** 2))
        if (seen > 0).all():
            figures["roc_auc"] = float(roc_auc_score(hits[:, 1], chances[:, 1]))
    else:
        figures["brier"] = float(np.mean(((chances - hits) ** 2).sum(axis=1)))
        areas = [roc_auc_score(hits[:, i], chances[:, i]) for i in range(len(classes)) if 0 < seen[i] < len(truth)]
        if areas and (seen > 0).all():
            figures["roc_auc"] = float(np.mean(areas))
    return figures


def regression(actual: Any, predicted: Any) -> dict[str, float]:
    """``rows``, ``mae``, ``rmse`` and ``r2`` (left out if the actual values are all the same).

    Rows whose actual or predicted value is not a finite number are left out.
    """
    import pandas as pd

    truth = pd.to_numeric(pd.Series(list(actual), dtype=object), errors="coerce").to_numpy(dtype=float)
    guess = pd.to_numeric(pd.Series(list(predicted), dtype=object), errors="coerce").to_numpy(dtype=float)
    known = np.isfinite(truth) & np.isfinite(guess)
    truth, guess = truth[known], guess[known]
    if not len(truth):
        return {}
    error = guess - truth
    figures = {
        "rows": float(len(truth)),
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
    }
    spread = float(((truth - truth.mean()) ** 2).sum())
    return figures | ({"r2": 1 - float((error**2).sum()) / spread} if spread > 0 else {})
