"""The filter grammar of search_runs."""

from __future__ import annotations

from typing import Any

import pytest

from nbmlops.errors import InvalidValue


@pytest.fixture
def runs(nb: Any) -> Any:
    """Five runs: a to e."""
    for number, name in enumerate("abcde"):
        nb.set_experiment("x" if number < 4 else "y")
        with nb.start_run(name, tags={"team": "Vision" if number % 2 else "text", "note's": "it's"}):
            nb.log_params({"depth": number, "learning rate": "0.1", "model": "tree" if number < 3 else "forest"})
            nb.log_metric("rmse", number / 10)
            if number:
                nb.log_metric("auc", 1 - number / 10)
    nb.use(None)
    return nb


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "abcde"),
        ("metrics.rmse < 0.2", "ab"),
        ("metrics.rmse <= 0.2 and metrics.rmse > 0", "bc"),
        ("metric.rmse = 0.3 AND params.model != 'tree'", "d"),
        ("params.model = 'tree' AND params.depth IN ('0', '2')", "ac"),
        ("params.depth > 2", "de"),
        ("params.depth NOT IN ('0','1')", "cde"),
        ("params.`learning rate` = '0.1'", "abcde"),
        ('params."learning rate" = "0.2"', ""),
        ("tags.team LIKE 'Vis%'", "bd"),
        ("tags.team LIKE 'vis%'", ""),
        ("tags.team ILIKE 'vis%'", "bd"),
        ("tags.`note's` = 'it''s'", "abcde"),
        ("metrics.auc IS NULL", "a"),
        ("metrics.auc IS NOT NULL AND attributes.run_name != 'b'", "cde"),
        ("run_name IN ('a', 'e')", "ae"),
        ("attributes.status = 'FINISHED' AND start_time > 1000", "abcde"),
        ("start_time > 99999999999999", ""),
        ("tags.mlflow.runName = 'c'", "c"),
        ("params.missing = 'x'", ""),
        ("metrics.rmse < 1e-1", "a"),
    ],
)
def test_filters(runs: Any, text: str, names: str) -> None:
    found = runs.search_runs(search_all_experiments=True, filter_string=text)
    assert "".join(sorted(found["run_name"])) == names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("metrics.rmse <", "a number or quoted text is needed"),
        ("metrics.rmse < '1'", "write the number without quotes"),
        ("metrics.rmse", "comparison"),
        ("status = 'a' b", "AND is needed before 'b'"),
        ("metrics.a < 1 OR metrics.b < 2", "OR is not known"),
        ("colour = 'red'", "no attribute 'colour'"),
        ("params.x IN 'a'", "parentheses"),
        ("params.x IN ('a'", "not closed"),
        ("params.x = 'a'; DROP TABLE runs", "unexpected"),
        ("metrics.rmse LIKE 3", "quoted text"),
        ("start_time > 'yesterday'", "milliseconds"),
    ],
)
def test_faults_are_told(runs: Any, text: str, said: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        runs.search_runs(filter_string=text)
    assert said in caught.value.message
    assert "metrics.rmse < 1" in caught.value.hint


@pytest.mark.parametrize(
    ("order", "names"),
    [
        (["metrics.rmse DESC"], "edcba"),
        (["metrics.auc DESC"], "bcdea"),
        (["metrics.auc"], "edcba"),
        (["params.model ASC", "metrics.rmse DESC"], "edcba"),
        (["params.depth DESC"], "edcba"),
        (["run_name ASC"], "abcde"),
        (None, "edcba"),
    ],
)
def test_order(runs: Any, order: list[str] | None, names: str) -> None:
    assert "".join(runs.search_runs(search_all_experiments=True, order_by=order)["run_name"]) == names


def test_limits_experiments_and_lists(runs: Any) -> None:
    assert len(runs.search_runs(["x"], max_results=2)) == 2
    assert runs.search_runs(experiment_names=["y"])["run_name"].tolist() == ["e"]
    assert [r.name for r in runs.search_runs(["x"], order_by=["metrics.rmse ASC"], output_format="list")] == list(
        "abcd"
    )
    assert len(runs.search_runs()) == 1  # the experiment that was set last
    assert runs.search_runs(["nowhere"]).empty


def test_hostile_text_is_only_data(runs: Any) -> None:
    evil = "'; DROP TABLE runs; --<script>alert(1)</script>"
    with runs.start_run(evil, tags={evil: evil}):
        runs.log_param(evil, evil)
        runs.log_metric(evil, 1)
    found = runs.search_runs(filter_string=f'tags."{evil}" = "{evil}"')
    assert found["run_name"].tolist() == [evil]
    assert found[f"params.{evil}"].tolist() == [evil]
