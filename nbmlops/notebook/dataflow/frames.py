"""Scopes of names, and the code of functions and classes that a notebook defines."""

from __future__ import annotations

import ast
import functools
from dataclasses import dataclass, field

from nbmlops.notebook.dataflow.things import Bound, Thing, Value
from nbmlops.notebook.literals import bound_by

AnyFunction = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass(slots=True, eq=False)
class Frame:
    """The names of one scope. ``elsewhere`` maps a name declared global or nonlocal to its scope."""

    names: dict[str, Bound] = field(default_factory=dict)
    outer: Frame | None = None
    elsewhere: dict[str, Frame] = field(default_factory=dict)
    returns: list[Value] = field(default_factory=list)
    kind: str = "function"  # or cell, class, comprehension

    def find(self, name: str) -> tuple[Bound, Frame] | None:
        """What a name stands for here, and the scope that has it."""
        frame: Frame | None = self.elsewhere.get(name, self)
        while frame is not None:
            if (bound := frame.names.get(name)) is not None:
                return bound, frame
            frame = frame.outer
        return None

    def home(self, name: str) -> Frame:
        """The scope in which an assignment here binds the name."""
        return self.elsewhere.get(name, self)

    @property
    def root(self) -> Frame:
        frame = self
        while frame.outer is not None:
            frame = frame.outer
        return frame


@dataclass(slots=True, eq=False)
class Code:
    """A function or class of the notebook: its syntax, the scope it was defined in, and what its defaults are."""

    node: AnyFunction | ast.ClassDef | ast.expr
    frame: Frame
    defaults: dict[str, Value] = field(default_factory=dict)
    cached: bool = False
    setter: Thing | None = None  # of a property
    owner: str = ""  # "class", "static" or "property" for methods that are not called with an instance


@functools.lru_cache(8192)
def digest(node: ast.AST) -> str:
    """Text that is equal for equal code, whatever its layout."""
    return ast.dump(node)


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_LOOPS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@functools.lru_cache(4096)
def free_names(node: ast.AST) -> tuple[str, ...]:
    """Names that a function, class or comprehension takes from outside when it is executed, in a fixed order."""
    loads: dict[str, None] = {}
    own: set[str] = set()
    outside: set[str] = set()
    todo = _parts(node)
    while todo:
        inner = todo.pop()
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load):
            loads[inner.id] = None
        elif isinstance(inner, ast.Global | ast.Nonlocal):
            outside.update(inner.names)
        own.update(bound_by(inner))
        if isinstance(inner, (*_FUNCTIONS, *_LOOPS, ast.ClassDef)):
            loads.update(dict.fromkeys(free_names(inner)))
            todo += _evaluated_outside(inner)
        else:
            todo += ast.iter_child_nodes(inner)
    if isinstance(node, ast.ClassDef):
        own = set()  # its names are no names for its methods
    return tuple(name for name in (*loads, *sorted(outside)) if name not in own - outside)


def _parts(node: ast.AST) -> list[ast.AST]:
    """What is executed in the scope of the node."""
    if isinstance(node, ast.Lambda):
        return [node.body, *_parameters(node.args)]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [*node.body, *_parameters(node.args)]
    if isinstance(node, ast.ClassDef):
        return [*node.body]
    return list(ast.iter_child_nodes(node))


def _parameters(given: ast.arguments) -> list[ast.AST]:
    stars = [star for star in (given.vararg, given.kwarg) if star]
    return [*given.posonlyargs, *given.args, *given.kwonlyargs, *stars]


def _evaluated_outside(node: ast.AST) -> list[ast.AST]:
    """Defaults, decorators and base classes: what is executed where the definition stands."""
    found: list[ast.AST] = list(getattr(node, "decorator_list", ()))
    if isinstance(node, _FUNCTIONS):
        found += [default for default in (*node.args.defaults, *node.args.kw_defaults) if default]
    elif isinstance(node, ast.ClassDef):
        found += [*node.bases, *(keyword.value for keyword in node.keywords)]
    return found


@functools.lru_cache(4096)
def leaves_early(node: ast.AST) -> bool:
    """Whether a function may return from within a branch or loop, so that what follows may not happen."""
    if isinstance(node, ast.Lambda):
        return False
    straight = set(map(id, getattr(node, "body", ())))
    for inner in _own_statements(node):
        if isinstance(inner, ast.Return) and id(inner) not in straight:
            return True
        if isinstance(inner, ast.Yield | ast.YieldFrom):
            return True
    return False


@functools.lru_cache(4096)
def is_generator(node: ast.AST) -> bool:
    """Whether calling a function gives something to iterate over, once."""
    return any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in _own_statements(node))


def _own_statements(node: ast.AST) -> list[ast.AST]:
    found: list[ast.AST] = []
    todo: list[ast.AST] = list(ast.iter_child_nodes(node))
    while todo:
        inner = todo.pop()
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        found.append(inner)
        todo += ast.iter_child_nodes(inner)
    return found
