"""What the names in code stand for, as far as that can be told without running it: imports, and constants."""

from __future__ import annotations

import ast
import functools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import PurePath
from types import MappingProxyType
from typing import Any

from nbmlops.notebook import known

_PLAIN = (str, int, float, date, PurePath)  # what an f-string shows of these is the same in the kernel


class Unknown(Exception):
    """The value is not known before the code runs. Caught in this room."""


@dataclass(frozen=True)
class Scope:
    """``origins`` maps a name to what was imported under it (``pd`` to ``pandas``), ``constants`` to its one value."""

    origins: dict[str, str] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)

    def origin(self, node: ast.expr) -> str:
        """``pandas.Timestamp.now`` for ``pd.Timestamp.now``; empty where it does not start at an imported name."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self.origins:
            return ""
        return ".".join([self.origins[node.id], *reversed(parts)])

    def value(self, node: ast.expr) -> Any:
        """The value of a literal, a constant, an f-string of them, or a path made of them.

        Raises:
            Unknown: it depends on something else.
        """
        try:
            return self._value(node)
        except RecursionError:  # a sum of a thousand texts is no name of anything
            raise Unknown from None

    def _value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.Name(id=name) if name in self.constants:
                return self.constants[name]
            case ast.JoinedStr(values=parts):
                return "".join(str(self._part(part)) for part in parts)
            case ast.BinOp(left=left, op=operator, right=right):
                return _combined(self._value(left), operator, self._value(right))
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return [self._value(item) for item in items]
            case ast.Dict(keys=keys, values=values):
                return {self._key(key): self._value(value) for key, value in zip(keys, values, strict=True)}
            case ast.Call():
                return self._called(node)
        raise Unknown

    def _part(self, node: ast.expr) -> Any:
        if isinstance(node, ast.FormattedValue):
            if node.conversion != -1 or node.format_spec is not None:
                raise Unknown
            return self.value(node.value)
        return self.value(node)

    def _key(self, node: ast.expr | None) -> Any:
        if node is None:
            raise Unknown
        key = self.value(node)
        if not isinstance(key, str | int | float | bool | None):
            raise Unknown
        return key

    def _called(self, node: ast.Call) -> Any:
        """Paths made of literals: ``Path("data", "x.csv")``, ``os.path.join(…)``, ``folder.joinpath("x.csv")``."""
        if node.keywords:
            raise Unknown
        origin, name = self.origin(node.func), node.func.id if isinstance(node.func, ast.Name) else ""
        if origin in _PATHS:
            return PurePath(*map(_text, map(self.value, node.args)))
        if origin in {"os.path.join", "os.path.abspath", "os.path.expanduser"} or (name == "str" and not origin):
            return str(PurePath(*map(_text, map(self.value, node.args))))
        if isinstance(node.func, ast.Attribute) and node.func.attr in {"joinpath", "resolve", "absolute"}:
            base = self.value(node.func.value)
            if isinstance(base, PurePath):
                return base.joinpath(*map(_text, map(self.value, node.args)))
        raise Unknown


_PATHS = {f"pathlib.{name}" for name in ("Path", "PurePath", "PosixPath", "PurePosixPath")}


def _text(value: Any) -> str:
    if not isinstance(value, str | PurePath) or "\0" in str(value):
        raise Unknown
    return str(value)


def _combined(left: Any, operator: ast.operator, right: Any) -> Any:
    if isinstance(operator, ast.Add) and isinstance(left, str) and isinstance(right, str):
        return left + right
    if isinstance(operator, ast.Div) and isinstance(left, PurePath):
        return left / _text(right)
    raise Unknown


def scope(
    trees: tuple[ast.AST, ...], variable: Collection[str] = (), values: Mapping[str, Any] = MappingProxyType({})
) -> Scope:
    """What the names of these trees stand for.

    ``variable`` names are no constants, nor what is made of them, but for those in ``values``.
    """
    origins, bound, assigned = _facts(trees)
    found = Scope(dict(origins), {n: v for n, v in values.items() if isinstance(v, _PLAIN)})
    for name, value in assigned:
        if bound[name] != 1 or name in variable:
            continue
        if origin := found.origin(value):
            found.origins[name] = origin  # `load = nbmlops.load_dataset`
            continue
        try:
            found.constants[name] = found.value(value)
        except Unknown:
            continue
    return found


_Facts = tuple[dict[str, str], Counter[str], list[tuple[str, ast.expr]]]


@functools.lru_cache(256)
def _facts(trees: tuple[ast.AST, ...]) -> _Facts:
    """Imported names, how often each name is set, and what is assigned to names at the top."""
    nodes = [node for tree in trees for node in ast.walk(tree)]
    origins: dict[str, str] = {}
    for node in nodes:
        _note_import(node, origins)
    bound = Counter(name for node in nodes for name in bound_by(node))
    return origins, bound, [pair for tree in trees for pair in _assignments(tree)]


def _note_import(node: ast.AST, origins: dict[str, str]) -> None:
    if isinstance(node, ast.Import):
        for alias in node.names:
            whole = alias.name if alias.asname else alias.name.partition(".")[0]
            origins[alias.asname or whole] = whole
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        for alias in node.names:
            if alias.name == "*" and node.module == "nbmlops":
                origins.update({verb: f"nbmlops.{verb}" for verb in (*known.VERBS, *known.IMPURE_VERBS)})
            origins[alias.asname or alias.name] = f"{node.module}.{alias.name}"


def bound_by(node: ast.AST) -> Iterator[str]:
    """The names that a node sets or deletes."""
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            yield from ((alias.asname or alias.name).partition(".")[0] for alias in names)
        case ast.arg(arg=name):
            yield name
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name


@functools.lru_cache(1024)
def bound_names(tree: ast.AST) -> set[str]:
    """All names that a tree sets, at any depth."""
    return {name for node in ast.walk(tree) for name in bound_by(node)}


def _assignments(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Names at the top of a module or cell, each with the expression assigned to it alone."""
    for statement in getattr(tree, "body", ()):
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    yield target.id, statement.value
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            yield statement.target.id, statement.value
