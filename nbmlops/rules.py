"""Promotion rules: one line of comparison each, judged against facts, never run as code.

    metrics.roc_auc >= 0.65
    metrics.roc_auc >= production.metrics.roc_auc - 0.005
    certificate == "reproduced"
    metrics["f1-macro"] >= 0.5 and not (metrics.loss > 2)
    evidence.performance.roc_auc.low >= 0.6
    compare("roc_auc", margin=0.005) != "worse"

Allowed are facts (names, ``.``, ``["…"]``), numbers, texts, lists of them, ``+ - * /``, comparisons, ``in``, ``and``,
``or``, ``not``, and the functions ``abs``, ``min``, ``max``, ``compare``. A fact that does not exist, or is no number
where one is compared, blocks. A comparison with production passes while nothing stands there to compare with.
"""

from __future__ import annotations

import ast
import difflib
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from nbmlops.errors import InvalidValue
from nbmlops.records import Finding

LONGEST = 1000
_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_ORDER: dict[type, Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_SAME: dict[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"abs": abs, "min": min, "max": max}
COMPARE = "compare"
Compare = Callable[[str, float], "tuple[str, str] | None"]  # a verdict and its words, of a metric and a margin
STANDING = ("staging", "production")


class _Unknown(Exception):
    """A fact that is missing or unfit: ``seen`` and ``hint`` of the finding."""

    def __init__(self, seen: str, hint: str) -> None:
        super().__init__(seen)
        self.seen, self.hint = seen, hint


class _Words(str):
    """What is shown as it is, in full."""

    __slots__ = ()


class _Absent:
    """What stands for everything about an environment in which no model stands."""

    def __init__(self, environment: str) -> None:
        self.environment = environment


def check(rules: Iterable[object]) -> list[str]:
    """The rules as text, if each can be understood.

    Raises:
        InvalidValue: lists every rule that cannot, and why.
    """
    found = list(rules)
    faults = [f"{rule!r}: {why}" for rule in found if (why := _grammar_fault(rule))]
    if faults:
        raise InvalidValue.of("rules", faults, "a rule is a comparison such as metrics.roc_auc >= 0.65")
    return [str(rule) for rule in found]


def unknown_facts(rule: str, known: Iterable[str]) -> list[str]:
    """What a rule names that is neither one of the ``known`` facts nor below one; empty for one that cannot be read.

    Facts below are not asked for: which metrics a model will have is known only once it is there.
    """
    if _grammar_fault(rule):
        return []
    names = list(known)
    faults: dict[str, None] = {}
    for node in ast.walk(ast.parse(rule.strip(), mode="eval")):
        if isinstance(node, ast.Name) and node.id not in (*names, *_FUNCTIONS, COMPARE):
            close = difflib.get_close_matches(node.id, names, n=1)
            near = f" (did you mean {close[0]!r}?)" if close else ""
            faults[f"there is no fact {node.id!r}{near}; there are {', '.join(names)}"] = None
    return list(faults)


def facts_below(rules: Sequence[str], root: str) -> list[str]:
    """The second names of the facts below one: of ``evidence.latency.p99_ms`` below ``evidence``, ``latency``."""
    found: dict[str, None] = {}
    for rule in rules:
        for node in ast.walk(ast.parse(rule.strip(), mode="eval")):
            if isinstance(node, ast.expr) and len(names := _fact_names(node)) > 1 and names[0] == root:
                found[names[1]] = None
    return list(found)


def judge(
    rules: Sequence[str],
    facts: Mapping[str, Any],
    environments: Sequence[str] = STANDING,
    compare: Compare | None = None,
) -> list[Finding]:
    """One finding per rule, in order: ``pass`` or ``block``, with the numbers that were compared.

    Args:
        facts: nested mappings, for example ``{"metrics": {"auc": 0.7}, "certificate": "reproduced",
            "production": None}``; None for an environment means that no model stands there.
        environments: facts whose absence means "nothing to compare with yet" instead of a fault.
        compare: holds the version against the one in production in a metric, with a margin; None while none stands.

    Raises:
        InvalidValue: a rule cannot be understood.
    """
    return [_Judge(rule, facts, environments, compare).finding() for rule in check(rules)]


class _Judge:
    """Evaluates one rule, and keeps what it looked at."""

    def __init__(
        self, rule: str, facts: Mapping[str, Any], environments: Sequence[str], compare: Compare | None
    ) -> None:
        self.rule, self.facts, self.environments, self.compare = rule, facts, environments, compare
        self.looked: dict[str, Any] = {}

    def finding(self) -> Finding:
        try:
            answer = self.value(ast.parse(self.rule.strip(), mode="eval").body)
        except _Unknown as unknown:
            return Finding("rule", "block", self.rule, unknown.seen, unknown.hint)
        if isinstance(answer, _Absent):
            seen = f"nothing stands in {answer.environment} yet: a first promotion, nothing to compare with"
            return Finding("rule", "pass", self.rule, f"{seen}{self._numbers('; ')}")
        if not isinstance(answer, bool):
            return Finding(
                "rule", "block", self.rule, f"the rule gives {answer!r}", "write a comparison, with >= or =="
            )
        if answer:
            return Finding("rule", "pass", self.rule, self._numbers() or "true")
        return Finding("rule", "block", self.rule, self._numbers() or "false", "improve the model, or change the rule")

    def _numbers(self, lead: str = "") -> str:
        shown = ", ".join(f"{path} = {_shown(value)}" for path, value in self.looked.items())
        return f"{lead}{shown}" if shown else ""

    def value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.List | ast.Tuple):
            return [self.value(item) for item in node.elts]
        if isinstance(node, ast.BoolOp):
            return self._logic(node)
        if isinstance(node, ast.UnaryOp):
            return self._unary(node)
        if isinstance(node, ast.BinOp):
            return self._arithmetic(node)
        if isinstance(node, ast.Compare):
            return self._compare(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        return self._fact(node)

    def _logic(self, node: ast.BoolOp) -> Any:
        """All parts count: an absent environment in one part never hides a false part."""
        parts = [self._truth(self.value(item)) for item in node.values]
        decisive = isinstance(node.op, ast.Or)
        if any(part is decisive for part in parts):
            return decisive
        return next((part for part in parts if isinstance(part, _Absent)), not decisive)

    def _truth(self, value: Any) -> Any:
        if isinstance(value, bool | _Absent):
            return value
        raise _Unknown(f"{value!r} is neither true nor false", "join comparisons with and, or, not")

    def _unary(self, node: ast.UnaryOp) -> Any:
        value = self.value(node.operand)
        if isinstance(value, _Absent):
            return value
        if isinstance(node.op, ast.Not):
            return not self._truth(value)
        return -_number(value) if isinstance(node.op, ast.USub) else +_number(value)

    def _arithmetic(self, node: ast.BinOp) -> Any:
        left, right = self.value(node.left), self.value(node.right)
        if absent := _absent(left, right):
            return absent
        try:
            return _ARITHMETIC[type(node.op)](_number(left), _number(right))
        except (ZeroDivisionError, OverflowError) as error:
            raise _Unknown(f"{ast.unparse(node)}: {error}{self._numbers(' with ')}", "choose another rule") from error

    def _compare(self, node: ast.Compare) -> Any:
        values = [self.value(item) for item in (node.left, *node.comparators)]
        if absent := _absent(*values):
            return absent
        for op, left, right in zip(node.ops, values, values[1:], strict=False):
            try:
                answer = _ORDER[type(op)](left, right) if type(op) in _ORDER else _SAME[type(op)](left, right)
            except TypeError as error:
                seen = f"{_shown(left)} and {_shown(right)} cannot be compared"
                raise _Unknown(
                    f"{seen}{self._numbers(': ')}", "compare numbers with numbers and texts with texts"
                ) from error
            if not answer:
                return False
        return True

    def _compared(self, node: ast.Call) -> Any:
        """The verdict of a paired comparison with the model in production."""
        metric, margin = _comparison(node) or ("", 0.0)
        if self.compare is None:
            raise _Unknown("there is nothing to compare with here", "leave compare(…) out")
        try:
            found = self.compare(metric, margin)
        except InvalidValue as error:
            raise _Unknown(error.message, error.hint) from error
        if found is None:
            return _Absent("production")
        self.looked[ast.unparse(node)] = _Words(found[1])
        return found[0]

    def _call(self, node: ast.Call) -> Any:
        if _comparison(node) is not None:
            return self._compared(node)
        values = [self.value(item) for item in node.args]
        flat = [v for value in values for v in (value if isinstance(value, list) else [value])]
        if absent := _absent(*flat):
            return absent
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if not flat or (name == "abs" and len(flat) != 1):
            raise _Unknown(f"{ast.unparse(node)} has {len(flat)} values", "give abs one value, min and max one or more")
        numbers = [_number(v) for v in flat]
        return abs(numbers[0]) if name == "abs" else _FUNCTIONS[name](numbers)

    def _fact(self, node: ast.expr) -> Any:
        names = _path(node)
        found: Any = self.facts
        for place, name in enumerate(names):
            if place == 1 and found is None and names[0] in self.environments:
                return _Absent(names[0])
            if not isinstance(found, Mapping) or name not in found:
                raise _missing(names, place, found)
            found = found[name]
        path = ".".join(names)
        self.looked[path] = found
        if isinstance(found, float) and math.isnan(found):
            raise _Unknown(
                f"{path} = nan", "a metric that is not a number proves nothing; find out where the nan comes from"
            )
        return found


def _missing(names: list[str], place: int, found: Any) -> _Unknown:
    path = ".".join(names[: place + 1])
    if not isinstance(found, Mapping):
        return _Unknown(f"there is no {path}: {'.'.join(names[:place])} = {_shown(found)}", "leave out the last part")
    there = ", ".join(sorted(map(str, found))[:20])
    within = f"{'.'.join(names[:place])} has" if place else "there are"
    return _Unknown(
        f"there is no {path}",
        f"{within}: {there}" if there else f"{'.'.join(names[:place])} is empty: log it in the run",
    )


def _absent(*values: Any) -> _Absent | None:
    return next((v for v in values if isinstance(v, _Absent)), None)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Unknown(f"{_shown(value)} is not a number", "calculate with numbers only")
    return value


def _shown(value: Any) -> str:
    if isinstance(value, _Words):
        return str(value)
    return f"{value:.6g}" if isinstance(value, float) else repr(value)[:80]


def _path(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        return [*_path(node.value), node.attr]
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
        return [*_path(node.value), node.slice.value]
    raise InvalidValue(f"{ast.unparse(node)!r} is no fact", 'write metrics.NAME or metrics["NAME"]')


def _fact_names(node: ast.expr) -> list[str]:
    try:
        return _path(node)
    except InvalidValue:
        return []


def _comparison(node: ast.Call) -> tuple[str, float] | None:
    """Metric and margin of ``compare("roc_auc", margin=0.005)``; None for any other call."""
    match node:
        case ast.Call(func=ast.Name(id="compare"), args=[ast.Constant(value=str() as metric)], keywords=[]):
            return metric, 0.0
        case ast.Call(
            func=ast.Name(id="compare"),
            args=[ast.Constant(value=str() as metric)],
            keywords=[ast.keyword(arg="margin", value=ast.Constant(value=int() | float() as margin))],
        ):
            return metric, float(margin)
    return None


def _grammar_fault(rule: object) -> str:
    """Why a rule cannot be understood; the empty text if it can."""
    if not isinstance(rule, str) or not rule.strip():
        return "a rule is text"
    if len(rule) > LONGEST:
        return f"it has {len(rule):,} characters, and {LONGEST:,} are allowed"
    try:
        todo: list[ast.expr] = [ast.parse(rule.strip(), mode="eval").body]
        ast.unparse(todo[0])  # fails here, and not while judging, if it is nested too deeply
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"it cannot be read ({getattr(error, 'msg', None) or type(error).__name__})"
    while todo:
        node = todo.pop()
        inside = _operands(node)
        if inside is None:
            return f"{ast.unparse(node)!r} is not allowed here"
        todo.extend(inside)
    return ""


def _operands(node: ast.expr) -> list[ast.expr] | None:
    """The parts of an allowed node; None for a node that is not allowed."""
    match node:
        case ast.Constant(value=bool() | int() | float() | str()) | ast.Name():
            return []
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.BoolOp(values=items):
            return items
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd(), operand=item):
            return [item]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return [left, right]
        case ast.Compare(left=left, ops=ops, comparators=rest) if all(
            type(o) in _ORDER or type(o) in _SAME for o in ops
        ):
            return [left, *rest]
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            return args
        case ast.Call() if _comparison(node) is not None:
            return []
        case ast.Attribute() | ast.Subscript():
            return [] if _fact_names(node) else None
    return None
