"""What became of a capsule."""

from __future__ import annotations

from dataclasses import dataclass, field

from nbmlops.records.record import Record
from nbmlops.records.upkeep import Merged


@dataclass(frozen=True)
class CapsuleReport(Record):
    """A run as one file: ``done`` is exported, imported, would import (a dry run), nothing new, or inspected.

    ``content`` is the hash of everything in the file. ``inside`` counts rows by table, ``files`` and ``bytes`` those of
    the capsule. ``without_data`` names the data set versions that are described, and whose data are not included.
    ``merged`` says what came, and under which numbers; ``event`` is the ledger's about it.
    """

    done: str
    path: str
    content: str
    run_id: str
    run: str
    inside: dict[str, int] = field(default_factory=dict)
    files: int = 0
    bytes: int = 0
    without_data: tuple[str, ...] = ()
    merged: Merged | None = None
    event: int | None = None
    at: float = 0.0

    @property
    def ref(self) -> str:
        return f"run:{self.run_id}"
