"""The notebook that stages are measured with, and what can be read from it when it was executed.

Only the standard library: the jobs of every side, in whatever environment, use it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

_PARAMETERS = "seed: int = 0"
_STAGE = (
    "import matplotlib.pyplot as plt\nimport numpy as np\nimport pandas as pd\n"
    "from sklearn.ensemble import RandomForestClassifier\nfrom sklearn.metrics import roc_auc_score",
    "rng = np.random.default_rng(seed)\n"
    'frame = pd.DataFrame(rng.normal(size=(2000, 8)), columns=list("abcdefgh"))\n'
    'frame["late"] = (frame["a"] + frame["b"] + rng.normal(size=2000) > 0).astype(int)',
    'X, y = frame.drop(columns="late"), frame["late"]\n'
    "model = RandomForestClassifier(20, random_state=seed).fit(X[:1500], y[:1500])\n"
    "chance = model.predict_proba(X[1500:])[:, 1]\nscore = roc_auc_score(y[1500:], chance)\nscore",
    "figure, axes = plt.subplots()\naxes.hist(chance, 20)\nplt.show()",
)
_QUICK = ("import random", "draw = random.Random(seed)\nscore = sum(draw.random() for _ in range(1000))\nscore")
_LOGS = "import nbmlops\nnbmlops.log_metric('score', score)"
# Each execution leaves a line, so that one that was not needed can be told, and says what its kernel took. This is
# how kernels that are no children of the measuring process, since they were forked elsewhere, are measured too.
_TRACE = """
import json, time
_cpu = time.process_time()
with open("executions", "a") as _file:
    _file.write(f"{_cpu}\\n")
_lines = [line.split() for name in ("status", "smaps_rollup") for line in open(f"/proc/self/{name}")]
_kib = {words[0]: int(words[1]) for words in _lines if len(words) == 3 and words[2] == "kB"}
_own = _kib["Private_Clean:"] + _kib["Private_Dirty:"]
print(json.dumps({"cpu": _cpu, "peak": _kib["VmHWM:"] / 1000, "own": _own / 1000}))
""".strip()


def write(path: Path, quick: bool = False, logs: bool = False) -> str:
    """A stage with pandas, scikit-learn and pyplot and a small fit, or a quick one that needs no library.

    With ``logs`` it also logs its result with nbmlops.
    """
    logged = (_LOGS,) if logs else ()
    told = document((_PARAMETERS, *(_QUICK if quick else _STAGE), *logged, _TRACE))
    told["cells"][0]["metadata"] = {"tags": ["parameters"]}
    path.write_text(json.dumps(told))
    return str(path)


def document(sources: Sequence[str]) -> dict[str, Any]:
    """A notebook of code cells that have not run, ``cell-0`` and so on."""
    cells = [
        {
            "cell_type": "code",
            "id": f"cell-{number}",
            "metadata": {},
            "source": source,
            "outputs": [],
            "execution_count": None,
        }
        for number, source in enumerate(sources)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def executions() -> list[float]:
    """The processor seconds of each kernel that has executed the notebook in this folder, up to its last cell."""
    file = Path("executions")
    return [float(line) for line in file.read_text().splitlines()] if file.exists() else []


def split(executed: bytes, began: float, clock: float) -> dict[str, float]:
    """What one execution cost, from its notebook and the times around it.

    Seconds ``before`` its first cell, in its ``cells`` and ``after`` its last one, by the times that papermill's
    engines write into the cells; and the megabytes that its kernel took at its ``peak`` and had for its ``own`` at its
    end, not shared with the process that it was forked from. ``cpu`` are processor seconds of this process since
    ``clock`` and of the kernel.
    """
    ended, cpu = time.time(), time.process_time() - clock
    cells = [cell for cell in json.loads(executed)["cells"] if cell["cell_type"] == "code"]
    times = [cell["metadata"]["papermill"] for cell in cells]
    first = min(_seconds(t["start_time"]) for t in times if t["start_time"])
    last = max(_seconds(t["end_time"]) for t in times if t["end_time"])
    told = _told(cells[-1])
    spent = {"wall": ended - began, "before": first - began, "cells": last - first, "after": ended - last}
    return {**spent, **told, "cpu": cpu + told["cpu"]}


def _told(cell: dict[str, Any]) -> dict[str, float]:
    (said,) = (output["text"] for output in cell["outputs"] if output.get("name") == "stdout")
    return json.loads("".join(said))


def _seconds(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()  # noqa: UP017  (peers may be older)
