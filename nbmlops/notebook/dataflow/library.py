"""Modules, their members and settings; changes in place that are known to mean nothing when they are done again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nbmlops.notebook import known
from nbmlops.notebook.dataflow import display, knowledge
from nbmlops.notebook.dataflow.given import Given
from nbmlops.notebook.dataflow.machine import Machine
from nbmlops.notebook.dataflow.specials import iterated, special
from nbmlops.notebook.dataflow.things import FIXED, UNKNOWN, Thing, Value, reachable
from nbmlops.notebook.dataflow.traces import again

SETTINGS = "settings"


def imported(m: Machine, origin: str, *, module: bool) -> Value:
    """What an import binds."""
    if origin in known.MACHINE_VALUES:
        m.note("environment", f"depends on the machine: {origin}")
    if module:
        thing = m.module(origin)
        return Value(thing.version, (thing,), "module", origin)
    return Value(m.versions.of("module", origin), (), "imported", origin)


def member(m: Machine, base: Value, name: str) -> Value:
    """``pandas.DataFrame`` of ``pandas``."""
    for thing in base.things:
        if (bound := thing.keys.get(name)) is not None:  # set by the notebook itself
            return Value(m.read(m.of_bound(bound)), bound.things, bound.kind, bound.origin)
        m.step.needs |= thing.steps
        m.read(thing.version)
    origin = f"{base.origin}.{name}"
    if origin in known.MACHINE_VALUES:
        m.note("environment", f"depends on the machine: {origin}")
    if origin == "os.environ":
        setting = m.read_hidden(SETTINGS) or 0
        return Value(m.versions.of("environ", setting), (), "imported", origin)
    if origin == "sys.path" and (path := m.read_hidden("sys.path")):
        return Value(m.versions.of("environ", path), (), "imported", origin)
    return Value(m.versions.of("module", origin, *(t.version for t in base.things)), (), "imported", origin)


def set_setting(m: Machine, version: int, *, ordered: bool = False) -> None:
    """Something that later code may depend on without naming it. Set twice alike, it is the same as once."""
    bound = m.hidden.get(SETTINGS)
    term = m.versions.term(bound.choice) if bound is not None else ("settings", ())
    old = term[1] if term[0] == "settings" else (bound.choice if bound is not None else 0,)
    if not ordered and version in old:
        bound_steps = bound.steps if bound is not None else 0
        m.hidden[SETTINGS].steps = bound_steps | m.bit
        m.step.stored[f"<{SETTINGS}>"] = None
        return
    m.set_hidden(SETTINGS, m.versions.of("settings", (*old, version)), anew=False)


def is_setting(m: Machine, base: Value, name: str, value: Value, key: str | None = None) -> bool:
    """Whether a store is into a library: ``os.environ["A"] = …``, ``pd.options.x = …``, ``module.flag = …``."""
    if not base.origin:
        return False
    origin = f"{base.origin}.{name}".rstrip(".")
    if knowledge.SHOWING.match(origin):
        display.set_display(m, origin if key is None else f"{origin}.{key}", value.version, alone=bool(name or key))
        return True
    if origin == "os.environ" and key is not None:
        m.set_hidden(f"environment {key}", value.version, anew=True)
        set_setting(m, m.versions.of("set", origin, key, value.version))
        return True
    if base.things and base.things[0].kind == "module" and not knowledge.SETTINGS_STORED.match(origin):
        m.store_key(base.things, name, value)
        set_setting(m, m.versions.of("set", origin, value.version))
        return True
    if base.origin == "builtins" or not base.things:
        set_setting(m, m.versions.of("set", origin, value.version))
        return True
    return False


def store_at(m: Machine, base: Value, where: tuple[int, Any], value: Value) -> None:
    """``base[where] = value`` where the place is no text: done again at once, it changes nothing more."""
    number, constant = where
    operation = (number, constant if isinstance(constant, int | str) else None, value.version)
    things = base.things
    if len(things) == 1 and not base.part and not things[0].near and not things[0].keys:
        thing = things[0]
        if thing.kind not in FIXED:
            version = m.versions.of("set", thing.version, *operation)
            m.set_version(thing, thing.version if _is_set(m, thing.version, operation) else version)
    elif (
        base.part or len(things) != 1 or m.versions.term(things[0].version)[2:] != ("set", *operation) or things[0].keys
    ):
        whole = [*things, *base.inside] if base.part else things
        m.change(whole, "set", *operation)
    for thing in things if base.sort not in {"pandas", "numpy"} else ():
        for inner in value.inside:
            if inner.kind not in FIXED and inner not in thing.held and inner is not thing:
                thing.held.append(inner)


def _is_set(m: Machine, version: int, operation: tuple[int, Any, int]) -> bool:
    """Whether this has been set, and since then only other places for sure."""
    while (term := m.versions.term(version))[0] == "set":
        if term[2:] == operation:
            return True
        there, here = term[3], operation[1]
        if there is None or here is None or type(there) is not type(here) or there == here:
            return False
        if isinstance(there, int) and (there < 0) != (here < 0):
            return False
        version = term[1]
    return False


def rows_left_out(m: Machine, whole: int, how: tuple[Any, ...]) -> int:
    """The version of a table without some rows: leaving the same out again changes nothing."""
    version = whole
    while True:
        term = m.versions.term(version)
        if term[0] != "method" or term[1] not in knowledge.ROWS_MOVED:
            return m.versions.of("method", how[0], whole, *how[1:])
        if term[1] == how[0] and term[3:] == how[1:]:
            return whole
        version = term[2]


def one_of_a_name(m: Machine, origin: str, given: Given) -> Value:
    """``logging.getLogger("a")``: the same object each time, with all that was set in it."""
    name = given.text(0, "name")
    key = origin if not given.values and not given.named else f"{origin} {name}"
    if (thing := m.modules.get(key)) is None:
        thing = m.modules[key] = Thing("record", m.versions.of("the one", key), 0, f"one {key}")
    return Value(m.of_thing(thing), (thing,), "record")


def done_again(m: Machine, version: int, name: str, given: Given) -> int:
    """The version of an answer; of something given its own answer, it is that."""
    if given.values:
        term = m.versions.term(given.values[0].version)
        if term[:2] == ("call", name) and term[3:] == given.versions[1:]:
            return given.values[0].version
    return version


def consume(m: Machine, given: Given) -> list[int]:
    """What goes through an iterator leaves nothing of it; the versions of what that did besides."""
    return [done.version for value in given.all() if (done := used_up(m, value)) is not None]


# Kinds that can be gone through again and again.
_LASTING = FIXED | {"list", "tuple", "set", "dict", "pandas", "numpy", "estimator", "figure", "record", "function",
                    "class", "generator", "instance"}  # fmt: skip
_ONCE = frozenset({"iterator", "handle"})


def used_up(m: Machine, value: Value) -> Value | None:
    """Something is gone through that may be an iterator: what that did, where it did more than use it up."""
    if not value.things:
        return None
    if value.sort in _ONCE:
        done = _run_lazily(m, value.things)
        m.change(value.things, "used up")
        return done
    inner = [t for thing in value.things for t in (thing, *thing.held) if t.kind in _ONCE]
    if inner and (value.part or value.sort not in _LASTING):
        done = _run_lazily(m, tuple(inner))
        m.change(inner, "used up", certain=False)
        return done
    doubtful = [t for t in value.things if t.kind == UNKNOWN]
    if doubtful and not value.part:
        m.change(doubtful, "used up", certain=False)
    return None


def _run_lazily(m: Machine, things: tuple[Thing, ...]) -> Value | None:
    """What iterators do only when they are asked, and those that they take from."""
    done: list[int] = []
    for thing in reachable(things):
        if thing.kind not in _ONCE and thing.kind != UNKNOWN:
            continue
        if thing not in things:
            m.change([thing], "used up", certain=False)
        if thing.lazy:
            done += again(m, thing.lazy)
    return Value(m.versions.of("lazily", *done)) if done else None


def gone_through(m: Machine, source: Value) -> Value:
    """What a loop goes through, after it has begun; its version holds what that did."""
    answer = iterated(m, source)
    if answer is None:
        answer = used_up(m, source)
    if answer is None:
        return source
    return replace(source, version=m.read(m.versions.of("through", source.version, answer.version)))


def shown(m: Machine, value: Value) -> Value:
    """A value that is made text."""
    answer = special(m, value, ("__format__", "__str__", "__repr__", "_repr_html_")) if value.things else None
    return value if answer is None else Value(m.versions.of("shown", value.version, answer.version))


def order_of_set(m: Machine, source: Value) -> None:
    """Note that the order of a set of texts is another one in each kernel."""
    if source.origin == "os.environ":
        m.note("environment", "depends on the machine: os.environ")
    if source.sort == "set" and not _of_numbers(m, source):
        m.note("random", "depends on the order of a set, which is another one in each kernel")


def _of_numbers(m: Machine, source: Value) -> bool:
    """Whether a set was written as numbers: their order is the same everywhere."""
    kind, *own = m.versions.term(source.things[0].version) if len(source.things) == 1 else ("",)
    terms = [m.versions.term(one) for one in own if isinstance(one, int) and not isinstance(one, bool)]
    return kind == "set" and bool(terms) and all(term[:1] == ("constant",) and term[1] == "int" for term in terms)
