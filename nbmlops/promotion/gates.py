"""The gates of an environment: everything that is judged about a version before it may stand there.

Rules over facts and evidence, the model in production on the same rows, strange rows, written expectations, and
notebooks that judge. Each answer is a finding. Nothing is changed, but for evidence that a rule needs: it is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbmlops import rules as grammar
from nbmlops.errors import InvalidValue, NbmlopsError, StageFailed
from nbmlops.evidence import KINDS, Evidences
from nbmlops.models import Models
from nbmlops.promotion import expectations, robustness
from nbmlops.promotion.reviews import Notebooks
from nbmlops.records import EnvironmentPolicy, Finding, ModelVersion

if TYPE_CHECKING:
    import pandas as pd

    from nbmlops.evidence import Evaluation
    from nbmlops.stats.comparison import Comparison


@dataclass(frozen=True)
class Asked:
    """Which version is to stand where, what stands in production, and who can execute a gate's notebook."""

    version: ModelVersion
    policy: EnvironmentPolicy
    standing: ModelVersion | None
    root: Path
    notebooks: Notebooks | None = None


class Gates:
    """All gates of one request."""

    def __init__(self, models: Models, evidence: Evidences, asked: Asked) -> None:
        self.models = models
        self.evidence = evidence
        self.asked = asked
        self._compared: dict[tuple[str | None, float], Comparison] = {}

    # -- rules -----------------------------------------------------------------------------------------------------
    def rules(
        self, asked: list[str], facts: Callable[[], Mapping[str, Any]], environments: tuple[str, ...]
    ) -> list[Finding]:
        """One finding per rule. Evidence that a rule speaks of is measured, if it was not yet."""
        if not asked:
            return []
        ref = self.asked.version.ref
        if needed := [kind for kind in grammar.facts_below(asked, "evidence") if kind in KINDS]:
            self.evidence.gather(ref, needed)
        known = facts()
        why = _unmeasured(known["evidence"], {e.kind: e.report for e in self.evidence.of(ref)})
        return grammar.judge(asked, {**known, "evidence": {**known["evidence"], **why}}, environments, self._verdict)

    def _verdict(self, metric: str, margin: float) -> tuple[str, str] | None:
        if self.asked.standing is None:
            return None
        found = self.comparison(metric, margin)
        return found.verdict, found.words()

    # -- on the rows that it is judged by -----------------------------------------------------------------------------
    def on_rows(self) -> list[Finding]:
        """What needs the packaged model to answer: comparison, strange rows, expectations, golden rows, a notebook."""
        policy = self.asked.policy
        rows = self.rows()
        found = self._against_production()
        if policy.robustness and rows is not None:
            found += robustness.findings(self.asked.version, rows, self._predict)
        if policy.expectations and rows is None:
            found += [Finding("expectations", "block", "rows to judge them on", "there are none", _GIVE_ROWS)]
        elif rows is not None:
            found += expectations.findings(policy.expectations, rows, self._predict)
        if policy.golden is not None:
            found.append(expectations.golden(policy.golden, self.asked.root, self._load, self._predict))
        return found + (self._notebook(policy.gate) if policy.gate is not None else [])

    def comparison(self, metric: str | None, margin: float) -> Comparison:
        """The version against the one in production, on the version's frozen rows; computed once.

        Raises:
            InvalidValue: there are no such rows, or the model in production cannot take them.
        """
        from nbmlops.stats.comparison import compare

        key = metric, margin
        if key not in self._compared:
            rows, standing = self._judged(), self.asked.standing
            if standing is None:
                raise InvalidValue("nothing stands in production", "there is nothing to compare with")
            old = self.models.predict_frame(standing.ref, rows.inputs)
            self._compared[key] = compare(rows.actual, rows.outputs, old, rows.task, metric=metric, margin=margin)
        return self._compared[key]

    def _judged(self) -> Evaluation:
        rows = self.evidence.evaluation(self.asked.version.ref)
        if rows is None or "prediction" not in rows.outputs:
            raise InvalidValue("no test data were kept with this version", _GIVE_ROWS)
        return rows

    def _against_production(self) -> list[Finding]:
        policy, standing = self.asked.policy, self.asked.standing
        if standing is None or policy.compare == "off":
            return []
        asked = f"not worse than {standing.ref}, which is in production"
        if policy.compare is not None:
            asked += f", in {policy.compare}" + (f" by more than {policy.margin:g}" if policy.margin else "")
        try:
            found = self.comparison(policy.compare, policy.margin)
        except NbmlopsError as error:
            seen = f"cannot be compared: {error.message} {'; '.join(expectations.error_faults(error))}".strip()
            level = "warn" if policy.compare is None else "block"
            return [Finding("production", level, asked, seen, error.hint)]
        level, hint = _LEVELS[found.verdict] if found.verdict != "cannot tell" else (policy.undecided, _UNDECIDED)
        return [Finding("production", level, asked, found.words(), hint)]

    # -- a notebook ------------------------------------------------------------------------------------------------
    def _notebook(self, path: str) -> list[Finding]:
        """The findings of a notebook that is executed with the parameters ``model`` and ``environment``."""
        asked = f"{path} finds nothing against it"
        if self.asked.notebooks is None:
            return [Finding("gate", "block", asked, "no notebook can be executed here", "promote it from a workspace")]
        given = {"model": self.asked.version.ref, "environment": self.asked.policy.name}
        try:
            told = self.asked.notebooks(str(self.asked.root / path), given).results.get("findings")
        except StageFailed as error:
            return [Finding("gate", "block", asked, error.message, error.hint)]
        except NbmlopsError as error:
            seen = f"{error.message} {'; '.join(expectations.error_faults(error))}".strip()
            return [Finding("gate", "block", asked, seen, error.hint)]
        if not told:
            hint = "say what it saw: nbmlops.finding(check, level, asked, seen)"
            return [Finding("gate", "warn", asked, "it ended well, and reported nothing", hint)]
        return [Finding(**one) for one in told]

    # -- inside ----------------------------------------------------------------------------------------------------
    def rows(self) -> pd.DataFrame | None:
        """Rows to try: those it is judged by, else a sample of training, else the example."""
        kept = self.evidence.evaluation(self.asked.version.ref)
        if kept is not None:
            return kept.inputs
        version = self.asked.version
        sample = self.models.training_sample(version)
        rows = self.models.input_example(version)[0] if sample is None else sample
        width = len(version.signature["inputs"])
        return rows.iloc[:, :width] if len(rows) else None

    def _predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        return self.models.predict_frame(self.asked.version.ref, rows)

    def _load(self, source: str) -> pd.DataFrame:
        from nbmlops.frames.tables import read_table

        if source.startswith("dataset:"):
            return self.models.datasets.load(source)
        return read_table(source, self.asked.version.signature)


_GIVE_ROWS = "register_model(…, test_data=(X_test, y_test)) keeps the rows that a version is judged by"
_UNDECIDED = "more test rows tell smaller differences; a margin says what is still equal"
_LEVELS = {
    "better": ("pass", ""),
    "not worse": ("pass", ""),
    "worse": ("block", "improve the model; the rows where it errs are in its evidence (slices)"),
}


def _unmeasured(facts: Mapping[str, Any], reports: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Why a kind could not be measured, as a fact: a text, which no rule can pass over."""
    why = {kind: r.get("reason") or r.get("error") for kind, r in reports.items() if kind not in facts}
    return {kind: text for kind, text in why.items() if text}
