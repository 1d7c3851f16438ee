"""What a version is judged by before it may stand somewhere: gates, trials of the package, a rehearsal, its review."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

from nbmlops import settings
from nbmlops.evidence import Evidences
from nbmlops.models import Models
from nbmlops.policy import Policies
from nbmlops.promotion import standing, trials
from nbmlops.promotion.gates import Asked, Gates
from nbmlops.promotion.rehearsal import Rehearsal
from nbmlops.promotion.reviews import Reviews
from nbmlops.records import EnvironmentPolicy, Finding, ModelVersion, Review
from nbmlops.runs import Runs

FACTS = ("metrics", "params", "tags", "certificate", "flavor", "version", "evidence")
SERVICE = "service"  # the kind of evidence that a rehearsal leaves
_NEEDED = ("fastapi", "uvicorn", "orjson", "prometheus_client")


class Judging:
    """Everything that gives findings. ``policies`` tells the rules that hold now."""

    def __init__(
        self,
        models: Models,
        runs: Runs,
        evidence: Evidences,
        reviews: Reviews,
        policies: Callable[[], Policies],
    ) -> None:
        self.models = models
        self.runs = runs
        self.evidence = evidence
        self.reviews = reviews
        self.policies = policies

    def findings(
        self, version: ModelVersion, policy: EnvironmentPolicy, rules: list[str], reason: str = ""
    ) -> list[Finding]:
        """All of them, in the order in which they were found. What takes long is left out where something blocks.

        Args:
            version: a candidate for the environment.
            policy: the environment's.
            rules: further ones, of whoever asks.
            reason: why it is asked for, as the review tells.
        """
        gates = Gates(self.models, self.evidence, self._asked(version, policy))
        names = tuple(self.policies().environments)
        found = gates.rules([*policy.rules, *rules], lambda: self.facts(version), names)
        tried = trials.run(self.models, version)
        found += tried
        if not _blocks(tried):
            found += gates.on_rows()
        if policy.service and not _blocks(found) and settings.value("staging_service"):
            found += self._rehearsed(version, gates)
            written = self.reviews.write(version, policy.name, found, reason)
            found += [] if isinstance(written, Review) else [written]
        return found

    def _asked(self, version: ModelVersion, policy: EnvironmentPolicy) -> Asked:
        """What is held against what: the model that stands furthest along the chain counts as the one in production."""
        with self.models.store.read() as db:
            chain = [standing.standing(db, version.name, name) for name in self.policies().environments]
        number = next((n for n in chain[::-1] if n is not None and n != version.version), None)
        held = None if number is None else self.models.get(f"model:{version.name}@{number}")
        return Asked(version, policy, held, settings.project_root(), self.reviews.notebooks)

    def _rehearsed(self, version: ModelVersion, gates: Gates) -> list[Finding]:
        """The package as a service, in the environment of its run; all evidence, for whoever reads the review."""
        if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
            seen = f"not tested: {', '.join(missing)} not installed"
            return [Finding("service", "warn", "the packaged model is tried as a service", seen, _SERVE)]
        rows = gates.rows()
        if rows is None:
            return [Finding("service", "warn", "the packaged model is tried as a service", "there are no rows", "")]
        rehearsal = Rehearsal(self.models, version, rows)
        found = [*self._environment(version), *rehearsal.findings()]
        self.evidence.gather(version.ref)
        self.evidence.note(version, SERVICE, rehearsal.told)
        return found

    def _environment(self, version: ModelVersion) -> list[Finding]:
        """Whether the service runs with what the model was trained with; nothing where that was not noted."""
        from nbmlops.runs import environment

        run = self.runs.find(version.run_id) if version.run_id else None
        if run is None or run.environment is None:
            return []
        asked = "the service has the libraries of the training run"
        before = environment.read(self.runs.store, run.environment).facts
        # Last digits, as of other numbers of threads, are what the comparison of answers is for.
        differing = [f for f in environment.differences(before, environment.here()) if f.level == "block"]
        if not differing:
            return [Finding("service environment", "pass", asked, "nothing differs that could change results")]
        seen = "; ".join(f"{f.check}: {f.seen}" for f in differing[:4])
        hint = f"nbmlops run env {version.ref} -o lock.txt, then pip install -r lock.txt, and promote from there"
        return [Finding("service environment", "warn", asked, seen, hint)]

    # -- facts -----------------------------------------------------------------------------------------------------
    def facts(self, version: ModelVersion) -> dict[str, Any]:
        """What rules may speak of; an environment where no model stands is None."""
        run = self.runs.find(version.run_id) if version.run_id else None
        certificate = self.runs.certified_here(version.run_id) if version.run_id else None
        return {
            "metrics": version.metrics,
            "params": run.params if run else {},
            "tags": run.tags if run else {},
            # Given here, as the ledger tells: a tag anybody can set, and a file may bring whatever it likes.
            "certificate": certificate.status if certificate else "none",
            "flavor": version.flavor,
            "version": version.version,
            "evidence": self.evidence.facts(version.ref),
            **{name: self._standing(version.name, name) for name in self.policies().environments},
        }

    def _standing(self, name: str, environment: str) -> dict[str, Any] | None:
        with self.models.store.read() as db:
            number = standing.standing(db, name, environment)
        if number is None:
            return None
        held = self.models.get(f"model:{name}@{number}")
        return {"version": held.version, "metrics": held.metrics, "flavor": held.flavor}


_SERVE = "pip install nbmlops[serve], or set staging_service to false to leave it out"


def _blocks(findings: list[Finding]) -> bool:
    return any(f.level == "block" for f in findings)
