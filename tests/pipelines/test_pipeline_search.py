"""Sweeps whose candidates are drawn: what a file may say, what comes out of it, and what Optuna learns."""

from __future__ import annotations

import logging
import textwrap
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbmlops.errors import InvalidValue
from nbmlops.pipelines import plan
from nbmlops.pipelines.flow import Options
from nbmlops.pipelines.search import Choices, Range, Search, read, sample
from nbmlops.pipelines.spec import Select
from nbmlops.pipelines.study import Study
from nbmlops.workspace import Workspace
from tests.pipelines.notebooks import pipeline, write

HOME = str(Path(__file__).parents[2])
AUC = Select("auc", "max")
LOSS = Select("loss", "min")
DOCUMENTED = {
    "method": "random",
    "trials": 20,
    "params": {
        "max_depth": {"low": 2, "high": 12},
        "learning_rate": {"low": 0.0001, "high": 0.1, "log": True},
        "criterion": ["gini", "entropy"],
        "n": {"low": 10, "high": 100, "step": 10},
    },
}


def search(**changes: Any) -> Search:
    found, faults = read({**DOCUMENTED, **changes}, AUC)
    assert faults == []
    assert found is not None
    return found


# -- reading -----------------------------------------------------------------------------------------------------------
def test_every_fault_at_once_with_its_place() -> None:
    text = {
        "metod": "random",
        "method": "optun",
        "trials": 0,
        "seed": -1,
        "prune": "yes",
        "params": {
            "a": {"low": 3, "high": 3},
            "b": {"low": 0, "high": 1, "log": True},
            "c": {"low": 1, "high": 9, "log": True, "step": 2},
            "d": {"lo": 1, "high": float("inf")},
            "e": [],
            "f": [1, True, 1],
            "g": 7,
            "h": {"low": 1, "high": 3, "step": 5},
            "i": {"low": 10**400, "high": -1e308, "log": "yes"},
            "j": {"low": -1e308, "high": 1e308},
        },
    }
    found, faults = read(text, None)
    assert found is None
    told = [("/".join(map(str, keys)), text.removeprefix("search: ")) for keys, text in faults]
    assert told == [
        ("metod", "unknown key 'metod' (did you mean 'method'?); known are method, trials, seed, params, prune"),
        ("method", "there is no method 'optun' (did you mean 'optuna'?); there are random, optuna"),
        ("trials", "trials must be a whole number from 1 to 10000, not 0"),
        ("seed", "seed must be a whole number from 0 to 4294967295, not -1"),
        ("prune", "prune must be true or false, not 'yes'"),
        ("params/a", "a: low must be below high, and 3 is not below 3"),
        ("params/b", "b: log needs a low above 0, not 0"),
        ("params/c", "c: log and step exclude each other"),
        ("params/d", "d: unknown key 'lo' (did you mean 'low'?); known are low, high, log, step"),
        ("params/d", "d: low is missing"),
        ("params/d", "d: high must be a number, not inf"),
        ("params/e", "e: there are no choices"),
        ("params/f", "f: 1 is given twice"),
        ("params/g", "g: must be a list of choices or {low: …, high: …}, not 7"),
        ("params/h", "h: step must be above 0 and at most 2, not 5"),
        ("params/i", f"i: low must be from -{2**53} to {2**53} where it is a whole number"),
        ("params/i", "i: log must be true or false, not 'yes'"),
        ("params/j", "j: low and high are too far apart: -1e+308 and 1e+308"),
    ]


@pytest.mark.parametrize(
    ("changes", "select", "message"),
    [
        ({"prune": True}, AUC, "prune needs method: optuna"),
        ({"method": "optuna"}, None, "method optuna needs select"),
        ({"params": {}}, AUC, "needs params"),
        ({"method": ["optuna"]}, AUC, "no method"),
        ({"trials": True}, AUC, "trials must be"),
    ],
)
def test_what_does_not_go_together(changes: dict[str, Any], select: Select | None, message: str) -> None:
    found, faults = read({**DOCUMENTED, **changes}, select)
    assert found is None
    assert len(faults) == 1
    assert message in faults[0][1]


@pytest.mark.parametrize("value", [None, [], "random", 3])
def test_a_search_is_a_mapping(value: Any) -> None:
    assert read(value, None)[1][0][0] == ()


def test_numbers_that_yaml_takes_for_text() -> None:
    assert search(params={"rate": {"low": "1e-4", "high": "1e-1", "log": True}}).space == {
        "rate": Range(0.0001, 0.1, log=True)
    }


# -- drawing -----------------------------------------------------------------------------------------------------------
def test_a_seed_draws_the_same_everywhere_and_more_trials_begin_with_it() -> None:
    first = sample(search(trials=3, seed=7))
    assert first == [
        {"max_depth": 5, "learning_rate": 0.000283496, "criterion": "entropy", "n": 10},
        {"max_depth": 7, "learning_rate": 0.00125045, "criterion": "gini", "n": 60},
        {"max_depth": 2, "learning_rate": 0.00199957, "criterion": "gini", "n": 10},
    ]
    assert sample(search(trials=20, seed=7))[:3] == first
    assert sample(search(trials=3, seed=8)) != first


@given(
    low=st.integers(-1000, 1000) | st.floats(-1e6, 1e6),
    width=st.integers(1, 1000) | st.floats(0.001, 1e6),
    step=st.none() | st.integers(1, 50) | st.floats(0.01, 100),
    log=st.booleans(),
    seed=st.integers(0, 99),
)
def test_values_lie_in_their_range_and_keep_their_type(
    low: float, width: float, step: float | None, log: bool, seed: int
) -> None:
    given_range = {"low": low, "high": low + width, "log": log, "step": step}
    found, faults = read({"trials": 20, "seed": seed, "params": {"x": given_range}}, None)
    if faults:
        assert (log and (low <= 0 or step is not None)) or (step or 0) > low + width - low
        return
    assert found is not None
    whole = all(isinstance(n, int) for n in (low, width, *([step] if step else [])))
    drawn = [candidate["x"] for candidate in sample(found)]
    assert all(low <= x <= low + width for x in drawn) or not whole
    assert all(low - 1e-9 * abs(low) - 1e-9 <= x <= (low + width) * (1 + 1e-9) + 1e-9 for x in drawn if x > 0)
    assert {type(x) for x in drawn} == {int if whole else float}
    if found.size is not None:
        assert len(set(drawn)) == len(drawn) == min(20, found.size)


def test_a_space_with_an_end_gives_each_candidate_once() -> None:
    small = search(trials=500, params={"depth": {"low": 1, "high": 3}, "kind": ["a", ["b"], None]})
    found = sample(small)
    assert (small.size, small.runs, len(found)) == (9, 9, 9)
    assert all(found.count(candidate) == 1 for candidate in found)
    steps = sample(search(params={"rate": {"low": 0.1, "high": 0.3, "step": 0.1}}))
    assert sorted(candidate["rate"] for candidate in steps) == [0.1, 0.2, 0.3]


def test_log_gives_each_factor_its_share() -> None:
    rates = [c["x"] for c in sample(search(trials=3000, params={"x": {"low": 0.001, "high": 1.0, "log": True}}))]
    shares = [sum(low <= r < low * 10 for r in rates) / len(rates) for low in (0.001, 0.01, 0.1)]
    assert all(0.3 < share < 0.37 for share in shares)
    whole = [c["x"] for c in sample(search(trials=40, params={"x": {"low": 1, "high": 1000, "log": True}}))]
    assert len([n for n in whole if n <= 30]) > 10


# -- the plan ----------------------------------------------------------------------------------------------------------
def prepare(folder: Path, cell: str, stage: str, params: dict[str, Any] | None = None) -> plan.Pipeline:
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell, metadata={"tags": ["parameters"]})])
    nbformat.write(nb, folder / "train.ipynb")
    head = "params: {trials: 4}\nstages:\n  train:\n    notebook: train.ipynb\n"
    (folder / "pipeline.yaml").write_text(head + textwrap.indent(textwrap.dedent(stage), "    "))
    return plan.prepare(folder / "pipeline.yaml", params)


RANDOM = """
    params: {rounds: 5}
    search:
      trials: ${params.trials}
      params:
        depth: {low: 1, high: 50}
        rate: {low: 0, high: 1}
        kind: [tree, forest]
"""
CELL = "depth: int = 3\nrate: float = 0.1\nkind = 'tree'\nrounds = 1"


def test_a_random_search_is_planned_as_its_candidates(tmp_path: Path) -> None:
    pipeline = prepare(tmp_path, CELL, RANDOM)
    candidates = pipeline.candidates["train"]
    assert [c.combination for c in candidates] == sample(pipeline.searches["train"])
    assert all(c.params == {"rounds": 5, **c.combination} for c in candidates)
    assert {type(c.params["depth"]) for c in candidates} == {int}
    assert any(0 < c.params["rate"] < 1 for c in candidates)  # whole ends of a float parameter: fractions between
    planned = pipeline.record().stages[0]
    assert planned.runs == 4
    assert planned.params == {"rounds": 5, "depth": "1 to 50", "rate": "0.0 to 1.0", "kind": ["tree", "forest"]}
    assert len(prepare(tmp_path, CELL, RANDOM, {"trials": 9}).candidates["train"]) == 9


def test_optuna_has_no_candidates_before_it_runs(tmp_path: Path) -> None:
    stage = RANDOM.replace("search:", "select: {metric: auc, mode: max}\n    search:\n      method: optuna")
    pipeline = prepare(tmp_path, CELL.replace("depth: int = 3", "depth: int"), stage)
    assert pipeline.candidates["train"] == ()
    assert pipeline.record().stages[0].runs == 4
    made = pipeline.candidate("train", {"depth": 7, "rate": 0.5, "kind": "tree"})
    assert made.params == {"rounds": 5, "depth": 7, "rate": 0.5, "kind": "tree"}
    assert made.label("train") == "train[depth=7,rate=0.5,kind=tree]"


@pytest.mark.parametrize("method", ["random", "optuna"])
def test_a_space_that_does_not_fit_the_notebook_is_told_before_a_kernel_starts(tmp_path: Path, method: str) -> None:
    stage = f"""
        params: {{depht: 3, rounds: x, size: 2}}
        select: {{metric: auc, mode: max}}
        search:
          method: {method}
          trials: ${{params.trials}}
          params:
            depth: {{low: 1, high: 2.5}}
            kind: [tree, bush]
            size: {{low: 2, high: 6}}
            rte: {{low: 0, high: 1}}
            even: {{low: 2, high: 6}}
    """
    cell = (
        "depth: int = 3\nkind: Literal['tree', 'forest'] = 'tree'\nrounds: int = 1\nsize = 3\n"
        "even: Literal[2, 4, 6] = 2\nrate = 0.1"
    )
    with pytest.raises(InvalidValue) as caught:
        prepare(tmp_path, cell, stage)
    assert [fault.replace("stage train: ", "") for fault in caught.value.faults] == [
        "line 6: unknown parameter 'depht' (did you mean 'depth'?)",
        "line 6: rounds: 'x' is not an int",
        "line 12: depth: 2.5 is not an int; write low, high and step as whole numbers",
        "line 13: kind: 'bush' is not one of 'tree', 'forest'",
        "line 14: size is in params and in search",
        "line 15: unknown parameter 'rte' (did you mean 'rate'?)",
        "line 16: even: 3 is not one of 2, 4, 6",
    ]


def test_faults_of_a_search_are_told_with_the_others(tmp_path: Path) -> None:
    stage = """
        matrix: {kind: [tree]}
        search:
          trials: ${params.trails}
    """
    with pytest.raises(InvalidValue) as caught:
        prepare(tmp_path, "kind = 'tree'\ndepth: int", stage)
    told = "\n".join(caught.value.faults)
    assert "line 7: stage train: matrix and search exclude each other" in told
    assert "search: the pipeline has no parameter 'trails' (did you mean 'trials'?)" in told
    assert "depth: a int is required" in told
    with pytest.raises(InvalidValue, match="line 6: stage train: search: trials must be"):
        prepare(tmp_path, "depth: int", "search:\n  trials: many\n  params: {depth: [1, 2]}")


@pytest.mark.slow
def test_a_random_sweep_runs_and_has_a_winner(ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", HOME)
    sources = ("x: int = 0", "import nbmlops; nbmlops.log_metric('y', x)")
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    nb.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nb, tmp_path / "train.ipynb")
    stage = {"notebook": "train.ipynb", "select": {"metric": "y", "mode": "max"}}
    stage["search"] = {"trials": 2, "seed": 1, "params": {"x": {"low": 1, "high": 900}}}
    (tmp_path / "pipeline.yaml").write_text(str({"name": "sweep", "stages": {"train": stage}}))
    flow = ws.pipelines.run(tmp_path / "pipeline.yaml", progress=False)
    drawn = [c["x"] for c in sample(Search("random", 2, {"x": Range(1, 900)}, 1))]
    assert sorted(s.params["x"] for s in flow.stages) == sorted(drawn)
    sweep = ws.runs.get(ws.runs.get(flow.stages[0].ref).parent_id)
    assert sweep.metrics == {"y": max(drawn)}


# -- Optuna ------------------------------------------------------------------------------------------------------------
def hill(params: dict[str, Any]) -> float:
    return -((params["depth"] - 9) ** 2) - abs(params["rate"] - 0.01) * 10 + (params["kind"] == "b")


HILL = Search(
    "optuna",
    30,
    {"depth": Range(1, 40), "rate": Range(0.0001, 1.0, log=True), "kind": Choices(("a", "b"))},
    seed=3,
)


def run(study: Study, value: Any = hill) -> list[tuple[int, dict[str, Any]]]:
    asked = []
    while (trial := study.ask()) is not None:
        asked.append(trial)
        study.tell(trial[0], value(trial[1]), "FINISHED")
    return asked


def test_optuna_learns_and_repeats_by_seed() -> None:
    study = Study(HILL, AUC)
    asked = run(study)
    assert [number for number, _ in asked] == list(range(30))
    assert asked == run(Study(HILL, AUC))
    number, params, value = study.best() or (-1, {}, 0.0)
    assert asked[number] == (number, params)
    assert value == hill(params) == max(hill(params) for _, params in asked)
    at_random = [hill(candidate) for candidate in sample(Search("random", 30, HILL.space, 3))]
    assert value >= max(at_random)
    later = [hill(params) for _, params in asked[15:]]
    assert sum(later) / len(later) > sum(at_random) / len(at_random)


def test_a_small_space_is_asked_for_once_each_and_ends() -> None:
    space = {"depth": Range(1, 4), "kind": Choices((["x"], {"y": 1}, None)), "rate": Range(0.1, 0.3, 0.1)}
    asked = [params for _, params in run(Study(Search("optuna", 50, space), LOSS), lambda params: params["depth"])]
    assert len(asked) == 36
    assert all(asked.count(params) == 1 for params in asked)
    assert {params["rate"] for params in asked} == {0.1, 0.2, 0.3}


def test_trials_side_by_side_failed_pruned_and_without_a_number() -> None:
    study = Study(Search("optuna", 6, {"depth": Range(1, 6)}, prune=True), LOSS)
    trials = [trial for trial in (study.ask() for _ in range(7)) if trial is not None]
    assert sorted(params["depth"] for _, params in trials) == [1, 2, 3, 4, 5, 6]
    assert study.best() is None
    study.tell(5, 0.5, "FINISHED")
    study.tell(0, 0.1, "FAILED")
    study.tell(1, None, "PRUNED")
    study.tell(2, float("nan"), "FINISHED")
    study.tell(3, None, "FINISHED")
    study.tell(4, 0.5, "FINISHED")
    assert study.best() == (4, trials[4][1], 0.5)


def test_a_trial_behind_the_others_at_the_same_step_is_not_worth_finishing() -> None:
    def curve(level: float) -> list[tuple[int | None, float]]:
        return [(None, 99.0), *((step, level * step) for step in range(4))]

    study = Study(Search("optuna", 12, {"x": Range(0.0, 1.0)}, prune=True), AUC)
    first, _ = study.ask() or (-1, {})
    assert not study.should_prune(first, [])
    assert not study.should_prune(first, curve(0.1))
    study.tell(first, 0.3, "FINISHED")
    for level in (0.5, 0.6, 0.7):
        number, _ = study.ask() or (-1, {})
        study.should_prune(number, curve(level))
        study.tell(number, level, "FINISHED")
    behind, _ = study.ask() or (-1, {})
    assert not study.should_prune(behind, curve(0.2)[:2])  # at step 0 all are equal
    assert study.should_prune(behind, curve(0.2)[:3])
    study.tell(behind, None, "PRUNED")
    ahead, _ = study.ask() or (-1, {})
    assert not any(study.should_prune(ahead, curve(0.9)[:n]) for n in range(5))

    patient = Study(Search("optuna", 12, {"x": Range(0.0, 1.0)}), AUC)
    number, _ = patient.ask() or (-1, {})
    assert not patient.should_prune(number, curve(-5.0))


def test_optuna_says_nothing_and_keeps_the_user_s_verbosity(capfd: pytest.CaptureFixture[str]) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    try:
        run(Study(Search("optuna", 8, {"x": Range(0, 3)}), AUC), lambda params: params["x"])
        assert optuna.logging.get_verbosity() == logging.DEBUG
    finally:
        optuna.logging.set_verbosity(optuna.logging.INFO)
    assert capfd.readouterr() == ("", "")


LINGERS = """
import time, nbmlops
for step in range(600):  # what falls behind would take half a minute, if nobody stopped it
    nbmlops.log_metric("score", min(x, 3), step=step)
    time.sleep(0 if x >= 3 else 0.05)
"""


@pytest.mark.slow
def test_optuna_in_a_flow_gives_up_what_falls_behind(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    write(tmp_path / "train.ipynb", "x: int = 1", LINGERS)
    text = """
        stages:
          train:
            notebook: train.ipynb
            select: {metric: score, mode: max}
            search: {method: optuna, trials: 6, seed: 3, prune: true, params: {x: [1, 2, 3, 4, 5, 6]}}
    """
    path = pipeline(tmp_path, text)
    flow = ws.pipelines.run(path, options=Options(workers=1), progress=False)
    ended = {stage.params["x"]: stage.status for stage in flow.stages}
    assert ended == {1: "PRUNED", 2: "PRUNED", 3: "FINISHED", 4: "FINISHED", 5: "FINISHED", 6: "FINISHED"}
    (sweep,) = [run for run in ws.runs.search() if run.kind == "sweep"]
    assert (sweep.status, sweep.tags["nbmlops.selected.label"]) == ("FINISHED", "train[x=6]")
    again = ws.pipelines.run(path, options=Options(workers=1), progress=False)
    assert {stage.params["x"]: stage.reused for stage in again.stages} == {x: x >= 3 for x in range(1, 7)}
