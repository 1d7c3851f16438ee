"""Enumerations that a notebook defines for its parameters, read as syntax."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import Any

from nbmlops.notebook.types import Choice, Type

_BASES = {"Enum", "StrEnum", "IntEnum"}


def classes(trees: Iterable[ast.Module]) -> dict[str, Type]:
    """The enumerations at the top of these cells by name; not those with values that are no literals."""
    found = {}
    for tree in trees:
        for statement in tree.body:
            if isinstance(statement, ast.ClassDef) and (kind := _enumeration(statement)):
                found[statement.name] = kind
    return found


def member(node: ast.expr | None, known: Mapping[str, Type]) -> tuple[Type, Choice] | None:
    """What ``Mode.FAST``, ``Mode["FAST"]`` or ``Mode("fast")`` means."""
    match node:
        case ast.Attribute(value=ast.Name(id=name), attr=wanted) if name in known:
            place = 1
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=wanted)) if name in known:
            place = 1
        case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=wanted)], keywords=[]) if name in known:
            place = 2
        case _:
            return None
    kind = known[name]
    found = next((c for c in kind.args if (c.member if place == 1 else c.value) == wanted), None)
    return (kind, found) if found else None


def _enumeration(node: ast.ClassDef) -> Type | None:
    bases = [b.attr if isinstance(b, ast.Attribute) else b.id if isinstance(b, ast.Name) else "" for b in node.bases]
    base = next((name for name in bases if name in _BASES), None)
    if base is None:
        return None
    values: dict[str, Any] = {}
    for statement in node.body:
        if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
            continue
        name = statement.targets[0].id
        if name.startswith("_"):
            continue
        try:
            values[name] = _automatic(base, name, values) if _is_auto(statement.value) else _literal(statement.value)
        except (ValueError, TypeError, SyntaxError):
            return None  # computed: nobody knows which values there are
    return Type("enum", tuple(Choice(node.name, name, value) for name, value in values.items())) if values else None


def _literal(node: ast.expr) -> Any:
    value = ast.literal_eval(node)
    hash(value)  # a type's arguments are
    return value


def _is_auto(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "auto" and not node.args


def _automatic(base: str, name: str, before: Mapping[str, Any]) -> Any:
    """What ``enum.auto()`` gives: the lower-case name in a StrEnum, else the highest number so far and one."""
    if base == "StrEnum":
        return name.lower()
    return max((v for v in before.values() if isinstance(v, int)), default=0) + 1
