"""Each kind of evidence: what it needs, and how it is measured. A measure knows nothing of stores."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbmlops.errors import MissingLibrary, UsageFault
from nbmlops.evidence import plots
from nbmlops.evidence.evaluation import Evaluation

if TYPE_CHECKING:
    import pandas as pd

    from nbmlops.flavors.onnx import Parity

Found = tuple[dict[str, Any], dict[str, bytes]]  # a report, and files by name
_TIMED, _WARM, _BATCH, _SECONDS = 60, 3, 1_000, 2.0


@dataclass(frozen=True)
class Subject:
    """What is measured: the packaged model by its answers, the rows it is judged by, and facts of its making.

    ``predict`` checks rows against the signature and answers them; ``load`` builds the model from its files anew;
    ``onnx`` converts it and tries the result on rows.
    """

    predict: Callable[[pd.DataFrame], pd.DataFrame]
    load: Callable[[], Callable[[pd.DataFrame], pd.DataFrame]]
    example: Callable[[], pd.DataFrame]
    onnx: Callable[[], tuple[Parity, bytes | None]]
    evaluation: Evaluation | None
    facts: Mapping[str, Any]

    @property
    def judged(self) -> Evaluation:
        """The rows with a known outcome.

        Raises:
            UsageFault: there are none.
        """
        from nbmlops.stats import scores

        if self.evaluation is None:
            raise UsageFault("no test data were given", "register_model(…, test_data=(X_test, y_test)) keeps some")
        e = self.evaluation
        if "prediction" not in e.outputs:
            raise UsageFault("the model has several outputs, or none", "such models are not measured yet")
        there = scores.known(e.actual, e.outputs, e.task)
        if not there.any():
            raise UsageFault("no row of the test data has a known outcome", "give rows whose outcome is known")
        return Evaluation(e.inputs[there], e.actual[there], e.groups[there], e.outputs[there], e.task, e.source)

    def classified(self) -> Evaluation:
        """The same of a classifier.

        Raises:
            UsageFault: it is none.
        """
        judged = self.judged
        if judged.task != "classification":
            raise UsageFault("the model predicts numbers, not classes", "residuals tell about these")
        return judged


def performance(subject: Subject) -> Found:
    """Every score with its interval."""
    from nbmlops.stats.intervals import intervals

    e = subject.judged
    return {"task": e.task, "rows": len(e.actual), **intervals(e.actual, e.outputs, e.task)}, {}


def confusion(subject: Subject) -> Found:
    """How often each class was taken for each."""
    from nbmlops.stats import faults

    e = subject.classified()
    report = faults.confusion(e.actual, e.outputs["prediction"])
    return report, {"confusion.svg": plots.confusion(report)}


def residuals(subject: Subject) -> Found:
    """Actual minus predicted."""
    from nbmlops.stats import faults

    e = subject.judged
    if e.task != "regression":
        raise UsageFault("the model predicts classes, not numbers", "confusion and calibration tell about these")
    actual, predicted = e.actual.to_numpy(dtype=float), e.outputs["prediction"].to_numpy(dtype=float)
    return faults.residuals(actual, predicted), {"residuals.svg": plots.residuals(actual, predicted)}


def calibration(subject: Subject) -> Found:
    """Whether probabilities mean what they say."""
    from nbmlops.stats import calibration as room

    e = subject.classified()
    report = room.calibration(e.actual, e.outputs)
    if not report:
        raise UsageFault("the model gives no probabilities", "there is nothing to calibrate")
    return report, {"calibration.svg": plots.calibration(report)}


def importance(subject: Subject) -> Found:
    """Which columns the model relies on."""
    from nbmlops.stats import importance as room

    e = subject.judged
    report = room.importance(subject.predict, e.inputs, e.actual, e.task)
    return report, {"importance.svg": plots.importance(report)}


def slices(subject: Subject) -> Found:
    """The worst groups found; a wrong class is a loss of one, a wrong number one of its distance."""
    import numpy as np
    import pandas as pd

    from nbmlops.stats import performance as room
    from nbmlops.stats import subgroups

    e = subject.judged
    if e.task == "regression":
        loss = np.abs(e.outputs["prediction"].to_numpy(dtype=float) - e.actual.to_numpy(dtype=float))
    else:
        loss = (room.labels(e.actual) != room.labels(e.outputs["prediction"])).astype(float)
    others = e.groups[[name for name in e.groups if name not in e.inputs]]
    columns = pd.concat([e.inputs.iloc[:, :_COLUMNS], others], axis=1)
    told = "share of wrong answers" if e.task == "classification" else "mean absolute error"
    report = subgroups.worst(columns.reset_index(drop=True), loss)
    return {"measure": told, "worst_gap": max((g["gap"] for g in report["found"]), default=0.0), **report}, {}


_COLUMNS = 200  # more are not told apart by: pixels, words of a bag


def fairness(subject: Subject) -> Found:
    """Every named group, and two of them together."""
    from itertools import combinations

    from nbmlops.stats import fairness as room

    e = subject.judged
    if not len(e.groups.columns):
        raise UsageFault("no groups were named", 'register_model(…, test_data=…, groups=("sex",)) names some')
    report = {str(name): room.fairness(e.actual, e.outputs, e.groups[name], e.task) for name in e.groups}
    for a, b in combinations(e.groups, 2):
        both = e.groups[a].astype(object).astype(str) + " & " + e.groups[b].astype(object).astype(str)
        report[f"{a} & {b}"] = room.fairness(e.actual, e.outputs, both, e.task)
    return report, {}


def latency(subject: Subject) -> Found:
    """Milliseconds of the packaged model, built anew in this process: one row at a time, and a batch."""
    import numpy as np

    begun = time.perf_counter()
    answer = subject.load()
    loaded = time.perf_counter() - begun
    rows = subject.evaluation.inputs if subject.evaluation is not None else subject.example()
    if not len(rows):
        raise UsageFault("there are no rows to ask with", "register the model with input_example= or training_data=")
    single = [rows.iloc[[n % len(rows)]].reset_index(drop=True) for n in range(_TIMED + _WARM)]
    took: list[float] = []
    for one in single:
        start = time.perf_counter()
        answer(one)
        took.append((time.perf_counter() - start) * 1_000)
        if sum(took) > _SECONDS * 1_000 and len(took) > _WARM + 5:
            break
    took = took[_WARM:]
    batch = rows.iloc[[n % len(rows) for n in range(_BATCH)]].reset_index(drop=True)
    start = time.perf_counter()
    answer(batch)
    whole = time.perf_counter() - start
    return {
        "load_ms": loaded * 1_000,
        **{name: float(np.quantile(took, q)) for name, q in (("median_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99))},
        "calls": len(took),
        "batch_rows": _BATCH,
        "batch_ms": whole * 1_000,
        "rows_per_second": _BATCH / whole,
    }, {}


def onnx(subject: Subject) -> Found:
    """Whether the model as ONNX answers as it does."""
    try:
        parity, content = subject.onnx()
    except MissingLibrary as error:
        raise UsageFault(error.message, error.hint) from error
    return parity.to_dict(), {} if content is None else {"model.onnx": content}


def told(name: str) -> Callable[[Subject], Found]:
    """A kind that is known without measuring: facts of the version's making."""
    return lambda subject: (dict(subject.facts[name]), {})


@dataclass(frozen=True)
class Kind:
    """A measure; ``at_once`` if it is cheap enough for a registration."""

    measure: Callable[[Subject], Found]
    about: str
    at_once: bool = False


KINDS: Mapping[str, Kind] = {
    "provenance": Kind(told("provenance"), "run, cells, notebook, data and environment that made it", at_once=True),
    "cost": Kind(told("cost"), "size, and what the training took"),
    "performance": Kind(performance, "scores with intervals", at_once=True),
    "confusion": Kind(confusion, "classes taken for each other"),
    "residuals": Kind(residuals, "errors of predicted numbers"),
    "calibration": Kind(calibration, "whether probabilities mean what they say"),
    "importance": Kind(importance, "the columns that the model relies on"),
    "slices": Kind(slices, "groups of rows in which it is worse"),
    "fairness": Kind(fairness, "figures of named groups, side by side"),
    "onnx": Kind(onnx, "whether the model as ONNX answers as it does"),
    "latency": Kind(latency, "milliseconds for a row and for a batch"),
}
