"""What a cell assigns at its top level: literals, computed names, and text that must not be kept."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from nbmlops.secrets.naming import sounds_secret

_LITERALS = (str, int, float, bool, type(None))
HIDDEN = "(hidden)"


def assigned(source: str) -> tuple[dict[str, Any], list[str]]:
    """Names a cell assigns at its top level: those with a literal value, and those that are computed.

    A name that is assigned both ways, or changed in place, counts as computed. Loop variables and names that begin
    with an underscore count as nothing.
    """
    literals: dict[str, Any] = {}
    computed: dict[str, None] = {}
    for node in _statements(_body(source)):
        for name, value in _targets(node):
            if name.startswith("_"):
                continue
            try:
                literal = ast.literal_eval(value) if value is not None else _NOTHING
            except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                literal = _NOTHING
            if (
                literal is not _NOTHING
                and isinstance(literal, (*_LITERALS, list, tuple, dict))
                and name not in computed
            ):
                literals[name] = literal
            else:
                literals.pop(name, None)
                computed[name] = None
    return literals, list(computed)


_NOTHING = object()


def _body(source: str) -> list[ast.stmt]:
    from nbmlops.notebook.cells import tree_of  # brings YAML along, which loading the extension must not

    tree = tree_of(source)
    return [] if tree is None else tree.body  # running the cell says what is wrong with it better than we could


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run in the notebook's own namespace: also in if, with, for and try, not in functions."""
    for node in body:
        yield node
        for part in ("body", "orelse", "finalbody"):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield from _statements(getattr(node, part, []))
        for handler in getattr(node, "handlers", []):
            yield from _statements(handler.body)


def _targets(node: ast.stmt) -> Iterator[tuple[str, ast.expr | None]]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name):
                yield target.id, node.value
            elif isinstance(target, ast.Tuple | ast.List):
                same = isinstance(node.value, ast.Tuple | ast.List) and len(node.value.elts) == len(target.elts)
                for place, part in enumerate(target.elts):
                    if isinstance(part, ast.Name):
                        yield part.id, node.value.elts[place] if same else None  # type: ignore[attr-defined]
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        yield node.target.id, node.value
    elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        yield node.target.id, None


def secrets(source: str) -> list[str]:
    """Text that the cell assigns to names such as ``password`` or ``api_key``: it must not be kept."""
    if not sounds_secret(source):
        return []
    literals, _ = assigned(source)
    return [v for n, v in literals.items() if isinstance(v, str) and len(v) > 2 and sounds_secret(n)]


def without(text: str, hidden: list[str]) -> str:
    """The text with what must not be kept masked."""
    for secret in hidden:
        text = text.replace(secret, HIDDEN)
    return text
