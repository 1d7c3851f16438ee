"""The types a notebook parameter can have: read from annotations and defaults, checked, and written back as code.

Nothing of the notebook is executed: an annotation is read as syntax, and one that is not known means any value.
"""

from __future__ import annotations

import ast
import contextlib
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any

import yaml

from nbmlops import lazy
from nbmlops.secrets import Reference, Secret


class Text(str):
    """A value typed on a command line: it means whatever the parameter's type makes of it."""

    __slots__ = ()


class Mismatch(ValueError):
    """A value does not fit its type. Caught in this room; callers see ``InvalidValue``."""


@dataclass(frozen=True)
class Choice:
    """A member of an enumeration that the notebook defines: known by name and value, and never an object here."""

    enumeration: str
    member: str
    value: Any

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True)
class Type:
    """``int``, ``list[str]``, ``Literal['a', 'b']``, ``int | None`` …: a name and its arguments."""

    name: str
    args: tuple[Any, ...] = ()

    def __str__(self) -> str:
        if self.name == "union":
            return " | ".join(str(a) for a in self.args)
        if self.name == "literal":
            return f"Literal[{', '.join(repr(a) for a in self.args)}]"
        if self.name == "enum":
            return str(self.args[0].enumeration)
        return f"{self.name}[{', '.join(str(a) for a in self.args)}]" if self.args else self.name


ANY, NONE = Type("any"), Type("None")
_PLAIN = {
    "int": "int", "float": "float", "str": "str", "bool": "bool", "list": "list", "List": "list", "Sequence": "list",
    "dict": "dict", "Dict": "dict", "Mapping": "dict", "tuple": "tuple", "Tuple": "tuple", "set": "set", "Set": "set",
    "datetime": "datetime", "date": "date", "Path": "Path", "PurePath": "Path", "None": "None", "NoneType": "None",
    "Secret": "secret",
}  # fmt: skip


def from_annotation(node: ast.expr, enums: Mapping[str, Type] = MappingProxyType({})) -> Type:
    """The type an annotation means; ``any`` for one that is not known here. ``enums`` are those of the notebook."""
    if isinstance(node, ast.Constant):
        if node.value is None:
            return NONE
        if isinstance(node.value, str):
            try:
                return from_annotation(ast.parse(node.value, mode="eval").body, enums)
            except SyntaxError:
                return ANY
        return ANY
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union(from_annotation(node.left, enums), from_annotation(node.right, enums))
    if isinstance(node, ast.Subscript):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return _generic(_last_name(node.value), inner, enums)
    if isinstance(node, ast.Name) and node.id in enums:
        return enums[node.id]
    return Type(_PLAIN[name]) if (name := _last_name(node)) in _PLAIN else ANY


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _generic(name: str, inner: list[ast.expr], enums: Mapping[str, Type]) -> Type:
    if name == "Literal":
        try:
            return Type("literal", tuple(ast.literal_eval(node) for node in inner))
        except ValueError:
            return ANY
    if name == "Optional":
        return _union(from_annotation(inner[0], enums), NONE)
    if name == "Union":
        return _union(*(from_annotation(one, enums) for one in inner))
    if name in {"Final", "Annotated", "ClassVar"}:
        return from_annotation(inner[0], enums)
    if name not in _PLAIN:
        return ANY
    if _PLAIN[name] == "tuple":  # lengths are not checked, so the first element's type stands for all
        inner = inner[:1]
    return Type(_PLAIN[name], tuple(from_annotation(one, enums) for one in inner))


def _union(*members: Type) -> Type:
    flat = [m for member in members for m in (member.args if member.name == "union" else (member,))]
    return ANY if ANY in flat else Type("union", tuple(dict.fromkeys(flat)))


def of_value(value: Any) -> Type:
    """The type a default stands for; None stands for any."""
    if isinstance(value, Reference):
        return Type("secret")
    for kind in (bool, int, float, str, list, dict, tuple, set, datetime, date):
        if isinstance(value, kind):
            return Type(kind.__name__)
    return Type("Path") if isinstance(value, PurePath) else ANY


def convert(kind: Type, value: Any) -> Any:
    """The value as its type wants it; text is parsed, and nothing is rounded or guessed.

    Raises:
        Mismatch: it does not fit.
    """
    if lazy.is_instance(value, "numpy", "generic"):
        value = value.item()
    if isinstance(value, Secret | Reference) and not has_secret(kind) and kind != ANY:
        raise Mismatch(f"a Secret does not fit {kind}; annotate the parameter as nbmlops.Secret")
    return _CONVERT[kind.name](kind, value)


def has_secret(kind: Type) -> bool:
    """Whether a value of this type may be, or hold, a secret."""
    return kind.name == "secret" or any(isinstance(a, Type) and has_secret(a) for a in kind.args)


def _wrong(kind: Type, value: Any) -> Mismatch:
    if has_secret(kind):  # it may be the secret itself
        return Mismatch(f"what was given (it is not shown) is not a {kind}; a secret is named by env:NAME or file:PATH")
    shown = repr(str(value) if isinstance(value, Text) else value)
    return Mismatch(
        f"{shown if len(shown) <= 60 else shown[:57] + '…'} is not {'an' if str(kind)[0] in 'aio' else 'a'} {kind}"
    )


def _parsed(value: Any) -> Any:
    """Command-line text as YAML reads it; anything else as it is."""
    if not isinstance(value, Text):
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return str(value)


def _any(kind: Type, value: Any) -> Any:
    parsed = Reference(value) if isinstance(value, Secret) else _parsed(value)
    to_code(parsed)
    return parsed


def _secret(kind: Type, value: Any) -> Reference:
    try:
        return Reference(value)
    except ValueError:
        raise _wrong(kind, value) from None


def _none(kind: Type, value: Any) -> None:
    if value is not None and not (isinstance(value, Text) and value.lower() in {"none", "null", "~"}):
        raise _wrong(kind, value)


def _integer(kind: Type, value: Any) -> int:
    if isinstance(value, bool):
        raise _wrong(kind, value)
    if isinstance(value, str):
        value = _float_of_text(kind, value) if any(c in value for c in ".eE") else _int_of_text(kind, value)
    if isinstance(value, float):
        if not value.is_integer():
            raise _wrong(kind, value)
        return int(value)
    try:
        return operator.index(value)
    except TypeError:
        raise _wrong(kind, value) from None


def _int_of_text(kind: Type, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise _wrong(kind, text) from None


def _float_of_text(kind: Type, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise _wrong(kind, text) from None


def _number(kind: Type, value: Any) -> float:
    if isinstance(value, str):
        return _float_of_text(kind, value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(kind, value)
    return float(value)


_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def _boolean(kind: Type, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _BOOLEANS:
        return _BOOLEANS[value.strip().lower()]
    raise _wrong(kind, value)


def _string(kind: Type, value: Any) -> str:
    if not isinstance(value, str):
        raise Mismatch(
            f"{_wrong(kind, value)} (write it in quotes)"
            if isinstance(value, int | float | date)
            else str(_wrong(kind, value))
        )
    return str(value)


def _sequence(kind: Type, value: Any) -> Any:
    if isinstance(value, str):
        value = (
            _parsed(Text(value))
            if value.lstrip().startswith("[")
            else [Text(part.strip()) for part in value.split(",")]
        )
    if not isinstance(value, list | tuple | set | frozenset):
        raise _wrong(kind, value)
    element = kind.args[0] if kind.args else ANY
    return {"list": list, "tuple": tuple, "set": set}[kind.name](_element(kind, element, v) for v in value)


def _mapping(kind: Type, value: Any) -> dict[Any, Any]:
    value = _parsed(Text(value)) if isinstance(value, str) else value
    if not isinstance(value, dict):
        raise _wrong(kind, value)
    key, element = kind.args if len(kind.args) == 2 else (ANY, ANY)
    return {_element(kind, key, k): _element(kind, element, v) for k, v in value.items()}


def _element(kind: Type, element: Type, value: Any) -> Any:
    try:
        return convert(element, value)
    except Mismatch as error:
        raise Mismatch(f"{error} in a {kind}") from None


def _literal(kind: Type, value: Any) -> Any:
    for choice in kind.args:
        if type(choice) is type(value) and choice == value:
            return choice
        if isinstance(value, str) and (str(choice) == value):
            return choice
    raise Mismatch(
        f"{str(value) if isinstance(value, Text) else value!r} is not one of {', '.join(repr(a) for a in kind.args)}"
    )


def _choice(kind: Type, value: Any) -> Choice:
    """The member of this name, else of this value; an object of an enumeration by the name of its member."""
    name = value.member if isinstance(value, Choice) else value.name if isinstance(value, Enum) else value
    for choice in kind.args:
        if isinstance(name, str) and name in {choice.member, f"{choice.enumeration}.{choice.member}"}:
            return choice
    for choice in kind.args:
        same = type(choice.value) is type(value) and choice.value == value
        if same or (isinstance(value, Text) and str(choice.value) == value):
            return choice
    shown = ", ".join(f"{c.member} ({c.value!r})" for c in kind.args)
    raise Mismatch(f"{str(value) if isinstance(value, Text) else value!r} is not one of {shown} of {kind}")


def _alternatives(kind: Type, value: Any) -> Any:
    if has_secret(kind) and isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = Reference(value)
            return next(convert(m, value) for m in kind.args if m.name == "secret")
    for (
        member
    ) in kind.args:  # a member that takes the value unchanged goes first, so that 3 stays an int in float | int
        try:
            found = convert(member, value)
        except Mismatch:
            continue
        if type(found) is type(value) and found == value:
            return found
    # Of text, None first and str last: "none" fits list[str] as well, and everything fits str.
    for member in sorted(kind.args, key=lambda m: (m.name == "str" and isinstance(value, Text), m != NONE)):
        try:
            return convert(member, value)
        except Mismatch:
            continue
    raise _wrong(kind, value)


def _moment(kind: Type, value: Any) -> datetime:
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day)
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            raise Mismatch(f"{_wrong(kind, value)} (write it as 2026-11-20T18:30)") from None
    if not isinstance(value, datetime):
        raise _wrong(kind, value)
    return value


def _day(kind: Type, value: Any) -> date:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise Mismatch(f"{_wrong(kind, value)} (write it as 2026-11-20)") from None
    if isinstance(value, datetime) or not isinstance(value, date):
        raise _wrong(kind, value)
    return value


def _path(kind: Type, value: Any) -> PurePath:
    if not isinstance(value, str | PurePath):
        raise _wrong(kind, value)
    return Path(value) if isinstance(value, str) else value


_CONVERT: dict[str, Callable[[Type, Any], Any]] = {
    "any": _any, "enum": _choice, "None": _none, "int": _integer, "float": _number, "bool": _boolean, "str": _string,
    "list": _sequence, "tuple": _sequence, "set": _sequence, "dict": _mapping, "literal": _literal,
    "union": _alternatives, "datetime": _moment, "date": _day, "Path": _path, "secret": _secret,
}  # fmt: skip


def to_code(value: Any) -> str:
    """Python source of a value that needs no import and leaves no other name behind.

    Raises:
        Mismatch: the value has a type that cannot be written as code.
    """
    if isinstance(value, Secret | Reference):
        return f'__import__("nbmlops").Secret({str(Reference(value))!r})'
    if isinstance(value, Choice):
        return f"{value.enumeration}.{value.member}"
    if isinstance(value, Enum):  # the kernel does not know its class
        return to_code(value.value)
    if value is None or isinstance(value, bool):
        return repr(value)
    if isinstance(value, str):
        return str.__repr__(value)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):  # also NumPy's, whose own repr is np.float64(0.1)
        return float.__repr__(value) if math.isfinite(value) else f'float("{float(value)}")'
    if isinstance(value, datetime):
        return f'__import__("datetime").datetime.fromisoformat({value.isoformat()!r})'
    if isinstance(value, date):
        return f'__import__("datetime").date.fromisoformat({value.isoformat()!r})'
    if isinstance(value, PurePath):
        return f'__import__("pathlib").Path({str(value)!r})'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{to_code(k)}: {to_code(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(to_code, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(to_code, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(map(to_code, value))) + "}" if value else "set()"
    raise Mismatch(f"a {type(value).__name__} cannot be written into a notebook")


def to_json(value: Any) -> Any:
    """The value as JSON can carry it: dates as ISO text, paths, NaN and infinities as text, secrets as references."""
    if isinstance(value, Secret | Reference):
        return str(Reference(value))
    if isinstance(value, Choice | Enum):
        return to_json(value.value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json(v) for v in (sorted(value, key=repr) if isinstance(value, set | frozenset) else value)]
    return str(value) if isinstance(value, Text) else value
