"""Small programs run again and out of order: what really differs when executed is never called strongly valid."""

from __future__ import annotations

import contextlib
import functools
import io
import random

from nbmlops.notebook import verdict
from nbmlops.records import CellExecution

SETUP = """
import bisect, collections, functools, heapq, io, itertools, operator, random
random.seed(0)
a, b = [3, 1, 2], [[1], [2]]
d, n, o = {"k": [1]}, collections.Counter("ab"), io.StringIO()
h, g, t = iter([1, 2, 3, 4]), (v for v in (1, 2, 3)), "p q".split()
class C:
    total = 0
    def __init__(self): self.n, self.log = 0, []
    def up(self): self.n += 1; return self.n
    def get(self): self.n += 1; return self.n
    def __enter__(self): self.n += 1
    def __exit__(self, *e): self.n += 10
    def __add__(self, o): self.n += 1; return 1
    def __getitem__(self, k): self.n += 1; return k
    def __setitem__(self, k, v): self.log.append(k)
    def __len__(self): self.n += 1; return 2
    def __eq__(self, o): self.n += 1; return True
    def __hash__(self): return 1
    def __repr__(self): self.n += 1; return "C"
    def __call__(self): self.n += 1
    @property
    def p(self): self.n += 1; return self.n
    @p.setter
    def p(self, v): self.n += v
    @classmethod
    def make(cls): cls.total += 1
c = C()
cs, cd = [c, C()], {"c": c}
def gen():
    for v in (1, 2, 3):
        a.append(v)
        yield v
z = gen()
def counter():
    n = 0
    def up():
        nonlocal n
        n += 1
        return n
    return up
u = counter()
us = {"u": u}
@functools.cache
def cached(v): a.append(v); return v
def default(v=[]): v.append(1); return len(v)
x = 0
"""
STATEMENTS = r"""
a.append(1)
a = sorted(a)
a[0] = 7
a[0] += 1
e = a[:]; e.append(1)
e = a; e.append(1)
x = len(a)
for v in b: v.append(1)
for v in (a, t): v.append("z")
for i, v in enumerate(b): v.append(i)
for k, v in d.items(): v.append(1)
list(map(a.append, [1]))
m = map(lambda v: a.append(v), [1]); list(m)
m = (a.append(v) for v in [1]); 5 in m
sorted([2, 1], key=lambda v: a.append(v) or v)
functools.reduce(lambda s, v: s.append(v) or s, [1, 2], a)
functools.partial(a.append, 1)()
list.append(a, 1)
getattr(a, "append")(1)
e = [a][0]; e.append(1)
e = dict(q=a).get("q"); e.append(1)
e = d.copy(); e["k"].append(1)
globals()["a"].append(1)
eval("a.append(1)")
d["n"] = d.get("n", 0) + 1
d["m"] = 5
n.update("a")
n["a"] += 1
print("x", file=o)
x = next(h)
x = 2 in h
x = max(h, default=0)
x = list(zip(h, a))
x = sum(g)
x, *y = g
x = list(z)
t.append("r")
t = [v + "!" for v in t]
operator.iadd(a, [1])
operator.methodcaller("append", 1)(a)
bisect.insort(a, 1)
heapq.heappush(a, 1)
x = random.random()
x = sorted(a, key=lambda v: random.random())
x = [*map(lambda v: random.random(), a)]
x = [f() for f in (random.random, u)]
with c: pass
c + 1
c[0]
c["k"]
c[1] = 2
len(c)
c == 1
str(c)
f"{c}"
"%s" % c
print(cs)
c()
c.p
c.p = 2
setattr(c, "p", 2)
C.make()
C.total += 1
type(c).total += 1
c.n = 4
if c: x = 1
x = c in cs
{c: 1}
for v in cs: v.get()
for v in cs: v.n += 1
cs[0].get()
cd["c"].up()
[len(v) for v in cs]
list(map(C.up, cs))
e = c.up; e()
c.__dict__["n"] += 1
x = u()
x = us["u"]()
x = u.__call__()
x = [f() for f in us.values()]
x = cached(3)
x = default()
x = x + 1
x = 5
""".strip().splitlines()
READS = (
    "r = str((a, b, d, dict(n), t, o.getvalue(), x))",
    "r = (c.n, C.total, str(c.log))",
    "r = (x, next(h, None), next(g, None))",
    "r = (u(), random.random(), default())",
)


def _result(cells, order):
    names = {"__name__": "__main__"}
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            for cell in order:
                exec(_compiled(cells[cell]), names)
        except Exception as error:
            return error
    return names.get("r")


@functools.cache
def _compiled(text):
    return compile(text, "cell", "exec")


def _verdict(cells, order):
    document = {
        "cells": [{"id": str(i), "cell_type": "code", "source": text, "metadata": {}} for i, text in enumerate(cells)]
    }
    ran = [
        CellExecution(execution_id=str(i), session_id="s", number=i, source=cells[cell], cell_id=str(cell), count=i)
        for i, cell in enumerate(order, 1)
    ]
    return verdict.check(ran, document).verdict


def _programs():
    chance = random.Random(0)
    for statement in STATEMENTS:
        yield [SETUP, statement, chance.choice(READS)], [0, 1, 1, 2]
        yield [SETUP, chance.choice(READS), statement], [0, 2, 1]
        other, order = chance.choice(STATEMENTS), chance.choice(([0, 2, 1, 3], [0, 1, 2, 1, 3], [0, 1, 2, 2, 3]))
        yield [SETUP, statement, other, chance.choice(READS)], order


def test_what_differs_when_executed_is_never_called_strongly_valid():
    wrong = []
    for cells, order in _programs():
        ran = _result(cells, order)
        if (
            not isinstance(ran, Exception)
            and ran != _result(cells, sorted(set(order)))
            and _verdict(cells, order) == "strongly valid"
        ):
            wrong.append((cells[1:], order))
    assert wrong == []


RIDGES = "from sklearn.linear_model import Ridge\nms = [Ridge(), Ridge(2)]"
HEALTHY = [
    ["import pandas as pd\ndf = pd.DataFrame({'a': [1, 2]})", "df['r'] = df['a'] * 2", "r = df['r'].sum()"],
    ["y = [1, 2]\ndef compute(v): return [w * 2 for w in v]", "x = compute(y)", "x"],
    [RIDGES, "for m in ms: m.fit([[1], [2]], [1, 2])", "ms"],
    [RIDGES, "s = [m.fit([[1], [2]], [1, 2]) for m in ms]", "s"],
    ["a = [1, 2, 3]", "b = a[:2]; b.append(1)", "len(a), b"],
    ["import pandas as pd\na = pd.DataFrame({'v': [1]}); b = a.copy()", "for f in (a, b): f['c'] = 1", "a"],
    ["words = 'a b'.split()", "n = len(list(map(str.upper, words)))", "n"],
    ["def run(**settings):\n    settings['n'] = 1\n    return settings['n']", "x = run(**{'n': 2})", "x"],
]  # fmt: skip


def test_everyday_cells_run_again_are_strongly_valid():
    assert [_verdict(cells, [0, 1, 1, 2]) for cells in HEALTHY] == ["strongly valid"] * len(HEALTHY)
