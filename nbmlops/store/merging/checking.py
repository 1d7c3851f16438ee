"""Rows of another store are hostile until looked at: types, names, ids, digests, metric chunks, row by row."""

from __future__ import annotations

import math
import posixpath
import re
import struct
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from nbmlops import refs
from nbmlops.errors import BlobCorrupt, InvalidValue
from nbmlops.store import schema, series
from nbmlops.store.merging import columns as c
from nbmlops.store.merging.columns import TABLES

MOST_FAULTS = 50
_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_DEEPEST = 150  # levels of JSON; ours have a dozen, and Python's stack ends at a thousand
_INT64 = 1 << 63
_STATUS = {
    "runs": {"RUNNING", "FINISHED", "FAILED", "KILLED"},
    "flows": {"RUNNING", "FINISHED", "FAILED", "KILLED", "BLOCKED"},
    "approvals": {"open", "approved", "rejected"},
    "alerts": {"open", "retraining", "closed"},
}


class Faults(list[str]):
    """What is wrong, each with the row it is in; after fifty nobody reads on."""

    @property
    def full(self) -> bool:
        return len(self) >= MOST_FAULTS

    def raise_for(self, origin: str) -> None:
        """Raises:
        InvalidValue: with all faults, if there are any.
        """
        if self:
            raise InvalidValue.of(
                f"{origin} cannot be taken over",
                list(self),
                "nothing was written; see with `nbmlops store verify` and `nbmlops doctor` there what became of it",
            )


def wrong(table: str, row: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with a row by itself."""
    kinds = TABLES[table].columns
    if not isinstance(row, Mapping) or set(row) != set(kinds):
        there = set(row) if isinstance(row, Mapping) else set()
        return [f"{table}: columns {', '.join(sorted(map(str, there ^ set(kinds)))[:5])} are missing, or no columns"]
    columns = schema.metadata.tables[table].c
    found = []
    for name, kind in kinds.items():
        said = _type(row[name], columns[name]) or (_meaning(row[name], kind) if row[name] is not None else "")
        if said:
            found.append(f"{table}.{name}: {_shown(row[name])} {said}")
    return found or _together(table, row)


def _type(value: Any, column: sa.Column[Any]) -> str:
    """What is wrong with the type; PostgreSQL would refuse it, SQLite keep it and surprise whoever reads."""
    if value is None:
        return "" if column.nullable else "where a value is needed"
    kind = column.type
    if isinstance(kind, sa.JSON):
        return "" if _is_json(value, _DEEPEST) else "is no JSON, or nested too deeply"
    if isinstance(kind, sa.Text):
        return "" if isinstance(value, str) and _is_storable(value) else "is no text that can be kept"
    if isinstance(kind, sa.LargeBinary):
        return "" if isinstance(value, bytes) else "is no bytes"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "is no number"
    if isinstance(kind, sa.Float):
        return "" if math.isfinite(value) else "is no finite number"
    return "" if isinstance(value, int) and -_INT64 <= value < _INT64 else "is no whole number of 64 bits"


def _is_json(value: Any, room: int) -> bool:
    if value is None or isinstance(value, bool | int | float):
        return True
    if isinstance(value, str):
        return _is_storable(value)
    if room and isinstance(value, dict):
        return all(isinstance(k, str) and _is_storable(k) and _is_json(v, room - 1) for k, v in value.items())
    return bool(room) and isinstance(value, list) and all(_is_json(v, room - 1) for v in value)


def _is_storable(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _meaning(value: Any, kind: str) -> str:
    """What is wrong with a value that has the right type."""
    check = _CHECKS.get(kind)
    return check(value) if check else ""


def _id(value: str) -> str:
    return "" if _ID.fullmatch(value) else "is no id"


def _label(value: str) -> str:
    return "" if 0 < len(value) <= 250 and value.isprintable() else "is no id"


def _digest(value: str) -> str:
    return "" if not value or _DIGEST.fullmatch(value) else "is no digest of a stored object"


def _version(value: int) -> str:
    return "" if value > 0 else "is no number of a version"


def _path(value: str) -> str:
    inside = value == posixpath.normpath(value) and not value.startswith(("/", "..")) and "\\" not in value
    return "" if inside and value.isprintable() and 0 < len(value) <= 500 and value != "." else "leads elsewhere"


def _named(check: Callable[[Any, str], str], what: str) -> Callable[[str], str]:
    def said(value: str) -> str:
        try:
            check(value, what)
        except InvalidValue:
            return f"cannot be the name of a {what}"
        return ""

    return said


_CHECKS: Mapping[str, Callable[[Any], str]] = {
    c.ID: _id, c.EXPERIMENT: _id, c.RUN: _id, c.LINK: _label, c.LABEL: _label, c.PATH: _path,
    c.DIGEST: _digest, c.MANIFEST: _digest, c.DATASET: _version, c.MODEL: _version,
    c.NAME: _named(refs.check_name, "data set or model"),
    c.KEY: _named(refs.check_key, "param, metric or tag"), c.ALIAS: _named(refs.check_name, "label"),
}  # fmt: skip


def _together(table: str, row: Mapping[str, Any]) -> list[str]:
    """What is wrong with values that are right one by one."""
    if table in _STATUS and row["status"] not in _STATUS[table]:
        return [f"{table}.status: {_shown(row['status'])} is no status"]
    if table == "runs" and (row["status"] == "RUNNING") != (row["ended_at"] is None):
        return [f"runs: {row['id']} is {row['status']} and has {'no' if row['ended_at'] is None else 'an'} end"]
    if table == "runs" and not isinstance(row["source"], dict):
        return [f"runs.source: {_shown(row['source'])} is no source"]
    return _chunk(row) if table == "metric_chunks" else []


def _chunk(row: Mapping[str, Any]) -> list[str]:
    """Looked at before anything is set aside for it: a few bytes may promise gigabytes."""
    data, points = row["data"], row["points"]
    promised = struct.unpack_from("<I", data, 2)[0] if len(data) >= 6 else -1
    if not 0 < points == promised <= 2 * series.CHUNK:
        return [f"metric_chunks.data: promises {promised} points, not {points}"]
    try:
        series.decode(data)
    except BlobCorrupt as error:
        return [f"metric_chunks.data: {error.message}"]
    return []


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
