"""Each claim of the corpus is proved: what ran is executed, then the notebook from top to bottom, and both compared."""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import shutil
import sys
import traceback
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import corpus_cases
import numpy as np
import pandas as pd
import pytest
from shells import emptied

from nbmlops import session
from nbmlops.records import Record

# What no comparison can hold: objects that are never equal to another of their kind, and records with ids and times.
_SKIPPED = (FunctionType, ModuleType, type, Record)
# What %time says is never twice the same, and the number in a prompt is only how often something ran.
_PASSING = re.compile(r"^(CPU times|Wall time):.*\n?|^Out\[\d+\]: ", re.MULTILINE)
_PRINT_IDS = "nbmlops_"  # cases that begin so show records


class Outcome:
    """What a sequence of cells gave: values of names, what each cell printed last, and the first error."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.printed: dict[str, str] = {}
        self.error: str | None = None
        self.raised: dict[int, tuple[str, int]] = {}


@pytest.fixture
def execute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _fresh_shell: Any):
    """Run cells in a fresh namespace, in a folder that holds the corpus' files and nothing of the run before."""
    folder = tmp_path / "notebooks"
    monkeypatch.syspath_prepend(str(folder))
    around = dict(os.environ)

    def run(case: corpus_cases.Case, cells: Any, namespace: dict[str, Any], stops: bool, store: str = "") -> Outcome:
        session.reset()
        _freshly_filled(folder)
        monkeypatch.chdir(folder)
        os.environ.clear()
        os.environ.update(around)
        monkeypatch.setenv("NBMLOPS_STORE", str(tmp_path / f"store-{store or stops}"))
        emptied(_fresh_shell)
        _fresh_shell.user_ns.update(namespace)
        return _executed(_fresh_shell, case, cells, stops)

    yield run
    session.reset()
    os.environ.clear()
    os.environ.update(around)


def _freshly_filled(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path in corpus_cases.FOLDER.iterdir():
        if path.suffix in {".csv", ".py"}:
            shutil.copy(path, folder)
            sys.modules.pop(path.stem, None)


@pytest.fixture(scope="module")
def _fresh_shell() -> Any:
    from IPython.terminal.interactiveshell import TerminalInteractiveShell

    TerminalInteractiveShell.simple_prompt = True
    shell = TerminalInteractiveShell.instance()
    shell.history_manager.enabled = False
    yield shell
    shell.run_line_magic("unload_ext", "nbmlops")


def _executed(shell: Any, case: corpus_cases.Case, cells: Any, stops: bool) -> Outcome:
    found = Outcome()
    for number, (cell_id, source) in enumerate(cells, 1):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            done = shell.run_cell(source, store_history=True)
        silent = not done.success or case.name.startswith(_PRINT_IDS)
        found.printed[cell_id] = "" if silent else _PASSING.sub("", out.getvalue())
        if not done.success:
            found.raised[number] = _raised(done)
        if not done.success and cell_id not in case.expected_to_raise:
            found.error = found.error or f"{cell_id}: {done.error_in_exec or done.error_before_exec}"
            if stops:
                break
    hidden = shell.user_ns_hidden
    found.values = {n: v for n, v in shell.user_ns.items() if n[:1] != "_" and n not in hidden}
    return found


def _raised(done: Any) -> tuple[str, int]:
    """What a cell raised, and in which of its lines; 0 for text that is no Python."""
    error = done.error_in_exec or done.error_before_exec
    frames = traceback.extract_tb(error.__traceback__)
    return type(error).__name__, next((frame.lineno or 0 for frame in frames if frame.name == "<module>"), 0)


def differences(before: Outcome, after: Outcome, names: set[str]) -> list[str]:
    """Names whose values differ, and cells that printed something else."""
    found = []
    for name in sorted(names):
        if (name in before.values) != (name in after.values):
            found.append(f"{name} is only on one side")
        elif name in before.values and not same(before.values[name], after.values[name]):
            found.append(f"{name}: {before.values[name]!r:.60} and {after.values[name]!r:.60}")
    return found + [
        f"{c} printed otherwise" for c, text in before.printed.items() if after.printed.get(c, text) != text
    ]


def same(a: Any, b: Any) -> bool:
    """Whether two values are the same, as far as a notebook's reader cares."""
    if isinstance(a, _SKIPPED) and isinstance(b, _SKIPPED):
        return True
    if type(a).__module__.startswith("matplotlib"):
        return type(a) is type(b)  # what was drawn is compared by the data it was drawn from
    if isinstance(a, pd.DataFrame | pd.Series):
        return type(a) is type(b) and a.equals(b)
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and np.array_equal(a, b)
    if isinstance(a, list | tuple) and type(a) is type(b):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b):
        return True
    own = type(a).__eq__ is object.__eq__ or type(a).__module__ == "__main__"  # a class of the notebook is made anew
    if own and type(a).__name__ == type(b).__name__:
        state = vars(a) if hasattr(a, "__dict__") else {}
        return all(same(v, vars(b).get(k)) for k, v in state.items())
    with contextlib.suppress(Exception):
        return bool(a == b)
    return True


@pytest.mark.parametrize("name", corpus_cases.NAMES)
def test_what_a_case_claims_is_true(name: str, execute: Any) -> None:
    case = corpus_cases.read(name)
    before = execute(case, case.history, dict(case.namespace), False)
    assert before.raised == case.errors, before.error
    after = execute(case, case.code, {}, True)
    # A cell that never ran is not what the question is about, if nobody uses what it sets.
    ran = {cell_id for cell_id, _ in case.history}
    of_document = {n for cell_id, source in case.code if cell_id in ran for n in corpus_cases._stored(source)}
    found = differences(before, after, of_document)
    if case.verdict == "strongly valid":
        assert (found, after.error) == ([], None)
    elif case.verdict == "weakly valid":
        assert after.error is None
    elif case.verdict == "invalid":
        assert found or after.error


@pytest.mark.parametrize("name", [n for n in corpus_cases.NAMES if corpus_cases.read(n).metrics])
def test_a_slice_gives_the_same_metric(name: str, execute: Any) -> None:
    case = corpus_cases.read(name)
    # Both see one store: a slice may load the snapshot that a cell it drops has kept.
    whole = execute(case, case.code, {}, True, "shared")
    for metric in case.metrics:
        cells = [step for step in case.code if step[0] in case.slice(metric) or step[1].startswith("%load_ext")]
        part = execute(case, cells, {}, True, "shared")
        assert part.error is None
        assert same(part.values[metric], whole.values[metric]), (part.values[metric], whole.values[metric])


def test_the_corpus_is_what_it_should_be() -> None:
    cases = [corpus_cases.read(name) for name in corpus_cases.NAMES]
    count = {v: sum(c.verdict == v for c in cases) for v in ("strongly valid", "weakly valid", "invalid", "unknown")}
    assert sum(count.values()) == len(cases) >= 60
    assert min(count.values()) >= 3
    assert sum(bool(c.metrics) for c in cases) >= 25


def test_the_comparison_tells_things_apart() -> None:
    class Thing:
        def __init__(self, n: int) -> None:
            self.n = n

    assert same(Thing(1), Thing(1))
    assert not same(Thing(1), Thing(2))
    assert not same(pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2]}))
    assert not same([np.ones(2)], [np.zeros(2)])
    assert same({"a": float("nan")}, {"a": float("nan")})
