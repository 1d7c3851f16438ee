"""``nbmlops stage show``: what a notebook says about itself, and nothing runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from documents import cell, notebook

from nbmlops.errors import InvalidValue
from nbmlops.notebook import parameters


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "helper.py").write_text("raise SystemExit('executed')")
    path = tmp_path / "train.ipynb"
    document = notebook(
        "import nbmlops, helper, numpy\nraise SystemExit('executed')",
        cell("depth: int = 6  # levels of the tree\nname: str\n", "parameters"),
        "data = nbmlops.load_dataset('sales@2')\nnbmlops.load_dataset(name)\n!ls",
        "nbmlops.register_model(model, 'churn')\nopen('a.txt')",
    )
    path.write_text(json.dumps(document))
    return path


def test_show_as_text_and_json(cli: Callable[..., Any], stage: Path) -> None:
    text = cli("stage", "show", str(stage)).out
    told = {"depth", "int", "levels of the tree", "required", "dataset:sales@2", "model:churn", "helper.py", "a.txt"}
    told |= {"numpy", "cell 3: runs a command: !ls", "whose name is not a literal: name", "never, unless"}
    assert {part for part in told if part not in text} == set()
    found = cli("stage", "show", str(stage), "--json").json()
    assert [c["number"] for c in found["cells"]] == [1, 2, 3, 4]
    assert (found["reads"], found["writes"]) == (["dataset:sales@2"], ["model:churn"])
    assert list(found["modules"]) == ["helper.py"]
    assert {"numpy", "pandas", "python", "nbmlops"} <= set(found["packages"])
    assert found["impure"] == [[3, "runs a command: !ls"]]


def test_show_in_python(ws: Any, stage: Path) -> None:
    found = ws.pipelines.show_stage(stage)
    assert found.files == ("a.txt",)
    assert [p["required"] for p in found.parameters] == [False, True]


@pytest.mark.parametrize(
    "wrong",
    [3, {"source": 3}, {"source": ["a", 3]}, {"source": "", "metadata": []}, {"metadata": {"tags": "parameters"}}],
)
def test_what_is_no_cell_is_refused(wrong: Any) -> None:
    data = json.dumps({"nbformat": 4, "cells": [cell("x"), wrong]}).encode()
    with pytest.raises(InvalidValue, match="its cell 2 is no cell of a notebook"):
        parameters.parse_document(data, "a.ipynb")
