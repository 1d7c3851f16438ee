"""What the upkeep of a store tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nbmlops.records.record import Finding, Record


@dataclass(frozen=True)
class GcReport(Record):
    """What clearing up deleted or would delete. ``young`` blobs are not needed either, but younger than ``grace`` s."""

    deleted: bool
    grace: float
    blobs: int
    bytes: int
    oldest: float | None
    examples: tuple[dict[str, Any], ...]
    leftovers: int
    leftover_bytes: int
    young: int
    needed: int
    damaged: int = 0


@dataclass(frozen=True)
class StoreCheck(Record):
    """Every stored object hashed again; the findings name what is damaged or missing, and what needs it."""

    blobs: int
    bytes: int
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        return not any(f.level == "block" for f in self.findings)


@dataclass(frozen=True)
class Renumbered(Record):
    """A version that has another number here: ``there`` in the other store, ``here`` in this one, as references.

    ``same`` says that it is not a version of its own here: this store had one with the same content.
    """

    there: str
    here: str
    version_id: str
    same: bool = False


@dataclass(frozen=True)
class Merged(Record):
    """What was taken over from another store, or, if ``dry_run``, would be.

    ``added``, ``updated`` and ``there`` count rows by kind ("runs", "data set versions", …). ``left_out`` says in words
    what did not come, and why. ``events`` counts those of the other ledgers; ``event`` is the one of ours about it.
    """

    origin: str
    store_id: str | None = None
    dry_run: bool = False
    added: dict[str, int] = field(default_factory=dict)
    updated: dict[str, int] = field(default_factory=dict)
    there: dict[str, int] = field(default_factory=dict)
    renumbered: tuple[Renumbered, ...] = ()
    blobs: int = 0
    bytes: int = 0
    events: int = 0
    left_out: tuple[str, ...] = ()
    event: int | None = None
    at: float = 0.0
