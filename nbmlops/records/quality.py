"""Records about the quality of data: contracts kept or broken, equal rows, leakage, suspected labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nbmlops.records.record import Finding, Record


@dataclass(frozen=True)
class Violation(Record):
    """One rule of a contract that data break. ``examples`` are up to five ``{"row": number, "value": …}``.

    Rows count from 0. ``rows`` is None for a rule about the table as a whole, such as a missing column.
    """

    column: str
    rule: str
    asked: str
    seen: str
    rows: int | None = None
    share: float | None = None
    examples: tuple[dict[str, Any], ...] = ()
    hint: str = ""

    def line(self) -> str:
        """The violation in one line, examples included."""
        where = f"column {self.column!r}: " if self.column else ""
        shown = ", ".join(f"row {e['row']}" + (f" {e['value']!r}" if "value" in e else "") for e in self.examples)
        return f"{where}{self.asked}; {self.seen}" + (f" ({shown})" if shown else "")


@dataclass(frozen=True)
class ContractReport(Record):
    """Data against a contract: every violation at once. ``status`` is ``pass``, ``warn`` or ``block``."""

    contract: str
    subject: str
    status: str
    rows: int
    rules: int
    violations: tuple[Violation, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is violated, whatever a violation would mean."""
        return not self.violations

    @property
    def findings(self) -> tuple[Finding, ...]:
        """One finding per violation, or one that passed."""
        if self.ok:
            seen = f"{self.rules} rules hold in {self.rows:,} rows"
            return (Finding(f"contract {self.contract}", "pass", "the contract holds", seen),)
        return tuple(
            Finding(f"contract.{v.rule}", self.status, v.asked if not v.column else f"{v.column}: {v.asked}",
                    v.seen + "".join(f"; row {e['row']}: {e['value']!r}" for e in v.examples if "value" in e), v.hint)
            for v in self.violations
        )  # fmt: skip


@dataclass(frozen=True)
class Duplicates(Record):
    """Rows that are there more than once. ``rows_more`` counts the repetitions, ``groups`` the distinct rows repeated.

    ``examples`` holds up to five groups as row numbers from 0, the largest group first, ten rows of each.
    """

    subject: str
    rows: int
    rows_more: int
    groups: int
    columns: tuple[str, ...] = ()
    examples: tuple[tuple[int, ...], ...] = ()

    @property
    def ok(self) -> bool:
        return not self.rows_more


@dataclass(frozen=True)
class Leakage(Record):
    """Rows of ``other`` that are in ``train`` too, and rows with the same features and another label.

    ``examples`` are pairs (row of train, row of other), from 0, as are ``examples_relabelled``. ``left_out`` names
    the columns that could not be compared and why.
    """

    train: str
    other: str
    rows_train: int
    rows_other: int
    shared: int
    relabelled: int = 0
    columns: tuple[str, ...] = ()
    label: str | None = None
    left_out: dict[str, str] = field(default_factory=dict)
    examples: tuple[tuple[int, int], ...] = ()
    examples_relabelled: tuple[tuple[int, int], ...] = ()

    @property
    def ok(self) -> bool:
        return not self.shared and not self.relabelled

    @property
    def share(self) -> float:
        """The share of the other's rows that are in train too, between 0 and 1."""
        return self.shared / self.rows_other if self.rows_other else 0.0


@dataclass(frozen=True)
class LabelReport(Record):
    """Suspected label errors of a classification data set, the most certain first.

    ``suspects`` are ``{"row", "given", "suggested", "confidence"}``: row from 0, and the predicted probability of the
    suggested label. ``classes`` are ``{"label", "rows", "suspects", "noise"}``: noise is the estimated share of the
    rows with this label that belong to another. ``notes`` say what was sampled, left out or not judged.
    """

    subject: str
    label: str
    rows: int
    examined: int
    folds: int
    accuracy: float
    noise: float
    suspects: tuple[dict[str, Any], ...] = ()
    classes: tuple[dict[str, Any], ...] = ()
    model: str = ""
    notes: tuple[str, ...] = ()
