"""Would a clean run give what was recorded?"""

# ruff: noqa: E501 - a small notebook on each line

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


S, W, BAD, U = "strongly valid", "weakly valid", "invalid", "unknown"
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
    "twice with effect": (["x = 0", "x += 1", "x"], [0, 1, 1, 2], BAD, ["repeated"]),
    "append twice": (["x = []", "x.append(1)", "x"], [0, 1, 1, 2], BAD, ["repeated"]),
    "twice with effect, then made anew": (["x = 0", "x += 1", "x"], [0, 1, 1, 0, 1, 2], S, []),
    "edited": (["x = 1", "x"], [(0, "x = 2"), 1], BAD, ["edited"]),
    "edited and run again": (["x = 1", "x"], [(0, "x = 2"), 1, 0, 1], S, []),
    "edited and run again, the user not": (["x = 1", "y = x"], [(0, "x = 2"), 1, 0], BAD, ["edited"]),
    "deleted": (["y = x"], ["x = 1", 0], BAD, ["deleted"]),
    "a deleted import": (["y = math.pi"], ["import math", 0], BAD, ["import"]),
    "used before its definition": (["y = x", "x = 1"], [1, 0], BAD, ["order"]),
    "changed by a later cell": (["x = [1]", "y = len(x)", "x.append(2)"], [0, 2, 1], BAD, ["order"]),
    "changed through an alias": (["x = [1]", "z = x", "y = len(x)", "z.append(2)"], [0, 1, 3, 2], BAD, ["order"]),
    "changed by a function": (["x = [1]", "def f():\n    x.append(1)", "y = len(x)", "f()"], [0, 1, 3, 2], BAD, ["order"]),
    "ran before a change": (["x = 1", "x = 2", "y = x"], [0, 2, 1], BAD, ["order"]),
    "failed": (["x = 1", "boom"], [0, 1], BAD, ["error"]),
    "failed, mended": (["x = 1", "y = x"], [0, (1, "y = xx"), 1], S, []),
    "never ran, but matters": (["x = 1", "x = 2", "y = x"], [0, 2], BAD, ["unrun"]),
    "never ran and is broken": (["x = 1", "y = ("], [0], BAD, ["error"]),
    "columns set again": ([PANDAS, TABLE, "df['c'] = df['a'] * 2", "df"], [0, 1, 2, 2, 3], S, []),
    "columns by attribute": ([PANDAS, TABLE, "df['c'] = df.a * 2", "df"], [0, 1, 2, 2, 3], S, []),
    "a column from itself": ([PANDAS, TABLE, "df['a'] = df['a'] * 2", "df"], [0, 1, 2, 2, 3], BAD, ["repeated"]),
    "rows left out again": ([PANDAS, TABLE, "df = df.dropna()\ndf = df[df.a > 0]", "df"], [0, 1, 2, 2, 3], S, []),
    "in place, again": ([PANDAS, TABLE, "df.dropna(inplace=True)", "df"], [0, 1, 2, 2, 3], S, []),
    "dropped in place before": ([PANDAS, TABLE, "n = len(df)", "df.dropna(inplace=True)"], [0, 1, 3, 2], BAD, ["order"]),
    "fitted again": (["from sklearn.linear_model import Ridge", "m = Ridge()", "m.fit([[1]], [1])", "m.coef_"], [0, 1, 2, 2, 3], S, []),
    "seeded and drawn twice": (["import numpy as np", "np.random.seed(0)", "a = np.random.rand()", "a"], [0, 1, 2, 2, 3], BAD, ["repeated"]),
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
    "a helper redefined after use": (["def g(): return 1", "y = g()", "def g(): return 2", "z = g()"], [0, 1, 2, 3, 1], BAD, ["order"]),
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


PANDAS_NUMPY = "import pandas as pd\nimport numpy as np"
MIXED = "df = pd.DataFrame({'a': [1, 2], 'b': [3, None], 'd': ['x', 'y']})"
# What notebooks do every day, run again or in another order: name, cells, order.
HEALTHY = [
 ("fillna col again",[PANDAS_NUMPY, MIXED, "df['b'] = df['b'].fillna(0)","df"],[0,1,2,2,3]),
 ("to_datetime again",[PANDAS_NUMPY, MIXED, "df['d'] = pd.to_datetime(df['d'])","df"],[0,1,2,2,3]),
 ("loop astype",[PANDAS_NUMPY, MIXED, "for c in ['a','d']:\n    df[c] = df[c].astype('category')","df"],[0,1,2,2,3]),
 ("rename cols",[PANDAS_NUMPY, MIXED, "df.columns = [c.upper() for c in df.columns]","df"],[0,1,2,3]),
 ("set cols twice",[PANDAS_NUMPY, MIXED, "df.columns = ['p','q','r']","df"],[0,1,2,2,3]),
 ("loc twice",[PANDAS_NUMPY, MIXED, "df.loc[df['a'] > 1, 'b'] = 0","df"],[0,1,2,2,3]),
 ("map col",[PANDAS_NUMPY, MIXED, "df['e'] = df['d'].map({'x': 1})","df"],[0,1,2,2,3]),
 ("apply row",[PANDAS_NUMPY, MIXED, "df['e'] = df.apply(lambda r: r['a'] + 1, axis=1)","df"],[0,1,2,3]),
 ("assign",[PANDAS_NUMPY, MIXED, "df = df.assign(z=1)","df"],[0,1,2,2,3]),
 ("plot twice",[PANDAS_NUMPY, MIXED, "df.plot()","df['a'].hist()","df"],[0,1,2,3,2,3,4]),
 ("explore then define",[PANDAS_NUMPY, MIXED, "df.head()","df['x'] = 1","df.head()"],[0,1,2,3,4]),
 ("cell rerun of import",[PANDAS_NUMPY, MIXED, "df"],[0,1,0,2]),
 ("sys.path twice",["import sys\nsys.path.append('..')","x = 1","x"],[0,0,1,2]),
 ("pd.set_option after",[PANDAS_NUMPY, MIXED, "pd.set_option('display.max_rows', 5)","df"],[0,2,1,3]),
 ("matplotlib",["%matplotlib inline\nimport matplotlib.pyplot as plt","x=[1,2]","plt.plot(x)\nplt.title('a')\nplt.show()","y = x"],[0,1,2,2,3]),
 ("fig ax",["import matplotlib.pyplot as plt","x=[1,2]","fig, ax = plt.subplots(1, 2)\nax[0].plot(x)\nax[1].hist(x)\nfig.tight_layout()","y = x"],[0,1,2,2,3]),
 ("cv",["from sklearn.model_selection import cross_val_score\nfrom sklearn.linear_model import Ridge","X=[[1],[2],[3]]\ny=[1,2,3]","s = cross_val_score(Ridge(), X, y, cv=3)","s.mean()"],[0,1,2,2,3]),
 ("pipeline",["from sklearn.pipeline import make_pipeline\nfrom sklearn.preprocessing import StandardScaler\nfrom sklearn.linear_model import Ridge","X=[[1],[2],[3]]\ny=[1,2,3]","m = make_pipeline(StandardScaler(), Ridge())","m.fit(X, y)","m.score(X, y)"],[0,1,2,3,3,4]),
 ("fit in one cell",["from sklearn.linear_model import Ridge","X=[[1],[2],[3]]\ny=[1,2,3]","m = Ridge()\nm.fit(X, y)\nprint(m.score(X, y))"],[0,1,2,2,2]),
 ("scaler",["from sklearn.preprocessing import StandardScaler","X=[[1],[2],[3]]","sc = StandardScaler()\nXs = sc.fit_transform(X)","Xs.mean()"],[0,1,2,2,3]),
 ("grid",["from sklearn.model_selection import GridSearchCV\nfrom sklearn.linear_model import Ridge","X=[[1],[2],[3]]\ny=[1,2,3]","g = GridSearchCV(Ridge(), {'alpha': [1, 2]}, cv=3)\ng.fit(X, y)\ng.best_params_"],[0,1,2,2]),
 ("rng in cell",["import numpy as np","rng = np.random.default_rng(0)\nx = rng.normal(size=3)","x"],[0,1,1,2]),
 ("torch seed in cell",["import torch","torch.manual_seed(0)\nw = torch.randn(3)","w"],[0,1,1,2]),
 ("groupby",[PANDAS_NUMPY, MIXED, "g = df.groupby('d')['a'].mean()\ng","df['m'] = df.groupby('d')['a'].transform('mean')","df"],[0,1,2,3,3,4]),
 ("merge",[PANDAS_NUMPY, MIXED, "e = df.merge(df, on='a')","e"],[0,1,2,2,3]),
 ("error mended",[PANDAS_NUMPY, MIXED, "df['x'] = df['a'] / df['b']","df"],[0,1,(2,"df['x'] = df['a'] / df['zz']"),2,3]),
 ("run again after end",["import nbmlops","with nbmlops.start_run():\n    nbmlops.log_metric('a', 1)","x = 1"],[0,1,1,2]),
 ("log cells",["import nbmlops","nbmlops.start_run()","nbmlops.log_metric('a', 1)","nbmlops.end_run()"],[0,1,2,3,1,2,3]),
 ("function rerun",["def f(x):\n    return x + 1","a = f(1)","a"],[0,1,0,1,2]),
 ("class rerun",["class A:\n    def __init__(self): self.v = 1\n    def get(self): return self.v","a = A()","a.get()"],[0,1,2,0,1,2]),
 ("set sorted",["s = sorted(set(['a','b']))","s"],[0,1]),
 ("%%time",["%%time\nx = 1","x"],[0,1,0,1]),
 ("Path read own",["from pathlib import Path\nPath('o').mkdir(exist_ok=True)","Path('o/a.txt').write_text('x')","t = Path('o/a.txt').read_text()"],[0,1,2,2]),
 ("drop cols",[PANDAS_NUMPY, MIXED, "df = df.drop(columns=['b'])","X = df[['a']]","X"],[0,1,2,3,4,3,4]),
 ("train split again",[PANDAS_NUMPY + "\nfrom sklearn.model_selection import train_test_split", MIXED, "a, b = train_test_split(df, random_state=1)","a.shape"],[0,1,2,2,3]),
 ("columns then explore again",[PANDAS_NUMPY, MIXED, "df.describe()","df['r'] = df['a'] * 2"],[0,1,2,3]),
 ("dict config",["cfg = {'lr': 1}","cfg['lr'] = 2","cfg['lr']"],[0,1,1,2]),
 ("list slices",["x=[1,2,3]","y = x[1:]","y"],[0,1,1,2]),
 ("display",["from IPython.display import display","x=1","display(x)"],[0,1,2,2]),
 ("tqdm",["from tqdm import tqdm","t = 0\nfor i in tqdm(range(3)):\n    t += i","t"],[0,1,1,2]),
 ("warnings",["import warnings\nwarnings.filterwarnings('ignore')","x = 1","x"],[0,1,0,2]),
 ("seaborn",["import seaborn as sns\nsns.set_theme()\nimport pandas as pd", MIXED, "sns.histplot(df['a'])","df"],[0,1,2,2,3]),
]  # fmt: skip
SICK = [
 ("df.describe after",[PANDAS_NUMPY, MIXED, "df.describe()","df['r'] = df['a'] * 2"],[0,1,3,2]),
 ("unseeded forest",["from sklearn.ensemble import RandomForestClassifier as R","X=[[1],[2]]\ny=[0,1]","m = R().fit(X, y)","m.score(X,y)"],[0,1,2,3]),
 ("warm", ["from sklearn.linear_model import SGDClassifier","m = SGDClassifier(random_state=0)","X=[[1],[2]]\ny=[0,1]","m.partial_fit(X, y, classes=[0,1])","m.coef_"],[0,1,2,3,3,4]),
 ("warm_start", ["from sklearn.linear_model import SGDClassifier","m = SGDClassifier(random_state=0, warm_start=True)","X=[[1],[2]]\ny=[0,1]","m.fit(X, y)","m.coef_"],[0,1,2,3,3,4]),
 ("RandomState shared", ["import numpy as np\nfrom sklearn.model_selection import train_test_split as t","r = np.random.RandomState(0)","a, b = t([1,2,3], random_state=r)","a"],[0,1,2,2,3]),
 ("keras", ["from tensorflow import keras","m = keras.Sequential()","m.fit([1],[1])","m.evaluate([1],[1])"],[0,1,2,2,3]),
 ("generator", ["g = iter([1,2,3])","a = next(g)","a"],[0,1,1,2]),
 ("genexp consumed", ["g = (i for i in [1,2,3])","a = sum(g)","a"],[0,1,1,2]),
 ("csv reader consumed", ["f = open('x.txt')","a = f.read()","a"],[0,1,1,2]),
 ("zip consumed", ["z = zip([1],[2])","a = list(z)","a"],[0,1,1,2]),
 ("map consumed loop", ["z = map(str,[1,2])","for q in z:\n    print(q)","x = 1"],[0,1,1,2]),
 ("itertools.count", ["import itertools\nc = itertools.count()","a = next(c)","a"],[0,1,1,2]),
 ("pop", ["x = [1,2,3]","y = x.pop()","y"],[0,1,1,2]),
 ("deque", ["from collections import deque\nd = deque([1])","d.append(2)","len(d)"],[0,1,1,2]),
 ("defaultdict", ["from collections import defaultdict\nd = defaultdict(list)","d['a'].append(1)","d"],[0,1,1,2]),
 ("counter", ["from collections import Counter\nc = Counter()","c['a'] += 1","c"],[0,1,1,2]),
 ("setdefault append", ["d = {}","d.setdefault('a', []).append(1)","d"],[0,1,1,2]),
 ("class attr counter", ["class A:\n    n = 0\n    def __init__(self):\n        A.n += 1","a = A()","A.n"],[0,1,1,2]),
 ("property lazily", ["class A:\n    def __init__(self): self.c = 0\n    @property\n    def v(self):\n        self.c += 1\n        return self.c","a = A()","b = a.v","b"],[0,1,2,2,3]),
 ("lru_cache", ["import functools\nk = 1\n@functools.lru_cache\ndef f(): return k","f()","k = 2","f()"],[0,1,2,3,1]),
 ("partial", ["from functools import partial\ndef f(l, v): l.append(v)\nx = []","g = partial(f, x)","g(1)","len(x)"],[0,1,2,2,3]),
 ("exec", ["x = 1","exec('x += 1')","x"],[0,1,1,2]),
 ("plus dict", ["d = {'n': 0}","d['n'] += 1","d['n']"],[0,1,1,2]),
 ("attr", ["class C: pass\nc = C()\nc.n = 0","c.n += 1","c.n"],[0,1,1,2]),
 ("simple ns", ["from types import SimpleNamespace\nc = SimpleNamespace(n=0)","c.n += 1","c.n"],[0,1,1,2]),
 ("np inplace ufunc", ["import numpy as np\na = np.ones(2)","np.add(a, 1, out=a)","a"],[0,1,1,2]),
 ("np matrix rows", ["import numpy as np\na = np.ones((2,2))","for r in a:\n    r += 1","a.sum()"],[0,1,1,2]),
 ("T view", ["import numpy as np\na = np.ones((2,2))","b = a.T","b += 1","a.sum()"],[0,1,2,2,3]),
 ("df.values", [PANDAS_NUMPY, "df = pd.DataFrame({'a': [1., 2.]})","v = df.values","v *= 2","df['a'].sum()"],[0,1,2,3,3,4]),
 ("insert", [PANDAS_NUMPY, MIXED, "df.insert(0, 'k', len(df.columns))","df"],[0, 1, 3, 2]),
 ("df.drop 1st row", [PANDAS_NUMPY, MIXED, "df = df.iloc[1:]","len(df)"],[0,1,2,2,3]),
 ("df head", [PANDAS_NUMPY, MIXED, "df = df.drop(df.index[0])","len(df)"],[0,1,2,2,3]),
 ("df filter mean", [PANDAS_NUMPY, MIXED, "df = df[df.a >= df.a.mean()]","len(df)"],[0,1,2,2,3]),
 ("concat self", [PANDAS_NUMPY, MIXED, "df = pd.concat([df, df])","len(df)"],[0,1,2,2,3]),
 ("df.append", [PANDAS_NUMPY, MIXED, "df.loc[len(df)] = [1,2,'z']","len(df)"],[0,1,2,2,3]),
 ("random stdlib", ["import random\nrandom.seed(1)","a = random.choice([1,2,3])","a"],[0,1,1,2]),
 ("sample seeded", [PANDAS_NUMPY + "\nnp.random.seed(0)",MIXED, "s = df.sample(1)","s"],[0,1,2,2,3]),
 ("hash order",["s = list({'a','b'})","s"],[0,1]),
 ("file appended",["open('a.txt','w').write('x')","with open('a.txt','a') as f:\n    f.write('y')","t = open('a.txt').read()"],[0,1,1,2]),
 ("seed later", ["import numpy as np","a = np.random.rand()","np.random.seed(0)","a"],[0,2,1,3]),
 ("nonlocal", ["def make():\n    n = 0\n    def up():\n        nonlocal n\n        n += 1\n        return n\n    return up","u = make()","a = u()","a"],[0,1,2,2,3]),
 ("async", ["async def f():\n    x.append(1)\nx = []","await f()","len(x)"],[0,1,1,2]),
 ("walrus", ["n = 0","print(n := n + 1)","n"],[0,1,1,2]),
 ("del key", ["d = {'a': 1, 'b': 2}","del d['a']","len(d)"],[0,2,1][:3]),
 ("os.environ", ["import os\nv = os.environ.get('A')","v"],[0,1]),
 ("glob", ["import glob\nf = glob.glob('*.csv')","f"],[0,1]),
 ("perf_counter", ["import time\nt = time.perf_counter()","t"],[0,1]),
 ("pip", ["%pip install x","x = 1"],[0,1]),
 ("uuid", ["import uuid\nu = uuid.uuid4()","u"],[0,1]),
 ("id", ["x = object()\nprint(id(x))"],[0]),
 ("input", ["x = input()","x"],[0,1]),
 ("sort_values inplace", [PANDAS_NUMPY, MIXED, "first = df['a'].iloc[0]","df.sort_values('a', ascending=False, inplace=True)"],[0,1,3,2]),
 ("numpy rand helper", ["import numpy as np\nnp.random.seed(0)","def f(): return np.random.rand()","a = f()","a"],[0,1,2,2,3]),
 ("from import shuffle", ["from random import shuffle, seed\nseed(0)\nx=[1,2,3]","shuffle(x)","x"],[0,1,1,2]),
 ("df apply append", [PANDAS_NUMPY, MIXED, "out=[]","df['a'].apply(lambda v: out.append(v))","len(out)"],[0,1,2,3,3,4]),
 ("list comp append", ["out=[]","[out.append(i) for i in range(2)]","len(out)"],[0,1,1,2]),
 ("star update", ["a=[1]","b=[*a]\na.extend(b)","len(a)"],[0,1,1,2]),
 ("swap", ["a, b = 1, 2","a, b = b, a","a"],[0,1,1,2]),
 ("%%capture", ["x=[]","%%capture out\nx.append(1)","len(x)"],[0,1,1,2]),
]  # fmt: skip


@pytest.mark.parametrize(("sources", "order"), [case[1:] for case in HEALTHY], ids=[case[0] for case in HEALTHY])
def test_healthy(sources, order):
    doc = document(*sources)
    assert verdict.check(history(doc, order), doc).verdict == S


@pytest.mark.parametrize(("sources", "order"), [case[1:] for case in SICK], ids=[case[0] for case in SICK])
def test_sick(sources, order):
    doc = document(*sources)
    assert verdict.check(history(doc, order), doc).verdict != S


def test_words_name_the_cells():
    doc = document("x = [1]", "y = len(x)", "x.append(2)")
    (found,) = verdict.check(history(doc, [0, 2, 1]), doc).findings
    assert found.what == "[3] used `x` as [2] had set or changed it; in a clean run [2] comes after [3]."
    assert found.mend == "Move [2] above [3], or restart the kernel and run all cells."


@pytest.mark.parametrize(
    ("cell", "kind", "mend"),
    [
        ("%mlops promote churn@3 --to staging --reason x", "act", "leave it to a notebook"),
        ("import nbmlops\nnbmlops.promote('m@1', 'staging', 'r')", "act", "leave it to a notebook"),
        ("import nbmlops as mlops\nmlops.search_runs()", "store", "such as run:ID"),
        ("%mlops runs", "store", "such as run:ID"),
    ],
)
def test_what_acts_or_asks_the_store_has_its_own_advice(cell, kind, mend):
    found = verdict.check_document(document(cell))
    (finding,) = [f for f in found.findings if f.kind == kind]
    assert mend in finding.mend


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
    assert verdict.check(ran, doc, saved_at=1.5).verdict == BAD  # y = x used the x of then
    assert verdict.check(ran[:2], doc, saved_at=1.5).verdict == S
    assert verdict.check(ran[:1], doc, saved_at=1.5).verdict == S


def test_without_a_document():
    doc = document("x = 0", "x += 1")
    assert verdict.check(history(doc, [0, 1])).verdict == S
    assert verdict.check(history(doc, [0, 1, 1])).verdict == BAD
    nameless = [CellExecution(str(n), "s", n, source) for n, source in enumerate(["x = 0", "x += 1", "x += 1"], 1)]
    assert verdict.check(nameless).verdict == S


def test_saved_notebooks():
    doc = document("x = 0", "x += 1", "y = x")
    assert verdict.check_document(doc).verdict == S
    for counts, expected in (([1, 2, 3], S), ([1, 3, 2], BAD), ([1, 3, 4], U), ([2, 3, 4], U)):
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
