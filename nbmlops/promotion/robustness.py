"""How the packaged model takes strange rows: what its signature refuses is fine, what breaks it is not."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from nbmlops.errors import InvalidValue
from nbmlops.records import Finding, ModelVersion

if TYPE_CHECKING:
    import pandas as pd

    from nbmlops.stats.robustness import Strange

ROWS = 100
MOST_CHANGED = 0.2  # of the labels, or of a number, by noise of 1 % of the range
Predict = Callable[["pd.DataFrame"], "pd.DataFrame"]


def findings(version: ModelVersion, rows: pd.DataFrame, predict: Predict) -> list[Finding]:
    """One finding for each way in which the rows were turned strange.

    Args:
        version: its signature says what was seen in training.
        rows: as the model takes them; the first 100 are used.
        predict: checks rows against the signature, and answers them.
    """
    from nbmlops.stats import robustness

    rows = rows.head(ROWS).reset_index(drop=True)
    before = predict(rows)
    if "prediction" not in before:
        return []
    strange = robustness.turned(rows, version.signature["inputs"])
    return [_finding(before, s, predict) for s in strange]


def _finding(before: pd.DataFrame, strange: Strange, predict: Predict) -> Finding:
    from nbmlops.stats import robustness

    asked = f"{strange.what}: answered, or refused with a reason"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numbers that overflow are meant to
            after = predict(strange.rows)
    except InvalidValue as error:
        seen = f"refused: {'; '.join(error.faults[:3]) or error.message}"
        return Finding(strange.check, "block" if strange.same else "pass", asked, seen)
    except Exception as error:  # the model's own code: whatever it raises is the finding
        seen, hint = f"{type(error).__name__}: {error}", "let the model handle such rows, or narrow its input example"
        if strange.unseen:
            return Finding(strange.check, "pass", asked, f"refused by the model: {seen.splitlines()[0]}")
        return Finding(strange.check, "block" if strange.same else "warn", asked, seen, hint)
    if strange.same:
        return _unchanged(strange, before, after)
    if broken := robustness.unanswered(after):
        hint = "give missing or far values a step of their own, such as an imputer or a clipping one"
        return Finding(strange.check, "warn", asked, f"{broken} of {len(after)} rows get no value", hint)
    share = robustness.changed(before, after)
    seen = f"all {len(after)} rows answered; {_words(before, share)}"
    if strange.check == "noise" and share > MOST_CHANGED:
        return Finding("noise", "warn", asked, seen, "the model follows noise: regularise it, or smooth its inputs")
    return Finding(strange.check, "pass", asked, seen)


def _unchanged(strange: Strange, before: pd.DataFrame, after: pd.DataFrame) -> Finding:
    from nbmlops.stats import robustness

    asked = f"{strange.what}: the same answers"
    share = robustness.changed(before, after)
    if share <= 1e-9:  # the last bits of a sum may depend on the order of a batch
        return Finding(strange.check, "pass", asked, f"{len(before)} rows, all equal")
    hint = "a step of the model looks at places instead of names, or at the whole batch"
    return Finding(strange.check, "block", asked, _words(before, share), hint)


def _words(before: pd.DataFrame, share: float) -> str:
    if before["prediction"].dtype.kind == "f":
        return f"predictions change by {share:.2%} in the median"
    return f"{share:.0%} of the predictions change"
