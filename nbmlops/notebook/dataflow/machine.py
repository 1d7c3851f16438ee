"""The state of a kernel as far as code tells it: names, things, hidden variables, and which step made what."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nbmlops.notebook.dataflow.frames import Frame, free_names
from nbmlops.notebook.dataflow.things import FIXED, KEYED, Bound, Thing, Value, Versions, reachable, sharing

UNSEEDED = "unseeded"
_SHOWN = re.compile(r"_{1,3}|_\d+")
_MOST_NODES = 20_000  # of one cell, functions that it calls included
_MOST_IN_ALL = 200_000


class TooMuch(Exception):
    """A cell does more than can be followed. Caught in this room."""


@dataclass(slots=True)
class Note:
    """Something about a step: ``kind`` as in findings, what it is in words, and the names or paths concerned."""

    kind: str
    what: str
    names: tuple[str, ...] = ()


@dataclass(slots=True)
class Step:
    """What one execution did. ``sources`` maps each name it took from earlier to the steps that made it as it was.

    ``shown`` stands for all that it showed, logged and wrote, ``made`` for that and for what it left in names: two
    executions of one cell with one version gave the same.
    """

    number: int
    sources: dict[str, int] = field(default_factory=dict)
    needs: int = 0
    stored: dict[str, None] = field(default_factory=dict)
    deleted: dict[str, None] = field(default_factory=dict)
    changed: dict[Thing, None] = field(default_factory=dict)
    changed_names: tuple[str, ...] = ()
    opaque: list[str] = field(default_factory=list)
    missing: dict[str, None] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    files: list[tuple[str, str, bool]] = field(default_factory=list)
    shown: int = 0
    made: int = 0
    guessed: bool = False


class Machine:
    """Follows cells one after the other. ``hopeful`` takes what may happen, but need not, for not happening.

    ``rules`` says how each kind of syntax is followed.
    """

    def __init__(
        self, rules: Mapping[type, Callable[[Machine, Any], Any]], *, versions: Versions, hopeful: bool = False
    ) -> None:
        self.rules = rules
        self.versions = versions
        self.hopeful = hopeful
        self.names: dict[str, Bound] = {}
        self.frame = Frame(self.names, kind="cell")
        self.top = self.frame
        self.hidden: dict[str, Bound] = {}
        self.modules: dict[str, Thing] = {}
        self.step = Step(-1)
        self.bit = 0
        self.reads: list[int] = []
        self.outcomes: list[int] = []  # what left the kernel: shown, logged, written
        self.changes: list[tuple[Thing | Bound, Any]] = []
        self.active: list[ast.AST] = []
        self.loops = 0
        self.unsure = 0  # branches and loops around what is followed: it may not happen
        self.nodes = self.spent = 0
        self.most = _MOST_NODES
        self.anything = 0  # steps after which any name may be bound
        self.unseen = 0  # what stands for the names they may have bound
        self.inside_cell: set[str] = set()
        self.unseeded: dict[str, None] = {}  # classes that draw, kept as values: some call may be of them

    def value(self, node: ast.AST) -> Value:
        """Follow an expression."""
        self.nodes += 1
        if self.nodes > self.most:
            raise TooMuch
        return self.rules[type(node)](self, node)  # type: ignore[no-any-return]

    def follow(self, statements: Iterable[ast.stmt]) -> None:
        for statement in statements:
            self.nodes += 1
            if self.nodes > self.most:
                raise TooMuch
            self.rules[type(statement)](self, statement)

    def begin(self) -> None:
        """Begin a cell: a long notebook has less for each of its last cells."""
        self.spent += self.nodes
        self.nodes = 0
        self.most = max(200, min(_MOST_NODES, _MOST_IN_ALL - self.spent))

    def read(self, version: int) -> int:
        self.reads.append(version)
        return version

    # Names

    def look(self, name: str) -> Bound | None:
        """What a name stands for; it is noted that the step needs it."""
        found = self.frame.find(name)
        if found is None and _SHOWN.fullmatch(name) and (shown := self.hidden.get(name)) is not None:
            self.step.needs |= shown.steps
            self._source(name, shown)
            return shown
        if found is None and (builtins := self.modules.get("builtins")) is not None and name in builtins.keys:
            self.step.needs |= builtins.keys[name].steps
            self._source(name, builtins.keys[name])
            return builtins.keys[name]
        if found is None:
            if self.anything:
                self.step.needs |= self.anything
                self.step.sources[name] = self.step.sources.get(name, 0) | self.anything
            return None
        bound, frame = found
        if frame is self.top:
            self.step.needs |= bound.steps
            if bound.steps & ~self.bit or name not in self.step.stored:
                self._source(name, bound)
        return bound

    def _source(self, name: str, bound: Bound) -> None:
        steps = bound.steps
        for thing in bound.things:
            steps |= thing.steps if not thing.held and not thing.keys else self.steps_of((thing,))
        self.step.sources[name] = self.step.sources.get(name, 0) | (steps & ~self.bit)

    def load(self, name: str) -> Value:
        """The value of a name, as far as it may be reached from it."""
        bound = self.look(name)
        if bound is None:
            return self.undefined(name)
        version = self.read(self.of_bound(bound))
        choice = bound.choice if bound.things else 0
        return Value(version, bound.things, bound.kind, bound.origin, choice=choice, constant=bound.constant)

    def undefined(self, name: str) -> Value:
        self.step.missing[name] = None
        if name in {"hash", "id"}:
            self.note("random", f"depends on what differs in each process: {name}()")
        return Value(self.read(self.versions.of("name", name, self.unseen)), (), "", "")

    def bind(self, name: str, value: Value) -> None:
        """An assignment to a name."""
        frame = self.frame
        while frame.kind == "comprehension" and frame.outer is not None:
            frame = frame.outer
        self.put(frame.home(name), name, value)

    def put(self, frame: Frame, name: str, value: Value) -> None:
        frame.names[name] = bound = self.bound_to(value)
        self.changes.append((bound, (frame, name)))
        if frame is self.top:
            self.step.stored[name] = None
            self.step.deleted.pop(name, None)

    def bound_to(self, value: Value) -> Bound:
        """A place that holds the value; a part of something becomes a thing that shares its memory."""
        things = value.things
        if not things:
            if value.sort in FIXED or value.origin:
                return Bound(value.version, (), self.bit, value.kind, value.origin, value.constant)
            return Bound(0, (Thing(value.kind, value.version, self.bit, value.origin),), self.bit, value.kind)
        if value.part:
            if value.kind in FIXED:
                return Bound(value.version, (), self.bit, value.kind)
            # It may be what is held, and not only a part of what holds it.
            near = list(dict.fromkeys(t for t in value.inside if t.kind not in FIXED))
            piece = Thing(value.kind, value.version, self.bit, near=near, key=value.key, base=things)
            piece.steps |= self.steps_of(things)
            for thing in near:
                thing.near.append(piece)
            if value.kind != "pandas":
                piece.held = [held for held in value.inside if held not in things]
            return Bound(0, (piece,), self.bit, value.kind)
        return Bound(value.choice, things, self.bit, value.sort, value.origin)

    def steps_of(self, things: Iterable[Thing]) -> int:
        steps = 0
        for thing in reachable(things):
            steps |= thing.steps
            for bound in thing.keys.values():
                steps |= bound.steps
        return steps

    # Versions

    def of_bound(self, bound: Bound, seen: dict[Any, int] | None = None) -> int:
        """The version of what a name stands for, with all that it holds; the steps are noted as needed."""
        self.step.needs |= bound.steps
        if not bound.things:
            return bound.choice
        if len(bound.things) == 1:
            version = self.of_thing(bound.things[0], seen)
            return version if not bound.choice else self.versions.of("one", bound.choice, version)
        seen = {} if seen is None else seen
        versions = tuple(dict.fromkeys(self.of_thing(thing, seen) for thing in bound.things))
        if len(versions) == 1:
            return self.versions.of("one", bound.choice, versions[0]) if bound.choice else versions[0]
        return self.versions.of("one of", bound.choice, versions)

    def of_thing(self, thing: Thing, seen: dict[Any, int] | None = None) -> int:
        """The version of a thing with all that it holds."""
        self.step.needs |= thing.steps
        if thing.code is None and not thing.keys and not thing.held and not thing.made_of:
            return thing.version
        seen = {} if seen is None else seen
        if thing in seen:
            return -1 - seen[thing]
        seen[thing] = len(seen)
        self.nodes += 1
        parts: list[Any] = [thing.version]
        for key, bound in thing.keys.items():
            parts += [key, self.of_bound(bound, seen)]
        if thing.held:
            parts += ["held", *dict.fromkeys(self.of_thing(held, seen) for held in thing.held)]
        for other in thing.made_of:
            parts += ["of", self.of_thing(other, seen)]
        if thing.code is not None:
            parts += self._of_code(thing, seen)
        return self.versions.of("whole", *parts)

    def _of_code(self, thing: Thing, seen: dict[Any, int]) -> list[Any]:
        """The versions of what a function takes from outside when it is called."""
        assert thing.code is not None  # noqa: S101 - told by the caller
        parts: list[Any] = []
        frame = thing.code.frame
        for name in free_names(thing.code.node):
            found = frame.find(name)
            if found is None:
                continue
            bound, home = found
            if home is self.top:
                self.step.needs |= bound.steps
                if bound.steps & ~self.bit:
                    self._source(name, bound)
            parts += [name, self.of_bound(bound, seen)]
        return parts

    def whole(self, value: Value) -> int:
        """The version of a value as it is now, with all that it holds."""
        if not value.things or value.part:
            return value.version
        if len(value.things) == 1 and not value.choice:
            return self.of_thing(value.things[0])
        return self.of_bound(Bound(value.choice, value.things, 0))

    # Changes

    def change(self, things: Iterable[Thing], *operation: Any, certain: bool = True, deep: bool = False) -> None:
        """Note that things were changed in place, with all that may share their memory."""
        if self.hopeful and not certain:
            return
        wanted = [thing for thing in things if thing.kind not in FIXED]
        if not certain and wanted:
            self.step.guessed = True
        for thing in sharing(reachable(wanted) if deep else wanted):
            if thing.kind not in FIXED:
                self._fold(thing)
                self.set_version(thing, self.versions.of("changed", thing.version, *operation))
                if thing.kind in {"instance", "class"}:
                    self._change_attributes(thing, operation)

    def _change_attributes(self, thing: Thing, operation: tuple[Any, ...]) -> None:
        """An object was changed by code that does not tell which of its attributes."""
        for key, bound in thing.keys.items():
            if operation[:1] != ("key",) or operation[1:2] == (key,):
                bound.choice = self.versions.of("changed", bound.choice, *operation)
                bound.constant = None
                bound.steps |= self.bit
                self.changes.append((bound, (thing, key)))

    def _fold(self, thing: Thing) -> None:
        """Make one version of a thing and of what was stored in it under texts."""
        if thing.keys:
            parts = [(key, self.of_bound(bound)) for key, bound in thing.keys.items()]
            for bound in thing.keys.values():
                thing.held += [held for held in bound.things if held.kind not in FIXED and held not in thing.held]
                thing.steps |= bound.steps
                for held in bound.things:
                    thing.steps |= held.steps if held.kind in FIXED else 0
            thing.version = self.versions.of("folded", thing.version, *parts)
            if thing.kind not in {"instance", "class"}:
                thing.keys.clear()

    def set_version(self, thing: Thing, version: int) -> None:
        thing.steps |= self.bit
        if version != thing.version:
            thing.version = version
            self.changes.append((thing, None))
        self.step.changed[thing] = None

    def store_key(self, things: tuple[Thing, ...], key: str, value: Value) -> None:
        """``thing["key"] = value`` or ``thing.key = value``."""
        if len(things) != 1:
            version = self.whole(value)
            self.change(things, "key", key, version)
            for thing in things:
                thing.held += [t for t in value.things if t.kind not in FIXED]
            return
        thing = things[0]
        if thing.kind == "pandas":  # a column is a copy of what is assigned to it
            value = Value(self.whole(value), (), "pandas")
        old = thing.keys.get(key)
        before = self.quiet_version(old) if old is not None else None
        bound = self.bound_to(value)
        if self.unsure and not self.hopeful:
            self._or_before(bound, old, (before, thing))
        thing.keys[key] = bound
        self.changes.append((bound, (thing, key)))
        self.step.changed[thing] = None
        after = self.quiet_version(bound)
        if before == after:
            return
        for other in self._seeing(thing, key):
            self.change([other], "key", key, after)

    def _or_before(self, bound: Bound, old: Bound | None, was: tuple[int | None, Thing]) -> None:
        """Let a place be what is put there now or what it was."""
        after = self.quiet_version(bound)
        before, thing = was
        inner = old.choice if old is not None else 0
        while self.versions.term(inner)[0] == "in":
            inner = self.versions.term(inner)[2]
        if old is not None and self.versions.term(inner)[0] == "or" and self.versions.term(inner)[2] == after:
            bound.choice = old.choice
        else:
            bound.choice = self.versions.of("or", before, after)
        bound.constant = None
        bound.steps |= thing.steps if old is None else old.steps
        bound.things = tuple(dict.fromkeys((*(old.things if old is not None else ()), *bound.things)))

    @staticmethod
    def _seeing(thing: Thing, key: str) -> list[Thing]:
        """The things that change with an element of this one: what it is a part of, and what may be the same object."""
        if thing.kind == "pandas":  # a column that is set is a new one: no view sees it
            return []
        parts = () if thing.kind in KEYED else thing.near
        return [*thing.base, *(o for o in parts if o.key in (None, key) and o not in thing.base)]

    def quiet_version(self, bound: Bound) -> int:
        """The version of a place, without noting that it is needed."""
        needs = self.step.needs
        sources = dict(self.step.sources)
        version = self.of_bound(bound)
        self.step.needs, self.step.sources = needs, sources
        return version

    # Hidden variables

    def read_hidden(self, name: str) -> int | None:
        bound = self.hidden.get(name)
        if bound is None:
            return None
        self.step.needs |= bound.steps
        if bound.steps & ~self.bit:
            self.step.sources[f"<{name}>"] = self.step.sources.get(f"<{name}>", 0) | (bound.steps & ~self.bit)
        return self.read(bound.choice)

    def quiet_hidden(self, name: str) -> int:
        """The version of a hidden variable, without reading it."""
        return self.hidden[name].choice if name in self.hidden else 0

    def shared(self, key: str, version: int, origin: str) -> Thing:
        """An object of a library of which there is one for all that ask."""
        if (thing := self.modules.get(key)) is None:
            thing = self.modules[key] = Thing("record", version, self.bit, origin)
        self.step.needs |= thing.steps
        return thing

    def set_hidden(self, name: str, version: int, *, anew: bool) -> None:
        """Set or change a hidden variable."""
        old = self.hidden.get(name)
        if anew and self.unsure and old is not None and not self.hopeful:
            anew, version = False, self.versions.of("or", old.choice, version)
        steps = self.bit if anew or old is None else old.steps | self.bit
        bound = Bound(version, (), steps, "plain")
        self.hidden[name] = bound
        self.step.stored[f"<{name}>"] = None
        self.changes.append((bound, (None, name)))

    def note(self, kind: str, what: str, *names: str) -> None:
        if not any(note.kind == kind and note.what == what for note in self.step.notes):
            self.step.notes.append(Note(kind, what, names))

    def module(self, origin: str) -> Thing:
        """A module: there is one of each."""
        if (thing := self.modules.get(origin)) is None:
            thing = self.modules[origin] = Thing("module", self.versions.of("module", origin), 0, origin)
        return thing
