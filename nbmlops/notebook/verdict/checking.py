"""The verdict on what ran: would a clean run of the notebook give the same?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from nbmlops.notebook.cells import syntax_of
from nbmlops.notebook.dataflow.slices import KNOWN_NAMES
from nbmlops.notebook.verdict.causes import causes
from nbmlops.notebook.verdict.matching import Cell, History, Ran, document_cells, match
from nbmlops.notebook.verdict.replay import Both, Comparison, Followed, compare, follow
from nbmlops.notebook.verdict.words import finding
from nbmlops.records.cells import CellExecution, CellFinding, Verdict

_ORDER = ("invalid", "unknown", "weakly valid", "strongly valid")
_MOST = 20  # causes told; the rest follows from them


def check(
    executions: Sequence[CellExecution],
    document: Mapping[str, Any] | None = None,
    *,
    saved_at: float | None = None,
    notebook: str = "",
    folder: str | None = None,
) -> Verdict:
    """Whether the notebook, run from top to bottom in a fresh kernel, would give what these executions gave.

    Executions are in the order in which they ran. Without a document the notebook is what ran, each cell where it ran
    last. ``saved_at`` is when the document was saved (seconds since 1970); what ran later may not be in it yet.
    ``folder`` is where the notebook's relative paths begin.
    """
    history = match(executions, document, saved_at)
    return _verdict(_found(history, folder), history, notebook)


def check_document(document: Mapping[str, Any], *, notebook: str = "", folder: str | None = None) -> Verdict:
    """The same for a saved notebook without a journal: its execution counts tell in which order its cells ran last."""
    from nbmlops.notebook.verdict.counts import counted

    executions, gaps = counted(document)
    history = match(executions, document)
    found = _found(history, folder)
    if gaps and history.ran:
        found.append(_may_hide(history, gaps))
    return _verdict(found, history, notebook)


def _found(history: History, folder: str | None) -> list[CellFinding]:
    both = follow(history)
    flow = [] if history.straight else _of_flow(history, both)
    return [*_of_cells(history), *flow, *_missing(history, both.ran), *_weak(history, both.clean, folder)]


def _verdict(found: Sequence[CellFinding], history: History, notebook: str) -> Verdict:
    findings = sorted(_together(found), key=lambda one: _ORDER.index(one.level))
    ran = sum(1 for cell in history.cells if cell.ran)
    return Verdict(findings[0].level if findings else _ORDER[-1], tuple(findings), len(history.cells), notebook, ran)


def _together(found: Sequence[CellFinding]) -> list[CellFinding]:
    """One finding for what one execution did to several users of one name; an edit is told with who used what was."""
    used = {one.cells[0] for one in found if one.kind == "edited" and one.level == "invalid" and one.names}
    kept: dict[tuple[Any, ...], list[CellFinding]] = {}
    for one in found:
        if one.kind == "edited" and not one.names and one.cells[0] in used:
            continue
        first = one.cells[:1] if one.kind != "error" else ()  # a clean run stops at the first of them
        key = (one.kind, one.level, first, one.names, one.kind == "error" and one.mend)
        kept.setdefault(key, []).append(one)
    return [_joined(alike) for alike in kept.values()]


def _joined(alike: Sequence[CellFinding]) -> CellFinding:
    first = alike[0]
    cells = tuple(dict.fromkeys(cell for one in alike for cell in one.cells))
    more = cells[len(first.cells) :]
    if not more:
        return first
    return replace(first, cells=cells, what=f"{first.what} The same with {', '.join(more)}.")


def _of_cells(history: History) -> Iterator[CellFinding]:
    """What is wrong with single cells: edited, failed, interrupted, not Python."""
    for cell in history.cells:
        last = cell.last
        if last is None:
            if _is_broken(cell.source):
                yield CellFinding(
                    "error",
                    "invalid",
                    (cell.label,),
                    f"{cell.label} is not Python: a clean run stops there.",
                    "Mend or delete it.",
                )
            continue
        if not last.current:
            yield CellFinding(
                "edited",
                "invalid",
                (cell.label,),
                f"{cell.label} was edited after it last ran.",
                f"Run {cell.label} again, and then the cells that use what it sets.",
            )
        yield from _ended(cell, last)
    for ran in history.ran:
        if ran.execution.status == "earlier" and not ran.execution.source:
            yield CellFinding(
                "missing",
                "unknown",
                (ran.execution.label,),
                f"{ran.execution.label} ran before the recording began, and its source is not known.",
                "Restart the kernel and run all cells.",
            )


def _ended(cell: Cell, last: Ran) -> Iterator[CellFinding]:
    execution = last.execution
    if execution.status == "error" and "raises-exception" not in cell.tags:
        error = execution.error or {}
        name = error.get("ename") or error.get("name") or "an error"
        yield CellFinding(
            "error",
            "invalid",
            (cell.label,),
            f"{cell.label} ended with {name}: a clean run stops there.",
            "Mend the cell and run it again, or tag it raises-exception.",
        )
    elif execution.status in {"interrupted", "lost"}:
        yield CellFinding(
            "interrupted",
            "unknown",
            (cell.label,),
            f"{cell.label} was {execution.status} before its end.",
            "Run it again.",
        )


def _is_broken(source: str) -> bool:
    return syntax_of(source)[1] is None and source.lstrip()[:1] not in {"/", ",", ";", "%", "!", "?"}


def _of_flow(history: History, both: Both) -> list[CellFinding]:
    """Where cells used something else than in a clean run."""
    cautious = compare(history, both)
    if cautious.same:
        return []
    hopeful = compare(history, follow(history, hopeful=True))
    surely = {id(cell) for cell in hopeful.cells}
    found = []
    if not hopeful.same:
        found = [finding(cause, level="invalid") for cause in causes(history, hopeful)]
    if not found and not hopeful.same:
        found = [_again(history, hopeful) or _somewhere(history, hopeful, kind="order", level="invalid")]
    maybe = [cause for cause in causes(history, cautious) if id(cause.user) not in surely]
    told = {(one.kind, one.names) for one in found}
    doubts = [finding(cause, level="unknown") for cause in maybe]
    doubts = [one for one in doubts if (one.kind, one.names) not in told]
    if not found and not doubts:
        doubts = [_somewhere(history, cautious, kind="dynamic", level="unknown")]
    return [*found[:_MOST], *_dynamic(history, cautious.ran, doubts)[:_MOST]]


def _again(history: History, found: Comparison) -> CellFinding | None:
    """What differs differs by cells that ran more than once: what they changed lies in no name, as in a closure."""
    labels = [cell.label for cell in found.cells if sum(one.cell is cell for one in history.ran) > 1]
    if not labels:
        return None
    what = f"{', '.join(labels)} ran more than once, and would give something else after one run."
    mend = "Restart the kernel and run all cells."
    return CellFinding("repeated", "invalid", tuple(labels[:_MOST]), what, mend, tuple(found.names))


def _somewhere(history: History, found: Comparison, *, kind: str, level: str) -> CellFinding:
    """Something differs, and no single cell is to blame for sure."""
    opaque = [one.execution.label for one, step in zip(history.ran, found.ran.steps) if step.opaque]
    parted = [cell.label for cell in found.cells] or [cell.label for cell in history.cells if cell.ran]
    labels = tuple(dict.fromkeys((*(opaque if kind == "dynamic" else ()), *parted)))[:_MOST]
    verb = "would" if level == "invalid" else "may"
    what = f"{', '.join(labels)} {verb} give something else in a clean run."
    return CellFinding(kind, level, labels, what, "Restart the kernel and run all cells.", tuple(found.names))


def _dynamic(history: History, ran: Followed, doubts: list[CellFinding]) -> list[CellFinding]:
    """Doubts that rest on code that is text are called so."""
    opaque = {one.execution.label: step.opaque[0] for one, step in zip(history.ran, ran.steps) if step.opaque}
    told = []
    for one in doubts:
        label = next((label for label in one.cells if label in opaque), None)
        told.append(one if label is None else replace(one, kind="dynamic", what=f"{label} {opaque[label]}. {one.what}"))
    return told


def _missing(history: History, ran: Followed) -> Iterator[CellFinding]:
    """Names that no recorded cell defines."""
    for one, step in zip(history.ran, ran.steps):
        if one.cell is None or one.cell.last is not one or one.failed:
            continue
        for name in step.missing:
            if name in KNOWN_NAMES or step.sources.get(name) or name in one.execution.stored:
                continue
            label = one.execution.label
            yield CellFinding(
                "missing",
                "unknown",
                (label,),
                f"{label} used `{name}`, which no recorded cell defines.",
                f"Define `{name}` in the notebook.",
                (name,),
            )


_MENDS = {
    "random": "Give a seed: random_state=…, numpy.random.default_rng(…), random.seed(…).",
    "clock": "Make the time a parameter, if results depend on it.",
    "network": "Keep what was fetched as a snapshot (nbmlops.snapshot) and load that.",
    "file": "Keep the file as a snapshot (nbmlops.snapshot) and load that.",
    "path": "Use a path relative to the notebook, or a snapshot.",
    "database": "Keep the answer as a snapshot (nbmlops.snapshot) and load that.",
    "store": "Name what is meant, such as run:ID or dataset:NAME@3.",
    "act": "It does so each time it runs: leave it to a notebook that is run for that.",
    "environment": "Make it a parameter.",
    "shell": "Do it in Python, or keep what it made as a snapshot.",
}


def _weak(history: History, clean: Followed, folder: str | None) -> Iterator[CellFinding]:
    """What a clean run rests on besides the notebook."""
    for cell, step in zip(history.cells, clean.steps):
        if not cell.ran:
            continue
        for note in step.notes:
            if note.kind == "module":
                if folder and (file := _local(folder, note.what)):
                    yield CellFinding(
                        "import",
                        "weakly valid",
                        (cell.label,),
                        f"{cell.label} imports {file}, a file beside the notebook that may change.",
                        "Keep it under version control.",
                        (note.what,),
                    )
                continue
            level = "weakly valid" if note.kind != "dynamic" else "unknown"
            yield CellFinding(
                note.kind,
                level,
                (cell.label,),
                f"{_placed(cell.label, note.what)}.",
                _MENDS.get(note.kind, ""),
                note.names,
            )


_VERBS = frozenset(
    ["asks", "uses", "runs", "reads", "depends", "draws", "writes", "installs", "fetches", "decides", "records"]
)


def _placed(label: str, what: str) -> str:
    return f"{label} {what}" if what.partition(" ")[0] in _VERBS else f"In {label}, {what}"


def _local(folder: str, module: str) -> str:
    """The file of a module that lies beside the notebook."""
    name = module.lstrip(".").replace(".", os.sep)
    first = name.partition(os.sep)[0]
    for path in (f"{name}.py", os.path.join(name, "__init__.py"), f"{first}.py", os.path.join(first, "__init__.py")):
        if name and os.path.isfile(os.path.join(folder, path)):
            return path
    return ""


def _may_hide(history: History, gaps: Sequence[str]) -> CellFinding:
    """Executions that left no trace: a deleted cell may have set any name, option or member of a library.

    The cells that are told are those that change what another has made, where there are such.
    """
    steps = follow(history).clean.steps
    ran = [(cell.label, step) for cell, step in zip(history.cells, steps) if cell.ran]
    changing = [label for label, step in ran if _is_touchy(step)]
    return CellFinding(
        "repeated",
        "unknown",
        tuple((changing or [label for label, _ in ran])[:_MOST]),
        f"Cells ran {', '.join(gaps[:5])} that left no trace: repeated, edited or deleted ones.",
        "Restart the kernel and run all cells.",
    )


def _is_touchy(step: Any) -> bool:
    """Whether a cell changes what another has made, or uses a random state."""
    return bool({*step.changed_names, *step.stored} & set(step.sources)) or any(
        name.startswith("<random") for name in step.sources
    )


__all__ = ["check", "check_document", "document_cells"]
