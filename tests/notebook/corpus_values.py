"""What a value is, as a text: equal for equal values and for nothing else, also of two processes."""

from __future__ import annotations

import datetime
import hashlib
import itertools
import random
import re
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

_PLAIN = (bool, int, str, bytes, complex, range, slice, datetime.date, datetime.time, datetime.timedelta)
# Not results: handles of something, records with ids and times, answers of the shell.
_HANDLES = ("nbmlops.", "sqlite3", "_io", "IPython.", "matplotlib.", "threading", "asyncio", "pathlib._local")
_DEEP = 12
_DURATION = re.compile(r"(fit|score|refit)_time")


def told(value: Any, depth: int = 0, seen: tuple[int, ...] = ()) -> str:
    """The text of a value. Floats to the last bit; sets in an order of their own; objects by their state."""
    kind = type(value)
    if value is None or value is Ellipsis or isinstance(value, _PLAIN) or kind.__module__ == "pathlib":
        return f"{kind.__name__}:{value!r}"
    if isinstance(value, float):
        return f"float:{value.hex()}"
    if depth > _DEEP or id(value) in seen or kind.__module__.startswith(_HANDLES):
        return f"<{kind.__name__}>"
    inner = _Inner(depth + 1, (*seen, id(value)))
    return f"{kind.__name__}({_parts(value, inner)})"


class _Inner:
    """Tells what lies inside a value."""

    def __init__(self, depth: int, seen: tuple[int, ...]) -> None:
        self.depth, self.seen = depth, seen

    def __call__(self, value: Any) -> str:
        return told(value, self.depth, self.seen)

    def all(self, values: Any) -> str:
        return ", ".join(map(self, values))

    def pairs(self, values: Any) -> str:
        """Without the durations that searches of scikit-learn keep."""
        return ", ".join(f"{self(k)}: {self(v)}" for k, v in values if not _DURATION.search(str(k)))


def _parts(value: Any, inner: _Inner) -> str:
    if isinstance(value, list | tuple):
        return inner.all(value)
    if isinstance(value, set | frozenset):
        return ", ".join(sorted(map(inner, value)))
    if isinstance(value, Mapping):
        return inner.pairs(value.items())
    if isinstance(value, pd.DataFrame):
        return inner.pairs((name, value.iloc[:, place]) for place, name in enumerate(value.columns))
    if isinstance(value, pd.Series | pd.Index):
        index = inner(value.index) if isinstance(value, pd.Series) else ""
        return f"{value.dtype} {inner(value.name)} {inner.all(value.tolist())} {index}"
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return f"{value.shape} {inner(value.tolist())}"
    if isinstance(value, np.ndarray | np.generic):
        return f"{value.dtype} {value.shape} {hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}"
    return _code(value, inner)


def _code(value: Any, inner: _Inner) -> str:
    if isinstance(value, types.ModuleType):
        return value.__name__
    if isinstance(value, types.FunctionType):
        kept = [cell.cell_contents for cell in value.__closure__ or ()]
        wrapped = getattr(value, "__wrapped__", None)
        return f"{_compiled(value.__code__)} {inner.all([value.__defaults__, value.__kwdefaults__, kept, wrapped])}"
    if isinstance(value, types.MethodType):
        return inner.all([value.__func__, value.__self__])
    if isinstance(value, types.GeneratorType | types.CoroutineType):
        frame = getattr(value, "gi_frame", None) or getattr(value, "cr_frame", None)
        return "ended" if frame is None else f"{frame.f_lasti} {inner(frame.f_locals)}"
    if isinstance(value, type):
        own = {k: v for k, v in vars(value).items() if not k.startswith("__") or k == "__init__"}
        return f"{value.__name__} {inner(own) if value.__module__ == '__main__' else ''}"
    if hasattr(value, "__wrapped__"):  # what a cache keeps is not seen
        return inner(value.__wrapped__)
    return _state(value, inner)


def _compiled(code: types.CodeType) -> str:
    parts = [_compiled(c) if isinstance(c, types.CodeType) else told(c) for c in code.co_consts]
    return hashlib.sha256(repr((code.co_code, code.co_names, code.co_varnames, parts)).encode()).hexdigest()


def _state(value: Any, inner: _Inner) -> str:
    if isinstance(value, np.random.Generator):
        return inner(value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return inner(value.get_state(legacy=False))
    if isinstance(value, random.Random):
        return inner(value.getstate())
    if isinstance(value, itertools.count):
        return repr(value)
    if isinstance(value, types.BuiltinFunctionType | types.MethodWrapperType):
        return value.__qualname__
    if hasattr(value, "__dict__") and type(value).__reduce__ is object.__reduce__:
        return inner(vars(value))
    try:
        made, state = value.__reduce_ex__(2)[:3][0], value.__reduce_ex__(2)[1:3]
    except Exception:  # cannot be told: taken for equal, as the type is
        return ""
    return f"{made.__qualname__} {inner(state)}"
