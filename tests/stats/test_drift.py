"""Columns: every kind of value, missing ones, tiny windows, and the verdict over all columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nbmlops.errors import InvalidValue
from nbmlops.stats import Limits
from nbmlops.stats.drift import columns, label, measure
from nbmlops.stats.verdict import findings, holm, judge, training_metric

RNG = np.random.default_rng(7)


def verdict(current, reference=None, profile=None, limits=None):
    row = {"column": "x", **measure(current, reference, profile)}
    return judge([row], limits or Limits())[0]


def numeric_profile(values):
    values = np.asarray(values, float)
    counts, edges = np.histogram(values, bins=20)
    return {
        "kind": "numeric",
        "count": len(values),
        "nulls": 0,
        "min": values.min(),
        "max": values.max(),
        "histogram": {"edges": list(edges), "counts": list(counts)},
    }


def test_same_distribution_is_ok_and_a_shift_is_drift():
    reference = pd.Series(RNG.normal(size=10_000))
    same = verdict(pd.Series(RNG.normal(size=5_000)), reference)
    assert (same["verdict"], same["test"], same["reason"]) == ("ok", "ks", "")
    moved = verdict(pd.Series(RNG.normal(0.7, size=5_000)), reference)
    assert moved["verdict"] == "drift"
    assert moved["psi"] > 0.2
    assert moved["statistic"] > 0.2
    assert moved["wasserstein"] == pytest.approx(0.7, abs=0.1)


def test_a_significant_but_tiny_difference_in_a_large_window_is_no_drift():
    row = verdict(pd.Series(RNG.normal(0.03, size=400_000)), pd.Series(RNG.normal(size=100_000)))
    assert row["p_value"] < 1e-4
    assert row["verdict"] == "ok"


def test_equal_small_windows_do_not_fire_by_chance():
    reference = RNG.normal(size=2_000)
    fired = [verdict(RNG.normal(size=40), reference)["verdict"] == "drift" for _ in range(200)]
    assert sum(fired) <= 12


@pytest.mark.parametrize("rows", [0, 1, 29])
def test_a_tiny_window_gives_no_verdict(rows):
    row = verdict(pd.Series(np.full(rows, 99.0)), pd.Series(RNG.normal(size=1_000)))
    assert row["verdict"] == "not enough data"
    assert str(rows) in row["reason"]


def test_against_a_profile_without_a_sample():
    values = RNG.normal(size=20_000)
    profile = numeric_profile(values)
    assert verdict(pd.Series(RNG.normal(size=3_000)), profile=profile)["verdict"] == "ok"
    row = verdict(pd.Series(RNG.normal(8, size=3_000)), profile=profile)
    assert row["test"] == "ks (histogram)"
    assert row["verdict"] == "drift"
    assert row["out_of_range"] > 0.9


def test_all_null_and_half_null_columns():
    reference = pd.Series(RNG.normal(size=1_000))
    row = verdict(pd.Series([None] * 100, dtype=object), reference)
    assert (row["missing"], row["rows"], row["verdict"]) == (1.0, 0, "drift")
    half = pd.Series(np.where(np.arange(1_000) % 2, RNG.normal(size=1_000), np.nan))
    assert verdict(half, reference)["reason"] == "50% missing, 0% in training"
    assert verdict(half, half)["verdict"] == "ok"
    empty = verdict(pd.Series([None] * 100, dtype=object), pd.Series([None] * 100, dtype=object))
    assert (empty["kind"], empty["verdict"]) == ("empty", "not enough data")


def test_constant_infinite_and_discrete_columns():
    constant = pd.Series(np.zeros(500))
    assert verdict(constant, constant)["verdict"] == "ok"
    assert verdict(constant - 1, constant)["verdict"] == "drift"
    infinite = verdict(pd.Series([*RNG.normal(size=500), np.inf]), pd.Series(RNG.normal(size=900)))
    assert infinite["verdict"] == "warn"
    assert np.isfinite(infinite["wasserstein"])
    dice = verdict(pd.Series(RNG.integers(1, 7, 600)), pd.Series(RNG.integers(1, 7, 6_000)))
    assert (dice["bins"], dice["verdict"]) == (7, "ok")


def test_nullable_integers_booleans_and_times():
    numbers = pd.Series([1, 2, None] * 100, dtype="Int64")
    assert verdict(numbers, numbers)["rows"] == 200
    flags = pd.Series([True, False] * 100)
    assert verdict(flags, flags)["test"] == "chi-square"
    assert verdict(pd.Series([True] * 190 + [False] * 10), flags)["verdict"] == "drift"
    for zone in (None, "Europe/Berlin"):
        days = pd.Series(pd.date_range("2026-01-01", periods=200, freq="h", tz=zone))
        assert verdict(days, days)["statistic"] == 0
        assert verdict(days + pd.Timedelta(days=30), days)["verdict"] == "drift"


def test_categories_with_new_ones_and_labels_that_agree_across_formats():
    reference = pd.Series(["a"] * 500 + ["b"] * 500)
    row = verdict(pd.Series(["a"] * 90 + ["b"] * 90 + ["z"] * 40), reference)
    assert row["new_categories"] == pytest.approx(40 / 220)
    assert row["verdict"] == "drift"
    assert verdict(pd.Series(["b", "a"] * 50).astype("category"), reference)["verdict"] == "ok"
    assert [label(v) for v in (1, 1.0, True, np.int64(1), "1", 1.5)] == ["1", "1", "1", "1", "1", "1.5"]


def test_free_text_is_not_compared_but_its_missing_values_are():
    texts = pd.Series([f"comment {i}" for i in range(400)])
    row = verdict(
        texts + "!", texts, {"kind": "text", "count": 400, "nulls": 0, "top": [["comment 0", 1]], "other": 399}
    )
    assert (row["test"], row["new_categories"], row["verdict"]) == (None, None, "ok")
    assert verdict(pd.Series([None] * 400, dtype=object), texts)["verdict"] == "drift"


def test_nested_values_count_only_as_missing_or_not():
    row = verdict(pd.Series([[1], [2]] * 40), pd.Series([[1], [2]] * 40), {"kind": "nested", "count": 80, "nulls": 0})
    assert (row["test"], row["verdict"]) == (None, "ok")


def test_a_column_the_window_lacks_is_an_alert():
    reference = pd.DataFrame(
        {"a": RNG.normal(size=400), "b": RNG.normal(size=400), "c": RNG.normal(size=400), "d": 1.0}
    )
    rows = judge(columns(reference, {}, reference.drop(columns="b")), Limits())
    assert [r["column"] for r in rows] == ["a", "b", "c", "d"]
    found = findings(rows, [], {}, {}, Limits())
    assert [(f.check, f.level) for f in found] == [("drift", "warn"), ("integrity", "block")]


def test_share_of_drifted_columns_decides():
    rng = np.random.default_rng(4)  # its own: what the shared one draws depends on the order of the tests
    reference = pd.DataFrame(rng.normal(size=(800, 10)), columns=list("abcdefghij"))
    current = pd.DataFrame(rng.normal(size=(800, 10)), columns=list("abcdefghij"))
    assert findings(judge(columns(reference, {}, current), Limits()), [], {}, {}, Limits())[0].level == "pass"
    current[["a", "b"]] += 2
    assert findings(judge(columns(reference, {}, current), Limits()), [], {}, {}, Limits())[0].level == "warn"
    current["c"] += 2
    found = findings(judge(columns(reference, {}, current), Limits()), [], {}, {}, Limits())[0]
    assert (found.level, found.seen) == ("block", "3 of 10: a, b, c")


def test_prediction_drift_is_an_alert_but_probabilities_only_inform():
    reference = pd.DataFrame({"prediction": RNG.normal(size=500), "probability_1": RNG.normal(size=500)})
    rows = judge(columns(reference, {}, reference + 2), Limits())
    assert [(f.level, f.check) for f in findings([], rows, {}, {}, Limits())] == [
        ("block", "prediction drift"),
        ("pass", "prediction drift"),
    ]


def test_performance_findings():
    limits = Limits()
    now = {"rows": 100.0, "roc_auc": 0.70, "accuracy": 0.80}
    found = findings([], [], now, {"test_roc_auc": 0.80, "accuracy": 0.82}, limits)
    assert [(f.level, f.asked.split()[0]) for f in found] == [("block", "roc_auc"), ("pass", "accuracy")]
    assert [f.level for f in findings([], [], {"rows": 100.0, "rmse": 1.3}, {"rmse": 1.0}, limits)] == ["block"]
    assert [f.level for f in findings([], [], {"rows": 3.0, "rmse": 9.0}, {"rmse": 1.0}, limits)] == ["pass"]
    assert findings([], [], {}, {"rmse": 1.0}, limits) == []
    assert training_metric({"unknown": 1.0}, "rmse") is None


def test_holm_by_hand():
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])


def test_limits_name_every_fault():
    assert Limits.of({"psi": 0.3}).psi == 0.3
    with pytest.raises(InvalidValue) as caught:
        Limits.of({"pis": 1, "ks": "high", "share": -1})
    assert len(caught.value.faults) == 3
