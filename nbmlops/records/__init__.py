"""Frozen records: what every verb returns. No HTML, no store, no I/O of their own.

Records that can fetch more (a data set's frame, a run's artifact) carry the desk that made them in a hidden field.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from nbmlops import clock
from nbmlops.records.capsules import CapsuleReport
from nbmlops.records.cells import (
    CellExecution,
    CellFinding,
    CellSession,
    CellTouch,
    Certificate,
    Difference,
    Verdict,
)
from nbmlops.records.datasets import DatasetDiff, DatasetProfile, DatasetUse, DatasetVersion
from nbmlops.records.dossiers import Dossier, ModelCard, Section, Statement
from nbmlops.records.environments import Environment, EnvironmentCheck
from nbmlops.records.events import Event
from nbmlops.records.extraction import Extracted, LiftedParameter, ReadTurned
from nbmlops.records.governance import Approval, EnvironmentPolicy, Evidence, Exported, Identity, Review, Vote
from nbmlops.records.history import CellHistory, CellVersion
from nbmlops.records.quality import ContractReport, Duplicates, LabelReport, Leakage, Violation
from nbmlops.records.record import Finding, Record, plain
from nbmlops.records.record import Timed as _Timed
from nbmlops.records.stages import StageContract
from nbmlops.records.upkeep import GcReport, Merged, Renumbered, StoreCheck

__all__ = [
    "Approval",
    "Artifact",
    "CapsuleReport",
    "CellExecution",
    "CellFinding",
    "CellHistory",
    "CellSession",
    "CellTouch",
    "CellVersion",
    "Certificate",
    "ContractReport",
    "DatasetDiff",
    "DatasetProfile",
    "DatasetUse",
    "DatasetVersion",
    "Diagnosis",
    "Difference",
    "Dossier",
    "Duplicates",
    "Environment",
    "EnvironmentCheck",
    "EnvironmentPolicy",
    "Event",
    "Evidence",
    "Experiment",
    "Exported",
    "Extracted",
    "Finding",
    "Flow",
    "GcReport",
    "Identity",
    "LabelReport",
    "Leakage",
    "LiftedParameter",
    "Lineage",
    "LineageNode",
    "Merged",
    "ModelCard",
    "ModelVersion",
    "MonitorReport",
    "Plan",
    "PlannedStage",
    "Predictions",
    "Promotion",
    "ReadTurned",
    "Record",
    "Renumbered",
    "Review",
    "Run",
    "Section",
    "StageContract",
    "StageRun",
    "Statement",
    "StoreCheck",
    "StoreInfo",
    "Verdict",
    "Violation",
    "Vote",
    "plain",
]


@dataclass(frozen=True)
class Experiment(Record):
    """A named group of runs."""

    experiment_id: str
    name: str
    created_at: float
    tags: dict[str, str] = field(default_factory=dict)
    runs: int = 0


@dataclass(frozen=True)
class Artifact(Record):
    """A file kept with a run; ``digest`` names its blob."""

    path: str
    digest: str
    bytes: int
    media_type: str
    created_at: float


@dataclass(frozen=True)
class Run(_Timed):
    """One tracked execution. Metrics are the latest values; NaN and infinities are kept as they are.

    ``verdict`` says whether a clean run of its notebook would give the same: :class:`Verdict` as a dictionary.
    ``cells`` are those of the run in a few words each, see :func:`nbmlops.cells.brief.brief`.
    """

    run_id: str
    name: str
    experiment: str
    status: str
    started_at: float
    ended_at: float | None = None
    user: str = ""
    host: str = ""
    kind: str = "run"
    parent_id: str | None = None
    description: str = ""
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    artifacts: tuple[Artifact, ...] = ()
    datasets: tuple[str, ...] = ()
    source: dict[str, Any] = field(default_factory=dict)
    git: dict[str, Any] | None = None
    environment: str | None = None
    error: dict[str, Any] | None = None
    verdict: dict[str, Any] | None = None
    cells: tuple[dict[str, Any], ...] = ()
    certificate: Certificate | None = None
    experiment_id: str = field(default="", repr=False)
    artifact_uri: str = field(default="", repr=False)

    @property
    def ref(self) -> str:
        return f"run:{self.run_id}"

    @property
    def short_id(self) -> str:
        """The end of the id, which is enough to find the run again in all but the largest stores."""
        return self.run_id[-6:]

    @property
    def info(self) -> SimpleNamespace:
        """MLflow's names for these facts: ``run_id run_name status start_time end_time user_id …``; times in ms."""
        return SimpleNamespace(
            run_id=self.run_id,
            run_uuid=self.run_id,
            run_name=self.name,
            experiment_id=self.experiment_id,
            status=self.status,
            start_time=int(self.started_at * 1000),
            end_time=None if self.ended_at is None else int(self.ended_at * 1000),
            user_id=self.user,
            lifecycle_stage="active",
            artifact_uri=self.artifact_uri,
        )

    @property
    def data(self) -> SimpleNamespace:
        """``params``, ``metrics`` and ``tags``, where MLflow keeps them."""
        return SimpleNamespace(params=self.params, metrics=self.metrics, tags=self.tags)


@dataclass(frozen=True)
class ModelVersion(Record):
    """One registered, immutable model package. ``version`` 0 is a sweep's candidate, registered only if it wins."""

    name: str
    version: int
    flavor: str
    package: str
    signature: dict[str, Any]
    metrics: dict[str, float] = field(default_factory=dict)
    datasets: tuple[str, ...] = ()
    run_id: str | None = None
    aliases: tuple[str, ...] = ()
    description: str = ""
    user: str = ""
    bytes: int = 0
    created_at: float = 0.0
    profile: str | None = field(default=None, repr=False)
    certificate: Certificate | None = None
    _desk: Any = field(default=None, repr=False, compare=False)

    @property
    def ref(self) -> str:
        return (
            f"model:{self.name}@{self.version}"
            if self.version
            else f"model:{self.name} (candidate of run {self.run_id})"
        )

    def load(self, trusted: tuple[str, ...] = (), *, trust: bool = False) -> Any:
        """The model object; ``trusted`` names further types to allow in this call, ``trust`` lets it run any code."""
        return self._desk.load(self.ref, trusted=trusted, trust=trust)


@dataclass(frozen=True)
class Promotion(Record):
    """The outcome of promote, approve, reject or rollback.

    ``status``: promoted, waiting, approved, rejected or rolled back. ``approved_by`` has who has approved so far,
    of as many as are ``required``; ``review`` is the id of the environment's review.
    """

    model: str
    version: int
    environment: str
    status: str
    reason: str
    user: str
    previous: int | None = None
    findings: tuple[Finding, ...] = ()
    approval_id: str | None = None
    event: int | None = None
    at: float = 0.0
    approved_by: tuple[str, ...] = ()
    required: int = 0
    review: str | None = None

    @property
    def ref(self) -> str:
        return f"model:{self.model}@{self.version}"


FIRST_TIME = ("never run", "not run before")  # why a stage or one of its candidates runs that never has


@dataclass(frozen=True)
class StageRun(_Timed):
    """One notebook executed as a stage. ``executed`` is the digest of the executed notebook, kept pass or fail.

    ``why`` says why it was executed, or is empty; ``reused`` that a flow took this earlier result, and executed
    nothing. ``results`` is what it handed on with ``output``; ``reason`` why it ended early (status SKIPPED).
    ``peak_memory`` is in bytes, of the kernel and its children.
    """

    run_id: str
    stage: str
    notebook: str
    status: str
    params: dict[str, Any] = field(default_factory=dict)
    pins: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    executed: str | None = None
    attempt: int = 1
    cells_done: int = 0
    cells: int = 0
    started_at: float = 0.0
    ended_at: float | None = None
    error: dict[str, Any] | None = None
    flow_id: str | None = None
    label: str = ""
    why: tuple[str, ...] = ()
    results: dict[str, Any] = field(default_factory=dict)
    reused: bool = False
    reason: str | None = None
    worker: str | None = None
    peak_memory: int | None = None

    @property
    def ref(self) -> str:
        return f"run:{self.run_id}"


@dataclass(frozen=True)
class Flow(_Timed):
    """One execution of a pipeline: its stages, what it wrote and what was decided about the model."""

    flow_id: str
    name: str
    path: str
    status: str
    params: dict[str, Any] = field(default_factory=dict)
    stages: tuple[StageRun, ...] = ()
    outputs: dict[str, int] = field(default_factory=dict)
    promotion: Promotion | None = None
    decision: dict[str, Any] | None = None
    trigger: dict[str, Any] = field(default_factory=dict)
    user: str = ""
    started_at: float = 0.0
    ended_at: float | None = None
    error: dict[str, Any] | None = None

    @property
    def ref(self) -> str:
        return f"flow:{self.flow_id}"


@dataclass(frozen=True)
class PlannedStage(Record):
    """One line of a plan: the stage, what it waits for, and how many notebook runs it means.

    ``state``: fresh (its earlier result is still right, nothing would run), stale, always (it is never reused), or
    waits (that depends on what the stages before it write). ``why`` says so in words.
    """

    stage: str
    notebook: str
    needs: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    runs: int
    params: dict[str, Any] = field(default_factory=dict)
    state: str = "stale"
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan(Record):
    """The stages of a pipeline in the order in which they would run."""

    name: str
    path: str
    stages: tuple[PlannedStage, ...]


@dataclass(frozen=True)
class Predictions(Record):
    """The answer of a batch prediction: a frame with ``prediction_id`` and outputs, recorded under ``batch_id``."""

    batch_id: str
    model: str
    rows: int
    out: str | None = None
    frame: Any = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class MonitorReport(Record):
    """A window of predictions against the training profile. ``status``: ok, warn, alert or no data."""

    report_id: str
    model: str
    version: int
    status: str
    rows: int
    since: float | None
    until: float | None
    findings: tuple[Finding, ...]
    drift: tuple[dict[str, Any], ...] = ()
    performance: dict[str, Any] = field(default_factory=dict)
    alert_id: str | None = None
    at: float = 0.0

    @property
    def ref(self) -> str:
        return f"model:{self.model}@{self.version}"


@dataclass(frozen=True)
class LineageNode(Record):
    """One thing in a lineage tree, with what lies behind it, or, in a tree of what followed, what came of it."""

    ref: str
    kind: str
    title: str
    facts: dict[str, Any] = field(default_factory=dict)
    behind: tuple[LineageNode, ...] = ()


@dataclass(frozen=True)
class Lineage(Record):
    """Everything behind a reference, back to the data and the cells that made it; or ``after`` it."""

    root: LineageNode
    direction: str = "behind"

    def nodes(self) -> list[LineageNode]:
        """All nodes, the root first, each once."""
        found: dict[str, LineageNode] = {}
        todo = [self.root]
        while todo:
            node = todo.pop(0)
            found.setdefault(node.ref, node)
            todo.extend(node.behind)
        return list(found.values())


@dataclass(frozen=True)
class StoreInfo(Record):
    """Where things are kept, and each setting with its origin."""

    url: str
    artifacts: str
    schema: str
    journal_mode: str
    counts: dict[str, int]
    settings: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Diagnosis(Record):
    """The doctor's findings about this machine and store."""

    findings: tuple[Finding, ...]
    python: str
    version: str
    at: float = field(default_factory=clock.now)
