"""Suspected label errors: planted ones are found, and what is no classification is refused."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression

from nbmlops import display
from nbmlops.errors import InvalidValue
from nbmlops.stats.labels import LabelCheck, confident_joint, prune, suspect_labels


def planted(rows: int, share: float = 0.05) -> tuple[pd.DataFrame, pd.Series, set[int]]:
    """Three classes, and the rows whose label was changed."""
    rng = np.random.default_rng(0)
    x, y = make_classification(rows, 8, n_informative=6, n_classes=3, class_sep=2.5, flip_y=0, random_state=1)
    wrong = rng.choice(rows, int(rows * share), replace=False)
    y[wrong] = (y[wrong] + rng.integers(1, 3, len(wrong))) % 3
    labels = pd.Series(np.array(["late", "early", "on time"])[y], name="arrival")
    return pd.DataFrame(x, columns=[f"x{i}" for i in range(8)]), labels, set(wrong.tolist())


def precision_and_recall(report, wrong: set[int]) -> tuple[float, float]:
    found = {s["row"] for s in report.suspects}
    return len(found & wrong) / max(1, len(found)), len(found & wrong) / len(wrong)


def test_planted_errors_are_found():
    features, labels, wrong = planted(1500)
    report = suspect_labels(features, labels, subject="dataset:flights@1")
    precision, recall = precision_and_recall(report, wrong)
    assert precision >= 0.8
    assert recall >= 0.85
    assert 0.03 <= report.noise <= 0.08
    assert report.model == "gradient boosted trees"
    assert (report.label, report.rows, report.examined) == ("arrival", 1500, 1500)
    first = report.suspects[0]
    assert first["row"] in wrong
    assert first["given"] == labels[first["row"]] != first["suggested"]
    assert sum(c["suspects"] for c in report.classes) == len(report.suspects)
    assert sum(c["rows"] for c in report.classes) == 1500
    json.dumps(report.to_dict())
    assert "arrival" in display.text(report)


def test_texts_and_keys():
    rng = np.random.default_rng(0)
    words = {"sport": ["goal", "match", "team", "win", "ball"], "money": ["bank", "stock", "price", "market", "fund"]}
    true = rng.choice(["sport", "money"], 800)
    common = ["the", "of", "and", "to"]
    texts = [" ".join([*rng.choice(common, 6), *rng.choice(words[t], 3), str(i)]) for i, t in enumerate(true)]
    wrong = rng.choice(800, 40, replace=False)
    given = true.copy()
    given[wrong] = np.where(true[wrong] == "sport", "money", "sport")
    frame = pd.DataFrame({"text": texts, "id": [f"k{i}" for i in range(800)], "raw": [[1]] * 800})
    report = suspect_labels(frame, pd.Series(given, name="topic"))
    precision, recall = precision_and_recall(report, set(wrong.tolist()))
    assert precision >= 0.95
    assert recall >= 0.85
    assert report.model == "logistic regression"
    assert "columns that no model here can use: id, raw" in report.notes


@pytest.mark.parametrize("rows", [400, 1500], ids=["lines", "trees"])
def test_columns_of_every_kind(rows):
    rng = np.random.default_rng(0)
    true = rng.integers(0, 2, rows)
    frame = pd.DataFrame(
        {
            "number": np.where(rng.random(rows) < 0.1, np.nan, true * 3 + rng.normal(size=rows)),
            "nullable": pd.array(np.where(rng.random(rows) < 0.1, None, true), dtype="Int64"),
            "flag": true == 1,
            "category": pd.Categorical(np.where(rng.random(rows) < 0.1, None, np.array(["a", "b"])[true])),
            "text": np.where(rng.random(rows) < 0.1, None, np.array(["x", "y"])[true]),
            "at": pd.date_range("2013", periods=rows, freq="h", tz="UTC"),
            "gone": [np.nan] * rows,
        }
    )
    wrong = rng.choice(rows, rows // 20, replace=False)
    given = true.copy()
    given[wrong] = 1 - given[wrong]
    report = suspect_labels(frame, pd.Series(given, name="y"))
    assert precision_and_recall(report, set(wrong.tolist())) >= (0.9, 0.9)
    assert report.notes == ("columns that no model here can use: gone",)


def test_probabilities_and_estimators_of_ones_own():
    features, labels, wrong = planted(600)
    own = suspect_labels(features, labels, options=LabelCheck(folds=3, estimator=LogisticRegression(max_iter=500)))
    assert own.model == "LogisticRegression"
    assert own.folds == 3
    again = LabelCheck(folds=3, estimator=LogisticRegression(max_iter=500))
    assert suspect_labels(features, labels, options=again) == own, "the seed decides"
    classes = ["on time", "late", "early"]
    p = np.full((600, 3), 0.05)
    for i, name in enumerate(labels):
        p[i, (classes.index(name) + (i in wrong)) % 3] = 0.9
    found = suspect_labels(None, labels, probabilities=p, classes=classes)
    assert precision_and_recall(found, wrong) == (1.0, 1.0)
    assert found.suspects[0]["confidence"] == 0.9
    for bad, kinds, fault in (
        (p[:10], classes, "shape"),
        (p[:, :2], classes, "2 columns for 3 classes"),
        (p * 2, classes, "sum to 1"),
        (p, ["a", "late", "early"], "classes lacks 'on time'"),
    ):
        with pytest.raises(InvalidValue, match=fault):
            suspect_labels(None, labels, probabilities=bad, classes=kinds)


def test_limits_are_said():
    features, labels, _ = planted(600)
    labels.iloc[:7] = None
    labels.iloc[7:10] = "rare"
    report = suspect_labels(features, labels, options=LabelCheck(most=300))
    assert report.examined == 300
    assert report.notes[:3] == (
        "7 rows have no label and were not examined",
        "1 classes have fewer than 5 rows and were not judged: rare",
        "a sample of 300 of 590 rows was examined",
    )
    assert all(s["row"] >= 10 for s in report.suspects)


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        ([1, 2] * 5, "10 rows have a label, and 20 are needed"),
        (np.arange(100.0), "too many classes"),
        (["a"] * 50, "1 classes"),
        ([None] * 50, "0 rows have a label"),
    ],
)
def test_what_is_no_classification_is_refused(labels, fault):
    labels = pd.Series(labels, name="y")
    with pytest.raises(InvalidValue, match=fault):
        suspect_labels(pd.DataFrame({"x": np.arange(len(labels))}), labels)


def test_features_that_do_not_fit():
    labels = pd.Series(["a", "b"] * 20, name="y")
    with pytest.raises(InvalidValue, match="differ in length"):
        suspect_labels(pd.DataFrame({"x": [1]}), labels)
    with pytest.raises(InvalidValue, match="no column is there"):
        suspect_labels(pd.DataFrame({"x": [[1]] * 40}), labels)
    with pytest.raises(InvalidValue, match="folds is 1"):
        suspect_labels(pd.DataFrame({"x": range(40)}), labels, options=LabelCheck(folds=1))


def test_the_joint_sums_to_the_classes():
    y = np.array([0, 0, 0, 1, 1, 1, 1, 2])
    p = np.array([[0.9, 0.1, 0], [0.8, 0.2, 0], [0.1, 0.9, 0], *[[0.1, 0.9, 0]] * 3, [0.97, 0.03, 0], [0.9, 0.1, 0]])
    joint = confident_joint(y, p)
    assert joint.sum(axis=1).tolist() == [3, 4, 1]
    assert joint[0].tolist() == [2, 1, 0]
    assert joint[1].tolist() == [1, 3, 0]
    assert joint[2].tolist() == [1, 0, 0]
    assert prune(y, p, joint) == [(6, 0), (7, 0), (2, 1)]
