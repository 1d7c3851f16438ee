"""Contracts of stages: read when a pipeline is planned, held against what a stage reads and what it wrote."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbmlops.errors import InvalidValue, NbmlopsError
from nbmlops.refs import Ref

if TYPE_CHECKING:
    from nbmlops.datasets import Datasets
    from nbmlops.frames.contracts import Contract
    from nbmlops.records import ContractReport

VIOLATED = "ContractViolated"
_YAML = (".yaml", ".yml")
_TOLD = 400  # characters of violations in a tag of the run


@dataclass(frozen=True)
class Held:
    """A data set under contract, by the reference that the stage's ``reads`` or ``writes`` have."""

    ref: Ref
    contract: Contract
    reads: bool = False
    writes: bool = False


def read(folder: Path, value: Any) -> tuple[Contract | None, list[str]]:
    """The contract in a YAML file, whose path starts from ``folder``, and what is wrong with it. No code is run."""
    from nbmlops.frames.contracts import load_contract

    if not isinstance(value, str) or not value.endswith(_YAML):
        return None, [f"{value!r} is no contract; name a YAML file (other kinds are code, and planning runs none)"]
    try:
        return load_contract(str((folder / value).resolve())), []
    except InvalidValue as error:
        return None, [f"{value}: {text}" for text in error.faults or [error.message]]
    except NbmlopsError as error:
        there = (folder / value).exists()
        return None, [f"{value}: {error.message}" if there else f"there is no contract {value!r}"]


class Contracts:
    """Checks stages' data sets; threads may share it. What a sweep's candidates all read is checked once.

    Versions are immutable, so a report about one stays true.
    """

    def __init__(self, datasets: Datasets) -> None:
        self._datasets = datasets
        self._lock = threading.Lock()
        self._known: dict[tuple[int, str], tuple[Contract, ContractReport]] = {}

    def before(self, held: Iterable[Held], pins: Mapping[str, int]) -> list[ContractReport]:
        """What a stage is about to read, at its pinned versions; what does not exist yet is left out."""
        return [
            self._report(one.contract, f"dataset:{one.ref.name}@{version}")
            for one in held
            if one.reads and (version := one.ref.version or pins.get(f"dataset:{one.ref.name}"))
        ]

    def after(self, held: Iterable[Held], made: Mapping[str, int]) -> list[ContractReport]:
        """What a stage wrote."""
        return [
            self._report(one.contract, f"dataset:{one.ref.name}@{made[f'dataset:{one.ref.name}']}")
            for one in held
            if one.writes and f"dataset:{one.ref.name}" in made
        ]

    def _report(self, contract: Contract, ref: str) -> ContractReport:
        with self._lock:
            key = id(contract), ref
            if key not in self._known:  # with the contract, which must live as long as its id is a key
                self._known[key] = contract, self._datasets.check(ref, contract)
            return self._known[key][1]


def refusal(reports: Iterable[ContractReport]) -> dict[str, Any] | None:
    """The error of a stage whose contracts refuse: all violations of all data sets, one in a line."""
    refused = [report for report in reports if report.status == "block"]
    lines = [f"{r.subject} ({r.contract}): {v.line()}" for r in refused for v in r.violations]
    if not lines:
        return None
    some = f"{len(lines)} violation{'s' if len(lines) > 1 else ''}"
    subjects = ", ".join(r.subject for r in refused)
    head = lines[0] if len(lines) == 1 else f"{some} in {subjects}:\n" + "\n".join(f"- {line}" for line in lines)
    return {"name": VIOLATED, "message": head, "traceback": ""}


def tags(reports: Iterable[ContractReport]) -> dict[str, str]:
    """What a run says of its contracts: ``pass``, ``warn`` or ``block`` for each version, with the violations."""
    found = {}
    for report in reports:
        more = "; ".join(v.line() for v in report.violations)
        more = more if len(more) <= _TOLD else more[: _TOLD - 1] + "…"
        name, _, version = report.subject.removeprefix("dataset:").rpartition("@")
        text = f"{report.status} at version {version} ({report.contract})"
        found[f"nbmlops.contract.{name}"] = f"{text}: {more}" if more else text
    return found
