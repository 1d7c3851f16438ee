"""The arguments of a call."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from nbmlops.notebook.dataflow.machine import Machine
from nbmlops.notebook.dataflow.things import FIXED, Thing, Value


@dataclass(slots=True)
class Given:
    """Arguments as they were when the call began; ``*`` stands before what was given behind stars."""

    node: ast.Call
    values: list[Value] = field(default_factory=list)
    named: dict[str, Value] = field(default_factory=dict)
    spread: dict[str, int] = field(default_factory=dict)  # keywords known from behind ``**``
    nothing: int = 0  # the version of None

    @classmethod
    def of(cls, m: Machine, node: ast.Call) -> Given:
        given = cls(node, nothing=m.versions.of("constant", "NoneType", "None"))
        for argument in node.args:
            value = _as_given(m, argument)
            given.values.append(replace(value, origin="*") if isinstance(argument, ast.Starred) else value)
        for number, keyword in enumerate(node.keywords):
            given.named[keyword.arg or f"*{number}"] = value = _as_given(m, keyword.value)
            if keyword.arg is None and len(value.things) == 1 and not value.part:
                given.spread.update((key, bound.choice) for key, bound in value.things[0].keys.items())
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
            if value.version == self.nothing
            or ((value.constant is None or value.constant is False) and _is_constant(self.node, name))
        }
        spread = {name for name, version in self.spread.items() if version != self.nothing}
        return frozenset(self.named) - nothing | spread

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
