"""The bodies of requests: rows as clients send them, and everything that a client may get wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

HUGE = 40 << 20  # bytes: more than the server takes
_DEEP = 100_000


@dataclass(frozen=True)
class Malformed:
    """A request that must be refused."""

    what: str
    body: bytes
    kind: str = "application/json"


def values(frame: pd.DataFrame) -> list[list[Any]]:
    """Rows as JSON holds them: every float in full, nulls as null, times in ISO form."""
    columns = [[_plain(v) for v in frame[name].astype(object)] for name in frame.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def _plain(value: Any) -> Any:
    import pandas as pd

    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value):
        return None
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else value


def split(frame: pd.DataFrame) -> bytes:
    """MLflow's ``dataframe_split``."""
    columns = [str(name) for name in frame.columns]
    return json.dumps({"dataframe_split": {"columns": columns, "data": values(frame)}}).encode()


def malformed(row: pd.DataFrame, inputs: list[dict[str, Any]]) -> Iterator[Malformed]:
    """Requests with one thing wrong each.

    Args:
        row: one good row.
        inputs: the signature's columns.
    """
    columns, (good,) = [str(name) for name in row.columns], values(row)

    def body(data: list[Any], names: list[str] = columns) -> bytes:
        return json.dumps({"dataframe_split": {"columns": names, "data": [data]}}).encode()

    def instead(place: int, value: Any) -> bytes:
        return body([*good[:place], value, *good[place + 1 :]])

    yield Malformed("without its first column", body(good[1:], columns[1:]))
    yield Malformed("a list where a value is asked for", instead(0, ["a", "list"]))
    for place, column in enumerate(inputs):
        if column["kind"] == "numeric":
            yield Malformed(f"text as {column['name']}", instead(place, "a lot"))
            break
    for place, column in enumerate(inputs):
        if column["kind"] == "categorical" and column.get("categories"):
            yield Malformed(f"an unknown category as {column['name']}", instead(place, "no such category"))
            break
    for place, column in enumerate(inputs):
        if not column["nullable"] and not column["type"].lower().startswith("float"):
            yield Malformed(f"null as {column['name']}", instead(place, None))
            break
    yield Malformed("a row that is too short", body(good[:-1], columns))
    yield Malformed("an empty body", b"")
    yield Malformed("broken JSON", split(row)[:-3])
    yield Malformed("NaN, which is no JSON", b'{"dataframe_split": {"columns": ["a"], "data": [[NaN]]}}')
    yield Malformed("JSON of another form", b'{"rows": []}')
    yield Malformed("a text instead of an object", b'"rows"')
    yield Malformed("JSON that is nested too deep", b"[" * _DEEP + b"]" * _DEEP)
    yield Malformed("an unknown content type", split(row), "application/x-pickle")
    yield Malformed("a body that is too large", b" " * HUGE)
