"""Earlier versions of cells and variables, as the journal of cells has them."""

from __future__ import annotations

from dataclasses import dataclass

from nbmlops.records.record import Record


@dataclass(frozen=True)
class CellVersion(Record):
    """A cell's text as it was executed, the same text once however often it ran in a row.

    ``name`` is how the cell, or the variable, is called here, ``version`` counts its texts from 1. ``times`` is how
    often this one ran in a row; what follows is of the last time: ``label`` (``[3]``), ``status``, ``result`` (a short
    text of what it showed), ``started_at``, ``seconds``. ``runs`` are the ids of the runs it was part of, ``metrics``
    the keys that it logged. ``line`` is its first line of code; ``change`` has the lines that differ from the version
    before, marked ``-`` and ``+``. ``masked``: a secret stood in it, which was not kept. ``earlier``: of an earlier
    session.
    """

    name: str
    version: int
    source: str
    label: str
    times: int = 1
    status: str = "ok"
    result: str = ""
    started_at: float = 0.0
    seconds: float | None = None
    runs: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    change: str = ""
    line: str = ""
    masked: bool = False
    earlier: bool = False
    execution_id: str = ""

    @property
    def ref(self) -> str:
        """What ``%mlops restore`` takes."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class CellHistory(Record):
    """The versions of one cell or variable, the oldest first; the last ones, ``more`` older ones are left out."""

    kind: str
    name: str
    versions: tuple[CellVersion, ...] = ()
    more: int = 0
