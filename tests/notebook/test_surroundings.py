"""What notebooks rest on besides themselves, and settings of libraries and of the process that vanished."""

# ruff: noqa: E501 - a cell is one text

from __future__ import annotations

import pytest

from nbmlops.notebook import verdict
from nbmlops.records.cells import CellExecution


def said(cells, history=None):
    """The verdict; in the history a number is a cell of the notebook, a text one that was deleted."""
    raw = [{"cell_type": "code", "id": f"c{n}", "source": s, "metadata": {}} for n, s in enumerate(cells)]
    ran = [
        CellExecution(
            str(number),
            "",
            number,
            cells[one] if isinstance(one, int) else one,
            cell_id=f"c{one}" if isinstance(one, int) else f"gone{number}",
            count=number,
            status="ok",
        )
        for number, one in enumerate(range(len(cells)) if history is None else history, 1)
    ]
    return verdict.check(ran, {"cells": raw}).verdict


WEAK = [
    ["import uuid\nx=str(uuid.uuid4())"],
    ["import os\nprint(os.getpid())"],
    ["import tempfile\nprint(tempfile.mkdtemp())"],
    ["import sys\nprint(sys.version)"],
    ["import sys\nv = sys.version_info >= (3, 8)"],
    ["from sys import version", "print(version)"],
    ["import platform\nprint(platform.platform())"],
    ["from pathlib import Path\np=Path('~/x').expanduser()"],
    ["import os.path\np=os.path.expanduser('~')"],
    ["import getpass\nu=getpass.getuser()"],
    ["import os\nu=dict(**os.environ)"],
    ["import os\nu=dict(os.environ)"],
    ["import os\nu='HOME' in os.environ"],
    ["import os\nfor k in os.environ: print(k)"],
    ["import os\nos.environ"],
    ["from os import environ\nh = environ['HOME']"],
    ["from os import environ\nh = environ.get('HOME')"],
    ["import os\nh=os.environ.get('HOME', '')"],
    ["from os import getcwd\nprint(getcwd())"],
    ["import secrets\nt=secrets.token_hex(8)"],
    ["import numpy as np\nrng=np.random.default_rng()\nx=rng.normal()"],
    ["import numpy as np\nrng=np.random.default_rng(seed=None)\nx=rng.normal()"],
    [
        "import numpy as np\nfrom numpy.random import default_rng\nrng=default_rng()",
        "from sklearn.ensemble import RandomForestClassifier\nm=RandomForestClassifier(random_state=rng.integers(5))",
    ],
    ["import torch\nx=torch.rand(3)"],
    ["import pandas as pd\ndf=pd.DataFrame({'a':[1,2]})", "d=df.sample(frac=1)"],
    ["import pandas as pd\ndf=pd.DataFrame({'a':[1,2]})", "d=df.sample(frac=1, random_state=None)"],
    ["import pandas as pd\ndf=pd.DataFrame({'a':[1,2]})", "d=df.groupby('a').sample(n=1)"],
    ["import pandas as pd\ndf=pd.DataFrame({'a':[1,2]})", "d=df['a'].sample(2)"],
    [
        "from sklearn.model_selection import cross_val_score, KFold\nfrom sklearn.linear_model import LogisticRegression\nfrom sklearn.datasets import load_iris\nX,y=load_iris(return_X_y=True)",
        "s=cross_val_score(LogisticRegression(),X,y,cv=KFold(3,shuffle=True))",
    ],
    [
        "from sklearn.inspection import permutation_importance",
        "def f(m,X,y): return permutation_importance(m,X,y)",
        "from sklearn.linear_model import LinearRegression\nm=LinearRegression().fit([[1],[2]],[1,2])\nr=f(m,[[1],[2]],[1,2])",
    ],
    ["from sklearn.datasets import make_classification\nX,y=make_classification()"],
    ["from sklearn.datasets import make_classification as mc\nX,y=mc(n_samples=9)"],
    ["import sklearn.ensemble as e\nm=e.RandomForestClassifier()\nm.fit([[1],[2]],[0,1])"],
    [
        "from sklearn.ensemble import RandomForestClassifier as RF\nmodels={'a':RF}",
        "m=models['a'](n_estimators=2).fit([[1],[2]],[0,1])",
    ],
    [
        "from functools import partial\nfrom sklearn.ensemble import RandomForestClassifier as RF\nmk=partial(RF,n_estimators=2)",
        "m=mk().fit([[1],[2]],[0,1])",
    ],
    [
        "import sklearn.ensemble as e\nmodels=[e.RandomForestClassifier]",
        "m=models[0](n_estimators=2).fit([[1],[2]],[0,1])",
    ],
    [
        "from sklearn.ensemble import RandomForestClassifier as RF\ndef build(kind, **kw):\n    return kind(**kw)",
        "m=build(RF, n_estimators=2).fit([[1],[2]],[0,1])",
    ],
    [
        "from sklearn.ensemble import RandomForestClassifier as RF\ndef build(seed=None, n=1):\n    return RF(n_estimators=n, random_state=seed)",
        "m=build(n=2).fit([[1],[2]],[0,1])",
    ],
    [
        "from sklearn.ensemble import RandomForestClassifier as RF\nclass T:\n    def __init__(self, seed=None):\n        self.m=RF(random_state=seed)\n    def go(self):\n        return self.m.fit([[1],[2]],[0,1])",
        "t=T().go()",
    ],
    [
        "from sklearn.pipeline import make_pipeline\nfrom sklearn.ensemble import RandomForestClassifier as RF\np=make_pipeline(RF())",
        "p.fit([[1],[2]],[0,1])",
    ],
    [
        "from sklearn.ensemble import VotingClassifier, RandomForestClassifier as RF\np=VotingClassifier([('a',RF())])",
        "p.fit([[1],[2]],[0,1])",
    ],
    [
        "seed=None",
        "from sklearn.model_selection import train_test_split\na,b=train_test_split([1,2,3],random_state=seed)",
    ],
    ["s={'a','b'}", "print(s)"],
    ["s={'a','b'}", "l=[*s]"],
    ["s={'a','b'}", "x=next(iter(s))"],
    ["s={'a','b'}", "t=f'{s}'"],
    ["s=set('abc')", "for c in s: print(c)"],
    ["s=set('abc')", "a,b,c=s"],
    ["s=frozenset('abc')", "l=list(s)"],
    ["s={c for c in 'abc'}", "l=list(s)"],
    ["s={'a'}|{'b'}", "l=tuple(s)"],
    ["s={'a'}.union({'b'})", "l=tuple(s)"],
    ["s={'a','b'}", "l=dict.fromkeys(s)"],
    ["s={'a','b'}", "import pandas as pd\nd=pd.Series(list(s))"],
    ["s={'a','b'}", "x=s.pop()"],
    ["s={'a','b'}", "x=','.join(s)"],
    ["s={'a','b'}", "x=[i for i in enumerate(s)]"],
    ["d={'x':{'a','b'}}", "x=list(d['x'])"],
    ["def f(): return {'a','b'}", "x=list(f())"],
    ["s={'a','bb','cc'}", "x=sorted(s,key=len)"],
    ["s={'a','b'}", "d={k:i for i,k in enumerate(s)}"],
    ["s={'a','b'}", "l=[]\nl.extend(s)"],
    ["s={'a','b'}", "l=[]\nl+=s"],
    ["s={'a','b'}", "print(*s)"],
    ["s={'a','b'}", "print('x', s)"],
    ["import json\ns={'a','b'}", "t=str(s)"],
    ["s={'a','b'}", "print(f'{s!r}')"],
    ["s={'a','b'}", "print('%s' % s)"],
    ["s={'a','b'}", "print('{}'.format(s))"],
    ["s={'a','b'}", "l=list(map(str.upper, s))"],
    ["s={'a','b'}", "l=list(zip(s, [1,2]))"],
    ["s={'a','b'}", "print([s])"],
    ["h=hash('a')"],
    ["def f(t): return hash(t)", "x=f('q')"],
    ["x=list(map(hash, ['a']))"],
    ["class A: pass", "a=A()", "print(a)"],
    ["class A: pass", "a=A()", "a"],
    ["def f(): pass", "print(f)"],
    ["x=id([])"],
    ["import time\nt=time.perf_counter()"],
    ["from time import perf_counter\nt=perf_counter()"],
    ["from timeit import default_timer as timer\nt=timer()"],
    ["import timeit\nt=timeit.timeit('1')"],
    ["from datetime import datetime\nt=datetime.now()"],
    [
        "from concurrent.futures import ThreadPoolExecutor, as_completed\nout=[]\nwith ThreadPoolExecutor() as e:\n    for f in as_completed([e.submit(abs,1)]): out.append(f.result())"
    ],
    ["import threading\nt=threading.Thread(target=print)\nt.start()"],
    ["import random\nx=random.random()"],
    ["import random\nx=sorted([1,2],key=lambda v: random.random())"],
    ["from random import shuffle\nl=[1,2]\nshuffle(l)"],
    ["import scipy.stats as st\nx=st.norm(0,1).rvs(3)"],
    ["from scipy import stats\nx=stats.norm.rvs(size=3)"],
    ["%env HOME"],
    ["%env"],
    ["x = !ls"],
    ["x=%timeit -o 1"],
    ["import torch\nd='cuda' if torch.cuda.is_available() else 'cpu'"],
]
STRONG = [
    ["import os\nos.environ['A']='1'", "x=os.environ['A']"],
    ["import os\nos.environ['A']='1'", "x=os.getenv('A')"],
    ["%env A=1", "import os\nx=os.environ['A']"],
    [
        "opts=dict(random_state=0)",
        "from sklearn.ensemble import RandomForestClassifier as RF\nm=RF(**opts).fit([[1],[2]],[0,1])",
    ],
    ["s={'a','b'}", "print(len(s), sorted(s), 'a' in s)"],
    ["s={1,2,3}", "print(s)"],
    ["s={1,2,3}", "l=list(s)"],
    ["x=hash(3)"],
    ["import pandas as pd\npd.set_option('display.max_columns', 5)", "df=pd.DataFrame({'a':[1.5]})", "print(df)"],
    ["from sklearn.linear_model import LogisticRegression as L\nm=L(solver='lbfgs').fit([[1],[2]],[0,1])"],
    [
        "from sklearn.ensemble import RandomForestClassifier as RF\nmodels=[RF]",
        "ms=[k(random_state=0) for k in models]",
    ],
]
SICK = [
    (["import pandas as pd", "df=pd.DataFrame({'a':[1.5]})", "print(df)"], [0, "pd.options.display.precision=1", 1, 2]),
    (["import pandas as pd", "df=pd.DataFrame({'a':[1.5]})", "df"], [0, "pd.set_option('display.max_rows',1)", 1, 2]),
    (
        ["import pandas as pd", "df=pd.DataFrame({'a':[1.5]})", "df.head()"],
        [0, "pd.options.display.float_format='{:.1f}'.format", 1, 2],
    ),
    (["import pandas as pd", "df=pd.DataFrame({'a':[1.5]})", "t=str(df)"], [0, "pd.options.display.precision=1", 1, 2]),
    (["import pandas as pd", "df=pd.DataFrame({'a':[1.5]})", "t=f'{df}'"], [0, "pd.options.display.precision=1", 1, 2]),
    (
        ["import pandas as pd", "df=pd.DataFrame({'a':[1.5]})", "t=df.to_string()"],
        [0, "pd.options.display.precision=1", 1, 2],
    ),
    (
        ["import pandas as pd", "df=pd.DataFrame({'a':[1.5]})", "t=repr([df])"],
        [0, "pd.options.display.precision=1", 1, 2],
    ),
    (
        ["import pandas as pd", "df=pd.DataFrame({'a':[1.5]})", "t='%s' % df"],
        [0, "pd.options.display.precision=1", 1, 2],
    ),
    (
        ["import pandas as pd", "df=pd.DataFrame({'a':[1.5]})", "t='{}'.format(df)"],
        [0, "pd.options.display.precision=1", 1, 2],
    ),
    (
        ["import pandas as pd", "df=pd.DataFrame({'a':[1.5]})", "print('a', df)"],
        [0, "%config InlineBackend.x=1\npd.options.display.precision=1", 1, 2],
    ),
    (
        ["import pandas as pd", "pd.set_option('display.precision',2)", "df=pd.DataFrame({'a':[1.5]})", "print(df)"],
        [0, 2, 3, 1],
    ),
    (
        ["import pandas as pd", "df=pd.DataFrame({'a':[1.5]})", "print(df)", "pd.set_option('display.precision',2)"],
        [0, 1, 3, 2],
    ),
    (["import numpy as np", "a=np.array([1/3])", "print(a)"], [0, "np.set_printoptions(precision=1)", 1, 2]),
    (["import numpy as np", "a=np.array([1/3])", "a"], [0, "%precision 2", 1, 2]),
    (["x=[1/3]", "x"], ["%precision 2", 0, 1]),
    (["import warnings", "warnings.warn('a')"], [0, "warnings.simplefilter('ignore')", 1]),
    (["import warnings", "import numpy as np\nx=np.log(0)"], [0, "warnings.filterwarnings('ignore')", 1]),
    (["import numpy as np", "x=np.log(np.array([0.]))"], [0, "np.seterr(all='raise')", 1]),
    (["import locale", "t=locale.format_string('%d', 1)"], [0, "locale.setlocale(locale.LC_ALL,'')", 1]),
    (["import sys", "import helper\nx=helper.a"], [0, "sys.path.append('x')", 1]),
    (["import sys", "import helper\nx=helper.a"], [0, "sys.path.insert(0,'x')", 1]),
    (["import random", "x=random.random()"], [0, "random.seed(0)", 1]),
    (["import numpy as np", "x=np.random.rand()"], [0, "np.random.seed(0)", 1]),
    (["import logging", "logging.info('a')"], [0, "logging.basicConfig(level=10)", 1]),
    (["import logging\nlog=logging.getLogger('a')", "log.info('a')"], [0, "log.setLevel(10)", 1]),
    (["import matplotlib.pyplot as plt", "plt.plot([1])"], [0, "plt.style.use('ggplot')", 1]),
    (["import matplotlib.pyplot as plt", "plt.plot([1])"], [0, "plt.rcParams['figure.figsize']=(1,1)", 1]),
    (
        ["import matplotlib.pyplot as plt\nfig,ax=plt.subplots()", "ax.plot([1])"],
        ["import seaborn as sns\nsns.set_theme()", 0, 1],
    ),
    (
        ["import pandas as pd\ndf=pd.DataFrame({'a':[1]})", "df.plot()"],
        ["import seaborn as sns\nsns.set_theme()", 0, 1],
    ),
    (["import os", "x=os.environ['A']"], [0, "os.environ['A']='1'", 1]),
    (["import os", "x=os.getenv('A')"], [0, "os.environ['A']='1'", 1]),
    (["import os", "print(os.getcwd())"], [0, "os.chdir('x')", 1]),
    (["import os", "os.chdir('x')", "print(os.getcwd())"], [0, 1, 1, 2]),
    (["import pandas as pd", "df=pd.read_csv('a.csv')"], [0, "%cd x", 1]),
    (["x=3", "%mlops log a"], ["%load_ext nbmlops", 0, 1]),
    (["import decimal\nx=decimal.Decimal(1)/3", "print(x)"], ["import decimal\ndecimal.getcontext().prec=3", 0, 1]),
    (
        ["from decimal import Decimal\nx=Decimal(1)/3", "print(x)"],
        ["import decimal\ndecimal.setcontext(decimal.Context(prec=3))", 0, 1],
    ),
    (["import json\nx=json.dumps(1)"], ["import json\njson.dumps=str", 0]),
    (
        ["import sklearn\nfrom sklearn.linear_model import LinearRegression\nm=LinearRegression()", "m"],
        [0, "sklearn.set_config(display='text')", 1],
    ),
    (["import polars as pl\ndf=pl.DataFrame({'a':[1]})", "print(df)"], [0, "pl.Config.set_tbl_rows(1)", 1]),
    (["import torch\nx=torch.ones(1)", "print(x)"], [0, "torch.set_printoptions(precision=1)", 1]),
    (["import sys", "def f(n): return n and f(n-1)", "x=f(3)"], [0, "sys.setrecursionlimit(9)", 1, 2]),
    (["import torch", "x=torch.ones(1)"], [0, "torch.set_default_dtype(torch.float64)", 1]),
    (["x=1\nip=get_ipython()", "ip.user_ns['y']=x", "z=y"], [0, 1, 0, 1, 2, 1]),
    (["x=1", "get_ipython().user_ns['x']+=1", "z=x"], [0, 1, 1, 2]),
    (["x=1", "import __main__\n__main__.x+=1", "z=x"], [0, 1, 1, 2]),
    (["x=1", "import sys\nsys.modules['__main__'].x+=1", "z=x"], [0, 1, 1, 2]),
    (["x=1", "import importlib\nimportlib.import_module('__main__').x+=1", "z=x"], [0, 1, 1, 2]),
    (["x=1", "%timeit -n1 -r1 globals().update(x=x+1)", "z=x"], [0, 1, 1, 2]),
    (["l=[]", "get_ipython().run_cell('l.append(1)')", "n=len(l)"], [0, 1, 1, 2]),
    (["l=[]", "get_ipython().run_line_magic('time', 'l.append(1)')", "n=len(l)"], [0, 1, 1, 2]),
    (["l=[]", "get_ipython().ex('l.append(1)')", "n=len(l)"], [0, 1, 1, 2]),
    (["import io\nb=io.StringIO('a')", "t=b.read()", "n=len(t)"], [0, 1, 1, 2]),
    (["import numpy as np\na=np.zeros(3)", "np.add.at(a,[0],1)", "s=a.sum()"], [0, 1, 1, 2]),
]
AGAIN = [
    (
        ["import pandas as pd", "pd.set_option('display.precision',2)", "df=pd.DataFrame({'a':[1.5]})", "print(df)"],
        [0, 1, 2, 3, 1, 3],
    ),
    (
        [
            "import pandas as pd",
            "pd.set_option('display.precision',2)\npd.set_option('display.max_rows',2)",
            "df=pd.DataFrame({'a':[1.5]})",
            "print(df)",
        ],
        [0, 1, 2, 3, 1, 3],
    ),
    (["import matplotlib.pyplot as plt\nplt.rcParams['a']=1\nplt.rcParams['b']=2", "plt.plot([1])"], [0, 0, 1, 1]),
    (
        [
            "%matplotlib inline\nimport warnings\nwarnings.filterwarnings('ignore')\nimport seaborn as sns\nsns.set_theme()\nimport matplotlib.pyplot as plt",
            "plt.plot([1])",
            "x=len([1])",
        ],
        [0, 0, 1, 2, 1],
    ),
]


@pytest.mark.parametrize("cells", WEAK)
def test_what_another_kernel_answers_otherwise_is_weak(cells):
    assert said(cells) == "weakly valid"


@pytest.mark.parametrize("cells", STRONG)
def test_what_is_set_or_seeded_here_is_not_weak(cells):
    assert said(cells) == "strongly valid"


@pytest.mark.parametrize(("cells", "history"), SICK)
def test_what_a_vanished_or_repeated_change_may_tell_in_is_never_valid(cells, history):
    assert said(cells, history) in {"invalid", "unknown"}


@pytest.mark.parametrize(("cells", "history"), AGAIN)
def test_settings_set_again_are_the_same(cells, history):
    assert said(cells, history) == "strongly valid"
