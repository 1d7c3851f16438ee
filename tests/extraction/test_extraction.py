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
    "%%mlops run fit --tag a=b\nC = 0.5\n"
    "model = LogisticRegression(C=C, max_iter=300).fit(X, y)\naccuracy = score(model)",
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
    found = played.magic(f"%mlops extract {played.last} -o stage.ipynb")
    assert (found.proof, found.error, found.differences) == ("proved", "", ())
    assert found.compared["metric"] == 2, "all but the seconds that the fit took"
    assert {"[5]", "[7]"} <= set(found.dropped)
    assert {"[9]", "[10]", "[11]"} <= set(found.kept)
    names = {p.name: (p.type, p.default) for p in found.parameters}
    assert names["rows"] == ("int", "200")
    assert names["C"] == ("float", "0.5")
    assert names["max_iter"] == ("int", "300")
    stage = read(tmp_path / "stage.ipynb")
    declared = parameters.read(stage, "stage.ipynb")
    assert declared.items["rows"].help == "how many, from [4]"
    assert stage["metadata"]["nbmlops"]["extracted"]["proof"]["status"] == "proved"
    assert "import os" not in code(tmp_path / "stage.ipynb")
    assert "--params C" in code(tmp_path / "stage.ipynb")


def test_a_file_is_never_written_over(played: Notebook, tmp_path: Path) -> None:
    played.run("x = 3", "y = x + 1")
    (tmp_path / "stage.ipynb").write_text("mine")
    with pytest.raises(UsageFault, match="there already"):
        played.magic("%mlops extract y -o stage.ipynb")
    assert (tmp_path / "stage.ipynb").read_text() == "mine"
    found = played.magic("%mlops extract y -o stage.ipynb --force")
    assert (found.proof, found.compared) == ("proved", {"value": 1})
    assert code(tmp_path / "stage.ipynb") == "x: int = 3  # from [2]\n\ny = x + 1"


def test_what_does_not_come_out_again_is_told_and_not_claimed(played: Notebook, tmp_path: Path) -> None:
    played.run("import random", "value = random.random()", "twice = 2 * value", "value = 7")
    found = played.magic("%mlops extract twice -o stage.ipynb")
    assert found.proof == "differs"
    assert [(d.kind, d.name) for d in found.differences] == [("value", "twice")]
    assert found.differences[0].size > 0
    stage = read(tmp_path / "stage.ipynb")
    assert stage["metadata"]["nbmlops"]["extracted"]["proof"]["status"] == "differs"


def test_a_stage_that_fails_says_where(played: Notebook, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("5")
    played.run("text = open('x.txt').read()", "number = int(text)")
    (tmp_path / "x.txt").unlink()
    found = played.magic("%mlops extract number -o stage.ipynb")
    assert found.proof == "failed"
    assert "cell 2" in found.error
    assert "FileNotFoundError" in found.error
    assert (tmp_path / "stage.ipynb").exists()


def test_frames_changed_in_place_and_a_figure(played: Notebook) -> None:
    played.run(
        "import pandas as pd",
        "df = pd.DataFrame({'a': [1, 2, 3]})",
        "other = df",
        "other['b'] = df['a'] * 2",
        "noise = df.describe()",
        "df.drop(index=0, inplace=True)",
    )
    found = played.magic("%mlops extract df -o frame.ipynb")
    assert (found.proof, found.error) == ("proved", "")
    assert "[6]" in found.dropped
    assert {"[5]", "[7]"} <= set(found.kept)


def test_wrong_words_are_told(played: Notebook) -> None:
    played.run("accuracy = 0.5")
    with pytest.raises(NotFound, match="'acuracy'") as caught:
        played.magic("%mlops extract acuracy -o stage.ipynb")
    assert "accuracy" in caught.value.hint
    with pytest.raises(UsageFault, match="-o"):
        played.magic("%mlops extract accuracy")
    with pytest.raises(UsageFault, match="cannot be the name"):
        played.magic("%mlops extract accuracy -o stage.py")


PREPARED = (
    "import pandas as pd\nfrom sklearn.linear_model import LogisticRegression\nimport nbmlops",
    "raw = pd.read_csv('data/in.csv')  # as it came",
    "limit = 2",
    "rows = raw[raw['a'] > limit].reset_index(drop=True)",
    "rows['b'] = rows['a'] * 2",
)
FITTED = (
    "X, y = rows[['a', 'b']], rows['y']",
    "with nbmlops.start_run('fit'):\n"
    "    model = LogisticRegression(C=0.5).fit(X, y)\n"
    "    nbmlops.log_metric('accuracy', model.score(X, y))",
)


def table(folder: Path) -> None:
    (folder / "data").mkdir()
    lines = [f"{n},{n % 7 > 3:d}" for n in range(40)]
    (folder / "data" / "in.csv").write_text("a,y\n" + "\n".join(lines) + "\n")


def test_reads_of_files_become_snapshots(played: Notebook, tmp_path: Path) -> None:
    table(tmp_path)
    played.run(*PREPARED, *FITTED)
    found = played.magic(f"%mlops extract {played.last} -o stage.ipynb --snapshots")
    assert (found.proof, found.error, found.notes) == ("proved", "", ())
    assert [(r.was, r.ref) for r in found.reads] == [("pd.read_csv('data/in.csv')", "dataset:in@1")]
    assert 'raw = nbmlops.load_dataset("in@1")  # as it came' in code(tmp_path / "stage.ipynb")
    assert "pandas" not in code(tmp_path / "stage.ipynb")


def test_a_variable_that_nothing_makes_again_is_kept(played: Notebook, tmp_path: Path) -> None:
    table(tmp_path)
    played.run(*PREPARED[:2])
    (tmp_path / "data" / "in.csv").unlink()
    played.run(*PREPARED[2:], *FITTED)
    assert played.magic(f"%mlops extract {played.last} -o stage.ipynb").proof == "failed"
    found = played.magic(f"%mlops extract {played.last} -o kept.ipynb --snapshot rows")
    assert (found.proof, found.error) == ("proved", "")
    assert "[3]" in found.dropped
    assert 'rows = nbmlops.load_dataset("rows@1")' in code(tmp_path / "kept.ipynb")


def test_the_narrowest_place_parts_features_from_training(played: Notebook, tmp_path: Path) -> None:
    table(tmp_path)
    played.run(*PREPARED, *FITTED)
    found = played.magic(f"%mlops extract {played.last} -o pipeline.yaml --pipeline")
    assert (found.proof, found.error) == ("proved", "")
    assert [Path(p).name for p in found.stages] == ["features.ipynb", "train.ipynb"]
    assert any("rows is handed over as dataset:rows" in note for note in found.notes)
    assert 'nbmlops.snapshot(rows, "rows")' in code(tmp_path / "features.ipynb")
    assert 'rows = nbmlops.load_dataset("rows")' in code(tmp_path / "train.ipynb")
    assert "read_csv" not in code(tmp_path / "train.ipynb")
    plan = played.magic("%mlops pipeline plan pipeline.yaml")
    assert [s.stage for s in plan.stages] == ["features", "train"]
    assert plan.stages[1].needs == ("features",)
    assert "limit: 2" in (tmp_path / "pipeline.yaml").read_text()


@pytest.mark.slow
def test_snapshots_of_the_notebook_are_the_cut_and_the_model_parts_evaluation(played: Notebook, tmp_path: Path) -> None:
    table(tmp_path)
    played.run(
        *PREPARED,
        "run = nbmlops.start_run('all')",
        "nbmlops.log_metric('rows', len(rows))",
        "nbmlops.snapshot(rows, 'prepared')",
        "data = nbmlops.load_dataset('prepared')\nX, y = data[['a', 'b']], data['y']",
        "model = LogisticRegression(C=0.5).fit(X, y)",
        "nbmlops.register_model(model, 'late', input_example=X)",
        "nbmlops.log_metric('accuracy', model.score(X, y))",
        "nbmlops.end_run()",
    )
    found = played.magic(f"%mlops extract {played.last} -o pipeline.yaml --pipeline")
    assert (found.proof, found.error, found.differences) == ("proved", "", ())
    assert found.compared["metric"] == 2
    assert [Path(p).stem for p in found.stages] == ["features", "train", "evaluate"]
    text = (tmp_path / "pipeline.yaml").read_text()
    assert "dataset:prepared" in text
    assert "model:late" in text
    assert "fit(" not in code(tmp_path / "evaluate.ipynb")


def test_a_model_and_an_artifact_are_proved_by_their_bytes(played: Notebook, tmp_path: Path) -> None:
    table(tmp_path)
    played.run(*PREPARED, FITTED[0], "model = LogisticRegression(C=0.5).fit(X, y)")
    played.run("noise = 1")
    played.run("nbmlops.register_model(model, 'late', input_example=X)")
    found = played.magic("%mlops extract model:late@1 -o model.ipynb")
    assert (found.proof, found.compared, found.error) == ("proved", {"model": 1}, "")
    assert "noise" not in code(tmp_path / "model.ipynb")
    played.run(
        "import matplotlib\nmatplotlib.use('agg')\nimport matplotlib.pyplot as plt",
        "%%mlops run drawn\nfigure, axes = plt.subplots()\naxes.plot(rows['a'])",
    )
    drawn = played.magic(f"%mlops extract {played.last}/figures/1.png -o figure.ipynb")
    assert (drawn.proof, drawn.compared, drawn.error) == ("proved", {"artifact": 1}, "")
    assert "LogisticRegression" not in code(tmp_path / "figure.ipynb")


def test_the_terminal_extracts_what_is_in_the_store(played: Notebook, tmp_path: Path, cli: Any) -> None:
    table(tmp_path)
    played.run(*PREPARED, *FITTED)
    done = cli("run", "extract", played.last, "-o", "stage.ipynb", "--json")
    assert done.json()["proof"] == "proved"
    cli("run", "extract", played.last, "-o", "stage.ipynb", code=2)
    (tmp_path / "data" / "in.csv").write_text("a,y\n5,1\n6,0\n7,1\n")
    done = cli("run", "extract", played.last, "-o", "stage.ipynb", "--force", code=1)
    assert "differs" in done.out
    assert "accuracy" in done.out
