"""How expressions are followed: what they read, what their value is made of, and what it may share memory with."""

from __future__ import annotations

import ast
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from nbmlops.notebook.dataflow import display, knowledge, library
from nbmlops.notebook.dataflow.builtin import shell, show, show_in_text
from nbmlops.notebook.dataflow.calls import call
from nbmlops.notebook.dataflow.displays import comprehension_of, dict_of, display_of
from nbmlops.notebook.dataflow.frames import digest
from nbmlops.notebook.dataflow.functions import attribute_of_instance, find_method, function
from nbmlops.notebook.dataflow.machine import Machine
from nbmlops.notebook.dataflow.places import SHAPES, as_now, bind_target, element, key_of, place
from nbmlops.notebook.dataflow.specials import BINARY, COMPARED, TRUTH, UNARY, iterated, special, touched, truth
from nbmlops.notebook.dataflow.tables import words
from nbmlops.notebook.dataflow.things import FIXED, Bound, Thing, Value


def _constant(m: Machine, node: ast.Constant) -> Value:
    constant = node.value
    kind = "str" if isinstance(constant, str | bytes) else "plain"
    shown = constant if isinstance(constant, str | int) else repr(constant)
    return Value(m.versions.of("constant", type(constant).__name__, shown), (), kind, constant=constant)


def _name(m: Machine, node: ast.Name) -> Value:
    return m.load(node.id)


def _attribute(m: Machine, node: ast.Attribute) -> Value:
    base = place(m, node.value)
    if base.origin and (not base.things or base.things[0].kind == "module"):
        member = library.member(m, base, node.attr)
        return shell(m, member.version) if member.origin == "sys.modules" else member
    if base.sort == "instance" or base.sort == "class":
        if (given := _described(m, base, node.attr)) is not None:
            return given
        if (found := attribute_of_instance(m, base, node.attr)) is not None:
            return found
    elif base.sort == "pandas" and node.attr not in SHAPES:
        return element(m, base, node.attr)
    if len(base.things) == 1 and node.attr in base.things[0].keys:
        return element(m, base, node.attr)
    whole = m.read(m.whole(base))
    kind = base.sort if base.sort in {"pandas", "numpy", "generator", "figure"} and node.attr != "shape" else ""
    kind = "plain" if node.attr in {"shape", "size", "ndim", "dtype", "empty"} else kind
    kind = "method" if base.things and node.attr in knowledge.LEAVING_METHODS else kind
    if (answer := special(m, base, ("__getattr__", "__getattribute__"), Value(whole, (), "str"))) is not None:
        return answer
    return Value(m.versions.of("attribute", node.attr, whole), base.things, kind, part=True)


def _described(m: Machine, base: Value, name: str) -> Value | None:
    """What a descriptor of the notebook gives; None where there is none."""
    for thing in base.things:
        found = next((b for cls in (thing, *thing.made_of) if (b := find_method(cls, name)) is not None), None)
        inner = found.things[0] if found is not None and found.things else None
        if inner is not None and inner.kind == "instance" and thing.made_of:
            owner = Value(m.of_thing(inner), (inner,), "instance")
            return special(m, owner, ("__get__",), base, Value(m.versions.of("owner"), (), "class"))
    return None


def _subscript(m: Machine, node: ast.Subscript) -> Value:
    match node:
        case ast.Subscript(value=ast.Name(id="Out" | "_oh"), slice=ast.Constant(value=int(number))):
            return m.value(ast.Name(f"_{number}", ast.Load()))  # the same thing by its other name
    if (grouped := _of_groups(m, node)) is not None:
        return grouped
    base = place(m, node.value)
    if (key := key_of(m, node.slice)) is not None and base.sort != "str":
        answer = special(m, base, ("__getitem__", "__missing__"), m.value(node.slice)) if base.things else None
        return answer if answer is not None else element(m, base, key)
    columns = _columns(node.slice)
    if base.sort == "pandas" and columns is not None:
        versions = [m.read(element(m, base, column).version) for column in columns]
        return Value(m.versions.of("columns", *columns, *versions), (), "pandas")
    reads = len(m.reads)
    index = m.value(node.slice)
    if (answer := special(m, base, ("__getitem__", "__missing__"), index)) is not None:
        return answer
    touched(m, [index])
    known = base.things[0].known_items() if len(base.things) == 1 and not base.part else ()
    if known and type(index.constant) is int and -len(known) <= index.constant < len(known):
        m.read(m.of_bound(Bound(base.choice, base.things, 0)))
        return as_now(m, known[index.constant])
    whole = m.whole(base)
    if base.sort == "str":
        return Value(m.versions.of("item", m.read(whole), index.version), (), "str")
    version = _filtered(m, node, whole, index)
    if version != (plain := m.versions.of("item", whole, index.version)) or not plain:
        del m.reads[reads:]  # all that the condition read is in the version
    m.read(version)
    if _copies(node.slice) or (isinstance(node.slice, ast.Slice) and base.sort in {"list", "tuple"}):
        return _copy(m, base, version)
    kind = base.sort if base.sort in {"pandas", "numpy", "figure"} else ""
    return Value(version, base.things, kind, part=True)


def _of_groups(m: Machine, node: ast.Subscript) -> Value | None:
    """``df.groupby("a")["b"]`` needs no other columns; None for what is anything else."""
    match node:
        case ast.Subscript(
            value=ast.Call(func=ast.Attribute(value=ast.Name() as table, attr="groupby"), args=[by], keywords=[])
        ):
            names = _columns(by) or (
                (by.value,) if isinstance(by, ast.Constant) and isinstance(by.value, str) else None
            )
            wanted = _columns(node.slice) or ((key,) if (key := key_of(m, node.slice)) is not None else None)
            base = place(m, table) if names and wanted else None
            if base is None or names is None or wanted is None or base.sort != "pandas" or base.part:
                return None
            versions = [m.read(element(m, base, name).version) for name in (*names, *wanted)]
            return Value(m.versions.of("groups", names, wanted, *versions), (), "pandas")
    return None


def _columns(node: ast.expr) -> tuple[str, ...] | None:
    if isinstance(node, ast.List) and node.elts:
        names = [item.value for item in node.elts if isinstance(item, ast.Constant) and isinstance(item.value, str)]
        return tuple(names) if len(names) == len(node.elts) else None
    return None


def _copies(index: ast.expr) -> bool:
    """Whether an index takes a copy: a list, or a condition on rows."""
    if isinstance(index, ast.UnaryOp):
        return isinstance(index.op, ast.Invert) or False
    if isinstance(index, ast.BinOp):
        return isinstance(index.op, ast.BitAnd | ast.BitOr)
    return isinstance(index, ast.List | ast.ListComp | ast.Compare)


def _copy(m: Machine, base: Value, version: int) -> Value:
    kind = base.sort if base.sort in {"pandas", "numpy", "list", "tuple"} else ""
    held = [inner for thing in base.things for inner in thing.held]
    if kind in {"list", "tuple"} and not base.part:
        made = Thing(kind, version, m.bit, held=held)
        return Value(m.of_thing(made) if held else version, (made,), kind)
    if held:
        return Value(version, tuple(base.things), kind, part=True)
    return Value(version, (), kind)


def _filtered(m: Machine, node: ast.Subscript, whole: int, index: Value) -> int:
    """The version of ``df[df.a > 0]``: rows that have been left out by the same condition are not left out again."""
    if isinstance(node.value, ast.Name) and (condition := _row_condition(node.slice, node.value.id)):
        outside = tuple(m.quiet_version(b) for n in sorted(condition) if (b := m.look(n)) is not None)
        return library.rows_left_out(m, whole, ("mask-filter", digest(node.slice), outside))
    return m.versions.of("item", whole, index.version)


_BY_ROW = words(
    """
    isna notna isnull notnull isin between abs str contains startswith endswith eq ne gt ge lt le
    duplicatedfirst dt lower upper strip len year month day
    """
)


def _row_condition(node: ast.expr, name: str) -> set[str] | None:
    """Names other than the table's where a condition looks at each row by itself; None where it may not."""
    names: set[str] = {""}
    uses_table = False
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            uses_table = uses_table or inner.id == name
            if inner.id != name:
                names.add(inner.id)
        elif isinstance(inner, ast.Call):
            if not isinstance(inner.func, ast.Attribute) or inner.func.attr not in _BY_ROW:
                return None
        elif isinstance(inner, ast.Lambda | ast.Await | ast.ListComp | ast.GeneratorExp | ast.NamedExpr):
            return None
    return names if uses_table else None


def _operation(m: Machine, node: ast.BinOp) -> Value:
    left, right = m.value(node.left), m.value(node.right)
    if left.sort == "str" and isinstance(node.op, ast.Mod):
        touched(m, [right])
    elif (answer := _by_class(m, node.op, left, right)) is not None:
        return answer
    if isinstance(node.op, ast.Mod) and left.sort == "str":
        version = m.versions.of("Mod", left.version, right.version)
        return Value(show_in_text(m, [right], version), (), "str")
    if left.sort == "path" or (left.sort == right.sort == "str" and isinstance(node.op, ast.Add)):
        return _text_joined(m, node, left, right)
    return Value(m.versions.of(type(node.op).__name__, left.version, right.version), _held(left, right),
                 _joint(left, right), part=bool(_held(left, right)))  # fmt: skip


def _by_class(m: Machine, op: ast.operator, left: Value, right: Value) -> Value | None:
    """What an operator that a class of the notebook defines gives; None where none does."""
    name = BINARY[type(op)]
    answer = special(m, left, (f"__{name}__",), right)
    return answer if answer is not None else special(m, right, (f"__r{name}__",), left)


def _text_joined(m: Machine, node: ast.BinOp, left: Value, right: Value) -> Value:
    between = "/" if left.sort == "path" else ""
    texts = isinstance(left.constant, str) and isinstance(right.constant, str)
    constant = f"{left.constant}{between}{right.constant}" if texts else None
    return Value(m.versions.of(type(node.op).__name__, left.version, right.version), (), left.sort, constant=constant)


def _held(*values: Value) -> tuple[Thing, ...]:
    """Lists that hold things go on holding them when they are joined."""
    return tuple(
        t for v in values for t in v.things if v.sort in {"list", "tuple", "dict", "set"} and (t.held or t.keys)
    )


def _joint(*values: Value) -> str:
    kinds = {value.sort for value in values}
    for kind in ("pandas", "numpy"):
        if kind in kinds:
            return kind
    return kinds.pop() if len(kinds) == 1 else ""


def _compare(m: Machine, node: ast.Compare) -> Value:
    values = [m.value(node.left), *(m.value(item) for item in node.comparators)]
    if any(value.origin == "os.environ" for value in values):
        m.note("environment", "depends on the machine: os.environ")
    operators = tuple(type(op).__name__ for op in node.ops)
    asked = [v for op, pair in zip(node.ops, pairwise(values)) if (v := _asked(m, op, *pair)) is not None]
    if asked:
        values += asked
    kind = (
        "plain"
        if all(v.sort in FIXED for v in values) or {"In", "Is", "NotIn", "IsNot"} & {*operators}
        else _joint(*values)
    )
    return Value(m.versions.of("compare", operators, *(v.version for v in values)), (), kind)


def _asked(m: Machine, op: ast.cmpop, left: Value, right: Value) -> Value | None:
    """What a comparison does to what is compared: methods of classes are called, and iterators used up."""
    if isinstance(op, ast.In | ast.NotIn):
        answer = special(m, right, ("__contains__",), left)
        answer = answer if answer is not None else iterated(m, right)
        if answer is None:
            touched(m, [left, right])
        return answer if answer is not None else library.used_up(m, right)
    if (names := COMPARED.get(type(op))) is None:
        return None
    answer = special(m, left, (names[0],), right)
    return answer if answer is not None else special(m, right, (names[1],), left)


def _either(m: Machine, values: list[Value], *term: Any) -> Value:
    """One of several values."""
    things = tuple(dict.fromkeys(thing for value in values for thing in value.things))
    version = m.versions.of(*term, *(value.version for value in values))
    return Value(version, things, _joint(*values), part=any(v.part for v in values), choice=version if things else 0)


def _boolean(m: Machine, node: ast.BoolOp) -> Value:
    return _either(m, [_truth_of(m, item) for item in node.values], type(node.op).__name__)


def _truth_of(m: Machine, node: ast.expr) -> Value:
    value = m.value(node)
    special(m, value, TRUTH)
    return value


def _conditional(m: Machine, node: ast.IfExp) -> Value:
    test = truth(m, node.test)
    return _either(m, [m.value(node.body), m.value(node.orelse)], "if", test.version)


def _unary(m: Machine, node: ast.UnaryOp) -> Value:
    if isinstance(node.op, ast.Not):
        return Value(m.versions.of("Not", truth(m, node.operand).version), (), "plain")
    value = m.value(node.operand)
    answer = special(m, value, (UNARY[type(node.op)],))
    if answer is not None:
        return answer
    return Value(m.versions.of(type(node.op).__name__, value.version), (), value.sort)


def _text(m: Machine, node: ast.JoinedStr) -> Value:
    parts = [m.value(part) for part in node.values]
    whole = all(isinstance(part.constant, str) for part in parts)
    constant = "".join(part.constant for part in parts) if whole else None
    return Value(m.versions.of("text", *(part.version for part in parts)), (), "str", constant=constant)


def _formatted(m: Machine, node: ast.FormattedValue) -> Value:
    spec = m.value(node.format_spec).version if node.format_spec else 0
    value = library.shown(m, m.value(node.value))
    show(m, value)
    plain = node.conversion == -1 and not spec and isinstance(value.constant, str | int)
    constant = str(value.constant) if plain else None
    settings = display.shown(m, [value]) if not plain or constant is None else ()
    version = m.versions.of("formatted", value.version, node.conversion, spec, *settings)
    return Value(version, (), "str", constant=constant)


def _slice(m: Machine, node: ast.Slice) -> Value:
    bounds = [m.value(part).version if part else 0 for part in (node.lower, node.upper, node.step)]
    return Value(m.versions.of("slice", *bounds), (), "plain")


def _named(m: Machine, node: ast.NamedExpr) -> Value:
    value = m.value(node.value)
    bind_target(m, node.target, value)
    return value


def _lambda(m: Machine, node: ast.Lambda) -> Value:
    return function(m, node)


def _yield(m: Machine, node: ast.Yield | ast.YieldFrom | ast.Await) -> Value:
    value = m.value(node.value) if node.value else Value(0, (), "plain")
    if not isinstance(node, ast.Await):
        m.frame.returns.append(Value(value.version, value.things, "", part=bool(value.things)))
    return value


def _starred(m: Machine, node: ast.Starred) -> Value:
    value = m.value(node.value)
    library.order_of_set(m, value)
    value = library.gone_through(m, value)
    return Value(m.versions.of("star", value.version), value.things, "", part=bool(value.things))


RULES: dict[type, Callable[[Machine, Any], Any]] = {
    ast.Constant: _constant, ast.Name: _name, ast.Attribute: _attribute, ast.Subscript: _subscript,
    ast.BinOp: _operation, ast.Compare: _compare, ast.BoolOp: _boolean, ast.IfExp: _conditional, ast.UnaryOp: _unary,
    ast.List: display_of, ast.Tuple: display_of, ast.Set: display_of, ast.Dict: dict_of, ast.ListComp: comprehension_of,
    ast.SetComp: comprehension_of, ast.GeneratorExp: comprehension_of, ast.DictComp: comprehension_of,
    ast.JoinedStr: _text, ast.FormattedValue: _formatted, ast.Slice: _slice, ast.NamedExpr: _named,
    ast.Lambda: _lambda, ast.Yield: _yield, ast.YieldFrom: _yield, ast.Await: _yield, ast.Starred: _starred,
    ast.Call: call,
}  # fmt: skip
