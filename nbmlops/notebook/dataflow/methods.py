"""Calls of methods: which change their object, which answer with a part of it, and which do neither."""

from __future__ import annotations

import ast
import re
from dataclasses import replace

from nbmlops.notebook.dataflow import display, knowledge
from nbmlops.notebook.dataflow.branches import perhaps
from nbmlops.notebook.dataflow.files import draw, path_of, read_file, write_file
from nbmlops.notebook.dataflow.functions import call_function
from nbmlops.notebook.dataflow.given import Given
from nbmlops.notebook.dataflow.library import consume, order_of_set, rows_left_out
from nbmlops.notebook.dataflow.machine import Machine
from nbmlops.notebook.dataflow.specials import touched
from nbmlops.notebook.dataflow.tables import words
from nbmlops.notebook.dataflow.things import FIXED, UNKNOWN, Thing, Value, contents, reachable
from nbmlops.notebook.dataflow.traces import changed_since

# Kinds whose methods never change what they are given.
_QUIET = words(
    """
    pandas numpy str path list dict set tuple figure record plain estimator generator handle
    """
)
_PLOTS = frozenset({"plot", "hist", "boxplot", "scatter", "bar", "line"})
_HOLDING = words(
    """
    append appendleft extend insert add update setdefault put __setitem__ setattr
    """
)
_SETS = frozenset({"union", "intersection", "difference", "symmetric_difference", "copy"})
_IN_ORDER = frozenset({"join", "extend", "fromkeys", "writelines", "writerow", "format", "extendleft", "map"})
BUFFER = "<buffer>"  # where a handle would have its file
_TAKING = frozenset(["pop", "popitem", "popleft", "setdefault"])


def call_method(m: Machine, base: Value, name: str, given: Given) -> Value:
    """``base.name(…)`` where the method is none of the notebook's.

    What counts as read is what came of it: sorting again what is sorted is no other input.
    """
    display.call(m, name, base.sort)
    if name in _IN_ORDER or (name == "pop" and base.sort == "set"):
        for value in given.values if name in _IN_ORDER else (base,):
            order_of_set(m, value)
    if name in {"imap_unordered", "as_completed"}:
        m.note("random", f"depends on which is done first: .{name}()")
    answer = _call_method(m, base, name, given)
    if name in {"info", "to_string", "to_html", "plot", "hist"} and base.sort == "pandas":
        answer = replace(answer, version=m.versions.of("shown", answer.version, *display.shown(m, [base])))
        m.outcomes.append(answer.version) if name != "to_string" else None
    if name == "format" and (settings := display.shown(m, given.all())):
        answer = replace(answer, version=m.versions.of("shown", answer.version, *settings))
    m.read(answer.version)
    if any(thing in m.step.changed for thing in base.things):
        m.read(m.whole(base))
    return answer


def _call_method(m: Machine, base: Value, name: str, given: Given) -> Value:
    whole = m.whole(base)
    version = m.versions.of("method", name, whole, *given.versions)
    kind = base.sort
    given = _and_called(m, base, name, given, version)
    if kind == "generator":
        return _draw(m, base, name, given)
    if kind == "path":
        return _of_path(m, base, name, given)
    if name in knowledge.FITTING:
        return _fit(m, base, name, given)
    if name in knowledge.INPLACE and (said := given.is_true("inplace")) is not False:
        _change(m, base, name, given, certain=said is True)
        return (
            Value(m.versions.of("constant", "NoneType", "None"), (), "plain")
            if said
            else Value(version, base.things, kind, part=True)
        )
    if name in knowledge.WRITING_METHODS and kind != "handle" and (given.values or given.named):
        return _write(m, base, name, given)
    if name in knowledge.WRITING_ELSEWHERE:
        m.note("database", f"writes outside the notebook: .{name}()")
        return Value(version, (), "plain")
    if (drawn := _sampled(m, base, name, given, version)) is not None:
        return drawn
    if name in _ITERATORS and kind in {"estimator", "path", "pandas"}:
        thing = Thing("iterator", version, m.bit, held=list(base.things))
        return Value(m.of_thing(thing), (thing,), "iterator")
    if kind == "record" and knowledge.SETTERS.fullmatch(name) and _is_shared(base):
        return _changed(m, base, name, given)
    if kind == "handle":
        return _of_handle(m, base, name, given)
    if _changes(kind, name, base):
        return _changed(m, base, name, given)
    return _answer(m, base, name, given)


def _samples(kind: str, name: str) -> bool:
    """Whether a method draws from numpy's state unless it is given one."""
    if name in {"rvs", "resample"}:
        return kind == "numpy" or (name == "rvs" and kind == "")
    return (name == "sample" and kind in {"pandas", ""}) or (name == "shuffle" and kind == "pandas")


def _is_shared(base: Value) -> bool:
    return any(knowledge.SHARED.fullmatch(thing.origin) for thing in base.things)


def _sampled(m: Machine, base: Value, name: str, given: Given, version: int) -> Value | None:
    """What is drawn from a table or split by a splitter without a seed; None for anything else."""
    kind = base.sort
    if _samples(kind, name) and not given.names & set(knowledge.SEED_KEYWORDS):
        drawn = draw(m, "numpy", f".{name}() without random_state", *given.versions)
        return Value(m.versions.of("drawn", version, drawn), (), "pandas")
    if name == "split" and kind == "estimator" and not all(thing.seeded for thing in base.things):
        drawn = draw(m, "numpy", f"{_named(list(base.things))} without random_state", *given.versions)
        thing = Thing("iterator", m.versions.of("drawn", version, drawn), m.bit, held=list(base.things))
        return Value(m.of_thing(thing), (thing,), "iterator")
    return None


def _and_called(m: Machine, base: Value, name: str, given: Given, version: int) -> Given:
    """What a method calls and goes through; where that left a trace, the answer holds it as an argument."""
    traces = call_back(m, given, [Value(m.versions.of("given by", version), base.things, part=bool(base.things))])
    traces += consume(m, given)
    for value in given.all():
        if value.sort == "generator":
            m.change(value.things, "drawn", version)
            traces.append(value.version)
    if base.sort == "list" and name in {"sort", "index", "count", "remove"}:
        traces += touched(m, [base])
    if base.sort not in _HOLDERS:
        traces += touched(m, list(given.all()))
    if not traces:
        return given
    return Given(given.node, given.values, {**given.named, "<called>": Value(m.versions.of("called back", *traces))})


# Kinds whose methods keep what they are given, or look at it, but need no method of it to do so.
_HOLDERS = frozenset({"list"})


def _bound_methods(m: Machine, given: Given, version: int) -> list[int]:
    """Methods and functions that are no code of the notebook, handed on to be called."""
    traces = []
    for value in given.all():
        if value.kind == "method":
            m.change(list(value.inside), "called", version, certain=False)
            traces.append(version)
        elif value.kind == "imported" and knowledge.leaves_trace(value.origin):
            state = knowledge.draws(value.origin, frozenset())
            traces.append(draw(m, state, f"{value.origin}()", version) if state else version)
    return traces


def call_back(m: Machine, given: Given, values: list[Value]) -> list[int]:
    """Functions of the notebook that are given to a library's are called by it; versions for the traces they leave."""
    traces = _bound_methods(m, given, values[0].version if values else 0)
    for thing in {
        t: None for value in given.all() for t in value.things if t.code is not None and t.kind == "function"
    }:
        node = thing.code.node if thing.code else None
        if node is None or node in m.active:
            continue
        wanted = len(getattr(getattr(node, "args", None), "args", ()))
        begun = len(m.changes)
        with perhaps(m, node) as seal:
            call_function(m, thing, (values * max(1, wanted))[:wanted])
            seal.read = len(m.reads)
            if not m.loops and not isinstance(node, ast.Lambda):  # it may be called more than once
                call_function(m, thing, (values * max(1, wanted))[:wanted])
        if changed_since(m, begun):
            traces.append(seal.version)
    return traces


def _changes(kind: str, name: str, base: Value) -> bool:
    if kind in FIXED or (not base.things and kind in {"str", "plain"}):
        return False
    if name in knowledge.CHANGING_BUT:
        return kind not in knowledge.CHANGING_BUT[name]
    if kind == "pandas" and name in {"append", "eval", "sort", "train", "half", "double", "resize", "truncate"}:
        return False
    if kind == "figure":
        return True
    if kind in {"set", "dict", "list"} and name in knowledge.PURE and name not in knowledge.CHANGING:
        return False
    if re.fullmatch(r"__(i(?!nit|ter|nt|ndex|nvert|nstance)\w+|setattr|delattr)__", name):
        return True
    return name in knowledge.CHANGING or (kind == "" and name.endswith("_") and not name.endswith("__"))


def _change(m: Machine, base: Value, name: str, given: Given, *, certain: bool = True) -> None:
    """The object changes; some changes done again at once change nothing more."""
    things = list(dict.fromkeys(base.inside)) if base.part else list(base.things)
    if name in knowledge.IDEMPOTENT and len(things) == 1:
        operation = (name, *given.versions)
        if not _repeatable(m, name, given):
            m.change(things, name, *given.versions, certain=certain)
            return
        counts = things[0].kind == "" or things[0].origin == "collections.Counter"
        if not counts and m.versions.term(things[0].version)[2:] == operation and not things[0].keys:
            m.set_version(things[0], things[0].version)
            return
    m.change(things, name, *given.versions, certain=certain)


_QUERIED = re.compile(r"[^(@.]*|[^(@]*\d\.\d[^(@]*")


def _repeatable(m: Machine, name: str, given: Given) -> bool:
    """Whether a change that is known to mean nothing the second time has no arguments that make it mean something."""
    if "limit" in given.names:
        return False
    if name == "query":
        return _QUERIED.fullmatch(given.text(0, "expr") or "(") is not None or m.hopeful
    if name != "rename":
        return True
    names = [keyword.value for keyword in given.node.keywords if keyword.arg in {"columns", "index", "mapper"}]
    for mapping in (*names, *given.node.args):
        if isinstance(mapping, ast.Dict):
            keys = {ast.dump(key) for key in mapping.keys if key is not None}
            if keys & {ast.dump(value) for value in mapping.values}:
                return False
        elif not isinstance(mapping, ast.Constant) and not m.hopeful and ast.unparse(mapping) not in _LETTERS:
            return False
    return True


_LETTERS = frozenset({"str.upper", "str.lower", "str.strip", "str.title", "str.capitalize"})


def _changed(m: Machine, base: Value, name: str, given: Given) -> Value:
    before = m.whole(base) if name not in knowledge.IDEMPOTENT else 0
    taken = [t for thing in base.things for t in thing.held] if name in _TAKING else []
    for thing in base.things:
        if name in {"set_params", "load_state_dict", "set_weights"}:
            thing.fresh, thing.learns = None, thing.learns or "warm_start" in given.names
    _change(m, base, name, given)
    if name in _HOLDING:
        for thing in base.things:
            thing.held += [t for t in given.things if t not in thing.held and t is not thing]
    if name in {"set_params", "train", "eval", "cuda", "half", "double"}:
        return Value(base.version, base.things, base.kind, part=base.part, choice=base.choice)
    things = tuple(dict.fromkeys([*taken, *(base.things if name in _TAKING else ())]))
    kind = "pandas" if base.sort == "pandas" else ""
    return Value(m.read(m.versions.of("answer", name, before, *given.versions)), things, kind, part=bool(things))


def _answer(m: Machine, base: Value, name: str, given: Given) -> Value:
    """A method that leaves its object alone, as far as is known."""
    kind = base.sort
    whole = m.whole(base)
    if name in knowledge.IDEMPOTENT and not _repeatable(m, name, given):
        version = m.versions.of("method", name, whole, "anew", *given.versions)
    elif name in knowledge.ROWS:
        version = rows_left_out(m, whole, (name, *given.versions))
    elif (
        name in knowledge.IDEMPOTENT or (name == "assign" and not any(v.sort == "function" for v in given.all()))
    ) and m.versions.term(whole)[1:2] + m.versions.term(whole)[3:] == (
        name,
        *given.versions,
    ):
        version = whole
    else:
        moved = name == "reset_index" and given.is_true("drop") is True and len(given.named) == 1
        version = m.versions.of("method", "reset-drop" if moved else name, whole, *given.versions)
    if kind == "set" and name in _SETS:
        thing = Thing("set", version, m.bit, held=[t for t in (*base.inside, *given.things) if t.kind != "set"])
        return Value(m.of_thing(thing), (thing,), "set")
    answered = "plain" if name in knowledge.PLAIN_ANSWERS else kind if kind in {"pandas", "numpy", "str"} else ""
    if name in _PLOTS and kind == "pandas":
        return Value(version, (), "figure")
    if (name in knowledge.PURE and kind != UNKNOWN) or kind in {"pandas", "str", "numpy", "record", "plain"}:
        held = any(thing.held or (thing.keys and kind != "pandas") for thing in base.things)
        if name in _LISTS and kind in {"str", "plain"}:
            return Value(version, (), "list")
        if name == "copy" and kind in {"", "dict", "list", "set"} and not base.part:
            return _copied(m, base, version)
        if kind in {"str", "plain"}:
            return Value(version, (), answered)
        if kind == "" and name in {"values", "items", "get"} and base.things:
            return Value(version, base.things, "", part=True)
        if (name in knowledge.VIEWS and not (kind == "pandas" and name in knowledge.PANDAS_COPIES)) or (
            held and kind in {"list", "dict", "tuple", "set", "", "instance"}
        ):
            answered = "list" if name == "copy" and kind == "list" else answered
            return Value(version, base.things, answered, part=bool(base.things))
        return Value(version, (), answered)
    return unknown(m, base, name, given)


# Methods whose answer can be gone through once.
_ITERATORS = frozenset({"split", "iterrows", "itertuples", "glob", "rglob", "iterdir", "staged_predict"})
# Methods of a text that answer with a list.
_LISTS = frozenset({"split", "rsplit", "splitlines", "partition", "rpartition"})


def _copied(m: Machine, base: Value, version: int) -> Value:
    """A copy: another object that holds the same."""
    made = Thing(base.sort, version, m.bit, base.things[0].origin if base.things else "")
    inner = [
        t for thing in base.things for t in (*contents(thing), *(x for b in thing.keys.values() for x in b.things))
    ]
    made.held = [t for t in dict.fromkeys(inner) if t.kind not in FIXED]
    return Value(m.of_thing(made), (made,), base.sort)


def unknown(m: Machine, base: Value | None, name: str, given: Given) -> Value:
    """Something that may change all that it can reach."""
    own = () if base is None else base.things
    versions = (name, m.whole(base) if base is not None else 0, *given.versions)
    touched = own if base is not None and base.sort in _QUIET else (*own, *given.things)
    before = m.step.guessed
    m.change([t for t in touched if t.kind not in {"function", "class"}], *versions, certain=False, deep=True)
    m.step.guessed = before or m.step.guessed
    things = tuple(dict.fromkeys((*own, *given.things)))
    version = m.read(m.versions.of("unknown", *versions))
    m.outcomes.append(version)
    return Value(version, things, part=bool(things), choice=version if things else 0)


def _estimators(things: tuple[Thing, ...]) -> list[Thing]:
    return [thing for thing in reachable(things) if thing.kind == "estimator"]


def _fit(m: Machine, base: Value, name: str, given: Given) -> Value:
    """Fitting begins anew for the libraries that are known to do so; others may go on learning."""
    versions: tuple[int | str, ...] = given.versions
    parts = _estimators(base.things)
    if any(not thing.seeded for thing in parts):
        versions = (*versions, draw(m, "numpy", f"{_named(parts)} without random_state", *versions))
    anew = bool(parts) and all(t.origin.startswith(knowledge.FITS_ANEW) and not t.learns for t in parts)
    hopeful = m.hopeful and not any(thing.learns for thing in parts)
    for thing in parts or base.things:
        if thing.kind in FIXED:
            continue
        if (anew or hopeful) and not (m.unsure and not m.hopeful) and not (base.part and len(base.things) > 1):
            version, steps = thing.fresh or (thing.version, thing.steps)
            thing.fresh = (version, steps)
            thing.steps = steps
            m.set_version(thing, m.versions.of("fitted", version, *versions))
            for other in thing.near:
                m.change([other], "fitted", *versions)
        else:
            m.change([thing], "fitted", *versions)
    if name == "fit":
        return Value(m.whole(base), base.things, base.sort, part=base.part, choice=base.choice)
    return Value(m.read(m.versions.of("answer", name, m.whole(base), *versions)), (), "numpy" if parts else "")


def _named(parts: list[Thing]) -> str:
    return next((thing.origin.rpartition(".")[2] for thing in parts if not thing.seeded), "an estimator")


def _draw(m: Machine, base: Value, name: str, given: Given) -> Value:
    whole = m.whole(base)
    if all(thing.seeded for thing in base.things):
        m.change(base.things, name, *given.versions)
    else:
        m.note("random", "draws from a generator that was made without a seed")
    if name == "shuffle":
        m.change(given.things, "shuffled", whole)
    return Value(m.read(m.versions.of("draw", name, whole, *given.versions)), (), "numpy")


def _of_path(m: Machine, base: Value, name: str, given: Given) -> Value:
    path = base.constant if isinstance(base.constant, str) else None
    if name in {"write_text", "write_bytes", "mkdir", "touch", "unlink", "rmdir", "rename", "replace"}:
        write_file(m, path, m.versions.of("written", name, *given.versions))
        return Value(m.versions.of("written", name), (), "plain")
    if name == "open":
        from nbmlops.notebook.dataflow.builtin import open_file

        return open_file(m, path, given.text(0, "mode") or "r", base.version)
    if name in {"resolve", "absolute"} or (name == "expanduser" and (path or "~")[:1] == "~"):
        m.note("environment", f"depends on the machine: Path.{name}()")
    if name in {"joinpath", "with_suffix", "with_name", "resolve", "absolute", "expanduser", "relative_to"}:
        text = given.text(0)
        joined = f"{path}/{text}" if name == "joinpath" and path and text and len(given.values) == 1 else None
        joined = path if name in {"resolve", "absolute", "expanduser"} else joined
        return Value(m.versions.of("path", name, base.version, *given.versions), (), "path", constant=joined)
    if name in {"as_posix", "is_absolute", "as_uri", "relative_to", "is_relative_to", "match"}:
        return Value(
            m.versions.of("path", name, base.version), (), "str", constant=path if name == "as_posix" else None
        )
    read = read_file(m, path, f"Path.{name}")
    return Value(m.versions.of("read", name, read, *given.versions))


def _write(m: Machine, base: Value, name: str, given: Given) -> Value:
    first = given.at(0, "path_or_buf", "path", "fname", "filename", "file", "excel_writer", "buf", "target")
    version = m.versions.of("written", name, m.whole(base), *given.versions)
    if first is not None and any(thing.kind == "handle" for thing in first.things):
        write_to_handle(m, first, version)
    else:
        write_file(m, path_of(first) or None, version, more=given.text(1, "mode") in {"a", "append"})
    return Value(version, (), "plain")


def write_to_handle(m: Machine, value: Value, version: int) -> None:
    """Something is written to a file that is open."""
    for thing in value.things:
        if thing.kind == "handle":
            m.change([thing], "written", version)
            if thing.origin == BUFFER:
                continue
            write_file(m, thing.origin or None, thing.version)


def _of_handle(m: Machine, base: Value, name: str, given: Given) -> Value:
    before = m.whole(base)
    if name in {"write", "writelines", "dump", "save", "writestr", "truncate"}:
        write_to_handle(m, base, m.versions.of(name, *given.versions))
    elif name not in {"close", "flush", "fileno", "closed", "getvalue", "tell", "__enter__"}:
        m.change(base.things, name, *given.versions)
    return Value(
        m.versions.of("from handle", name, before, *given.versions), base.things if name == "__enter__" else ()
    )
