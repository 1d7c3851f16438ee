"""Rows of another store are hostile until looked at: types, names, ids, digests, metric chunks, row by row."""

from __future__ import annotations

import functools
import math
import posixpath
import re
import struct
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import sqlalchemy as sa

from nbmlops import refs
from nbmlops.errors import BlobCorrupt, InvalidValue
from nbmlops.store import schema, series
from nbmlops.store.merging import columns as c
from nbmlops.store.merging.columns import TABLES
from nbmlops.store.merging.shapes import misshapen

MOST_FAULTS = 50
_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_DEEPEST = 150  # levels of JSON; ours have a dozen, and Python's stack ends at a thousand
_INT64 = 1 << 63
Check: TypeAlias = Callable[[Any], str]  # says what is wrong, or nothing
_STATUS = {
    "runs": {"RUNNING", "FINISHED", "FAILED", "KILLED"},
    "flows": {"RUNNING", "FINISHED", "FAILED", "KILLED", "BLOCKED"},
    "approvals": {"open", "approved", "rejected"},
    "alerts": {"open", "retraining", "closed"},
    "certificates": {"reproduced", "drifted", "not reproducible"},
}
# Seconds since the epoch; later than the year 9998 no calendar here shows them.
_TIMES = {
    "at", "started_at", "ended_at", "heartbeat_at", "deleted_at", "created_at", "decided_at", "closed_at",
    "since", "until",
}  # fmt: skip
_LAST = 253_370_764_800


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
    checks = _checks_of(table)
    if not isinstance(row, Mapping) or row.keys() != checks.keys():
        odd = set(row) ^ set(checks) if isinstance(row, Mapping) else set(checks)
        return [f"{table}: columns {', '.join(sorted(map(str, odd))[:5])} are missing, or no columns"]
    found = []
    for name, (nullable, type_, meaning) in checks.items():
        value = row[name]
        if value is None:
            said = "" if nullable else "where a value is needed"
        else:
            said = type_(value) or (meaning(value) if meaning else "")
        if said:
            found.append(f"{table}.{name}: {_shown(value)} {said}")
    return found or _together(table, row)


@functools.cache
def _checks_of(table: str) -> dict[str, tuple[bool, Check, Check | None]]:
    """For each column whether it may be null, and what looks at type and meaning: looked up once for all rows."""
    columns = schema.metadata.tables[table].c
    return {
        name: (
            bool(columns[name].nullable),
            _type_check(columns[name].type),
            _time if name in _TIMES else _CHECKS.get(kind),
        )
        for name, kind in TABLES[table].columns.items()
    }


def _type_check(kind: sa.types.TypeEngine[Any]) -> Check:
    """What looks at a type; PostgreSQL would refuse a wrong one, SQLite keep it and surprise whoever reads."""
    pairs = ((sa.JSON, _json), (sa.Text, _text), (sa.LargeBinary, _bytes), (sa.Float, _float))
    return next((check for class_, check in pairs if isinstance(kind, class_)), _whole)


def _json(value: Any) -> str:
    return "" if _is_json(value, _DEEPEST) else "is no JSON, or nested too deeply"


def _text(value: Any) -> str:
    return "" if isinstance(value, str) and is_storable(value) else "is no text that can be kept"


def _bytes(value: Any) -> str:
    return "" if isinstance(value, bytes) else "is no bytes"


def _float(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "is no number"
    return "" if math.isfinite(value) else "is no finite number"


def _whole(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        return "is no number" if not isinstance(value, float) else "is no whole number"
    return "" if -_INT64 <= value < _INT64 else "is no whole number of 64 bits"


def _is_json(value: Any, room: int) -> bool:
    if value is None or isinstance(value, bool | int | float):
        return True
    if isinstance(value, str):
        return is_storable(value)
    if room and isinstance(value, dict):
        return all(isinstance(k, str) and is_storable(k) and _is_json(v, room - 1) for k, v in value.items())
    return bool(room) and isinstance(value, list) and all(_is_json(v, room - 1) for v in value)


def is_storable(text: str) -> bool:
    """Whether both databases can keep a text."""
    if text.isascii():
        return "\0" not in text
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _id(value: str) -> str:
    return "" if _ID.fullmatch(value) else "is no id"


def _label(value: str) -> str:
    return "" if 0 < len(value) <= 250 and value.isprintable() else "is no id"


def _digest(value: str) -> str:
    return "" if not value or _DIGEST.fullmatch(value) else "is no digest of a stored object"


def _time(value: float) -> str:
    return "" if 0 <= value < _LAST else "is no time"


def _version(value: int) -> str:
    return "" if value > 0 else "is no number of a version"


def _path(value: str) -> str:
    inside = value == posixpath.normpath(value) and not value.startswith(("/", "..")) and "\\" not in value
    return "" if inside and value.isprintable() and 0 < len(value) <= 500 and value != "." else "leads elsewhere"


def _named(check: Callable[[Any, str], str], what: str) -> Check:
    def said(value: str) -> str:
        try:
            check(value, what)
        except InvalidValue:
            return f"cannot be the name of a {what}"
        return ""

    return said


_CHECKS: Mapping[str, Check] = {
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
    return _chunk(row) if table == "metric_chunks" else misshapen(table, row)


def _chunk(row: Mapping[str, Any]) -> list[str]:
    """Looked at before anything is set aside for it: a few bytes may promise gigabytes."""
    data, points = row["data"], row["points"]
    promised = struct.unpack_from("<I", data, 2)[0] if len(data) >= 6 else -1
    if not 0 < points == promised <= 2 * series.CHUNK:
        return [f"metric_chunks.data: promises {promised} points, not {points}"]
    return []


def unreadable(table: str, row: Mapping[str, Any]) -> list[str]:
    """What is wrong inside of a row that passed :func:`wrong`; dear to look at, so only rows that come are asked."""
    if table != "metric_chunks":
        return []
    try:
        series.decode(row["data"])
    except BlobCorrupt as error:
        return [f"metric_chunks.data: {error.message}"]
    return []


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
