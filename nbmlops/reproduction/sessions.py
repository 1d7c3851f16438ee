"""A run of a live session made again, from the journal of the cells that ran."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from nbmlops.errors import InvalidValue, NotFound
from nbmlops.notebook.job import Event, Stop
from nbmlops.records import CellExecution, CellTouch, Run
from nbmlops.refs import parse
from nbmlops.reproduction import attempt as attempts
from nbmlops.reproduction import failing, past, steps
from nbmlops.reproduction.attempt import Attempt, Cells
from nbmlops.reproduction.logged import Logged
from nbmlops.reproduction.past import Past, Version
from nbmlops.reproduction.rerun import Rerun, Wish, clean
from nbmlops.reproduction.steps import Steps
from nbmlops.store import Store


class SessionAgain:
    """The session of a run, and how it is made again.

    Args:
        store: where the run is.
        cells: the cells desk.
        run: the run.
        until: a model version that it registered, perhaps after it had ended; or the cell that runs now, as its
            session and number, whose own marks are not written yet.
        how: ``notebook`` or ``journal``; by default the notebook where it is known.
    """

    def __init__(
        self, store: Store, cells: Cells | None, run: Run, until: str | tuple[str, int] | None, how: str | None
    ) -> None:
        if how is not None and how not in steps.HOW:
            raise InvalidValue(f"a run cannot be reproduced by its {how}", f"how is one of: {', '.join(steps.HOW)}")
        self.store, self.run = store, run
        self.behind = [] if cells is None else _until(cells, cells.behind(run.run_id), until)
        if cells is None or not self.behind:
            raise _unknown(run)
        self.cells = cells
        self.document, self.saved_at = cells.document(run.run_id)
        if how == "notebook" and self.document is None:
            raise NotFound(
                f"the notebook of {run.ref} is not known: it was not saved, or the run comes from a terminal",
                "reproduce it with --how journal",
            )
        known = self.document if how != "journal" else None
        self.steps = (
            steps.in_order(self.behind) if known is None else steps.as_notebook(self.behind, known, self.saved_at)
        )

    def attempt(self, context: Any, announce: Callable[[Event], None], stop: Stop) -> Attempt:
        """Execute its cells in a scratch store.

        Args:
            context: who acts.
            announce: gets the events of the clean run, as a flow tells them of a stage.
            stop: ends it.

        Raises:
            KeyboardInterrupt: it was stopped.
        """
        path = self.cells.session(self.behind[-1].session_id).notebook
        document = self.steps.document((self.document or {}).get("metadata"))
        wish = Wish(attempts.folder_of(self.run, path), path)
        told = {"stage": self.run.name, "label": f"run {self.run.name}", "run_id": self.run.run_id, "attempt": 1}
        announce({"type": "stage", "status": "RUNNING", "why": [], **told})
        with clean(self.store, context, self._past(), attempts.as_text(document)) as here:
            done = here.execute(document, wish, lambda event: announce({**told, **event}), stop)
        if done.status == "KILLED":
            raise KeyboardInterrupt
        announce({"type": "stage", "status": done.status, "error": done.error, **told, "seconds": done.seconds})
        return Attempt(
            self.steps.how,
            partner(self.run, self.steps, done.runs),
            done.seconds,
            self._error(done),
            notes=tuple(f"{e.label} is not executed: {reason}" for e, reason in self.steps.left_out),
            cells=attempts.made_by(self.cells),
            suspects=self._suspects,
        )

    def _suspects(self) -> tuple[str, ...]:
        known = self.document if self.steps.how == "notebook" else None
        return attempts.suspects("check", self.behind, known, saved_at=self.saved_at)

    def _past(self) -> Past:
        """What the session found: everything before its first cell, and what it read and had not written."""
        touches = [touch for execution in self.behind for touch in execution.touched]
        runs = {self.run.run_id, *(run for execution in self.behind for run in execution.runs)}
        began = [e.started_at for e in self.behind if e.started_at > 0]
        at = min([self.run.started_at, *began])
        found = past.of_runs(self.store, sorted(runs), at, _versions(touches, "write"))
        more = past.past(self.store, at, set(_versions(touches, "read")), set(_versions(touches, "write")))
        return Past(at, found.read | more.read, {**more.pins, **found.pins})

    def _error(self, done: Rerun) -> Mapping[str, Any] | None:
        """The first cell that failed and had not, or failed in another way."""
        for error in done.errors:
            step = self.steps.of(error.cell_id)
            if step is None:
                return failing.error("the first cell", error.name, error.message, "the extension cannot be loaded")
            if not error.went_on or (step.execution.error or {}).get("name") not in {None, error.name}:
                text = failing.why(error.name, error.message, step, self.steps, self.behind)
                return failing.error(step.execution.label, error.name, error.message, text)
        if done.error is not None:  # the kernel died, or never started
            at = done.error.get("cell")
            step = None if at is None else self.steps.of(done.notebook["cells"][at].get("id", ""))
            label = step.execution.label if step else "the notebook"
            name, message = str(done.error["name"]), str(done.error["message"])
            return failing.error(label, name, message, failing.outside(label, name, message))
        return None


def _until(cells: Cells, behind: list[CellExecution], until: str | tuple[str, int] | None) -> list[CellExecution]:
    """The cells behind a run and those after them in the same session, up to one."""
    last = (behind[-1].session_id, behind[-1].number) if behind else None
    if isinstance(until, str):
        made = cells.made("model", until)
        until = (made.session_id, made.number) if made and last else None
    if until is None or (last is not None and (until[0] != last[0] or until[1] <= last[1])):
        return behind
    before = last[1] if last else 0
    return [*behind, *(e for e in cells.executions(until[0]) if before < e.number <= until[1])]


def partner(run: Run, made_of: Steps, found: Sequence[Logged]) -> Logged | None:
    """The clean run that answers to a run: begun by the same cell, else with the same name, else in the same place."""
    begun = [(step, run_id) for step, run_id in _begun(made_of)]
    mine = next((step for step, run_id in begun if run_id == run.run_id), None)
    if mine is not None:
        place = [run_id for step, run_id in begun if step == mine].index(run.run_id)
        same = [each for each in found if each.cell_id == mine]
        if place < len(same):
            return same[place]
    named = [each for each in found if each.name == run.name]
    if len(named) == 1:
        return named[0]
    # One that no cell is known to have begun was begun by the cell that runs now.
    order = [run_id for _, run_id in begun]
    place = order.index(run.run_id) if run.run_id in order else len(order)
    return found[place] if place < len(found) else None


def _begun(made_of: Steps) -> Iterator[tuple[str, str]]:
    """The steps that began runs, and the runs' ids, in the order of the clean run."""
    first: dict[str, int] = {}
    for step in made_of.steps:
        for run_id in step.execution.runs:
            first[run_id] = min(first.get(run_id, step.execution.number), step.execution.number)
    for step in made_of.steps:
        for run_id in step.execution.runs:
            if first[run_id] == step.execution.number:
                yield step.cell_id, run_id


def _versions(touches: Sequence[CellTouch], mode: str) -> Iterator[Version]:
    for touch in touches:
        if touch.kind in {"dataset", "model"} and touch.mode == mode:
            ref = parse(touch.subject, touch.kind)
            if ref.version is not None:
                yield ref.kind, ref.name, ref.version


def _unknown(run: Run) -> NotFound:
    kind = run.source.get("type") or ""
    if kind == "script":
        return NotFound(
            f"{run.ref} comes from a script, and only notebooks are run again",
            "run it as a notebook, with `nbmlops stage run NOTEBOOK`",
        )
    return NotFound(
        f"nothing is known of the cells behind {run.ref}: nbmlops records them while its extension is loaded",
        "begin the notebook with %load_ext nbmlops, or use `nbmlops stage run NOTEBOOK`, and make the run again",
    )
