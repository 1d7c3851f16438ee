"""Why a cell had other inputs than in a clean run: which executions made what it used, and which would."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nbmlops.notebook.verdict.matching import Cell, History, Ran
from nbmlops.notebook.verdict.replay import Comparison


@dataclass(frozen=True)
class Cause:
    """``made`` is the execution or cell to blame, ``user`` the cell that used the name; None for what names end as."""

    kind: str
    name: str
    made: Ran | Cell | None
    user: Cell | None
    detail: str = ""


def causes(history: History, found: Comparison) -> list[Cause]:
    """Every first cause; what only follows from another is left out."""
    looked: list[Cause] = []
    place = {id(one): number for number, one in enumerate(history.ran)}
    for cell in found.cells:
        last = cell.last
        if last is None:
            continue
        ran = found.ran.steps[place[id(last)]]
        clean = found.clean.steps[history.cells.index(cell)]
        for name in dict.fromkeys((*ran.sources, *clean.sources, *ran.missing, *clean.missing)):
            sources = ran.sources.get(name, 0), clean.sources.get(name, 0)
            if name in clean.missing and name not in ran.missing:
                looked += _gone(history, found, name=name, user=cell)
            looked += _why(history, found, name=name, sources=sources, user=cell)
    for name in found.names:
        sources = found.ran.final(name)[1], found.clean.final(name)[1]
        looked += _why(history, found, name=name, sources=sources, user=None)
    told = {(one.kind, one.name, id(one.made)) for one in looked if one.user is not None}
    return [
        one for one in dict.fromkeys(looked) if one.user is not None or (one.kind, one.name, id(one.made)) not in told
    ]


def _gone(history: History, found: Comparison, *, name: str, user: Cell) -> Iterator[Cause]:
    """The execution that first made a name which a clean run lacks: others have changed it since, and hide it."""
    steps = found.ran.steps
    first = next((one for number, one in enumerate(history.ran) if name in steps[number].stored), None)
    if first is not None and first.cell is None:
        yield Cause("deleted", name, first, user, _stored_how(found, name))


def _why(
    history: History, found: Comparison, *, name: str, sources: tuple[int, int], user: Cell | None
) -> Iterator[Cause]:
    """How the executions that made a name differ from the cells that would make it."""
    made = _distinct(history, found, sources[0])
    would = [cell for number, cell in enumerate(history.cells) if sources[1] >> number & 1]
    told = []
    for one in made:
        if one.cell is None:
            told.append(Cause("deleted", name, one, user, _stored_how(found, name)))
        elif not one.current:
            told.append(Cause("edited", name, one, user))
    ours = [one.cell for one in made if one.current]
    if ours == would:
        yield from told
        return
    clear = [*told, *_clear(history, made=made, would=would, name=name, user=user)]
    if clear:
        yield from clear
        return
    for one in made:
        if one.current and one.cell not in would:
            yield Cause("order", name, one, user, "lost")
    for cell in would:
        if cell not in ours:
            yield Cause("order", name, cell, user, "not yet")
    if len(ours) == len(would) > 1 and set(map(id, ours)) == set(map(id, would)):
        swapped = next(one for one, cell in zip(made, would) if one.cell is not cell)
        yield Cause("order", name, swapped, user, "swapped")


def _clear(history: History, *, made: list[Ran], would: list[Cell], name: str, user: Cell | None) -> Iterator[Cause]:
    """Causes that explain all by themselves."""
    order = {id(cell): number for number, cell in enumerate(history.cells)}
    ours = [one.cell for one in made if one.current]
    for one in made:
        if one.cell is None or not one.current:
            continue
        if ours.count(one.cell) > 1 or one.cell is user:
            yield Cause("repeated", name, one.cell, user)
        elif one.cell not in would and user is not None and order[id(one.cell)] > order[id(user)]:
            yield Cause("order", name, one, user, "later")
    for cell in would:
        if not cell.ran:
            yield Cause("unrun", name, cell, user)


def _distinct(history: History, found: Comparison, mask: int) -> list[Ran]:
    """The executions; those of one cell that did the same count once."""
    kept: dict[tuple[int, int], Ran] = {}
    for number, one in enumerate(history.ran):
        if mask >> number & 1:
            kept.setdefault((id(one.cell) if one.cell else -number, found.ran.steps[number].made), one)
    return list(kept.values())


def _stored_how(found: Comparison, name: str) -> str:
    """Whether a name was imported there."""
    bound = found.ran.machine.top.names.get(name)
    return "import" if bound is not None and (bound.kind in {"module", "imported"}) else ""
