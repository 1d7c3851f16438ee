"""What is known of the surroundings in which something ran."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nbmlops.records.record import Finding, Record


@dataclass(frozen=True)
class Environment(Record):
    """Python, machine and distributions of a run. ``digest`` names the noted facts; ``facts`` are all of them.

    ``packages`` are all that were installed, by name; ``imported`` those whose modules the run had loaded, None where
    that was not noted. ``sources`` tell of those that came from no index: ``vcs``, ``url``, ``commit``; ``hashes``;
    ``editable``.
    """

    digest: str
    python: str
    implementation: str
    platform: str
    machine: str
    packages: dict[str, str]
    imported: tuple[str, ...] | None = None
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class EnvironmentCheck(Record):
    """An environment held against that of a run, a model version or a lock: what differs, the worst first.

    ``before`` says whose it was. ``ok`` if nothing differs that may change a result.
    """

    before: str
    findings: tuple[Finding, ...] = ()
    packages: int = 0
    at: float = 0.0

    @property
    def ok(self) -> bool:
        return all(f.level == "pass" for f in self.findings)
