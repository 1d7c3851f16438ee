"""What cells do to each other's names, and the cells behind a result."""

# ruff: noqa: E501 - a small notebook on each line

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbmlops.notebook.dataflow import Dataflow

# Cells, the step and name that are asked for, and the steps behind.
SLICES = {
    "only what is used": (["a = 1", "b = 2", "c = a + 1", "print(b)"], 2, "c", [0, 2]),
    "a later definition wins": (["a = 1", "a = 2", "b = a"], 2, "b", [1, 2]),
    "in-place changes stay": (["x = []", "x.append(1)", "print(x)", "y = x"], 3, "y", [0, 1, 3]),
    "through an alias": (["x = []", "y = x", "y.append(1)"], 2, "x", [0, 1, 2]),
    "through a view": (["import numpy as np", "a = np.zeros(3)", "b = a[1:]", "b[0] = 1", "s = a.sum()"], 4, "s", [0, 1, 2, 3, 4]),
    "through a container": (["a = []", "d = {'k': a}", "a.append(1)", "b = d"], 3, "b", [0, 1, 2, 3]),
    "out of a container": (["d = {'k': []}", "x = d['k']", "x.append(1)", "y = d"], 3, "y", [0, 1, 2, 3]),
    "an element of a list": (["a = [[1], [2]]", "a[0].append(3)", "b = a"], 2, "b", [0, 1, 2]),
    "free variables when called": (["def f():\n    return k", "k = 1", "a = f()", "k = 2", "b = f()"], 4, "b", [0, 3, 4]),
    "a helper defined again": (["def f(): return 1", "a = f()", "def f(): return 2", "b = f()"], 3, "b", [2, 3]),
    "a function that changes a global": (["n = []", "def f():\n    n.append(1)", "f()", "m = n"], 3, "m", [0, 1, 2, 3]),
    "a global statement": (["n = 0", "def f():\n    global n\n    n += 1", "f()", "m = n"], 3, "m", [0, 1, 2, 3]),
    "a function that changes its argument": (["def f(d):\n    d['x'] = 1", "d = {}", "f(d)", "e = d"], 3, "e", [0, 1, 2, 3]),
    "a default is read at the definition": (["k = 1", "def f(x=k): return x", "k = 2", "a = f()"], 3, "a", [0, 1, 3]),
    "a decorator": (["def twice(f):\n    def g(*a): return 2 * f(*a)\n    return g", "@twice\ndef h(x): return x", "a = h(2)"], 2, "a", [0, 1, 2]),
    "a closure": (["def make(n):\n    def add(x): return x + n + k\n    return add", "k = 5", "f = make(1)", "k = 7", "a = f(2)"], 4, "a", [0, 2, 3, 4]),
    "a lambda": (["k = 2", "f = lambda x: x * k", "k = 3", "a = f(1)"], 3, "a", [1, 2, 3]),
    "recursion": (["def f(n): return 1 if n < 2 else n * f(n - 1) * k", "k = 1", "u = 0", "a = f(5)"], 3, "a", [0, 1, 3]),
    "a method": (["class C:\n    def __init__(self): self.n = 0\n    def up(self): self.n += step", "c = C()", "step = 2", "c.up()", "a = c.n"], 4, "a", [0, 1, 2, 3, 4]),
    "comprehensions have their own scope": (["i = 5", "s = [i for i in range(3)]", "a = i"], 2, "a", [0, 2]),
    "for": (["xs = [1]", "t = 0", "u = 9", "for x in xs:\n    t += x", "a = t"], 4, "a", [0, 1, 3, 4]),
    "if keeps both": (["c = True", "x = 1", "if c:\n    x = 2", "a = x"], 3, "a", [0, 1, 2, 3]),
    "try": (["x = 0", "try:\n    x = int('a')\nexcept ValueError:\n    pass", "a = x"], 2, "a", [0, 1, 2]),
    "walrus": (["xs = [1]", "if (n := len(xs)) > 0: pass", "a = n"], 2, "a", [0, 1, 2]),
    "match": (["v = (1, 2)", "match v:\n    case (a, b): s = a + b", "t = s"], 2, "t", [0, 1, 2]),
    "del and bind again": (["x = 1", "del x", "x = 2", "a = x"], 3, "a", [2, 3]),
    "star": (["xs = [1, 2, 3]", "a, *b = xs", "c = b"], 2, "c", [0, 1, 2]),
    "augmented": (["x = 1", "y = 2", "x += y", "a = x"], 3, "a", [0, 1, 2, 3]),
    "columns": (["import pandas as pd", "df = pd.DataFrame({'a': [1]})", "df['b'] = 1", "df['c'] = 2", "s = df['b'].sum()"], 4, "s", [0, 1, 2, 4]),
    "the whole table": (["import pandas as pd", "df = pd.DataFrame({'a': [1]})", "df['b'] = 1", "df.head()", "n = len(df)"], 4, "n", [0, 1, 2, 4]),
    "not in place": (["import pandas as pd", "df = pd.DataFrame({'a': [1]})", "df.dropna()", "df.drop(columns='a', inplace=True)", "e = df"], 4, "e", [0, 1, 3, 4]),
    "fitting": (["from sklearn.linear_model import Ridge", "m = Ridge()", "X = [[1]]; y = [1]", "m.fit(X, y)", "m.score(X, y)", "p = m.predict(X)"], 5, "p", [0, 1, 2, 3, 5]),
    "attributes": (["class C: pass", "o = C()", "o.a = C()", "o.a.b = 1", "o.z = 2", "v = o.a.b"], 5, "v", [0, 1, 2, 3, 5]),
    "import inside a function": (["def f():\n    import math\n    return math.pi", "a = f()"], 1, "a", [0, 1]),
    "seeds": (["import numpy as np", "np.random.seed(0)", "np.random.rand()", "u = 3", "a = np.random.rand()"], 4, "a", [0, 1, 2, 4]),
    "plots": (["import matplotlib.pyplot as plt", "x = [1]", "plt.plot(x)", "y = x"], 3, "y", [1, 3]),
    "the figure": (["import matplotlib.pyplot as plt", "plt.plot([1])\nplt.title('a')", "plt.savefig('a.png')"], 2, None, [0, 1, 2]),
    "files": (["open('a.txt', 'w').write('1')", "open('b.txt', 'w').write('1')", "a = open('a.txt').read()"], 2, "a", [0, 2]),
    "the active run": (["import nbmlops", "nbmlops.start_run()", "x = 1", "y = 2", "nbmlops.log_metric('x', x)"], 4, None, [0, 1, 2, 4]),
    "the active run by magics": (["%mlops start", "x = 1", "import nbmlops\nnbmlops.log_metric('x', x)"], 2, None, [0, 1, 2]),
    "a run's cell": (["x = 1", "%%mlops run\ny = x", "z = y"], 2, "z", [0, 1, 2]),
    "settings stay": (["import os", "os.environ['A'] = '1'", "x = 1"], 2, "x", [0, 1, 2]),
    "%time": (["x = 1", "%time y = x + 1", "a = y"], 2, "a", [0, 1, 2]),
    "shown before": (["x = 1", "x + 1", "y = _"], 2, "y", [0, 1, 2]),
    "an unknown function may change what it gets": (["from other import fix", "a = [1]", "fix(a)", "b = a"], 3, "b", [0, 1, 2, 3]),
    "top-level await": (["import asyncio", "async def f(): return k", "k = 1", "a = await f()"], 3, "a", [1, 2, 3]),
    "shell": (["x = 1", "!echo $x > out.txt", "t = open('out.txt').read()"], 2, "t", [0, 1, 2]),
    "random state of its own": (["import numpy as np", "rng = np.random.default_rng(0)", "rng.random()", "a = rng.random()"], 3, "a", [0, 1, 2, 3]),
    "apply calls it": (["import pandas as pd", "df = pd.DataFrame({'a': [1]})", "k = 2", "def f(v): return v * k", "s = df['a'].apply(f)"], 4, "s", [0, 1, 2, 3, 4]),
}  # fmt: skip


@pytest.mark.parametrize("name", SLICES)
def test_slices(name):
    sources, step, wanted, steps = SLICES[name]
    assert list(Dataflow.of(sources).behind(step, wanted).steps) == steps


VARIABLES = "abcd"
_name = st.sampled_from(VARIABLES)
_line = st.one_of(
    st.builds("{0} = [{1}]".format, _name, st.integers(0, 3)),
    st.builds("{0} = {1}".format, _name, _name),
    st.builds("{0} = {1}[:]".format, _name, _name),
    st.builds("{0} = [{1}, {2}]".format, _name, _name, _name),
    st.builds("{0} = {1} + {2}".format, _name, _name, _name),
    st.builds("{0} += {1}".format, _name, _name),
    st.builds("{0}.append({1})".format, _name, st.integers(0, 3)),
    st.builds("{0}.append(len({1}))".format, _name, _name),
    st.builds("{0}[0] = {1}".format, _name, st.integers(4, 6)),
    st.builds("{0}[0] = list({1})".format, _name, _name),
    st.builds("for i in {0}: {1} = [i]".format, _name, _name),
    st.builds("for i in {0}[:3]: {1}.append(1)".format, _name, _name),
    st.builds("if len({0}) > 1: {1} = {2}".format, _name, _name, _name),
    st.builds("{0} = [v for v in {1}]".format, _name, _name),
    st.builds("del {0}[0]".format, _name),
    st.builds("def f(v):\n    v.append(7)\n    return {0}".format, _name),
    st.builds("{0} = f({1})".format, _name, _name),
    st.builds("def f(v):\n    global {0}\n    if len(v) > 2: return v\n    {0} = [v]\n    return {1}".format, _name, _name),
)  # fmt: skip
_program = st.lists(st.lists(_line, min_size=1, max_size=2).map("\n".join), min_size=1, max_size=9)
START = ["a, b, c, d = [1], [2], [3], [4]", "def f(v): return v"]


def execute(sources):
    """The names after executing, or None where it fails or grows too large."""
    names = {}
    for source in sources:
        try:
            exec(compile(source, "cell", "exec"), names)
        except Exception:
            return None
        if any(len(repr(names.get(v))) > 2000 for v in VARIABLES):
            return None
    return {v: repr(names[v]) for v in VARIABLES if v in names}


@settings(max_examples=400, deadline=None)
@given(_program, _name)
def test_a_slice_alone_gives_the_same_value(program, name):
    sources = [*START, *program]
    whole = execute(sources)
    if whole is None:
        return
    behind = Dataflow.of(sources).behind(len(sources) - 1, name)
    alone = execute([sources[number] for number in behind.steps])
    assert alone is not None
    assert alone[name] == whole[name]


@pytest.mark.parametrize(
    "source",
    ["(" * 5000, "x = " + "[" * 300 + "]" * 300, "def f(:", "x = '" + "a" * 1_000_000 + "'", "\x00", "x = 1 +" * 3000 + "1",
     "-" * 20000 + "1", "\n".join(f"def f{i}(): return f{i + 1}() + f{i + 1}()" for i in range(40)) + "\nf0()",
     "x = " + "{'a': " * 80 + "1" + "}" * 80, "if 1:\n" + "".join(" " * i + "for a in b:\n" for i in range(1, 30)) + " " * 31 + "c = a",
     "%%%", "!", "%", "x = %", "lambda: (yield)", "x = " + ".a" * 3000, "x" + ".a" * 2500 + " = 1", "\ud800 = 1", "%run"],
)  # fmt: skip
def test_hostile_cells_neither_raise_nor_hang(source):
    began = time.monotonic()
    flow = Dataflow.of(["x = b = [1]", source, "y = x"])
    flow.behind(2, "y")
    assert time.monotonic() - began < 10
