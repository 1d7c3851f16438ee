"""What a notebook reads, writes and depends on, as far as its code says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Place = tuple[int, str]


@dataclass(frozen=True)
class Uses:
    """``reads`` and ``writes`` are references such as ``dataset:sales@3``; ``files`` are literal local paths.

    ``dynamic`` and ``impure`` tell the cell's number and, in words, what is not a literal there, and what depends on
    something that no fingerprint holds.
    """

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    dynamic: tuple[Place, ...] = ()
    impure: tuple[Place, ...] = ()


def uses(document: Mapping[str, Any]) -> Uses:
    """What the code cells read and write by a literal name, and what is not known or never the same."""
    return Uses()
