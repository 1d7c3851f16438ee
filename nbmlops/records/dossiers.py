"""Cards and dossiers of models: statements that lead to what shows them, or say that they are missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nbmlops.records.record import Record


@dataclass(frozen=True)
class Statement(Record):
    """One thing that is said, and ``source``: the reference of what shows it.

    Where nothing does, ``missing`` is true, ``text`` says what is missing, and ``write`` where a person may write it.
    ``table`` may hold rows that belong to it.
    """

    text: str
    source: str = ""
    missing: bool = False
    write: str = ""
    table: tuple[dict[str, Any], ...] = field(default=(), hash=False)


@dataclass(frozen=True)
class Section(Record):
    """Statements under a title; ``about`` says what belongs here."""

    title: str
    statements: tuple[Statement, ...] = ()
    about: str = ""


@dataclass(frozen=True)
class ModelCard(Record):
    """What somebody who uses a model must know. ``metadata`` is the header that model hubs read."""

    ref: str
    sections: tuple[Section, ...]
    metadata: dict[str, Any] = field(default_factory=dict)
    at: float = 0.0

    def missing(self) -> list[Statement]:
        """What must still be written or measured, each once."""
        return list(dict.fromkeys(s for section in self.sections for s in section.statements if s.missing))


@dataclass(frozen=True)
class Dossier(ModelCard):
    """Technical documentation, in the order of a regulation's annex."""

    order: str = ""
