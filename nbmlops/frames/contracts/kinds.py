"""The words for types in a contract: families such as ``integer`` and exact types such as ``timestamp[us, tz=UTC]``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time

import pyarrow as pa

from nbmlops.frames.digest import is_list, is_text, logical_type

_T = pa.types
FAMILIES: dict[str, Callable[[pa.DataType], bool]] = {
    "integer": _T.is_integer,
    "float": _T.is_floating,
    "number": lambda k: _T.is_integer(k) or _T.is_floating(k) or _T.is_decimal(k),
    "decimal": _T.is_decimal,
    "boolean": _T.is_boolean,
    "text": is_text,
    "binary": lambda k: logical_type(k) == "binary" or _T.is_fixed_size_binary(k),
    "datetime": _T.is_timestamp,
    "date": _T.is_date,
    "time": _T.is_time,
    "duration": _T.is_duration,
    "list": lambda k: is_list(k) or _T.is_fixed_size_list(k),
    "struct": _T.is_struct,
    "map": _T.is_map,
}
_ALIASES = {"string": "text", "str": "text", "utf8": "text", "bool": "boolean", "int": "integer", "double": "float64"}
_NAMES = {"double": "float64", "float": "float32", "halffloat": "float16", "utf8": "text", "bool": "boolean"}
EXACT = {str(f()): f() for f in (pa.int8, pa.int16, pa.int32, pa.int64, pa.uint8, pa.uint16, pa.uint32, pa.uint64)}
EXACT |= {"float16": pa.float16(), "float32": pa.float32(), "float64": pa.float64(), "null": pa.null()}
_PARAMETRIC = re.compile(
    r"(timestamp|time32|time64|duration)\[(s|ms|us|ns)(, tz=[^\]]+)?\]|date(32\[day\]|64\[ms\])"
    r"|decimal(32|64|128|256)\(\d+, -?\d+\)|fixed_size_binary\[\d+\]|(list|struct|map|extension)<.*>(\[.*\])?"
)


def word(kind: pa.DataType) -> str:
    """The exact type as a contract writes it; dictionaries and large variants are their values."""
    name = logical_type(kind)
    return _NAMES.get(name, name)


def clean(text: str) -> str:
    """The word a contract uses for a type that may be spelled in several ways."""
    text = re.sub(r",\s*", ", ", text.strip())
    return _ALIASES.get(text, text)


def fault(text: str) -> str:
    """Why a text is no type; the empty text if it is one."""
    if text in FAMILIES or text in EXACT or _PARAMETRIC.fullmatch(text):
        return ""
    close = difflib.get_close_matches(text, [*FAMILIES, *EXACT, *_ALIASES], n=1)
    near = f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(FAMILIES)}, and exact ones as int64"
    return f"{text!r} is no type{near}"


def fits(text: str, kind: pa.DataType) -> bool:
    """Whether a column's type is what a contract asks for."""
    return FAMILIES[text](plain(kind)) if text in FAMILIES else word(kind) == text


def plain(kind: pa.DataType) -> pa.DataType:
    """The type of the values: without dictionary, run-ends and extension."""
    while True:
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        elif _T.is_dictionary(kind) or _T.is_run_end_encoded(kind):
            kind = kind.value_type
        else:
            return kind


def example(text: str) -> pa.DataType | None:
    """A type that bounds and values are tried with when a contract is read; None where only the data can tell."""
    families = {"integer": pa.int64(), "float": pa.float64(), "number": pa.float64(), "boolean": pa.bool_()}
    families |= {"text": pa.string(), "datetime": pa.timestamp("us"), "date": pa.date32()}
    if text.startswith("timestamp["):
        return pa.timestamp("us")
    return EXACT.get(text) or families.get(text)


def scalar(value: object, kind: pa.DataType) -> pa.Scalar:
    """A bound or value of a contract as it is compared with a column of this type.

    A number stays as it is, so that 0.5 can bound whole numbers. A time without a zone is UTC.

    Raises:
        pa.ArrowException, TypeError, ValueError: it cannot be compared with such a column.
    """
    kind = plain(kind)
    if isinstance(value, bool) != _T.is_boolean(kind):
        raise TypeError(f"{value!r} is not comparable with {word(kind)}")
    if isinstance(value, int | float):
        if not (_T.is_integer(kind) or _T.is_floating(kind) or _T.is_decimal(kind) or _T.is_boolean(kind)):
            raise TypeError(f"{value!r} is not comparable with {word(kind)}")
        return pa.scalar(value, pa.uint64()) if 2**63 <= value < 2**64 and isinstance(value, int) else pa.scalar(value)
    if _T.is_timestamp(kind):
        return _moment(value, kind)
    if isinstance(value, str) and not (is_text(kind) or _T.is_temporal(kind) or _T.is_decimal(kind)):
        raise TypeError(f"{value!r} is not comparable with {word(kind)}")
    if not isinstance(value, str) and is_text(kind):
        raise TypeError(f"{value!r} is no text")
    found = pa.scalar(value)
    return found if is_text(kind) else found.cast(kind)


def _moment(value: object, kind: pa.TimestampType) -> pa.Scalar:
    """ISO text, a date or a time as a timestamp of this type; in UTC, and said to be so where the type has a zone."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    if not isinstance(moment, datetime):
        raise TypeError(f"{value!r} is no time")
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return pa.scalar(moment, pa.timestamp("us")).cast(kind, safe=kind.unit == "ns")
