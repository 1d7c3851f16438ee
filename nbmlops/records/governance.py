"""What decisions rest on: evidence, reviews, approvals with their votes, and the rules of environments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nbmlops.records.record import Finding, Record

_FIGURES = 4  # that a line about evidence shows


@dataclass(frozen=True)
class Evidence(Record):
    """One kind of evidence of a model version: what was measured, and the files (by name, as digests) that show it.

    ``status``: done; skipped, where there is nothing to measure, and ``report["reason"]`` says why; failed, with
    ``report["error"]``; waiting, while it is measured elsewhere. ``seconds`` is what it cost.
    """

    model: str
    version: int
    kind: str
    status: str
    report: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    seconds: float | None = None
    user: str = ""
    at: float = 0.0

    @property
    def ref(self) -> str:
        return f"model:{self.model}@{self.version}"

    @property
    def summary(self) -> str:
        """What it comes to in a line: why there is nothing, or the first figures, with their intervals."""
        if told := self.report.get("reason") or self.report.get("error"):
            return str(told)
        figures = []
        for name, value in self.report.items():
            if isinstance(value, dict) and {"value", "low", "high"} <= value.keys():
                figures.append(f"{name} {value['value']:.4g} ({value['low']:.4g} … {value['high']:.4g})")
            elif isinstance(value, int | float) and not isinstance(value, bool):
                figures.append(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}")
        return ", ".join(figures[:_FIGURES])


@dataclass(frozen=True)
class EnvironmentPolicy(Record):
    """The rules of one environment, as ``nbmlops.toml`` gives them.

    ``approvers`` is how many persons must approve (0: none), each with one of ``roles`` if there are any; with
    ``four_eyes`` neither who registered the version nor who asked may be one of them. An approval that is not complete
    after ``expires`` seconds ends. ``shadow`` and ``canary`` are the shares of requests that a version waiting for its
    approval also answers unseen, or answers.

    ``gate`` is a notebook that judges too, ``golden`` names rows with the answers that are expected, ``expectations``
    has what must not matter and what must point one way, ``robustness`` tries strange rows. ``compare`` is the score in
    which the version must not be worse than the one in production on the same rows ("off": no comparison), ``margin``
    what still counts as equal, ``undecided`` the level where that cannot be told.
    """

    name: str
    after: str | None = None
    approvers: int = 0
    roles: tuple[str, ...] = ()
    four_eyes: bool = False
    expires: float | None = None
    rules: tuple[str, ...] = ()
    gate: str | None = None
    service: bool = False
    shadow: float = 0.0
    canary: float = 0.0
    robustness: bool = False
    compare: str | None = None
    margin: float = 0.0
    undecided: str = "warn"
    expectations: tuple[dict[str, Any], ...] = ()
    golden: str | None = None


@dataclass(frozen=True)
class Identity(Record):
    """Who acts, how that is known (``key``, ``jupyterhub``, ``setting`` or ``os``) and in which roles."""

    user: str
    how: str
    key: str | None = None
    roles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Vote(Record):
    """One person's word on an open approval: approve or reject; ``identity`` tells how it is known who that was."""

    decision: str
    user: str
    identity: str
    roles: tuple[str, ...] = ()
    reason: str = ""
    at: float = 0.0
    event: int | None = None


@dataclass(frozen=True)
class Approval(Record):
    """A promotion that waits for persons, or waited: ``status`` open, approved, rejected, expired or withdrawn."""

    approval_id: str
    model: str
    version: int
    environment: str
    status: str
    reason: str
    user: str
    at: float
    required: int = 1
    roles: tuple[str, ...] = ()
    four_eyes: bool = False
    votes: tuple[Vote, ...] = ()
    expires_at: float | None = None
    findings: tuple[Finding, ...] = ()
    review: str | None = None

    @property
    def ref(self) -> str:
        return f"model:{self.model}@{self.version}"


@dataclass(frozen=True)
class Review(Record):
    """The tests of an environment on one version, as an executed notebook and as a page (digests of both)."""

    review_id: str
    model: str
    version: int
    environment: str
    status: str
    findings: tuple[Finding, ...] = ()
    notebook: str = ""
    page: str | None = None
    user: str = ""
    at: float = 0.0

    @property
    def ref(self) -> str:
        return f"model:{self.model}@{self.version}"


@dataclass(frozen=True)
class Exported(Record):
    """A version written out: ``files`` by their paths in ``folder``; ``onnx`` proved or refused, and ``reason`` why."""

    ref: str
    folder: str
    format: str
    files: tuple[str, ...]
    onnx: str
    reason: str = ""
