"""How statements are followed."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from nbmlops.notebook.dataflow.branches import Names, copies, merge, restore
from nbmlops.notebook.dataflow.builtin import shell
from nbmlops.notebook.dataflow.functions import decorated, define_class, function
from nbmlops.notebook.dataflow.library import gone_through, imported, order_of_set
from nbmlops.notebook.dataflow.machine import Machine
from nbmlops.notebook.dataflow.places import as_now, bind_target, each, elements, place
from nbmlops.notebook.dataflow.sealing import Seal, sealed
from nbmlops.notebook.dataflow.specials import BINARY, own_objects, special, truth
from nbmlops.notebook.dataflow.things import FIXED, Value


def _assign(m: Machine, node: ast.Assign) -> None:
    for target in node.targets:
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple) and _pairs(target, node.value):
            values = [m.value(item) for item in node.value.elts]
            for inner, value in zip(target.elts, values):
                bind_target(m, inner, value)
            return
    value = passed_on(m, node.value)
    if any(isinstance(target, ast.Tuple | ast.List) for target in node.targets):
        value = gone_through(m, value)
    for target in node.targets:
        if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Slice):
            value = gone_through(m, value)
        bind_target(m, target, value)


def passed_on(m: Machine, node: ast.expr) -> Value:
    """The value of an expression that is given a name: a function is not called by that."""
    if isinstance(node, ast.Name) and (found := m.frame.find(node.id)) is not None:
        things = found[0].things
        if things and all(thing.kind == "function" for thing in things):
            value = place(m, node)
            for thing in things:
                m.step.needs |= thing.steps
            return replace(value, version=m.read(m.versions.of("function", *(t.version for t in things))))
    return m.value(node)


def _pairs(target: ast.Tuple, value: ast.Tuple) -> bool:
    return len(target.elts) == len(value.elts) and not any(
        isinstance(item, ast.Starred) for item in (*target.elts, *value.elts)
    )


def _annotated(m: Machine, node: ast.AnnAssign) -> None:
    if node.value is not None:
        bind_target(m, node.target, m.value(node.value))


_MOST_TEXTS = 12
# Kinds that ``+=`` changes in place.
_IN_PLACE = frozenset({"list", "set", "dict", "numpy", "pandas"})


def _augmented(m: Machine, node: ast.AugAssign) -> None:
    target = node.target
    old = m.value(_loaded(target))
    value = m.value(node.value)
    if old.sort != "set":
        order_of_set(m, value)
    name = BINARY[type(node.op)]
    answer = special(m, old, (f"__i{name}__", f"__{name}__"), value)
    answer = answer if answer is not None else special(m, value, (f"__r{name}__",), old)
    if answer is not None:
        bind_target(m, target, answer)
        return
    value = gone_through(m, value)
    version = m.versions.of("augmented", type(node.op).__name__, m.whole(old), value.version)
    if old.things and old.sort not in FIXED and not old.part:
        m.change(old.things, type(node.op).__name__, value.version, certain=old.sort in _IN_PLACE)
        for thing in old.things:
            thing.held += [t for t in value.inside if t.kind not in FIXED and t not in thing.held]
        kept = tuple(old.things) if old.sort in _IN_PLACE or not m.hopeful else ()
        choice = 0 if old.sort in _IN_PLACE else version
        new = Value(version, kept, old.sort, choice=choice)
    else:
        # What is held is changed in place where it is no number.
        inner = [t for t in old.inside if t not in old.things and t.kind not in FIXED] if old.part else []
        m.change(inner, type(node.op).__name__, value.version, certain=False)
        new = Value(version, (), old.sort)
    bind_target(m, target, new)


def _loaded(target: ast.expr) -> ast.expr:
    """The target, read."""
    if isinstance(target, ast.Name):
        return ast.Name(target.id, ast.Load())
    if isinstance(target, ast.Attribute):
        return ast.Attribute(target.value, target.attr, ast.Load())
    assert isinstance(target, ast.Subscript)  # noqa: S101 - there is no other target
    return ast.Subscript(target.value, target.slice, ast.Load())


def _delete(m: Machine, node: ast.Delete) -> None:
    todo = list(node.targets)
    while todo:
        target = todo.pop()
        if isinstance(target, ast.Tuple | ast.List):
            todo += target.elts
        elif isinstance(target, ast.Name):
            frame = m.frame.home(target.id)
            m.look(target.id)
            frame.names.pop(target.id, None)
            if frame is m.top:
                m.step.deleted[target.id] = None
                m.step.stored.pop(target.id, None)
        elif isinstance(target, ast.Attribute | ast.Subscript):
            base = place(m, target.value)
            index = m.value(target.slice).version if isinstance(target, ast.Subscript) else target.attr
            m.read(m.whole(base))
            if isinstance(target, ast.Subscript) and (
                special(m, base, ("__delitem__",), m.value(target.slice)) is not None
            ):
                continue
            m.change(base.inside if base.part else base.things, "deleted", index)


def _import(m: Machine, node: ast.Import) -> None:
    for alias in node.names:
        origin = alias.name if alias.asname else alias.name.partition(".")[0]
        m.note("module", alias.name)
        if alias.name == "__main__":
            shell(m, m.versions.of("module", "__main__"))
        m.bind(alias.asname or origin, imported(m, origin, module=True))


def _import_from(m: Machine, node: ast.ImportFrom) -> None:
    module = "." * node.level + (node.module or "")
    m.note("module", module)
    for alias in node.names:
        if alias.name != "*":
            whole = f"{module}.{alias.name}"
            is_module = whole in {"matplotlib.pyplot", "sklearn.metrics", "os.path"}
            m.bind(alias.asname or alias.name, imported(m, whole, module=is_module))
            continue
        m.step.opaque.append(f"from {module} import * sets names that it does not tell")
        m.anything |= m.bit
        for name in _exported(module):
            m.bind(name, imported(m, f"{module}.{name}", module=False))


def _exported(module: str) -> Iterable[str]:
    """What a module of the standard library, or nbmlops, gives to a star; nothing where that is not known."""
    import sys

    from nbmlops.notebook import known

    if module == "nbmlops":
        return (*known.VERBS, *known.IMPURE_VERBS, "start_run", "end_run", "log_metric", "log_metrics", "log_param")
    loaded = sys.modules.get(module)
    if loaded is None or module.partition(".")[0] not in sys.stdlib_module_names:
        return ()
    return [name for name in getattr(loaded, "__all__", dir(loaded)) if not name.startswith("_")]


def _function(m: Machine, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    m.bind(node.name, decorated(m, function(m, node), node.decorator_list))


def _class(m: Machine, node: ast.ClassDef) -> None:
    m.bind(node.name, decorated(m, define_class(m, node), node.decorator_list))


def _expression(m: Machine, node: ast.Expr) -> None:
    value = m.value(node.value)
    if not isinstance(node.value, ast.Constant):
        m.outcomes.append(m.whole(value))


def _return(m: Machine, node: ast.Return) -> None:
    m.frame.returns.append(passed_on(m, node.value) if node.value else Value(0, (), "plain"))


def _elsewhere(m: Machine, node: ast.Global | ast.Nonlocal) -> None:
    for name in node.names:
        frame = m.frame.root if isinstance(node, ast.Global) else m.frame.outer
        while (
            isinstance(node, ast.Nonlocal) and frame is not None and name not in frame.names and frame.outer is not None
        ):
            frame = frame.outer
        if frame is not None and frame is not m.frame:
            m.frame.elsewhere[name] = frame


def _parts(m: Machine, node: ast.stmt) -> None:
    """``assert``, ``raise``: their expressions are read."""
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.expr):
            m.outcomes.append((truth(m, inner) if isinstance(node, ast.Assert) else m.value(inner)).version)


def _nothing(m: Machine, node: ast.stmt) -> None:
    """``pass``, ``break``, ``continue``."""


def _if(m: Machine, node: ast.If) -> None:
    before: list[Names] = []
    with sealed(m, node) as seal:
        truth(m, node.test)
        before = copies(m)
        m.follow(node.body)
        then = copies(m)
        restore(m, before)
        m.follow(node.orelse)
    merge(m, seal, before=before, others=[then])


def _for(m: Machine, node: ast.For | ast.AsyncFor) -> None:
    source = m.value(node.iter)
    if (texts := _texts(source)) is not None and not node.orelse and not _may_stop(node):
        for text in texts:
            bind_target(m, node.target, Value(m.versions.of("constant", "str", text), (), "str", constant=text))
            m.follow(node.body)
        return
    if (items := elements(m, source)) and not node.orelse and not _may_stop(node):
        for item in items:
            bind_target(m, node.target, as_now(m, item))
            m.follow(node.body)
        return
    with sealed(m, node, source.version) as seal:
        order_of_set(m, source)
        source = gone_through(m, source)
        before = copies(m)

        def once() -> None:
            bind_target(m, node.target, each(m, source))
            m.follow(node.body)

        _repeat(m, once, seal)
        m.follow(node.orelse)
    if not _surely_some(node.iter) or _may_stop(node):
        merge(m, seal, before=before, others=[])


def _texts(source: Value) -> tuple[str, ...] | None:
    """The texts of a short list that is iterated over, where they are known."""
    if len(source.things) != 1 or source.part:
        return None
    texts = source.things[0].texts
    if texts is None or texts[0] != source.things[0].version or not 0 < len(texts[1]) <= _MOST_TEXTS:
        return None
    return texts[1]


@functools.lru_cache(1024)
def _may_stop(node: ast.AST) -> bool:
    return any(isinstance(inner, ast.Break | ast.Continue | ast.Raise) for inner in ast.walk(node))


def _surely_some(node: ast.expr) -> bool:
    """Whether what is iterated over surely has elements."""
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return bool(node.elts)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"range", "enumerate", "zip"}:
        first = node.args[0] if node.args else None
        if node.func.id != "range":
            return bool(node.args) and all(_surely_some(argument) for argument in node.args)
        if len(node.args) == 1 and isinstance(first, ast.Constant):
            return isinstance(first.value, int) and first.value > 0
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(node.value)


def _while(m: Machine, node: ast.While) -> None:
    with sealed(m, node) as seal:
        truth(m, node.test)
        before = copies(m)

        def once() -> None:
            m.follow(node.body)
            truth(m, node.test)

        _repeat(m, once, seal)
        m.follow(node.orelse)
    merge(m, seal, before=before, others=[])


def _repeat(m: Machine, once: Callable[[], None], seal: Seal) -> None:
    """Follow a loop's body, and once more so that what it changed is seen by it; inner loops need no more than that."""
    m.loops += 1
    try:
        once()
        seal.read = len(m.reads)
        if m.loops == 1:
            once()
    finally:
        m.loops -= 1


def _try(m: Machine, node: ast.Try) -> None:
    with sealed(m, node) as seal:
        before = copies(m)
        m.follow(node.body)
        m.follow(node.orelse)
        after = copies(m)
        others = [before]
        for handler in node.handlers:
            if handler.type is not None:
                m.value(handler.type)
            if handler.name:
                m.bind(handler.name, Value(m.versions.of("error"), (), "plain"))
            m.follow(handler.body)
            if handler.name:
                m.frame.names.pop(handler.name, None)
            others.append(copies(m))
            restore(m, after)
    if node.handlers:
        merge(m, seal, before=before if not m.hopeful else after, others=others if not m.hopeful else [])
    m.follow(node.finalbody)


def _with(m: Machine, node: ast.With | ast.AsyncWith) -> None:
    entered = []
    for item in node.items:
        value = m.value(item.context_expr)
        entered.append(value)
        answer = special(m, value, ("__enter__", "__aenter__"))
        if answer is None:
            _entered(m, value)
            answer = replace(value, choice=value.choice)
        if item.optional_vars is not None:
            bind_target(m, item.optional_vars, answer)
    m.follow(node.body)
    for value in reversed(entered):
        nothing = Value(m.versions.of("constant", "NoneType", "None"), (), "plain")
        special(m, value, ("__exit__", "__aexit__"), nothing, nothing, nothing)
    if any(_starts_run(item.context_expr) for item in node.items):
        m.hidden.pop("run", None)


# Kinds that are entered without a trace.
_ENTERED = FIXED | {"handle", "record", "figure", "pandas", "numpy", "iterator", "list"}


def _entered(m: Machine, value: Value) -> None:
    """A context manager that is none of the notebook's may change all that it holds."""
    wanted = [t for t in value.things if t.kind not in _ENTERED and t not in own_objects(value)]
    if wanted:
        m.change(wanted, "entered", certain=False, deep=True)


def _starts_run(node: ast.expr) -> bool:
    func = node.func if isinstance(node, ast.Call) else node
    return isinstance(func, ast.Attribute) and func.attr == "start_run"


def _match(m: Machine, node: ast.Match) -> None:
    others: list[list[Names]] = []
    with sealed(m, node) as seal:
        subject = m.value(node.subject)
        before = copies(m)
        for case in node.cases:
            for inner in ast.walk(case.pattern):
                name = getattr(inner, "name", None) or getattr(inner, "rest", None)
                if isinstance(name, str):
                    version = m.versions.of("matched", name, subject.version)
                    m.bind(name, Value(version, subject.things, part=bool(subject.things)))
                elif isinstance(inner, ast.MatchValue):
                    m.value(inner.value)
                elif isinstance(inner, ast.MatchClass):
                    m.value(inner.cls)
            if case.guard is not None:
                m.value(case.guard)
            m.follow(case.body)
            others.append(copies(m))
            restore(m, before)
    merge(m, seal, before=before, others=others)


RULES: dict[type, Callable[[Machine, Any], Any]] = {
    ast.Assign: _assign, ast.AnnAssign: _annotated, ast.AugAssign: _augmented, ast.Delete: _delete,
    ast.Import: _import, ast.ImportFrom: _import_from, ast.FunctionDef: _function, ast.AsyncFunctionDef: _function,
    ast.ClassDef: _class, ast.Expr: _expression, ast.Return: _return, ast.Global: _elsewhere,
    ast.Nonlocal: _elsewhere, ast.Assert: _parts, ast.Raise: _parts, ast.Pass: _nothing, ast.Break: _nothing,
    ast.Continue: _nothing, ast.If: _if, ast.For: _for, ast.AsyncFor: _for, ast.While: _while, ast.Try: _try,
    ast.TryStar: _try, ast.With: _with, ast.AsyncWith: _with, ast.Match: _match,
}  # fmt: skip
