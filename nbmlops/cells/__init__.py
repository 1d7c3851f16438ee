"""The cells desk: what ran in notebooks and shells, in the order in which it ran, and what came of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from nbmlops import context
from nbmlops.cells import executed, folding
from nbmlops.errors import NotFound, UsageFault
from nbmlops.notebook import place, recorder
from nbmlops.records import CellExecution, CellSession, CellTouch, Verdict
from nbmlops.store import Store, schema

S, E, T, R = schema.cell_sessions, schema.cell_executions, schema.cell_touches, schema.runs
_LARGEST_NOTEBOOK = 100_000_000  # bytes of a notebook that is looked at when a run ends


class Cells:
    """Every verb about cells that ran. Reading folds first what recorders have written meanwhile."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._kept: tuple[tuple[str, int, int], dict[str, Any]] | None = None

    def fold(self) -> None:
        """Move what this and other processes have recorded into the tables."""
        if self.store.journal_mode == "read-only":
            return
        if (here := recorder.current()) is not None:
            here.flush()
        folding.fold(self.store)

    # -- reading ---------------------------------------------------------------------------------------------------
    def sessions(self, notebook: str | None = None, limit: int = 100) -> list[CellSession]:
        """Kernels and shells that recorded their cells, the newest first; of one notebook's path if given."""
        self.fold()
        query = sa.select(S).order_by(S.c.started_at.desc()).limit(limit)
        if notebook is not None:
            query = query.where(S.c.notebook == notebook)
        with self.store.read() as db:
            return [_session(row) for row in db.execute(query).mappings()]

    def session(self, session_id: str) -> CellSession:
        """One session by its id.

        Raises:
            NotFound: there is none.
        """
        self.fold()
        with self.store.read() as db:
            row = db.execute(sa.select(S).where(S.c.id == session_id)).mappings().first()
        if row is None:
            raise NotFound(f"no session {session_id!r}", "workspace.cells.sessions() lists them")
        return _session(row)

    def executions(self, session_id: str, until: int | None = None, *, outputs: bool = True) -> list[CellExecution]:
        """What ran in a session, in that order, until execution number ``until`` if given; with outputs or without."""
        self.fold()
        query = sa.select(E).where(E.c.session_id == session_id).order_by(E.c.number)
        return self._read(query if until is None else query.where(E.c.number <= until), outputs)

    def of_run(self, run_id: str, *, outputs: bool = True) -> list[CellExecution]:
        """The cells of a run, in the order in which they ran: those that logged to it, or ran while it was active.

        Of a stage's run these are all cells of its notebook. Outputs are most of what is to be read: who does not
        look at them leaves them out.
        """
        self.fold()
        ids = sa.select(T.c.execution_id).where(T.c.kind == "run", T.c.subject == run_id)
        stages = sa.select(S.c.id).where(S.c.run_id == run_id)
        wanted = sa.or_(E.c.id.in_(ids), E.c.session_id.in_(stages))
        found = self._read(sa.select(E).where(wanted).order_by(E.c.started_at, E.c.number), outputs)
        return found or self._of_stage(run_id)

    def behind(self, run_id: str, *, outputs: bool = True) -> list[CellExecution]:
        """Everything that ran in the run's sessions until its last cell: what it can have been made from."""
        last: dict[str, int] = {}
        for execution in self.of_run(run_id, outputs=False):
            last[execution.session_id] = execution.number
        if set(last) <= {""}:
            return self._of_stage(run_id)
        return [e for key, number in last.items() for e in self.executions(key, number, outputs=outputs)]

    def made(self, kind: str, subject: str, name: str = "") -> CellExecution | None:
        """The latest cell that logged or made it: ``("metric", run_id, "auc")``, ``("dataset", "dataset:x@3")``."""
        self.fold()
        ids = sa.select(T.c.execution_id).where(
            T.c.kind == kind, T.c.subject == subject, T.c.name == name, T.c.mode == "write"
        )
        found = self._read(sa.select(E).where(E.c.id.in_(ids)).order_by(E.c.started_at.desc()).limit(1))
        return found[0] if found else None

    def makers(self, run_id: str) -> dict[tuple[str, str], CellExecution]:
        """Kind and name of all that a run logged, each with the latest cell that did."""
        return {
            (touch.kind, touch.name): execution
            for execution in self.of_run(run_id, outputs=False)
            for touch in execution.touched
            if touch.subject == run_id and touch.kind != "run"
        }

    def document(self, run_id: str) -> tuple[dict[str, Any] | None, float | None]:
        """The notebook as it was on disk when the run ended, without outputs, and when it was saved.

        None where it is not known: the front end had not saved it yet, or there is no notebook.
        """
        with self.store.read() as db:
            source = db.execute(sa.select(R.c.source).where(R.c.id == run_id)).scalar()
            stage = schema.stage_runs
            started = db.execute(sa.select(stage.c.source).where(stage.c.run_id == run_id)).scalar()
        kept = (source or {}).get("document") or {}
        digest = kept.get("digest") or started
        return (json.loads(self.store.blobs.get(digest)), kept.get("saved_at")) if digest else (None, None)

    def export(self, run_id: str) -> bytes:
        """The cells behind a run as an executed notebook, in the order in which they ran.

        Raises:
            NotFound: nothing was recorded for it.
        """
        found = self.behind(run_id)
        if not found:
            raise _unrecorded(run_id)
        last = self.session(found[-1].session_id) if found[-1].session_id else None
        return executed.notebook(found, self.store.blobs, last.notebook if last else "", run_id)

    def outputs(self, execution: CellExecution) -> list[dict[str, Any]]:
        """What a cell printed and showed, whole: large data are fetched from where they are kept."""
        return executed.outputs(execution, self.store.blobs)

    # -- would a clean run differ ----------------------------------------------------------------------------------
    def check(self, notebook: str | None = None, run_id: str | None = None) -> Verdict:
        """Would a clean run give the same: of a saved notebook, of a run, or of what ran in this kernel.

        Raises:
            UsageFault: neither is given, and this is no notebook that records its cells.
            NotFound: there is no such notebook or run, or no cells of it are known.
        """
        from nbmlops.notebook import parameters, verdict

        if notebook is not None:
            document = parameters.parse_document(parameters.read_file(notebook), notebook)
            folder = str(Path(notebook).absolute().parent)
            return verdict.check_document(document, notebook=notebook, folder=folder)
        if run_id is not None:
            said = self._verdict(run_id)
            if said is None:
                raise _unrecorded(run_id)
            return said
        return self._here()

    def _here(self) -> Verdict:
        """The verdict on what ran in this kernel, against the notebook's file as it is now."""
        from nbmlops.notebook import verdict

        here = recorder.current()
        if here is None or here.fault is not None:
            raise UsageFault(
                f"no cells are recorded here{f': {here.fault}' if here is not None else ''}",
                "in a notebook: %load_ext nbmlops; elsewhere name a notebook, or --run REF",
            )
        ran = [e for e in self.executions(here.session_id, outputs=False) if e.execution_id != here.execution_id]
        path = Path(place.notebook_now(context.from_environment().notebook) or "")
        found = executed.stripped(path, _LARGEST_NOTEBOOK) if path.name else None
        document, saved_at = (json.loads(found[0]), found[1]) if found else (None, None)
        name = str(path) if path.name else ""
        said = verdict.check(ran, document, saved_at=saved_at, notebook=name, folder=os.getcwd())
        return replace(said, ran=said.ran + 1) if _asks(document, here.cell_id, ran) else said

    # -- when a run ends -------------------------------------------------------------------------------------------
    def keep_document(self, run_id: str) -> None:
        """Keep the run's notebook as it is on disk now, without outputs; nothing where it cannot be read."""
        with self.store.read() as db:
            source = db.execute(sa.select(R.c.source).where(R.c.id == run_id)).scalar() or {}
        path = source.get("path") if source.get("type") == "notebook" else ""
        kept = self._document_at(Path(source.get("cwd") or "", path)) if path else None
        if kept is None:
            return
        with self.store.write() as db:
            db.execute(R.update().where(R.c.id == run_id).values(source={**source, "document": kept}))

    def _document_at(self, path: Path) -> dict[str, Any] | None:
        """The file's content without outputs, as a run keeps it; read once for all runs until it is saved again."""
        try:
            facts = path.stat()
        except OSError:
            return None
        state = (str(path), facts.st_mtime_ns, facts.st_size)
        if self._kept is None or self._kept[0] != state:
            found = executed.stripped(path, _LARGEST_NOTEBOOK)
            if found is None:
                return None
            content, saved_at = found
            self._kept = state, {"digest": self.store.blobs.put(content), "saved_at": saved_at}
        return self._kept[1]

    def judge(self, run_id: str, known: Verdict | None = None) -> Verdict | None:
        """Say whether a clean run would give the same, and keep it with the run; None where no cells are known.

        Args:
            run_id: the run.
            known: the verdict on the same cells, where somebody has asked for it already.
        """
        said = known or self._verdict(run_id)
        if said is not None:
            with self.store.write() as db:
                db.execute(R.update().where(R.c.id == run_id).values(verdict=said.to_dict()))
        return said

    def _verdict(self, run_id: str) -> Verdict | None:
        from nbmlops.notebook import verdict

        found = self.behind(run_id, outputs=False)
        if not found:
            return None
        document, saved_at = self.document(run_id)
        with self.store.read() as db:
            source = db.execute(sa.select(R.c.source).where(R.c.id == run_id)).scalar() or {}
        path, folder = source.get("path") or "", source.get("cwd")
        return verdict.check(found, document, saved_at=saved_at, notebook=path, folder=folder)

    # -- inside ----------------------------------------------------------------------------------------------------
    def _of_stage(self, run_id: str) -> list[CellExecution]:
        """The cells of a stage that was executed without a recorder, from its executed notebook."""
        stage = schema.stage_runs
        with self.store.read() as db:
            digest = db.execute(sa.select(stage.c.executed).where(stage.c.run_id == run_id)).scalar()
        if not digest:
            return []
        try:
            document = json.loads(self.store.blobs.get(digest))
        except ValueError:  # not a notebook: something else wrote it
            return []
        return executed.executions(document, run_id) if isinstance(document, dict) else []

    def _read(self, query: Any, outputs: bool = True) -> list[CellExecution]:
        if not outputs:
            query = query.with_only_columns(*(column for column in E.c if column is not E.c.outputs))
        with self.store.read() as db:
            rows = db.execute(query).mappings().all()
            touched = _touched(db, [row["id"] for row in rows])
        return [_execution(row, touched.get(row["id"], ())) for row in rows]


def _asks(document: Mapping[str, Any] | None, cell_id: str | None, ran: Sequence[CellExecution]) -> bool:
    """Whether the cell that runs now is in the file and has not run before: it counts as one that ran."""
    cells = (document or {}).get("cells", ())
    return any(cell.get("id") == cell_id for cell in cells if cell_id) and all(e.cell_id != cell_id for e in ran)


def _unrecorded(run: str) -> NotFound:
    return NotFound(
        f"no cells of run {run} are recorded",
        "load the extension (%load_ext nbmlops) before a run starts; a script has no cells",
    )


def _touched(db: sa.Connection, ids: list[str]) -> dict[str, tuple[CellTouch, ...]]:
    found: dict[str, list[CellTouch]] = {}
    for start in range(0, len(ids), 500):
        query = sa.select(T).where(T.c.execution_id.in_(ids[start : start + 500]))
        for row in db.execute(query):
            found.setdefault(row.execution_id, []).append(CellTouch(row.kind, row.subject, row.name, row.mode))
    return {key: tuple(touches) for key, touches in found.items()}


def _session(row: Any) -> CellSession:
    return CellSession(row["id"], **{k: v for k, v in row.items() if k != "id"})


def _execution(row: Any, touched: Iterable[CellTouch]) -> CellExecution:
    names = row["names"] or {}
    same = ("session_id", "number", "source", "cell_id", "count", "status", "error", "started_at", "seconds")
    return CellExecution(
        execution_id=row["id"],
        **{k: row[k] for k in same},
        outputs=tuple(row.get("outputs") or ()),
        loaded=tuple(names.get("loaded", ())),
        stored=tuple(names.get("stored", ())),
        deleted=tuple(names.get("deleted", ())),
        touched=tuple(touched),
    )
