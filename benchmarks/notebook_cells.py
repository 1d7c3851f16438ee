"""The cells that notebooks are measured with."""

from __future__ import annotations

from collections.abc import Callable

_LONG = "\n".join(
    f"value_{n} = [item * {n} for item in range(3)]" if n % 4 else f"def step_{n}(items):\n    return sum(items) + {n}"
    for n in range(34)
)
# What one cell of each kind is, given a number of its own; ``names`` runs among a thousand other names.
CASES: dict[str, Callable[[int], str]] = {
    "small": "x = {} + 1".format,
    "long": (_LONG + "\nlast = {}").replace("{}", "{0}").format,
    "names": "x = {} + 1".format,
    "prints": "for line in range(1000):\n    print(f'line {{line}} of {}')".format,
    "run": "nbmlops.log_metrics({{f'm{{n}}': n / 7 for n in range(10)}}, {})".format,
}

_HEAD = """
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import nbmlops

SEED = 7
""".strip()
_MADE = """
rng = np.random.default_rng(SEED)
frame = pd.DataFrame(rng.normal(size=(400, 4)), columns=list("abcd"))
frame["late"] = (frame["a"] + rng.normal(size=400) > 0).astype(int)
""".strip()
_LAST = """
columns = [name for name in frame.columns if name != "late"]
model = LogisticRegression(max_iter=200, random_state=SEED).fit(frame[columns], frame["late"])
auc = roc_auc_score(frame["late"], model.predict_proba(frame[columns])[:, 1])
""".strip()
# In between: steps that the result needs, and looks that it does not.
_STEPS = (
    'frame["ratio_{n}"] = frame["a"] / (1 + frame["b"].abs()) + {n}',
    "frame.describe().T.head()",
    'def share_{n}(column, above={n}):\n    return float((frame[column] > above).mean())\n\n\nshare_{n}("a")',
    'seen = frame.groupby("late")["a"].agg(["mean", "std"])\nseen.loc[0, "mean"] += {n}\nseen',
    'frame.loc[frame["c"] > {n} + 2, "c"] = 0.0\nmost = frame["c"].max()',
    "columns_{n} = [name.upper() for name in frame.columns if len(name) > 1]\nlen(columns_{n})",
)
_QUICK = {
    _HEAD: "import random\n\nimport nbmlops\n\nSEED = 7",
    _MADE: "rng = random.Random(SEED)\nframe = {'late': 1.0}",
    _LAST: "auc = round(sum(frame.values()), 3)",
}
_QUICK_STEPS = ("frame['x{n}'] = rng.random() + {n}", "sorted(frame)", "most_{n} = max(frame.values())\nmost_{n}")


def analysis(cells: int, quick: bool = False, variant: int = 0) -> list[str]:
    """A notebook of so many cells that ends with a run and a metric, with pandas and scikit-learn, or quick without.

    Variants are alike, with other numbers in every cell.
    """
    head, made, last = (_QUICK[part] if quick else part for part in (_HEAD, _MADE, _LAST))
    steps = _QUICK_STEPS if quick else _STEPS
    end = 'with nbmlops.start_run():\n    nbmlops.log_metric("auc", auc)'
    middle = [steps[n % len(steps)].format(n=n + 100 * variant) for n in range(cells - 4)]
    mark = f"\n# {variant}" if variant else ""
    return [f"{source}{mark}" for source in (head, made, *middle, last, end)]
