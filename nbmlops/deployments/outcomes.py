"""What really happened, against what the model predicts: which values can be feedback on which output."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

_PROBABILITY = "probability_"


def plain(value: Any) -> Any:
    """A NumPy scalar as Python's own; anything else as it is."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value


def checked(value: Any, signature: Mapping[str, Any]) -> tuple[Any, str | None]:
    """The value as it is kept, and what is needed instead if it cannot be an outcome of this model.

    Text is never a number. Numbers and truth values stand for a class that is called like them, because
    ``nbmlops feedback ID 1`` cannot tell 1 from ``"1"``.
    """
    outputs = {o["name"]: o for o in signature.get("outputs", ())}
    first = outputs.get("prediction") or outputs.get("prediction_0")
    if first is None:  # nothing is known about what the model gives
        return value, None
    classes = [name.removeprefix(_PROBABILITY) for name in outputs if name.startswith(_PROBABILITY)]
    if first["kind"] == "numeric":
        return (_class_number if classes or "int" in first["type"].lower() else _amount)(value, classes)
    if first["kind"] == "boolean":
        return _truth(value)
    return _label(value, classes) if first["kind"] in {"text", "categorical"} else (value, None)


def _finite(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # an integer beyond what a float holds
        return False


def _amount(value: Any, _classes: list[str]) -> tuple[Any, str | None]:
    return value, None if _finite(value) and not isinstance(value, bool) else "a finite number"


def _class_number(value: Any, classes: list[str]) -> tuple[Any, str | None]:
    """Truth values are 0 and 1. A class that training never saw may happen; half a class may not."""
    if not _finite(value):
        return value, f"a number, like {_some(classes)}" if classes else "a finite number"
    whole = classes and all(name.lstrip("-").removesuffix(".0").isdigit() for name in classes)
    return value, f"a class, like {_some(classes)}" if whole and value % 1 else None


def _truth(value: Any) -> tuple[Any, str | None]:
    known = {"True": True, "False": False}
    if isinstance(value, str) and value in known:
        return known[value], None
    fits = isinstance(value, bool) or (isinstance(value, int | float) and value in (0, 1))
    return (bool(value), None) if fits else (value, "true or false")


def _label(value: Any, classes: list[str]) -> tuple[Any, str | None]:
    if isinstance(value, str):
        return value, None if value.strip() else "the name of a class"
    for name in (str(value), json.dumps(value, default=str)):
        if name in classes:
            return name, None
    return value, f"text, like {_some(classes)}" if classes else "text"


def _some(classes: list[str]) -> str:
    return ", ".join(classes[:5]) + (", …" if len(classes) > 5 else "")
