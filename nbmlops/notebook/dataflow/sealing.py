"""Branches and loops as a whole: what they changed depends on everything that they read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from nbmlops.notebook.dataflow.frames import digest
from nbmlops.notebook.dataflow.machine import Machine
from nbmlops.notebook.dataflow.things import Bound, Thing


@dataclass(slots=True)
class Seal:
    """The version that stands for all that was read within; ``only_changes`` where nothing outside was bound."""

    version: int = 0
    only_changes: bool = False
    read: int | None = None


@contextmanager
def sealed(m: Machine, node: ast.AST, *more: int) -> Iterator[Seal]:
    """All that is bound and changed within gets a version made of everything read within, once it is over."""
    reads, changes, outcomes = len(m.reads), len(m.changes), len(m.outcomes)
    seal = Seal()
    m.unsure += 1
    try:
        yield seal
    finally:
        m.unsure -= 1
    if len(m.outcomes) > outcomes:  # whether and how often depends on all that was read
        m.outcomes.append(m.versions.of("sealed", digest(node), *more, *m.reads[reads : seal.read]))
    changed = m.changes[changes:]
    if seal.only_changes and not any(
        isinstance(thing, Thing) or (where and isinstance(where[0], Thing)) for thing, where in changed
    ):
        return
    seal.version = m.versions.of("sealed", digest(node), *more, *m.reads[reads : seal.read])
    place(m, seal.version, changes)


def place(m: Machine, seal: int, since: int) -> None:
    """Give what was bound and changed since a version that holds the seal."""
    for thing in dict.fromkeys(thing for thing, _ in m.changes[since:]):
        if isinstance(thing, Thing):
            thing.version = _in(m, seal, thing.version)
        elif isinstance(thing, Bound):
            thing.choice, thing.constant = _in(m, seal, thing.choice), None


def _in(m: Machine, seal: int, version: int) -> int:
    return version if m.versions.term(version)[:2] == ("in", seal) else m.versions.of("in", seal, version)
