"""The import statements of code, at any depth, and the calls and magics that import as well."""

from __future__ import annotations

import ast
import functools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from nbmlops.notebook.literals import Scope, Unknown, scope


@dataclass(frozen=True)
class Import:
    """``from ..module import names`` with ``level`` dots; ``computed`` where the name is known only when it runs."""

    module: str
    level: int = 0
    names: tuple[str, ...] = ()
    computed: bool = False


@dataclass(frozen=True)
class Script:
    """A file that is run as a program."""

    path: str


@dataclass(frozen=True)
class PathAdded:
    """A folder that is added to ``sys.path``."""

    path: str


Statement = Import | Script | PathAdded
_IMPORTERS = {"importlib.import_module", "importlib.util.find_spec"}
_COMPUTED = Import("", computed=True)


@functools.lru_cache(1024)
def statements_of_module(tree: ast.Module) -> tuple[Statement, ...]:
    """Everything that a module imports."""
    return tuple(statements(tree, scope((tree,))))


def statements(tree: ast.Module, names: Scope) -> Iterator[Statement]:
    """Everything that imports, in no order; what is only for type checkers is left out."""
    for node in _running(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield Import(node.module or "", node.level, tuple(alias.name for alias in node.names))
        elif isinstance(node, ast.Call):
            yield from _called(node, names)
        elif isinstance(node, ast.AugAssign) and names.origin(node.target) == "sys.path":
            yield from _added(node.value, names)
        elif isinstance(node, ast.FunctionDef) and node.name == "__getattr__" and len(node.args.args) == 1:
            yield _COMPUTED  # a module that imports others when they are asked for


def _running(tree: ast.Module) -> Iterator[ast.AST]:
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, ast.If) and _last_name(node.test) == "TYPE_CHECKING":
            todo += node.orelse
        else:
            todo += ast.iter_child_nodes(node)


def _last_name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _called(node: ast.Call, names: Scope) -> Iterator[Statement]:
    origin = names.origin(node.func)
    plain = node.func.id if isinstance(node.func, ast.Name) else ""
    if origin in _IMPORTERS or (plain == "__import__" and not origin):
        yield _by_name(node, names)
    elif origin == "runpy.run_path" and node.args:
        yield from (Script(text) for text in _texts(node.args[0], names))
    elif origin == "runpy.run_module" and node.args:
        yield from (Import(text) for text in _texts(node.args[0], names))
    elif origin in {"sys.path.insert", "sys.path.append", "sys.path.extend", "site.addsitedir"} and node.args:
        yield from _added(node.args[-1], names)
    elif isinstance(node.func, ast.Attribute) and node.func.attr == "run_line_magic" and len(node.args) == 2:
        yield from _magic([text for argument in node.args for text in _texts(argument, names)])


def _by_name(node: ast.Call, names: Scope) -> Import:
    texts = _texts(node.args[0], names) if node.args else []
    if len(texts) != 1:
        return _COMPUTED
    name = texts[0].lstrip(".")
    level = len(texts[0]) - len(name)
    anchor = node.args[1] if len(node.args) > 1 else next((k.value for k in node.keywords if k.arg == "package"), None)
    if level and isinstance(anchor, ast.Constant) and isinstance(anchor.value, str):
        parts = anchor.value.split(".")
        return Import(".".join([*parts[: max(0, len(parts) - level + 1)], name]))
    return Import(name, level) if name or level else _COMPUTED


def _texts(node: ast.expr, names: Scope) -> list[str]:
    try:
        value = names.value(node)
    except Unknown:
        return []
    return [str(one) for one in (value if isinstance(value, list) else [value]) if one is not None]


def _added(node: ast.expr, names: Scope) -> Iterator[Statement]:
    yield from (PathAdded(text) for text in _texts(node, names))


def _magic(texts: list[str]) -> Iterator[Statement]:
    """``%run``, ``%load_ext``, ``%aimport`` and ``%matplotlib``."""
    name, line = (*texts, "", "")[:2]
    try:
        words = shlex.split(line)
    except ValueError:
        words = line.split()
    if name == "matplotlib":
        yield Import("matplotlib")
    elif name in {"load_ext", "reload_ext"} or (name == "aimport" and not line.startswith("-")):
        yield from (Import(word.strip(",")) for word in words if re.fullmatch(r"[\w.]+,?", word))
    elif name == "run":
        if "-m" in words[:-1]:
            yield Import(words[words.index("-m") + 1])
        else:
            file = next((word for word in words if not word.startswith("-")), None)
            if file:
                yield Script(file if file.endswith((".py", ".ipynb", ".ipy")) else file + ".py")
