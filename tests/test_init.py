"""`nbmlops init`: the project it writes works as it is, and nothing that exists is overwritten."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from nbmlops.errors import UsageFault
from nbmlops.settings import project_root
from nbmlops.templates import write_project
from nbmlops.workspace import Workspace

FILES = {
    ".github/workflows/ci.yml", ".gitignore", "Dockerfile", "README.md", "notebooks/evaluate.ipynb",
    "notebooks/features.ipynb", "notebooks/train.ipynb", "pipeline.yaml", "pyproject.toml", "requirements.txt",
    ".nbmlops/.gitignore",
}  # fmt: skip


def written(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_it_writes_the_project(tmp_path: Path, cli: Callable[..., Any]) -> None:
    said = cli("init", "shop").out
    assert written(tmp_path / "shop") == FILES
    assert all(f"  {name}\n" in said for name in FILES)
    assert "next: cd shop && nbmlops pipeline run pipeline.yaml" in said
    assert not list(tmp_path.rglob("*.db")), "init makes no store"


@pytest.mark.parametrize(("folder", "said"), [("my shop", "cd 'my shop' && nbmlops"), (".", "nbmlops")])
def test_the_next_command_can_be_pasted(folder: str, said: str, cli: Callable[..., Any]) -> None:
    assert f"next: {said} pipeline run pipeline.yaml" in cli("init", folder).out


@pytest.mark.parametrize("place", [".", "sub"])
def test_the_project_is_its_own_root_inside_another(place: str, tmp_path: Path) -> None:
    (tmp_path / ".nbmlops").mkdir()
    (tmp_path / "pyproject.toml").touch()
    project = (tmp_path / place / "shop").resolve()
    assert project_root(project) == tmp_path
    write_project(project)
    assert project_root(project / "notebooks") == project
    assert (project / ".nbmlops" / ".gitignore").read_text() == "*\n"


def test_nothing_that_exists_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "train.ipynb").write_text("mine")
    (tmp_path / "Dockerfile").symlink_to("nowhere")
    first = write_project(tmp_path)
    kept = {line.split("  ")[0] for line in first if "kept" in line}
    assert kept == {"notebooks/train.ipynb", "Dockerfile"}
    assert (tmp_path / "notebooks" / "train.ipynb").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "README.md").write_text("changed")
    again = write_project(tmp_path)
    assert len(again) == len(FILES)
    assert all("kept" in line for line in again)
    assert (tmp_path / "README.md").read_text() == "changed"


@pytest.mark.parametrize("place", ["shop", "shop/notebooks", "shop/.github"])
def test_a_file_in_the_place_of_a_folder_is_an_error(place: str, tmp_path: Path) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("mine")
    with pytest.raises(UsageFault, match="file"):
        write_project(tmp_path / "shop")
    assert (tmp_path / place).read_text() == "mine"


def test_the_notebooks_are_valid_and_without_outputs(tmp_path: Path) -> None:
    write_project(tmp_path)
    for path in sorted(tmp_path.glob("notebooks/*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        code = [c for c in notebook.cells if c.cell_type == "code"]
        assert [c for c in code if "parameters" in c.metadata.get("tags", [])] == code[:1], path.name
        assert not any(c.outputs or c.execution_count for c in code), path.name


def test_the_workflow_and_the_container_run_the_pipeline(tmp_path: Path) -> None:
    write_project(tmp_path)
    workflow = yaml.safe_load((tmp_path / ".github" / "workflows" / "ci.yml").read_text())
    triggers = workflow[True]  # YAML 1.1 reads the key `on` as a truth value; GitHub does not
    assert set(triggers) == {"push", "pull_request"}
    steps = workflow["jobs"]["pipeline"]["steps"]
    assert "nbmlops pipeline run pipeline.yaml" in [s.get("run") for s in steps]
    assert all(("run" in s) != ("uses" in s) for s in steps)
    docker = (tmp_path / "Dockerfile").read_text()
    assert "FROM python:3.11-slim" in docker
    copied = {w for line in docker.splitlines() if line.startswith("COPY") for w in line.split()[1:-1]}
    assert all((tmp_path / name).exists() for name in copied)


def test_the_plan_has_three_stages(tmp_path: Path, cli: Callable[..., Any]) -> None:
    write_project(tmp_path)
    plan = cli("pipeline", "plan", "pipeline.yaml", "--json").json()
    assert [s["stage"] for s in plan["stages"]] == ["features", "train", "evaluate"]


@pytest.mark.slow
def test_the_pipeline_brings_a_model_to_staging(tmp_path: Path) -> None:
    """As a newcomer does it: in the project's folder, with its own store and settings."""
    project = tmp_path / "shop"
    write_project(project)
    environment = {k: v for k, v in os.environ.items() if k != "NBMLOPS_STORE"}
    words = [sys.executable, "-m", "nbmlops", "pipeline", "run", "pipeline.yaml"]
    done = subprocess.run(words, cwd=project, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    ws = Workspace(project / ".nbmlops")
    try:
        model = ws.models.get("model:tumours@staging")
        assert model.metrics["roc_auc"] > 0.95
        assert {r.experiment for r in ws.runs.search()} == {"tumours"}
        flow = ws.pipelines.flows()[0]
        assert (flow.status, set(flow.outputs)) == (
            "FINISHED",
            {"dataset:tumours-train", "dataset:tumours-test", "model:tumours"},
        )
        kinds = {node.kind for node in ws.lineage.why("model:tumours@staging").nodes()}
        assert {"model", "run", "dataset", "flow"} <= kinds
    finally:
        ws.store.close()
    assert all(n.startswith(".nbmlops/") for n in written(project) - FILES)
