"""Calls: what is called decides what happens."""

from __future__ import annotations

import ast
import builtins
import re
from dataclasses import replace

from nbmlops.notebook.dataflow import builtin, ipython, knowledge, methods
from nbmlops.notebook.dataflow.branches import perhaps
from nbmlops.notebook.dataflow.files import draw
from nbmlops.notebook.dataflow.functions import call_function, find_method
from nbmlops.notebook.dataflow.given import Given
from nbmlops.notebook.dataflow.libraries import call_library
from nbmlops.notebook.dataflow.library import order_of_set
from nbmlops.notebook.dataflow.machine import Machine
from nbmlops.notebook.dataflow.places import bind_target, place
from nbmlops.notebook.dataflow.specials import special
from nbmlops.notebook.dataflow.things import Bound, Thing, Value


def call(m: Machine, node: ast.Call) -> Value:
    """Follow a call."""
    func = node.func
    if isinstance(func, ast.Name):
        return _named(m, node, func.id)
    if isinstance(func, ast.Attribute):
        if ipython.is_shell(func.value):
            return ipython.call_shell(m, func.attr, [_text(argument) for argument in node.args])
        return _method(m, node, func)
    made = m.value(func)
    return _of_value(m, made, "", Given.of(m, node))


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _named(m: Machine, node: ast.Call, name: str) -> Value:
    if m.frame.find(name) is None and name in builtin.KNOWN | _EXCEPTIONS:
        if name == "super":
            return _super(m)
        if name in {"getattr", "setattr"} and (done := _attribute_by_text(m, node, name)) is not None:
            return done
        return builtin.call_builtin(m, name, Given.of(m, node))
    found = place(m, node.func)
    if not found.things or any(thing.code is None for thing in found.things):
        found = m.load(name)
    return _of_value(m, found, name, Given.of(m, node))


def _attribute_by_text(m: Machine, node: ast.Call, verb: str) -> Value | None:
    """``getattr(base, "name")`` is ``base.name``; None where the name is not known."""
    match node.args:
        case [base, ast.Constant(value=str(name)), value] if verb == "setattr":
            bind_target(m, ast.Attribute(base, name, ast.Store()), m.value(value))
            return Value(m.versions.of("constant", "NoneType", "None"), (), "plain")
        case [base, ast.Constant(value=str(name)), *rest] if len(rest) < 2 and not node.keywords:
            for default in rest:
                m.value(default)
            return m.value(ast.Attribute(base, name, ast.Load()))
    return None


_EXCEPTIONS = frozenset(name for name in dir(builtins) if name[:1].isupper())


def _super(m: Machine) -> Value:
    """``super()`` is the object itself as its base classes see it."""
    for frame_name in ("self", "cls"):
        if (found := m.frame.find(frame_name)) is not None:
            return Value(m.of_bound(found[0]), found[0].things, "super", choice=found[0].choice, part=True)
    return Value(m.versions.of("super"), (), "")


def _of_value(m: Machine, called: Value, name: str, given: Given) -> Value:
    """Call what an expression gave."""
    ours = [thing for thing in called.things if thing.code is not None and thing.kind in {"function", "class"}]
    if ours:
        bound = [t for t in called.things if t.kind == "instance" and t not in ours]
        return _one_of_ours(m, ours, bound, given)
    if called.origin and called.origin != "*":
        return call_library(m, called.origin, given)
    if called.things and called.sort == "instance":
        method = next(
            (b for t in called.things for c in t.made_of if (b := find_method(c, "__call__")) is not None), None
        )
        if method is not None and method.things and method.things[0].code is not None:
            return call_function(m, method.things[0], [called, *given.values], given.named)
    if (answer := special(m, called, ("__call__",), *given.values)) is not None:
        return answer
    if answers := _imported(m, called, given):
        things = tuple(dict.fromkeys(t for answer in answers for t in answer.things))
        version = m.versions.of("one of the calls", called.version, *(answer.version for answer in answers))
        kinds = {answer.sort for answer in answers}
        return Value(version, things, kinds.pop() if len(kinds) == 1 else "", choice=version if things else 0)
    if m.unseeded and not given.names & set(knowledge.SEED_KEYWORDS):
        name_of = next(reversed(m.unseeded)).rpartition(".")[2]
        draw(m, "numpy", f"a call of what may be {name_of} without random_state", *given.versions)
    methods.call_back(m, given, [Value(m.versions.of("given by", called.version), part=False)])
    return methods.unknown(m, called, name or "called", given)


def _imported(m: Machine, called: Value, given: Given) -> list[Value]:
    """Call what was imported and is an element of something."""
    answers = []
    inside = [t for thing in called.inside for t in (thing, *thing.base, *(thing.held if thing.base else ()))]
    for thing in dict.fromkeys(t for t in inside if t.kind == "imported" and t.origin):
        with perhaps(m, given.node):
            answers.append(call_library(m, thing.origin, given))
    return answers


def _ours(m: Machine, thing: Thing, bound: list[Thing], given: Given) -> Value:
    values = list(given.values)
    owner = thing.code.owner if thing.code is not None else ""
    if bound and owner != "static":
        own = bound[:1] if owner != "class" else list(bound[0].made_of[:1])
        values = [Value(m.of_bound(Bound(0, tuple(own), 0)), tuple(own), own[0].kind if own else ""), *values]
    return call_function(m, thing, values, given.named)


def _one_of_ours(m: Machine, ours: list[Thing], bound: list[Thing], given: Given) -> Value:
    """Call the one function that is meant, or any of several."""
    if len(ours) == 1:
        return _ours(m, ours[0], bound, given)
    answers = []
    for thing in ours:
        with perhaps(m, given.node):
            answers.append(_ours(m, thing, bound, given))
    version = m.versions.of("one of the calls", *(answer.version for answer in answers))
    things = tuple(dict.fromkeys(t for answer in answers for t in answer.things))
    return Value(version, things, part=any(a.part for a in answers), choice=version if things else 0)


def _method(m: Machine, node: ast.Call, func: ast.Attribute) -> Value:
    base = place(m, func.value)
    if _is_namespace(func.value) and func.attr not in {"get", "items", "keys", "values", "copy"}:
        builtin.everything(m, base.version, certain=True)
    if base.origin and (not base.things or base.things[0].kind == "module"):
        member = m.value(func)
        given = Given.of(m, node)
        if member.things or not member.origin:
            return _of_value(m, member, func.attr, given)
        if (through := _through_class(m, member.origin, given)) is not None:
            return through
        return call_library(m, member.origin, given)
    if isinstance(func.value, ast.Name) and func.value.id in _TYPES and m.frame.find(func.value.id) is None:
        given = Given.of(m, node)
        if func.attr in _MAKING and given.values:
            order_of_set(m, given.values[0])
        elif given.values:
            return _with_first(m, func.attr, given)
        return builtin.call_builtin(m, func.value.id, given)
    found = _own_method(base, func.attr)
    given = Given.of(m, node)
    if func.attr == "__call__" and base.things:
        return _of_value(m, base, func.attr, given)
    if found is None and base.kind != "super" and (answer := special(m, base, (func.attr,), *given.values)) is not None:
        return answer  # a method of one of the objects that it may be
    if found is not None:
        thing, own = found
        m.step.needs |= thing.steps
        if ours := [inner for inner in thing.things if inner.code is not None]:
            return _one_of_ours(m, ours, own, given)
    base = replace(base, version=m.whole(base)) if base.things and not base.part else base
    return methods.call_method(m, base, func.attr, given)


def _is_namespace(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"globals", "locals"}


_TYPES = frozenset({"list", "dict", "set", "str", "tuple", "bytearray", "bytes", "object", "type", "int", "float"})
_MAKING = frozenset({"fromkeys", "fromhex", "from_bytes", "maketrans", "__new__"})
_THROUGH_CLASS = re.compile(
    r"(collections\.(deque|Counter|OrderedDict|defaultdict)|numpy\.ndarray|pandas\.(DataFrame|Series)|io\.StringIO)\.[a-z_]\w*"
)


def _through_class(m: Machine, origin: str, given: Given) -> Value | None:
    """``numpy.ndarray.sort(a)`` is ``a.sort()``; None for what is no method of a class."""
    name = origin.rpartition(".")[2]
    if name.startswith("from_") or name in _MAKING or not given.values or not _THROUGH_CLASS.fullmatch(origin):
        return None
    return _with_first(m, name, given)


def _with_first(m: Machine, name: str, given: Given) -> Value:
    """A method that is given its object as an argument."""
    first, *rest = given.values
    return methods.call_method(m, first, name, Given(given.node, rest, given.named))


def _own_method(base: Value, name: str) -> tuple[Bound, list[Thing]] | None:
    """A method that the notebook defines, and the object it is called with."""
    for thing in base.things:
        if thing.kind == "class" and base.kind != "super":
            found = find_method(thing, name)
            code = found.things[0].code if found is not None and found.things else None
            if found is not None and code is not None:
                return found, [Thing("instance", thing.version, 0, made_of=(thing,))] if code.owner == "class" else []
        if (bound := thing.keys.get(name)) is not None and thing.kind != "pandas" and not base.part:
            return bound, []
        if thing.kind != "instance":
            continue
        if base.part and base.kind != "super":
            continue
        classes = thing.made_of if base.kind != "super" else tuple(b for c in thing.made_of for b in c.made_of)
        for cls in classes:
            if (found := find_method(cls, name)) is not None:
                return found, [thing]
    return None
