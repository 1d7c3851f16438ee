"""What counts as a difference: bits, tolerances, points, what is missing, and what two models predict."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from nbmlops.reproduction import comparing, predicting
from nbmlops.reproduction.logged import Kept, Logged, Metric, Written
from nbmlops.workspace import Workspace

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


def run(**given: Any) -> Logged:
    return Logged("id", "name", "FINISHED", **given)


def differences(before: Logged, after: Logged, **more: Any) -> list[tuple[str, str]]:
    found = comparing.compare(before, after, lambda a, b: ("other", None), **more).differences
    return [(d.kind, d.name) for d in found]


@given(NUMBERS, NUMBERS)
def test_without_tolerance_only_equal_numbers_are_the_same(a: float, b: float) -> None:
    assert comparing.same(a, a, 0.0)
    assert comparing.same(a, b, 0.0) == (a == b or (math.isnan(a) and math.isnan(b)))


@given(st.floats(1e-3, 1e3), st.floats(1e-9, 0.1))
def test_a_tolerance_is_relative(a: float, tolerance: float) -> None:
    assert comparing.same(a, a * (1 + tolerance / 2), tolerance)
    assert not comparing.same(a, a * (1 + 3 * tolerance), tolerance)


def test_values_points_and_what_is_missing_differ() -> None:
    before = run(params={"a": "1", "b": "2"}, metrics={"x": Metric(1.0, 3), "y": Metric(1.0, 1), "z": Metric(1.0, 1)})
    after = run(params={"a": "1", "b": "3"}, metrics={"x": Metric(1.0, 4), "y": Metric(2.0, 1), "new": Metric(0.0, 1)})
    found = differences(before, after)
    assert found == [
        ("param", "b"), ("missing", "metric z"), ("missing", "metric new"), ("metric", "x"), ("metric", "y"),
    ]  # fmt: skip
    assert ("missing", "metric new") not in differences(before, after, so_far=True)


def test_what_nbmlops_measures_itself_is_not_compared() -> None:
    ours = {"system/cpu": Metric(1.0, 5), "fit_seconds": Metric(0.1, 1)}
    assert differences(run(metrics=ours), run(metrics={"fit_seconds": Metric(0.2, 1)})) == []


def test_data_sets_are_compared_by_content_and_models_by_package() -> None:
    one, other = Written("dataset:d@1", "sha256:1", 3), Written("dataset:d@7", "sha256:1", 3)
    model = Kept("m", 1, "sha256:a", False, {})
    late = Kept("late", 1, "sha256:b", True, {})
    before = run(datasets={"d": one}, models={"m": model, "late": late})
    assert differences(before, run(datasets={"d": other}, models={"m": model})) == []
    found = differences(before, run(models={"m": Kept("m", 1, "sha256:c", False, {})}))
    assert found == [("missing", "dataset d"), ("model", "m")]


def package(ws: Workspace, model: Any, rows: pd.DataFrame) -> Kept:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it needs more trust is what is looked at here
        version = ws.models.register(model, "m", training_data=rows)
    row = {"signature": version.signature, "profile": version.profile, "flavor": version.flavor}
    return Kept("m", version.version, version.package, False, row)


@pytest.mark.parametrize("rows", [12, 40])
def test_models_are_the_same_if_they_predict_the_same(ws: Workspace, rows: int) -> None:
    frame = pd.DataFrame({"x": [float(n) for n in range(rows)]})
    models = {
        "first": LinearRegression().fit(frame, frame["x"]),
        "other bytes": LinearRegression(copy_X=False).fit(frame.copy(), frame["x"]),
        "other": LinearRegression().fit(frame, frame["x"] * 2),
        "untrusted": make_pipeline(SelectKBest(f_regression, k=1), LinearRegression()).fit(frame, frame["x"]),
    }
    compare = predicting.by_predictions(ws.store, 0.0, lambda signature: frame)
    first, *others = (package(ws, model, frame) for model in models.values())
    told = {name: compare(first, kept) for name, kept in zip(list(models)[1:], others)}
    assert told["other bytes"] is None
    text, size = told["other"]
    assert text.endswith("predictions differ")
    assert size == pytest.approx(rows - 1)
    assert "cannot be compared" in told["untrusted"][0]
