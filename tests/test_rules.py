from __future__ import annotations

import pytest

from nbmlops import rules
from nbmlops.errors import InvalidValue

FACTS = {
    "metrics": {"roc_auc": 0.7, "f1": 0.55, "loss": 1.5, "f1-macro": 0.6, "bad": float("nan"), "fit__auc": 1},
    "params": {"depth": "3"},
    "tags": {"team": "risk"},
    "certificate": "reproduced",
    "flag": True,
    "production": {"version": 2, "metrics": {"roc_auc": 0.704}},
    "staging": None,
}


@pytest.mark.parametrize(
    ("rule", "level"),
    [
        ("metrics.roc_auc >= 0.65", "pass"),
        ("metrics.roc_auc >= 0.75", "block"),
        ("metrics.roc_auc >= production.metrics.roc_auc - 0.005", "pass"),
        ("metrics.roc_auc >= production.metrics.roc_auc", "block"),
        ('certificate == "reproduced"', "pass"),
        ('certificate in ["reproduced", "drifted"]', "pass"),
        ('certificate not in ("drifted",)', "pass"),
        ("metrics.f1 >= 0.5 and not (metrics.loss > 2)", "pass"),
        ("metrics.f1 >= 0.9 or metrics.loss < 2", "pass"),
        ("metrics.f1 >= 0.9 or metrics.loss > 2", "block"),
        ('metrics["f1-macro"] >= 0.5', "pass"),
        ("0.5 < metrics.f1 < 0.6", "pass"),
        ("0.5 < metrics.f1 < 0.54", "block"),
        ("abs(metrics.f1 - 0.5) <= 0.051", "pass"),
        ("max(metrics.f1, metrics.loss) == 1.5", "pass"),
        ("min([metrics.f1, 2]) < 1", "pass"),
        ("-metrics.loss * 2 / 3 + 1 == 0", "pass"),
        ("flag", "pass"),
        ("not flag", "block"),
        ("metrics.bad < 1", "block"),
        ("not (metrics.bad > 1)", "block"),
        ("metrics.unknown > 1", "block"),
        ("metrics.f1.deeper > 1", "block"),
        ("params.depth > 1", "block"),
        ("params.depth + 1 > 1", "block"),
        ("metrics.f1 / 0 > 1", "block"),
        ("metrics.f1", "block"),
        ("metrics.f1 and flag", "block"),
        ("abs(1, 2) > 1", "block"),
        ("max([]) > 1", "block"),
        # nothing stands in staging
        ("metrics.f1 >= staging.metrics.f1", "pass"),
        ("metrics.f1 >= abs(staging.metrics.f1) - 1", "pass"),
        ("metrics.f1 >= staging.metrics.f1 and metrics.f1 > 0.9", "block"),
        ("metrics.f1 >= staging.metrics.f1 and metrics.f1 > 0.5", "pass"),
        ("metrics.f1 >= staging.metrics.f1 or metrics.f1 > 0.9", "pass"),
        ("not (staging.metrics.f1 > metrics.f1)", "pass"),
    ],
)
def test_judge(rule, level):
    (finding,) = rules.judge([rule], FACTS)
    assert (finding.level, finding.asked) == (level, rule)
    assert finding.seen
    assert finding.hint or level == "pass"


def test_a_finding_shows_the_numbers():
    (finding,) = rules.judge(["metrics.roc_auc >= production.metrics.roc_auc"], FACTS)
    assert finding.seen == "metrics.roc_auc = 0.7, production.metrics.roc_auc = 0.704"


def test_an_unknown_fact_names_what_exists():
    (finding,) = rules.judge(["metrics.auc >= 0.5"], FACTS)
    assert finding.seen == "there is no metrics.auc"
    assert "metrics has: bad, f1, f1-macro, fit__auc, loss, roc_auc" in finding.hint
    (finding,) = rules.judge(["metric.auc >= 0.5"], FACTS)
    assert "certificate" in finding.hint
    (finding,) = rules.judge(["metrics.auc >= 0.5"], {"metrics": {}})
    assert "log it in the run" in finding.hint


def test_a_first_promotion_is_noted():
    (finding,) = rules.judge(["metrics.f1 >= staging.metrics.f1"], FACTS)
    assert "nothing stands in staging" in finding.seen


@pytest.mark.parametrize(
    "rule",
    [
        "__import__('os').system('true')",
        "().__class__ == 1",
        "metrics.__class__.__mro__ == eval('1')",
        "[x for x in metrics] == 1",
        "(lambda: 1)() == 1",
        "metrics.f1 ** 999 > 1",
        "metrics[0] > 1",
        "metrics[metrics.f1] > 1",
        "open('x')",
        "max(*metrics) > 1",
        "max(metrics.f1, default=1) > 1",
        "f'{metrics}' == 'a'",
        "b'a' == 'a'",
        "metrics.f1 := 1",
        "metrics.f1 = 1",
        "1 if flag else 2",
        "None == None",
        "1j > 0",
        "",
        "   ",
        3,
        None,
        "a" * 2000,
        "-" * 900 + "1 > 0",
        "(" * 450 + "1" + ")" * 450,
        "metrics.f1 >=",
        "a\0b",
    ],
)
def test_what_is_not_a_rule_is_refused(rule):
    with pytest.raises(InvalidValue):
        rules.judge([rule], FACTS)


def test_attributes_reach_facts_only():
    (finding,) = rules.judge(["metrics.__class__ == 1"], FACTS)
    assert finding.level == "block"
    assert "there is no metrics.__class__" in finding.seen


def test_all_faulty_rules_are_listed():
    with pytest.raises(InvalidValue, match="2 faults") as raised:
        rules.check(["metrics.f1 >= 1", "eval('1')", "1 +"])
    assert len(raised.value.faults) == 2


def test_unknown_facts_are_named_before_there_is_a_model():
    assert rules.unknown_facts("max(metrics.a, production.metrics.a) > abs(-1)", FACTS) == []
    (fault,) = rules.unknown_facts("metric.auc > 1 or metric.f1 > 1", FACTS)
    assert fault.startswith("there is no fact 'metric' (did you mean 'metrics'?); there are metrics, ")
    assert rules.unknown_facts("metrics.auc >=", FACTS) == []
