"""What the upkeep of a store tells."""

from __future__ import annotations

from dataclasses import dataclass
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
