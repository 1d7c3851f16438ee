"""The jobs as a user of nbmlops writes them. Run as ``python nbmlops_jobs.py JOB OPTIONS``, OPTIONS being JSON."""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HEAVY = (
    "alembic", "anywidget", "click", "fastapi", "ipywidgets", "jupyterlab", "matplotlib", "mlflow", "nbclient",
    "nbconvert", "nbformat", "numpy", "pandas", "papermill", "polars", "psutil", "pyarrow", "rich", "scipy", "skops",
    "sklearn", "sqlalchemy", "yaml", "zstandard",
)  # fmt: skip
_now = time.perf_counter


def load_ext() -> dict[str, float]:
    """``%load_ext nbmlops`` in a shell that has loaded nothing else, and which heavy libraries came with it."""
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shell.run_cell("1 + 1")
    before = set(sys.modules)
    began = _now()
    shell.run_line_magic("load_ext", "nbmlops")
    took = _now() - began
    came = [name for name in HEAVY if name in sys.modules and name not in before]
    if came:
        print("%load_ext nbmlops brought", *came, file=sys.stderr)
    return {"ms": took * 1000, "heavy": len(came)}


def first_run() -> dict[str, float]:
    """The first ``start_run`` of a shell, when the store is new, and (asked of a second process) when it exists."""
    new = _first_run_of_a_shell()
    script = [sys.executable, "-P", __file__, "first_run_again", "{}"]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    return {"new": new, "again": json.loads(done.stdout.splitlines()[-1])["ms"]}


def first_run_again() -> dict[str, float]:
    return {"ms": _first_run_of_a_shell()}


def _first_run_of_a_shell() -> float:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "nbmlops")
    shell.run_cell("import nbmlops")
    import nbmlops

    began = _now()
    nbmlops.start_run()
    took = _now() - began
    nbmlops.end_run()
    return took * 1000


def log_metric(calls: int) -> dict[str, float]:
    """One call, as the caller sees it, the folding thread at work beside it."""
    import nbmlops

    took = []
    with nbmlops.start_run():
        for step in range(1000):
            nbmlops.log_metric("warm", 0.5, step)
        for step in range(calls):
            began = _now()
            nbmlops.log_metric("loss", 0.5, step)
            took.append(_now() - began)
    took.sort()
    return {"median": took[calls // 2] * 1e6, "p99": took[calls * 99 // 100] * 1e6}


def durable(points: int) -> dict[str, float]:
    """Points of one metric, from the first call until the run has ended and all is on the disk."""
    import nbmlops

    with nbmlops.start_run():
        nbmlops.log_metric("warm", 0.5)
    nbmlops.start_run()
    began = _now()
    for step in range(points):
        nbmlops.log_metric("loss", 0.5, step)
    nbmlops.end_run()
    return {"seconds": _now() - began}


def size(points: int) -> dict[str, float]:
    """Bytes of a store's files for each point of ten metrics whose values use all bits."""
    import nbmlops
    from nbmlops import session

    draw = random.Random(1)
    with nbmlops.start_run():
        nbmlops.log_metrics({f"m{m}": 0.5 for m in range(10)})
    session.reset()
    before = _bytes()
    with nbmlops.start_run():
        for step in range(points // 10):
            nbmlops.log_metrics({f"m{m}": draw.random() for m in range(10)}, step)
    session.reset()
    return {"bytes": (_bytes() - before) / points}


def _bytes() -> int:
    return sum(path.stat().st_size for path in Path(os.environ["NBMLOPS_STORE"]).rglob("*") if path.is_file())


def whole_run(runs: int) -> dict[str, float]:
    """Create a run, log 20 parameters and 10 metrics, finish it."""
    import nbmlops

    params = {f"p{n}": n / 7 for n in range(20)}
    metrics = {f"m{n}": n / 3 for n in range(10)}
    took = []
    for _ in range(runs + 1):
        began = _now()
        with nbmlops.start_run():
            nbmlops.log_params(params)
            nbmlops.log_metrics(metrics)
        took.append(_now() - began)
    return {"ms": statistics.median(took[1:]) * 1000}


def seen(seconds: float) -> dict[str, float]:
    """How long another process waits for a point at most, and how many points a SIGKILL costs."""
    import nbmlops
    from nbmlops.store import open_store, schema

    store = open_store()
    script = [sys.executable, "-P", __file__, "write_until_killed", "{}"]
    writer = subprocess.Popen(script, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    run_id = json.loads(writer.stdout.readline())["run_id"]
    latest = schema.metric_latest
    query = latest.select().with_only_columns(latest.c.value)
    worst, began = 0.0, _now()
    while _now() - began < seconds:
        time.sleep(0.01)
        with store.read() as db:
            at = db.execute(query).scalar()
        worst = max(worst, time.time() - at if at is not None else _now() - began)
    writer.send_signal(signal.SIGKILL)
    logged = int(writer.stdout.read().split()[-1])  # what it had said to have logged, and perhaps one more
    writer.wait()
    stored = len(nbmlops.get_metric_history(run_id, "now"))
    return {"seconds": worst, "lost": max(0, logged - stored)}


def write_until_killed() -> dict[str, float]:
    import nbmlops

    run = nbmlops.start_run()
    print(json.dumps({"run_id": run.info.run_id}), flush=True)
    for number in range(1, 10**9):
        nbmlops.log_metric("now", time.time(), number)
        os.write(1, b"%d\n" % number)
        time.sleep(0.002)
    return {}


def build_runs(runs: int, params: int = 15, metrics: int = 15) -> dict[str, float]:
    """Put finished runs into the store, straight into its tables."""
    from nbmlops import clock
    from nbmlops.store import open_store, schema

    draw = random.Random(2)
    store = open_store()
    began = _now()
    with store.write() as db:
        experiment = {"id": clock.new_id(), "name": "many", "created_at": clock.now(), "tags": {}}
        db.execute(schema.experiments.insert(), experiment)
        ids = store.key_ids(db, [f"p{n}" for n in range(params)] + [f"m{n}" for n in range(metrics)])
        p, m = [ids[f"p{n}"] for n in range(params)], [ids[f"m{n}"] for n in range(metrics)]
        at = clock.now() - runs
        head = (experiment["id"], "run", "FINISHED", "someone", "here", 1, '{"type": "script"}', "")
        _insert(
            db,
            "runs (seq, id, name, started_at, ended_at, heartbeat_at, "
            "experiment_id, kind, status, user, host, pid, source, description)",
            ((n, clock.new_id(), f"run-{n}", at + n, at + n + 1, at + n + 1, *head) for n in range(1, runs + 1)),
        )
        _insert(
            db,
            "params (run_seq, key_id, value, type, number)",
            ((n, k, str(v), "int", v) for n in range(1, runs + 1) for k in p for v in (draw.randrange(20),)),
        )
        _insert(
            db,
            "metric_latest (run_seq, key_id, step, at, value, minimum, maximum, points)",
            ((n, k, 0, at + n, v, v, v, 1) for n in range(1, runs + 1) for k in m for v in (draw.random(),)),
        )
    store.close()
    return {"seconds": _now() - began}


def _insert(db: Any, table: str, rows: Any) -> None:
    marks = ", ".join("?" * (table.count(",") + 1))
    db.connection.driver_connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)


def table(runs: int, repeats: int) -> dict[str, float]:
    """The runs as a DataFrame, sorted by a metric: the first time in a process, and again."""
    build_runs(runs)
    return read_table(runs, repeats)


def read_table(runs: int, repeats: int) -> dict[str, float]:
    import pandas  # noqa: F401  (the user's notebook has it)

    import nbmlops

    took = []
    for _ in range(repeats + 1):
        began = _now()
        frame = nbmlops.search_runs(order_by=["metrics.m0 DESC"], max_results=runs)
        took.append(_now() - began)
        assert frame.shape[0] == runs
        assert frame["metrics.m0"].is_monotonic_decreasing
    return {"cold": took[0] * 1000, "warm": statistics.median(took[1:]) * 1000}


def many_runs(runs: int, repeats: int) -> dict[str, float]:
    """A sorted, filtered page of 100 runs, and the whole table cold (a fresh process) and warm."""
    built = build_runs(runs)
    script = [sys.executable, "-P", __file__, "read_table", json.dumps({"runs": runs, "repeats": 2})]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    return {**json.loads(done.stdout.splitlines()[-1]), "page": _page(repeats), "build": built["seconds"]}


def _page(repeats: int) -> float:
    import nbmlops

    took = []
    for number in range(repeats + 1):
        wanted = f"params.p0 = '{number % 20}' AND metrics.m0 > 0.5"
        began = _now()
        page = nbmlops.search_runs(None, wanted, ["metrics.m1 DESC"], 100)
        took.append(_now() - began)
        assert 0 < page.shape[0] <= 100
    return statistics.median(took[1:]) * 1000


def series(points: int, repeats: int) -> dict[str, float]:
    """One long metric, read and thinned to what a curve in the notebook draws."""
    import nbmlops
    from nbmlops.widgets.views import MOST_POINTS, curve_payload

    draw = random.Random(3)
    with nbmlops.start_run() as run:
        level = 0.0
        for step in range(points):
            level += draw.random() - 0.5
            nbmlops.log_metric("loss", level, step)
    read, drawn = [], []
    for _ in range(repeats + 1):
        began = _now()
        history = nbmlops.get_metric_history(run.info.run_id, "loss")
        read.append(_now() - began)
        payload = curve_payload(history)
        drawn.append(_now() - began)
        assert payload["total"] == points
        assert len(payload["points"]) <= MOST_POINTS
    return {"ms": statistics.median(drawn[1:]) * 1000, "read": statistics.median(read[1:]) * 1000}


def autolog(fits: int) -> dict[str, float]:
    """What autolog adds to a fit of about 2.5 ms: each fit a run of its own, and inside a run that is open."""
    import nbmlops

    fit = _small_fit()
    alone = _median(fit, fits)
    nbmlops.autolog()
    own = _median(fit, fits)
    with nbmlops.start_run():
        inside = _median(fit, fits)
    return {"fit": alone, "own": own - alone, "inside": inside - alone}


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
    print(json.dumps(globals()[sys.argv[1]](**json.loads(sys.argv[2]))))
