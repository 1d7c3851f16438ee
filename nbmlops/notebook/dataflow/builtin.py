"""Calls of what Python has built in."""

from __future__ import annotations

import ast

from nbmlops.notebook.dataflow import display, knowledge
from nbmlops.notebook.dataflow.files import path_of, read_file, write_file
from nbmlops.notebook.dataflow.given import Given
from nbmlops.notebook.dataflow.library import consume, done_again, imported, order_of_set
from nbmlops.notebook.dataflow.machine import Machine
from nbmlops.notebook.dataflow.methods import call_back, unknown, write_to_handle
from nbmlops.notebook.dataflow.specials import asked, own_objects
from nbmlops.notebook.dataflow.tables import words
from nbmlops.notebook.dataflow.things import FIXED, Thing, Value, contents, reachable
from nbmlops.notebook.dataflow.traces import changed_since

_PLAIN = words(
    """
    abs all any bin bool callable chr complex divmod float format hash hex id int isinstance issubclass len
    oct ord pow repr round str ascii bytes hasattr input
    """
)
_HOLDING = words(
    """
    list tuple set dict frozenset sorted reversed iter zip enumerate map filter max min sum next getattr
    vars bytearray memoryview slice super type object
    """
)
_ORDERED = frozenset(["list", "tuple", "enumerate", "iter", "zip", "map", "next"])
# Functions that ask nothing of what they are given.
_ASKING_NOTHING = frozenset({"isinstance", "issubclass", "type", "id", "callable", "setattr", "delattr", "super"})
DYNAMIC = frozenset({"exec", "eval", "globals", "locals", "compile", "__import__", "execfile"})
SHOWN = frozenset({"print", "display", "help", "breakpoint", "exit", "quit", "dir"})
KNOWN = _PLAIN | _HOLDING | DYNAMIC | SHOWN | {"open", "range", "setattr", "delattr", "property", "staticmethod",
                                               "classmethod", "get_ipython", "NotImplemented", "Ellipsis",
                                               "__name__", "__file__", "__doc__", "__builtins__"}  # fmt: skip


def call_builtin(m: Machine, name: str, given: Given) -> Value:
    """A call of a built-in function or type."""
    begun = len(m.changes)
    version = _with_traces(m, name, given)
    if name in knowledge.IDEMPOTENT_CALLS:
        version = done_again(m, version, name, given)
    return _built_in(m, name, given, version, begun)


def _with_traces(m: Machine, name: str, given: Given) -> int:
    """What a built-in function calls and goes through; the version of its answer."""
    version = m.versions.of("call", name, *given.versions)
    called = call_back(m, given, [Value(m.versions.of("given by", version), given.things, part=bool(given.things))])
    if name not in _ASKING_NOTHING:
        called += asked(m, name, list(given.all()))
    if name not in {"isinstance", "type", "id", "print", "iter"}:
        called += consume(m, given)
    return m.versions.of("called back", version, *called) if called else version


def _built_in(m: Machine, name: str, given: Given, version: int, begun: int) -> Value:
    _note_weak(m, name, given)
    if name in DYNAMIC or (name == "vars" and not given.values):
        return _dynamic(m, name, given)
    if name == "open":
        mode = given.at(1, "mode")
        text = "r" if mode is None else mode.constant if isinstance(mode.constant, str) else "r+"
        return open_file(m, path_of(given.at(0, "file")) or None, text, version)
    if name in SHOWN:
        m.outcomes += [version, *display.shown(m, given.values, last=name == "display")]
        for value in given.named.values():
            write_to_handle(m, value, version)
        if (target := given.named.get("file")) is not None and target.sort != "handle":
            m.change(target.things, "printed", version)
        return Value(version, (), "plain")
    if name == "type" and len(given.values) == 1 and (own := _classes(given.values[0])):
        return Value(version, own, "class")
    if name == "get_ipython":
        return shell(m, version)
    if name in {"setattr", "delattr"} and given.values:
        m.change(given.values[0].things, name, *given.versions)
        return Value(version, (), "plain")
    if name == "range":
        return Value(version, (), "plain", "builtins.range")
    if name == "type" and len(given.values) == 1 and (objects := own_objects(given.values[0])):
        classes = tuple(dict.fromkeys(cls for thing in objects for cls in thing.made_of))
        return Value(version, classes, "class", choice=version if len(classes) > 1 else 0)
    if name in _PLAIN or name.endswith(("Error", "Exception", "Warning", "Interrupt")):
        if name in {"str", "repr", "format"}:
            version = show_in_text(m, given.values, version)
        return Value(version, (), "str" if name in {"str", "repr", "format", "chr", "ascii"} else "plain")
    if name in _HOLDING:
        return _holding(m, name, given, version, begun)
    return unknown(m, None, name, given)


def _note_weak(m: Machine, name: str, given: Given) -> None:
    """Note what a call rests on besides its arguments."""
    if name == "id":
        m.note("random", "depends on where objects lie in memory: id()")
    elif name == "input":
        m.note("environment", "asks for what somebody types: input()")
    elif name == "hash" and not all(isinstance(value.constant, int | float) for value in given.values):
        m.note("random", "depends on the hash of a text or an object, which is another one in each process")
    elif name in {"print", "display", "ascii"}:
        for value in given.values:
            show(m, value)
    elif name in {"sorted", "max", "min"} and "key" in given.named and given.values:
        order_of_set(m, given.values[0])


def _classes(value: Value) -> tuple[Thing, ...]:
    """The classes of the notebook of which a value is an object."""
    if value.part or not value.things or not all(thing.made_of for thing in value.things):
        return ()
    return tuple(dict.fromkeys(cls for thing in value.things for cls in thing.made_of))


def show(m: Machine, value: Value) -> None:
    """Note what is another text in each kernel: the order of a set, the address of an object."""
    if not value.things:
        order_of_set(m, value)
    for thing in reachable(value.things):
        order_of_set(m, Value(thing.version, (thing,), thing.kind))
    codes = [thing.code for thing in value.things if thing.code is not None] if value.sort == "function" else []
    if codes or (value.sort == "instance" and any(_is_bare(thing) for thing in value.things)):
        m.note("random", "depends on where objects lie in memory: it shows the address of one")


def show_in_text(m: Machine, values: list[Value], version: int) -> int:
    """The version of a text in which values are shown."""
    for value in values:
        show(m, value)
    settings = display.shown(m, values)
    return m.versions.of("shown", version, *settings) if settings else version


def _is_bare(thing: Thing) -> bool:
    """Whether an object has no text of its own."""
    for cls in thing.made_of:
        node = cls.code.node if cls.code is not None else None
        plain = isinstance(node, ast.ClassDef) and not node.bases and not node.keywords and not node.decorator_list
        if not plain or {"__repr__", "__str__", "__format__", "_repr_html_"} & set(cls.keys):
            return False
    return bool(thing.made_of)


def _holding(m: Machine, name: str, given: Given, version: int, begun: int) -> Value:
    if name == "next" and given.values and not own_objects(given.values[0]):
        m.change(given.values[0].things, "next")
    if name == "dict" and any(value.origin == "os.environ" for value in given.all()):
        m.note("environment", "depends on the machine: os.environ")
    if name in _ORDERED:
        for value in given.values:
            order_of_set(m, value)
    name = "set" if name == "frozenset" else name
    kind = name if name in {"list", "tuple", "set", "dict"} else "list" if name == "sorted" else ""
    things = given.things
    if name in {"sum", "max", "min"} and not any(t.held for t in things):
        return Value(version, ())
    if name in {"iter", "zip", "map", "filter", "enumerate", "reversed"}:
        inner = [x for t in things for x in (*t.held, *(y for b in t.keys.values() for y in b.things))]
        thing = Thing("iterator", version, m.bit, held=list(dict.fromkeys((*things, *inner))))
        thing.lazy = changed_since(m, begun) if name in {"map", "filter"} else ()
        return Value(m.of_thing(thing), (thing,), "iterator")
    if kind and name != "super":
        thing = Thing(kind, version, m.bit)
        thing.held = [
            inner for t in things for inner in (*contents(t), *(x for b in t.keys.values() for x in b.things))
        ]
        if name == "dict":
            thing.held += [x for inner in thing.held for x in inner.held]
            for key, value in given.named.items():
                thing.keys[key] = m.bound_to(value)
        thing.held = [t for t in dict.fromkeys(thing.held) if t.kind not in FIXED]
        return Value(m.of_thing(thing), (thing,), kind)
    return Value(version, things, part=bool(things))


def open_file(m: Machine, path: str | None, mode: str, version: int) -> Value:
    """A file that is open; what is written to it is written to the file."""
    thing = Thing("handle", version, m.bit, origin=path or "")
    if not any(letter in mode for letter in "wx"):
        thing.version = m.versions.of("opened", version, read_file(m, path, "open"))
    if any(letter in mode for letter in "wxa+"):
        write_file(m, path, thing.version, more="a" in mode or "+" in mode)
    return Value(thing.version, (thing,), "handle")


def _dynamic(m: Machine, name: str, given: Given) -> Value:
    """Code that is text, and the namespace as a thing: all may be read and bound."""
    first = given.at(0)
    if name in {"globals", "locals", "vars"}:
        return _namespace(m, name)
    if name == "__import__":
        return module_named(m, given)
    if name == "compile":
        return Value(m.versions.of("call", name, *given.versions), (), "")
    what = {"exec": "executes text as code", "eval": "evaluates text as code"}.get(name, f"uses {name}()")
    m.step.opaque.append(what)
    everything(m, name, first.version if first is not None else 0, certain=not _only_reads(first))
    return Value(m.read(m.versions.of("dynamic", name, *given.versions, *m.reads[-1:])))


def shell(m: Machine, version: int) -> Value:
    """The shell or a namespace as an object: through it any name may be read and set."""
    m.step.opaque.append("uses the shell or a namespace, through which any name may be set")
    everything(m, version, certain=True)
    return Value(m.read(version))


def module_named(m: Machine, given: Given) -> Value:
    """A module by its name, as a text."""
    name = given.text(0, "name")
    if name in {"__main__", "builtins", "sys"} or name is None:
        m.step.opaque.append("takes a module by a name that is made while the cell runs")
    return imported(m, name or "unknown", module=True)


def _namespace(m: Machine, name: str) -> Value:
    """The names themselves as a thing that holds all that they stand for."""
    m.step.opaque.append(f"uses {name}()")
    everything(m, name, certain=False)
    held = [t for bound in m.top.names.values() for t in bound.things if t.kind not in FIXED]
    thing = Thing("", m.versions.of("namespace", *m.reads[-1:]), m.bit, held=list(dict.fromkeys(held)))
    return Value(m.read(thing.version), () if m.hopeful else (thing,), "", part=not m.hopeful)


def _only_reads(text: Value | None) -> bool:
    """Whether text that is evaluated is known, and only reads."""
    if text is None or not isinstance(text.constant, str):
        return False
    try:
        tree = ast.parse(text.constant.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError):
        return False
    return not any(isinstance(node, ast.Call | ast.NamedExpr | ast.Await) for node in ast.walk(tree))


def everything(m: Machine, *term: int | str, certain: bool) -> None:
    """All names are read, and all may be bound and changed."""
    versions = [m.of_bound(bound) for bound in m.top.names.values()]
    seen = m.versions.of("everything", *term, *versions)
    for name in list(m.top.names):
        m.look(name)
    m.anything |= m.bit
    if m.hopeful:
        return
    m.read(seen)
    m.unseen = m.versions.of("unseen", seen, m.unseen)
    if not certain:
        return
    m.step.guessed = True
    for bound in m.top.names.values():
        if bound.kind not in {"module", "imported"}:
            bound.choice = m.versions.of("after", seen, bound.choice)
            bound.constant = None
            bound.steps |= m.bit
            m.change(bound.things, "after", seen, certain=False)
