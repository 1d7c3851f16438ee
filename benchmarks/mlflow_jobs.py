"""The same jobs as a user of MLflow writes them, on a SQLite store. Needs nothing of nbmlops: run by path."""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_now = time.perf_counter
_DATABASE = "mlruns.db"


def _mlflow() -> Any:
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{_DATABASE}")
    return mlflow


def _ready() -> Any:
    """With its database made, and one run behind it."""
    mlflow = _mlflow()
    with mlflow.start_run():
        mlflow.log_metric("warm", 0.5)
    return mlflow


def load_ext() -> dict[str, float]:
    """``import mlflow`` in a running shell, or in plain Python where there is no IPython."""
    try:
        from IPython.core.interactiveshell import InteractiveShell
    except ImportError:
        began = _now()
        import mlflow  # noqa: F401
    else:
        shell = InteractiveShell.instance()
        shell.run_cell("1 + 1")
        began = _now()
        shell.run_cell("import mlflow")
    return {"ms": (_now() - began) * 1000}


def first_run() -> dict[str, float]:
    import subprocess

    new = first_run_again()["ms"]
    done = subprocess.run(
        [sys.executable, "-P", __file__, "first_run_again", "{}"], capture_output=True, text=True, check=True
    )
    return {"new": new, "again": json.loads(done.stdout.splitlines()[-1])["ms"]}


def first_run_again() -> dict[str, float]:
    mlflow = _mlflow()
    began = _now()
    mlflow.start_run()
    took = _now() - began
    mlflow.end_run()
    return {"ms": took * 1000}


def log_metric(calls: int) -> dict[str, float]:
    mlflow = _ready()
    took = []
    with mlflow.start_run():
        for step in range(calls):
            began = _now()
            mlflow.log_metric("loss", 0.5, step)
            took.append(_now() - began)
    took.sort()
    return {"median": took[calls // 2] * 1e6, "p99": took[calls * 99 // 100] * 1e6}


def durable(points: int, of: int) -> dict[str, float]:
    """``points`` calls, scaled to ``of``: each call is a transaction of its own, so they cost the same."""
    mlflow = _ready()
    mlflow.start_run()
    began = _now()
    for step in range(points):
        mlflow.log_metric("loss", 0.5, step)
    mlflow.end_run()
    return {"seconds": (_now() - began) * of / points}


def size(points: int) -> dict[str, float]:
    mlflow = _ready()
    from mlflow.entities import Metric

    client, draw = mlflow.MlflowClient(), random.Random(1)
    before = _bytes()
    with mlflow.start_run() as run:
        for part in range(points // 1000):
            at = int(time.time() * 1000)
            batch = [
                Metric(f"m{m}", draw.random(), at, step)
                for step in range(part * 100, part * 100 + 100)
                for m in range(10)
            ]
            client.log_batch(run.info.run_id, metrics=batch)
    return {"bytes": (_bytes() - before) / points}


def _bytes() -> int:
    return sum(path.stat().st_size for path in Path().glob(f"{_DATABASE}*"))


def whole_run(runs: int) -> dict[str, float]:
    mlflow = _ready()
    params = {f"p{n}": n / 7 for n in range(20)}
    metrics = {f"m{n}": n / 3 for n in range(10)}
    took = []
    for _ in range(runs + 1):
        began = _now()
        with mlflow.start_run():
            mlflow.log_params(params)
            mlflow.log_metrics(metrics)
        took.append(_now() - began)
    return {"ms": statistics.median(took[1:]) * 1000}


def table(runs: int, repeats: int) -> dict[str, float]:
    mlflow = _ready()
    from mlflow.entities import Metric, Param

    client, draw = mlflow.MlflowClient(), random.Random(2)
    experiment = client.create_experiment("many")
    for _ in range(runs):
        run_id = client.create_run(experiment).info.run_id
        at = int(time.time() * 1000)
        client.log_batch(
            run_id,
            metrics=[Metric(f"m{n}", draw.random(), at, 0) for n in range(15)],
            params=[Param(f"p{n}", str(draw.randrange(20))) for n in range(15)],
        )
    took = []
    for _ in range(repeats + 1):
        began = _now()
        frame = mlflow.search_runs([experiment], order_by=["metrics.m0 DESC"], max_results=runs)
        took.append(_now() - began)
        assert frame.shape[0] == runs
    return {"cold": took[0] * 1000, "warm": statistics.median(took[1:]) * 1000}


def autolog(fits: int) -> dict[str, float]:
    """Without keeping the model, as nbmlops does it by default; and with it (``model``), MLflow's default."""
    mlflow = _ready()
    fit = _small_fit()
    alone = _median(fit, fits * 10)
    mlflow.sklearn.autolog(log_models=False, silent=True)
    own = _median(fit, fits)
    with mlflow.start_run():
        inside = _median(fit, fits)
    mlflow.sklearn.autolog(log_models=True, silent=True)
    model = _median(fit, 2)
    return {"fit": alone, "own": own - alone, "inside": inside - alone, "model": model - alone}


def _small_fit() -> Callable[[], object]:
    import numpy as np
    from sklearn.tree import DecisionTreeClassifier

    draw = np.random.default_rng(4)
    x = draw.normal(size=(500, 10))
    y = (x[:, 0] + draw.normal(size=500) > 0).astype(int)
    return lambda: DecisionTreeClassifier(max_depth=8, random_state=0).fit(x, y)


def _median(call: Callable[[], object], repeats: int) -> float:
    took = []
    for _ in range(repeats + 1):
        began = _now()
        call()
        took.append(_now() - began)
    return statistics.median(took[1:]) * 1000


if __name__ == "__main__":
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    print(json.dumps(globals()[sys.argv[1]](**json.loads(sys.argv[2]))))
