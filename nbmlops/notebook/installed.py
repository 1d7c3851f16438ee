"""Exact versions of installed distributions, fast."""

from __future__ import annotations

from collections.abc import Iterable


def versions(top_level_names: Iterable[str]) -> dict[str, str]:
    """Versions of the distributions that provide these modules, and of all they require; ``python`` and ``nbmlops``."""
    return {}
