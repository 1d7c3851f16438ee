"""Performance figures against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from nbmlops.stats.performance import classification, performance, regression, task_of


def test_binary_with_probabilities_and_mixed_label_types():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 300)
    chance = np.clip(truth * 0.3 + rng.uniform(size=300) * 0.7, 0, 1)
    outputs = pd.DataFrame({"prediction": chance > 0.5, "probability_0": 1 - chance, "probability_1": chance})
    found = performance(outputs, pd.Series(truth, dtype=object), "classification")
    assert found["accuracy"] == metrics.accuracy_score(truth, chance > 0.5)
    assert found["f1"] == pytest.approx(metrics.f1_score(truth, chance > 0.5))
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(truth, chance))
    assert found["brier"] == pytest.approx(metrics.brier_score_loss(truth, chance))


def test_only_rows_with_feedback_count():
    outputs = pd.DataFrame({"prediction": [1.0, 2.0, 3.0]})
    found = performance(outputs, pd.Series([1.0, None, 5.0], dtype=object), "regression")
    assert found == {"rows": 2.0, "mae": 1.0, "rmse": pytest.approx(2**0.5), "r2": pytest.approx(0.5)}
    assert performance(outputs, pd.Series([None] * 3, dtype=object), "regression") == {}


def test_multiclass_text_and_one_class_only():
    found = classification(["a", "b", "c", "a"], ["a", "b", "b", "a"])
    assert found["accuracy"] == 0.75
    assert found["f1"] == pytest.approx(metrics.f1_score(["a", "b", "c", "a"], ["a", "b", "b", "a"], average="macro"))
    frame = pd.DataFrame({"probability_no": [0.9, 0.8], "probability_yes": [0.1, 0.2]})
    one = classification(["no", "no"], ["no", "no"], frame)
    assert "roc_auc" not in one
    assert one["brier"] == pytest.approx((0.01 + 0.04) / 2)


def test_three_classes_with_probabilities():
    rng = np.random.default_rng(3)
    chances = rng.dirichlet([1, 1, 1], 200)
    truth = np.array(["x", "y", "z"])[[rng.choice(3, p=p) for p in chances]]
    frame = pd.DataFrame(chances, columns=["probability_x", "probability_y", "probability_z"])
    found = classification(truth, np.array(["x", "y", "z"])[chances.argmax(axis=1)], frame)
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(truth, chances, multi_class="ovr"))


def test_regression_leaves_out_what_is_no_number_and_constant_r2():
    assert regression([1, "broken", float("nan")], [2, 2, 2]) == {"rows": 1.0, "mae": 1.0, "rmse": 1.0}
    assert regression(["?"], [1]) == {}


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ({"prediction": [1.5, 2.5]}, "regression"),
        ({"prediction": ["a", "b"]}, "classification"),
        ({"prediction": [True, False]}, "classification"),
        ({"prediction": [0, 1]}, "classification"),
        ({"prediction": list(range(100))}, "regression"),
        ({"prediction": [0.0], "probability_0": [1.0]}, "classification"),
    ],
)
def test_task(frame, expected):
    assert task_of(pd.DataFrame(frame)) == expected
