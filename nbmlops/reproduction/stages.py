"""A stage made again: its notebook as it was, with the same values, pinned versions, and cells left out."""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from nbmlops.errors import NotFound, UsageFault
from nbmlops.notebook import parameters
from nbmlops.notebook.job import Event, Stop
from nbmlops.pipelines import limits, works
from nbmlops.pipelines.limits import Limits
from nbmlops.pipelines.stage import StageRunner
from nbmlops.pipelines.work import Work
from nbmlops.records import Difference, Run, StageRun
from nbmlops.reproduction import attempt as attempts
from nbmlops.reproduction import failing, past
from nbmlops.reproduction.attempt import Attempt, Cells
from nbmlops.reproduction.logged import Logged
from nbmlops.reproduction.rerun import Clean, clean
from nbmlops.runs import Runs
from nbmlops.store import Store, schema

_ENDED_EARLY = {"KILLED", "TIMEOUT", "DIED", "PRUNED"}
_MAGIC_LINE = "%"


def row_of(store: Store, runs: Runs, run: Run) -> Any | None:
    """The row of the stage that a run is, or in which it is nested; None for a run of a session."""
    s, seen = schema.stage_runs, run
    for _ in range(20):
        with store.read() as db:
            row = db.execute(sa.select(s).where(s.c.run_id == seen.run_id)).mappings().first()
        parent = runs.find(seen.parent_id) if row is None and seen.parent_id else None
        if row is not None or parent is None:
            return row
        seen = parent
    return None


class StageAgain:
    """The stage of a row, and how it is made again. ``here`` is the cell that asks, if the stage is still running."""

    def __init__(self, store: Store, runs: Runs, cells: Cells | None, row: Any, here: str | None) -> None:
        self.store, self.runs, self.cells, self.row = store, runs, cells, row
        self.run = runs.get(row["run_id"])
        self.document = self._document(here)
        self.executed = json.loads(store.blobs.get(row["executed"])) if row["executed"] else {"cells": []}

    def _document(self, here: str | None) -> dict[str, Any]:
        """The notebook as it was; of a stage that goes on, the cells until the one that asks."""
        if self.row["source"] is None or self.row["status"] in _ENDED_EARLY:
            raise UsageFault(
                f"{self.run.ref} was stopped before its end ({self.row['status']}): there is nothing to compare with",
                "run the stage to its end, and reproduce that",
            )
        data = self.store.blobs.get(self.row["source"])
        document = parameters.parse_document(data, self.row["notebook"])
        ids = [cell.get("id", f"cell-{place}") for place, cell in enumerate(document["cells"])]
        if self.row["status"] == "RUNNING" and here in ids:
            document["cells"] = document["cells"][: ids.index(here) + 1]
        return document

    def attempt(self, run: Run, context: Any, announce: Callable[[Event], None], stop: Stop) -> Attempt:
        """Execute it in a scratch store.

        Args:
            run: the run that is asked for: the stage's own, or one nested in it.
            context: who acts.
            announce: gets the events of stages and cells.
            stop: ends it.

        Raises:
            KeyboardInterrupt: it was stopped.
        """
        found = past.of_runs(self.store, self._all_runs(), self.run.started_at)
        found = replace(found, pins={**found.pins, **(self.row["pins"] or {})})
        work = self._work(found.pins)
        with clean(self.store, context, found, attempts.as_text([self.document, self.row["params"]])) as here:
            stage = StageRunner(here.desks, here.context, announce).once(work, stop)
            if stage.status == "KILLED":
                raise KeyboardInterrupt
            now = json.loads(self.store.blobs.get(stage.executed)) if stage.executed else {"cells": []}
            after = self._partner(run, here, stage)
        error, differences = self._ended(stage, now)
        return Attempt(
            "stage",
            after,
            stage.duration or 0.0,
            error,
            differences,
            cells=self._makers(self.executed if self.executed["cells"] else now),
            suspects=lambda: attempts.suspects("check_document", self.document, notebook=self.row["notebook"]),
        )

    def _all_runs(self) -> list[str]:
        """The stage's run and those nested in it."""
        found, todo = [self.run.run_id], [self.run.run_id]
        while todo:
            below = [child.run_id for child in self.runs.children(todo.pop())]
            found, todo = [*found, *below], [*todo, *below]
        return found

    def _work(self, pins: Mapping[str, int]) -> Work:
        row, settings = self.row, (self.row["facts"] or {}).get("settings", {})
        declared = parameters.read(self.document, row["notebook"])
        # Only what was given: the defaults are in the notebook, and its cells keep their numbers.
        given = self.executed.get("metadata", {}).get("papermill", {}).get("parameters", row["params"])
        known = {name: value for name, value in row["params"].items() if name in declared.items and name in given}
        data = json.dumps(self.document).encode()
        return Work(
            stage=row["stage"],
            label=row["label"] or row["stage"],
            notebook=row["notebook"],
            path=os.path.join(self._folder(), Path(row["notebook"]).name),
            document=data,
            declared=declared,
            params=declared.coerce(known),
            pins=dict(pins),
            candidate=bool(settings.get("candidate")),
            limits=self._limits(),
            kernel=settings.get("kernel"),
            skip=tuple(settings.get("skip", ())),
            preload=works.preload([(data, row["notebook"])]),
            experiment=self.run.experiment,
        )

    def _folder(self) -> str:
        return attempts.folder_of(self.run, os.path.abspath(self.row["notebook"]))

    def _limits(self) -> Limits:
        """Those of the pipeline's file, where there is one: a clean run is to take no more than the stage could."""
        import yaml

        f = schema.flows
        with self.store.read() as db:
            digest = db.execute(sa.select(f.c.spec).where(f.c.id == self.row["flow_id"])).scalar()
        try:
            stage = yaml.safe_load(self.store.blobs.get(digest))["stages"][self.row["stage"]] if digest else {}
        except (NotFound, yaml.YAMLError, KeyError, TypeError):  # then there are none
            return Limits()
        return replace(limits.read({k: v for k, v in stage.items() if k in limits.KEYS})[0], retries=0)

    def _partner(self, run: Run, here: Clean, stage: StageRun) -> Logged | None:
        """The clean run that answers to a run: the stage's own, or the nested one with the same place."""
        made = here.runs()
        if run.run_id == self.run.run_id:
            return next((r for r in made if r.run_id == stage.run_id), None)
        place = self._all_runs()[1:].index(run.run_id)
        nested = [r for r in made if r.run_id != stage.run_id]
        return nested[place] if place < len(nested) else None

    def _ended(
        self, stage: StageRun, executed_now: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any] | None, tuple[Difference, ...]]:
        """The cell that failed and had not, or the failure that did not come again."""
        was, now = self.row["error"] or {}, stage.error or {}
        failed = self.row["status"] == "FAILED" and "cell" in was
        if stage.status in {"FINISHED", "SKIPPED"}:
            place = f"{was.get('name')} in cell {was.get('cell')}"
            return None, (Difference("missing", "error of the stage", place, "nothing"),) if failed else ()
        if failed and (was["cell"], was["name"]) == (now.get("cell"), now["name"]):
            return None, ()
        label = self._label(executed_now, now["cell"] - 1) if "cell" in now else "the notebook"
        return failing.error(
            label, now["name"], now["message"], failing.outside(label, now["name"], now["message"])
        ), ()

    def _label(self, executed_now: Mapping[str, Any], index: int) -> str:
        """The label of a cell as it was when the run was made."""
        cell_id = executed_now["cells"][index].get("id")
        places = [place for place, cell in enumerate(self.executed["cells"]) if cell.get("id") == cell_id]
        return label_of(self.executed, places[0]) if places else label_of(executed_now, index)

    def _makers(self, executed: Mapping[str, Any]) -> attempts.Makers:
        journal = attempts.made_by(self.cells)

        def find(difference: Difference, run: Logged) -> tuple[str, ...]:
            return journal(difference, run) or mentions(executed, attempts.subject_of(difference)[1])

        return find


def label_of(notebook: Mapping[str, Any], index: int) -> str:
    """``[3]`` as in ``In [3]``; where a cell has no number, ``cell 4``, counted in the notebook."""
    cells = notebook["cells"]
    count = cells[index].get("execution_count") if index < len(cells) else None
    return f"[{count}]" if count is not None else f"cell {index + 1}"


def mentions(notebook: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The cells in which a name stands as a text, or behind ``%mlops metric``: those that logged what it names."""
    found = []
    for index, cell in enumerate(notebook["cells"]):
        if cell.get("cell_type") == "code" and name and name in (source := parameters.cell_source(cell)):
            plain = [line for line in source.splitlines() if not line.lstrip().startswith(_MAGIC_LINE)]
            if len(plain) < len(source.splitlines()) or name in _texts("\n".join(plain)):
                found.append(label_of(notebook, index))
    return tuple(found)


def _texts(source: str) -> set[str]:
    """All texts in a cell, and the names of arguments: ``log_metrics(dict(loss=1))``."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError):
        return set()
    texts = {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return texts | {n.arg for n in nodes if isinstance(n, ast.keyword) and n.arg}
