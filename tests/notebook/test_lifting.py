"""Cells become a stage: imports first, literals as parameters, and the program stays what it was."""

from __future__ import annotations

import ast
import contextlib
import io
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbmlops.notebook import parameters
from nbmlops.notebook.cells import cell_magics, python_lines
from nbmlops.notebook.lifting import Cell, lift
from nbmlops.notebook.lifting.stage import digest, document, headings


def lifted(*sources: str) -> Any:
    return lift([Cell(source, f"[{number}]") for number, source in enumerate(sources, 1)])


def names(*sources: str) -> dict[str, tuple[str, str]]:
    return {p.name: (p.type, p.default) for p in lifted(*sources).parameters}


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        (["lr = 0.1", "print(lr)"], {"lr": ("float", "0.1")}),
        (["month: int = 3", "print(month)"], {"month": ("int", "3")}),
        (["path = 'data.csv'  # where", "open(path)"], {"path": ("str", "'data.csv'")}),
        (["months = [1, 2]", "f(months)"], {"months": ("list[int]", "[1, 2]")}),
        (["mixed = [1, 2.5]", "f(mixed)"], {"mixed": ("list", "[1, 2.5]")}),
        (["rate = -1e-3", "f(rate)"], {"rate": ("float", "-1e-3")}),
        (["flag = True", "f(flag)"], {"flag": ("bool", "True")}),
        (
            ["from datetime import date", "since = date(2020, 1, 2)", "f(since)"],
            {"since": ("date", "date(2020, 1, 2)")},
        ),
        (["a = 1; b = a + 1", "f(a, b)"], {"a": ("int", "1")}),
        (["n = 5\nf(n)", "n = 5\nf(n)"], {"n": ("int", "5")}),  # the same cell twice
        (["lr: float = 0.1  # step", "# Parameters\nlr = 0.2", "f(lr)"], {"lr": ("float", "0.2")}),  # as injected
        (["lr = 0.1", "lr = 0.2", "f(lr)"], {"lr": ("float", "0.2")}),
        (["def g():\n    return lr", "lr = 0.1", "g()"], {"lr": ("float", "0.1")}),
        # not these
        (["x = 1", "x += 1", "f(x)"], {}),
        (["x = 1\nf(x)", "x = 2\nf(x)"], {}),
        (["x = 1"], {}),
        (["xs = []", "xs.append(1)"], {}),
        (["xs = [1]", "xs.append(1)"], {}),
        (["d = {'a': 1}", "d['a'] = 2"], {}),
        (["for x in range(3):\n    y = 1\n    f(y)"], {}),
        (["if f():\n    y = 1", "f(y)"], {}),
        (["def g(lr=0.1):\n    depth = 3\n    return depth", "g()"], {}),
        (["x = 1", "def g():\n    global x\n    x = 2", "g()\nf(x)"], {}),
        (["max = 3", "f(max)"], {}),
        (["_x = 3", "f(_x)"], {}),
        (["f(globals())", "x = 1", "f(x)"], {}),
        (["%run other.py", "x = 1", "f(x)"], {}),
        (["f()\nfrom other import *", "x = 1", "f(x)"], {}),
        (["x = 1", "f(x)\ndel x"], {}),
        (["try:\n    f(x)\nexcept NameError:\n    pass\nx = 1\nf(x)"], {}),
        (["class Mode: pass", "m: Mode = 3", "f(m)"], {}),
        (["text = '''a\nb'''", "f(text)"], {}),
        (["%%timeit\nx = 1\nf(x)"], {}),
    ],
)
def test_what_is_a_parameter(sources: list[str], found: dict[str, tuple[str, str]]) -> None:
    assert names(*sources) == found


FOREST = "from sklearn.ensemble import RandomForestClassifier, GradientBoostingClassifier\nimport sklearn.svm as svm"


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        (
            ["forest = RandomForestClassifier(n_estimators=100, max_depth=6, random_state=0, n_jobs=2).fit(X, y)"],
            {"n_estimators": "100", "max_depth": "6", "random_state": "0"},
        ),
        (
            [
                "forest = RandomForestClassifier(n_estimators=100, random_state=0)",
                "boosted = GradientBoostingClassifier(n_estimators=50, random_state=0)",
            ],
            {"forest_n_estimators": "100", "boosted_n_estimators": "50", "random_state": "0"},
        ),
        (
            ["f(RandomForestClassifier(max_depth=3), svm.SVC(C=0.5, kernel='rbf'))"],
            {"max_depth": "3", "C": "0.5", "kernel": "'rbf'"},
        ),
        (
            ["max_depth = 9\nf(max_depth)\nforest = RandomForestClassifier(max_depth=3)"],
            {"max_depth": "9", "forest_max_depth": "3"},
        ),
        (["for _ in range(3):\n    f(RandomForestClassifier(max_depth=3))"], {}),
        (["def make():\n    return RandomForestClassifier(max_depth=3)", "make()"], {}),
        (["f([RandomForestClassifier(max_depth=3) for _ in range(3)])"], {}),
        (["other(max_depth=3)"], {}),
        (["import pandas as pd", "df = pd.read_csv('x.csv', nrows=10)"], {"nrows": "10"}),
    ],
)  # fmt: skip
def test_literals_given_to_estimators(sources: list[str], found: dict[str, str]) -> None:
    assert {p.name: p.default for p in lifted(FOREST, *sources).parameters} == found


@pytest.mark.parametrize(
    ("sources", "imports", "rest"),
    [
        (["import os\nimport numpy as np\nx = np.zeros(3)"], "import numpy as np", ["x = np.zeros(3)"]),
        (["f()", "from a import b\nb()"], "from a import b", ["f()", "b()"]),
        (["from __future__ import annotations", "import a\na.x", "from __future__ import division"],
         "from __future__ import annotations\nfrom __future__ import division\nimport a", ["a.x"]),
        (["import a", "f(a)", "import a"], "import a", ["f(a)"]),
        (["from a import x, y\nf(x, y)", "from a import x\nf(x)"], "from a import x, y", ["f(x, y)", "f(x)"]),
        (["from math import sin, cos\nf(sin)"], "from math import sin", ["f(sin)"]),
        (["try:\n    import fast as m\nexcept ImportError:\n    import slow as m\nf(m)"], "",
         ["try:\n    import fast as m\nexcept ImportError:\n    import slow as m\nf(m)"]),
        (["f(e)", "from math import e\nf(e)"], "", ["f(e)", "from math import e\nf(e)"]),
        (["f(abs)", "from a import abs\nf(abs)"], "", ["f(abs)", "from a import abs\nf(abs)"]),
        (["def g():\n    return np.x", "import np", "g()"], "import np", ["def g():\n    return np.x", "g()"]),
        (["import os\nos.environ['A'] = '1'", "import torch\nf(torch)"], "import os",
         ["os.environ['A'] = '1'", "import torch\nf(torch)"]),
        (["import sys\nsys.path.insert(0, 'lib')", "import mine\nf(mine)"], "import sys",
         ["sys.path.insert(0, 'lib')", "import mine\nf(mine)"]),
        (["%%writefile mine.py\nx = 1", "import mine\nf(mine)"], "",
         ["%%writefile mine.py\nx = 1", "import mine\nf(mine)"]),
        (["%cd lib", "import mine\nf(mine)"], "", ["%cd lib", "import mine\nf(mine)"]),
        (["from a import *\nimport b\nf(b)"], "from a import *\nimport b", ["f(b)"]),
        (["f()", "from a import *", "import b\nf(b)"], "", ["f()", "from a import *", "import b\nf(b)"]),
        (["from sklearn.experimental import enable_iterative_imputer\nf()"],
         "from sklearn.experimental import enable_iterative_imputer", ["f()"]),
        (["import unheard_of\nf()"], "import unheard_of", ["f()"]),
        (["import a; x = a.b(); import c; c.d(x)"], "import a\nimport c", ["x = a.b(); c.d(x)"]),
        (["%%time\nimport a\na.b()"], "import a", ["a.b()"]),
        (["!ls\nimport a\na.b()"], "", ["!ls\nimport a\na.b()"]),
        (["%matplotlib inline\nimport a\na.b('ünï'); f('ß')"], "import a", ["%matplotlib inline\na.b('ünï'); f('ß')"]),
        (["import a  # a\n# about it\na.b()  # call"], "import a", ["# about it\na.b()  # call"]),
    ],
)  # fmt: skip
def test_imports_come_first_where_that_changes_nothing(sources: list[str], imports: str, rest: list[str]) -> None:
    found = lifted(*sources)
    assert found.imports == imports
    assert [cell.source for cell in found.cells] == rest


def test_secrets_are_never_lifted_as_they_are() -> None:
    found = lifted("api_key = 'sk-123456'\nurl = 'postgresql://me:pass@host/db'", "f(api_key, url)")
    assert {p.name: (p.type, p.default) for p in found.parameters} == {
        "api_key": ("nbmlops.Secret", 'nbmlops.Secret("env:API_KEY")'),
        "url": ("nbmlops.Secret", 'nbmlops.Secret("env:URL")'),
    }
    assert "import nbmlops" in found.imports
    assert "sk-123456" not in found.parameters_source
    read = parameters.read(document(found, "# t", {}), "n")
    assert all(str(p.type) == "secret" and not p.fault for p in read.items.values())


def test_a_tracked_cell_goes_on_logging_what_was_assigned_in_it() -> None:
    found = lifted("%%mlops run base --tag a=b\nC = 0.1\nscore = f(C)", "%%mlops run --metrics k\nk = 3\nf(k)")
    assert found.extension
    assert [c.source for c in found.cells] == [
        "%%mlops run base --tag a=b --params C\nscore = f(C)",
        "%%mlops run --metrics k\nf(k)",
    ]
    first = lifted("%load_ext nbmlops\nimport nbmlops\nx = 1", "%mlops runs\nnbmlops.use(x)")
    assert (first.extension, first.imports) == (True, "import nbmlops")
    assert [c.source for c in first.cells] == ["%mlops runs\nnbmlops.use(x)"]
    assert not lifted("%load_ext nbmlops\nimport nbmlops", "nbmlops.use(f())").extension
    kept = 'text = """\n%load_ext nbmlops\n"""'
    assert lifted(kept + "\nf(text)").cells[0].source.startswith(kept)


def test_the_stage_has_headings_and_a_parameters_cell() -> None:
    notebook = {
        "cells": [
            {"cell_type": "markdown", "source": "## Data\ntext", "metadata": {}},
            {"cell_type": "code", "id": "one", "source": "n = 3", "metadata": {}},
            {"cell_type": "markdown", "source": "only text", "metadata": {}},
            {"cell_type": "code", "id": "two", "source": "f(n)", "metadata": {}},
        ]
    }
    above = headings(notebook)
    assert above == {"one": "## Data", "n = 3": "## Data"}
    cells = [Cell("n = 3\nf(n)", "[1]", above["one"])]
    made = document(lift(cells), "# Stage", {"digest": digest(cells)})
    assert [c["source"] for c in made["cells"]] == ["# Stage", "n: int = 3  # from [1]", "## Data", "f(n)"]
    assert parameters.read(made, "n").items["n"].help == "from [1]"
    assert made["metadata"]["nbmlops"]["extracted"]["digest"] == digest(cells)


def test_cells_read_line_for_line() -> None:
    source = "%%time\n\n%%mlops run\nx = 1\n!ls \\\n  -l\ny = 2"
    read = python_lines(source)
    assert read is not None
    assert read.split("\n")[3] == "x = 1"
    assert read.split("\n")[6] == "y = 2"
    assert [name for name, _, _ in cell_magics(source)] == ["time", "mlops"]
    assert python_lines("%%bash\nls") is None


# --- the program stays the same -----------------------------------------------------------------------------------
NAMES = ["a", "b", "c"]
NUMBER = st.integers(0, 9).map(str)
NAME = st.sampled_from(NAMES)


@st.composite
def statement(draw: st.DrawFn) -> str:
    x, y, n = draw(NAME), draw(NAME), draw(NUMBER)
    return draw(
        st.sampled_from(
            [
                f"{x} = {n}", f"{x} = {n}", f"{x} = {n}; out.append({x})",
                f"{x}: int = {n}  # {n}", f"{x} = {y} + {n}", f"{x} += {n}", f"out.append({x})",
                f"{x} = [{n}, 1]", f"out.append(str({x}))", f"for {x} in [{n}]:\n    out.append({x})",
                f"if {n} > 4:\n    {x} = {n}", f"def g():\n    return {x}", "out.append(g())",
                "import math", "from math import floor", f"from math import floor as {x}", "out.append(floor(2.5))",
                "out.append(math.pi)", f"{x} = math.floor({n})", f"with ctx() as {x}:\n    {y} = {n}",
                f"def g({x}={n}):\n    {y} = {x}\n    return {y}",
                f"def g():\n    global {x}\n    {x} = {n}\n    return {n}",
                f"out.append([{x} for {x} in range({n})])", f"{x} = '''{n}'''", f"{x}, {y} = {n}, {n}", f"del {x}",
                f"try:\n    out.append({x})\nexcept NameError:\n    {x} = {n}", f"out.append(eval('{x}'))", f"# {x}",
                f"out.append(({x} := {n}))", f"class K:\n    {x} = {n}\n    v = {y}", "out.append(K.v)",
            ]
        )
    )  # fmt: skip


def execute(cells: list[str]) -> tuple[str, Any]:
    space: dict[str, Any] = {"out": [], "ctx": contextlib.nullcontext}
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            for source in cells:
                exec(compile(source, "<cell>", "exec"), space)
    except Exception as error:
        return type(error).__name__, [str(v) for v in space["out"]]
    left = [space[name] for name in NAMES if isinstance(space.get(name), int | str | list)]
    return "", [str(v) for v in (*space["out"], *left)]


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.lists(statement(), min_size=1, max_size=3).map("\n".join), min_size=1, max_size=7))
def test_lifting_changes_no_program(cells: list[str]) -> None:
    fault, before = execute(cells)
    if fault:
        return  # cells that raised are no part of a stage
    found = lifted(*cells)
    stage = document(found, "# t", {})
    declared = parameters.read(stage, "stage")
    given_ = parameters.injected_source(declared.complete({}))
    after = execute([found.imports, found.parameters_source, given_, *(c.source for c in found.cells)])
    assert after == ("", before)
    assert all(p.literal for p in declared.items.values())
    for cell in stage["cells"]:
        if cell["cell_type"] == "code":
            ast.parse(cell["source"])
