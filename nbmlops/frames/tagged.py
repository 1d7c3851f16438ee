"""Python values of mixed types as JSON text, and back: no pickle, and nothing in a text can name code.

Numbers, text, booleans, None, lists and dicts with text keys are themselves; every other value is a JSON object
``{"$": KIND, "v": CONTENT}``, where KIND is one of a fixed list. A dict that has a key ``$`` or keys of other types is
``{"$": "dict", "v": [[KEY, VALUE], …]}``.
"""

from __future__ import annotations

import base64
import json
import math
import uuid
import zoneinfo
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from nbmlops.errors import StoreFault

_DIGITS = 4000  # Python refuses to read longer decimal numbers
_ARRAYS = "biufcmMSU"  # kinds of NumPy dtypes whose bytes are values; objects and records are not
_UNITS = ("s", "ms", "us", "ns")


def dumps(value: Any) -> str:
    """A value as JSON text; equal values give equal texts.

    Raises:
        TypeError: it is, or holds, a value of a type that is not kept.
    """
    return json.dumps(encode(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def loads(text: str) -> Any:
    """The inverse of :func:`dumps`.

    Raises:
        StoreFault: the text is not what :func:`dumps` writes.
    """
    try:
        return decode(json.loads(text))
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError, ArithmeticError, MemoryError) as error:
        raise StoreFault(
            f"a stored value cannot be read: {text[:60]!a}: {type(error).__name__}", "run `nbmlops doctor`"
        ) from error


# --- to JSON ----------------------------------------------------------------------------------------------------
def encode(value: Any) -> Any:
    """A value as what JSON holds.

    Raises:
        TypeError: a value of a type that is not kept; names it.
    """
    kind = type(value)
    if value is None or kind is bool:
        return value
    if value is pd.NA or value is pd.NaT:
        return {"$": "NA" if value is pd.NA else "NaT"}
    if isinstance(value, np.generic) and kind.__module__ == "numpy":
        return _tag("numpy", _scalar(value))
    if made := _PLAIN.get(kind):
        return made(value)
    if known := _ENCODERS.get(kind):
        name, make = known
        return _tag(name, make(value))
    raise TypeError(f"values of the type {kind.__module__}.{kind.__qualname__} are not kept")


def _tag(name: str, content: Any) -> dict[str, Any]:
    return {"$": name, "v": content}


def _text(value: str) -> Any:
    try:
        value.encode()
    except UnicodeEncodeError:  # lone surrogates are no text to others
        return _tag("text", _base64(value.encode("utf-8", "surrogatepass")))
    return value


def _int(value: int) -> Any:
    return value if value.bit_length() < 3 * _DIGITS else _tag("int", hex(value))


def _float(value: float) -> Any:
    return value if math.isfinite(value) else _tag("float", repr(value))


def _dict(value: dict[Any, Any]) -> Any:
    if "$" not in value and all(type(k) is str and _text(k) is k for k in value):
        return {k: encode(v) for k, v in value.items()}
    return _tag("dict", [[encode(k), encode(v)] for k, v in value.items()])


def _items(value: Any) -> list[Any]:
    return [encode(v) for v in value]


def _set(value: Any) -> list[Any]:
    """In the order of their texts: a set has none of its own, and equal sets give equal texts."""
    return sorted(_items(value), key=lambda v: json.dumps(v, sort_keys=True))


def _base64(value: Any) -> str:
    return base64.b64encode(value).decode()


def zone(value: tzinfo | None) -> Any:
    """A time zone as JSON: its name, or an offset in seconds.

    Raises:
        TypeError: it is neither.
    """
    if value is None:
        return None
    if isinstance(value, zoneinfo.ZoneInfo) and value.key:
        return value.key
    if type(value) is timezone and value == timezone(value.utcoffset(None)):
        named = value.tzname(None)
        usual = timezone(value.utcoffset(None)).tzname(None)
        offset = value.utcoffset(None).total_seconds()
        return {"offset": offset} if named == usual else {"offset": offset, "name": named}
    raise TypeError(f"time zones of the type {type(value).__module__}.{type(value).__qualname__} are not kept")


def _moment(value: datetime | time) -> dict[str, Any]:
    told: dict[str, Any] = {"at": value.replace(tzinfo=None, fold=0).isoformat()}
    if value.tzinfo is not None:
        told["zone"] = zone(value.tzinfo)
    return {**told, "fold": 1} if value.fold else told


def _timestamp(value: pd.Timestamp) -> dict[str, Any]:
    told = {"value": int(value.asm8.view("i8")), "unit": value.unit, "at": value.isoformat()}
    return told if value.tzinfo is None else {**told, "zone": zone(value.tzinfo)}


def _scalar(value: np.generic) -> dict[str, Any]:
    dtype = value.dtype
    content: Any
    if dtype.kind not in _ARRAYS:
        raise TypeError(f"NumPy values of the type {dtype} are not kept")
    if dtype.kind in "biu" or (dtype.kind == "f" and dtype.itemsize <= 8):
        content = encode(value.item())
    elif dtype.kind == "c" and dtype.itemsize <= 16:
        content = [encode(float(value.real)), encode(float(value.imag))]
    elif dtype.kind in "fc":
        parts: tuple[Any, ...] = (value.real, value.imag) if dtype.kind == "c" else (value,)
        content = [np.format_float_scientific(p, unique=True) for p in parts]
    elif dtype.kind in "mM":
        content = int(value.view("i8"))
    else:
        content = encode(value.item())
    return {"dtype": dtype.str, "value": content}


def _array(value: np.ndarray) -> dict[str, Any]:
    told: dict[str, Any] = {"dtype": value.dtype.str, "shape": list(value.shape)}
    if value.dtype.kind == "O":
        return {**told, "items": _items(value.ravel())}
    if value.dtype.kind not in _ARRAYS or value.dtype.itemsize > {"f": 8, "c": 16}.get(value.dtype.kind, 1 << 31):
        raise TypeError(f"arrays of the type {value.dtype} are not kept")
    return {**told, "bytes": _base64(np.ascontiguousarray(value).tobytes())}


_PLAIN: dict[type, Callable[[Any], Any]] = {str: _text, int: _int, float: _float, list: _items, dict: _dict}
_ENCODERS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    bytes: ("bytes", _base64),
    bytearray: ("bytearray", _base64),
    complex: ("complex", lambda v: [_float(v.real), _float(v.imag)]),
    Decimal: ("decimal", str),
    date: ("date", date.isoformat),
    datetime: ("datetime", _moment),
    time: ("time", _moment),
    timedelta: ("timedelta", lambda v: [v.days, v.seconds, v.microseconds]),
    tuple: ("tuple", _items),
    set: ("set", _set),
    frozenset: ("frozenset", _set),
    uuid.UUID: ("uuid", str),
    np.ndarray: ("array", _array),
    pd.Timestamp: ("Timestamp", _timestamp),
    pd.Timedelta: ("Timedelta", lambda v: {"value": int(v.asm8.view("i8")), "unit": v.unit}),
    pd.Period: ("Period", lambda v: {"ordinal": v.ordinal, "freq": v.freqstr, "at": str(v)}),
    pd.Interval: ("Interval", lambda v: {"left": encode(v.left), "right": encode(v.right), "closed": v.closed}),
}


# --- from JSON --------------------------------------------------------------------------------------------------
def decode(value: Any) -> Any:
    """The inverse of :func:`encode`; any error of a text that is not ours passes through."""
    if isinstance(value, list):
        return [decode(v) for v in value]
    if not isinstance(value, dict):
        return value
    if "$" not in value:
        return {k: decode(v) for k, v in value.items()}
    if value["$"] in {"NA", "NaT"}:
        return pd.NA if value["$"] == "NA" else pd.NaT
    return _DECODERS[value["$"]](value["v"])


def unzone(told: Any) -> tzinfo | None:
    """The inverse of :func:`zone`."""
    if told is None:
        return None
    if isinstance(told, str):
        return zoneinfo.ZoneInfo(told)
    offset = timedelta(seconds=told["offset"])
    if "name" in told:
        return timezone(offset, told["name"])
    return timezone(offset) if offset else timezone.utc  # noqa: UP017  (the constant is the same object)


def _known(options: tuple[str, ...], name: str) -> str:
    if name not in options:
        raise ValueError(f"{name!a} is none of {', '.join(options)}")
    return name


def _datetime(told: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(told["at"]).replace(tzinfo=unzone(told.get("zone")), fold=told.get("fold", 0))


def _time(told: dict[str, Any]) -> time:
    return time.fromisoformat(told["at"]).replace(tzinfo=unzone(told.get("zone")), fold=told.get("fold", 0))


def _counted(kind: str, told: dict[str, Any]) -> Any:
    """A number of units as NumPy's datetime64 or timedelta64."""
    return np.array(int(told["value"]), "i8").view(f"{kind}[{_known(_UNITS, told['unit'])}]")[()]


def _to_timestamp(told: dict[str, Any]) -> pd.Timestamp:
    moment = pd.Timestamp(_counted("M8", told))
    where = unzone(told.get("zone"))
    return moment if where is None else moment.tz_localize("UTC").tz_convert(where)


def _to_timedelta(told: dict[str, Any]) -> pd.Timedelta:
    return pd.Timedelta(_counted("m8", told))


def _to_interval(told: dict[str, Any]) -> pd.Interval:
    closed = _known(("left", "right", "both", "neither"), told["closed"])
    return pd.Interval(decode(told["left"]), decode(told["right"]), closed)  # type: ignore[arg-type]


def _dtype(name: str) -> np.dtype[Any]:
    dtype = np.dtype(str(name))
    if dtype.kind not in _ARRAYS or dtype.names is not None or dtype.subdtype is not None:
        raise ValueError(f"the dtype {name!a} is not kept")
    return dtype


def _to_scalar(told: dict[str, Any]) -> Any:
    dtype, content = _dtype(told["dtype"]), told["value"]
    if dtype.kind in "mM":
        return np.array(int(content), "i8").astype("i8").view(dtype)[()]
    if dtype.kind == "c" and dtype.itemsize <= 16:
        content = complex(decode(content[0]), decode(content[1]))
    elif isinstance(content, list):
        parts = [np.longdouble(p) for p in content]
        return dtype.type(parts[0]) if dtype.kind == "f" else _long_complex(parts)
    else:
        content = decode(content)
    if dtype.kind in "SU":
        return dtype.type(content)
    return np.array(content).astype(dtype.newbyteorder("="))[()]


def _long_complex(parts: list[np.longdouble]) -> Any:
    made = np.zeros((), np.clongdouble)
    made.real, made.imag = parts
    return made[()]


def _to_array(told: dict[str, Any]) -> np.ndarray:
    shape = tuple(int(n) for n in told["shape"])
    if "items" in told:
        made = np.empty(len(told["items"]), object)
        for i, item in enumerate(told["items"]):
            made[i] = decode(item)
        return made.reshape(shape)
    data = base64.b64decode(told["bytes"], validate=True)
    return np.frombuffer(data, _dtype(told["dtype"])).reshape(shape).copy()


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "text": lambda v: _from_base64(v).decode("utf-8", "surrogatepass"),
    "int": lambda v: int(v, 16),
    "float": float,
    "dict": lambda v: {decode(k): decode(item) for k, item in v},
    "bytes": _from_base64,
    "bytearray": lambda v: bytearray(_from_base64(v)),
    "complex": lambda v: complex(decode(v[0]), decode(v[1])),
    "decimal": Decimal,
    "date": date.fromisoformat,
    "datetime": _datetime,
    "time": _time,
    "timedelta": lambda v: timedelta(*map(int, v)),
    "tuple": lambda v: tuple(map(decode, v)),
    "set": lambda v: set(map(decode, v)),
    "frozenset": lambda v: frozenset(map(decode, v)),
    "uuid": uuid.UUID,
    "numpy": _to_scalar,
    "array": _to_array,
    "Timestamp": _to_timestamp,
    "Timedelta": _to_timedelta,
    "Period": lambda v: pd.Period(ordinal=int(v["ordinal"]), freq=str(v["freq"])),
    "Interval": _to_interval,
}


_SIMPLE = frozenset({int, str, bool, bytes, date})


# --- equality ---------------------------------------------------------------------------------------------------
def same(a: Any, b: Any) -> bool:
    """Whether two values are equal in value and type, all the way down; NaN equals NaN, 0.0 differs from -0.0.

    Decimals are equal when their values are, whatever their exponents.
    """
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if type(a) in _SIMPLE:
        return bool(a == b)
    if isinstance(a, pd.Timestamp):
        return dumps(a) == dumps(b)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(map(same, a, b)) and all(same(v, b[k]) for k, v in a.items())
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and all(map(same, a.ravel().tolist(), b.ravel().tolist()))
    if isinstance(a, float | np.floating):
        return bool((a != a and b != b) or (a == b and np.signbit(a) == np.signbit(b)))
    if isinstance(a, Decimal):
        return str(a) == str(b) or (a.is_finite() and a == b and a.is_signed() == b.is_signed())
    if isinstance(a, datetime | time):
        return a == b and str(a.tzinfo) == str(b.tzinfo) and a.fold == b.fold
    try:
        return dumps(a) == dumps(b)
    except TypeError:
        return bool(a == b)
