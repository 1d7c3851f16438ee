"""Contracts from YAML files, dicts and pandera schemas; every fault at once, with its place."""

from __future__ import annotations

import datetime
import decimal
import difflib
import os
import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nbmlops.errors import InvalidValue, NotFound, StoreFault
from nbmlops.frames.contracts import expressions, kinds, schemas
from nbmlops.frames.contracts.contract import LEVELS, ColumnRule, Contract, Range

LARGEST = 1_000_000  # bytes of a contract file
_YAML = (".yaml", ".yml")
LONGEST = 1000  # characters of a regular expression
_TOP = ("name", "on_violation", "rows", "strict", "ordered", "columns", "index", "unique", "checks")
_COLUMN = ("type", "nullable", "required", "unique", "min", "max", "in", "matches", "length", "share_null")
_VALUES = (bool, int, float, str, datetime.date, datetime.time, decimal.Decimal)
_HINT = "mend the contract; docs/contracts.md has every key"


def load_contract(spec: Any, on_violation: str | None = None) -> Contract:
    """Read a contract.

    Args:
        spec: the path of a YAML file; a dict of the same form; a pandera schema or model; ``FILE.py:NAME``, a schema
            in a Python file, which is run because it is named here; or a contract, which is given back.
        on_violation: ``refuse`` or ``warn``, in place of what the contract says.

    Raises:
        InvalidValue: listing every fault with its place, or this is no contract.
        NotFound: there is no such file, or no such name in it.
    """
    if on_violation is not None and on_violation not in LEVELS:
        raise InvalidValue(f"on_violation is {on_violation!r}", f"it is one of {', '.join(LEVELS)}")
    contract = _loaded(spec)
    if on_violation is not None:
        return Contract(**{**vars(contract), "on_violation": on_violation})
    return contract


def _loaded(spec: Any) -> Contract:
    if isinstance(spec, Contract):
        return spec
    if isinstance(spec, Mapping):
        return _Reader("contract").contract(dict(spec))
    if isinstance(spec, str | os.PathLike):
        file, colon, name = os.fspath(spec).rpartition(":")
        if colon and file.endswith(".py") and Path(name).suffix not in _YAML:  # YAML is never run, whatever its path
            return Contract(name=str(spec), schema=schemas.from_file(Path(file), name))
        return _read_yaml(Path(spec))
    if (schema := schemas.recognised(spec)) is not None:
        return Contract(name=str(getattr(schema, "name", None) or "pandera schema"), schema=schema)
    raise InvalidValue(
        f"a {type(spec).__module__}.{type(spec).__qualname__} is no contract",
        "give a YAML file, a dict, a pandera schema or FILE.py:NAME",
    )


def _read_yaml(path: Path) -> Contract:
    import yaml

    if path.suffix not in _YAML:
        raise InvalidValue(f"{str(path)!r} is no contract", "give a .yaml file, or FILE.py:NAME")
    try:
        with path.open("rb") as file:
            source = file.read(LARGEST + 1)
    except (FileNotFoundError, IsADirectoryError) as error:
        hint = "`nbmlops dataset contract NAME > FILE` drafts one from a data set"
        raise NotFound(f"no contract {str(path)!r}", hint) from error
    except OSError as error:
        raise StoreFault(f"cannot read {path}: {error.strerror}", "check the file's permissions") from error
    if len(source) > LARGEST:
        raise InvalidValue(f"{path} has more than {LARGEST:,} bytes", "a contract names rules, and holds no data")
    reader = _Reader(str(path))
    try:
        node = yaml.compose(source, yaml.SafeLoader)
        data = yaml.safe_load(source)
    except (yaml.YAMLError, UnicodeError, ValueError, TypeError, RecursionError) as error:
        raise InvalidValue(f"{path} is not YAML: {' '.join(str(error).split())}", "mend the file there") from error
    if node is not None:
        reader.twice(node)
    return reader.contract(data)


class _Reader:
    """Collects faults while it builds the contract."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.faults: list[str] = []

    def fault(self, at: str, text: str) -> None:
        self.faults.append(f"{at}: {text}" if at else text)

    def twice(self, root: Any) -> None:
        """Keys that are given twice: YAML keeps the last one, unseen."""
        todo, seen = [(root, "")], set()
        while todo:
            node, at = todo.pop()
            if id(node) in seen:  # an alias: told where its anchor is
                continue
            seen.add(id(node))
            keys: set[str] = set()
            for item in node.value if isinstance(node.value, list) else ():
                if not isinstance(item, tuple):
                    todo.append((item, at))
                    continue
                key, value = item
                name = str(key.value) if isinstance(key.value, str) else "?"
                if name in keys:
                    self.fault(f"{at}{name}", f"given twice (line {key.start_mark.line + 1})")
                keys.add(name)
                todo.append((value, f"{at}{name}."))

    def contract(self, data: Any) -> Contract:
        given = self.mapping(data, "", _TOP)
        columns = self.columns(given.get("columns"), "columns")
        index = self.columns(given.get("index"), "index")
        for name in sorted(set(columns) & set(index)):
            self.fault(f"index.{name}", "is a column, too")
        known = [*columns, *index]
        name = given.get("name", Path(self.where).name)
        if not isinstance(name, str):
            self.fault("name", f"{_show(name)} is no text")
        found = Contract(
            columns,
            index,
            strict=self.flag(given, "strict", False, ""),
            ordered=self.flag(given, "ordered", False, ""),
            unique=self.unique(given.get("unique"), known),
            rows=self.range(given.get("rows"), "rows"),
            checks=self.checks(given.get("checks"), known),
            on_violation=self.choice(given.get("on_violation", "refuse")),
            name=str(name),
        )
        if not (known or found.rows):
            self.fault("", "it has no rules: name columns")
        if self.faults:
            raise InvalidValue.of(self.where, list(dict.fromkeys(self.faults)), _HINT)
        return found

    def mapping(self, value: Any, at: str, known: Iterable[str] | None = None) -> dict[str, Any]:
        """A mapping with text keys; with ``known``, other keys are faults."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.fault(at, f"a mapping is needed, not {_show(value)}")
            return {}
        place = f"{at}." if at else ""
        for key in value:
            if not isinstance(key, str):
                self.fault(f"{place}{_show(key)}", "the key must be text; quote it")
            elif known is not None and key not in known:
                close = difflib.get_close_matches(key, list(known), n=1)
                near = f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"
                self.fault(f"{place}{key}", f"unknown key{near}")
        return {k: v for k, v in value.items() if isinstance(k, str) and (known is None or k in known)}

    def flag(self, given: dict[str, Any], key: str, default: bool, at: str) -> bool:
        value = given.get(key, default)
        if not isinstance(value, bool):
            self.fault(f"{at}{key}", f"true or false is needed, not {_show(value)}")
        return bool(value)

    def choice(self, value: Any) -> str:
        if value not in tuple(LEVELS):
            self.fault("on_violation", f"{_show(value)} is neither of {', '.join(LEVELS)}")
        return str(value)

    def range(self, value: Any, at: str) -> Range | None:
        if value is None:
            return None
        given = self.mapping(value, at, ("min", "max"))
        wrong = [k for k, v in given.items() if isinstance(v, bool) or not isinstance(v, int) or v < 0]
        for key in wrong:
            self.fault(f"{at}.{key}", f"a whole number is needed, not {_show(given[key])}")
        found = Range(*(None if k in wrong else given.get(k) for k in ("min", "max")))
        if found.min is not None and found.max is not None and found.min > found.max:
            self.fault(at, f"min {found.min} is above max {found.max}")
        return found

    def unique(self, value: Any, known: list[str]) -> tuple[tuple[str, ...], ...]:
        """A list of columns is one key; a list of lists several."""
        given = value if isinstance(value, list) else [] if value is None else [value]
        groups = given if given and all(isinstance(g, list) for g in given) else [given] if given else []
        for group in groups:
            for name in group:
                if name not in known:
                    self.fault("unique", f"there is no column {_show(name)} under columns")
        return tuple(tuple(map(str, group)) for group in groups)

    def checks(self, value: Any, known: list[str]) -> tuple[str, ...]:
        given = value if isinstance(value, list) else [] if value is None else [value]
        for i, text in enumerate(given):
            at = f"checks.{i + 1}"
            if why := expressions.fault(text):
                self.fault(at, f"{_show(text)}: {why}")
                continue
            for name in expressions.names(text):
                if name not in known:
                    close = difflib.get_close_matches(name, known, n=1)
                    near = f"; did you mean {close[0]!r}?" if close else f"; if there is, add {name}: {{}}"
                    self.fault(at, f"{text!r}: there is no column {name!r} under columns{near}")
        return tuple(map(str, given))

    # --- columns --------------------------------------------------------------------------------------------------
    def columns(self, value: Any, at: str) -> dict[str, ColumnRule]:
        return {name: self.column(given, f"{at}.{name}") for name, given in self.mapping(value, at).items()}

    def column(self, value: Any, at: str) -> ColumnRule:
        given = self.mapping({"type": value} if isinstance(value, str) else value, at, _COLUMN)
        kind = given.get("type")
        if kind is not None:
            kind = kinds.clean(kind) if isinstance(kind, str) else kind
            if why := kinds.fault(kind) if isinstance(kind, str) else f"{_show(kind)} is no text":
                self.fault(f"{at}.type", why)
                kind = None
        bounds = {k: self.value(given[k], f"{at}.{k}", kind) for k in ("min", "max") if given.get(k) is not None}
        self.bounds(bounds, at)
        share = given.get("share_null")
        if share is not None and (isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1):
            self.fault(f"{at}.share_null", f"a share from 0 to 1 is needed, not {_show(share)}")
        return ColumnRule(
            type=kind,
            nullable=self.flag(given, "nullable", True, f"{at}."),
            required=self.flag(given, "required", True, f"{at}."),
            unique=self.flag(given, "unique", False, f"{at}."),
            **bounds,
            isin=self.isin(given.get("in"), f"{at}.in", kind),
            matches=self.matches(given.get("matches"), f"{at}.matches"),
            length=self.range(given.get("length"), f"{at}.length"),
            share_null=share,
        )

    def value(self, value: Any, at: str, kind: str | None) -> Any:
        if not isinstance(value, _VALUES):
            self.fault(at, f"a number, text or time is needed, not {_show(value)}")
            return None
        example = kinds.example(kind) if kind else None
        if example is not None:
            try:
                kinds.scalar(value, example)
            except (pa.ArrowException, TypeError, ValueError):
                quoted = (
                    "; YAML reads yes, no, on and off as true and false: quote them" if value in (True, False) else ""
                )
                self.fault(at, f"{_show(value)} is no {kind}{quoted if isinstance(value, bool) else ''}")
        return value

    def bounds(self, bounds: dict[str, Any], at: str) -> None:
        if len(bounds) < 2 or None in bounds.values():
            return
        try:
            if bounds["min"] > bounds["max"]:
                self.fault(at, f"min {bounds['min']} is above max {bounds['max']}")
        except TypeError:
            self.fault(at, f"min {_show(bounds['min'])} and max {_show(bounds['max'])} cannot be compared")

    def isin(self, value: Any, at: str, kind: str | None) -> tuple[Any, ...] | None:
        if value is None:
            return None
        if not isinstance(value, list) or not value:
            self.fault(at, f"a list of values is needed, not {_show(value)}")
            return None
        return tuple(self.value(item, at, kind) for item in value)

    def matches(self, value: Any, at: str) -> str | None:
        """Google's RE2 runs these, in time that grows with the text and no faster, whatever the expression."""
        if value is None:
            return None
        if not isinstance(value, str) or len(value) > LONGEST:
            self.fault(at, f"a regular expression of at most {LONGEST:,} characters is needed")
            return None
        try:
            pc.match_substring_regex(pa.array([""]), pattern=value)
        except pa.ArrowException as error:
            reason = str(error).rpartition("regular expression: ")[2] or str(error)
            self.fault(at, f"{_show(value)} is no regular expression that RE2 knows ({' '.join(reason.split())})")
            return None
        return value


def _show(value: Any) -> str:
    return reprlib.repr(value)
