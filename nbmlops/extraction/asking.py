"""What is asked for: the program that led to a result, and which of its cells made the result."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nbmlops.errors import InvalidValue, NotFound
from nbmlops.models import Models
from nbmlops.notebook.cells import parse_python, python_lines
from nbmlops.notebook.dataflow import Dataflow
from nbmlops.notebook.literals import scope
from nbmlops.notebook.uses import found_in
from nbmlops.records import CellExecution
from nbmlops.runs import Runs

if TYPE_CHECKING:
    from nbmlops.cells import Cells

_LOADED = "the journal begins with `%load_ext nbmlops`: load it in the first cell, and run the cells again"
_LOGS = re.compile(
    r"\b(log_\w+|set_tags?|snapshot|split_dataset|register_model|output|start_run|end_run|set_experiment|autolog)\s*\("
    r"|^\s*%mlops\s+(param|metric|log|snapshot|register|start|end|experiment)\b|^\s*%%mlops\s+run\b",
    re.MULTILINE,
)
_AROUND = re.compile(r"\b(set_experiment|autolog)\s*\(|^\s*%mlops\s+experiment\b", re.MULTILINE)
_ENDS = re.compile(r"\bend_run\s*\(|^\s*%mlops\s+end\b", re.MULTILINE)
_FAILED = {"error", "interrupted", "lost", "running"}


@dataclass(frozen=True)
class Live:
    """The notebook that asks: its namespace, and what ran in it until now."""

    namespace: Mapping[str, Any] = field(default_factory=dict)
    executions: Sequence[CellExecution] = ()
    document: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Asked:
    """``program`` ran in this order; ``steps`` are the places in it of what made the result.

    ``name`` is a variable whose value after the program is wanted; without one it is what ``run_ids`` logged, or only
    ``artifact`` (a path), ``metric`` or ``model`` (a reference).
    """

    what: str
    title: str
    program: tuple[CellExecution, ...]
    steps: tuple[int, ...] = ()
    name: str = ""
    run_id: str = ""
    artifact: str = ""
    metric: str = ""
    model: str = ""
    document: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()


class Asking:
    """Finds what a text means: ``run:ID``, ``run:ID/PATH``, ``model:NAME@3``, or a variable of the live notebook."""

    def __init__(self, runs: Runs, models: Models, journal: Cells) -> None:
        self._runs, self._models, self._journal = runs, models, journal

    def find(self, what: str, live: Live | None) -> Asked:
        """What is asked for.

        Raises:
            NotFound: there is no such thing, or nothing was recorded of how it came about.
        """
        text = what.strip()
        if live is not None and text.isidentifier() and (text in live.namespace or not self._is_run(text)):
            return self._variable(text, live)
        head, slash, path = text.partition("/")
        if text.startswith(("model:", "models:/")):
            return self._model(text)
        if head.startswith("run:") and slash and path and not text.startswith("run:/"):
            return self._part(head, path)
        return self._run(text)

    def _is_run(self, text: str) -> bool:
        try:
            self._runs.get(text)
        except (NotFound, InvalidValue):
            return False
        return True

    def _variable(self, name: str, live: Live) -> Asked:
        if name not in live.namespace:
            raise NotFound.of("variable", name, [n for n in live.namespace if not n.startswith("_")][:200])
        program, notes = without_failures(live.executions)
        if not program:
            raise NotFound(f"nothing is recorded of how {name} came about", _LOADED)
        return Asked(name, name, program, name=name, document=live.document, notes=notes)

    def _run(self, text: str) -> Asked:
        run = self._runs.get(text)
        program, notes = self._behind(run.run_id)
        steps = _steps_of(run.run_id, program)
        document, _ = self._journal.document(run.run_id)
        return Asked(run.ref, run.name, program, steps, run_id=run.run_id, document=document, notes=notes)

    def _part(self, head: str, path: str) -> Asked:
        """An artifact of a run by its path, or a metric by its name."""
        run = self._runs.get(head)
        paths = [artifact.path for artifact in self._runs.artifacts(run.run_id)]
        if path not in paths and path not in run.metrics:
            raise NotFound.of("artifact or metric", path, [*paths, *run.metrics])
        kind = "artifact" if path in paths else "metric"
        program, notes = self._behind(run.run_id)
        made = self._journal.made(kind, run.run_id, path)
        steps = _place_of(made, program) or _steps_of(run.run_id, program)
        steps = tuple(sorted({*steps, *_around(run.run_id, program, steps)}))
        document, _ = self._journal.document(run.run_id)
        asked = Asked(f"{run.ref}/{path}", f"{run.name}: {path}", program, steps, "", run.run_id)
        asked = replace(asked, document=document, notes=notes)
        return replace(asked, artifact=path) if kind == "artifact" else replace(asked, metric=path)

    def _behind(self, run_id: str) -> tuple[tuple[CellExecution, ...], tuple[str, ...]]:
        program, notes = without_failures(self._journal.behind(run_id))
        if not program:
            raise NotFound(f"nothing is recorded of the cells of run {run_id}", _LOADED)
        return program, notes

    def _model(self, text: str) -> Asked:
        version = self._models.get(text)
        made = self._journal.made("model", version.ref)
        run_id = version.run_id or ""
        if made is not None:
            earlier = [e for e in self._journal.executions(made.session_id) if e.number <= made.number]
            program, notes = without_failures(earlier)
        elif run_id:
            program, notes = self._behind(run_id)
        else:
            raise NotFound(f"nothing is recorded of the cells that made {version.ref}", _LOADED)
        steps = _place_of(made, program) or registering(version.name, program)
        if run_id:
            steps = tuple(sorted({*steps, *_around(run_id, program, steps)}))
        document = self._journal.document(run_id)[0] if run_id else None
        return Asked(
            version.ref, version.name, program, steps, run_id=run_id, model=version.ref, document=document, notes=notes
        )


def without_failures(executions: Iterable[CellExecution]) -> tuple[tuple[CellExecution, ...], tuple[str, ...]]:
    """The executions that came to their end, and those that raised but have done all that their code says to names."""
    found = list(executions)
    kept = tuple(e for e in found if e.status not in _FAILED or _did_all(e))
    needed = {name for e in kept for name in e.loaded}
    notes = tuple(
        f"{e.label} did not come to its end and is left out; it had set {', '.join(sorted(needed & set(e.stored)))}"
        for e in found
        if e not in kept and needed & set(e.stored)
    )
    return kept, notes


def _did_all(execution: CellExecution) -> bool:
    """Whether a cell that raised set every name that it would have set: what it changed in place may be needed."""
    if execution.status != "error":
        return False
    (effects,) = Dataflow.of([execution.source]).effects
    return set(effects.stores) <= set(execution.stored)


def _place_of(made: CellExecution | None, program: Sequence[CellExecution]) -> tuple[int, ...]:
    return tuple(i for i, e in enumerate(program) if made is not None and e.execution_id == made.execution_id)


def _steps_of(run_id: str, program: Sequence[CellExecution]) -> tuple[int, ...]:
    """The cells that logged something to a run; where the journal cannot tell, those whose code logs."""
    own = {i for i, e in enumerate(program) if any(t.subject == run_id and t.kind != "run" for t in e.touched)}
    if not own:
        own = {i for i, e in enumerate(program) if run_id in e.runs and _LOGS.search(e.source)}
    if not own:
        own = {i for i, e in enumerate(program) if _LOGS.search(e.source)}
    if not own:
        own = {len(program) - 1}
    others = {
        i
        for i, e in enumerate(program)
        if run_id in e.runs and any(t.kind in {"dataset", "model"} and t.mode == "write" for t in e.touched)
    }
    return tuple(sorted({*own, *others, *_around(run_id, program, tuple(own))}))


def _around(run_id: str, program: Sequence[CellExecution], steps: Sequence[int]) -> set[int]:
    """The cells that began and ended the run, chose its experiment, or switched logging on."""
    if not steps:
        return set()
    own = [i for i, e in enumerate(program) if run_id in e.runs]
    found = {i for i in own[:1] if _LOGS.search(program[i].source)}
    found |= {i for i in own if _ENDS.search(program[i].source)}
    found |= {i for i, e in enumerate(program[: max(steps)]) if _AROUND.search(e.source)}
    return found


def registering(name: str, program: Sequence[CellExecution]) -> tuple[int, ...]:
    """The last cell whose code registers a model of this name."""
    trees = [(i, tree) for i, e in enumerate(program) if (tree := tree_of(e.source)) is not None]
    names = scope(tuple(tree for _, tree in trees))
    found = [i for i, tree in trees if f"model:{name}" in found_in([(i, tree)], names).writes]
    return tuple(found[-1:]) or (len(program) - 1,)


def tree_of(source: str) -> ast.Module | None:
    """A cell as syntax, or None for what is no Python."""
    text = python_lines(source)
    return None if text is None else parse_python(text)
