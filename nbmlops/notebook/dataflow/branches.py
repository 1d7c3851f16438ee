"""What may happen or not: names that stand for one of several things afterwards."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager

from nbmlops.notebook.dataflow.frames import Frame
from nbmlops.notebook.dataflow.machine import Machine
from nbmlops.notebook.dataflow.sealing import Seal, sealed
from nbmlops.notebook.dataflow.things import Bound, Thing

Names = dict[str, Bound]


def scopes(m: Machine) -> list[Names]:
    """The scopes in which the code at hand can bind names."""
    frames: dict[Frame, None] = {}
    frame: Frame | None = m.frame
    while frame is not None:
        frames[frame] = None
        frame = frame.outer
    frames[m.top] = None
    return [frame.names for frame in frames]


def copies(m: Machine) -> list[Names]:
    return [dict(names) for names in scopes(m)]


def restore(m: Machine, saved: list[Names]) -> None:
    for names, old in zip(scopes(m), saved):
        names.clear()
        names.update(old)


def merge(m: Machine, seal: Seal, *, before: list[Names], others: list[list[Names]]) -> None:
    """One of several outcomes: what the names stand for now, in ``others``, or as they were ``before``."""
    for number, names in enumerate(scopes(m)):
        was = before[number] if number < len(before) else {}
        versions = [other[number] for other in others if number < len(other)] or [was]
        for name in dict.fromkeys((*names, *(n for other in versions for n in other))):
            found = [names.get(name), *(other.get(name) for other in versions)]
            different = list(dict.fromkeys(found))
            if len(different) > 1:
                merged = joined(m, seal, name=name, old=was.get(name), found=different)
                if merged is not None:
                    names[name] = merged
                    m.changes.append((merged, (m.frame, name)))


def joined(m: Machine, seal: Seal, *, name: str, old: Bound | None, found: list[Bound | None]) -> Bound | None:
    """One place for what may be one of several; ``old`` is what it was before, if that may be left."""
    new = [bound for bound in found if bound is not None and bound is not old]
    kept = old in found
    if not new:
        return old if kept and not m.hopeful else None if old is None else old
    choice = m.versions.of("either", seal.version, name, *(b.choice for b in new))
    if kept and not m.hopeful:
        before = 0 if old is None else m.quiet_version(old)
        if old is not None and m.versions.term(old.choice)[:2] == ("maybe", choice):
            choice = old.choice
        elif old is not None and len(old.things) == 1 and m.versions.term(before)[:2] == ("maybe", choice):
            choice = before
        else:
            choice = m.versions.of("maybe", choice, before)
    parts = [bound for bound in ([old] if kept and not m.hopeful else []) + new if bound is not None]
    things = tuple(dict.fromkeys(t for bound in parts for t in bound.things))
    plain = [bound for bound in parts if not bound.things]
    if plain and things:
        things = (*things, Thing("plain", m.versions.of("plain", *(b.choice for b in new if not b.things)), m.bit))
    steps = m.bit
    for bound in parts:
        steps |= bound.steps
    kinds = {bound.kind for bound in parts}
    origins = {bound.origin for bound in parts if bound.origin or bound.kind != "plain"}
    return Bound(
        choice, things, steps, kinds.pop() if len(kinds) == 1 else "", origins.pop() if len(origins) == 1 else ""
    )


@contextmanager
def perhaps(m: Machine, node: ast.AST, *more: int) -> Iterator[Seal]:
    """What happens within may happen, or not."""
    before = copies(m)
    with sealed(m, node, *more) as seal:
        yield seal
    merge(m, seal, before=before, others=[])
