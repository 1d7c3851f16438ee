"""What is measured besides one figure: groups that fare worse, calibration, importance, errors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nbmlops.stats.calibration import calibration
from nbmlops.stats.fairness import fairness
from nbmlops.stats.faults import confusion, residuals
from nbmlops.stats.importance import importance
from nbmlops.stats.subgroups import worst

N = 2_000


def rows(seed=0):
    chance = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": chance.integers(18, 90, N).astype(float),
            "city": pd.Categorical(chance.choice(["Bonn", "Köln", "Ulm", "<b>x</b>"], N)),
            "income": chance.normal(40, 10, N),
            "member": chance.random(N) < 0.5,
        }
    )


def test_a_planted_group_is_found_and_named():
    frame = rows()
    bad = ((frame.city == "Ulm") & (frame.age >= 72)).to_numpy()
    loss = (np.random.default_rng(1).random(N) < np.where(bad, 0.6, 0.1)).astype(float)
    found = worst(frame, loss)["found"]
    assert "city = Ulm" in found[0]["group"]
    assert "age >= 7" in found[0]["group"]
    assert found[0]["gap"] == pytest.approx(0.5, abs=0.1)
    assert found[0]["p"] < 1e-6


def test_noise_is_not_called_a_group():
    named = sum(
        bool(worst(rows(s), (np.random.default_rng(s).random(N) < 0.2).astype(float))["found"]) for s in range(20)
    )
    assert named <= 2  # 5 % of the times, over all groups together


def test_a_group_of_missing_values_and_one_of_text():
    frame = rows().assign(income=lambda f: f.income.where(f.index % 5 > 0), note="a")
    loss = np.where(frame.income.isna(), 1.0, 0.0) + np.random.default_rng(0).random(N) * 0.1
    (first, *_rest) = worst(frame, loss)["found"]
    assert first["group"] == "income is missing"
    assert worst(frame, np.zeros(N))["found"] == []
    assert worst(frame.head(10), np.arange(10.0)) == {"loss": 4.5, "rows": 10, "tried": 0, "found": []}


def test_calibrated_probabilities_have_no_error_and_shifted_ones_do():
    chance = np.random.default_rng(0)
    said = chance.random(20_000)
    came = pd.Series((chance.random(20_000) < said).astype(int))

    def of(said):
        return calibration(
            came, pd.DataFrame({"prediction": said > 0.5, "probability_0": 1 - said, "probability_1": said})
        )

    fine, off = of(said), of(np.clip(said + 0.2, 0, 1))
    assert fine["ece"] < 0.02
    assert off["ece"] > 0.1
    brier = float(np.mean((said - came) ** 2))
    assert fine["reliability"] - fine["resolution"] + fine["uncertainty"] == pytest.approx(brier, abs=0.01)
    assert sum(b["rows"] for b in fine["bins"]) == 20_000
    assert calibration(came, pd.DataFrame({"prediction": came})) == {}
    constant = of(np.full(20_000, 0.5))
    assert len(constant["bins"]) == 1


def test_the_column_that_decides_is_the_important_one():
    frame = rows()
    actual = pd.Series(np.where(frame.member, "yes", "no"))

    def predict(given):
        return pd.DataFrame({"prediction": np.where(given.member, "yes", "no")}, index=given.index)

    found = importance(predict, frame, actual, "classification")
    assert (found["score"], found["value"], found["rows"]) == ("accuracy", 1.0, 1_000)
    assert found["columns"][0]["column"] == "member"
    assert found["columns"][0]["mean"] > 0.4
    assert [row["mean"] for row in found["columns"][1:]] == [0, 0, 0]
    assert len(importance(predict, frame, actual, "classification", seconds=0)["skipped"]) == 3


def test_importance_of_errors_is_how_much_they_grow():
    frame = rows()[["age", "income"]]
    found = importance(lambda f: pd.DataFrame({"prediction": f.age * 2}), frame, frame.age * 2, "regression")
    assert (found["score"], found["columns"][0]["column"]) == ("rmse", "age")
    assert found["columns"][0]["mean"] > 10


def test_confusion_counts_each_class_for_each():
    found = confusion(pd.Series(["a", "a", "b"]), pd.Series(["a", "b", "b"]))
    assert (found["classes"], found["counts"]) == (["a", "b"], [[1, 1], [0, 1]])
    assert found["by_class"][0] == {
        "class": "a",
        "rows": 2,
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
    }
    many = confusion(pd.Series(range(100)), pd.Series(range(100)))
    assert len(many["classes"]) == 30
    assert sum(map(sum, many["counts"])) == 100


def test_residuals_tell_where_the_model_is_wrong():
    said = np.linspace(0, 10, 1_000)
    found = residuals(said + np.where(said > 5, 1.0, 0.0), said)
    assert found["mean"] == pytest.approx(0.5, abs=0.01)
    assert (found["by_prediction"][0]["mean"], found["by_prediction"][-1]["mean"]) == (0.0, 1.0)


def test_fairness_has_the_figures_of_each_group_and_their_distance():
    chance = np.random.default_rng(0)
    group = pd.Series(np.where(np.arange(N) % 2, "f", "m")).where(np.arange(N) >= 5)
    actual = pd.Series(chance.integers(0, 2, N))
    said = pd.Series(np.where((group == "f") & (chance.random(N) < 0.4), 0, actual))
    found = fairness(actual, pd.DataFrame({"prediction": said}), group, "classification")
    by = {row["group"]: row for row in found["groups"]}
    f = (group == "f").to_numpy()
    assert by["f"]["selection_rate"] == pytest.approx(said[f].mean())
    assert by["f"]["true_positive_rate"] == pytest.approx(said[f & (actual == 1)].mean())
    assert by["m"]["false_positive_rate"] == 0
    assert found["demographic_parity_difference"] == pytest.approx(said[~f & group.notna()].mean() - said[f].mean())
    assert found["equalized_odds_difference"] == pytest.approx(1 - by["f"]["true_positive_rate"])
    assert found["demographic_parity_ratio"] == pytest.approx(by["f"]["selection_rate"] / by["m"]["selection_rate"])
    assert found["left_out"] == [{"group": "(missing)", "rows": 5}]
    assert found["positive"] == "1"


def test_fairness_of_several_classes_and_of_numbers():
    group = pd.Series(["a", "b"] * 20)
    three = fairness(
        pd.Series(list("xyz") * 13 + ["x"]), pd.DataFrame({"prediction": ["x"] * 40}), group, "classification"
    )
    assert "accuracy_difference" in three
    assert "demographic_parity_difference" not in three
    numbers = fairness(pd.Series([0.0] * 40), pd.DataFrame({"prediction": [1.0, 3.0] * 20}), group, "regression")
    assert (numbers["mae_difference"], numbers["positive"]) == (2.0, None)
