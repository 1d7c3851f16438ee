"""What code left behind while it was followed, and how the same may be left once more."""

from __future__ import annotations

from collections.abc import Iterable

from nbmlops.notebook.dataflow.machine import Machine
from nbmlops.notebook.dataflow.things import Thing, Value


def changed_since(m: Machine, place: int) -> tuple[tuple[Thing | None, str], ...]:
    """Things and hidden variables that were changed since a place in ``changes``; local names are none."""
    found: dict[tuple[Thing | None, str], None] = {}
    for thing, where in m.changes[place:]:
        if isinstance(thing, Thing):
            found[thing, ""] = None
        elif where and (isinstance(where[0], Thing) or where[0] is m.top):
            found[where[0] if isinstance(where[0], Thing) else None, where[1]] = None
        elif where and where[0] is None:
            found[None, f"<{where[1]}>"] = None
    return tuple(found)


def again(m: Machine, done: Iterable[tuple[Thing | None, str]]) -> list[int]:
    """What was done once may be done again now: the versions of what it is done to."""
    versions = []
    for thing, name in done:
        if thing is not None:
            if not thing.base:  # a part shares its memory with the whole, which is among them; who bound it matters not
                versions.append(m.of_thing(thing))
            m.change([thing], "again", name, certain=False)
        elif name.startswith("<") and (version := m.read_hidden(name[1:-1])) is not None:
            versions.append(version)
            if not m.hopeful:
                m.set_hidden(name[1:-1], m.versions.of("again", version), anew=False)
        elif (bound := m.top.names.get(name)) is not None and not m.hopeful:
            versions.append(m.of_bound(bound))
            m.put(m.top, name, Value(m.versions.of("again", versions[-1])))
    return versions
