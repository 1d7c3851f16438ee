"""The parameters of a notebook: what its cell tagged ``parameters`` declares, read without executing it.

An annotation gives the type, else the default's type does; the comment behind a line is its help text.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import io
import json
import os
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

from nbmlops import secrets
from nbmlops.errors import InvalidValue, NotFound, StoreFault
from nbmlops.notebook import enums, types
from nbmlops.notebook.types import ANY, Mismatch, Text, Type
from nbmlops.secrets import Reference

TAG, INJECTED = "parameters", "injected-parameters"
_MAGIC = re.compile(r"^(\s*)([%!?].*)$", re.MULTILINE)


@dataclass(frozen=True)
class Parameter:
    """One parameter. ``default`` is its value where that is a literal; ``source`` its code, None without a default.

    ``fault`` says what is wrong with the default, if it counts.
    """

    name: str
    type: Type
    default: Any = None
    source: str | None = None
    literal: bool = False
    help: str = ""
    fault: str = ""

    @property
    def required(self) -> bool:
        return self.source is None


@dataclass(frozen=True)
class Parameters:
    """All parameters of one notebook, in the order of its cell. ``declared`` is false without such a cell."""

    notebook: str
    items: dict[str, Parameter] = field(default_factory=dict)
    declared: bool = False

    def check(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """The given values with their types, and every fault: unknown names, wrong types, missing ones."""
        typed: dict[str, Any] = {}
        faults: list[str] = []
        if values and not self.declared:
            return {}, [
                f"{self.notebook} has no cell tagged 'parameters', so it takes no {', '.join(map(str, values))}"
            ]
        for name, value in values.items():
            if name not in self.items:
                faults.append(f"unknown parameter {name!r}{suggestion(name, self.items)}")
                continue
            try:
                typed[name] = types.convert(self.items[name].type, value)
            except Mismatch as error:
                faults.append(f"{name}: {error}")
        for p in self.items.values():
            if p.name in values:
                continue
            if p.required:
                faults.append(f"{p.name}: a {p.type} is required")
            elif p.fault:
                faults.append(f"{p.name}: {p.fault}")
            elif isinstance(p.default, Reference):  # given, so that a plain "env:NAME" becomes a Secret in the kernel
                typed[p.name] = p.default
        return typed, [*faults, *_unresolved(typed)]

    def coerce(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The given values with their types.

        Raises:
            InvalidValue: listing every fault at once.
        """
        typed, faults = self.check(values)
        if faults:
            raise InvalidValue.of(f"parameters of {self.notebook}", faults, self.hint())
        return typed

    def complete(self, typed: Mapping[str, Any]) -> dict[str, Any]:
        """The values in force: those given, and the literal defaults of the others; what code computes is left out."""
        return {p.name: typed.get(p.name, p.default) for p in self.items.values() if p.name in typed or p.literal}

    def hint(self) -> str:
        """What the notebook takes, in one line."""
        if not self.declared:
            return "tag the cell that sets them 'parameters'"
        return f"it takes {', '.join(f'{p.name}: {p.type}' for p in self.items.values()) or 'none'}"


def suggestion(name: object, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)``, or nothing."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def from_command_line(pairs: Iterable[str]) -> dict[str, Text]:
    """``["depth=3", …]`` as values that each parameter's type will parse.

    Raises:
        InvalidValue: an entry is not NAME=VALUE, or a name comes twice.
    """
    values: dict[str, Text] = {}
    faults = []
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.strip().isidentifier():
            faults.append(f"{pair!r} is not NAME=VALUE")
        elif name.strip() in values:
            faults.append(f"{name.strip()} is given twice")
        else:
            values[name.strip()] = Text(text)
    if faults:
        raise InvalidValue.of("parameters", faults, "write -p NAME=VALUE, once for each")
    return values


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a notebook file.

    Raises:
        NotFound: there is no such file.
        StoreFault: it cannot be read.
    """
    shown = os.fspath(path)
    try:
        return Path(path).read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFound(f"no notebook {shown!r}", "give the path of an .ipynb file") from error
    except OSError as error:
        raise StoreFault(f"cannot read {shown}: {error.strerror}", "check the file's permissions") from error


def parse_document(data: bytes, shown: str) -> dict[str, Any]:
    """The bytes of a notebook as plain JSON; the format is checked only as far as running it needs.

    Raises:
        InvalidValue: they are not a notebook of format 4.
    """
    try:
        document = json.loads(data)
    except ValueError as error:
        hint = "a Jupyter notebook is a JSON file"
        if Path(shown).suffix in {".yaml", ".yml"}:
            hint = "if it is a pipeline file: nbmlops pipeline run FILE, or stage run FILE --stage NAME"
        raise InvalidValue(f"{shown} is not a notebook: {error}", hint) from error
    if not isinstance(document, dict) or document.get("nbformat") != 4 or not isinstance(document.get("cells"), list):
        raise InvalidValue(f"{shown} is not a notebook of format 4", "open it in Jupyter and save it again")
    for number, cell in enumerate(document["cells"], 1):
        if not _is_cell(cell):
            raise InvalidValue(f"{shown}: its cell {number} is no cell of a notebook", "open it in Jupyter and save it")
    return document


def _is_cell(cell: Any) -> bool:
    """Whether source and tags are what everything here takes them for."""
    if not isinstance(cell, dict) or not isinstance(cell.get("metadata", {}), dict):
        return False
    tags, source = cell.get("metadata", {}).get("tags", []), cell.get("source", "")
    lines = source if isinstance(source, list) else [source]
    return isinstance(tags, list) and all(isinstance(line, str) for line in lines)


def cell_source(cell: Mapping[str, Any]) -> str:
    """A cell's source as one text; files keep it as a list of lines."""
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(source)


def tagged(document: Mapping[str, Any], tag: str) -> int | None:
    """Index of the first cell with a tag."""
    for index, cell in enumerate(document["cells"]):
        if tag in cell.get("metadata", {}).get("tags", ()):
            return index
    return None


def read(document: Mapping[str, Any], notebook: str) -> Parameters:
    """The parameters that a notebook declares.

    Raises:
        InvalidValue: the cell is not Python.
    """
    index = tagged(document, TAG)
    if index is None:
        return Parameters(notebook)
    source = _MAGIC.sub(r"\1pass", cell_source(document["cells"][index]))
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise InvalidValue(
            f"the parameters cell of {notebook} is not Python: {error.msg}, line {error.lineno}", "mend the cell"
        ) from error
    comments = _comments(source)
    known = enums.classes([*_above(document, index), tree])
    found: dict[str, Parameter] = {}
    for statement in tree.body:
        help_text = comments.get(statement.end_lineno or 0, "")
        for name, annotation, value in _assignments(statement):
            found[name] = _chosen(_parameter(name, annotation, value, help_text, known), value, known)
    return Parameters(notebook, found, declared=True)


def _assignments(statement: ast.stmt) -> list[tuple[str, ast.expr | None, ast.expr | None]]:
    """Name, annotation and value of each assignment to a plain name."""
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return [(statement.target.id, statement.annotation, statement.value)]
    found: list[tuple[str, ast.expr | None, ast.expr | None]] = []
    if isinstance(statement, ast.Assign):
        for target in statement.targets:
            if isinstance(target, ast.Name):
                found.append((target.id, None, statement.value))
            elif isinstance(target, ast.Tuple) and isinstance(statement.value, ast.Tuple):
                found += [(t.id, None, v) for t, v in zip(target.elts, statement.value.elts) if isinstance(t, ast.Name)]
    return found


def _above(document: Mapping[str, Any], index: int) -> Iterator[ast.Module]:
    """The cells before the parameters, which may define enumerations; those that are not plain Python are left out."""
    for cell in document["cells"][:index]:
        if cell.get("cell_type") == "code" and "Enum" in (source := cell_source(cell)):
            with contextlib.suppress(SyntaxError, ValueError):
                yield ast.parse(_MAGIC.sub(r"\1pass", source))


def _chosen(parameter: Parameter, value: ast.expr | None, known: Mapping[str, Type]) -> Parameter:
    """The parameter, with the member of an enumeration that its default names."""
    if not known or (found := enums.member(value, known)) is None:
        return parameter
    kind, choice = found
    return replace(parameter, type=kind if parameter.type == ANY else parameter.type, default=choice, literal=True)


def _parameter(
    name: str, annotation: ast.expr | None, value: ast.expr | None, help_text: str, known: Mapping[str, Type]
) -> Parameter:
    kind = types.from_annotation(annotation, known) if annotation is not None else ANY
    if value is None:
        return Parameter(name, kind, help=help_text)
    default, literal = _evaluate(value)
    if types.has_secret(kind) or _maker(value) is Reference:
        return _secret(name, kind if annotation is not None else Type("secret"), value, help_text)
    if annotation is None and literal:
        kind = types.of_value(default)
    return Parameter(name, kind, default, ast.unparse(value), literal, help_text)


def _secret(name: str, kind: Type, value: ast.expr, help_text: str) -> Parameter:
    """A default that is a value in place of a reference is a fault, and is shown nowhere."""
    default, literal = _evaluate(value)
    wrong = _maker(value) is Reference and not literal and all(isinstance(a, ast.Constant) for a in value.args)  # type: ignore[attr-defined]
    try:
        default = types.convert(kind, default) if literal else None
    except Mismatch:
        wrong = True
    if wrong:
        fault = "its default is not env:NAME or file:PATH (and is not shown)"
        return Parameter(name, kind, source="(not shown)", help=help_text, fault=fault)
    return Parameter(name, kind, default, ast.unparse(value), literal, help_text)


def _unresolved(typed: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}: {fault}"
        for name, value in typed.items()
        for reference in secrets.references(value)
        if (fault := secrets.fault(reference))
    ]


_MAKERS: dict[str, Callable[..., Any]] = {"date": date, "datetime": datetime, "Path": Path, "Secret": Reference}


def _maker(node: ast.expr) -> Callable[..., Any] | None:
    called = isinstance(node, ast.Call) and not node.keywords
    return _MAKERS.get(ast.unparse(node.func).rpartition(".")[2]) if called else None  # type: ignore[attr-defined]


def _evaluate(node: ast.expr) -> tuple[Any, bool]:
    """The value of a literal, or of a date, path or secret made of literals, and whether it is one."""
    try:
        if isinstance(node, ast.Call) and not node.keywords:
            maker = _maker(node)
            return (maker(*map(ast.literal_eval, node.args)), True) if maker else (None, False)
        return ast.literal_eval(node), True
    except (ValueError, TypeError, SyntaxError):
        return None, False


def _comments(source: str) -> dict[int, str]:
    """The comment of each line that has one."""
    found: dict[int, str] = {}
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                found[token.start[0]] = token.string.lstrip("#").strip()
    except (tokenize.TokenError, IndentationError):
        pass  # the source parsed, so at worst the help of the last line is lost
    return found


def injected_source(values: Mapping[str, Any]) -> str:
    """The source of the cell that sets the given values, after the defaults of the parameters cell."""
    return "\n".join(["# Parameters", *(f"{name} = {types.to_code(value)}" for name, value in values.items())])
