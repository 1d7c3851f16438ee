"""What a value is, as one short text: two values with the same fingerprint are equal bit for bit.

The value is walked as :mod:`copy` would take it apart; nothing is pickled, and nothing is loaded. Run in the user's
kernel and in the clean one.
"""

from __future__ import annotations

import hashlib
import io
import numbers
import types
from typing import Any

from nbmlops import lazy

_DEEPEST = 60


class Unfit(Exception):
    """A value that cannot be held against another. Caught in this room; the kernel of a proof tells it as a text."""


def of(value: Any) -> str:
    """The fingerprint, such as ``DataFrame 0f3a…``; a text that begins with ``?`` where there is none."""
    digest = hashlib.sha256()
    try:
        _feed(digest, value, ())
    except (Unfit, TypeError, ValueError, AttributeError, RecursionError) as error:
        return f"? {type(value).__name__}: {error}"
    return f"{type(value).__name__} {digest.hexdigest()}"


def shown(value: Any) -> Any:
    """A number as it is; of all else its type and shape."""
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value)
    shape = getattr(value, "shape", None)
    return f"{type(value).__name__}{list(shape) if isinstance(shape, tuple) else ''}"


def _feed(digest: Any, value: Any, path: tuple[int, ...]) -> None:
    """``path`` are the ids of what the value is part of."""
    if len(path) > _DEEPEST:
        raise Unfit("it is too deep")
    digest.update(f"\0{type(value).__module__}.{type(value).__qualname__}:".encode())
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | range | type(...)):
        digest.update(repr(value).encode("utf-8", "surrogatepass"))
        return
    if id(value) in path:
        digest.update(f"again {len(path) - path.index(id(value))}".encode())
        return
    if isinstance(value, list | tuple):
        parts: list[Any] = list(value)
    elif isinstance(value, dict):
        parts = [part for item in value.items() for part in item]
    elif isinstance(value, set | frozenset):
        parts = sorted(of(part) for part in value)
    else:
        parts = _parts(digest, value)
    for part in parts:
        _feed(digest, part, (*path, id(value)))


def _parts(digest: Any, value: Any) -> list[Any]:
    """What an object consists of; the bytes of frames, arrays and figures go straight into the digest."""
    if lazy.is_instance(value, "pandas", "DataFrame") or lazy.is_instance(value, "pandas", "Series"):
        return _of_pandas(digest, value)
    if lazy.is_instance(value, "numpy", "ndarray"):
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        if value.dtype.hasobject:
            return list(value.ravel().tolist())
        digest.update(value.tobytes())
        return []
    if lazy.is_instance(value, "matplotlib.figure", "Figure"):
        buffer = io.BytesIO()
        value.savefig(buffer, format="png", metadata={"Software": None})
        digest.update(buffer.getvalue())
        return []
    if isinstance(value, types.FunctionType):
        return [value.__code__.co_code, value.__code__.co_names, value.__defaults__]
    if isinstance(value, type | types.ModuleType | types.BuiltinFunctionType):
        return [value.__name__]
    return _reduced(value)


def _of_pandas(digest: Any, value: Any) -> list[Any]:
    pandas = lazy.loaded("pandas")
    hashed = pandas.util.hash_pandas_object(value, index=True)
    digest.update(hashed.to_numpy().tobytes())
    if hasattr(value, "columns"):
        return [list(map(str, value.columns)), list(map(str, value.dtypes)), str(value.index.dtype)]
    return [str(value.name), str(value.dtype), str(value.index.dtype)]


def _reduced(value: Any) -> list[Any]:
    """An object as ``copy`` takes it apart: its class, arguments and state."""
    reduced = value.__reduce_ex__(4)
    if isinstance(reduced, str):
        return [reduced]
    maker, arguments, *more = reduced
    state = more[0] if more else None
    items = [list(part) for part in more[1:3] if part is not None]
    return [getattr(maker, "__qualname__", str(maker)), arguments, state, *items]
