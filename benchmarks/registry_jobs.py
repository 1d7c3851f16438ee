"""A registry as a user of nbmlops uses it. Run as ``python registry_jobs.py JOB OPTIONS``, OPTIONS being JSON."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

_now = time.perf_counter
os.environ["NBMLOPS_STAGING_SERVICE"] = "false"  # a service that starts is measured by itself


def forest(trees: int, rows: int) -> tuple[Any, Any, Any]:
    """A fitted forest, its ten columns, and the target; the peer has the same."""
    import numpy as np
    import pandas as pd
    from sklearn.ensemble import RandomForestClassifier

    chance = np.random.default_rng(0)
    frame = pd.DataFrame(chance.normal(size=(rows, 10)), columns=[f"c{i}" for i in range(10)])
    target = (frame.c0 + chance.normal(0, 0.5, rows) > 0).astype(int)
    return RandomForestClassifier(trees, random_state=0, n_jobs=1, max_depth=8).fit(frame, target), frame, target


def register(trees: int, rows: int, repeats: int) -> dict[str, float]:
    """Register with training data, then with frozen test data besides; the first of each is not counted."""
    import nbmlops

    model, frame, target = forest(trees, rows)
    plain, judged = [], []
    for _ in range(repeats + 1):
        began = _now()
        nbmlops.register_model(model, "bench", training_data=frame)
        plain.append(_now() - began)
    for _ in range(repeats + 1):
        began = _now()
        nbmlops.register_model(model, "bench", training_data=frame, test_data=(frame[:2000], target[:2000]))
        judged.append(_now() - began)
    return {"ms": _median(plain), "judged": _median(judged)}


def load(trees: int, rows: int, repeats: int) -> dict[str, float]:
    """Load the latest version, and answer one row."""
    import nbmlops

    model, frame, _ = forest(trees, rows)
    nbmlops.register_model(model, "bench", training_data=frame)
    took = []
    for _ in range(repeats + 1):
        began = _now()
        nbmlops.load_model("bench").predict(frame[:1])
        took.append(_now() - began)
    return {"ms": _median(took)}


def decide(trees: int, rows: int, repeats: int) -> dict[str, float]:
    """Through the gates of staging, into production with an approval, and back."""
    import nbmlops

    model, frame, target = forest(trees, rows)
    took: dict[str, list[float]] = {"promote": [], "approve": [], "rollback": []}
    for _ in range(repeats + 1):
        ref = nbmlops.register_model(model, "bench", training_data=frame, test_data=(frame[:500], target[:500])).ref
        took["promote"].append(_timed(lambda ref=ref: nbmlops.promote(ref, "staging", "tested")))
        nbmlops.promote(ref, "production", "wanted")
        took["approve"].append(_timed(lambda ref=ref: nbmlops.approve(ref, "production", "agreed")))
    for _ in range(repeats):
        took["rollback"].append(_timed(lambda: nbmlops.rollback("bench", "production", "drift")))
    return {name: _median(times) for name, times in took.items()}


def ledger(events: int) -> dict[str, float]:
    """Append events one by one, as decisions do, and verify the whole chain."""
    from nbmlops.session import workspace
    from nbmlops.store import ledger as chain

    store = workspace().store
    began = _now()
    for number in range(events):
        with store.write() as db:
            chain.append(db, type="bench", subject="model:bench@1", user="bench", data={"number": number})
    appended = _now() - began
    began = _now()
    workspace().verify_ledger()
    return {"append": appended / events * 1000, "verify": (_now() - began) * 1000}


def lineage(runs: int) -> dict[str, float]:
    """What followed from a data set that many runs have read."""
    import pandas as pd

    import nbmlops
    from nbmlops.session import workspace

    nbmlops.snapshot(pd.DataFrame({"a": range(10)}), "raw")
    for _ in range(runs):
        with nbmlops.start_run():
            nbmlops.load_dataset("raw")
    began = _now()
    found = workspace().lineage.why("dataset:raw", impact=True)
    assert len(found.nodes()) > min(runs, 900)
    return {"ms": (_now() - began) * 1000}


def _timed(act: Callable[[], Any]) -> float:
    began = _now()
    act()
    return _now() - began


def _median(times: list[float]) -> float:
    return statistics.median(times[1:] or times) * 1000


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(globals()[sys.argv[1]](**json.loads(sys.argv[2]))))
