"""What others are given: graphs, DAGs, manifests, workflows, Dockerfiles and times; all from hostile names."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import types
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import jinja2
import nbformat
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nbmlops.display.layers import layout
from nbmlops.errors import InvalidValue, StoreFault
from nbmlops.pipelines.graph import draw, graph_of
from nbmlops.pipelines.schedules import Cron
from nbmlops.records import Plan, PlannedStage
from nbmlops.workspace import Workspace

EVIL = "$(touch broken) `touch broken` {{ 7*7 }} {% raw %} ${{ secrets.X }} '\" ; %d \\ <b>&"
PIPELINE = {
    "name": "Flights to Nowhere",
    "params": {"month": 3, "note": "x", "tags": ["a"]},
    "stages": {
        "make": {"notebook": "it's.ipynb", "writes": ["dataset:numbers"], "params": {"n": "${params.month}"}},
        "make 2": {
            "notebook": "it's.ipynb",
            "reads": ["dataset:numbers"],
            "matrix": {"n": [1, 2]},
            "select": {"metric": "m", "mode": "max"},
            "writes": ["model:line"],
            "timeout": "1m",
            "retries": 1,
        },
        "make-2": {"notebook": "it's.ipynb", "needs": ["make 2"]},
    },
    "promote": {"model": "line", "to": "staging", "rules": ["metrics.m > 0.5"]},
}


@pytest.fixture
def file(tmp_path: Path) -> str:
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("n: int = 1")])
    nb.cells[0].metadata["tags"] = ["parameters"]
    folder = tmp_path / "a project's 100%"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("")
    nbformat.write(nb, folder / "it's.ipynb")
    (folder / "pipe line.yaml").write_text(yaml.safe_dump(PIPELINE, sort_keys=False))
    return str(folder / "pipe line.yaml")


def run_dag(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run a DAG file with the least of Airflow: the tasks by their ids, with what comes before them, and the DAG."""
    tasks: dict[str, Any] = {}
    dag: dict[str, Any] = {}

    class Bash:
        def __init__(self, task_id: str, **options: Any) -> None:
            assert re.fullmatch(r"[\w.-]+", task_id)
            assert task_id not in tasks
            self.options, self.task_id, self.before = options, task_id, set[str]()
            tasks[task_id] = self

        def __rshift__(self, other: Any) -> None:
            other.before.add(self.task_id)

    class Dag:
        def __init__(self, **options: Any) -> None:
            dag.update(options)

        def __enter__(self) -> Dag:
            return self

        def __exit__(self, *_: object) -> None:
            return None

    stubs: dict[str, Any] = {name: types.ModuleType(name) for name in ("bash", "sdk")}
    stubs["bash"].BashOperator, stubs["sdk"].DAG, stubs["sdk"].Param = Bash, Dag, lambda value, **_: value
    imported = {n.module for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ImportFrom) and n.module}
    assert all(m.startswith(("airflow", "datetime")) for m in imported)
    text = text.replace("airflow.providers.standard.operators.bash", "bash").replace("airflow.sdk", "sdk")
    before = dict(sys.modules)
    sys.modules.update(stubs)
    try:
        exec(compile(text, "dag.py", "exec"), {"__name__": "dag"})
    finally:
        for name in stubs:
            sys.modules.pop(name)
            if name in before:
                sys.modules[name] = before[name]
    return tasks, dag


def as_run(task: Any, params: dict[str, Any], folder: Path) -> list[str]:
    """The words that nbmlops would get: Jinja and then bash, as Airflow has it."""
    engine = jinja2.Environment(keep_trailing_newline=True)
    told = {"params": params, "run_id": "r"}
    variables = {k: engine.from_string(v).render(**told) for k, v in task.options["env"].items()}
    tool = folder / "tool"
    tool.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    tool.chmod(0o755)
    command = engine.from_string(task.options["bash_command"]).render(**told)
    cwd = engine.from_string(task.options["cwd"]).render(**told)
    environment = {**os.environ, **variables, "NBMLOPS": str(tool)}
    done = subprocess.run(["bash", "-c", command], env=environment, cwd=cwd, capture_output=True, text=True, check=True)
    assert not list(Path(cwd).glob("broken"))
    return json.loads(done.stdout)


def test_the_dag_has_the_graphs_tasks_and_takes_every_value_as_text(ws: Workspace, file: str, tmp_path: Path) -> None:
    (name, text), *_ = ws.pipelines.export(file, "airflow", {"note": EVIL}, schedule="0 6 * * mon").items()
    tasks, dag = run_dag(text)
    assert (name, dag["dag_id"], dag["schedule"]) == ("flights_to_nowhere.py", "flights_to_nowhere", "0 6 * * mon")
    assert dag["params"] == {"month": 3, "note": EVIL, "tags": ["a"]}
    assert {k: t.before for k, t in tasks.items()} == {
        "make": set(),
        "make_2": {"make"},
        "make_2_2": {"make_2"},
        "promote": {"make_2_2"},
    }
    assert tasks["make_2"].options["execution_timeout"].total_seconds() > 2 * 2 * 60
    words = as_run(tasks["make_2"], {"month": 4, "note": EVIL, "tags": ["a", EVIL]}, tmp_path)
    tags = words.pop().removeprefix("tags=")
    assert json.loads(tags) == ["a", EVIL]
    assert words == [
        *("stage", "run", "pipe line.yaml", "--stage", "make 2"),
        *("-p", "month=4", "-p", f"note={EVIL}", "-p"),
    ]
    promoted = as_run(tasks["promote"], {}, tmp_path)
    assert promoted[:5] == ["model", "promote", "model:line", "--to", "staging"]
    assert promoted[-2:] == ["--rule", "metrics.m > 0.5"]


@pytest.mark.parametrize("schedule", [None, "*/15 * * * *"])
def test_manifests_are_strictly_valid(ws: Workspace, file: str, schedule: str | None) -> None:
    import kubernetes_validate

    options: dict[str, Any] = {"image": "team/flights:7", "schedule": schedule}
    (text,) = ws.pipelines.export(file, "kubernetes", {"note": "$(HOME) $x"}, **options).values()
    (manifest,) = yaml.safe_load_all(text)
    kubernetes_validate.validate(manifest, "1.33", strict=True)
    assert manifest["kind"] == ("CronJob" if schedule else "Job")
    job = manifest["spec"]["jobTemplate"]["spec"] if schedule else manifest["spec"]
    (container,) = job["template"]["spec"]["containers"]
    assert container["args"][-2:] == ["-p", "note=$$(HOME) $$x"], "Kubernetes takes $(…) for a variable"
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert job["template"]["spec"]["securityContext"]["runAsNonRoot"] is True
    with pytest.raises(InvalidValue, match="image"):
        ws.pipelines.export(file, "kubernetes")


def test_a_workflow_lets_no_value_into_its_scripts(ws: Workspace, file: str) -> None:
    ((name, text),) = ws.pipelines.export(file, "github-actions", {"note": EVIL}, schedule="0 6 * * 1").items()
    flow = yaml.safe_load(text)
    assert name == ".github/workflows/flights-to-nowhere.yml"
    assert flow["on"]["schedule"] == [{"cron": "0 6 * * 1"}]
    assert flow["on"]["workflow_dispatch"]["inputs"]["note"]["default"] == EVIL
    steps = flow["jobs"]["pipeline"]["steps"]
    assert not [s for s in steps if "${{" in s.get("run", "")]
    (step,) = [s for s in steps if "env" in s]
    assert step["env"]["VALUE_1"] == "${{ inputs.note || '" + EVIL.replace("'", "''") + "' }}"
    values = {"PIPELINE": "p.yaml", **{f"NAME_{n}": "n" for n in range(3)}, **{f"VALUE_{n}": EVIL for n in range(3)}}
    script = step["run"].replace("nbmlops", "printf '%s\\n'")
    done = subprocess.run(["bash", "-c", script], env=values, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["pipeline", "run", "p.yaml", *(["-p", f"n={EVIL}"] * 3)]


def test_a_dockerfile_locks_what_is_installed_or_what_a_run_had(ws: Workspace, file: str) -> None:
    made = ws.pipelines.export(file, "docker")
    assert re.search(r"^numpy==\d", made["requirements.lock"], re.MULTILINE)
    assert (
        f"FROM python:{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}-slim"
        in (made["Dockerfile"])
    )
    assert "USER 10001" in made["Dockerfile"]
    from nbmlops.pipelines.exports import Order, dockerfile
    from nbmlops.pipelines.plan import prepare

    evil = {"python": "3.11.1\nRUN x", "packages": {"a": "1\n--index-url x", "b": "2"}, "machine": "x"}
    with pytest.raises(InvalidValue) as caught:
        dockerfile.files(prepare(file), Order(environment=json.dumps(evil).encode()))
    assert len(caught.value.faults) == 2


def test_faults_of_an_export(cli: Any, file: str, tmp_path: Path) -> None:
    assert (
        "no value, range or step"
        in cli("pipeline", "export", file, "--to", "airflow", "--schedule", "x* 1 * * *", code=2).err
    )
    out = tmp_path / "dags"
    assert cli("pipeline", "export", file, "--to", "docker", "-o", str(out)).out.split() == [
        str(out / "Dockerfile"),
        str(out / "requirements.lock"),
    ]
    (tmp_path / "one").write_text("")
    cli("pipeline", "export", file, "--to", "docker", "-o", str(tmp_path / "one"), code=2)


# -- graphs ----------------------------------------------------------------------------------------------------------
def plan() -> Plan:
    return Plan(
        EVIL,
        "p.yaml",
        (
            PlannedStage("a", f"{EVIL}\n\x1b.ipynb", (), ("dataset:raw@3",), ("dataset:x",), 1),
            PlannedStage(EVIL, "b.ipynb", ("a",), ("dataset:x",), ("model:m", "dataset:own"), 4),
            PlannedStage("c", "c.ipynb", ("a", EVIL), ("model:m", "dataset:x", "dataset:own"), (), 1),
            PlannedStage("d", "d.ipynb", ("c",), ("dataset:self",), ("dataset:self",), 1),
        ),
    )


def test_a_graph_leads_from_writers_to_readers() -> None:
    graph = graph_of(plan())
    assert ("dataset:raw@3", "stage a") in graph.edges
    assert ("stage a", "dataset:x") in graph.edges
    assert ("before dataset:self", "stage d") in graph.edges, "what a stage renews was there before"
    assert graph.waits == {("stage c", "stage d")}
    said = draw(plan(), "text")
    assert "dataset:x      from a" in said
    assert "after c" in said
    assert "\x1b" not in said


def test_mermaid_and_svg_take_names_as_text() -> None:
    lines = draw(plan(), "mermaid").splitlines()
    node = re.compile(r'    n\d+(\["|\[\("|\{\{")[\w #;.,:/@+()<>-]*("\]|"\)\]|"\}\})')
    assert lines[0] == "flowchart LR"
    edge = re.compile(r"    n\d+ -\.?->? n\d+|    classDef \w+ [\w#:,-]+|    class n\d+(,n\d+)* \w+")
    assert all(node.fullmatch(line) or edge.fullmatch(line) for line in lines[1:]), lines
    svg = draw(plan(), "svg")
    root = ET.fromstring(svg)
    texts = [e.text or "" for e in root.iter("{http://www.w3.org/2000/svg}title")]
    assert any("<b>&" in text for text in texts), "the whole name is in a tooltip"
    assert not re.search(r"<(script|b|image|a)\b|\bon\w+=|href|url\(", svg)


@settings(max_examples=40, deadline=None)
@given(st.sets(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=25))
def test_boxes_never_overlap_and_lines_lead_to_the_right(pairs: set[tuple[int, int]]) -> None:
    edges = sorted({(str(min(p)), str(max(p))) for p in pairs if p[0] != p[1]})
    sizes = {str(n): (40.0 + 7 * n, 20.0 + n) for n in range(13)}
    made = layout(sizes, edges)
    boxes = list(made.boxes.values())
    for i, (x, y, w, h) in enumerate(boxes):
        assert x >= 0
        assert y >= 0
        assert x + w <= made.size[0]
        assert y + h <= made.size[1]
        for x2, y2, w2, h2 in boxes[i + 1 :]:
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 + 1e-6 or y2 + h2 <= y + 1e-6
    for path in made.paths.values():
        assert [x for x, _ in path] == sorted(x for x, _ in path)


# -- schedules -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("cron", "calendars"),
    [
        ("0 6 * * *", ["*-*-* 06:00:00"]),
        ("*/15 9-17 * * mon-fri", ["Mon,Tue,Wed,Thu,Fri *-*-* 09..17:00,15,30,45:00"]),
        ("5 0 1,15 * 7", ["*-*-01,15 00:05:00", "Sun *-*-* 00:05:00"]),
        ("0 0 */10 jan 0", ["Sun *-01-01,11,21,31 00:00:00"]),
        ("0 0 29/2 2 *", ["*-02-29,31 00:00:00"]),
    ],
)
def test_cron_in_systemds_words(cron: str, calendars: list[str]) -> None:
    assert Cron.parse(cron).calendars() == calendars
    if tool := shutil.which("systemd-analyze"):
        subprocess.run([tool, "calendar", *calendars], check=True, capture_output=True)


def test_every_fault_of_a_cron_line() -> None:
    with pytest.raises(InvalidValue) as caught:
        Cron.parse("60 5-3 0 foo */0")
    assert len(caught.value.faults) == 5
    for text in ("@daily", "* * * *", "* * * * * *"):
        with pytest.raises(InvalidValue, match="five"):
            Cron.parse(text)


def test_a_crontabs_line_runs_as_it_was_meant(ws: Workspace, file: str, tmp_path: Path) -> None:
    made = ws.pipelines.schedule(file, "0 6 * * *", {"note": EVIL})
    line = made.crontab().removeprefix("0 6 * * * ")
    assert not re.search(r"(?<!\\)%", line), "a line end to cron"
    words = shlex.split(line.replace("\\%", "%"), comments=True)
    folder = str(Path(file).parent)
    assert words[1] == folder
    assert f"note={EVIL}" in words
    assert words[words.index("-m") - 1] == sys.executable
    with pytest.raises(InvalidValue, match="control character"):
        ws.pipelines.schedule(file, "0 6 * * *", {"note": "a\nb"})


def test_a_password_is_not_written_into_a_schedule(ws: Workspace, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBMLOPS_STORE", "postgresql://me:secret@host/db")
    with pytest.raises(InvalidValue, match="password") as caught:
        ws.pipelines.schedule(file, "0 6 * * *")
    assert "secret" not in str(caught.value)


def test_units_are_written_and_quoted(cli: Any, file: str, tmp_path: Path) -> None:
    note = 'a "b" 100% $HOME \\'
    said = cli(
        *("schedule", file, "--cron", "0 6 1 * mon", "--to", "systemd", "--install"),
        *("--folder", str(tmp_path / "units"), "-p", f"note={note}"),
    ).out
    assert "enable --now nbmlops-flights-to-nowhere.timer" in said
    service = (tmp_path / "units" / "nbmlops-flights-to-nowhere.service").read_text()
    assert '"note=a \\"b\\" 100%% $$HOME \\\\"' in service
    assert "WorkingDirectory=" + str(Path(file).parent).replace("%", "%%") in service
    timer = (tmp_path / "units" / "nbmlops-flights-to-nowhere.timer").read_text()
    assert timer.count("OnCalendar=") == 2
    assert (Path(file).parent / "logs").is_dir()


def test_a_crontab_keeps_its_other_lines(
    ws: Workspace, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nbmlops.pipelines.schedules import install

    table = tmp_path / "table"
    tool = tmp_path / "bin" / "crontab"
    tool.parent.mkdir()
    tool.write_text(
        f'#!/bin/sh\nif [ "$1" = -l ]; then cat "{table}"; else cat > "{table}.new"; mv "{table}.new" "{table}"; fi\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=os.pathsep)
    table.write_text("# mine\n1 2 3 4 5 echo\n")
    for cron in ("0 6 * * *", "0 7 * * *"):
        install(ws.pipelines.schedule(file, cron), "cron")
    lines = table.read_text().splitlines()
    assert lines[:2] == ["# mine", "1 2 3 4 5 echo"]
    assert len(lines) == 3, "the earlier line was replaced"
    assert lines[2].startswith("0 7 * * * ")
    table.unlink()  # it cannot be read now, and what was in it must not be lost
    with pytest.raises(StoreFault, match="crontab -l"):
        install(ws.pipelines.schedule(file, "0 6 * * *"), "cron")
    assert not table.exists()


def test_one_stage_of_a_pipeline_runs_and_promotes_nothing(
    cli: Any, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    )
    plain = {**PIPELINE, "stages": {"make": {"notebook": "it's.ipynb"}, "b": {"notebook": "it's.ipynb"}}}
    plain.pop("promote")
    Path(file).write_text(yaml.safe_dump(plain))
    flow = cli("stage", "run", file, "--stage", "make", "--json").json()
    assert [s["stage"] for s in flow["stages"]] == ["make"]
    assert flow["status"] == "FINISHED"
    cli("stage", "run", file, "--stage", "none", code=2)
