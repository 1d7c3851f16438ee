"""Scores of weighted rows, and the intervals made of them, against scikit-learn and against simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from nbmlops.stats import performance, scores
from nbmlops.stats.intervals import intervals


def answers(truth, chances, classes):
    columns = {f"probability_{name}": chances[:, i] for i, name in enumerate(classes)}
    frame = pd.DataFrame(columns)
    frame.insert(0, "prediction", np.array(classes)[chances.argmax(axis=1)])
    return pd.Series(truth), frame


def two(rows=400, seed=0):
    chance = np.random.default_rng(seed)
    truth = chance.integers(0, 2, rows)
    said = np.clip(0.3 * truth + 0.7 * chance.random(rows), 0, 1).round(2)  # with ties
    return answers(truth, np.stack([1 - said, said], axis=1), [0, 1])


def three(rows=400, seed=0):
    chance = np.random.default_rng(seed)
    return answers(chance.choice(list("abc"), rows), chance.dirichlet([1, 1, 1], rows), list("abc"))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_weights_count_as_repeated_rows_do(seed):
    actual, outputs = two(60, seed)
    weights = np.random.default_rng(seed).integers(0, 4, 60)
    again = np.repeat(np.arange(60), weights)
    if len(set(actual.iloc[again])) < 2:
        return
    y, p, said = actual.iloc[again], outputs.probability_1.iloc[again], outputs.prediction.iloc[again]
    expected = {
        "accuracy": metrics.accuracy_score(y, said),
        "f1": metrics.f1_score(y, said, zero_division=0),
        "recall": metrics.recall_score(y, said, zero_division=0),
        "precision": metrics.precision_score(y, said, zero_division=0),
        "log_loss": metrics.log_loss(y, np.clip(p, 1e-15, 1 - 1e-15)),
        "brier": metrics.brier_score_loss(y, p),
        "roc_auc": metrics.roc_auc_score(y, p),
    }
    found = scores.scores(actual, outputs, "classification")
    assert set(found) == set(expected)
    for name, score in found.items():
        assert score(weights[None, :].astype(float))[0] == pytest.approx(expected[name], abs=1e-9), name


def test_of_three_classes_and_of_numbers_they_are_the_figures_of_performance():
    actual, outputs = three()
    found = scores.scores(actual, outputs, "classification")
    for name, value in performance.performance(outputs, actual, "classification").items():
        if name != "rows":
            assert scores.whole(found[name], len(actual)) == pytest.approx(value), name
    numbers = pd.Series(1e9 + np.arange(50.0))
    said = pd.DataFrame({"prediction": numbers + np.tile([1.0, -1.0], 25)})
    found = scores.scores(numbers, said, "regression")
    for name, value in performance.performance(said, numbers, "regression").items():
        if name != "rows":
            assert scores.whole(found[name], 50) == pytest.approx(value, rel=1e-9), name


def test_intervals_hold_the_true_figure_as_often_as_they_say():
    held = 0
    for seed in range(150):
        chance = np.random.default_rng(seed)
        truth = chance.integers(0, 2, 300)
        right = chance.random(300) < 0.8
        outputs = pd.DataFrame({"prediction": np.where(right, truth, 1 - truth)})
        found = intervals(pd.Series(truth), outputs, "classification", draws=400, seed=seed)["accuracy"]
        assert found["low"] <= found["value"] <= found["high"]
        held += found["low"] <= 0.8 <= found["high"]
    assert 0.90 <= held / 150 <= 0.99  # 95 % is said


def test_rows_whose_outcome_is_unknown_are_left_out():
    actual, outputs = two()
    gone = actual.astype("float").where(np.arange(400) % 4 > 0)
    assert intervals(gone, outputs, "classification") == intervals(
        gone.dropna().astype(int), outputs[gone.notna()], "classification"
    )
    assert intervals(gone * np.nan, outputs, "classification") == {}
    said = pd.DataFrame({"prediction": [1.0, np.nan, 3.0]})
    assert intervals(pd.Series([1.0, 2.0, np.inf]), said, "regression")["rmse"]["value"] == 0


def test_one_class_has_no_area_and_one_row_no_width():
    found = intervals(
        pd.Series([1, 1]),
        pd.DataFrame({"prediction": [1, 1], "probability_0": [0.1, 0.2], "probability_1": [0.9, 0.8]}),
        "classification",
    )
    assert "roc_auc" not in found
    one = intervals(pd.Series([2.0]), pd.DataFrame({"prediction": [3.0]}), "regression")
    assert one == {"rmse": {"value": 1.0, "low": 1.0, "high": 1.0}, "mae": {"value": 1.0, "low": 1.0, "high": 1.0}}
