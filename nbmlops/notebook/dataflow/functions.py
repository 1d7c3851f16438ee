"""Functions, classes and objects that a notebook defines: what they do is followed when they are called."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import replace

from nbmlops.notebook.dataflow.branches import perhaps
from nbmlops.notebook.dataflow.frames import AnyFunction, Code, Frame, digest, free_names, is_generator, leaves_early
from nbmlops.notebook.dataflow.machine import Machine
from nbmlops.notebook.dataflow.tables import words
from nbmlops.notebook.dataflow.things import Bound, Thing, Value
from nbmlops.notebook.dataflow.traces import changed_since

_DEEPEST = 12
# Decorators that leave a function what it is.
_TRANSPARENT = words(
    """
    wraps njit jit vectorize contextmanager asynccontextmanager dataclass total_ordering abstractmethod
    override final overload delayed task flow
    """
)
_CACHES = frozenset({"cache", "lru_cache", "cached_property", "memoize"})
_OWNERS = {"classmethod": "class", "staticmethod": "static", "property": "property", "cached_property": "property"}


def function(m: Machine, node: AnyFunction) -> Value:
    """A function or lambda where it is defined: defaults are followed now, its body when it is called."""
    frame = m.frame
    while frame.kind == "class" and frame.outer is not None:  # names of a class are none for its methods
        frame = frame.outer
    code = Code(node, frame)
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    for parameter, default in zip(positional[len(positional) - len(arguments.defaults) :], arguments.defaults):
        code.defaults[parameter.arg] = m.value(default)
    for parameter, keyword in zip(arguments.kwonlyargs, arguments.kw_defaults):
        if keyword is not None:
            code.defaults[parameter.arg] = m.value(keyword)
    given = [value.version for value in code.defaults.values()]
    thing = Thing("function", m.versions.of("function", digest(node), *given), m.bit, code=code)
    thing.held = [held for value in code.defaults.values() for held in value.things]
    return Value(thing.version, (thing,), "function")  # what it takes from outside is read when it is called


def decorated(m: Machine, value: Value, decorators: Sequence[ast.expr]) -> Value:
    """What decorators make of a function or class; the innermost comes first."""
    for decorator in reversed(decorators):
        made = m.value(decorator.func if isinstance(decorator, ast.Call) else decorator)
        for argument in getattr(decorator, "args", ()):
            m.value(argument)
        name = made.origin.rpartition(".")[2] or (decorator.id if isinstance(decorator, ast.Name) else _last(decorator))
        code = value.things[0].code if value.things else None
        if name in _OWNERS and code is not None:
            code.owner = _OWNERS[name]
        if name in _CACHES and code is not None:
            code.cached = True
        if name in _OWNERS or name in _CACHES or name in _TRANSPARENT:
            continue
        if name in {"setter", "deleter", "getter"} and code is not None and made.things and made.things[0].code:
            made.things[0].code.setter = value.things[0] if name == "setter" else made.things[0].code.setter
            value = Value(made.things[0].version, (made.things[0],), "function", choice=value.version)
            continue
        if made.things and made.things[0].code is not None and not isinstance(decorator, ast.Call):
            value = call_function(m, made.things[0], [value])
        elif made.things and made.things[0].code is not None:
            inner = call_function(m, made.things[0], [m.value(a) for a in decorator.args])  # type: ignore[attr-defined]
            value = call_function(m, inner.things[0], [value]) if inner.things and inner.things[0].code else value
        else:
            value = replace(value, choice=m.versions.of("decorated", made.version, value.choice))
    return value


def _last(node: ast.expr) -> str:
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def call_function(m: Machine, thing: Thing, given: Sequence[Value], named: Mapping[str, Value] | None = None) -> Value:
    """Follow the body of a function of the notebook with these arguments."""
    code = thing.code
    assert code is not None  # noqa: S101 - told by the caller
    m.step.needs |= thing.steps
    m.read(thing.version)
    if isinstance(code.node, ast.ClassDef):
        return new_object(m, thing, given, named or {})
    if code.node in m.active or len(m.active) >= _DEEPEST:
        m.read(m.of_thing(thing))
        things = tuple(dict.fromkeys(t for v in (*given, *(named or {}).values()) for t in v.things))
        return Value(m.versions.of("again", digest(code.node), *m.reads[-8:]), things, part=bool(things))
    frame = Frame(outer=code.frame)
    _pass(m, code, frame, given=list(given), named=dict(named or {}))
    return _followed(m, thing, frame)


def _followed(m: Machine, thing: Thing, frame: Frame) -> Value:
    code = thing.code
    if code is None or isinstance(code.node, ast.ClassDef | ast.GeneratorExp):
        return Value(thing.version, (thing,))
    begun = len(m.changes)
    before, m.frame = m.frame, frame
    loops, m.loops = m.loops, 0
    m.active.append(code.node)
    try:
        if isinstance(code.node, ast.Lambda):
            frame.returns.append(m.value(code.node.body))
        elif leaves_early(code.node):
            _follow_early(m, frame, code.node)  # type: ignore[arg-type]
        else:
            m.follow(code.node.body)  # type: ignore[union-attr]
    finally:
        m.active.pop()
        m.frame, m.loops = before, loops
    if len(frame.returns) == 1 and not leaves_early(code.node):
        answer = frame.returns[0]
    elif not frame.returns:
        answer = Value(m.versions.of("constant", "NoneType", "None"), (), "plain")
    else:
        answer = frame.returns.pop()
        if is_generator(code.node):
            made = Thing("iterator", answer.version, m.bit, held=list(answer.things), code=Code(code.node, code.frame))
            made.lazy = changed_since(m, begun)
            answer = Value(m.of_thing(made), (made,), "iterator")
    if code.cached and (answer.things or changed_since(m, begun) or _depends(code)):
        m.change([thing], "cached", answer.version, certain=False)
    return answer


def _depends(code: Code) -> bool:
    """Whether a function takes values from outside that may be others another time."""
    for name in free_names(code.node):
        found = code.frame.find(name)
        if found is None or found[0].kind in {"module", "imported"}:
            continue
        if not found[0].things or any(thing.code is not code for thing in found[0].things):
            return True
    return False


def _follow_early(m: Machine, frame: Frame, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    """A body that may be left before its end: what it does may not happen, and depends on all that it reads."""
    arguments = [m.of_bound(bound) for bound in frame.names.values()]
    with perhaps(m, node, *arguments) as seal:
        m.follow(node.body)
    things = tuple(dict.fromkeys(t for value in frame.returns for t in value.things))
    kinds = {value.sort for value in frame.returns}
    kind = kinds.pop() if len(kinds) == 1 else ""
    part = any(value.part for value in frame.returns)
    frame.returns.append(Value(seal.version, things, kind, part=part, choice=seal.version if things else 0))


def _pass(m: Machine, code: Code, frame: Frame, *, given: list[Value], named: dict[str, Value]) -> None:
    """Bind the parameters; what stands behind stars may be any of them."""
    arguments = code.node.args  # type: ignore[union-attr]
    stars = [value for value in given if value.origin == "*"] + [v for k, v in named.items() if k.startswith("*")]
    plain = [value for value in given if value.origin != "*"]
    spread = _together(m, stars) if stars else None
    positional = [*arguments.posonlyargs, *arguments.args]
    for number, parameter in enumerate(positional):
        name = parameter.arg
        if number < len(plain) and not (stars and given and given[0].origin == "*"):
            value = plain[number]
        else:
            value = _taken(named, name) or spread or code.defaults.get(name) or _nothing(m, name)
        m.put(frame, name, value)
    for parameter in arguments.kwonlyargs:
        name = parameter.arg
        m.put(frame, name, _taken(named, name) or spread or code.defaults.get(name) or _nothing(m, name))
    rest = [*plain[len(positional) :], *stars]
    for star, values in ((arguments.vararg, rest), (arguments.kwarg, list(named.values()))):
        if star is not None:
            m.put(frame, star.arg, _together(m, values) if star is arguments.vararg else _as_dict(m, named))


def _taken(named: dict[str, Value], name: str) -> Value | None:
    return named.pop(name) if name in named else None


def _together(m: Machine, values: list[Value]) -> Value:
    thing = Thing("tuple", m.versions.of("together", *(value.version for value in values)), m.bit)
    thing.held = list(dict.fromkeys(t for value in values for t in value.inside))
    return Value(m.of_thing(thing), (thing,), "")


def _as_dict(m: Machine, named: dict[str, Value]) -> Value:
    """``**settings`` as the function has it: a dict of its own."""
    made = _together(m, list(named.values()))
    thing = made.things[0]
    thing.kind = "dict"
    held: list[Thing] = []
    for name, value in named.items():
        if name.startswith("*"):
            held += [x for t in value.things for x in (*t.held, *(y for b in t.keys.values() for y in b.things))]
        else:
            held += value.inside
    thing.held = list(dict.fromkeys(held))
    return Value(made.version, made.things, "dict")


def _nothing(m: Machine, name: str) -> Value:
    return Value(m.versions.of("not given", name))


def define_class(m: Machine, node: ast.ClassDef) -> Value:
    """A class where it is defined; its body is followed now."""
    bases = [m.value(base) for base in node.bases]
    more = [m.value(keyword.value).version for keyword in node.keywords]
    frame, outer = Frame(outer=m.frame, kind="class"), m.frame
    m.frame = frame
    try:
        m.follow(node.body)
    finally:
        m.frame = outer
    thing = Thing("class", m.versions.of("class", digest(node), *(b.version for b in bases), *more), m.bit)
    thing.code = Code(node, outer)
    thing.keys = dict(frame.names)
    thing.made_of = tuple(t for base in bases for t in base.things)
    thing.origin = next((base.origin for base in bases if base.origin), "")
    told = next((b for t in thing.made_of if (b := find_method(t, "__init_subclass__")) is not None), None)
    if told is not None and told.things and told.things[0].code is not None:
        call_function(m, told.things[0], [Value(m.of_thing(thing), (thing,), "class")])
    return Value(m.of_thing(thing), (thing,), "class")


def find_method(thing: Thing, name: str) -> Bound | None:
    """What a class, or one of its bases in the notebook, has under a name."""
    if (bound := thing.keys.get(name)) is not None:
        return bound
    return next((found for base in thing.made_of if (found := find_method(base, name)) is not None), None)


def new_object(m: Machine, cls: Thing, given: Sequence[Value], named: Mapping[str, Value]) -> Value:
    """An object of a class of the notebook."""
    versions = [value.version for value in (*given, *named.values())]
    thing = Thing("instance", m.versions.of("object", cls.version, *versions), m.bit, made_of=(cls,))
    made = Value(thing.version, (thing,), "instance")
    method = find_method(cls, "__init__")
    if method is not None and method.things and method.things[0].code:
        m.step.needs |= method.steps
        call_function(m, method.things[0], [made, *given], named)
        thing.version = cls.version  # all that it was given is in what it stored
        thing.held += _kept_unseen(thing, (*given, *named.values()))
    else:
        for name, value in named.items():
            m.put(Frame(thing.keys), name, value)
        thing.held += [t for value in given for t in value.inside]
        for name, kind in _made_anew(cls, len(given)):
            if name not in named:
                m.put(Frame(thing.keys), name, Value(0, (Thing(kind, thing.version, m.bit),), kind))
    gone = find_method(cls, "__del__")
    if gone is not None and gone.things and gone.things[0].code is not None:  # when it goes is not followed
        with perhaps(m, gone.things[0].code.node):
            call_function(m, gone.things[0], [made])
    return Value(m.of_thing(thing), (thing,), "instance")


def _kept_unseen(thing: Thing, values: Sequence[Value]) -> list[Thing]:
    """Arguments that a base class outside the notebook may have kept."""
    if all(base.origin == "" for base in thing.made_of):
        return []
    return [t for value in values for t in value.inside]


def _made_anew(cls: Thing, given: int) -> list[tuple[str, str]]:
    """Fields of a data class for which each object gets a container of its own, and its kind.

    ``given`` so many fields come by their places.
    """
    node = cls.code.node if cls.code is not None else None
    body = node.body if isinstance(node, ast.ClassDef) and node.decorator_list else []
    found = []
    for field in [part for part in body if isinstance(part, ast.AnnAssign)][given:]:
        match field:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Call(keywords=more)):
                made = next((k.value for k in more if k.arg == "default_factory"), None)
                if isinstance(made, ast.Name) and made.id in {"list", "dict", "set"}:
                    found.append((name, made.id))
    return found


def attribute_of_instance(m: Machine, base: Value, name: str) -> Value | None:
    """An attribute or property of an object of the notebook; None where its class does not tell."""
    if base.part or len(base.things) != 1:
        return None
    thing = base.things[0]
    if name in thing.keys:
        return None
    found = next((b for cls in (thing, *thing.made_of) if (b := find_method(cls, name)) is not None), None)
    if found is None:
        return None
    m.step.needs |= found.steps
    inner = found.things[0] if found.things else None
    if inner is not None and inner.code is not None and inner.code.owner == "property":
        return call_function(m, inner, [base])
    version = m.read(m.versions.of("bound", m.of_bound(found), m.of_thing(thing)))
    return Value(version, (*found.things, thing), found.kind, choice=version if found.things else 0)
