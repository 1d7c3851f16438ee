"""The seeds that cells set: ``np.random.seed(0)``, ``default_rng(0)``, ``random_state=0``."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from nbmlops.notebook.cells import normalised, tree_of

# Functions whose first argument is a seed, by the last part of their name; what they are called without sets none.
_SEEDERS = frozenset(
    {"MT19937", "PCG64", "PCG64DXSM", "PRNGKey", "Philox", "Random", "RandomState", "SFC64", "SeedSequence",
     "default_rng", "manual_seed", "manual_seed_all", "seed", "seed_everything", "set_random_seed", "set_seed"}
)  # fmt: skip
_KEYWORDS = frozenset({"random_seed", "random_state", "rng", "seed"})
_LONGEST = 80


class Seed(NamedTuple):
    """A seed in a cell, which is counted from 0. ``value`` is the literal, or the expression's text in ``<…>``."""

    cell: int
    call: str
    value: Any


def seeds(sources: Sequence[str]) -> list[Seed]:
    """Every seed that these cells set, in their order: of generators, and of what is given one.

    A name that was last assigned a literal, at the top level of this or an earlier cell, stands for it. ``None`` seeds
    nothing. What is not Python has none.
    """
    found: list[Seed] = []
    constants: dict[str, Any] = {}
    for place, source in enumerate(sources):
        tree = tree_of(source)
        for statement in tree.body if tree is not None else ():
            calls = [node for node in ast.walk(statement) if isinstance(node, ast.Call)]
            for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
                found += [Seed(place, name, value) for name, value in _of_call(call, constants)]
            _note(statement, constants)
    return found


def _of_call(call: ast.Call, constants: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    name = _dotted(call.func)
    last = name.rpartition(".")[2]
    given = call.args[0] if call.args else next((k.value for k in call.keywords if k.arg in _KEYWORDS), None)
    if last in _SEEDERS or name.endswith("random.key"):
        if given is not None and not isinstance(given, ast.Starred):
            yield from _seeded(name, given, constants)
        return
    for keyword in call.keywords:
        if keyword.arg in _KEYWORDS:
            yield from _seeded(f"{name}({keyword.arg}=)", keyword.value, constants)


def _seeded(call: str, given: ast.expr, constants: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    if isinstance(given, ast.Call) and _dotted(given.func).rpartition(".")[2] in _SEEDERS:
        return  # the generator inside is a call of its own
    value = _value(given, constants)
    if value is not None:
        yield call, value


def _value(given: ast.expr, constants: dict[str, Any]) -> Any:
    if isinstance(given, ast.Name) and given.id in constants:
        return constants[given.id]
    try:
        return ast.literal_eval(given)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        text = normalised(ast.Module([ast.Expr(given)], [])) or "…"
        return f"<{text if len(text) <= _LONGEST else text[: _LONGEST - 1] + '…'}>"


def _note(statement: ast.stmt, constants: dict[str, Any]) -> None:
    """A plain ``NAME = literal`` makes a constant; any other way to set the name ends it."""
    simple = isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(statement.value, ast.Constant)
    stored = [n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)]
    for name in stored:
        constants.pop(name, None)
        if simple:
            constants[name] = statement.value.value  # type: ignore[attr-defined]


def _dotted(node: ast.expr) -> str:
    """``np.random.seed`` of the expression that is called; of what is no such name the last part that is one."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        parts.append(node.id)
    return ".".join(reversed(parts)) or "(…)"
