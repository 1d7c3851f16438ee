"""Lists, tuples, sets and dicts where they are written, and comprehensions."""

from __future__ import annotations

import ast
from typing import Any

from nbmlops.notebook.dataflow import library
from nbmlops.notebook.dataflow.frames import Code, Frame
from nbmlops.notebook.dataflow.given import kept
from nbmlops.notebook.dataflow.machine import Machine
from nbmlops.notebook.dataflow.places import as_now, bind_target, each, elements
from nbmlops.notebook.dataflow.sealing import sealed
from nbmlops.notebook.dataflow.specials import touched, truth
from nbmlops.notebook.dataflow.things import FIXED, Thing, Value
from nbmlops.notebook.dataflow.traces import changed_since

_MOST_ITEMS = 12


def display_of(m: Machine, node: ast.List | ast.Tuple | ast.Set) -> Value:
    values = [m.value(item) for item in node.elts]
    for value in values:
        kept(m, value)
    kind = type(node).__name__.lower()
    if kind == "set":
        touched(m, values)
    # What is held has its own version: the list's is that it holds so many, and the values that are no things.
    own = [0 if v.things and not v.part and not v.choice else v.version for v in values]
    thing = Thing(kind, m.versions.of(kind, *own, *(isinstance(i, ast.Starred) for i in node.elts)), m.bit)
    thing.held = [held for v in values for held in v.inside if held.kind not in FIXED or held.code or held.origin]
    thing.held += [Thing("imported", v.version, 0, v.origin) for v in values if v.origin and v.kind == "imported"]
    if kind != "set" and 0 < len(values) <= _MOST_ITEMS and not any(v.part for v in values):
        thing.items = (thing.version, tuple(values))
    texts = tuple(v.constant for v in values if isinstance(v.constant, str))
    if len(texts) == len(values):
        thing.texts = (thing.version, texts)
    return Value(m.of_thing(thing), (thing,), kind)


def dict_of(m: Machine, node: ast.Dict) -> Value:
    thing = Thing("dict", 0, m.bit)
    own: list[Any] = []
    for key, item in zip(node.keys, node.values):
        value = m.value(item)
        kept(m, value)
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            thing.keys[key.value] = m.bound_to(value)
            own.append(key.value)
            continue
        under = m.value(key) if key is not None else None
        touched(m, [under] if under is not None else [])
        own += [under.version if under is not None else "**", value.version]
        thing.held += [held for held in value.inside if held.kind not in FIXED]
        if key is None:
            inner = [x for t in value.things for x in (*t.held, *(y for b in t.keys.values() for y in b.things))]
            thing.held += [held for held in inner if held.kind not in FIXED]
    thing.version = m.versions.of("dict", *own)
    return Value(m.of_thing(thing), (thing,), "dict")


def comprehension_of(m: Machine, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> Value:
    begun = len(m.changes)
    first = node.generators[0]
    simple = len(node.generators) == 1 and not first.ifs and isinstance(first.iter, ast.Name)
    if simple and isinstance(node, ast.ListComp) and (known := elements(m, m.value(first.iter))):
        return _one_by_one(m, node, known)
    with sealed(m, node) as seal:
        outer, m.frame = m.frame, Frame(outer=m.frame, kind="comprehension")
        try:
            parts: list[int] = []
            for generator in node.generators:
                source = m.value(generator.iter)
                library.order_of_set(m, source)
                source = library.gone_through(m, source)
                parts.append(source.version)
                bind_target(m, generator.target, each(m, source), here=True)
                parts += [truth(m, test).version for test in generator.ifs]
            items = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
            values = [m.value(item) for item in items]
        finally:
            m.frame = outer
        seal.only_changes = True
    kind = {"ListComp": "list", "SetComp": "set", "DictComp": "dict", "GeneratorExp": "iterator"}.get(
        type(node).__name__, ""
    )
    thing = Thing(kind, m.versions.of(type(node).__name__, *parts, *(v.version for v in values)), m.bit)
    thing.held = list({held: None for v in values for held in v.inside if held.kind not in FIXED})
    if isinstance(node, ast.GeneratorExp):
        thing.code, thing.lazy = Code(node, m.frame), changed_since(m, begun)
    return Value(m.of_thing(thing), (thing,), kind)


def _one_by_one(m: Machine, node: ast.ListComp, items: list[Value]) -> Value:
    """A list made of a few elements that are known."""
    outer, m.frame = m.frame, Frame(outer=m.frame, kind="comprehension")
    values = []
    try:
        for item in items:
            bind_target(m, node.generators[0].target, as_now(m, item), here=True)
            values.append(m.value(node.elt))
    finally:
        m.frame = outer
    thing = Thing("list", m.versions.of("ListComp", *(v.version for v in values)), m.bit)
    thing.held = list({held: None for v in values for held in v.inside if held.kind not in FIXED})
    return Value(m.of_thing(thing), (thing,), "list")
