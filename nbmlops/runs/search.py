"""``search_runs``'s filter and order, with MLflow's grammar: conditions joined by AND, compiled to SQL.

    metrics.rmse < 1 AND params."learning rate" = '0.1' AND tags.`team` LIKE 'vis%'
    AND attributes.status IN ('FINISHED', 'FAILED') AND start_time > 1700000000000

Beyond MLflow: a parameter may be compared with a number, and ``IS NULL`` / ``IS NOT NULL`` ask whether a key is there.
Text inside SQL is always bound, never pasted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from nbmlops.errors import InvalidValue
from nbmlops.store.schema import dataset_uses, experiments, keys, metric_latest, params, runs, tags

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>'(?:[^']|'')*') | (?P<quoted>"(?:[^"])*"|`[^`]*`)
    | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    | (?P<op><=|>=|!=|<>|=|<|>) | (?P<mark>[(),.]) | (?P<word>[\w][\w\-/:]*)
    )""",
    re.VERBOSE,
)
_KINDS = {
    "metric": "metrics", "metrics": "metrics", "param": "params", "params": "params", "parameter": "params",
    "parameters": "params", "tag": "tags", "tags": "tags", "attribute": "attributes", "attributes": "attributes",
    "attr": "attributes", "run": "attributes", "dataset": "datasets", "datasets": "datasets",
}  # fmt: skip
_ATTRIBUTES: dict[str, Any] = {
    "run_id": runs.c.id, "id": runs.c.id, "run_name": runs.c.name, "name": runs.c.name, "Run Name": runs.c.name,
    "status": runs.c.status, "start_time": runs.c.started_at, "created": runs.c.started_at,
    "Created": runs.c.started_at,
    "end_time": runs.c.ended_at, "user_id": runs.c.user, "user": runs.c.user, "kind": runs.c.kind,
    "parent_id": runs.c.parent_id, "experiment": experiments.c.name, "description": runs.c.description,
}  # fmt: skip
_TIMES = {"start_time", "created", "Created", "end_time"}
_MLFLOW_TAGS = {"mlflow.runName": runs.c.name, "mlflow.user": runs.c.user, "mlflow.parentRunId": runs.c.parent_id}
_HELP = "for example: metrics.rmse < 1 AND params.model = 'tree' AND tags.team LIKE 'vis%' AND status IN ('FINISHED')"


@dataclass(frozen=True)
class _Key:
    kind: str
    name: str


class _Reader:
    """The tokens of one filter, read left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str]] = []
        place = 0
        while place < len(text.rstrip()):
            match = _TOKEN.match(text, place)
            if not match or match.end() == place:
                raise self.fault(f"unexpected {text[place:].strip()[:12]!r}")
            self.tokens.append((match.lastgroup or "", match[match.lastgroup or 0]))
            place = match.end()
        self.at = 0

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "")

    def next(self) -> tuple[str, str]:
        token = self.peek()
        self.at += 1
        return token

    def word(self, *words: str) -> bool:
        """Whether the next token is one of these words; then it is taken."""
        kind, text = self.peek()
        if kind == "word" and text.upper() in words:
            self.at += 1
            return True
        return False

    def fault(self, why: str) -> InvalidValue:
        return InvalidValue(f"filter {self.text!r}: {why}", _HELP)

    def key(self) -> _Key:
        kind, text = self.next()
        if kind == "quoted":
            text = text[1:-1]
        elif kind != "word":
            raise self.fault(f"a key such as metrics.rmse is needed, not {text or 'the end'!r}")
        if self.peek() == ("mark", ".") and kind == "word" and text.lower() in _KINDS:
            self.at += 1
            return _Key(_KINDS[text.lower()], self._dotted())
        return _Key("attributes", text)

    def _dotted(self) -> str:
        kind, text = self.next()
        if kind == "quoted":
            return text[1:-1]
        if kind not in {"word", "number"}:
            raise self.fault("a name is needed after the point")
        while self.peek() == ("mark", "."):
            self.at += 1
            text += "." + self.next()[1]
        return text

    def value(self) -> str | float:
        kind, text = self.next()
        if kind == "text":
            return text[1:-1].replace("''", "'")
        if kind == "quoted":
            return text[1:-1]
        if kind == "number":
            return float(text)
        raise self.fault(f"a number or quoted text is needed, not {text or 'the end'!r}")

    def values(self) -> list[str | float]:
        if self.next() != ("mark", "("):
            raise self.fault("IN needs a list in parentheses")
        found = [self.value()]
        while self.peek() == ("mark", ","):
            self.at += 1
            found.append(self.value())
        if self.next() != ("mark", ")"):
            raise self.fault("the list after IN is not closed")
        return found


def conditions(text: str) -> list[Any]:
    """The filter as SQL conditions on ``runs`` (joined with ``experiments``).

    Raises:
        InvalidValue: the filter does not follow the grammar; says where.
    """
    if not text or not text.strip():
        return []
    reader = _Reader(text)
    found = [_condition(reader)]
    while reader.peek()[0] != "end":
        if reader.word("OR"):
            raise reader.fault("OR is not known; use IN (…), or search twice")
        if not reader.word("AND"):
            raise reader.fault(f"AND is needed before {reader.peek()[1]!r}")
        found.append(_condition(reader))
    return found


def _condition(reader: _Reader) -> Any:
    key = reader.key()
    if reader.word("IS"):
        missing = not reader.word("NOT")
        if not reader.word("NULL"):
            raise reader.fault("IS is followed by NULL or NOT NULL")
        return _compare(key, "IS NULL" if missing else "IS NOT NULL", None, reader)
    if reader.word("NOT"):
        if not reader.word("IN"):
            raise reader.fault("NOT is followed by IN (…)")
        return _compare(key, "NOT IN", reader.values(), reader)
    if reader.word("IN"):
        return _compare(key, "IN", reader.values(), reader)
    if reader.word("LIKE"):
        return _compare(key, "LIKE", reader.value(), reader)
    if reader.word("ILIKE"):
        return _compare(key, "ILIKE", reader.value(), reader)
    kind, op = reader.next()
    if kind != "op":
        raise reader.fault(f"a comparison (= != < <= > >= LIKE ILIKE IN) is needed, not {op or 'the end'!r}")
    return _compare(key, "!=" if op == "<>" else op, reader.value(), reader)


def _compare(key: _Key, op: str, value: Any, reader: _Reader) -> Any:
    if key.kind == "attributes" or (key.kind == "tags" and key.name in _MLFLOW_TAGS):
        return _attribute(key, op, value, reader)
    if key.kind == "datasets":
        held = sa.select(dataset_uses.c.run_id).where(_apply(dataset_uses.c.name, op, value, reader))
        return runs.c.id.in_(held)
    table = {"metrics": metric_latest, "params": params, "tags": tags}[key.kind]
    key_id = sa.select(keys.c.id).where(keys.c.name == key.name).scalar_subquery()
    mine = sa.select(table.c.run_seq).where(table.c.key_id == key_id)
    if op in {"IS NULL", "IS NOT NULL"}:
        return runs.c.seq.not_in(mine) if op == "IS NULL" else runs.c.seq.in_(mine)
    if key.kind == "metrics" and not _all_numbers(value):
        raise reader.fault(f"metric {key.name!r} is compared with text; write the number without quotes")
    column = table.c.number if key.kind == "params" and _all_numbers(value) else table.c.value
    if key.kind == "tags":
        value = _as_text(value)
    return runs.c.seq.in_(mine.where(_apply(column, op, value, reader)))


def _attribute(key: _Key, op: str, value: Any, reader: _Reader) -> Any:
    column = _MLFLOW_TAGS.get(key.name) if key.kind == "tags" else _ATTRIBUTES.get(key.name)
    if column is None:
        known = ", ".join(sorted({k for k in _ATTRIBUTES if k.islower()}))
        raise reader.fault(f"no attribute {key.name!r} (metrics.…, params.…, tags.… or one of {known})")
    if key.name in _TIMES and op not in {"IS NULL", "IS NOT NULL"}:
        if not _all_numbers(value):
            raise reader.fault(f"{key.name} is compared with milliseconds since 1970, a number")
        value = value / 1000 if isinstance(value, float) else [v / 1000 for v in value]
    elif value is not None:
        value = _as_text(value)
    return _apply(column, op, value, reader)


def _apply(column: Any, op: str, value: Any, reader: _Reader) -> Any:
    if op in {"LIKE", "ILIKE"} and not isinstance(value, str):
        raise reader.fault(f"{op} needs quoted text")
    return {
        "=": lambda: column == value,
        "!=": lambda: column != value,
        "<": lambda: column < value,
        "<=": lambda: column <= value,
        ">": lambda: column > value,
        ">=": lambda: column >= value,
        "LIKE": lambda: column.like(value),
        "ILIKE": lambda: column.ilike(value),
        "IN": lambda: column.in_(value),
        "NOT IN": lambda: column.not_in(value),
        "IS NULL": lambda: column.is_(None),
        "IS NOT NULL": lambda: column.is_not(None),
    }[op]()


def _all_numbers(value: Any) -> bool:
    return all(isinstance(v, float) for v in value) if isinstance(value, list) else isinstance(value, float)


def _as_text(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_text(v) for v in value]
    return f"{value:g}" if isinstance(value, float) else value


def ordering(order_by: list[str] | str | None) -> tuple[list[Any], list[Any]]:
    """(outer joins as (table, condition), ORDER BY columns) for texts such as ``metrics.rmse DESC``.

    Missing values come last; equal ones are ordered by start, newest first.

    Raises:
        InvalidValue: an entry does not follow the grammar.
    """
    joins: list[Any] = []
    columns: list[Any] = []
    for text in [order_by] if isinstance(order_by, str) else order_by or []:
        reader = _Reader(text)
        key = reader.key()
        descending = reader.word("DESC")
        if not descending:
            reader.word("ASC")
        if reader.peek()[0] != "end":
            raise InvalidValue(
                f"order_by {text!r}: unexpected {reader.peek()[1]!r}", "write metrics.rmse DESC, or start_time ASC"
            )
        for column in _order_columns(key, reader, joins):
            columns.append(sa.case((column.is_(None), 1), else_=0))
            columns.append(column.desc() if descending else column.asc())
    return joins, [*columns, runs.c.started_at.desc(), runs.c.id.desc()]


def _order_columns(key: _Key, reader: _Reader, joins: list[Any]) -> list[Any]:
    if key.kind == "attributes":
        if key.name not in _ATTRIBUTES:
            raise reader.fault(f"runs cannot be ordered by {key.name!r}")
        return [_ATTRIBUTES[key.name]]
    if key.kind == "datasets":
        raise reader.fault("runs cannot be ordered by data sets")
    table = {"metrics": metric_latest, "params": params, "tags": tags}[key.kind].alias()
    key_id = sa.select(keys.c.id).where(keys.c.name == key.name).scalar_subquery()
    joins.append((table, (table.c.run_seq == runs.c.seq) & (table.c.key_id == key_id)))
    # Parameters that are numbers sort as numbers, the others after them as text.
    return [table.c.number, table.c.value] if key.kind == "params" else [table.c.value]
