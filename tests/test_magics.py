"""The magics in a real IPython shell, and their errors in a real kernel under papermill."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from shells import emptied, started

from nbmlops import session
from nbmlops.errors import InvalidValue, NbmlopsError, NotFound, UsageFault
from nbmlops.words import split_assignments

HOSTILE = "<script>window.hacked = 1</script>"


@pytest.fixture(scope="session")
def _ipython() -> Any:
    shell = started()
    shell.history_manager.enabled = False
    shell.display_formatter.active_types = list(shell.display_formatter.formatters)
    return shell


@pytest.fixture
def shell(_ipython: Any, nb: Any) -> Iterator[Callable[[str], Any]]:
    """Run a cell; returns its value, raises what it raises."""
    _ipython.run_line_magic("reload_ext", "nbmlops")  # other files may have left it loaded

    def run(code: str) -> Any:
        done = _ipython.run_cell(code, store_history=False)
        done.raise_error()
        return done.result

    run.ip = _ipython  # type: ignore[attr-defined]
    yield run
    session.reset()
    _ipython.run_line_magic("unload_ext", "nbmlops")
    emptied(_ipython, new_session=False)


def test_a_run_by_hand(shell: Any, nb: Any) -> None:
    assert shell("%mlops experiment night flights").name == "night flights"
    started = shell("%mlops start first try --tag team=vision --tag b=c=d")
    shell("base = 3\n%mlops param lr=0.1 depth=2*base name='a b' layers=[1, 2]")
    shell("rmse = 0.5\n%mlops metric rmse=rmse auc=max(0.1, base / 4) --step 3")
    shell("%mlops metric rmse=0.25 --step=4")
    ended = shell("%mlops end")
    assert (ended.status, ended.name, ended.experiment) == ("FINISHED", "first try", "night flights")
    assert ended.params == {"lr": "0.1", "depth": "6", "name": "a b", "layers": "[1, 2]"}
    assert ended.metrics == {"rmse": 0.25, "auc": 0.75}
    assert ended.tags == {"team": "vision", "b": "c=d"}
    assert nb.get_metric_history(started.run_id, "rmse")["step"].tolist() == [3, 4]
    shell("%mlops start second")
    assert shell("%mlops end --status FAILED").status == "FAILED"


CELL = """%%mlops run baseline --tag family=linear
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
import matplotlib.pyplot as plt
C = 0.5
names = ["a", "b"]
_private = 1
X, y = make_classification(200, random_state=0)
model = LogisticRegression(C=C).fit(X, y)
auc = roc_auc_score(y, model.predict_proba(X)[:, 1])
total = 0
for i in range(3):
    total += i
plt.figure()
plt.plot([1, 2, 3])
print("area", round(auc, 3))
auc
"""


def test_a_cell_as_a_run_captures_by_itself(shell: Any) -> None:
    record = shell(CELL)
    assert record.status == "FINISHED"
    assert record.params["C"] == "0.5"
    assert record.params["names"] == '["a", "b"]'
    assert "_private" not in record.params
    assert "total" not in record.params
    assert record.metrics["total"] == 3
    assert record.metrics["auc"] == pytest.approx(0.98, abs=0.02)
    assert record.metrics["training_score"] > 0.8
    assert record.tags == {
        "family": "linear",
        "estimator_name": "LogisticRegression",
        "estimator_class": "sklearn.linear_model._logistic.LogisticRegression",
    }
    runs = session.workspace().runs
    assert [a.path for a in record.artifacts] == ["cell.py", "figures/1.png", "output.txt"]
    assert b"C = 0.5" in runs.artifact(record.run_id, "cell.py")
    assert b"area 0." in runs.artifact(record.run_id, "output.txt")
    again = shell(CELL)
    assert again.run_id != record.run_id


def test_a_cell_without_capture_and_with_chosen_names(shell: Any) -> None:
    record = shell("%%mlops run --no-auto --params a,b --metrics c\na = 1\nb = 'x'\nc = 2\nd = 3.5")
    assert record.params == {"a": "1", "b": "x"}
    assert record.metrics == {"c": 2.0}


def test_data_read_in_a_run_is_noted(shell: Any) -> None:
    shell(
        "import pandas as pd, nbmlops\ndf = pd.DataFrame({'a': [1, 2]})\n%mlops snapshot df --name small -m 'two rows'"
    )
    record = shell("%%mlops run reader\nframe = nbmlops.load_dataset('small')\nrows = len(frame)")
    assert record.datasets == ("dataset:small@1",)
    assert record.metrics == {"rows": 2.0}
    assert session.workspace().datasets.get("small").message == "two rows"


def test_a_cell_that_raises_ends_its_run_failed_and_raises_on(shell: Any, nb: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        shell("%%mlops run broken\nx = 1\ny = x / 0")
    (run,) = nb.search_runs(output_format="list")
    assert (run.status, run.error["name"], run.error["message"]) == ("FAILED", "ZeroDivisionError", "division by zero")
    assert run.params == {"x": "1"}
    assert nb.active_run() is None


def test_log_keeps_objects_of_many_kinds(shell: Any) -> None:
    shell("%mlops start objects")
    shell("import matplotlib.pyplot as plt, pandas as pd, numpy as np\nfig, ax = plt.subplots()")
    shell("%mlops log fig --as plots/roc.png")
    shell("text = 'hello'\n%mlops log text")
    shell("d = {'a': 1}\n%mlops log d")
    shell("df = pd.DataFrame({'a': [1]})\n%mlops log df")
    shell("arr = np.arange(3)\n%mlops log arr")
    Path("notes.md").write_text("# notes")
    shell("%mlops log notes.md")
    with pytest.raises(InvalidValue, match="does not know how to keep"):
        shell("o = object()\n%mlops log o")
    record = shell("%mlops end")
    assert [a.path for a in record.artifacts] == [
        "arr.npy",
        "d.json",
        "df.parquet",
        "notes.md",
        "plots/roc.png",
        "text.txt",
    ]


@pytest.mark.parametrize(
    ("line", "kind", "said"),
    [
        ("%mlops run show zzz", NotFound, "no run 'zzz'"),
        ("%mlops frobnicate", UsageFault, "no such command 'frobnicate'"),
        ("%mlops run list --nope", UsageFault, "no such option"),
        ("%mlops metric nope", UsageFault, "is not name=expression"),
        ("%mlops metric m=undefined_name", InvalidValue, "undefined_name"),
        ("%mlops metric m='text'", InvalidValue, "must be a number"),
        ("%mlops start --colour red", UsageFault, "no such option --colour"),
        ("%mlops snapshot missing --name x", NotFound, "no variable 'missing'"),
        ("%mlops register missing --name x", NotFound, "no variable 'missing'"),
        ("%mlops end", UsageFault, "no run is active"),
        ("%mlops promote nothing --to staging --reason x", NotFound, "nothing"),
        ("%mlops start 'open", UsageFault, "quotation"),
        ("%%mlops stage\nx = 1", UsageFault, "%%mlops knows run"),
    ],
)
def test_errors_are_two_lines(shell: Any, line: str, kind: type[NbmlopsError], said: str) -> None:
    with pytest.raises(kind) as caught:
        shell(line)
    assert said in str(caught.value)
    shown = caught.value._render_traceback_()  # type: ignore[attr-defined]
    assert len(shown) == 2
    assert shown[1].startswith("  -> ")


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", []),
        ("a=1", [("a", "1")]),
        ("lr=0.1 depth=2 * base", [("lr", "0.1"), ("depth", "2 * base")]),
        ("a=f(x=1, y=2) b=[1, 2]", [("a", "f(x=1, y=2)"), ("b", "[1, 2]")]),
        ("s='x y=z' t=1", [("s", "'x y=z'"), ("t", "1")]),
        ('"learning rate"=0.1', [("learning rate", "0.1")]),
        ("a.b/c=1 same=x==y", [("a.b/c", "1"), ("same", "x==y")]),
    ],
)
def test_assignments(text: str, pairs: list[tuple[str, str]]) -> None:
    assert split_assignments(text) == pairs


def test_tables_status_help_and_loading_twice(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    shell("%mlops start one")
    shell("%mlops end")
    assert "store" in repr(shell("%mlops"))
    for line in ("%mlops runs", "%mlops datasets", "%mlops models", "%mlops flows", "%mlops experiments"):
        shown = shell(line)
        assert "<" in (
            shown._repr_html_() if hasattr(shown, "_repr_html_") else shown._repr_mimebundle_()[0]["text/html"]
        )
    shell("%mlops help")
    assert "dashboard" in capsys.readouterr().out
    assert "%%mlops run" in shell.ip.find_line_magic("mlops").__doc__
    shell("%load_ext nbmlops")
    shell("%reload_ext nbmlops")
    hooks = [h for h in shell.ip.events.callbacks["pre_run_cell"] if h.__module__ == "nbmlops.notebook.recorder"]
    assert len(hooks) == 1
    assert shell("%mlops run list --json") is None
    assert '"name": "one"' in capsys.readouterr().out


def test_a_hostile_name_is_shown_and_not_run(shell: Any) -> None:
    shell(f"%mlops start '{HOSTILE}'")
    shell(f"%mlops param x='{HOSTILE}'")
    record = shell("%mlops end")
    rich = shell.ip.display_formatter.format(record)[0]
    assert "<script>" not in rich["text/html"]
    assert "&lt;script&gt;" in rich["text/html"]
    assert HOSTILE in rich["text/plain"]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("%mlops sta", ["start"]),
        ("%mlops model pro", ["promote"]),
        ("%mlops run list --fil", ["--filter"]),
        ("%mlops snapshot my_fr", ["my_frame"]),
        ("%mlops promo", ["promote"]),
        ("%mlops run show ", None),
    ],
)
def test_completion(shell: Any, line: str, wanted: list[str] | None) -> None:
    shell("my_frame = 1")
    if wanted is None:
        shell("%mlops start x")
        record = shell("%mlops end")
        wanted = [record.run_id, f"run:{record.run_id}"]
    from IPython.core.completer import provisionalcompleter

    with provisionalcompleter():  # what a Jupyter kernel answers with
        found = [c.text for c in shell.ip.Completer.completions(line, len(line))]
    assert set(wanted) <= set(found)


def test_unloading_takes_everything_back(shell: Any) -> None:
    shell("%unload_ext nbmlops")
    assert shell.ip.find_line_magic("mlops") is None
    shell("%load_ext nbmlops")


@pytest.mark.slow
def test_papermill_keeps_the_name_and_text_of_an_error(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(c) for c in ("%load_ext nbmlops", "%mlops run show zzz", "after = 1")],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(notebook, tmp_path / "in.ipynb")
    done = subprocess.run(
        [sys.executable, "-m", "papermill", "in.ipynb", "out.ipynb"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode != 0
    executed = nbformat.read(tmp_path / "out.ipynb", 4)
    (error,) = [o for c in executed.cells for o in c.get("outputs", []) if o.output_type == "error"]
    assert (error.ename, error.evalue) == ("NotFound", "no run 'zzz'")
    assert error.traceback == [
        "NotFound: no run 'zzz'",
        "  -> list them with `nbmlops runs`; an id, a unique part of it, or a unique name is enough",
    ]


@pytest.mark.slow
def test_a_dead_kernel_leaves_a_run_that_is_shown_killed(tmp_path: Path, ws: Any) -> None:
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(
                "import nbmlops, os, signal\nnbmlops.start_run('doomed'); nbmlops.log_metric('m', 1)"
            ),
            nbformat.v4.new_code_cell("os.kill(os.getpid(), signal.SIGKILL)"),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(notebook, tmp_path / "in.ipynb")
    subprocess.run([sys.executable, "-m", "papermill", "in.ipynb", "out.ipynb"], capture_output=True, cwd=tmp_path)
    (run,) = ws.runs.search()
    assert (run.status, run.metrics, run.source["type"]) == ("KILLED", {"m": 1.0}, "notebook")


def test_a_model_registered_after_its_cell_belongs_to_the_cells_run(shell: Any, nb: Any) -> None:
    record = shell(CELL)
    shell("import pandas as pd")
    version = shell("%mlops register model --name after")
    assert version.run_id == record.run_id
    assert version.metrics["auc"] == record.metrics["auc"]
    assert "run" in {node.kind for node in nb.why("model:after").nodes()}


def test_rows_for_training_and_tests_are_named_in_the_magic(shell: Any, nb: Any) -> None:
    shell("import pandas as pd\nfrom sklearn.linear_model import LogisticRegression")
    shell("f = pd.DataFrame({'x': range(40), 'g': ['a', 'b'] * 20, 'y': [0] * 20 + [1] * 20})")
    shell("X, test = f[['x']], f[1::2]\nmodel = LogisticRegression().fit(X, f.y)")
    version = shell("%mlops register model --name told --training X --test test --target y --groups g")
    assert version.signature["inputs"][0]["max"] == 39
    assert {e.status for e in nb.get_evidence(version.ref, ["performance", "fairness"])} == {"done"}
    with pytest.raises(UsageFault, match="--traning"):
        shell("%mlops register model --name told --traning X")


@pytest.mark.slow
def test_figures_are_kept_in_a_real_kernel_whose_backend_closes_them(tmp_path: Path, ws: Any) -> None:
    cells = (
        "%load_ext nbmlops",
        "%%mlops run drawn\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\n"
        "plt.figure()\nplt.plot([3])\nlast = 1.5 * 2",
    )
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(c) for c in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(notebook, tmp_path / "in.ipynb")
    env = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}
    command = [sys.executable, "-m", "papermill", "in.ipynb", "out.ipynb"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    run = ws.runs.get("drawn")
    assert [a.path for a in run.artifacts] == ["cell.py", "figures/1.png", "figures/2.png"]
    assert run.metrics == {"last": 3.0}
    outputs = nbformat.read(tmp_path / "out.ipynb", 4).cells[1].outputs
    assert sum("image/png" in o.get("data", {}) for o in outputs) == 2


def test_secrets_in_a_cell_are_not_kept(shell: Any) -> None:
    record = shell(
        "%%mlops run quiet\napi_key = 'sk-12345'\nPASSWORD = 'hunter2'\nmax_tokens = 5\nprint('key', api_key)"
    )
    assert record.params == {"api_key": "(hidden)", "PASSWORD": "(hidden)", "max_tokens": "5"}
    store = session.workspace().store
    for path in store.folder.rglob("*"):
        if path.is_file():
            assert b"sk-12345" not in path.read_bytes()
            assert b"hunter2" not in path.read_bytes()
