"""Names, elements and attributes as places: what is there, and what is put there."""

from __future__ import annotations

import ast
from dataclasses import replace

from nbmlops.notebook.dataflow import files, library
from nbmlops.notebook.dataflow.functions import call_function, find_method
from nbmlops.notebook.dataflow.machine import Machine
from nbmlops.notebook.dataflow.specials import special, touched
from nbmlops.notebook.dataflow.tables import words
from nbmlops.notebook.dataflow.things import Bound, Thing, Value

# Attributes of tables and arrays that are no columns.
SHAPES = words(
    """
    shape columns values index T dtypes dtype size iloc loc at iat empty ndim str dt cat plot style attrs
    axes flags array nbytes name names is_unique hasnans levels codes sparse
    """
)


def place(m: Machine, node: ast.AST) -> Value:
    """What an expression stands for, without reading what is in it where that can wait."""
    if isinstance(node, ast.Name):
        bound = m.look(node.id)
        if bound is None:
            return m.undefined(node.id)
        if not bound.things:
            return Value(m.read(bound.choice), (), bound.kind, bound.origin, constant=bound.constant)
        return Value(bound.choice, bound.things, bound.kind, bound.origin, choice=bound.choice)
    return m.value(node)


def key_of(m: Machine, index: ast.expr) -> str | None:
    """The text that an index is, where it is known."""
    if isinstance(index, ast.Constant):
        return index.value if isinstance(index.value, str) else None
    if isinstance(index, ast.Name) and (found := m.frame.find(index.id)) is not None:
        constant = found[0].constant
        if isinstance(constant, str):
            m.look(index.id)
            return constant
    return None


def element(m: Machine, base: Value, key: str) -> Value:
    """The element or attribute stored under a text."""
    if base.origin == "os.environ":
        return Value(m.read(m.versions.of("variable", key, files.variable(m, key))), (), "str")
    if base.part or not base.things:
        return Value(m.versions.of("element", key, m.read(m.whole(base))), base.things, base.sort, part=True)
    versions: list[int] = []
    things: list[Thing] = []
    for thing in base.things:
        m.step.needs |= thing.steps
        if (bound := thing.keys.get(key)) is not None:
            versions.append(m.of_bound(bound))
            things += bound.things
        else:
            held = [m.of_thing(inner) for inner in thing.held]
            versions.append(m.versions.of("element", key, thing.version, *held))
    kind = "pandas" if base.sort == "pandas" else ""
    if base.choice:
        versions.append(base.choice)
    version = versions[0] if len(versions) == 1 else m.versions.of("elements", *versions)
    m.read(version)
    if len(base.things) == 1 and (bound := base.things[0].keys.get(key)) is not None:
        if bound.things and base.sort != "pandas":
            return Value(version, bound.things, bound.kind, bound.origin, choice=bound.choice)
        if base.sort != "pandas":
            return Value(version, (), bound.kind, bound.origin)
    return Value(version, (*base.things, *things), kind, part=True, key=key)


def elements(m: Machine, source: Value) -> list[Value]:
    """The elements of a list that was just made so, as they are now; none where they are not known."""
    if len(source.things) != 1 or source.part:
        return []
    return [as_now(m, item) for item in source.things[0].known_items()]


def as_now(m: Machine, item: Value) -> Value:
    """An element, with the version that it has now."""
    return replace(item, version=m.read(m.of_bound(Bound(item.choice, item.things, 0)))) if item.things else item


def each(m: Machine, source: Value) -> Value:
    """One of what is iterated over."""
    version = m.versions.of("each", source.version)
    if source.origin == "builtins.range":
        return Value(version, (), "plain")
    held = tuple(dict.fromkeys(Value(version, source.things, "", part=True).inside))
    return Value(version, held, "str" if source.sort == "str" else "", part=bool(source.things))


def bind_target(m: Machine, target: ast.expr, value: Value, *, here: bool = False) -> None:
    """Assign to whatever stands left of ``=``; ``here`` binds names in the scope at hand, as comprehensions do."""
    if isinstance(target, ast.Name):
        if here:
            m.put(m.frame, target.id, value)
        else:
            m.bind(target.id, value)
    elif isinstance(target, ast.Starred):
        bind_target(m, target.value, Value(value.version, value.things, "list", part=value.part), here=here)
    elif isinstance(target, ast.Tuple | ast.List):
        library.order_of_set(m, value)
        for number, item in enumerate(target.elts):
            version = m.versions.of("unpacked", number, len(target.elts), value.version)
            kind = value.sort if value.sort in {"pandas", "numpy", "figure"} else ""
            bind_target(m, item, Value(version, value.things, kind, part=bool(value.things)), here=here)
    else:
        store_in(m, target, value)


def store_in(m: Machine, target: ast.expr, value: Value) -> None:
    """``base[index] = value`` and ``base.name = value``."""
    base = place(m, target.value)  # type: ignore[attr-defined]
    if isinstance(target, ast.Attribute):
        if library.is_setting(m, base, target.attr, value):
            return
        if not base.things or not _set_by_class(m, base, target, value):
            _store_key(m, base, target.attr, value)
        return
    assert isinstance(target, ast.Subscript)  # noqa: S101 - there is no other target
    index = target.slice
    if library.is_setting(m, base, "", value, key_of(m, index)):
        return
    if base.things and special(m, base, ("__setitem__",), m.value(index), value) is not None:
        return
    if (key := key_of(m, index)) is not None and not base.part:
        _store_key(m, base, key, value)
        return
    if _store_rows(m, target, value):
        return
    where = m.value(index)
    touched(m, [where])
    m.read(m.whole(base))
    library.store_at(m, base, (where.version, where.constant), value)


def _store_rows(m: Machine, target: ast.Subscript, value: Value) -> bool:
    """``df.loc[rows, "a"] = value`` changes one column; whether it was such a store."""
    match target:
        case ast.Subscript(
            value=ast.Attribute(value=ast.Name() as table, attr="loc" | "at"),
            slice=ast.Tuple(elts=[rows, ast.Constant(value=str(key))]),
        ):
            base = place(m, table)
            if base.sort != "pandas" or base.part or len(base.things) != 1:
                return False
            where = m.value(rows)
            old = element(m, base, key).version
            if m.versions.term(old)[0] == "rows" and m.versions.term(old)[2:] == (where.version, value.version):
                return True
            version = m.versions.of("rows", old, where.version, value.version)
            m.store_key(base.things, key, Value(version, (), "pandas"))
            for other in base.things[0].near:  # a column that was taken from it may be the same memory
                m.change([other], "rows", key, version)
            return True
    return False


def _set_by_class(m: Machine, base: Value, target: ast.Attribute, value: Value) -> bool:
    """Whether an attribute is set by a property, descriptor or ``__setattr__`` of a class of the notebook."""
    text = Value(m.versions.of("constant", "str", target.attr), (), "str", constant=target.attr)
    if special(m, base, ("__setattr__",), text, value) is not None:
        return True
    for thing in base.things if base.sort == "instance" else ():
        found = next((b for cls in thing.made_of if (b := find_method(cls, target.attr)) is not None), None)
        inner = found.things[0] if found is not None and found.things else None
        if inner is None:
            continue
        m.step.needs |= inner.steps
        if inner.code is not None and inner.code.setter is not None:
            call_function(m, inner.code.setter, [base, value])
            return True
        owner = Value(inner.version, (inner,), inner.kind)
        if special(m, owner, ("__set__",), base, value) is not None:
            return True
    return False


def _store_key(m: Machine, base: Value, key: str, value: Value) -> None:
    if base.part:
        library.store_at(m, base, (m.versions.of("constant", "str", key), None), value)
    elif not (base.sort == "pandas" and key in SHAPES):
        m.store_key(base.things, key, value)
    else:
        library.store_at(m, base, (m.versions.of("shape", key), None), value)
