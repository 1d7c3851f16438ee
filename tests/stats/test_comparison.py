"""Better, not worse, worse, cannot tell: with the error rates that are stated."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from nbmlops.errors import InvalidValue
from nbmlops.stats.comparison import compare

ROWS = 400


def answers(truth, share, chance):
    """Answers that are right in such a share of the rows."""
    return pd.DataFrame({"prediction": np.where(chance.random(len(truth)) < share, truth, 1 - truth)})


def verdicts(new, old, *, margin=0.0, times=80):
    found = Counter()
    for seed in range(times):
        chance = np.random.default_rng(seed)
        truth = chance.integers(0, 2, ROWS)
        pair = answers(truth, new, chance), answers(truth, old, chance)
        found[
            compare(pd.Series(truth), *pair, "classification", metric="accuracy", margin=margin, seed=seed).verdict
        ] += 1
    return found


def test_equal_models_are_called_worse_one_time_in_forty():
    found = verdicts(0.8, 0.8)
    assert found["cannot tell"] >= 0.88 * 80
    assert found["worse"] <= 7  # 2 of 80 are expected; more than 7 has a chance below 0.1 %
    assert found["better"] <= 7


def test_what_is_worse_by_less_than_noise_cannot_be_told_and_what_is_clearly_worse_is_worse():
    assert verdicts(0.795, 0.8)["cannot tell"] >= 0.85 * 80
    assert verdicts(0.65, 0.8)["worse"] >= 0.95 * 80
    assert verdicts(0.9, 0.8)["better"] >= 0.95 * 80


def test_a_margin_turns_equal_into_not_worse_and_slightly_worse_is_not_blocked():
    equal = verdicts(0.8, 0.8, margin=0.08)
    assert equal["not worse"] + equal["better"] >= 0.7 * 80
    assert equal["worse"] == 0
    assert verdicts(0.75, 0.8, margin=0.08)["worse"] <= 3


def test_pairing_sees_what_is_smaller_than_the_noise_of_each_model():
    chance = np.random.default_rng(0)
    truth = chance.integers(0, 2, 2_000)
    old = answers(truth, 0.8, chance)
    new = old.copy()
    wrong = np.flatnonzero(old.prediction == truth)[:20]
    new.loc[wrong, "prediction"] = 1 - truth[wrong]
    found = compare(pd.Series(truth), new, old, "classification", metric="accuracy")
    assert found.verdict == "worse"  # by one percent, with 1.8 % of noise in each
    assert found.difference == pytest.approx(-0.01)
    assert compare(pd.Series(truth), old, old, "classification").verdict == "not worse"


def test_of_errors_less_is_better():
    truth = pd.Series(np.arange(200.0))
    near, far = (pd.DataFrame({"prediction": truth + np.resize([d, -d], 200)}) for d in (1.0, 2.0))
    found = compare(truth, near, far, "regression")
    assert (found.verdict, found.metric, found.difference) == ("better", "rmse", 1.0)
    assert (
        compare(truth, far, near, "regression", metric="mae")
        .words()
        .startswith("worse: mae 2, there 1 on the same 200")
    )


def test_what_cannot_be_compared_says_why():
    truth = pd.Series([0, 1, 0])
    said = pd.DataFrame({"prediction": [0, 1, 1]})
    with pytest.raises(InvalidValue, match="there is no roc_auc of both"):
        compare(truth, said, said, "classification", metric="roc_auc")
    with pytest.raises(InvalidValue, match="no row can be scored"):
        compare(truth * np.nan, said, said, "classification")
