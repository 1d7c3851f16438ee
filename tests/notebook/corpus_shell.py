"""A process that executes cells in fresh IPython shells: each request in a child of its own, forked after the imports.

One request a line on standard input, one answer a line on standard output. Each child begins as a fresh kernel does:
no names, random states of its own, the folder of the request; what it leaves in memory is gone with it.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import random
import re
import signal
import sys
import traceback
from typing import Any

import alembic.command
import matplotlib.pyplot
import numpy as np
import pandas as pd
import pyarrow.parquet
import sklearn.cluster
import sklearn.datasets
import sklearn.decomposition
import sklearn.ensemble
import sklearn.linear_model
import sklearn.model_selection
import sklearn.neighbors
import sklearn.pipeline
import sklearn.tree
import skops.io
import sqlalchemy
from corpus_values import told
from IPython.core.interactiveshell import InteractiveShell

import nbmlops.workspace

# What many cases import is imported once, before the children are forked.
LOADED = (alembic.command, matplotlib.pyplot, nbmlops.workspace, pd, pyarrow.parquet, skops.io, sklearn, sqlalchemy)
_LONGEST = 60  # seconds; a child that hangs is ended
# Durations, which magics print, and addresses are no results.
_NO_RESULT = re.compile(r"(?m)^(CPU times|Wall time|.* per loop).*\n?|0x[0-9a-f]{6,}")


def main() -> None:
    """Answer requests until the input ends."""
    shell = InteractiveShell.instance()
    shell.history_manager.enabled = False
    shell.displayhook.write_output_prompt = lambda: None  # its number is no result
    shell.InteractiveTB.set_mode("Minimal")  # others take a tenth of a second for each error
    shell.enable_gui = lambda gui=None: None
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what children print past Python is not an answer
    _warm(shell)
    shell.reset(new_session=True)
    gc.collect()
    gc.freeze()  # children would copy what a collection touches
    for line in sys.stdin:
        answers.write(_in_child(shell, json.loads(line)) + "\n")
        answers.flush()


def _warm(shell: InteractiveShell) -> None:
    """Load what is loaded at first use, once for all children."""
    with contextlib.redirect_stdout(io.StringIO()):
        for source in ("%time import pandas", "pandas.DataFrame({'a': [1, 2.5]}).describe()", "pandas.nothing"):
            shell.run_cell(source, store_history=True)


def _in_child(shell: InteractiveShell, request: dict[str, Any]) -> str:
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        gc.disable()
        signal.alarm(_LONGEST)
        try:
            answer = json.dumps(_execute(shell, request))
        except BaseException as error:
            answer = json.dumps({"fault": repr(error)})
        with os.fdopen(theirs, "w") as pipe:
            pipe.write(answer)
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer or json.dumps({"fault": f"no answer within {_LONGEST} seconds, or the process ended"})


def _execute(shell: InteractiveShell, request: dict[str, Any]) -> dict[str, Any]:
    os.chdir(request["folder"])
    os.environ.update(request["environment"])
    sys.path.insert(0, request["folder"])
    np.random.seed()
    random.seed()
    if request["before"]:
        exec(request["before"], {})
    shell.user_ns.update(request["namespace"])
    steps: list[dict[str, Any]] = []
    for cell_id, source in request["cells"]:
        steps.append(_step(shell, cell_id, source))
        if request["stops"] and steps[-1]["error"] and cell_id not in request["may_raise"]:
            break
    return {"steps": steps, "values": {name: told(value) for name, value in _names(shell).items()}}


def _step(shell: InteractiveShell, cell_id: str, source: str) -> dict[str, Any]:
    before = {name: id(value) for name, value in _names(shell).items()}
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        done = shell.run_cell(source, store_history=True)
    after = {name: id(value) for name, value in _names(shell).items()}
    error = done.error_before_exec or done.error_in_exec
    return {
        "cell": cell_id,
        "error": f"{type(error).__name__}: {error}" if error else None,
        "raised": [type(error).__name__, _line(error)] if error else None,
        "printed": "" if error else _NO_RESULT.sub("", out.getvalue()),
        "stored": [name for name in after if before.get(name) != after[name]],
        "deleted": [name for name in before if name not in after],
    }


def _line(error: BaseException) -> int:
    """In which line of the cell; 0 for text that is no Python."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno or 0 for frame in frames if frame.name == "<module>"), 0)


def _names(shell: InteractiveShell) -> dict[str, Any]:
    hidden = shell.user_ns_hidden
    return {name: value for name, value in shell.user_ns.items() if name[:1] != "_" and name not in hidden}


if __name__ == "__main__":
    main()
