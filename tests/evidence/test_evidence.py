"""Evidence of a version: what is kept at registration, what is measured on request, and what fails with a reason."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from nbmlops import audit
from nbmlops.context import Context
from nbmlops.display import Listing
from nbmlops.errors import InvalidValue, NotFound, Tampered
from nbmlops.evidence import KINDS
from nbmlops.store import schema
from nbmlops.workspace import Workspace

N = 600
CHANCE = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "age": CHANCE.integers(18, 80, N).astype(float),
        "income": CHANCE.normal(40, 10, N),
        "city": pd.Categorical(CHANCE.choice(["Bonn", "Köln", "<b>Ulm</b>"], N)),
    }
)
SEX = pd.Series(CHANCE.choice(["f", "m"], N), name="sex")
PAID = pd.Series(np.where(FRAME.income + CHANCE.normal(0, 5, N) > 40, "yes", "no"), name="paid")
TRAIN, TEST = slice(0, 300), slice(300, N)


def classifier():
    steps = make_column_transformer((StandardScaler(), ["age", "income"]), (OneHotEncoder(), ["city"]))
    return make_pipeline(steps, LogisticRegression()).fit(FRAME[TRAIN], PAID[TRAIN])


@pytest.fixture
def registered(ws):
    """A classifier with frozen test rows and a named group."""
    rows = ws.evidence.test_rows((FRAME[TEST], PAID[TEST]), groups=SEX[TEST])
    return ws.evidence.register(classifier(), "m", test=rows, training_data=FRAME[TRAIN])


def test_what_is_cheap_is_there_at_once_and_the_rest_on_request(ws, registered):
    kept = {e.kind: e for e in ws.evidence.of(registered.ref)}
    assert list(kept) == ["evaluation", "provenance", "performance"]
    area = kept["performance"].report["roc_auc"]
    assert 0.6 < area["low"] < area["value"] < area["high"] <= 1
    found = {e.kind: e for e in ws.evidence.gather(registered.ref)}
    assert list(found) == list(KINDS)
    assert [k for k, e in found.items() if e.status == "skipped"] == ["residuals"]
    assert found["residuals"].report["reason"].startswith("the model predicts classes")
    assert found["performance"].at == kept["performance"].at  # measured once
    assert f"({kept['performance'].report['accuracy']['low']:.4g} … " in kept["performance"].summary
    listed = repr(Listing(found.values(), "Evidence of m"))
    assert len(listed.splitlines()) == 2 + len(KINDS)
    assert "the model predicts classes" in listed
    assert found["importance"].report["columns"][0]["column"] == "income"
    assert 0 < found["latency"].report["median_ms"] <= found["latency"].report["p99_ms"]
    assert ws.evidence.file(registered.ref, "confusion", "confusion.svg").startswith(b"<?xml")
    assert audit.verify(ws.store)


def test_frozen_rows_come_back_as_they_were(ws, registered):
    found = ws.evidence.evaluation(registered.ref)
    pd.testing.assert_frame_equal(found.inputs, FRAME[TEST].reset_index(drop=True))
    pd.testing.assert_series_equal(found.actual, PAID[TEST].reset_index(drop=True), check_names=False)
    assert list(found.groups) == ["sex"]
    expected = ws.models.predict_frame(registered.ref, FRAME[TEST].reset_index(drop=True))
    pd.testing.assert_frame_equal(found.outputs, expected)


def test_rules_speak_of_what_was_measured(ws, registered):
    ws.evidence.gather(registered.ref, ["fairness", "importance"])
    facts = ws.evidence.facts(registered.ref)
    assert facts["performance"]["accuracy"]["value"] > 0.6
    assert facts["importance"]["income"] > facts["importance"]["age"]
    by = {row["group"]: row["rows"] for row in facts["fairness"]["sex"]["groups"]}
    assert by == SEX[TEST].value_counts().to_dict()


def test_changed_evidence_is_found(ws, registered):
    e = schema.evidence
    report = {**ws.evidence.get(registered.ref, "performance").report, "accuracy": {"value": 1.0}}
    with ws.store.write() as db:
        db.execute(e.update().where(e.c.kind == "performance").values(report=report))
    with pytest.raises(Tampered, match="no event tells of the evidence performance of model:m@1 as it is"):
        audit.verify(ws.store)


def test_a_regressor_has_residuals_and_worst_groups(ws):
    frame = FRAME[["age", "income"]]
    wrong = frame.income + np.where(FRAME.city == "Bonn", 30, 0)
    rows = ws.evidence.test_rows(FRAME[TEST].assign(y=wrong[TEST]), "y", groups=["city"])
    version = ws.evidence.register(LinearRegression().fit(frame, frame.income), "r", test=rows, training_data=frame)
    found = {e.kind: e for e in ws.evidence.gather(version.ref)}
    assert {k for k, e in found.items() if e.status == "skipped"} == {"confusion", "calibration"}
    assert "city = Bonn" in found["slices"].report["found"][0]["group"]
    assert found["fairness"].report["city"]["mae_difference"] == pytest.approx(30, abs=1)
    assert found["residuals"].report["mean"] > 5


def test_data_sets_are_test_data_by_reference(ws):
    frame = FRAME[["age", "income"]].assign(paid=PAID)
    held = ws.datasets.snapshot(frame[TEST], "test")
    rows = ws.evidence.test_rows("dataset:test", "paid")
    model = LogisticRegression().fit(frame[["age", "income"]], PAID)
    version = ws.evidence.register(model, "m", test=rows, training_data=frame[["age", "income"]])
    assert ws.evidence.get(version.ref, "provenance").report["test_data"] == held.ref
    assert ws.evidence.get(version.ref, "evaluation").report["source"] == held.ref


@pytest.mark.parametrize(
    ("given", "target", "groups", "told"),
    [
        ((FRAME, PAID[:5]), None, (), ["600 rows and 5 outcomes"]),
        ((FRAME, PAID), None, ["sex", "age"], ["no column 'sex' for groups"]),
        ((FRAME, PAID[:5]), None, SEX[:3], ["600 rows and 5 outcomes", "5 rows and 3 rows of groups"]),
        ((FRAME[:0], PAID[:0]), None, (), ["there are no rows"]),
    ],
)
def test_test_data_that_do_not_fit_are_told_before_anything_is_kept(ws, given, target, groups, told):
    with pytest.raises(InvalidValue) as caught:
        ws.evidence.test_rows(given, target, groups)
    assert len(caught.value.faults) == len(told)
    for part, fault in zip(told, caught.value.faults, strict=True):
        assert part in fault


@pytest.mark.parametrize(("given", "target"), [(FRAME, None), (FRAME, "paid"), ([1, 2], "x")])
def test_a_target_that_is_not_there(ws, given, target):
    with pytest.raises(InvalidValue, match=r"no target|no column 'paid'|is no test data"):
        ws.evidence.test_rows(given, target)


def test_rows_the_model_cannot_take_are_a_warning_and_the_version_is_there(ws):
    rows = ws.evidence.test_rows((FRAME[TEST].drop(columns="income"), PAID[TEST]))
    with pytest.warns(UserWarning, match="is registered, but cannot take the test data"):
        version = ws.evidence.register(classifier(), "m", test=rows, training_data=FRAME[TRAIN])
    kept = {e.kind: e for e in ws.evidence.of(version.ref)}
    assert kept["evaluation"].status == "failed"
    assert "income" in str(kept["evaluation"].report["faults"])
    assert kept["performance"].report["reason"] == "no test data were given"


@pytest.mark.parametrize(
    "outcome",
    [
        PAID[TEST].where(np.arange(300) < 1),
        pd.Series(["never"] * 300),
        PAID[TEST].map({"yes": "yes"}),
    ],
    ids=["one row", "an unseen class", "one class"],
)
def test_strange_outcomes_are_done_or_say_why(ws, outcome):
    rows = ws.evidence.test_rows((FRAME[TEST], outcome.reset_index(drop=True)))
    version = ws.evidence.register(classifier(), "m", test=rows, training_data=FRAME[TRAIN])
    for e in ws.evidence.gather(version.ref):
        assert e.status == "done" or len(e.report["reason"]) > 10, e.kind
    assert ws.evidence.get(version.ref, "performance").status == "done"


def test_models_without_one_answer_say_so(ws):
    frame = FRAME[["age", "income"]]
    for model in (RandomForestRegressor(3).fit(frame, frame), KMeans(2, n_init=1).fit(frame)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = ws.evidence.test_rows((frame[TEST], pd.Series([0] * 300)))
            version = ws.evidence.register(model, "m", test=rows, training_data=frame)
        for e in ws.evidence.gather(version.ref):
            assert e.status == "done" or e.report["reason"], e


def test_without_test_data_only_the_making_is_told(ws):
    version = ws.evidence.register(classifier(), "m", training_data=FRAME[TRAIN])
    assert [e.kind for e in ws.evidence.of(version.ref)] == ["provenance"]
    skipped = {e.kind: e.report["reason"] for e in ws.evidence.gather(version.ref) if e.status == "skipped"}
    assert set(skipped) == set(KINDS) - {"provenance", "cost", "latency", "onnx"}
    assert set(skipped.values()) == {"no test data were given"}
    assert ws.evidence.evaluation(version.ref) is None


def test_a_candidates_rows_come_with_it_when_it_is_registered(store):
    here = {"run": None, "candidate": True}
    ws = Workspace(store, lambda: Context("ann", run_id=here["run"], candidate=here["candidate"]))
    live = ws.runs.start()
    here["run"] = live.run_id
    rows = ws.evidence.test_rows((FRAME[TEST], PAID[TEST]), groups=SEX[TEST])
    logged = ws.evidence.register(classifier(), "m", test=rows, training_data=FRAME[TRAIN])
    assert logged.version == 0
    here |= {"run": None, "candidate": False}
    version = ws.models.register(f"run:{live.run_id}", "m")
    assert ws.evidence.of(version.ref) == []
    assert len(ws.evidence.evaluation(version.ref).actual) == 300
    assert [e.status for e in ws.evidence.gather(version.ref, ["performance", "fairness"])] == ["done", "done"]
    assert all(f.ok for f in ws.models.verify(version.ref))
    assert audit.verify(store)


@pytest.mark.slow
def test_in_a_process_of_its_own_it_is_measured_while_this_one_goes_on(ws, registered):
    told = ws.evidence.gather(registered.ref, ["confusion", "slices"], background=True)
    assert {e.status for e in told} <= {"waiting", "done"}
    for _ in range(600):
        found = [ws.evidence.get(registered.ref, kind) for kind in ("confusion", "slices")]
        if all(e.status == "done" for e in found):
            break
        time.sleep(0.1)
    assert [e.status for e in found] == ["done", "done"]
    assert audit.verify(ws.store)


def test_unknown_kinds_and_files_are_told(ws, registered):
    with pytest.raises(InvalidValue, match="there is no kind 'accuracy'"):
        ws.evidence.gather(registered.ref, ["accuracy"])
    with pytest.raises(NotFound, match=r"confusion\.svg"):
        ws.evidence.file(registered.ref, "confusion", "confusion.svg")
