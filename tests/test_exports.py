"""The surface of the package, what an import costs, and the limits that the code keeps to."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import nbmlops
from nbmlops import records
from nbmlops.workspace import Workspace

ROOT = Path(nbmlops.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))
MOST_LINES_OF_A_FUNCTION = 60
MOST_LINES_OF_A_FILE = 450
# Imported when first used: each of these costs more than a keystroke may take.
HEAVY = {
    "alembic", "anywidget", "fastapi", "fsspec", "ipywidgets", "joblib", "matplotlib", "nbclient", "nbconvert",
    "nbformat", "numpy", "pandas", "papermill", "polars", "psutil", "pyarrow", "rich", "scipy", "skl2onnx", "sklearn",
    "skops", "sqlalchemy", "uvicorn", "yaml",
}  # fmt: skip


# --- the surface --------------------------------------------------------------------------------------------------
def public_names() -> list[str]:
    return [n for n in nbmlops.__all__ if n != "__version__"]


def desks() -> Iterator[tuple[str, type]]:
    """The classes of a workspace's desks, by the annotations of its properties."""
    import importlib

    homes = {"Lineages": "lineage", "Evidences": "evidence", "Exports": "exporting"}
    for name, member in vars(Workspace).items():
        if isinstance(member, cached_property):
            kind = member.func.__annotations__["return"]
            module = importlib.import_module(f"nbmlops.{homes.get(kind, kind.lower())}")
            yield name, getattr(module, kind)


def verbs() -> dict[str, Callable[..., Any]]:
    """Every public function and method that a user reaches."""
    found: dict[str, Callable[..., Any]] = {}
    owners: list[tuple[str, type]] = [(f"ws.{n}", c) for n, c in desks()]
    owners += [
        (n, c) for n, c in inspect.getmembers(records, inspect.isclass) if c.__module__.startswith(records.__name__)
    ]
    owners += [("Workspace", Workspace)]
    for name in public_names():
        thing = getattr(nbmlops, name)
        if inspect.isfunction(thing):
            found[name] = thing
    for owner, kind in owners:
        for name, member in vars(kind).items():
            if not name.startswith("_") and inspect.isfunction(member):
                found[f"{owner}.{name}"] = member
    return found


def test_there_are_desks_and_verbs() -> None:
    assert len(list(desks())) >= 9
    assert len(verbs()) > 90


def test_all_is_complete_and_sorted() -> None:
    assert sorted(public_names()) == public_names()
    assert set(nbmlops.__all__) <= set(dir(nbmlops))
    for name in public_names():
        assert getattr(nbmlops, name).__module__.startswith("nbmlops."), name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        nbmlops.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("set_tracking_uri", "NBMLOPS_STORE"),
        ("sklearn", "autolog"),
        ("pyfunc", "load_model"),
        ("MlflowClient", "desks"),
    ],
)
def test_a_name_of_mlflow_that_is_missing_says_what_to_use(name: str, instead: str) -> None:
    assert not hasattr(nbmlops, name)
    with pytest.raises(AttributeError, match=f"no attribute '{name}': .*{instead}"):
        getattr(nbmlops, name)


def test_models_can_be_described_by_training_data(nb: Any) -> None:
    import pandas
    from sklearn.linear_model import LinearRegression

    x = pandas.DataFrame({"size": [float(n) for n in range(30)]})
    y = pandas.Series(range(30), name="price")
    model = LinearRegression().fit(x, y)
    with nb.start_run():
        kept = nb.log_model(model, "houses", training_data=(x, y))
    for version in (kept, nb.register_model(model, "houses", training_data=(x, y))):
        assert version.profile is not None, "monitoring has something to compare with"
        assert [column["name"] for column in version.signature["inputs"]] == ["size"]


def test_type_checkers_see_the_same_names() -> None:
    """The imports under TYPE_CHECKING are the only names that editors know."""
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    seen: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nbmlops."):
            seen |= {alias.name for alias in node.names}
    assert seen == set(public_names())


@pytest.mark.parametrize("name", sorted(verbs()))
def test_a_verb_has_a_docstring_and_annotations(name: str) -> None:
    verb = verbs()[name]
    assert inspect.getdoc(verb), f"{name} has no docstring"
    signature = inspect.signature(verb)
    bare = [
        p.name for p in signature.parameters.values() if p.annotation is inspect.Parameter.empty and p.name != "self"
    ]
    assert not bare, f"{name}: {', '.join(bare)} without annotation"
    assert signature.return_annotation is not inspect.Signature.empty, f"{name} does not say what it returns"


def test_records_are_frozen_and_documented() -> None:
    for name, kind in inspect.getmembers(records, inspect.isclass):
        if kind.__module__.startswith(records.__name__):
            assert kind.__dataclass_params__.frozen, name
            assert (kind.__doc__ or "").strip(), name
            assert not (kind.__doc__ or "").startswith(f"{name}("), f"{name} has only the docstring of dataclasses"


def test_annotations_of_the_functions_resolve() -> None:
    import pandas

    for name in public_names():
        thing = getattr(nbmlops, name)
        if inspect.isfunction(thing):
            get_type_hints(thing, {**thing.__globals__, "pd": pandas, "Telemetry": object, "LiveRun": object})


# --- what an import costs -----------------------------------------------------------------------------------------
def loaded_by(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after running the code."""
    report = "\nimport sys\nprint('\\n'.join(sorted({m.partition('.')[0] for m in sys.modules})))"
    words = [sys.executable, "-c", code + report]
    return set(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split())


def test_import_loads_nothing_heavy() -> None:
    assert not loaded_by("import nbmlops") & (HEAVY | {"click", "IPython"})


def test_load_ext_loads_nothing_heavy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    bare = (
        "from IPython.core.interactiveshell import InteractiveShell\nshell = InteractiveShell.instance()\n"
        "shell.run_cell('1 + 1')\n"
    )
    before = loaded_by(bare)
    after = loaded_by(bare + "assert shell.run_cell('%load_ext nbmlops').success\nshell.run_cell('1 + 1')\n")
    assert not (after - before) & HEAVY
    assert "nbmlops" in after


# --- the code -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_short(path: Path) -> None:
    if "versions" in path.parts:
        return  # a migration lists every column, and is never edited
    text = path.read_text(encoding="utf-8")
    lines = len(text.splitlines())
    assert lines <= MOST_LINES_OF_A_FILE, f"{lines} lines: split it by what changes together"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            long = (node.end_lineno or node.lineno) - node.lineno + 1
            assert long <= MOST_LINES_OF_A_FUNCTION, f"{node.name} has {long} lines"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_at_the_top(path: Path, names: set[str]) -> set[str]:
    """Modules of nbmlops that a file imports when it is loaded itself; not those for type checkers only."""
    found: set[str] = set()
    todo: list[ast.stmt] = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {
                f"{node.module}.{a.name}" if f"{node.module}.{a.name}" in names else node.module for a in node.names
            }
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            todo += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    return (found & names) - {module_name(path), "nbmlops"}


def test_no_import_goes_in_a_circle() -> None:
    names = {module_name(p) for p in SOURCES}
    graph = {module_name(p): imports_at_the_top(p, names) for p in SOURCES}
    assert graph["nbmlops.workspace"], "the graph has edges"
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_imports_go_down_only() -> None:
    words = [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--config", ROOT.parent / "pyproject.toml"]
    done = subprocess.run(words, cwd=ROOT.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
