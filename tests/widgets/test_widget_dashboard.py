from __future__ import annotations

import json

import display_samples as s
import pytest
from fake_workspace import fake_workspace

from nbmlops.widgets import dashboard as d

MODEL = "model:churn@3"
EXAMPLES = {
    "ref": {
        "run": s.run(3).ref,
        "curve": s.run(3).ref,
        "dataset": "dataset:flights@3",
        "model": MODEL,
        "flow": "flow:01FLOW",
        "report": "01REP",
        "promote": "model:churn@2",
        "approve": MODEL,
        "reject": MODEL,
    },
    "key": {"curve": "loss"},
    "name": {"dataset_versions": "flights", "model_versions": "churn", "rollback": "churn"},
    "to": dict.fromkeys(("promote", "approve", "reject"), "staging"),
    "environment": {"rollback": "production"},
    "reason": dict.fromkeys(d.ACTS, "because"),
}


def message(verb: str, **args: str) -> dict:
    return {"id": "v-1", "verb": verb, "args": args}


@pytest.mark.parametrize("verb", sorted(d.VERBS))
def test_every_verb_answers_in_plain_json(verb):
    args = {name: EXAMPLES[name][verb] for name in d.VERBS[verb].takes}
    reply = d.answer(fake_workspace(), message(verb, **args))
    assert reply["ok"], reply
    assert reply["id"] == "v-1"
    assert json.loads(json.dumps(reply, allow_nan=False)) == reply


def test_acts_reach_the_desk_with_their_reason():
    ws = fake_workspace()
    d.answer(ws, message("promote", ref="model:churn@2", to="staging", reason="better"))
    d.answer(ws, message("reject", ref="model:churn@3", to="production", reason="worse"))
    d.answer(ws, message("rollback", name="churn", environment="production", reason="broken"))
    assert ws.promotion.calls == [
        ("promote", "model:churn@2", "staging", "better"),
        ("reject", "model:churn@3", "production", "worse"),
        ("rollback", "churn", "production", "broken"),
    ]


@pytest.mark.parametrize(
    "given",
    [
        None,
        "promote",
        {},
        {"id": 1, "verb": "delete", "args": {}},
        {"id": 1, "verb": "__init__"},
        {"id": 1, "verb": ["runs"]},
        {"id": 1, "verb": "run", "args": {}},
        {"id": 1, "verb": "run", "args": {"ref": "run:1", "more": "x"}},
        {"id": 1, "verb": "run", "args": {"ref": 5}},
        {"id": 1, "verb": "run", "args": "run:1"},
        message("promote", ref="model:churn@2", to="staging", reason="  "),
        message("run", ref="run:nothing"),
    ],
)
def test_what_is_not_allowed_is_refused_with_two_lines(given):
    ws = fake_workspace()
    reply = d.answer(ws, given)
    assert not reply["ok"]
    assert reply["error"]["message"]
    assert reply["error"]["hint"]
    assert ws.promotion.calls == []


def test_a_blocked_promotion_lists_every_finding():
    reply = d.answer(fake_workspace(), message("promote", ref="model:churn@1", to="staging", reason="please"))
    assert reply["error"]["error"] == "Blocked"
    assert [row[0] for row in reply["error"]["findings"]["rows"]] == ["block", "warn", "pass"]


def test_a_fault_of_ours_is_shown_and_logged(caplog):
    ws = fake_workspace()
    ws.runs.search = lambda limit: 1 / 0
    reply = d.answer(ws, message("runs"))
    assert reply["error"]["error"] == "ZeroDivisionError"
    assert "runs" in caplog.text


def test_widget_answers_the_page(monkeypatch):
    widget = d.Dashboard(fake_workspace())
    sent = []
    monkeypatch.setattr(widget, "send", sent.append)
    widget._handle_custom_msg(message("pending"), [])
    assert sent[0]["data"][0]["environment"] == "production"


def test_snapshot_keeps_what_a_reader_asks_and_survives_a_failing_desk():
    ws = fake_workspace(runs=60)
    ws.monitors.reports = lambda: 1 / 0
    kept = d.snapshot(ws)
    json.dumps(kept, allow_nan=False)
    assert len([k for k in kept if k.startswith("run?")]) == d.KEPT_CARDS
    assert len([k for k in kept if k.startswith("curve?")]) == d.KEPT_CURVES * 2
    curve = kept[d.name_of("curve", {"ref": s.run(1).ref, "key": "loss"})]["data"]
    assert len(curve["points"]) <= d.KEPT_POINTS
    assert kept["model?ref=model:churn@1"]["ok"]
    assert not kept["reports?"]["ok"]
    assert kept["flow?ref=flow:02FLOW"]["ok"]


def test_bundle_and_page():
    data, _ = d.Dashboard(fake_workspace())._repr_mimebundle_()
    assert set(data) == {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"}
    page = d.dashboard_page(fake_workspace())
    assert page.startswith("<!doctype html>")
    assert "<script>window" not in page
