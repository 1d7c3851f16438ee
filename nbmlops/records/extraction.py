"""What became of an extraction: the stage that was written, and whether it was proved."""

from __future__ import annotations

from dataclasses import dataclass, field

from nbmlops.records.cells import Difference
from nbmlops.records.record import Record

PROOFS = ("proved", "differs", "failed", "not tried")


@dataclass(frozen=True)
class LiftedParameter(Record):
    """A literal that became a parameter. ``type`` and ``default`` are code, ``cell`` the label of where it stood."""

    name: str
    type: str
    default: str
    cell: str = ""
    help: str = ""


@dataclass(frozen=True)
class ReadTurned(Record):
    """A read of something outside that became a read of a snapshot. ``was`` is the code, ``ref`` the snapshot."""

    was: str
    ref: str
    cell: str = ""


@dataclass(frozen=True)
class Extracted(Record):
    """The minimal cells behind a result, as a stage.

    ``path`` is the notebook, or the pipeline file whose notebooks are in ``stages``. ``kept`` and ``dropped`` are the
    labels of executions in the order in which they ran. ``proof`` is one of ``PROOFS``: *proved* says that a clean run
    of the stage gave the same; *differs* that it gave something else, told in ``differences``; *failed* that it ended
    with ``error``. ``compared`` counts what was held against each other, by kind. ``unknown`` says, in words, where the
    analysis could not know; ``notes`` what else was decided.
    """

    what: str
    path: str
    kept: tuple[str, ...]
    dropped: tuple[str, ...]
    parameters: tuple[LiftedParameter, ...] = ()
    reads: tuple[ReadTurned, ...] = ()
    stages: tuple[str, ...] = ()
    proof: str = "not tried"
    compared: dict[str, int] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()
    error: str = ""
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    digest: str = ""
    seconds: float = 0.0

    @property
    def status(self) -> str:
        """The same as ``proof``."""
        return self.proof
