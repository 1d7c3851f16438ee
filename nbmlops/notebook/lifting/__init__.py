"""From cells that were kept to a stage: imports first, then typed parameters, then the cells.

Everything here is text and syntax; nothing is executed, and what a cell does is left as it is. Where moving something
could change a result it stays where it was.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nbmlops.notebook.lifting.cell import Cell, Draft
from nbmlops.notebook.lifting.gathering import gather
from nbmlops.notebook.lifting.values import Lift, assigned, given
from nbmlops.notebook.literals import Scope, scope
from nbmlops.notebook.parameters import Parameters
from nbmlops.records import LiftedParameter

__all__ = ["Cell", "Draft", "Lifted", "lift"]


@dataclass(frozen=True)
class Lifted:
    """A stage in parts: ``imports`` and ``cells`` are source texts, ``extension`` says whether magics need it."""

    imports: str
    parameters: tuple[LiftedParameter, ...]
    cells: tuple[Cell, ...]
    extension: bool = False

    @property
    def parameters_source(self) -> str:
        """The source of the parameters cell; empty without parameters."""
        return "\n".join(_line(parameter) for parameter in self.parameters)


def lift(cells: Sequence[Cell], *, declared: Parameters | None = None, more: Sequence[str] = ()) -> Lifted:
    """Take imports and literals that look like parameters out of cells that ran in this order.

    Args:
        cells: the cells, one after the other; a cell that ran twice comes twice.
        declared: parameters that the notebook itself declares, whose help texts are kept.
        more: imports to add.
    """
    drafts = [Draft.of(_without_extension(cell)) for cell in cells]
    names = known_names(drafts)
    lifts = assigned(drafts, names, declared)
    lifts += given(drafts, names, {one.parameter.name: one.value for one in lifts})
    for one in lifts:
        _take(drafts, one)
    secret = any(one.parameter.type == "nbmlops.Secret" for one in lifts)
    imports = gather(drafts, names, ["import nbmlops", *more] if secret else more)
    kept = [replace(draft.cell, source=_with_params(draft, number, lifts)) for number, draft in enumerate(drafts)]
    parameters: dict[str, LiftedParameter] = {}
    for one in lifts:  # several calls may share one: the first tells where it came from
        parameters.setdefault(one.parameter.name, one.parameter)
    full = tuple(cell for cell in kept if cell.source.strip())
    return Lifted(imports, tuple(parameters.values()), full, _needs_extension(full))


def known_names(drafts: Sequence[Draft]) -> Scope:
    """What the names of the cells stand for."""
    return scope(tuple(ast.Module(body=draft.statements, type_ignores=[]) for draft in drafts if draft.statements))


def _line(parameter: LiftedParameter) -> str:
    said = ", ".join(text for text in (parameter.help, f"from {parameter.cell}" if parameter.cell else "") if text)
    return f"{parameter.name}: {parameter.type} = {parameter.default}" + (f"  # {said}" if said else "")


def _take(drafts: Sequence[Draft], one: Lift) -> None:
    """Note in the drafts that a literal goes."""
    for cell, place in one.places:
        drafts[cell].dropped.add(place)
    if one.node is not None:
        cell, node = one.node
        begin, end = drafts[cell].span(node)
        drafts[cell].edits.append((begin, end, one.parameter.name))


def _with_params(draft: Draft, number: int, lifts: Sequence[Lift]) -> str:
    """The cell's new text; ``%%mlops run`` goes on to log as parameters what was assigned in it."""
    text = draft.result()
    run = next(((line, begin) for name, line, begin in draft.magics if name == "mlops"), None)
    if run is None or not text or "--no-auto" in run[0]:
        return text
    own = [one.parameter for one in lifts if any(cell == number for cell, _ in one.places)]
    gone = [parameter.name for parameter in own if parameter.type != "nbmlops.Secret"]
    gone = [name for name in gone if name not in run[0].replace(",", " ").split()]
    if not gone:
        return text
    head, _, body = text.partition("\n")
    return f"{head.rstrip()} --params {','.join(gone)}\n{body}"


_EXTENSION = re.compile(r"^%(?:re)?load_ext[ \t]+nbmlops[ \t]*\n?", re.MULTILINE)


def _without_extension(cell: Cell) -> Cell:
    """The cell without the line that loads our extension, which stands first where a cell needs it."""
    if cell.source.lstrip().startswith("%%") or '"""' in cell.source or "'''" in cell.source:
        return cell  # the line may be part of a text; loaded twice does no harm
    return replace(cell, source=_EXTENSION.sub("", cell.source))


def _needs_extension(cells: Sequence[Cell]) -> bool:
    return any("%mlops" in line for cell in cells for line in cell.source.splitlines())
