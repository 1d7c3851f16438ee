"""Each notebook of the corpus with a metric: taken out of what ran, executed anew, it gives the same metric.

Executed in one shell, which is emptied before each: a kernel of its own for every notebook would say no more here.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from shells import emptied

from nbmlops.extraction import Live, Wish, fingerprints
from nbmlops.workspace import Workspace

sys.path.insert(0, str(Path(__file__).parents[1] / "notebook"))
import corpus_cases

CASES = [case for name in corpus_cases.NAMES if (case := corpus_cases.read(name)).metrics]
Execute = Callable[[list[str], dict[str, Any]], dict[str, Any]]


@pytest.fixture(scope="module")
def _shell() -> Iterator[Any]:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shell.history_manager.enabled = False
    yield shell
    shell.reset(new_session=False)
    InteractiveShell.clear_instance()


@pytest.fixture
def execute(_shell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Execute:
    """Cells in a fresh namespace, in a folder with the corpus' files; cells may raise. What the names became."""
    for path in corpus_cases.FOLDER.iterdir():
        if path.suffix in {".csv", ".py"}:
            shutil.copy(path, tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(cells: list[str], given: dict[str, Any]) -> dict[str, Any]:
        emptied(_shell)
        _shell.user_ns.update(given)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            for source in cells:
                _shell.run_cell(source)
        return dict(_shell.user_ns)

    return run


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_minimal_cells_give_the_same_metric(
    case: corpus_cases.Case, execute: Execute, ws: Workspace, nb: Any, tmp_path: Path
) -> None:
    before = execute([source for _, source in case.history], case.namespace)
    executions = case.executions()
    for metric in case.metrics:
        live = Live(before, executions, case.document)
        out = tmp_path / f"{metric}.ipynb"
        found = ws.extraction.extract(metric, out=out, wish=Wish(prove=False), live=live)
        ids = {e.label: e.cell_id for e in executions}
        kept = {ids[label] for label in found.kept}
        assert set(case.needed) <= kept, found.kept
        assert kept.isdisjoint(case.dropped), found.kept
        document = json.loads(out.read_text())
        stage = [c["source"] for c in document["cells"] if c["cell_type"] == "code"]
        after = execute(stage, case.namespace)
        assert metric in after, "\n---\n".join(stage)
        assert fingerprints.of(after[metric]) == fingerprints.of(before[metric]), "\n---\n".join(stage)


def test_the_corpus_has_metrics() -> None:
    assert len(CASES) > 20
