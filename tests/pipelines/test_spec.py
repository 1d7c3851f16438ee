"""Every fault of a pipeline file is found before anything runs, and told with its line."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import nbformat
import pytest

from nbmlops import clock
from nbmlops.errors import InvalidValue, NotFound
from nbmlops.notebook.types import Text
from nbmlops.pipelines import candidates, plan, spec
from nbmlops.workspace import Workspace


def make(folder: Path, text: str, **notebooks: str) -> Path:
    """A pipeline file, and notebooks by name: the source of their parameters cell."""
    for name, source in notebooks.items():
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]})])
        nbformat.write(nb, folder / f"{name}.ipynb")
    path = folder / "pipeline.yaml"
    path.write_text(textwrap.dedent(text))
    return path


def faults(path: Path, params: dict[str, Any] | None = None) -> tuple[str, ...]:
    with pytest.raises(InvalidValue) as caught:
        plan.prepare(path, params)
    return caught.value.faults


GOOD = """
    name: flight-delay
    params: {month: 3}
    stages:
      train:
        notebook: train.ipynb
        reads: [dataset:flight-features]
        matrix: {max_depth: [6, 10]}
        select: {metric: roc_auc, mode: max}
        writes: [model:flight-delay]
        retries: 1
        timeout: 20m
      features: {notebook: features.ipynb, params: {month: "${params.month}"}, writes: [dataset:flight-features]}
    promote:
      model: flight-delay
      to: staging
      rules:
        - metrics.roc_auc >= 0.65
"""


def test_the_documented_file(tmp_path: Path) -> None:
    path = make(tmp_path, GOOD, features="month: int = 1", train="max_depth = 3")
    pipeline = plan.prepare(path, {"month": Text("4")})
    record = pipeline.record()
    assert [s.stage for s in record.stages] == ["features", "train"]
    assert record.stages[0].params == {"month": 4}
    assert record.stages[1].needs == ("features",)
    assert record.stages[1].runs == 2
    assert [c.label("train") for c in pipeline.candidates["train"]] == ["train[max_depth=6]", "train[max_depth=10]"]
    assert pipeline.stages["train"].limits.timeout == 1200
    assert pipeline.external == ()
    assert pipeline.spec.promote == spec.Promote("flight-delay", "staging", ("metrics.roc_auc >= 0.65",))


def test_only_reads_the_rest_from_the_store(tmp_path: Path) -> None:
    path = make(tmp_path, GOOD, features="month: int = 1", train="max_depth = 3")
    pipeline = plan.prepare(path, only="train")
    assert list(pipeline.stages) == ["train"]
    assert [str(ref) for ref in pipeline.external] == ["dataset:flight-features"]
    with pytest.raises(InvalidValue, match="there is no stage 'trian' \\(did you mean 'train'"):
        plan.prepare(path, only=["trian"])


def test_all_faults_at_once(tmp_path: Path) -> None:
    path = make(
        tmp_path,
        """\
        name: x
        parms: {a: 1}
        params: {month: 3}
        stages:
          one:
            notebook: one.ipynb
            raeds: [dataset:a]
            params: {n: many, k: "${params.moth}", typo: 1}
            reads: [table:a, "run:1", dataset:b@2]
            writes: [dataset:x@3, model:m]
            retries: -1
            timeout: soon
            select: {metric: auc, mode: best}
          two:
            notebook: missing.ipynb
            needs: [oen, two]
            writes: [model:m]
            matrix: {q: 3}
            params: []
        promote: {model: mm, to: staging, rules: ["metrics.auc >="]}
        """,
        one="n: int = 1\nk: str = 'a'",
    )
    found = "\n".join(faults(path, {"mont": 1}))
    for part in (
        "line 2: unknown key 'parms' (did you mean 'params'?)",
        "line 7: stage one: unknown key 'raeds' (did you mean 'reads'?)",
        "stage one: n: 'many' is not an int",
        "stage one: k: the pipeline has no parameter 'moth' (did you mean 'month'?)",
        "stage one: unknown parameter 'typo'",
        "line 9: stage one: reads: 'table:a' does not say",
        "is a run, and stages exchange data sets and models",
        "writes: dataset:x@3 names a version",
        "line 11: stage one: retries must be",
        "line 12: stage one: timeout: 'soon' is not a duration",
        "select needs a matrix",
        "select needs mode: max or min, not 'best'",
        "line 15: stage two: there is no notebook 'missing.ipynb'",
        "stage two: needs 'oen', and there is no such stage (did you mean 'one'?)",
        "stage two: needs itself",
        "stages one and two both write model:m",
        "line 18: stage two: matrix: q must be a list",
        "line 19: stage two: params must be a mapping",
        "promote: no stage writes model:mm (did you mean 'm'?)",
        "rule 'metrics.auc >='",
        "unknown parameter 'mont' (did you mean 'month'?)",
    ):
        assert part in found, f"{part}\n\nnot in\n\n{found}"


def test_cycles_are_named(tmp_path: Path) -> None:
    path = make(
        tmp_path,
        """\
        stages:
          a: {notebook: n.ipynb, reads: [dataset:c], writes: [dataset:a]}
          b: {notebook: n.ipynb, reads: [dataset:a], writes: [dataset:b]}
          c: {notebook: n.ipynb, reads: [dataset:b], writes: [dataset:c]}
        """,
        n="x = 1",
    )
    (fault,) = faults(path)
    assert fault.startswith("the stages wait for each other in a circle: ")
    assert set(fault.partition(": ")[2].split(" -> ")) == {"a", "b", "c"}


def test_reading_ones_own_last_version_is_no_cycle(tmp_path: Path) -> None:
    text = "stages: {a: {notebook: n.ipynb, reads: [dataset:a, model:m@production], writes: [dataset:a]}}"
    pipeline = plan.prepare(make(tmp_path, text, n="x = 1"))
    assert [str(ref) for ref in pipeline.external] == ["dataset:a", "model:m@production"]


@pytest.mark.parametrize("text", ["", "[]", "name: [", "a: b: c", "a: !!python/object:os.system x", "d: 2026-99-99"])
def test_files_that_are_no_pipelines(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidValue):
        plan.prepare(make(tmp_path, text))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        plan.prepare(tmp_path / "none.yaml")


def test_keys_given_twice(tmp_path: Path) -> None:
    path = make(tmp_path, "stages:\n  a: {notebook: n.ipynb}\n  a: {notebook: n.ipynb}\n", n="x = 1")
    assert faults(path) == ("line 3: 'a' is given twice (first in line 2)",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("20m", 1200), ("90s", 90), ("1h30m", 5400), ("1.5 h", 5400), (30, 30), ("2min", 120), ("1d", 86400)],
)
def test_durations(text: Any, expected: float) -> None:
    assert clock.seconds_in(text) == expected


@pytest.mark.parametrize(
    "text", ["soon", "", "0s", -1, "20", "m20", "20m x", True, None, [1], float("inf"), float("nan")]
)
def test_wrong_durations(text: Any) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        clock.seconds_in(text)


def test_substitution_keeps_types_and_goes_deep() -> None:
    found: list[str] = []
    values = {"n": 3, "l": [1], "s": "x"}
    given = {"a": "${params.n}", "b": ["${ params.l }", "v${params.n}-${params.s}"], "c": 4}
    assert candidates.substitute(given, values, found, "p") == {"a": 3, "b": [[1], "v3-x"], "c": 4}
    assert found == []
    candidates.substitute("${env.HOME} ${params.q}", values, found, "p")
    assert found == [
        "p: ${env.HOME} is not known; write ${params.NAME} or ${stages.STAGE.NAME}",
        "p: the pipeline has no parameter 'q'",
    ]


def test_candidates_are_checked_one_by_one(tmp_path: Path) -> None:
    text = "stages: {a: {notebook: n.ipynb, matrix: {x: [1, two, 3.5], y: [a, b]}}}"
    assert faults(make(tmp_path, text, n="x: int = 1\ny = 'q'")) == (
        "line 1: stage a: x: 'two' is not an int",
        "line 1: stage a: x: 3.5 is not an int",
    )


def test_what_only_the_store_knows_is_told_with_the_rest(ws: Workspace, tmp_path: Path) -> None:
    path = make(
        tmp_path,
        """\
        name: x
        stages:
          train:
            notebook: n.ipynb
            params: {n: many}
            reads: [dataset:tumours-tran]
            writes: [model:m]
            timeout: 5
          report: {notebook: n.ipynb, writes: [dataset:tumours-train]}
        promote:
          model: m
          to: prod
          rules:
            - metric.roc_auc >= 0.95
            - "metrics.auc >="
        """,
        n="n: int = 1",
    )
    with pytest.raises(InvalidValue) as planned:
        ws.pipelines.plan(path)
    found = planned.value.faults
    for fault, start in zip(
        found,
        (
            "line 5: stage train: n: 'many' is not an int",
            "line 6: stage train: dataset:tumours-tran is read",
            "line 8: stage train: timeout: 5 has no unit; write 5s, 5m or 5h",
            "line 12: promote: there is no environment 'prod'; there are staging, production",
            "line 14: rule 'metric.roc_auc >= 0.95': there is no fact 'metric' (did you mean 'metrics'?)",
            "line 15: rule 'metrics.auc >=': it cannot be read",
        ),
        strict=True,
    ):
        assert fault.startswith(start)
    assert "did you mean 'tumours-train'?" in found[1]
    head, hint = planned.value.lines()
    assert head.splitlines() == [f"InvalidValue: {path}: 6 faults", *(f"  - {fault}" for fault in found)]
    assert hint.startswith("  -> ")
    assert "\n" not in planned.value.message
    with pytest.raises(InvalidValue) as ran:
        ws.pipelines.run(path, progress=False)
    assert ran.value.faults == found
    assert ws.runs.search() == []
