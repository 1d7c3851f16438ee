"""The same as a user of MLflow does it, on a SQLite store. Needs nothing of nbmlops: run by path."""

from __future__ import annotations

import json
import logging
import statistics
import sys
import time
import warnings
from typing import Any

_now = time.perf_counter


def _mlflow() -> Any:
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    mlflow.set_tracking_uri("sqlite:///mlruns.db")
    return mlflow


def forest(trees: int, rows: int) -> tuple[Any, Any, Any]:
    """The forest that registry_jobs.py has."""
    import numpy as np
    import pandas as pd
    from sklearn.ensemble import RandomForestClassifier

    chance = np.random.default_rng(0)
    frame = pd.DataFrame(chance.normal(size=(rows, 10)), columns=[f"c{i}" for i in range(10)])
    target = (frame.c0 + chance.normal(0, 0.5, rows) > 0).astype(int)
    return RandomForestClassifier(trees, random_state=0, n_jobs=1, max_depth=8).fit(frame, target), frame, target


def _register(mlflow: Any, model: Any, frame: Any) -> Any:
    """With everything given that it would otherwise have to find out."""
    from mlflow.models import infer_signature

    trusted = [
        "sklearn.ensemble._forest.RandomForestClassifier",
        "sklearn.tree._classes.DecisionTreeClassifier",
        "sklearn.tree._tree.Tree",
    ]
    with mlflow.start_run():
        return mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(frame, model.predict(frame[:100])),
            input_example=None,
            pip_requirements=["scikit-learn"],
            registered_model_name="bench",
            serialization_format="skops",
            skops_trusted_types=trusted,
        )


def register(trees: int, rows: int, repeats: int) -> dict[str, float]:
    mlflow, (model, frame, _) = _mlflow(), forest(trees, rows)
    took = []
    for _ in range(repeats + 1):
        began = _now()
        _register(mlflow, model, frame)
        took.append(_now() - began)
    return {"ms": _median(took)}


def load(trees: int, rows: int, repeats: int) -> dict[str, float]:
    mlflow, (model, frame, _) = _mlflow(), forest(trees, rows)
    info = _register(mlflow, model, frame)
    took = []
    for _ in range(repeats + 1):
        began = _now()
        mlflow.sklearn.load_model(info.model_uri).predict(frame[:1])
        took.append(_now() - began)
    return {"ms": _median(took)}


def decide(trees: int, rows: int, repeats: int) -> dict[str, float]:
    """An alias is all there is: no gate, no approval, no way back but setting it again."""
    mlflow, (model, frame, _) = _mlflow(), forest(trees, rows)
    _register(mlflow, model, frame)
    client, took = mlflow.MlflowClient(), []
    for _ in range(repeats + 1):
        began = _now()
        client.set_registered_model_alias("bench", "production", "1")
        took.append(_now() - began)
    return {"promote": _median(took), "approve": _median(took), "rollback": _median(took)}


def _median(times: list[float]) -> float:
    return statistics.median(times[1:] or times) * 1000


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(globals()[sys.argv[1]](**json.loads(sys.argv[2]))))
