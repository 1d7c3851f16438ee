"""Objects as far as their changes matter, the names bound to them, and their versions.

A version is a number that stands for how a value was made: from which code and from which versions. Two values with one
version are equal, whatever the order in which cells ran; two with different versions may be equal all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbmlops.notebook.dataflow.frames import Code

# Kinds of things that never change once they are made.
FIXED = frozenset({"plain", "str", "path", "module", "imported", "unbound"})
# The kind of what code made that cannot be read: whatever is done with it may change it.
UNKNOWN = "unknown"
# Kinds whose element under a text is its own place: another text's value is not touched by a change of it.
KEYED = frozenset({"pandas", "dict"})


class Versions:
    """Numbers for terms: the same term always has the same number."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[Any, ...], int] = {}
        self._terms: list[tuple[Any, ...]] = [("nothing",)]

    def of(self, *term: Any) -> int:
        number = self._numbers.get(term)
        if number is None:
            number = self._numbers[term] = len(self._terms)
            self._terms.append(term)
        return number

    def term(self, number: int) -> tuple[Any, ...]:
        return self._terms[number]


@dataclass(slots=True, eq=False)
class Thing:
    """An object that may change. ``steps`` is the set of steps that made it what it is, one bit each.

    ``keys`` are its elements or attributes stored under a text, ``held`` others that it may contain, ``near`` things
    that may share its memory, ``base`` what it is a part of. ``fresh`` is what it was
    before it was fitted: version and steps.
    """

    kind: str
    version: int
    steps: int
    origin: str = ""
    keys: dict[str, Bound] = field(default_factory=dict)
    held: list[Thing] = field(default_factory=list)
    near: list[Thing] = field(default_factory=list)
    base: tuple[Thing, ...] = ()
    key: str | None = None
    code: Code | None = None
    made_of: tuple[Thing, ...] = ()
    fresh: tuple[int, int] | None = None
    seeded: bool = True
    lazy: tuple[tuple[Thing | None, str], ...] = ()  # what an iterator changes when it is asked; or hidden variables
    learns: bool = False  # goes on from what it has learned when it is fitted again
    texts: tuple[int, tuple[str, ...]] | None = None  # a list of texts, as long as it has that version
    items: tuple[int, tuple[Value, ...]] | None = None  # the same of the elements, whatever they are

    def known_items(self) -> tuple[Value, ...]:
        """Its elements, where they are known and few."""
        known = self.items is not None and self.items[0] == self.version
        return self.items[1] if known and self.items is not None else ()


@dataclass(slots=True, eq=False)
class Bound:
    """What a name or key stands for: one of ``things``; ``choice`` is which of them, or the value that has no thing."""

    choice: int
    things: tuple[Thing, ...]
    steps: int
    kind: str = ""
    origin: str = ""
    constant: Any = None


@dataclass(slots=True, eq=False)
class Value:
    """The result of an expression. With ``part`` it lies inside its things, under ``key`` where that is known."""

    version: int
    things: tuple[Thing, ...] = ()
    kind: str = ""
    origin: str = ""
    part: bool = False
    key: str | None = None
    choice: int = 0
    constant: Any = None

    @property
    def sort(self) -> str:
        """What kind of value it is; empty where nobody knows."""
        if self.things and not self.part:
            first = self.things[0].kind
            return first if all(thing.kind == first for thing in self.things) else ""
        return self.kind

    @property
    def inside(self) -> Iterator[Thing]:
        """What it may hold a reference to, itself included."""
        for thing in self.things:
            yield thing
            if self.part:
                yield from thing.held
                for bound in thing.keys.values():
                    yield from bound.things


def reachable(things: Iterable[Thing]) -> list[Thing]:
    """All that can be reached from these by containment."""
    seen: dict[Thing, None] = {}
    todo = list(things)
    while todo:
        thing = todo.pop()
        if thing in seen:
            continue
        seen[thing] = None
        todo += thing.held
        for bound in thing.keys.values():
            todo += bound.things
    return list(seen)


def contents(thing: Thing) -> list[Thing]:
    """What a container holds; where nobody has seen it made, it may hold things that it shares with its copies."""
    if not thing.held and thing.kind in {"", UNKNOWN}:
        inner = Thing("", thing.version, thing.steps, near=[thing], base=(thing,))
        thing.near.append(inner)
        return [inner]
    return thing.held


def sharing(things: Iterable[Thing]) -> list[Thing]:
    """These and all that may share memory with them."""
    seen: dict[Thing, None] = {}
    todo = list(things)
    while todo:
        thing = todo.pop()
        if thing not in seen:
            seen[thing] = None
            todo += thing.near
    return list(seen)
