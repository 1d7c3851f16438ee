from __future__ import annotations

import json

import display_samples as s
import numpy as np
import pandas as pd
import pytest
from fake_workspace import PROFILE

from nbmlops.display import Listing
from nbmlops.widgets import views


def strict(payload):
    """Plain JSON and nothing else: no NaN, no tuple that would change on the way."""
    return json.loads(json.dumps(payload, allow_nan=False))


def history(values, steps=None):
    steps = list(range(len(values))) if steps is None else steps
    return pd.DataFrame({"step": steps, "timestamp": [0.0] * len(values), "value": values})


@pytest.mark.parametrize("name", sorted(s.ALL))
def test_every_record_has_a_plain_card_payload(name):
    payload = strict(views.card_payload(s.ALL[name]))
    assert set(payload) == {"kind", "name", "status", "facts", "sections"}
    assert all(len(fact) == 3 for fact in payload["facts"])
    for section in payload["sections"]:
        assert "text" in section or all(len(row) == len(section["columns"]) for row in section["rows"])


@pytest.mark.parametrize("name", sorted(s.ALL))
def test_every_record_has_a_plain_table_payload(name):
    payload = strict(views.table_payload([s.ALL[name]] * 2))
    assert [len(row) for row in payload["rows"]] == [len(payload["columns"])] * 2
    assert len(payload["ids"]) == 2


def test_table_payload_of_runs():
    payload = strict(views.table_payload(Listing([s.run(i) for i in range(1, 11)], "my runs"), "runs"))
    keys = [c["key"] for c in payload["columns"]]
    assert payload["kind"] == "my runs"
    assert payload["ids"][0] == s.run(1).ref
    assert payload["rows"][8][keys.index("metrics.loss")] == "nan"
    assert strict(views.table_payload([], "runs")) == {"kind": "runs", "columns": [], "rows": [], "ids": []}


def test_rows_of_reports_and_alerts_open_the_report():
    assert views.table_payload([s.REPORT])["ids"] == ["01REP"]
    alerts = views.table_payload([{"id": "01AL", "report_id": "01REP", "name": "churn", "findings": [1], "at": 1.0}])
    assert alerts["ids"] == ["01REP"]
    assert [(c["key"], c["hidden"]) for c in alerts["columns"]] == [
        ("id", True), ("report_id", True), ("name", False), ("at", False)
    ]  # fmt: skip


def test_curve_by_step_is_sorted_and_keeps_nan():
    curve = strict(views.curve_payload(history([3.0, 1.0, float("nan"), float("inf")], [5, 0, 2, 7])))
    assert curve == {"points": [[0, 1.0], [2, "nan"], [5, 3.0], [7, "inf"]], "total": 4, "odd": 2, "by": "step"}


def test_curve_with_equal_steps_is_in_logging_order():
    curve = views.curve_payload(history([3.0, 1.0, 2.0], [0, 0, 0]))
    assert curve["by"] == "order"
    assert curve["points"] == [[0, 3.0], [1, 1.0], [2, 2.0]]
    assert views.curve_payload(history([])) == {"points": [], "total": 0, "odd": 0, "by": "order"}


def test_long_curve_keeps_its_ends_and_peaks():
    values = np.sin(np.arange(50_000) / 100)
    values[12_345], values[40_001] = 9.0, -9.0
    curve = views.curve_payload(history(values))
    assert len(curve["points"]) <= views.MOST_POINTS
    assert curve["total"] == 50_000
    y = dict(map(tuple, curve["points"]))
    assert y[12_345] == 9.0
    assert y[40_001] == -9.0
    assert {0, 49_999} <= set(y)


@pytest.mark.parametrize("most", [10, 200, 2000])
def test_thin_never_exceeds_its_limit(most):
    for n in (0, 1, most, most + 1, 7777):
        places = views.thin(np.random.default_rng(1).normal(size=n), most)
        assert len(places) <= max(most, 0)
        assert (np.diff(places) > 0).all()


def test_thin_passes_over_nan():
    values = np.full(5000, np.nan)
    values[1234] = 1.0
    assert 1234 in views.thin(values, 100)


def test_profile_payload_with_and_without_the_columns_level():
    payload = strict(views.profile_payload(PROFILE))
    assert [c["name"] for c in payload] == list(PROFILE)
    assert payload[1]["max"] == "inf"
    assert strict(views.profile_payload({"rows": 5, "columns": PROFILE})) == payload
    assert views.profile_payload({}) == []


def test_history_is_newest_first_and_counted():
    rows = [{"version": i, "previous": i - 1, "user": "ada", "reason": "r", "at": float(i)} for i in range(30)]
    payload = strict(views.history_payload({"staging": rows, "production": []}))
    assert [row[0] for row in payload["rows"]] == [float(i) for i in range(29, 9, -1)]
    assert payload["more"] == 10
