"""Special methods of a notebook's own classes: what operators, loops, ``with`` and built-in functions call unnamed."""

from __future__ import annotations

import ast
import functools

from nbmlops.notebook.dataflow.branches import perhaps
from nbmlops.notebook.dataflow.functions import call_function, find_method
from nbmlops.notebook.dataflow.machine import Machine
from nbmlops.notebook.dataflow.tables import words
from nbmlops.notebook.dataflow.things import FIXED, Bound, Thing, Value, reachable

BINARY: dict[type, str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.MatMult: "matmul", ast.Div: "truediv", ast.Mod: "mod",
    ast.FloorDiv: "floordiv", ast.Pow: "pow", ast.LShift: "lshift", ast.RShift: "rshift", ast.BitOr: "or",
    ast.BitXor: "xor", ast.BitAnd: "and",
}  # fmt: skip
COMPARED: dict[type, tuple[str, str]] = {
    ast.Eq: ("__eq__", "__eq__"), ast.NotEq: ("__eq__", "__eq__"), ast.Lt: ("__lt__", "__gt__"),
    ast.Gt: ("__gt__", "__lt__"), ast.LtE: ("__le__", "__ge__"), ast.GtE: ("__ge__", "__le__"),
}  # fmt: skip
UNARY: dict[type, str] = {ast.USub: "__neg__", ast.UAdd: "__pos__", ast.Invert: "__invert__"}
TRUTH = ("__bool__", "__len__")
_TEXT = ("__str__", "__repr__")
_ITERATION = ("__iter__", "__next__", "__getitem__", "__len__")
# What built-in functions call, the first that there is; all of those of an iteration.
_ASKED = {
    "len": ("__len__",), "str": _TEXT, "repr": ("__repr__",), "bool": TRUTH, "hash": ("__hash__",),
    "abs": ("__abs__",), "next": ("__next__",), "int": ("__int__", "__index__"), "float": ("__float__", "__index__"),
    "format": ("__format__", *_TEXT), "print": _TEXT, "reversed": ("__reversed__", "__getitem__"),
}  # fmt: skip
# Special methods that are called by name, or when a class is defined.
_NEVER = frozenset({"__init__", "__new__", "__init_subclass__", "__class_getitem__", "__set_name__", "__post_init__"})
_HARMLESS = words(
    """
    len str repr int float bool abs min max sum sorted list tuple set dict hash iter zip enumerate range
    isinstance type round format any all reversed super frozenset divmod getattr hasattr
    """
)


def own_objects(value: Value) -> list[Thing]:
    """The objects of the notebook's classes that a value may be."""
    found: dict[Thing, None] = {}
    for thing in value.inside:
        for inner in (thing, *((*thing.held, *thing.base) if thing.base else ())):
            if inner.kind == "instance":
                found[inner] = None
    return list(found)


def special(m: Machine, value: Value, names: tuple[str, ...], *given: Value) -> Value | None:
    """What the first of these methods that its class has gives; None for what is no object of such a class."""
    if not value.things:
        return None
    own = [(thing, method) for thing in own_objects(value) if (method := _method(thing, names)) is not None]
    if len(own) == 1 and not value.part and len(value.things) == 1 and own[0][0] is value.things[0]:
        return _called(m, *own[0], given)
    answers = []
    for thing, method in own:
        with perhaps(m, method.things[0].code.node) as seal:  # type: ignore[union-attr]
            answers.append(_called(m, thing, method, given))
        answers.append(Value(seal.version))
    if not answers or _others(value):
        return None
    things = tuple(dict.fromkeys(t for answer in answers for t in answer.things))
    version = m.versions.of("special", names, *(answer.version for answer in answers))
    return Value(version, things, part=bool(things))


def _others(value: Value) -> bool:
    """Whether a value may be something else than an object of the notebook's classes."""
    if not value.part:
        return any(t.kind != "instance" and not t.base for t in value.things)
    inside = [t for t in value.inside if t not in value.things and t.kind not in FIXED]
    return any(t.kind not in {"instance", ""} for t in inside)


def _method(thing: Thing, names: tuple[str, ...]) -> Bound | None:
    for name in names:
        for cls in thing.made_of:
            found = find_method(cls, name)
            if found is not None and found.things and found.things[0].code is not None:
                return found
    return None


def _called(m: Machine, thing: Thing, method: Bound, given: tuple[Value, ...]) -> Value:
    m.step.needs |= method.steps
    return call_function(m, method.things[0], [Value(m.of_thing(thing), (thing,), "instance"), *given])


def truth(m: Machine, node: ast.expr) -> Value:
    """An expression that decides something."""
    value = m.value(node)
    answer = special(m, value, TRUTH)
    return value if answer is None else Value(m.versions.of("truth", value.version, answer.version), (), "plain")


def iterated(m: Machine, value: Value) -> Value | None:
    """The methods that going through an object calls."""
    answer = special(m, value, ("__iter__", "__getitem__"), Value(m.versions.of("index"), (), "plain"))
    if answer is None:
        return special(m, value, ("__next__",))
    if answer.things:
        return special(m, answer, ("__next__",)) or answer
    return answer


def asked(m: Machine, name: str, values: list[Value]) -> list[int]:
    """What a built-in function calls of objects given to it: the versions of the answers."""
    versions = []
    for value in values:
        if not value.things:
            continue
        names = _ASKED.get(name)
        answer = iterated(m, value) if names is None else special(m, value, names)
        versions += [answer.version] if answer is not None else []
    plain = name in _ASKED and all(not v.part and all(t.kind == "instance" for t in v.things) for v in values)
    return versions if plain else [*versions, *touched(m, values)]


def touched(m: Machine, values: list[Value]) -> list[int]:
    """Objects handed to code that is not the notebook's: all special methods that leave a trace may be called."""
    versions: list[int] = []
    for thing in (t for t in reachable(t for v in values for t in (*v.things, *own_objects(v))) if t.made_of):
        if thing.kind != "instance":
            continue
        for method in _traces(thing):
            node = method.things[0].code.node  # type: ignore[union-attr]
            if node in m.active:
                continue
            wanted = max(0, len(node.args.args) - 1)  # type: ignore[union-attr]
            with perhaps(m, node) as seal:
                _called(m, thing, method, (Value(m.versions.of("handed", thing.version)),) * wanted)
            versions.append(seal.version)
    return versions


def _traces(thing: Thing) -> list[Bound]:
    found: dict[str, Bound] = {}
    todo = list(thing.made_of)
    while todo:
        cls = todo.pop(0)
        todo += cls.made_of
        for name, bound in cls.keys.items():
            code = bound.things[0].code if bound.things and name not in found else None
            if code is None or not (code.owner == "property" or name[:2] == name[-2:] == "__"):
                continue
            if name not in _NEVER and leaves_trace(code.node):
                found[name] = bound
    return list(found.values())


@functools.lru_cache(4096)
def leaves_trace(node: ast.AST) -> bool:
    """Whether code may change something that is not its own: it sets more than local names, or calls what may."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Global | ast.Nonlocal | ast.With | ast.Await | ast.Delete):
            return True
        if isinstance(inner, ast.Attribute | ast.Subscript) and isinstance(inner.ctx, ast.Store):
            return True
        if isinstance(inner, ast.AugAssign):
            return True
        if isinstance(inner, ast.Call) and not (isinstance(inner.func, ast.Name) and inner.func.id in _HARMLESS):
            return True
    return False
