"""Why a cell fails in a clean run that did not when the run was made, in words."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Mapping, Sequence
from typing import Any

from nbmlops.records import CellExecution
from nbmlops.reproduction.steps import Step, Steps

_NAME = re.compile(r"name '([^']+)' is not defined")
_MODULE = re.compile(r"No module named '([^']+)'")


def why(name: str, message: str, step: Step, steps: Steps, behind: Sequence[CellExecution]) -> str:
    """One sentence on the first cell that failed.

    Args:
        name: of the error.
        message: what it said.
        step: the cell.
        steps: all cells of the clean run.
        behind: everything that ran when the run was made.
    """
    label = step.execution.label
    if name in {"NameError", "UnboundLocalError"} and (found := _NAME.search(message)):
        if told := _maker(found[1], step, steps, behind):
            return f"{label} uses `{found[1]}`, {told}"
        return f"{label} uses `{found[1]}`, which no recorded cell defines"
    if name in {"KeyError", "AttributeError"}:
        key = message.strip("'\"") if name == "KeyError" else message.rpartition("attribute ")[2].strip("'\"")
        if told := _mentions(key, step, steps, behind):
            return f"{label} needs `{key}`, {told}"
    expected = step.execution.error
    if expected is not None:
        return f"{label} raised {expected.get('name')} when the run was made"
    return outside(label, name, message)


def outside(label: str, name: str, message: str) -> str:
    """What the error itself says of things outside of the notebook."""
    if found := _MODULE.search(message):
        return f"{label} imports {found[1]}, which is not installed here"
    if name in {"FileNotFoundError", "PermissionError"}:
        return f"{label} uses a file that is not there, or no longer as it was"
    if name == "StageTimeout":
        return f"{label} did not come to its end in time"
    if name in {"KernelDied", "MemoryLimit", "OutOfMemory"}:
        return f"the kernel died in {label}"
    return f"{label} did not raise {name} when the run was made"


def _maker(name: str, step: Step, steps: Steps, behind: Sequence[CellExecution]) -> str:
    """What has become of the cell that had defined a name before this one ran."""
    until = step.execution.number
    makers = [e for e in behind if e.number < until and name in _stored(e)]
    # `x += 1` stores what it needs: the cell that defined it is another one.
    others = [e for e in makers if not e.cell_id or e.cell_id != step.execution.cell_id]
    return _became((others or makers)[-1], step, steps, behind, "defined") if makers else ""


def _mentions(key: str, step: Step, steps: Steps, behind: Sequence[CellExecution]) -> str:
    """The same of a cell that is not executed, or later, and has this text in it: a column, say."""
    ran = {s.execution.execution_id for s in steps.steps[: steps.steps.index(step)]}
    quoted = re.compile(rf"(?<![\w]){re.escape(key)}(?![\w])")
    until = step.execution.number
    found = [e for e in behind if e.number < until and e.execution_id not in ran and key and quoted.search(e.source)]
    return _became(found[-1], step, steps, behind, "made") if found else ""


def _became(maker: CellExecution, step: Step, steps: Steps, behind: Sequence[CellExecution], verb: str) -> str:
    for execution, reason in steps.left_out:
        if execution.execution_id == maker.execution_id or (maker.cell_id and execution.cell_id == maker.cell_id):
            if execution.status in {"interrupted", "lost"}:
                return f"which {maker.label} {verb}; that cell is not executed again: {reason}"
            return f"which a deleted cell {maker.label} {verb}"
    places = {s.execution.cell_id or s.cell_id: place for place, s in enumerate(steps.steps)}
    place, here = places.get(maker.cell_id or ""), steps.steps.index(step)
    if place is not None and place > here:
        return f"which {maker.label}, further down in the notebook, {verb}"
    if any(s.execution.execution_id == maker.execution_id for s in steps.steps):
        return f"which {maker.label} {verb} when the run was made, and does not now"
    return f"which an earlier text of {steps.steps[place].execution.label if place is not None else maker.label} {verb}"


def _stored(execution: CellExecution) -> set[str]:
    """The names that an execution bound: as they were seen, else as its text says."""
    if execution.stored:
        return set(execution.stored)
    try:
        tree = ast.parse(re.sub(r"^(\s*)[%!?].*$", r"\1pass", execution.source, flags=re.MULTILINE))
    except (SyntaxError, ValueError):
        return set()
    found = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    return found - set(dir(builtins))


def error(cell: str, name: str, message: str, why: str) -> Mapping[str, Any]:
    """What a certificate keeps of the first cell that failed."""
    return {"cell": cell, "name": name, "message": message[:2000], "why": why}
