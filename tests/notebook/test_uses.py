"""What a notebook reads and writes is found where a literal says so, and told where none does."""

from __future__ import annotations

from typing import Any

import pytest
from documents import cell, notebook

from nbmlops.notebook.uses import Uses, uses

IMPORTS = "import nbmlops as nb\nimport pandas as pd, numpy as np\nfrom pathlib import Path\nimport datetime as dt\n"


def found(source: str, parameters: str = "", values: Any = None) -> Uses:
    return uses(notebook(cell(parameters, "parameters"), IMPORTS, source), values)


@pytest.mark.parametrize(
    ("source", "reads", "writes"),
    [
        ("nb.load_dataset('sales')", "dataset:sales", ""),
        ("nb.load_dataset(ref='dataset:sales@3')", "dataset:sales@3", ""),
        ("nb.get_dataset('sales@latest').rows", "dataset:sales", ""),
        ("nb.snapshot(frame, 'kept', 'why')", "", "dataset:kept"),
        ("nb.snapshot(frame, name='kept')", "", "dataset:kept"),
        ("nb.split_dataset('all', {'train': 0.8, 'test': 0.2})", "dataset:all", "dataset:all-train dataset:all-test"),
        ("nb.load_model('churn@production')", "model:churn@production", ""),
        ("nb.load_model('models:/churn/2')", "model:churn@2", ""),
        ("nb.register_model(m, 'churn', training_data='dataset:sales')", "dataset:sales", "model:churn"),
        ("nb.log_model(m, 'churn')", "", "model:churn"),
        ("nb.predict('churn', 'dataset:new')", "model:churn dataset:new", ""),
        ("import nbmlops as mlflow\nmlflow.register_model(m, 'churn')", "", "model:churn"),
        ("from nbmlops import snapshot as keep\nkeep(x, 'kept')", "", "dataset:kept"),
        ("from nbmlops import *\nload_dataset('sales')", "dataset:sales", ""),
        ("load = nb.load_dataset\nload('sales')", "dataset:sales", ""),
        ("def f():\n    return nb.load_dataset('sales')", "dataset:sales", ""),
        (
            "NAME = 'sales'\nnb.load_dataset(NAME)\nnb.snapshot(x, f'{NAME}-clean')",
            "dataset:sales",
            "dataset:sales-clean",
        ),
        ("BASE = 'a'\nNAME = BASE + '-b'\nnb.load_dataset(NAME)", "dataset:a-b", ""),
        ("%mlops snapshot frame --name kept", "", "dataset:kept"),
        ("%mlops snapshot frame", "", "dataset:frame"),
        ("%mlops register m --name=churn --alias best", "", "model:churn"),
        ("%mlops dataset show sales@2", "dataset:sales@2", ""),
        ("%mlops diff sales@1 sales@2 --key id", "dataset:sales@1 dataset:sales@2", ""),
        (
            "%mlops dataset split sales --parts train=0.8,test=0.2",
            "dataset:sales",
            "dataset:sales-train dataset:sales-test",
        ),
        ("%%mlops run base --tag a=b\nx = nb.load_dataset('sales')", "dataset:sales", ""),
        ("%time x = nb.load_dataset('sales')", "dataset:sales", ""),
        ("other.load_dataset('sales')\nload_dataset('x')", "", ""),
    ],
)
def test_references(source: str, reads: str, writes: str) -> None:
    seen = found(source)
    assert (list(seen.reads), list(seen.writes)) == (reads.split(), writes.split())
    assert not seen.dynamic


@pytest.mark.parametrize(
    ("source", "files"),
    [
        ("open('a.txt')\nopen('b.txt', 'w')\nopen('c.txt', mode='rb')", "a.txt c.txt"),
        ("Path('a.txt').read_text()\nDATA = Path('data')\n(DATA / 'b.txt').read_bytes()", "a.txt data/b.txt"),
        ("Path('a.txt').write_text('x')\nPath('b').open('w')\nPath('c').open()", "c"),
        ("pd.read_csv('a.csv')\npd.read_parquet(path='b.parquet')", "a.csv b.parquet"),
        ("import polars as pl\npl.scan_parquet('a.parquet')\npl.read_csv('/data/b.csv')", "a.parquet /data/b.csv"),
        ("np.load('a.npy')\nimport joblib\njoblib.load('m.pkl')", "a.npy m.pkl"),
        ("import os\nROOT = 'data'\npd.read_csv(os.path.join(ROOT, 'a.csv'))", "data/a.csv"),
        ("nb.snapshot('raw.csv', 'raw')\n%mlops snapshot raw/b.csv --name b", "raw.csv raw/b.csv"),
        ("pd.read_json('{\"a\":\\n 1}')", ""),
        ("import io\npd.read_csv(io.StringIO(text))", ""),
    ],
)
def test_files(source: str, files: str) -> None:
    seen = found(source)
    assert list(seen.files) == files.split()
    assert not seen.dynamic


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("nb.load_dataset(name)", "load_dataset reads a dataset whose name is not a literal: name"),
        ("nb.snapshot(x, f'{name}-x')", "snapshot writes a dataset whose name is not a literal: f'{name}-x'"),
        ("pd.read_csv(path)", "pandas.read_csv reads a file whose path is not a literal: path"),
        ("for n in ['a', 'b']:\n    nb.load_dataset(n)", "load_dataset reads a dataset whose name is not a literal: n"),
        ("N = 'a'\nN = 'b'\nnb.load_dataset(N)", "load_dataset reads a dataset whose name is not a literal: N"),
        ("%mlops snapshot frame --name {name}", "%mlops writes a dataset whose name is not a literal: {name}"),
        ("import glob\nglob.glob('*.csv')", "reads the names or files of a folder: glob.glob()"),
        ("Path('data').glob('*.csv')", "reads the names or files of a folder: data"),
        ("nb.split_dataset('a', parts)", "split_dataset writes parts whose names are not literals"),
    ],
)
def test_what_no_literal_names_is_told_with_its_cell(source: str, what: str) -> None:
    assert found(source, "name = 'sales'\npath = 'x.csv'").dynamic == ((3, what),)


def test_values_of_parameters_make_names_known() -> None:
    source = "nb.load_dataset(f'sales-{month}')\nnb.load_model(name)\nname = 'changed'\n"
    source += "PATH = Path('data') / f'{month}.csv'\npd.read_csv(PATH)"
    seen = found(source, "month = 3\nname = 'a'", {"month": 4, "name": "b"})
    assert (seen.reads, seen.files) == (("dataset:sales-4",), ("data/4.csv",))
    assert len(seen.dynamic) == 1, "name is set again, so its value is not known"
    assert found(source, "month = 3\nname = 'a'").files == (), "what is made of a parameter is no constant either"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("dt.date.today()", "asks the clock: datetime.date.today()"),
        ("from datetime import datetime\ndatetime.now()", "asks the clock: datetime.datetime.now()"),
        ("pd.Timestamp.now()", "asks the clock: pandas.Timestamp.now()"),
        ("import requests\nrequests.get('https://x')", "uses the network: requests.get()"),
        ("from urllib.request import urlopen\nurlopen('https://x')", "uses the network: urllib.request.urlopen()"),
        ("pd.read_csv('https://x/a.csv')", "reads from the network: pandas.read_csv of https://…"),
        ("pd.read_sql('select 1', db)", "asks a database: pandas.read_sql()"),
        ("!wget https://x", "uses the network: !wget https://x"),
        ("x = !ls", "runs a command: !ls"),
        ("%%bash\nls", "runs a command: %%bash"),
        ("import subprocess\nsubprocess.run(['ls'])", "runs a command: subprocess.run()"),
        ("%pip install x", "installs packages: %pip install x"),
        ("nb.predict(model_ref(), x)", "records predictions: nbmlops.predict()"),
        ("nb.search_runs()", "depends on what is in the store: nbmlops.search_runs()"),
        ("nb.promote('a', 'staging', 'r')", "decides about a model: nbmlops.promote()"),
        ("%mlops promote churn@3 --to staging --reason 'r'", "decides about a model: %mlops promote"),
        ("%mlops model approve churn@3", "decides about a model: %mlops model approve"),
        ("%mlops runs", "depends on what is in the store: %mlops runs"),
        ("pip install x", "is not Python that can be read here"),
    ],
)
def test_what_no_fingerprint_holds(source: str, why: str) -> None:
    assert found(source).impure == ((3, why),)


def test_timing_reading_and_logging_are_no_reason() -> None:
    source = (
        "import time, subprocess, requests\ntime.time(); time.perf_counter(); time.localtime(0)\n"
        "pd.Timestamp('2026-01-01'); dt.datetime(2026, 1, 1)\nnb.log_metric('a', 1)\nnb.start_run()\n"
        '%mlops metric a=1\n%load_ext nbmlops\n%matplotlib inline\n%mlops param text="it\'s"\n'
        "try:\n    pass\nexcept requests.exceptions.HTTPError:\n    pass"
    )
    seen = found(source)
    assert (seen.impure, seen.dynamic, seen.files, seen.reads) == ((), (), (), ())


def test_environment_variables() -> None:
    seen = found("import os\nos.environ['A']\nos.getenv('B')\nos.environ.get('C', '')\nos.environ[name]")
    assert seen.variables == ("A", "B", "C")
    assert len(seen.dynamic) == 1


def test_deep_and_odd_code_is_read_all_the_same() -> None:
    deep = "x = nb.load_dataset(" + " + ".join(["'a'"] * 900) + ")"
    assert found(deep + "\nnb.load_dataset()\nnb.load_dataset(*a)\nnb.load_dataset(3)\nnb.load_dataset('')").reads in (
        (),
        ("dataset:" + "a" * 900,),
    )
