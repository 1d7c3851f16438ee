"""A contract as data, and as YAML."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import date, time
from decimal import Decimal
from typing import Any

LEVELS = {"refuse": "block", "warn": "warn"}


@dataclass(frozen=True)
class Range:
    """From ``min`` to ``max``, both included; None is no limit."""

    min: int | None = None
    max: int | None = None

    def to_dict(self) -> dict[str, int]:
        """The limits there are."""
        return {k: v for k, v in (("min", self.min), ("max", self.max)) if v is not None}

    def __str__(self) -> str:
        if self.min is not None and self.max is not None:
            return f"{self.min:,} to {self.max:,}"
        return f"at least {self.min:,}" if self.min is not None else f"at most {self.max or 0:,}"


@dataclass(frozen=True)
class ColumnRule:
    """What one column must be like. Missing values (null and NaN) are judged by ``nullable`` and ``share_null`` only.

    ``isin`` is ``in`` in YAML. ``matches`` is a regular expression (RE2) for the whole text. ``length`` counts
    characters, bytes or items.
    """

    type: str | None = None
    nullable: bool = True
    required: bool = True
    unique: bool = False
    min: Any = None
    max: Any = None
    isin: tuple[Any, ...] | None = None
    matches: str | None = None
    length: Range | None = None
    share_null: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The rules that say something, with the keys of YAML."""
        said: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if value != f.default:
                said["in" if f.name == "isin" else f.name] = _written(value)
        if self.length is not None:
            said["length"] = self.length.to_dict()
        return said


def _written(value: Any) -> Any:
    """A bound or a list of values as YAML can say it: times and exact numbers as text."""
    if isinstance(value, tuple):
        return [_written(v) for v in value]
    return str(value) if isinstance(value, date | time | Decimal) else value


@dataclass(frozen=True)
class Contract:
    """What a table must be like.

    ``strict`` refuses columns that are not named, ``ordered`` another order of those that are. ``unique`` lists groups
    of columns of which no combination may come twice. ``checks`` are expressions that hold for every row, or are not
    judged where a value is missing. With ``schema`` (pandera's) the other rules are empty.
    """

    columns: dict[str, ColumnRule] = field(default_factory=dict)
    index: dict[str, ColumnRule] = field(default_factory=dict)
    strict: bool = False
    ordered: bool = False
    unique: tuple[tuple[str, ...], ...] = ()
    rows: Range | None = None
    checks: tuple[str, ...] = ()
    on_violation: str = "refuse"
    name: str = field(default="contract", compare=False)
    schema: Any = field(default=None, compare=False)
    note: str = field(default="", compare=False)

    @property
    def level(self) -> str:
        """What a violation means: ``block`` or ``warn``."""
        return LEVELS[self.on_violation]

    def rules(self) -> dict[str, ColumnRule]:
        """The rules of columns and of index levels, by name."""
        return {**self.columns, **self.index}

    def to_dict(self) -> dict[str, Any]:
        """The contract as ``load_contract`` takes it; of a pandera schema only its name and consequence."""
        said: dict[str, Any] = {"on_violation": self.on_violation}
        if self.rows is not None:
            said["rows"] = self.rows.to_dict()
        said |= {k: True for k in ("strict", "ordered") if getattr(self, k)}
        said["columns"] = {n: rule.to_dict() for n, rule in self.columns.items()}
        if self.index:
            said["index"] = {n: rule.to_dict() for n, rule in self.index.items()}
        if self.unique:
            said["unique"] = [list(names) for names in self.unique]
        if self.checks:
            said["checks"] = list(self.checks)
        return said

    def to_yaml(self) -> str:
        """The contract as text to keep in a repository: one line per column, and how it came about as a comment."""
        said = self.to_dict()
        lines = [f"# {line}" for line in self.note.splitlines()]
        for key, value in said.items():
            if key in {"columns", "index"}:
                lines += [f"{key}:", *(f"  {_flow({name: rule})}" for name, rule in value.items())]
            elif key == "checks":
                lines += [f"{key}:", *(f"  - {_flow({text: 0}).removesuffix(': 0')}" for text in value)]
            else:
                lines.append(_flow({key: value}))
        return "\n".join(lines) + "\n"


def _flow(entry: dict[str, Any]) -> str:
    """One entry of a mapping on one line."""
    import yaml

    text = yaml.safe_dump(entry, sort_keys=False, allow_unicode=True, default_flow_style=True, width=10**9)
    return str(text).strip()[1:-1]
