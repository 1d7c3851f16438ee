"""What a notebook says about itself as a stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nbmlops.records.record import Record


@dataclass(frozen=True)
class StageContract(Record):
    """A stage as read from its notebook: what it takes, reads, writes and depends on. Nothing was executed for it.

    ``parameters`` have ``name``, ``type``, ``default`` (its code; None where a value is required), ``required`` and
    ``help``. ``files`` are paths as the code names them, from the notebook's folder. ``dynamic`` (what no literal
    names) and ``impure`` (what no fingerprint can hold, so that the stage is not reused) are (number of the cell, in
    words). ``modules`` maps project modules to digests of their code; ``distributions`` are the top-level names
    imported from elsewhere, ``packages`` the versions behind them where they were asked for.
    """

    notebook: str
    cells: tuple[Any, ...]
    parameters: tuple[dict[str, Any], ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    modules: dict[str, str] = field(default_factory=dict)
    distributions: tuple[str, ...] = ()
    packages: dict[str, str] = field(default_factory=dict)
    dynamic: tuple[tuple[int, str], ...] = ()
    impure: tuple[tuple[int, str], ...] = ()
