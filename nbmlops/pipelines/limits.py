"""What an execution may take, and what it needs to have: times, memory, attempts, resources; how a file writes them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from nbmlops import clock

KEYS = ("retries", "timeout", "cell_timeout", "memory", "resources")
_SIZES = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]i?b)", re.IGNORECASE)
_TAG = re.compile(r"[A-Za-z][\w.\-]*")
LEAST_MEMORY = 50_000_000  # bytes; a bare kernel takes more


@dataclass(frozen=True)
class Limits:
    """Of one execution of a notebook. Times in seconds, memory in bytes.

    ``resources`` are amounts by tag (``gpu: 1``): of all that run at the same place, no more are taken than are there.
    """

    retries: int = 0
    timeout: float | None = None
    cell_timeout: float | None = None
    memory: int | None = None
    resources: dict[str, float] = field(default_factory=dict)


def size(value: Any) -> int:
    """``"2GB"``, ``"512 MiB"`` or a number of bytes.

    Raises:
        ValueError: it is none of these, or too little for any kernel.
    """
    total = 0.0
    if isinstance(value, int) and not isinstance(value, bool):
        total = value
    elif isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        total = float(match[1]) * _SIZES[match[2].lower()]
    if total <= 0:
        raise ValueError(f"{value!r} is not a size such as 2GB or 512MiB")
    if total < LEAST_MEMORY:
        raise ValueError(f"{value} is less than a kernel needs to start ({LEAST_MEMORY // 10**6} MB)")
    return int(total)


def read(given: dict[str, Any]) -> tuple[Limits, list[tuple[str, str]]]:
    """The limits a stage of a file has, and every fault with the key it is about."""
    faults: list[tuple[str, str]] = []
    found: dict[str, Any] = {}
    for key, take in (
        ("retries", _retries), ("timeout", _time), ("cell_timeout", _time), ("memory", size), ("resources", _resources)
    ):  # fmt: skip
        if given.get(key) is not None:
            try:
                found[key] = take(given[key])
            except ValueError as error:
                faults.append((key, f"{key}: {error}" if key != "retries" else str(error)))
    return Limits(**found), faults


def _retries(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 100:
        raise ValueError(f"retries must be a whole number from 0 to 100, not {value!r}")
    return value


def _time(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{value!r} has no unit; write {value}s, {value}m or {value}h")
    return clock.seconds_in(value)


def _resources(value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        raise ValueError(f"must be a mapping such as {{gpu: 1}}, not {value!r}")
    for tag, amount in value.items():
        if not isinstance(tag, str) or not _TAG.fullmatch(tag):
            raise ValueError(f"{tag!r} cannot be the name of a resource")
        if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 < amount < float("inf"):
            raise ValueError(f"{tag} needs an amount above zero, not {amount!r}")
    return {tag: float(amount) for tag, amount in value.items()}


def offered(text: str) -> dict[str, float]:
    """What the setting ``resources`` offers: ``"gpu=2, license=1"``.

    Raises:
        ValueError: an entry is not TAG=AMOUNT.
    """
    found: dict[str, float] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        tag, _, amount = entry.partition("=")
        try:
            found |= _resources({tag.strip(): float(amount)})
        except ValueError:
            raise ValueError(f"{entry!r} is not TAG=AMOUNT, such as gpu=1") from None
    return found
