from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from nbmlops import display
from nbmlops.context import Context
from nbmlops.errors import Blocked, InvalidValue, NotFound, UsageFault
from nbmlops.evidence import Evidences
from nbmlops.models import Models
from nbmlops.promotion import Promotion, trials
from nbmlops.records import Finding, Flow, plain
from nbmlops.records import Promotion as Promotion_
from nbmlops.runs import Runs
from nbmlops.store import ledger, schema

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(RNG.normal(size=(60, 3)), columns=["a", "b", "c"])
Y = (FRAME["a"] > 0).astype(int)


class Desk:
    def __init__(self, store):
        self.context = Context(user="tester")
        self.store = store
        self.runs = Runs(store, lambda: self.context)
        self.models = Models(store, lambda: self.context, self.runs, None)
        self.evidence = Evidences(store, lambda: self.context, self.models, self.runs)
        self.promotion = Promotion(store, lambda: self.context, self.models, self.runs, evidence=self.evidence)

    def register(self, model=None, name="m", **metrics):
        live = self.runs.start("trials")
        live.log_metrics(metrics or {"auc": 0.8})
        live.set_tags({"nbmlops.certificate": "reproduced", "certificate": "reproduced"})  # which proves nothing
        self.context = replace(self.context, run_id=live.run_id)
        version = self.models.register(model or LogisticRegression().fit(FRAME, Y), name, training_data=FRAME)
        self.context = replace(self.context, run_id=None)
        live.end()
        return version

    def certify(self, version, status="reproduced"):
        row = {"id": f"01{status}", "run_id": version.run_id, "status": status, "user": "tester", "at": 1.0}
        with self.store.write() as db:
            db.execute(schema.certificates.insert(), {**row, "report": {"how": "stage", "compared": {"metrics": 1}}})
            told = {"certificate": row["id"], "status": status}
            ledger.append(db, type="run.certified", subject=f"run:{version.run_id}", user="tester", data=told)

    def stands(self, environment, name="m"):
        try:
            return self.models.get(f"{name}@{environment}").version
        except NotFound:
            return None

    def types(self):
        return [e.type for e in ledger.read(self.store)]

    def to_production(self, ref):
        self.promotion.promote(ref, "staging", "tested")
        self.promotion.promote(ref, "production", "wanted")
        return self.promotion.approve(ref, "production", "agreed")


@pytest.fixture
def desk(store):
    return Desk(store)


def test_a_certificate_is_what_a_clean_run_has_written_and_no_tag(desk):
    version, rule = desk.register(), 'certificate == "reproduced"'
    for status in ("none", "drifted"):
        if status != "none":
            desk.certify(version, status)
        with pytest.raises(Blocked) as caught:
            desk.promotion.promote("m@1", "staging", "looks good", [rule])
        assert f"certificate = '{status}'" in caught.value.message
    desk.certify(version)
    assert desk.promotion.promote("m@1", "staging", "looks good", [rule]).status == "promoted"


def test_the_whole_way(desk):
    desk.certify(desk.register())
    first = desk.promotion.promote(
        "m@1", "staging", "looks good", ["metrics.auc >= 0.7", 'certificate == "reproduced"']
    )
    assert (first.status, first.environment, first.version, first.previous, first.user) == (
        "promoted",
        "staging",
        1,
        None,
        "tester",
    )
    assert {f.check for f in first.findings} >= {
        "rule",
        "loads",
        "repeats",
        "missing column",
        "wrong type",
        "empty batch",
        "latency",
    }
    assert all(f.ok for f in first.findings)
    waiting = desk.promotion.promote("m@staging", "production", "please")
    assert (waiting.status, desk.stands("staging"), desk.stands("production")) == ("waiting", 1, None)
    (pending,) = desk.promotion.pending()
    assert (pending.ref, pending.environment, pending.reason, pending.user) == (
        "model:m@1",
        "production",
        "please",
        "tester",
    )
    assert pending.approval_id == waiting.approval_id
    desk.context = replace(desk.context, user="owner")
    done = desk.promotion.approve("m@1", "production", "agreed")
    assert (done.status, done.user, done.approval_id) == ("approved", "owner", waiting.approval_id)
    assert desk.stands("production") == 1
    assert desk.promotion.pending() == []
    own = ["model.approved", "model.promotion-requested", "model.promoted", "run.certified", "model.registered"]
    assert desk.types() == own
    event = ledger.get(desk.store, done.event)
    assert (event.user, event.subject, event.data["requested_by"]) == ("owner", "model:m@1", "tester")
    assert ledger.verify(desk.store) == 5


def test_history_is_newest_first(desk):
    for _ in range(2):
        desk.register()
    desk.promotion.promote("m@1", "staging", "one")
    second = desk.promotion.promote("m@2", "staging", "two")
    history = desk.promotion.history("m", "staging")
    assert [(h["version"], h["previous"], h["reason"], h["user"]) for h in history] == [
        (2, 1, "two", "tester"),
        (1, None, "one", "tester"),
    ]
    assert history[0]["event"] == second.event
    assert second.previous == 1


def test_a_blocked_promotion_changes_nothing_and_lists_every_finding(desk):
    desk.register(auc=0.6)
    with pytest.raises(Blocked) as raised:
        desk.promotion.promote("m@1", "staging", "hope", ["metrics.auc >= 0.7", "metrics.f1 > 0.5", "metrics.auc > 0"])
    assert raised.value.message.startswith("model:m@1 does not enter staging: 2 of ")
    assert "metrics.auc = 0.6" in raised.value.message
    assert [f.level for f in raised.value.findings if f.check == "rule"] == ["block", "block", "pass"]
    assert any(f.check == "repeats" and f.ok for f in raised.value.findings)
    assert desk.stands("staging") is None
    assert desk.promotion.history("m", "staging") == []
    (event,) = [e for e in ledger.read(desk.store) if e.type == "model.promotion-blocked"]
    assert len(event.data["findings"]) == len(raised.value.findings)


def test_production_needs_staging_first(desk):
    desk.register()
    with pytest.raises(Blocked, match="nothing stands there") as raised:
        desk.promotion.promote("m@1", "production", "hurry")
    assert "to='staging'" in raised.value.hint
    desk.promotion.promote("m@1", "staging", "fine")
    desk.promotion.promote("m@1", "production", "fine")
    desk.register()
    desk.promotion.promote("m@2", "staging", "newer")
    with pytest.raises(Blocked, match="version 2 stands there"):
        desk.promotion.approve("m@1", "production", "late")
    assert desk.stands("production") is None


def test_rules_compare_with_production(desk):
    desk.register(auc=0.8)
    rule = ["metrics.auc >= production.metrics.auc - 0.005"]
    first = desk.promotion.promote("m@1", "staging", "first", rule)
    assert "nothing stands in production" in next(f.seen for f in first.findings if f.check == "rule")
    desk.promotion.promote("m@1", "production", "first", rule)
    desk.promotion.approve("m@1", "production", "yes")
    desk.register(auc=0.7)
    with pytest.raises(Blocked, match=r"production\.metrics\.auc = 0\.8"):
        desk.promotion.promote("m@2", "staging", "worse", rule)
    desk.register(auc=0.797)
    assert desk.promotion.promote("m@3", "staging", "as good", rule).status == "promoted"


def test_rejecting_ends_the_approval(desk):
    desk.register()
    desk.promotion.promote("m@1", "staging", "fine")
    desk.promotion.promote("m@1", "production", "please")
    done = desk.promotion.reject("m@1", "production", "not on a Friday")
    assert (done.status, desk.stands("production"), desk.promotion.pending()) == ("rejected", None, [])
    with pytest.raises(NotFound, match="no approval of model:m@1 for production is open"):
        desk.promotion.approve("m@1", "production", "after all")
    assert desk.promotion.promote("m@1", "production", "again").status == "waiting"
    assert desk.types()[:2] == ["model.promotion-requested", "model.rejected"]


def test_rolling_back_goes_one_version_further_each_time(desk):
    for _ in range(3):
        desk.register()
    for number in (1, 2, 3):
        desk.to_production(f"m@{number}")
    back = desk.promotion.rollback("m", "production", "drift")
    assert (back.status, back.version, back.previous, desk.stands("production")) == ("rolled back", 2, 3, 2)
    assert desk.promotion.rollback("m", "production", "still").version == 1
    with pytest.raises(UsageFault, match="only version 1"):
        desk.promotion.rollback("m", "production", "more")
    assert desk.stands("production") == 1
    desk.promotion.promote("m@3", "production", "mended")
    desk.promotion.approve("m@3", "production", "yes")
    assert desk.promotion.rollback("m", "production", "again").version == 1
    assert desk.stands("staging") == 3
    assert desk.types()[0] == "model.rolled-back"


def test_promoting_an_older_version_again_is_a_step_of_its_own(desk):
    for _ in range(2):
        desk.register()
    for number in (1, 2, 1):
        desk.promotion.promote(f"m@{number}", "staging", "try")
    assert desk.promotion.rollback("m", "staging", "back").version == 2
    assert desk.promotion.rollback("m", "staging", "back").version == 1


def test_rolling_back_to_damaged_bytes_is_blocked(desk):
    for _ in range(2):
        desk.register()
        desk.promotion.promote("m", "staging", "try")
    package = desk.models.manifest(desk.models.get("m@1"))["files"]["model.skops"]
    path = Path(desk.store.blobs.url(package))
    path.chmod(0o644)
    path.write_bytes(b"other")
    with pytest.raises(Blocked, match=r"model\.skops"):
        desk.promotion.rollback("m", "staging", "drift")
    assert desk.stands("staging") == 2
    with pytest.raises(UsageFault):
        desk.promotion.rollback("m", "production", "drift")


@pytest.mark.parametrize("reason", ["", "  ", None, 3])
def test_a_reason_is_needed(desk, reason):
    desk.register()
    for verb in (desk.promotion.promote, desk.promotion.approve, desk.promotion.reject):
        with pytest.raises(InvalidValue, match="reason"):
            verb("m@1", "staging", reason)
    with pytest.raises(InvalidValue, match="reason"):
        desk.promotion.rollback("m", "staging", reason)


def test_what_makes_no_sense_is_told(desk):
    desk.register()
    with pytest.raises(NotFound, match="no environment 'prod'"):
        desk.promotion.promote("m@1", "prod", "x")
    with pytest.raises(NotFound):
        desk.promotion.promote("none@1", "staging", "x")
    with pytest.raises(InvalidValue, match="rules"):
        desk.promotion.promote("m@1", "staging", "x", ["__import__('os')"])
    desk.promotion.promote("m@1", "staging", "x", "metrics.auc > 0")
    with pytest.raises(UsageFault, match="stands in staging already"):
        desk.promotion.promote("m@1", "staging", "x")
    desk.promotion.promote("m@1", "production", "x")
    with pytest.raises(UsageFault, match="waits for its approval"):
        desk.promotion.promote("m@1", "production", "x")
    with pytest.raises(NotFound):
        desk.promotion.history("none", "staging")


def test_two_people_approve_once(desk):
    desk.register()
    desk.promotion.promote("m@1", "staging", "x")
    desk.promotion.promote("m@1", "production", "x")
    outcomes: list[object] = []

    def approve():
        try:
            outcomes.append(desk.promotion.approve("m@1", "production", "yes"))
        except NotFound as error:
            outcomes.append(error)

    threads = [threading.Thread(target=approve) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(not isinstance(o, NotFound) for o in outcomes) == 1
    assert desk.types().count("model.approved") == 1


def test_the_move_and_its_event_stand_or_fall_together(desk, monkeypatch):
    desk.register()
    monkeypatch.setattr(desk.store, "upsert", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        desk.promotion.promote("m@1", "staging", "x")
    assert desk.types() == ["model.registered"]


# -- the trials -------------------------------------------------------------------------------------------------------
class Own(BaseEstimator):
    """A model of one's own: no environment takes it, because its type has to be named."""

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def predict(self, X):
        return np.zeros(len(X))


def test_types_that_must_be_named_are_blocked(desk):
    with pytest.warns(UserWarning, match="must name them"):
        desk.register(Own().fit(FRAME))
    with pytest.raises(Blocked, match="does not trust"):
        desk.promotion.promote("m@1", "staging", "x")


def test_a_transformer_is_blocked(desk):
    desk.register(StandardScaler().fit(FRAME))
    with pytest.raises(Blocked, match=r"no predict\(\)"):
        desk.promotion.promote("m@1", "staging", "x")


def findings(desk):
    return {f.check: f for f in trials.run(desk.models, desk.models.get("m"))}


def answering(desk, monkeypatch, answer):
    real = desk.models.predict_frame
    monkeypatch.setattr(desk.models, "predict_frame", lambda ref, rows: answer(real, ref, rows))


def test_other_predictions_than_recorded_are_found(desk, monkeypatch):
    desk.register()
    answering(
        desk,
        monkeypatch,
        lambda real, ref, rows: real(ref, rows).assign(probability_1=lambda f: f["probability_1"] + 1e-3),
    )
    found = findings(desk)
    assert (found["repeats"].level, found["repeats"].seen) == ("block", "60 of 60 rows differ")
    assert found["single rows"].ok


def test_answers_that_depend_on_the_batch_are_found(desk, monkeypatch):
    desk.register()
    answering(desk, monkeypatch, lambda real, ref, rows: real(ref, rows).assign(prediction=len(rows)))
    assert findings(desk)["single rows"].level == "block"


def test_models_that_answer_anything_are_found(desk, monkeypatch):
    desk.register()
    answering(desk, monkeypatch, lambda real, ref, rows: real(ref, FRAME.head(len(rows))))
    found = findings(desk)
    assert (found["missing column"].level, found["wrong type"].level) == ("block", "block")


def test_slow_and_failing_models_are_found(desk, monkeypatch):
    desk.register()
    monkeypatch.setattr(trials, "SLOW_SECONDS", 0.0)
    assert findings(desk)["latency"].level == "warn"
    answering(desk, monkeypatch, lambda real, ref, rows: 1 / 0)
    found = findings(desk)
    assert found["empty batch"].seen.startswith("ZeroDivisionError")
    assert {found[c].level for c in ("repeats", "empty batch", "latency")} == {"block"}


def test_a_small_example_is_enough_for_the_trials(desk):
    desk.models.register(LogisticRegression().fit(FRAME, Y), "m", input_example=FRAME.head(2))
    assert all(f.ok for f in findings(desk).values())


def test_approving_what_one_asked_for_is_a_warning(desk):
    desk.register()
    desk.promotion.promote("m@1", "staging", "good")
    desk.promotion.promote("m@1", "production", "wanted")
    done = desk.promotion.approve("m@1", "production", "agreed")
    (warning,) = [f for f in done.findings if f.check == "approver"]
    assert (done.status, warning.level, warning.hint) == ("approved", "warn", "have somebody else approve")
    assert warning.seen == "the person who approves is the one who asked: tester"
    assert ledger.get(desk.store, done.event).data["findings"][-1]["check"] == "approver"


def test_a_card_lists_what_is_not_well_and_counts_what_passed():
    passed = [Finding(f"check {n}", "pass", "asked", "seen") for n in range(6)]
    warned = Finding("approver", "warn", "another person", "the same", "have somebody else approve")
    outcome = Promotion_("m", 1, "production", "approved", "r", "u", findings=(*passed, warned))
    shown = display.text(outcome)
    assert "have somebody else approve" in shown
    assert "6 passed: check 0, check 1, check 2, check 3, check 4, check 5" in shown
    decision = {"status": "blocked", "at": 1795201620.4, "findings": [plain(warned), plain(passed[0])], "message": "m"}
    shown = display.text(Flow("id", "x", "p.yaml", "BLOCKED", decision=decision))
    assert "1 passed: check 0" in shown
    assert "1795201620" not in shown
    assert "{" not in shown


def test_the_names_of_facts_are_those_that_rules_get(desk):
    assert set(desk.promotion.facts(desk.register())) == set(desk.promotion.fact_names())
