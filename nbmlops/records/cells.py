"""What is known of cells that ran: their executions, the verdict on them, and the certificate of a clean run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nbmlops.records.record import Record

VERDICTS = ("strongly valid", "weakly valid", "invalid", "unknown")
CERTIFIED = ("reproduced", "drifted", "not reproducible")


@dataclass(frozen=True)
class CellSession(Record):
    """One kernel or shell while it recorded its cells. ``frontend``: kernel, terminal or stage (papermill)."""

    session_id: str
    frontend: str
    notebook: str = ""
    kernel_id: str | None = None
    user: str = ""
    host: str = ""
    pid: int = 0
    run_id: str | None = None
    started_at: float = 0.0
    ended_at: float | None = None


@dataclass(frozen=True)
class CellTouch(Record):
    """Something an execution logged, read or made.

    ``kind`` is run, param, metric, tag, artifact, dataset or model; ``subject`` the run's id for the first five, else
    a reference such as ``dataset:sales@3``; ``name`` the key or path; ``mode`` read or write.
    """

    kind: str
    subject: str
    name: str = ""
    mode: str = "write"


@dataclass(frozen=True)
class CellExecution(Record):
    """One execution of a cell, as the journal keeps it.

    ``number`` counts the executions of its session from 1, in the order in which they began; ``count`` is the number
    in ``In [3]``. ``source`` is the text at that moment. ``status``: ok, error, interrupted, running, lost (the kernel
    died), or earlier (it ran before the recording began, and only its source is known). ``loaded``, ``stored`` and
    ``deleted`` are names of the notebook's namespace; the last two as seen in it. ``seconds`` is how long it took.
    """

    execution_id: str
    session_id: str
    number: int
    source: str
    cell_id: str | None = None
    count: int | None = None
    status: str = "ok"
    error: dict[str, Any] | None = None
    outputs: tuple[dict[str, Any], ...] = ()
    loaded: tuple[str, ...] = ()
    stored: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    started_at: float = 0.0
    seconds: float | None = None
    touched: tuple[CellTouch, ...] = ()

    @property
    def label(self) -> str:
        """How people find the cell: ``[3]`` as in ``In [3]``, else the number of the execution, ``#7``."""
        return f"[{self.count}]" if self.count is not None else f"#{self.number}"

    @property
    def runs(self) -> tuple[str, ...]:
        """The ids of the runs it was part of."""
        return tuple(dict.fromkeys(t.subject for t in self.touched if t.kind == "run"))


@dataclass(frozen=True)
class CellFinding(Record):
    """One reason of a verdict.

    ``level`` is the verdict it leads to: invalid, weakly valid or unknown. ``kind`` is a short fixed name
    (``edited``, ``deleted``, ``order``, ``repeated``, ``random``, …); ``cells`` are labels as people see them,
    ``[3]`` of an execution or ``cell 3`` of a file; ``names`` the variables concerned; ``mend`` what to do.
    """

    kind: str
    level: str
    cells: tuple[str, ...]
    what: str
    mend: str = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict(Record):
    """Would a clean run differ? One of ``VERDICTS``, with the reasons, the worst first.

    ``cells`` counts those of the notebook, ``ran`` those of them that ran: the verdict is on what these gave.
    """

    verdict: str
    findings: tuple[CellFinding, ...] = ()
    cells: int = 0
    notebook: str = ""
    ran: int = 0


@dataclass(frozen=True)
class Difference(Record):
    """Something a clean run gave differently: a metric, a data set, a model's predictions.

    ``kind`` is metric, param, dataset, model or missing; ``cells`` are the labels of the cells that made it.
    """

    kind: str
    name: str
    before: Any
    after: Any
    size: float | None = None
    cells: tuple[str, ...] = ()


@dataclass(frozen=True)
class Certificate(Record):
    """What became of a run when it was executed again in a fresh kernel.

    ``status`` is one of ``CERTIFIED``. ``how``: stage (its notebook), notebook (its cells from top to bottom) or
    journal (the cells in the order in which they ran). ``compared`` counts what was held against each other, by kind.
    ``error`` is the first cell that failed: ``cell``, ``name``, ``message``, ``why``. ``suspects`` are cells that may
    explain a difference, in words.
    """

    certificate_id: str
    run_id: str
    status: str
    how: str
    compared: dict[str, int] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()
    error: dict[str, Any] | None = None
    suspects: tuple[str, ...] = ()
    environment: dict[str, Any] = field(default_factory=dict)
    tolerance: float = 0.0
    seconds: float = 0.0
    user: str = ""
    at: float = 0.0

    @property
    def ref(self) -> str:
        return f"run:{self.run_id}"
