"""Gates of an environment: the model in production on the same rows, evidence, strange rows, expectations."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from nbmlops.errors import Blocked
from nbmlops.flavors.signature import infer as describe
from nbmlops.promotion import robustness

N = 800
CHANCE = np.random.default_rng(3)
FRAME = pd.DataFrame({"income": CHANCE.normal(40, 10, N), "noise": CHANCE.normal(0, 1, N)})
PAID = pd.Series((FRAME.income + CHANCE.normal(0, 4, N) > 40).astype(int))
SEX = pd.Series(np.where(np.arange(N) % 2, "f", "m"), name="sex")
TEST = slice(400, N)


def register(ws, columns=("income", "noise"), truth=PAID, name="m", rows=True):
    frame = FRAME[list(columns)]
    test = ws.evidence.test_rows((FRAME[TEST], PAID[TEST]), groups=SEX[TEST]) if rows else None
    model = LogisticRegression().fit(frame[:400], truth[:400])
    return ws.evidence.register(model, name, test=test, training_data=frame[:400])


def write(text: str) -> None:
    Path("nbmlops.toml").write_text(text)


def promote(ws, version, to="staging", rules=()):
    """The findings, whether it was blocked or not, by check."""
    try:
        found = ws.promotion.promote(version.ref, to, "because", rules=rules).findings
    except Blocked as error:
        found = tuple(error.findings)
    return {f.check: f for f in found}


@pytest.fixture
def standing(ws):
    """A good model in production."""
    version = register(ws)
    ws.promotion.promote(version.ref, "staging", "first")
    ws.promotion.promote(version.ref, "production", "first")
    ws.promotion.approve(version.ref, "production", "fine")
    return version


def test_a_worse_candidate_is_blocked_and_an_equal_one_is_not(ws, standing):
    bad = register(ws, truth=pd.Series(CHANCE.permutation(PAID)))
    found = promote(ws, bad)["production"]
    assert found.level == "block"
    assert found.seen.startswith("worse: roc_auc")
    assert ws.models.get("m@staging").version == standing.version
    same = promote(ws, register(ws))["production"]
    assert (same.level, same.seen.partition(":")[0]) == ("pass", "not worse")


def test_less_than_noise_cannot_be_told_which_warns_or_blocks_as_the_project_wants(ws, standing):
    slightly = register(ws, truth=pd.Series(np.where(np.arange(N) % 40 == 0, 1 - PAID, PAID)))
    found = promote(ws, slightly)["production"]
    assert (found.level, found.seen.partition(":")[0]) == ("warn", "cannot tell")
    write('[environments.staging]\nundecided = "block"\n[environments.production]\n')
    again = register(ws, truth=pd.Series(np.where(np.arange(N) % 40 == 0, 1 - PAID, PAID)))
    assert promote(ws, again)["production"].level == "block"


def test_rules_compare_with_a_margin_and_name_what_they_saw(ws, standing):
    slightly = register(ws, truth=pd.Series(np.where(np.arange(N) % 40 == 0, 1 - PAID, PAID)))
    rule = 'compare("roc_auc", margin=0.05) != "worse"'
    found = promote(ws, slightly, rules=[rule])["rule"]
    assert found.level == "pass"
    assert "not worse: roc_auc" in found.seen
    assert promote(ws, register(ws), rules=['compare("recall") == "better"'])["rule"].level == "block"
    assert "there is no r2 of both" in promote(ws, register(ws), rules=['compare("r2") != "worse"'])["rule"].seen


def test_with_nothing_in_production_a_comparison_passes_and_says_so(ws):
    found = promote(ws, register(ws), rules=['compare("roc_auc") == "better"'])
    assert found["rule"].level == "pass"
    assert "nothing stands in production yet" in found["rule"].seen
    assert "production" not in found


def test_without_test_data_it_is_a_warning_and_where_a_score_is_demanded_a_block(ws, standing):
    found = promote(ws, register(ws, rows=False))["production"]
    assert found.level == "warn"
    assert "no test data were kept" in found.seen
    write('[environments.staging]\ncompare = "accuracy"\n[environments.production]\n')
    assert promote(ws, register(ws, rows=False))["production"].level == "block"


def test_a_model_of_other_columns_is_compared_on_what_both_take_or_says_why(ws, standing):
    found = promote(ws, register(ws, columns=("income",)))["production"]
    assert found.level == "warn"
    assert "noise" in found.seen


def test_rules_over_evidence_measure_what_they_need(ws):
    rules = [
        "evidence.performance.roc_auc.low >= 0.6",
        "evidence.latency.p99_ms <= 10000",
        "evidence.fairness.sex.equalized_odds_difference <= 0.001",
        "evidence.residuals.mean <= 1",
        "evidence.speed.p99 <= 1",
    ]
    version = register(ws)
    assert ws.evidence.get(version.ref, "latency") is None
    with pytest.raises(Blocked) as caught:
        ws.promotion.promote(version.ref, "staging", "because", rules=rules)
    found = [f for f in caught.value.findings if f.check == "rule"]
    assert [f.level for f in found] == ["pass", "pass", "block", "block", "block"]
    assert "equalized_odds_difference = 0." in found[2].seen
    assert "the model predicts classes, not numbers" in found[3].seen
    assert "there is no evidence.speed" in found[4].seen
    assert ws.evidence.get(version.ref, "latency").status == "done"


def test_strange_rows_are_tried_in_staging(ws):
    found = promote(ws, register(ws))
    for check in ("columns in another order", "rows in another order", "out of range", "noise"):
        assert found[check].level == "pass", found[check]
    assert found["unknown missing values"].seen.startswith("refused by the model: ValueError: Input X contains NaN")
    assert found["unknown missing values"].level == "pass"


def test_expectations_are_judged_on_the_frozen_rows(ws):
    write(
        '[environments.staging]\nexpectations = [{ increases = "probability_1", when = "income", by = 5 }, '
        '{ invariant = "noise", to = [0.0], share = 0.9 }, { decreases = "probability_1", when = "income", by = 5 }, '
        '{ invariant = "age", to = [1] }]\n[environments.production]\n'
    )
    with pytest.raises(Blocked) as caught:
        ws.promotion.promote(register(ws).ref, "staging", "because")
    found = [f for f in caught.value.findings if f.check == "expectation"]
    assert [f.level for f in found] == ["pass", "block", "block", "block"]
    assert found[0].asked == "probability_1 increases when income rises by 5"
    assert "are asked for; not in row" in found[1].seen
    assert found[3].seen == "there is no 'age'"


def test_golden_rows_are_answered_as_written(ws):
    version = register(ws)
    rows = FRAME[:20].assign(prediction=ws.models.predict_frame(version.ref, FRAME[:20]).prediction)
    rows.to_csv("golden.csv", index=False)
    write('[models.m.staging]\ngolden = "golden.csv"\n')
    assert promote(ws, version)["golden rows"].seen == "20 rows, all as written"
    rows.assign(prediction=1 - rows.prediction.where(rows.index == 3, 1 - rows.prediction)).to_csv(
        "golden.csv", index=False
    )
    found = promote(ws, register(ws))["golden rows"]
    assert (found.level, found.seen[:25]) == ("block", "1 of 20 differ; row 3: {'")
    Path("golden.csv").unlink()
    assert "no file" in promote(ws, register(ws))["golden rows"].seen


class OfTheBatch(TransformerMixin, BaseEstimator):
    """Centres each batch by itself, which no model should."""

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return X - X.iloc[0]


def test_a_model_that_looks_at_places_is_blocked():
    shaky = make_pipeline(OfTheBatch(), LogisticRegression()).fit(FRAME[:400], PAID[:400])
    signature = {"inputs": describe(FRAME[:400])["inputs"]}
    found = robustness.findings(
        SimpleNamespace(signature=signature),
        FRAME[TEST],
        lambda rows: pd.DataFrame({"prediction": shaky.predict(rows[["income", "noise"]])}, index=rows.index),
    )
    by = {f.check: f.level for f in found}
    assert (by["columns in another order"], by["rows in another order"]) == ("pass", "block")


GATE = """import nbmlops
assert environment == "staging"
found = nbmlops.load_model(model).coef_[0]
nbmlops.finding("weight", "block" if abs(found[1]) > 0.5 else "pass", "noise does not weigh", f"{found[1]:.2f}")
nbmlops.finding("sign", "pass", "more income, more paid", f"{found[0]:.2f}")"""


def gate(path: str, source: str) -> None:
    cells = [nbformat.v4.new_code_cell('model = ""\nenvironment = ""'), nbformat.v4.new_code_cell(source)]
    cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


@pytest.mark.slow
def test_a_notebook_judges_too(ws):
    gate("gate.ipynb", GATE)
    write('[environments.staging]\ngate = "gate.ipynb"\n[environments.production]\n')
    found = promote(ws, register(ws))
    assert (found["weight"].level, found["sign"].asked) == ("pass", "more income, more paid")
    gate("gate.ipynb", "raise ValueError('biased')")
    broken = promote(ws, register(ws))["gate"]
    assert broken.level == "block"
    assert "biased" in broken.seen
    gate("gate.ipynb", "print(model)")
    assert promote(ws, register(ws))["gate"].level == "warn"
    Path("gate.ipynb").unlink()
    missing = promote(ws, register(ws))["gate"]
    assert missing.level == "block"
    assert "gate.ipynb" in missing.seen
