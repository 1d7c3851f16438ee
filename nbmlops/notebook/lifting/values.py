"""Which literals of the kept cells look like parameters, and may become some without changing what the cells do."""

from __future__ import annotations

import ast
import builtins
import keyword
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from nbmlops.notebook import known
from nbmlops.notebook.lifting.cell import Draft, at_once, bindings, mentioned, needed_before
from nbmlops.notebook.lifting.gathering import magic_of
from nbmlops.notebook.literals import Scope
from nbmlops.notebook.parameters import Parameters
from nbmlops.records import LiftedParameter
from nbmlops.secrets import is_active, scrub
from nbmlops.secrets.naming import is_telling, reference_in

_LONGEST, _MOST = 200, 24  # characters of a text, elements of a list
_TAKEN = {*dir(builtins), *keyword.kwlist, "get_ipython", "display", "In", "Out", "exit", "quit"}
_MUTATORS = {"append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse", "add", "discard", "update",
             "setdefault", "popitem", "difference_update", "intersection_update"}  # fmt: skip
# After one of these, names may have been set that nobody sees.
_BINDING_MAGICS = {"run", "pylab", "store", "reset", "xdel", "rerun", "recall", "macro", "load", "cd"}
_LIBRARIES = {"sklearn", "xgboost", "lightgbm", "catboost", "imblearn", "statsmodels", "torch", "keras", "tensorflow"}
_SPLITTERS = {"train_test_split", "cross_val_score", "cross_val_predict", "cross_validate", "learning_curve",
              "permutation_importance", "validation_curve", "GridSearchCV"}  # fmt: skip
_NO_CHOICE = {"n_jobs", "verbose", "copy", "unknown_value", "fill_value", "missing_values", "pos_label",
              "zero_division", "encoded_missing_value", "cache_size", "verbosity", "nthread", "num_threads",
              "axis", "ddof"}  # fmt: skip
_CHOICES = {"criterion", "solver", "penalty", "kernel", "loss", "max_features", "class_weight", "weights", "shuffle",
            "bootstrap", "fit_intercept", "early_stopping", "activation", "learning_rate", "strategy", "scoring",
            "metric", "algorithm", "booster", "objective", "gamma", "probability", "multi_class",
            "selection"}  # fmt: skip
_READER_CHOICES = {"nrows", "n_rows", "skiprows", "sheet_name"}
_SHARED = {"random_state", "seed", "random_seed"}


@dataclass(frozen=True)
class Lift:
    """A literal that becomes a parameter, and where it stands."""

    parameter: LiftedParameter
    value: Any
    places: tuple[tuple[int, int], ...] = ()  # assignments that go: cell, and statement in it
    node: tuple[int, ast.expr] | None = None  # or the literal that its name takes the place of


def assigned(drafts: Sequence[Draft], names: Scope, declared: Parameters | None) -> list[Lift]:
    """Literals assigned at the top to a name that keeps its one value and is used.

    Several assignments with nothing but others like them between, as those of a cell of parameters and of the values
    given to it, are one: the last.
    """
    found: dict[str, list[tuple[int, int]]] = {}
    looked_up: set[str] = set()
    bound = Counter(name for d in drafts for s in d.statements for name in bindings(s))
    sealed: set[str] = set()  # names whose value something has used, so that a later assignment is another value
    for number, draft in enumerate(drafts):
        if draft.opaque and not draft.text.lstrip().startswith(("%%html", "%%markdown", "%%latex", "%%svg")):
            break
        for place, statement in enumerate(draft.statements):
            name = _assigned_name(draft, statement)
            if name and _is_plain(statement, names) and name not in _TAKEN:
                again = name in found and _is_same(drafts, found[name][-1], statement)
                if again or name not in looked_up | sealed:
                    found.setdefault(name, []).append((number, place))
                    continue
            looked_up |= needed_before(statement)
            if not isinstance(statement, ast.Import | ast.ImportFrom):
                sealed |= set(found)
            if _binds_unseen(statement):
                return _lifts(drafts, names, declared, found, bound)
    return _lifts(drafts, names, declared, found, bound)


def _assigned_name(draft: Draft, statement: ast.stmt) -> str:
    """The name that a statement gives a value, if that is all it does."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]):
            pass
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
            pass
        case _:
            return ""
    return name if draft.is_native(statement) and not name.startswith("_") else ""


def _is_plain(statement: ast.stmt, names: Scope) -> bool:
    value = getattr(statement, "value", None)
    return isinstance(value, ast.expr) and literal(value, names) is not None


def _is_same(drafts: Sequence[Draft], earlier: tuple[int, int], statement: ast.stmt) -> bool:
    """Whether a cell that ran twice assigns the same number or text again, which changes nothing."""
    values = [getattr(s, "value", None) for s in (drafts[earlier[0]].statements[earlier[1]], statement)]
    return isinstance(values[0], ast.Constant) and ast.dump(values[0]) == ast.dump(values[1])  # type: ignore[arg-type]


def literal(node: ast.expr, names: Scope) -> Any:
    """The value of a literal that could be a parameter, also of a date or path made of one; None for all else."""
    if isinstance(node, ast.Call):
        origin = names.origin(node.func)
        plain = not node.keywords and all(isinstance(a, ast.Constant) for a in node.args)
        if not plain or origin not in {"datetime.date", "datetime.datetime", "pathlib.Path"}:
            return None
        arguments: list[Any] = [a.value for a in node.args if isinstance(a, ast.Constant)]
        maker = {"datetime.date": date, "datetime.datetime": datetime}.get(origin)
        try:
            return maker(*arguments) if maker else node if len(arguments) == 1 else None
        except (TypeError, ValueError, OverflowError):
            return None
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    return value if _could_be_given(value) else None


def _could_be_given(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _LONGEST and "\n" not in value and "\0" not in value and _is_text(value)
    if isinstance(value, bool | int | float):
        return True
    if isinstance(value, dict):
        return 0 < len(value) <= _MOST and all(_is_scalar(v) for v in (*value, *value.values()))
    return isinstance(value, list | tuple | set) and 0 < len(value) <= _MOST and all(map(_is_scalar, value))


def _is_scalar(value: Any) -> bool:
    return isinstance(value, bool | int | float | str | None) and (value is None or _could_be_given(value))


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _binds_unseen(statement: ast.stmt) -> bool:
    """Whether names may be set that the code does not show."""
    for node in at_once(statement):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            return True
        if isinstance(node, ast.Call):
            if magic_of(node) in _BINDING_MAGICS:
                return True
            if isinstance(node.func, ast.Name) and node.func.id in {"exec", "globals", "locals", "vars"}:
                return True
    return False


def _lifts(
    drafts: Sequence[Draft],
    names: Scope,
    declared: Parameters | None,
    found: Mapping[str, list[tuple[int, int]]],
    bound: Counter[str],
) -> list[Lift]:
    used, changed = _uses(drafts, {place for places in found.values() for place in places})
    lifts = []
    for name, places in found.items():
        if len(places) != bound[name] or name not in used or name in changed:
            continue
        statements = [drafts[cell].statements[place] for cell, place in places]
        lift = _of_assignment(name, drafts[places[-1][0]], statements[-1], names)
        lift = _described(lift, drafts, places, names)
        if lift is not None:
            lifts.append(replace(_as_declared(lift, declared), places=tuple(places)))
    return lifts


def _uses(drafts: Sequence[Draft], skipped: set[tuple[int, int]]) -> tuple[set[str], set[str]]:
    """Names that are used, and names whose value is changed in place."""
    used: set[str] = set()
    changed: set[str] = set()
    for number, draft in enumerate(drafts):
        for place, statement in enumerate(draft.statements):
            if (number, place) in skipped:
                continue
            used |= mentioned(statement)
            for node in ast.walk(statement):
                match node:
                    case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=verb)) if verb in _MUTATORS:
                        changed.add(name)
                    case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                        changed.add(name)
                    case ast.Global(names=several):
                        changed.update(several)
        if draft.opaque:
            used |= set(re.findall(r"[^\W\d]\w*", draft.text))
    return used, changed


def _of_assignment(name: str, draft: Draft, statement: ast.stmt, names: Scope) -> Lift | None:
    node = statement.value  # type: ignore[attr-defined]
    value = literal(node, names)
    if isinstance(value, str) and _is_secret(name, value):
        return Lift(_secret(name, value, draft), value)
    annotation = draft.written(statement.annotation) if isinstance(statement, ast.AnnAssign) else ""
    kind = annotation or type_of(value, node)
    return Lift(LiftedParameter(name, kind, draft.written(node), draft.cell.label, draft.comment(statement)), value)


def _is_secret(name: str, value: str) -> bool:
    return is_telling(name, value) or (is_active() and scrub(value) != value)


def _secret(name: str, value: str, draft: Draft) -> LiftedParameter:
    """A parameter in the place of a secret, whose value must not be written anywhere."""
    masked = scrub(value) if is_active() else value
    reference = reference_in(masked) or f"env:{name.upper()}"
    said = f"set {reference.partition(':')[2]}" if reference.startswith("env:") else "kept in a file"
    return LiftedParameter(name, "nbmlops.Secret", f'nbmlops.Secret("{reference}")', draft.cell.label, said)


def _described(
    lift: Lift | None, drafts: Sequence[Draft], places: Sequence[tuple[int, int]], names: Scope
) -> Lift | None:
    """With annotation and comment of an earlier assignment that has them; None where an annotation is not known.

    A type that the notebook defines is not known where parameters stand.
    """
    if lift is None:
        return None
    parameter = lift.parameter
    for cell, place in places[:-1]:
        statement = drafts[cell].statements[place]
        if isinstance(statement, ast.AnnAssign):
            parameter = replace(parameter, type=drafts[cell].written(statement.annotation))
        if help_text := drafts[cell].comment(statement):
            parameter = replace(parameter, help=help_text)
    try:
        needed = mentioned(ast.parse(parameter.type, mode="eval"))
    except SyntaxError:
        return None
    ours = {"nbmlops"} if parameter.type == "nbmlops.Secret" else set()
    unknown = needed - _TAKEN - set(names.origins) - ours
    return None if unknown else replace(lift, parameter=parameter)


def _as_declared(lift: Lift, declared: Parameters | None) -> Lift:
    """With the help text that the notebook's own cell of parameters has for this name."""
    own = declared.items.get(lift.parameter.name) if declared else None
    if own is None or not own.help or lift.parameter.help:
        return lift
    return replace(lift, parameter=replace(lift.parameter, help=own.help))


def type_of(value: Any, node: ast.expr) -> str:
    """The annotation that a literal stands for."""
    if isinstance(node, ast.Call):
        return ast.unparse(node.func)
    if isinstance(value, list) and len({type(v) for v in value}) == 1 and value[0] is not None:
        return f"list[{type(value[0]).__name__}]"
    return type(value).__name__


# --- literals given to estimators, splitters and readers ----------------------------------------------------------
def given(drafts: Sequence[Draft], names: Scope, taken: Mapping[str, Any]) -> list[Lift]:
    """Keyword literals that look like hyper-parameters; ``taken`` are parameters already, with their values.

    Only calls that are made once: none in functions, loops and comprehensions. A name that is used otherwise gets the
    name of what the call makes in front.
    """
    found = [
        (number, owner, call, word)
        for number, draft in enumerate(drafts)
        for statement in draft.statements
        if draft.is_native(statement)
        for owner, call in _calls(statement)
        for word in call.keywords
        if _is_choice(names.origin(call.func), word)
    ]
    everywhere = set(taken) | {n for d in drafts for s in d.statements for n in mentioned(s)} | _TAKEN
    values: dict[str, set[str]] = {}
    for _, _, _, word in found:
        values.setdefault(str(word.arg), set()).add(ast.dump(word.value))
    owners = {(str(w.arg), o) for _, o, _, w in found}
    made: dict[str, str] = {}
    lifts = []
    for number, owner, _, word in found:
        name = str(word.arg)
        alone = len(values[name]) == 1 and (name in _SHARED or sum(n == name for n, _ in owners) == 1)
        if name in everywhere or not alone:
            name = f"{owner}_{name}"
        name = _unique(name, ast.dump(word.value), made, everywhere)
        draft, value = drafts[number], literal(word.value, names)
        text = draft.written(word.value)
        parameter = LiftedParameter(name, type_of(value, word.value), text, draft.cell.label)
        lifts.append(Lift(parameter, value, node=(number, word.value)))
    return lifts


def _unique(name: str, value: str, made: dict[str, str], everywhere: set[str]) -> str:
    """The name, with a number where another value or anything else bears it."""
    found, number = name, 1
    while found in everywhere or made.get(found, value) != value:
        number += 1
        found = f"{name}_{number}"
    made[found] = value
    return found


def _is_choice(origin: str, word: ast.keyword) -> bool:
    if word.arg is None or not origin:
        return False
    try:
        value = ast.literal_eval(word.value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    last = origin.rpartition(".")[2]
    if known.reads_file(origin):
        return word.arg in _READER_CHOICES and isinstance(value, int | str) and not isinstance(value, bool)
    if origin.partition(".")[0] not in _LIBRARIES or not (last[:1].isupper() or last in _SPLITTERS):
        return False
    if isinstance(value, bool | str):
        return word.arg in _CHOICES and (isinstance(value, bool) or _could_be_given(value))
    return isinstance(value, int | float) and word.arg not in _NO_CHOICE


def _calls(statement: ast.stmt) -> Iterator[tuple[str, ast.Call]]:
    """Calls that a statement makes once, each with a name for what it makes."""
    if isinstance(statement, ast.With | ast.If | ast.Try):
        for part in ("body", "orelse", "finalbody"):
            for inner in getattr(statement, part, ()):
                yield from _calls(inner)
        return
    if not isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Expr):
        return
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    owner = targets[0].id if len(targets) == 1 and isinstance(targets[0], ast.Name) else ""
    outer = statement.value
    while (
        isinstance(outer, ast.Call) and isinstance(outer.func, ast.Attribute) and isinstance(outer.func.value, ast.Call)
    ):
        outer = outer.func.value  # `forest = RandomForestClassifier(…).fit(X, y)`
    for node in _once(statement):
        if isinstance(node, ast.Call):
            maker = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            yield (owner if node is outer and owner else _snake(str(maker))), node


def _once(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _once(child)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
