"""What the names in code stand for, as far as that can be told without running it: imports, and constants."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any


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
        match node:
            case ast.Constant():
                return node.value
            case ast.Name(id=name) if name in self.constants:
                return self.constants[name]
            case ast.JoinedStr(values=parts):
                return "".join(str(self._part(part)) for part in parts)
            case ast.BinOp(left=left, op=operator, right=right):
                return _combined(self.value(left), operator, self.value(right))
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return [self.value(item) for item in items]
            case ast.Dict(keys=keys, values=values):
                return {self._key(key): self.value(value) for key, value in zip(keys, values, strict=True)}
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


def scope(trees: Iterable[ast.AST], variable: Collection[str] = ()) -> Scope:
    """What the names of these trees stand for. ``variable`` names are no constants, whatever is assigned to them."""
    trees = list(trees)
    nodes = [node for tree in trees for node in ast.walk(tree)]
    found = Scope()
    for node in nodes:
        _note_import(node, found.origins)
    bound = Counter(name for node in nodes for name in _bound(node))
    assigned = [(target, value) for tree in trees for target, value in _assignments(tree)]
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


def _note_import(node: ast.AST, origins: dict[str, str]) -> None:
    if isinstance(node, ast.Import):
        for alias in node.names:
            whole = alias.name if alias.asname else alias.name.partition(".")[0]
            origins[alias.asname or whole] = whole
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        for alias in node.names:
            origins[alias.asname or alias.name] = f"{node.module}.{alias.name}"


def _bound(node: ast.AST) -> Iterator[str]:
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


def bound_names(tree: ast.AST) -> set[str]:
    """All names that a tree sets, at any depth."""
    return {name for node in ast.walk(tree) for name in _bound(node)}


def _assignments(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Names at the top of a module or cell, each with the expression assigned to it alone."""
    for statement in getattr(tree, "body", ()):
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    yield target.id, statement.value
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            yield statement.target.id, statement.value
