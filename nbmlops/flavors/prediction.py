"""What a model answers, as a frame with the same columns everywhere: registration, batch, server and monitor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from nbmlops.errors import UsageFault
from nbmlops.flavors import signature as signatures


def predict(model: Any, signature: dict[str, Any], frame: pd.DataFrame) -> pd.DataFrame:
    """``prediction`` (or ``prediction_0`` …) and, for classifiers ``probability_<class>``; the index is kept.

    Args:
        frame: already checked against the signature.

    Raises:
        UsageFault: the model has no ``predict``.
    """
    if not hasattr(model, "predict"):
        raise UsageFault(
            f"a {type(model).__name__} makes no predictions", "load_model(ref) gives the object, with all its methods"
        )
    if not len(frame):
        return _empty(signature, frame.index)
    given = signatures.model_input(signature, frame)
    chances = _probabilities(model, given)
    values = _labels(model, given, chances)
    if values.ndim == 1:
        columns: dict[str, Any] = {"prediction": values}
        if chances is not None:
            columns |= {
                f"probability_{name}": chances[:, i] for i, name in enumerate(np.asarray(model.classes_).tolist())
            }
    else:
        columns = {f"prediction_{i}": values[:, i] for i in range(values.shape[1])}
    return pd.DataFrame(columns, index=frame.index)


def describe(model: Any, signature: dict[str, Any], frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The ``outputs`` of a signature, found by predicting some rows; empty for a model without ``predict``."""
    if not hasattr(model, "predict") or not len(frame):
        return []
    found = predict(model, signature, frame.head(100))
    entries = [signatures.describe(str(name), found[name]) for name in found.columns]
    return [{k: e[k] for k in ("name", "type", "kind", "nullable")} for e in entries if isinstance(e, dict)]


def _labels(model: Any, given: Any, chances: np.ndarray | None) -> np.ndarray:
    if chances is not None and type(model).__name__ in {"RandomForestClassifier", "ExtraTreesClassifier"}:
        # A forest's predict is the most probable class (sklearn/ensemble/_forest.py); its trees need not vote twice.
        return np.asarray(model.classes_).take(np.argmax(chances, axis=1), axis=0)
    return np.asarray(model.predict(given))


def _probabilities(model: Any, given: Any) -> np.ndarray | None:
    """Shape (rows, classes); None for a model without classes, or with several outputs."""
    if not hasattr(model, "predict_proba") or not hasattr(model, "classes_"):
        return None
    chances = model.predict_proba(given)
    fits = (
        isinstance(chances, np.ndarray)
        and chances.ndim == 2
        and np.asarray(model.classes_).shape == (chances.shape[1],)
    )
    return chances if fits else None


def _empty(signature: dict[str, Any], index: pd.Index) -> pd.DataFrame:
    return pd.DataFrame({o["name"]: pd.Series([], dtype=o["type"]) for o in signature["outputs"]}, index=index)
