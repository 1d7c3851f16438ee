"""The arguments of a call."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from nbmlops.notebook.dataflow import knowledge
from nbmlops.notebook.dataflow.machine import Machine
from nbmlops.notebook.dataflow.things import FIXED, Thing, Value


@dataclass(slots=True)
class Given:
    """Arguments as they were when the call began; ``*`` stands before what was given behind stars."""

    node: ast.Call
    values: list[Value] = field(default_factory=list)
    named: dict[str, Value] = field(default_factory=dict)
    nothing: set[str] = field(default_factory=set)  # keywords that are given None, by whatever way
    unpacked: set[str] = field(default_factory=set)  # keywords behind two stars that are given something else

    @classmethod
    def of(cls, m: Machine, node: ast.Call) -> Given:
        given = cls(node)
        for argument in node.args:
            value = _as_given(m, argument)
            kept(m, value)
            given.values.append(replace(value, origin="*") if isinstance(argument, ast.Starred) else value)
        for number, keyword in enumerate(node.keywords):
            value = _as_given(m, keyword.value)
            given.named[keyword.arg or f"*{number}"] = value
            kept(m, value)
            none = m.versions.of("constant", "NoneType", "None")
            if keyword.arg and value.version == none:
                given.nothing.add(keyword.arg)
            elif keyword.arg is None:
                held = [item for thing in value.things for item in thing.keys.items()]
                given.unpacked |= {key for key, bound in held if bound.things or bound.choice != none}
        return given

    def all(self) -> Iterator[Value]:
        yield from self.values
        yield from self.named.values()

    @property
    def versions(self) -> tuple[int | str, ...]:
        """What stands for the arguments."""
        named: list[int | str] = []
        for name, value in self.named.items():
            named += [name, value.version]
        return (*(value.version for value in self.values), *named)

    @property
    def things(self) -> tuple[Thing, ...]:
        return tuple(dict.fromkeys(t for value in self.all() for t in value.things if t.kind not in FIXED))

    @property
    def names(self) -> frozenset[str]:
        """Keywords that are given something other than None or False."""
        nothing = {
            name
            for name, value in self.named.items()
            if name in self.nothing
            or ((value.constant is None or value.constant is False) and _is_constant(self.node, name))
        }
        return (frozenset(self.named) - nothing) | self.unpacked

    def is_true(self, name: str) -> bool | None:
        """Whether a keyword is given as true; None where that is not known."""
        if name not in self.named:
            return False if not any(n.startswith("*") for n in self.named) else None
        return bool(self.named[name].constant) if _is_constant(self.node, name) else None

    def at(self, place: int, *names: str) -> Value | None:
        """An argument by place or name."""
        if place < len(self.values):
            return self.values[place]
        return next((self.named[name] for name in names if name in self.named), None)

    def text(self, place: int, *names: str) -> str | None:
        value = self.at(place, *names)
        return value.constant if value is not None and isinstance(value.constant, str) else None


def _as_given(m: Machine, node: ast.expr) -> Value:
    value = m.value(node)
    if value.things and value.sort in {"function", "class"}:  # it may be called
        return replace(value, version=m.read(m.whole(value)))
    return value


def _is_constant(node: ast.Call, name: str) -> bool:
    return any(k.arg == name and isinstance(k.value, ast.Constant) for k in node.keywords)


def kept(m: Machine, value: Value) -> None:
    """What is handed on: a class that draws without a seed is put where calls of it cannot be told from others."""
    if value.origin == "os.environ":
        m.note("environment", "depends on the machine: os.environ")
    if value.origin and (
        knowledge.draws_without_seed(value.origin, frozenset()) or knowledge.draws(value.origin, frozenset())
    ):
        m.unseeded[value.origin] = None
