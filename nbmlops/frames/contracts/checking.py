"""A table against a contract, chunk by chunk: every violation at once, each with its rows and a few examples."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nbmlops.errors import ContractViolated, InvalidValue
from nbmlops.frames import arrow, encode
from nbmlops.frames.contracts import expressions, kinds, schemas
from nbmlops.frames.contracts.contract import ColumnRule, Contract
from nbmlops.frames.digest import contiguous, is_text
from nbmlops.frames.rows import digests, grouped
from nbmlops.records import ContractReport, Violation

EXAMPLES = 5
_WRONG = (pa.ArrowException, TypeError, ValueError, OverflowError)


def check(contract: Contract, data: Any, subject: str = "", index: Collection[str] = ()) -> ContractReport:
    """Compare data with a contract.

    A YAML contract is judged chunk by chunk; only keys that must be unique are kept, 16 bytes per row. A pandera schema
    needs the whole frame in memory.

    Args:
        contract: what :func:`load_contract` gives.
        data: a pandas, polars or Arrow frame, or an iterable of Arrow tables of one schema.
        subject: what the data are called, such as ``dataset:flights@3``.
        index: columns of the chunks that are index levels of a frame, and not unexpected.

    Raises:
        InvalidValue: these are no data.
    """
    if contract.schema is not None:
        rows, rules, found = schemas.violations(contract.schema, data)
    else:
        levels = list(index)
        if arrow.is_frame(data):
            packed = arrow.pack(data)
            levels += [level["field"] for level in packed.manifest.get("index", {}).get("levels", ())]
            data = [packed.table]
        elif isinstance(data, str | bytes) or not isinstance(data, Iterable):
            raise InvalidValue(f"a {type(data).__name__} cannot be checked", "give a frame, or Arrow tables")
        judge = _Judge(contract, levels)
        for chunk in data:
            judge.look(chunk)
        rows, rules, found = judge.rows, judge.rules(), judge.violations()
    status = contract.level if found else "pass"
    return ContractReport(contract.name, subject, status, rows, rules, tuple(found))


def refuse(report: ContractReport) -> None:
    """Raise if the contract is violated and says ``refuse``.

    Raises:
        ContractViolated: naming every violation.
    """
    if report.status == "block":
        what = f"{report.contract} on {report.subject}" if report.subject else report.contract
        hints = dict.fromkeys(v.hint for v in report.violations if v.hint)
        hint = "; ".join([*list(hints)[:2], "mend the data, or the contract"])
        raise ContractViolated.of(what, [v.line() for v in report.violations], hint)


@dataclass
class _Tally:
    """One rule of one column, or one check: how many rows break it, and the first of them."""

    column: str
    rule: str
    asked: str
    broken: Callable[[Any], Any]
    count: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)
    impossible: str = ""

    def look(self, values: pa.ChunkedArray | _Rows, start: int) -> None:
        if self.impossible:
            return
        try:
            mask = self.broken(values)
        except _WRONG as error:
            self.impossible = " ".join(str(error).split())[:200]
            return
        count = int(pc.sum(mask).as_py() or 0)
        self.count += count
        if count and len(self.examples) < EXAMPLES:
            at = pc.indices_nonzero(mask)[: EXAMPLES - len(self.examples)].to_pylist()
            self.examples += [{"row": start + i, "value": shown(values[i].as_py())} for i in at]

    def violation(self, rows: int) -> Violation | None:
        if self.impossible:
            return Violation(self.column, self.rule, self.asked, f"cannot be judged: {self.impossible}")
        if not self.count:
            return None
        seen = f"{self.count:,} of {rows:,} rows are not"
        return Violation(self.column, self.rule, self.asked, seen, self.count, self.count / rows, tuple(self.examples))


def shown(value: Any) -> Any:
    """A value as a record carries it: numbers, true, false and short texts as they are, anything else as text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= 100 else text[:99] + "…"


class _Judge:
    """The state of one check over the chunks of one table."""

    def __init__(self, contract: Contract, levels: Collection[str]) -> None:
        self.contract, self.levels = contract, set(levels) | set(contract.index)
        self.rows = 0
        self.schema: pa.Schema | None = None
        self.tallies: dict[str, list[_Tally]] = {}
        self.checks = [_tally_of(text) for text in contract.checks]
        self.missing: dict[str, int] = {}
        self.keys: dict[tuple[str, ...], list[np.ndarray]] = {}

    def rules(self) -> int:
        """How many rules the contract has."""
        c = self.contract
        named = sum(1 + len(_said(rule)) for rule in c.rules().values())
        return named + len(c.unique) + len(c.checks) + c.strict + c.ordered + (c.rows is not None)

    def look(self, chunk: pa.Table) -> None:
        if self.schema is None:
            self._begin(chunk.schema)
        values = {n: _values(chunk.column(n)) for n in self.tallies}
        for name, tallies in self.tallies.items():
            self.missing[name] = self.missing.get(name, 0) + values[name].null_count
            for tally in tallies:
                tally.look(values[name], self.rows)
        for names, kept in self.keys.items():
            kept.append(digests(chunk, names))
        for named, tally in self.checks:
            if all(n in values for n in named):
                tally.look(_Rows({n: values[n] for n in named}), self.rows)
        self.rows += chunk.num_rows

    def _begin(self, schema: pa.Schema) -> None:
        self.schema = schema
        here = set(schema.names)
        for name, rule in self.contract.rules().items():
            if name in here:
                self.tallies[name] = _tallies(name, rule, schema.field(name).type)
                if rule.unique:
                    self.keys[(name,)] = []
        for names in self.contract.unique:
            if here.issuperset(names):
                self.keys[names] = []

    # --- the answer -----------------------------------------------------------------------------------------------
    def violations(self) -> list[Violation]:
        """Of the table as a whole first, then column by column, then keys and checks."""
        schema = self.schema if self.schema is not None else pa.schema([])
        found = [*self._size(), *self._columns(schema)]
        for name, tallies in self.tallies.items():
            wrong = self._type(name, schema.field(name).type)
            found += wrong
            judged = (t.violation(self.rows) for t in tallies if not (wrong and t.impossible))
            found += [v for v in judged if v is not None]
            found += self._share(name)
        for names, kept in self.keys.items():
            found += self._unique(names, kept)
        found += [v for _, t in self.checks if (v := t.violation(self.rows)) is not None]
        return found

    def _size(self) -> list[Violation]:
        size = self.contract.rows
        if size is None or (size.min or 0) <= self.rows <= (self.rows if size.max is None else size.max):
            return []
        return [Violation("", "rows", f"{size} rows", f"there are {self.rows:,}")]

    def _columns(self, schema: pa.Schema) -> list[Violation]:
        rules, names = self.contract.rules(), schema.names
        found = [
            Violation(n, "required", "the column is there", "it is missing", hint="add the column, or required: false")
            for n, rule in rules.items()
            if rule.required and n not in names
        ]
        if self.contract.strict:
            extra = [n for n in names if n not in rules and n not in self.levels]
            hint = "name it in the contract, or leave strict out"
            found += [Violation(n, "strict", "no column that is not named", "it is there", hint=hint) for n in extra]
        wanted = [n for n in self.contract.columns if n in names]
        there = [n for n in names if n in self.contract.columns]
        if self.contract.ordered and wanted != there:
            seen = f"they come as {', '.join(there)}"
            found.append(Violation("", "ordered", f"columns in the order {', '.join(wanted)}", seen))
        return found

    def _type(self, name: str, kind: pa.DataType) -> list[Violation]:
        asked = self.contract.rules()[name].type
        if asked is None or kinds.fits(asked, kind):
            return []
        return [Violation(name, "type", f"of type {asked}", f"it is {kinds.word(kind)}", hint="cast the column")]

    def _share(self, name: str) -> list[Violation]:
        most, missing = self.contract.rules()[name].share_null, self.missing.get(name, 0)
        if most is None or not self.rows or missing / self.rows <= most:
            return []
        seen = f"{missing:,} of {self.rows:,} are ({missing / self.rows:.1%})"
        return [Violation(name, "share_null", f"at most {most:.1%} missing", seen, missing, missing / self.rows)]

    def _unique(self, names: tuple[str, ...], kept: list[np.ndarray]) -> list[Violation]:
        """Rows whose key an earlier row has; a missing value is a value like any other."""
        keys = np.concatenate(kept) if kept else np.zeros((0, 2), np.uint64)
        order, starts = grouped(keys)
        first = np.zeros(len(keys), bool)
        first[starts] = True
        again = np.sort(order[~first])
        if not len(again):
            return []
        examples = tuple({"row": int(r)} for r in again[:EXAMPLES])
        asked = "every value once" if len(names) == 1 else f"every combination of {', '.join(names)} once"
        seen = f"{len(again):,} rows repeat an earlier one"
        column = names[0] if len(names) == 1 else ""
        return [Violation(column, "unique", asked, seen, len(again), len(again) / len(keys), examples)]


def _tally_of(text: str) -> tuple[list[str], _Tally]:
    """The columns of a check, and its tally."""
    expression = expressions.Expression(text)
    return expression.columns, _Tally("", "check", text, lambda rows: expression.broken(rows.columns))


def _said(rule: ColumnRule) -> dict[str, Any]:
    return {k: v for k, v in rule.to_dict().items() if k != "required"}


def _values(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Plain values, in which NaN is a missing value like null."""
    column = encode.plain(column)
    while isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array([c.storage for c in column.chunks], column.type.storage_type)
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    if pa.types.is_floating(column.type) and pc.any(nan := pc.is_nan(column)).as_py():
        column = pc.if_else(nan, pa.scalar(None, column.type), column)
    return pa.chunked_array([contiguous(column)])


class _Rows:
    """The columns of a check, and its rows as far as they are shown."""

    def __init__(self, columns: dict[str, pa.ChunkedArray]) -> None:
        self.columns = columns

    def __getitem__(self, row: int) -> _Rows:
        return _Rows({n: c.slice(row, 1) for n, c in self.columns.items()})

    def as_py(self) -> str:
        """``a = 1, b = 2``."""
        return ", ".join(f"{n} = {shown(c[0].as_py())}" for n, c in self.columns.items())


def _tallies(name: str, rule: ColumnRule, kind: pa.DataType) -> list[_Tally]:
    """One tally per rule about single values."""
    made: list[tuple[str, str, Callable[[pa.ChunkedArray], Any]]] = []
    if not rule.nullable:
        made.append(("nullable", "no missing values", pc.is_null))
    if rule.min is not None:
        made.append(("min", f"at least {rule.min}", _bound(pc.less, rule.min, kind)))
    if rule.max is not None:
        made.append(("max", f"at most {rule.max}", _bound(pc.greater, rule.max, kind)))
    if rule.isin is not None:
        allowed = list(rule.isin)
        asked = f"one of {', '.join(map(str, allowed[:10]))}" + (f" … ({len(allowed)})" if len(allowed) > 10 else "")
        made.append(("in", asked, lambda v: pc.invert(expressions.is_in(v, allowed))))
    if rule.matches is not None:
        pattern = rf"\A(?:{rule.matches})\z"
        asked = f"like {rule.matches}"
        made.append(("matches", asked, lambda v: pc.invert(pc.match_substring_regex(v, pattern=pattern))))
    if rule.length is not None:
        low, high = rule.length.min or 0, rule.length.max
        made.append(("length", f"{rule.length} long", lambda v: _outside(_length(v), low, high)))
    return [_Tally(name, key, asked, broken) for key, asked, broken in made]


def _bound(compare: Callable[..., Any], bound: Any, kind: pa.DataType) -> Callable[[pa.ChunkedArray], Any]:
    def broken(values: pa.ChunkedArray) -> Any:
        limit = kinds.scalar(bound, kind)
        if pa.types.is_uint64(values.type) and pa.types.is_integer(limit.type):
            if limit.as_py() < 0:  # a comparison would take both as int64
                return pc.is_valid(values) if compare is pc.greater else pa.array([], pa.bool_())
            limit = limit.cast(pa.uint64())
        return compare(values, limit)

    return broken


def _length(values: pa.ChunkedArray) -> Any:
    if is_text(values.type):
        return pc.utf8_length(values)
    return pc.list_value_length(values) if pa.types.is_nested(values.type) else pc.binary_length(values)


def _outside(lengths: Any, low: int, high: int | None) -> Any:
    short = pc.less(lengths, low)
    return short if high is None else pc.or_(short, pc.greater(lengths, high))
