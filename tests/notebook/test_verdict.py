"""Would a clean run give what was recorded?"""


import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbmlops.notebook import verdict
from nbmlops.records.cells import CellExecution


def document(*sources, tags=()):
    cells = [
        {"cell_type": "code", "id": f"c{n}", "source": source, "metadata": {"tags": list(tags)}, "outputs": []}
        for n, source in enumerate(sources)
    ]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def history(doc, order, **statuses):
    """Executions of cells by number; a pair is a number and the text the cell had then, a text a cell that is gone."""
    found = []
    for number, one in enumerate(order, 1):
        if isinstance(one, str):
            cell, source = f"gone{number}", one
        elif isinstance(one, tuple):
            cell, source = f"c{one[0]}", one[1]
        else:
            cell, source = f"c{one}", doc["cells"][one]["source"]
        status = statuses.get(f"at{number}", "ok")
        error = {"ename": "NameError"} if status == "error" else None
        found.append(
            CellExecution(str(number), "s", number, source, cell, number, status, error, started_at=float(number))
        )
    return found


S, W, I, U = "strongly valid", "weakly valid", "invalid", "unknown"
PANDAS = "import pandas as pd"
TABLE = "df = pd.DataFrame({'a': [1, 2], 'b': [3, None]})"
# The cells, the order in which they ran, the verdict and the kinds of its findings.
CASES = {
    "straight": (["a = 1", "b = a + 1", "b"], [0, 1, 2], S, []),
    "independent cells out of order": (["a = 1", "b = 2", "a + b"], [1, 0, 2], S, []),
    "a cell that only computes again": (["a = 1", "b = a + 1", "b"], [0, 1, 1, 2, 1], S, []),
    "everything twice": (["a = [1]", "a.append(2)", "a"], [0, 1, 2, 0, 1, 2], S, []),
    "an unused deleted cell": (["a = 1", "a"], [0, "z = 5", 1], S, []),
    "a deleted cell that only shows": (["a = [1]", "a"], [0, "print(a)", 1], S, []),
    "an unused cell that never ran": (["a = 1", "a", "z = a"], [0, 1], S, []),
    "only a comment changed": (["a = 1", "a"], [(0, "a = 1  # one"), 1], S, []),
    "twice with effect": (["x = 0", "x += 1", "x"], [0, 1, 1, 2], I, ["repeated"]),
    "append twice": (["x = []", "x.append(1)", "x"], [0, 1, 1, 2], I, ["repeated"]),
    "twice with effect, then made anew": (["x = 0", "x += 1", "x"], [0, 1, 1, 0, 1, 2], S, []),
    "edited": (["x = 1", "x"], [(0, "x = 2"), 1], I, ["edited"]),
    "edited and run again": (["x = 1", "x"], [(0, "x = 2"), 1, 0, 1], S, []),
    "edited and run again, the user not": (["x = 1", "y = x"], [(0, "x = 2"), 1, 0], I, ["edited"]),
    "deleted": (["y = x"], ["x = 1", 0], I, ["deleted"]),
    "a deleted import": (["y = math.pi"], ["import math", 0], I, ["import"]),
    "used before its definition": (["y = x", "x = 1"], [1, 0], I, ["order"]),
    "changed by a later cell": (["x = [1]", "y = len(x)", "x.append(2)"], [0, 2, 1], I, ["order"]),
    "changed through an alias": (["x = [1]", "z = x", "y = len(x)", "z.append(2)"], [0, 1, 3, 2], I, ["order"]),
    "changed by a function": (["x = [1]", "def f():\n    x.append(1)", "y = len(x)", "f()"], [0, 1, 3, 2], I, ["order"]),
    "ran before a change": (["x = 1", "x = 2", "y = x"], [0, 2, 1], I, ["order"]),
    "failed": (["x = 1", "boom"], [0, 1], I, ["error"]),
    "failed, mended": (["x = 1", "y = x"], [0, (1, "y = xx"), 1], S, []),
    "never ran, but matters": (["x = 1", "x = 2", "y = x"], [0, 2], I, ["unrun"]),
    "never ran and is broken": (["x = 1", "y = ("], [0], I, ["error"]),
    "columns set again": ([PANDAS, TABLE, "df['c'] = df['a'] * 2", "df"], [0, 1, 2, 2, 3], S, []),
    "columns by attribute": ([PANDAS, TABLE, "df['c'] = df.a * 2", "df"], [0, 1, 2, 2, 3], S, []),
    "a column from itself": ([PANDAS, TABLE, "df['a'] = df['a'] * 2", "df"], [0, 1, 2, 2, 3], I, ["repeated"]),
    "rows left out again": ([PANDAS, TABLE, "df = df.dropna()\ndf = df[df.a > 0]", "df"], [0, 1, 2, 2, 3], S, []),
    "in place, again": ([PANDAS, TABLE, "df.dropna(inplace=True)", "df"], [0, 1, 2, 2, 3], S, []),
    "dropped in place before": ([PANDAS, TABLE, "n = len(df)", "df.dropna(inplace=True)"], [0, 1, 3, 2], I, ["order"]),
    "fitted again": (["from sklearn.linear_model import Ridge", "m = Ridge()", "m.fit([[1]], [1])", "m.coef_"], [0, 1, 2, 2, 3], S, []),
    "seeded and drawn twice": (["import numpy as np", "np.random.seed(0)", "a = np.random.rand()", "a"], [0, 1, 2, 2, 3], I, ["repeated"]),
    "seeded": (["import numpy as np", "np.random.seed(0)", "a = np.random.rand()"], [0, 1, 2], S, []),
    "not seeded": (["import numpy as np", "a = np.random.rand()", "a"], [0, 1, 1, 2], W, ["random"]),
    "a split without a seed": (["from sklearn.model_selection import train_test_split as t", "a, b = t([1, 2, 3])"], [0, 1], W, ["random"]),
    "a split with one": (["from sklearn.model_selection import train_test_split as t", "a, b = t([1, 2, 3], random_state=0)"], [0, 1], S, []),
    "a file": ([PANDAS, "df = pd.read_csv('a.csv')"], [0, 1], W, ["file"]),
    "a file of its own": (["open('a.txt', 'w').write('1')", "t = open('a.txt').read()"], [0, 1], S, []),
    "an absolute path": ([PANDAS, "df = pd.read_csv('/data/a.csv')"], [0, 1], W, ["file", "path"]),
    "a snapshot": (["import nbmlops", "df = nbmlops.load_dataset('sales')"], [0, 1], S, []),
    "the clock": (["from datetime import datetime", "now = datetime.now()"], [0, 1], W, ["clock"]),
    "the network": (["import requests", "r = requests.get('http://a.b')"], [0, 1], W, ["network"]),
    "the shell": (["!ls", "x = 1"], [0, 1], W, ["shell"]),
    "the environment": (["import os", "k = os.getenv('KEY')"], [0, 1], W, ["environment"]),
    "code that is text, straight": (["exec('x = 1')", "y = 1"], [0, 1], S, []),
    "code that is text, twice": (["x = 1", "exec('x += 1')", "y = x"], [0, 1, 1, 2], U, ["dynamic"]),
    "an unknown function, straight": (["from sklearn import nothing", "x = [1]", "x"], [0, 1, 2], S, []),
    "an unknown function, twice": (["from other import fix", "x = [1]", "fix(x)", "x"], [0, 1, 2, 2, 3], U, ["repeated"]),
    "from outside": (["y = injected + 1"], [0], U, ["missing"]),
    "a loop variable": (["for i in range(3): pass", "for i in range(5): pass"], [0, 1], S, []),
    "a temporary name in two cells": (["t = 1\na = t", "t = 2\nb = t", "a + b"], [0, 1, 2, 0, 1, 2], S, []),
    "shown again": (["x = [3, 1]", "x.sort()", "x"], [0, 1, 1, 2], S, []),
    "a helper defined later": (["def f(): return g()", "def g(): return 1", "y = f()"], [1, 0, 2], S, []),
    "a helper redefined after use": (["def g(): return 1", "y = g()", "def g(): return 2", "z = g()"], [0, 1, 2, 3, 1], I, ["order"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_cases(name):
    sources, order, expected, kinds = CASES[name]
    doc = document(*sources)
    statuses = {"at2": "error"} if name.startswith("failed") else {}
    found = verdict.check(history(doc, order, **statuses), doc)
    assert (found.verdict, sorted({f.kind for f in found.findings})) == (expected, sorted(kinds)), found
    for one in found.findings:
        assert one.cells
        assert one.what.endswith(".")


def test_words_name_the_cells():
    doc = document("x = [1]", "y = len(x)", "x.append(2)")
    (found,) = verdict.check(history(doc, [0, 2, 1]), doc).findings
    assert found.what == "[3] used `x` as [2] had set or changed it; in a clean run [2] comes after [3]."
    assert found.mend == "Move [2] above [3], or restart the kernel and run all cells."


def test_a_deleted_cell_is_told_where_its_user_ran_twice():
    ran = history(document("x = 1", "x += 1", "x"), [0, 1, 1, 2])
    found = verdict.check(ran, {"cells": document("x = 1", "x += 1", "x")["cells"][1:]}).findings
    assert [f.kind for f in found] == ["deleted", "repeated"]


def test_an_edit_is_told_once_with_all_who_used_what_was():
    doc = document("x = 1", "y = x", "z = x")
    ran = history(doc, [0, 1, 2])
    (found,) = verdict.check(ran, document("x = 2", "y = x", "z = x")).findings
    assert found.what == "[1] was edited after it ran; [2] used `x` as it was before. The same with [3]."


def test_not_saved_yet():
    doc = document("x = 1")
    ran = history(doc, [0, "y = x", (0, "x = 2"), "y = x + 1"])
    assert verdict.check(ran, doc, saved_at=1.5).verdict == I  # y = x used the x of then
    assert verdict.check(ran[:2], doc, saved_at=1.5).verdict == S
    assert verdict.check(ran[:1], doc, saved_at=1.5).verdict == S


def test_without_a_document():
    doc = document("x = 0", "x += 1")
    assert verdict.check(history(doc, [0, 1])).verdict == S
    assert verdict.check(history(doc, [0, 1, 1])).verdict == I
    nameless = [CellExecution(str(n), "s", n, source) for n, source in enumerate(["x = 0", "x += 1", "x += 1"], 1)]
    assert verdict.check(nameless).verdict == S


def test_saved_notebooks():
    doc = document("x = 0", "x += 1", "y = x")
    assert verdict.check_document(doc).verdict == S
    for counts, expected in (([1, 2, 3], S), ([1, 3, 2], I), ([1, 3, 4], U), ([2, 3, 4], U)):
        for cell, count in zip(doc["cells"], counts):
            cell["execution_count"] = count
        assert verdict.check_document(doc).verdict == expected, counts


VARIABLES = "abc"
_name = st.sampled_from(VARIABLES)
_line = st.one_of(
    st.builds("{0} = [{1}]".format, _name, st.integers(0, 2)),
    st.builds("{0} = {1}".format, _name, _name),
    st.builds("{0} = {1}[:]".format, _name, _name),
    st.builds("{0} = [{1}, {2}]".format, _name, _name, _name),
    st.builds("{0} += {1}".format, _name, _name),
    st.builds("{0}.append({1})".format, _name, st.integers(0, 2)),
    st.builds("{0}.append(len({1}))".format, _name, _name),
    st.builds("{0}[0] = {1}".format, _name, st.integers(4, 5)),
    st.builds("{0}[0] = len({1})".format, _name, _name),
    st.builds("{0}.sort(key=repr)".format, _name),
    st.builds("if len({0}) > 1: {1} = {2}".format, _name, _name, _name),
    st.builds("for i in {0}[:3]: {1}.append(1)".format, _name, _name),
    st.builds("def f(v): return v + {0}".format, _name),
    st.builds("{0} = f({1})".format, _name, _name),
    st.builds("print({0})".format, _name),
    st.builds("d = {{'x': {0}}}".format, _name),
    st.builds("d['x'] = {0}".format, _name),
    st.builds("d['y'] = len({0})".format, _name),
    st.builds("{0} = d['x']".format, _name),
)  # fmt: skip
_cells = st.lists(_line, min_size=1, max_size=5)
START = "a, b, c, d = [1], [2], [3], {'x': [0]}\ndef f(v): return v"


def executed(sources):
    """What the names are in the end and what each cell printed; None where it fails."""
    shown = {}
    names = {}
    for key, source in sources:
        lines = shown[key] = []
        names["print"] = lambda *values, lines=lines: lines.append(repr(values))
        try:
            exec(compile(source, "cell", "exec"), names)
        except Exception:
            return None
        if any(len(repr(names.get(v))) > 1000 for v in VARIABLES):
            return None
    return {v: repr(names[v]) for v in (*VARIABLES, "d")}, shown


@settings(max_examples=500, deadline=None)
@given(_cells, st.lists(st.integers(0, 5), min_size=1, max_size=8), st.data())
def test_strongly_valid_is_really_the_same(lines, order, data):
    sources = [START, *lines]
    doc = document(*sources)
    order = [0, *(n % len(sources) for n in order)]
    ran = executed([(n, sources[n]) for n in order])
    if ran is None:
        return
    found = verdict.check(history(doc, order), doc)
    if found.verdict != S:
        return
    clean = executed(list(enumerate(sources)))
    assert clean is not None or set(order) != set(range(len(sources)))
    if clean is None:
        return
    stored = {v for n in set(order) for v in VARIABLES if f"{v} = " in sources[n] or n == 0}
    unrun = set(range(len(sources))) - set(order)
    for name in stored:
        if not unrun:
            assert clean[0][name] == ran[0][name]
    for number, shown in ran[1].items():
        assert clean[1][number] == shown


@pytest.mark.parametrize(
    "source", ["(" * 3000, "x = 1 +" * 3000 + "1", "x = '" + "a" * 1_000_000 + "'", "\x00", "%", "@"]
)
def test_hostile_cells(source):
    doc = document("x = 1", source, "y = x")
    verdict.check(history(doc, [0, 1, 2]), doc)
    verdict.check(history(doc, [1, 2, 0, 1]), doc)
    verdict.check_document(doc)


@pytest.mark.parametrize(
    "doc", [{}, {"cells": None}, {"cells": [1, {}, {"cell_type": "code"}, {"cell_type": "code", "source": 3}]}]
)
def test_hostile_documents(doc):
    verdict.check([], doc)
    verdict.check_document(doc)
