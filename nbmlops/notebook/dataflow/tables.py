"""Tables written as words."""

from __future__ import annotations


def words(text: str) -> frozenset[str]:
    """A set of words, written one behind the other."""
    return frozenset(text.split())
