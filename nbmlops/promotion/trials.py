"""What an environment tries with a packaged model before it lets it in: the package itself, in this process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from nbmlops.errors import InvalidValue, NbmlopsError
from nbmlops.models import Models
from nbmlops.promotion.answers import equal
from nbmlops.records import Finding, ModelVersion

if TYPE_CHECKING:
    import pandas as pd

SAMPLE_ROWS = 200
SINGLE_ROWS = 5
TIMED_CALLS = 15
SLOW_SECONDS = 0.2


def run(models: Models, version: ModelVersion) -> list[Finding]:
    """Every trial's finding. Where the package is damaged or not trusted, nothing of it is run."""
    findings = models.verify(version.ref)
    if not all(f.ok for f in findings):
        return findings
    if not version.signature["outputs"]:
        return [
            *findings,
            Finding("predicts", "block", "the model predicts", "it has no predict()", "register a model that predicts"),
        ]
    rows, expected = _recorded(models, version)
    trials: tuple[tuple[str, str, Callable[[], Finding | str]], ...] = (
        ("repeats", "the recorded predictions come out again", lambda: _repeats(models, version, rows, expected)),
        ("single rows", "a row alone and in a batch get the same answer", lambda: _single_rows(models, version, rows)),
        ("empty batch", "no rows give no predictions", lambda: _empty_batch(models, version, rows)),
        ("missing column", "a row without a column is refused", lambda: _missing_column(models, version, rows)),
        ("wrong type", "a row with a wrong type is refused", lambda: _wrong_type(models, version, rows)),
        (
            "latency",
            f"one row is answered within {SLOW_SECONDS * 1000:.0f} ms",
            lambda: _latency(models, version, rows),
        ),
    )
    return [*findings, *(_tried(*trial) for trial in trials)]


def _recorded(models: Models, version: ModelVersion) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Inputs and the outputs that were given for them at registration."""
    sample = models.training_sample(version)
    if sample is None:
        return models.input_example(version)
    width = len(version.signature["inputs"])
    rows = sample.head(SAMPLE_ROWS)
    return rows.iloc[:, :width], rows.iloc[:, width:]


def _tried(check: str, asked: str, trial: Callable[[], Finding | str]) -> Finding:
    """A trial's finding; a text is what was seen where all went well."""
    try:
        found = trial()
    except Exception as error:  # the model's own code: whatever it raises is the finding
        return Finding(
            check, "block", asked, f"{type(error).__name__}: {error}", "mend the model and register it again"
        )
    return found if isinstance(found, Finding) else Finding(check, "pass", asked, found)


def _repeats(models: Models, version: ModelVersion, rows: pd.DataFrame, expected: pd.DataFrame) -> Finding | str:
    found = models.predict_frame(version.ref, rows)
    differing = _differing(found, expected)
    if not differing:
        return f"{len(rows)} rows, all equal"
    return Finding(
        "repeats",
        "block",
        "the recorded predictions come out again",
        f"{differing} of {len(rows)} rows differ",
        "the libraries here differ from those it was made with: see its requirements.txt, or register it again",
    )


def _single_rows(models: Models, version: ModelVersion, rows: pd.DataFrame) -> Finding | str:
    import pandas as pd

    few = rows.head(SINGLE_ROWS)
    together = models.predict_frame(version.ref, few)
    alone = pd.concat([models.predict_frame(version.ref, few.iloc[[i]]) for i in range(len(few))])
    if not (differing := _differing(alone, together)):
        return f"{len(few)} rows, all equal"
    return Finding(
        "single rows",
        "block",
        "a row alone and in a batch get the same answer",
        f"{differing} of {len(few)} rows differ",
        "a step of the model looks at the whole batch: take such statistics in fit()",
    )


def _empty_batch(models: Models, version: ModelVersion, rows: pd.DataFrame) -> Finding | str:
    found = models.predict_frame(version.ref, rows.head(0))
    return f"{len(found)} rows with {len(found.columns)} columns"


def _missing_column(models: Models, version: ModelVersion, rows: pd.DataFrame) -> Finding | str:
    name = version.signature["inputs"][0]["name"]
    return _refused("missing column", models, version, rows.head(1).drop(columns=name), f"without {name}")


def _wrong_type(models: Models, version: ModelVersion, rows: pd.DataFrame) -> Finding | str:
    import pandas as pd

    name = version.signature["inputs"][0]["name"]
    wrong = rows.head(1).astype(object)
    wrong[name] = pd.Series([["a", "list"]], index=wrong.index, dtype=object)
    return _refused("wrong type", models, version, wrong, f"with a list as {name}")


def _refused(check: str, models: Models, version: ModelVersion, rows: pd.DataFrame, what: str) -> Finding | str:
    try:
        models.predict_frame(version.ref, rows)
    except InvalidValue as error:
        return error.message
    except NbmlopsError as error:
        return Finding(check, "block", "malformed rows are refused", f"{what}: {error.message}", error.hint)
    return Finding(
        check,
        "block",
        "malformed rows are refused",
        f"a row {what} was answered",
        "register the model with a full input example",
    )


def _latency(models: Models, version: ModelVersion, rows: pd.DataFrame) -> Finding | str:
    one = rows.head(1)
    times = []
    for _ in range(TIMED_CALLS):
        start = time.perf_counter()
        models.predict_frame(version.ref, one)
        times.append(time.perf_counter() - start)
    middle = statistics.median(times)
    seen = f"{middle * 1000:.1f} ms (median of {TIMED_CALLS}, slowest {max(times) * 1000:.1f} ms)"
    if middle <= SLOW_SECONDS:
        return seen
    return Finding(
        "latency",
        "warn",
        f"one row is answered within {SLOW_SECONDS * 1000:.0f} ms",
        seen,
        "take a smaller model to serve one by one",
    )


def _differing(found: pd.DataFrame, expected: pd.DataFrame) -> int:
    """The number of rows in which any output differs."""
    return int((~equal(found, expected)).sum())
