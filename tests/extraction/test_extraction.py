"""From a notebook that was played with to a stage that gives the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from played import Notebook

from nbmlops.errors import NotFound, UsageFault
from nbmlops.notebook import parameters

TRAINED = (
    "import numpy as np\nimport os",
    "from sklearn.datasets import make_classification\nfrom sklearn.linear_model import LogisticRegression",
    "rows = 200  # how many",
    "noise = np.random.default_rng(1).normal(size=5)\nprint(noise)",
    "X, y = make_classification(n_samples=rows, random_state=3)",
    "X.shape",
    "def score(model):\n    return model.score(X, y)",
    "X[:, 0] *= 2",
    "X[:, 0] *= 2",
    "%%mlops run fit --tag a=b\nC = 0.5\nmodel = LogisticRegression(C=C, max_iter=300).fit(X, y)\naccuracy = score(model)",
    "unrelated = np.zeros(3)",
)


@pytest.fixture
def played(nb: Any, tmp_path: Path) -> Iterator[Notebook]:
    notebook = Notebook(tmp_path)
    yield notebook
    notebook.close()


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def code(path: Path) -> str:
    return "\n\n".join(c["source"] for c in read(path)["cells"] if c["cell_type"] == "code")


def test_a_run_becomes_a_stage_that_is_proved(played: Notebook, tmp_path: Path) -> None:
    played.run(*TRAINED)
    run = played.desk.runs.search()[0]
    found = played.extract(run.ref, "stage.ipynb")
    assert (found.proof, found.error, found.differences) == ("proved", "", ())
    assert found.compared["metric"] == len(run.metrics)
    assert {"[4]", "[6]", "[11]"} <= set(found.dropped)
    assert {"[8]", "[9]", "[10]"} <= set(found.kept)
    names = {p.name: (p.type, p.default) for p in found.parameters}
    assert names["rows"] == ("int", "200") and names["C"] == ("float", "0.5") and names["max_iter"] == ("int", "300")
    stage = read(tmp_path / "stage.ipynb")
    declared = parameters.read(stage, "stage.ipynb")
    assert declared.items["rows"].help == "how many, from [3]"
    assert stage["metadata"]["nbmlops"]["extracted"]["proof"]["status"] == "proved"
    assert "import os" not in code(tmp_path / "stage.ipynb")
    assert "--params C" in code(tmp_path / "stage.ipynb")
