"""A notebook that is executed cell by cell in a shell, and the journal of what ran."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from nbmlops import session
from nbmlops.extraction import Extraction, Live
from nbmlops.records import CellExecution, CellTouch

_ids = itertools.count(1)


class Notebook:
    """Cells run in any order; what each touched is told by the store."""

    def __init__(self, folder: Path) -> None:
        InteractiveShell.clear_instance()
        self.shell = InteractiveShell.instance()
        self.shell.run_line_magic("load_ext", "nbmlops")
        self.folder = folder
        self.executions: list[CellExecution] = []
        self.document: dict[str, Any] | None = None

    def close(self) -> None:
        self.shell.reset(new_session=False)
        InteractiveShell.clear_instance()

    def run(self, *cells: str, cell_id: str | None = None) -> None:
        for source in cells:
            before = self._seen()
            active = session.active_run()
            result = self.shell.run_cell(source, store_history=True)
            number = len(self.executions) + 1
            touched = tuple(self._touched(before, active))
            status = "ok" if result.success else "error"
            self.executions.append(
                CellExecution(
                    f"x{next(_ids)}", "s", number, source, cell_id, number, status=status, touched=touched, started_at=number
                )
            )

    def _seen(self) -> dict[tuple[str, str, str], Any]:
        ws = session.workspace()
        found: dict[tuple[str, str, str], Any] = {}
        for run in ws.runs.search(limit=1000):
            found["run", run.run_id, ""] = run.status
            found |= {("metric", run.run_id, k): v for k, v in run.metrics.items()}
            found |= {("param", run.run_id, k): v for k, v in run.params.items()}
            found |= {("artifact", run.run_id, a.path): a.digest for a in ws.runs.artifacts(run.run_id)}
        found |= {("model", v.ref, ""): v.version for v in ws.models.list()}
        found |= {("dataset", v.ref, ""): v.version for v in ws.datasets.list()}
        return found

    def _touched(self, before: dict[tuple[str, str, str], Any], active: Any) -> Iterator[CellTouch]:
        for (kind, subject, name), value in self._seen().items():
            if before.get((kind, subject, name)) != value:
                yield CellTouch(kind, subject, name)
        if active is not None:
            yield CellTouch("run", active.run_id)

    # --- what ``workspace.cells`` answers --------------------------------------------------------------------------
    def behind(self, run_id: str) -> list[CellExecution]:
        own = [i for i, e in enumerate(self.executions) if any(run_id in {t.subject} for t in e.touched)]
        return self.executions[: max(own) + 1] if own else []

    def made(self, kind: str, subject: str, name: str = "") -> CellExecution | None:
        wanted = CellTouch(kind, subject, name)
        return next((e for e in reversed(self.executions) if wanted in e.touched), None)

    def document_of(self, _run_id: str) -> tuple[dict[str, Any] | None, float | None]:
        return self.document, None

    @property
    def live(self) -> Live:
        return Live(self.shell.user_ns, tuple(self.executions), self.document)

    @property
    def desk(self) -> Extraction:
        ws = session.workspace()
        return Extraction(ws.runs, ws.datasets, ws.models, ws.pipelines, Journal(self), reproduction=ws.reproduction)

    def extract(self, what: str, out: str, **wish: Any) -> Any:
        from nbmlops.extraction import Wish

        return self.desk.extract(what, out=self.folder / out, wish=Wish(**wish), live=self.live)


class Journal:
    """The journal of one notebook."""

    def __init__(self, notebook: Notebook) -> None:
        self.notebook = notebook

    def executions(self, _session_id: str) -> list[CellExecution]:
        return self.notebook.executions

    def behind(self, run_id: str) -> list[CellExecution]:
        return self.notebook.behind(run_id)

    def made(self, kind: str, subject: str, name: str = "") -> CellExecution | None:
        return self.notebook.made(kind, subject, name)

    def document(self, run_id: str) -> tuple[dict[str, Any] | None, float | None]:
        return self.notebook.document_of(run_id)
