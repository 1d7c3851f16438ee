"""Checks over several columns, such as ``dep_time <= arr_time``: read, never run as code, computed by Arrow.

Allowed are columns (``name``, or ``column["any name"]``), numbers, texts, true and false, ``+ - * /``, comparisons,
``in [...]``, ``and``, ``or`` and ``not``. No functions, no attributes. A missing value makes the answer unknown, and
an unknown answer is no violation, as in SQL.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nbmlops.frames.contracts import kinds
from nbmlops.frames.digest import is_text

LONGEST = 1000
_ARITHMETIC: dict[type, tuple[Callable[..., Any], Callable[..., Any]]] = {
    ast.Add: (pc.add_checked, pc.add),
    ast.Sub: (pc.subtract_checked, pc.subtract),
    ast.Mult: (pc.multiply_checked, pc.multiply),
    ast.Div: (pc.divide, pc.divide),
}
_ORDER: dict[type, Callable[..., Any]] = {
    ast.Lt: pc.less,
    ast.LtE: pc.less_equal,
    ast.Gt: pc.greater,
    ast.GtE: pc.greater_equal,
    ast.Eq: pc.equal,
    ast.NotEq: pc.not_equal,
}
Value = Any  # an Arrow column, or an Arrow scalar


def fault(text: object) -> str:
    """Why a text is no check; the empty text if it is one."""
    if not isinstance(text, str) or not text.strip():
        return "a check is text such as dep_time <= arr_time"
    if len(text) > LONGEST:
        return f"it has {len(text):,} characters, and {LONGEST:,} are allowed"
    try:
        node = ast.parse(text.strip(), mode="eval").body
        ast.unparse(node)  # fails here, and not later, if it is nested too deeply
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"it cannot be read ({getattr(error, 'msg', None) or type(error).__name__})"
    todo = [node]
    while todo:
        node = todo.pop()
        inside = _operands(node)
        if inside is None:
            return f"{ast.unparse(node)!r:.80} is not allowed here"
        todo += inside
    return "" if names(text) else "it names no column"


def names(text: str) -> list[str]:
    """The columns a check names, in order."""
    found: dict[str, None] = {}
    todo = [ast.parse(text.strip(), mode="eval").body]
    while todo:
        node = todo.pop(0)
        if (name := _column(node)) is not None:
            found[name] = None
        todo = [*(_operands(node) or []), *todo]
    return list(found)


def _column(node: ast.expr) -> str | None:
    match node:
        case ast.Subscript(value=ast.Name(id="column"), slice=ast.Constant(value=str() as name)) | ast.Name(id=name):
            return name
    return None


def _operands(node: ast.expr) -> list[ast.expr] | None:
    """The parts of an allowed node; None for a node that is not allowed."""
    if _column(node) is not None:
        return []
    match node:
        case ast.Constant(value=bool() | int() | float() | str()):
            return []
        case ast.BoolOp(values=items):
            return items
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd(), operand=item):
            return [item]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return [left, right]
        case ast.Compare(left=left, ops=ops, comparators=rest) if all(map(_comparable, ops, rest)):
            return [left, *(r for o, r in zip(ops, rest, strict=True) if type(o) in _ORDER)]
    return None


def _comparable(op: ast.cmpop, right: ast.expr) -> bool:
    if type(op) in _ORDER:
        return True
    return isinstance(op, ast.In | ast.NotIn) and _constants(right) is not None


def _constants(node: ast.expr) -> list[Any] | None:
    """The values of a list of constants; None if it is none."""
    if not isinstance(node, ast.List | ast.Tuple | ast.Set) or not node.elts:
        return None
    found = [_constant(item) for item in node.elts]
    return None if any(v is None for v in found) else found


def _constant(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)) if value is not True:
            return -value
    return None


class Expression:
    """One check, read once and computed for every chunk."""

    def __init__(self, text: str) -> None:
        self.text, self.columns = text, names(text)
        self._tree = ast.parse(text.strip(), mode="eval").body

    def broken(self, columns: dict[str, pa.ChunkedArray]) -> pa.ChunkedArray:
        """Per row whether the check does not hold.

        Raises:
            pa.ArrowException, TypeError, ValueError: these columns cannot be calculated or compared with each other.
        """
        answer = self._value(self._tree, columns)
        if not pa.types.is_boolean(answer.type):
            raise TypeError(f"it gives {kinds.word(answer.type)}, and not true or false")
        return pc.fill_null(pc.invert(answer), False)

    def _value(self, node: ast.expr, columns: dict[str, pa.ChunkedArray]) -> Value:
        if (name := _column(node)) is not None:
            return columns[name]
        match node:
            case ast.Constant(value=value):
                return pa.scalar(value)
            case ast.BoolOp(op=op, values=items):
                join = pc.and_kleene if isinstance(op, ast.And) else pc.or_kleene
                answer = self._value(items[0], columns)
                for item in items[1:]:
                    answer = join(answer, self._value(item, columns))
                return answer
            case ast.UnaryOp(op=op, operand=item):
                value = self._value(item, columns)
                if isinstance(op, ast.Not):
                    return pc.invert(value)
                return pc.negate(value) if isinstance(op, ast.USub) else value
            case ast.BinOp(left=left, op=op, right=right):
                return _calculate(type(op), self._value(left, columns), self._value(right, columns))
            case ast.Compare():
                return self._compare(node, columns)
        raise TypeError(f"{ast.unparse(node)!r} is not allowed")

    def _compare(self, node: ast.Compare, columns: dict[str, pa.ChunkedArray]) -> Value:
        left, answer = self._value(node.left, columns), None
        for op, part in zip(node.ops, node.comparators, strict=True):
            if type(op) in _ORDER:
                right = self._value(part, columns)
                part_answer = _ORDER[type(op)](*_alike(left, right))
                left = right
            else:
                part_answer = is_in(left, _constants(part) or [])
                part_answer = pc.invert(part_answer) if isinstance(op, ast.NotIn) else part_answer
            answer = part_answer if answer is None else pc.and_kleene(answer, part_answer)
        return answer


def is_in(column: Value, values: list[Any]) -> Value:
    """Per row whether the value is one of ``values``; null where it is null."""
    kind = column.type
    wanted = [kinds.scalar(v, kind).as_py() for v in values]
    entries = pa.array(wanted)
    if pa.types.is_integer(kind) and pa.types.is_floating(entries.type):
        column = column.cast(pa.float64())
    elif entries.type != kind:
        entries = pa.array(wanted, kind)
    found = pc.is_in(column, value_set=entries)
    return pc.if_else(pc.is_valid(column), found, pa.scalar(None, pa.bool_()))


def _calculate(op: type, left: Value, right: Value) -> Value:
    checked, plain = _ARITHMETIC[op]
    if op is ast.Div and all(pa.types.is_integer(v.type) for v in (left, right)):
        left, right = left.cast(pa.float64()), right.cast(pa.float64())
    try:
        return checked(left, right)
    except pa.ArrowInvalid:  # beyond 64 bits: as floats
        return plain(left.cast(pa.float64()), right.cast(pa.float64()))


def _alike(left: Value, right: Value) -> tuple[Value, Value]:
    """A text beside a time is a time."""
    for a, b in ((left, right), (right, left)):
        if is_text(a.type) and isinstance(a, pa.Scalar) and pa.types.is_temporal(b.type):
            return (a.cast(b.type), b) if a is left else (b, a.cast(b.type))
    return left, right
