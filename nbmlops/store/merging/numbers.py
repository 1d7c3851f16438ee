"""Versions that have another number here, and everything that speaks of them put right."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

from nbmlops.store.merging import columns as c
from nbmlops.store.merging.columns import TABLES

Version: TypeAlias = tuple[str, str, int]  # "dataset" or "model", its name, its number there
_NEVER = re.compile(r"(?!)")


@dataclass(frozen=True)
class Numbers:
    """The numbers of another store's versions here; those that are not in ``changed`` keep theirs."""

    changed: Mapping[Version, int] = field(default_factory=dict)

    def of(self, kind: str, name: str, version: int | None) -> int | None:
        """The number here of a version there."""
        return version if version is None else self.changed.get((kind, name, version), version)

    def row(self, table: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row of a table with every reference as it must be here."""
        if not self.changed:
            return dict(row)
        changes: dict[str, Callable[[Any], Any]] = {
            c.DATASET: lambda value: self.of("dataset", row["name"], value),
            c.MODEL: lambda value: self.of("model", row["name"], value),
            c.REFERENCE: self.text,
            c.REFERENCES: self.tree,
            c.DECISION: self._decision,
        }
        kinds = TABLES[table].columns
        made = {name: changes[kinds[name]](value) if kinds[name] in changes else value for name, value in row.items()}
        if made.get("fingerprint") and _counted(made["facts"]) != _counted(row["facts"]):
            # The fingerprint is of these facts as they were, and no fingerprint is better than a wrong one: the stage
            # is executed once more.
            made["fingerprint"] = None
        return made

    def text(self, text: str) -> str:
        """A text in which ``dataset:NAME@3``, ``model:NAME@3`` and ``models:/NAME/3`` name what they mean here."""
        return self._spelled.sub(self._respelled, text) if isinstance(text, str) else text

    def tree(self, value: Any) -> Any:
        """The same for JSON; also ``{"dataset:NAME": 3}`` and ``{"dataset:NAME": [3, digest]}``."""
        if isinstance(value, str):
            return self.text(self._step(value))
        if isinstance(value, list):
            return [self.tree(each) for each in value]
        if not isinstance(value, dict):
            return value
        return {self.text(key): self._under(key, each) for key, each in value.items()}

    def _under(self, key: str, value: Any) -> Any:
        if (found := self._named.fullmatch(key)) is None:
            return self.tree(value)
        kind, name = found["kind"], found["name"]
        if isinstance(value, int) and not isinstance(value, bool):
            return self.of(kind, name, value)
        if isinstance(value, list) and value and isinstance(value[0], int):
            return [self.of(kind, name, value[0]), *value[1:]]
        return self.tree(value)

    def _decision(self, value: Any) -> Any:
        """A promotion's outcome; the number of its event is of another ledger."""
        if not isinstance(value, dict):
            return value
        made = self.tree(value)
        for key in ("version", "previous"):
            if isinstance(value.get(key), int):
                made[key] = self.of("model", str(value.get("model")), value[key])
        return made

    def _step(self, text: str) -> str:
        """Why a stage ran: ``dataset:NAME 3 -> 4``."""
        found = self._steps.fullmatch(text)
        if found is None:
            return text
        numbers = [
            str(self.of(found["kind"], found["name"], int(n))) if n.isdecimal() else n
            for n in found.group("old", "new")
        ]
        return f"{found['thing']} {numbers[0]} -> {numbers[1]}"

    def _respelled(self, found: re.Match[str]) -> str:
        kind, name, number = found["kind"], found["name"], found["number"]
        if kind:
            return f"{kind}:{name}@{found['v']}{self.of(kind, name, int(number))}"
        return f"models:/{found['model']}/{self.of('model', found['model'], int(found['place']))}"

    @cached_property
    def _names(self) -> str:
        """Only names of which some version has moved; the longest first, for one may begin with another."""
        return "|".join(re.escape(n) for n in sorted({name for _, name, _ in self.changed}, key=len, reverse=True))

    @cached_property
    def _spelled(self) -> re.Pattern[str]:
        if not self.changed:
            return _NEVER
        ours = rf"(?P<kind>dataset|model):(?P<name>{self._names})@(?P<v>v?)(?P<number>\d{{1,18}})"
        mlflow = rf"models:/(?P<model>{self._names})/(?P<place>\d{{1,18}})"
        return re.compile(rf"(?<!\w)(?:{ours}|{mlflow})(?!\w)")

    @cached_property
    def _named(self) -> re.Pattern[str]:
        return re.compile(rf"(?P<kind>dataset|model):(?P<name>{self._names})(@.+)?")

    @cached_property
    def _steps(self) -> re.Pattern[str]:
        thing = rf"(?P<thing>(?P<kind>dataset|model):(?P<name>{self._names})(@\S+)?)"
        return re.compile(rf"{thing} (?P<old>\d{{1,18}}|none) -> (?P<new>\d{{1,18}}|none)")


def _counted(facts: Any) -> Any:
    """What of a stage's facts its fingerprint is made of: versions of inputs only explain."""
    if not isinstance(facts, dict):
        return facts
    inputs = facts.get("inputs")
    kept = {name: value for name, value in facts.items() if name not in {"found", "inputs"}}
    if isinstance(inputs, dict):
        kept["inputs"] = {n: v[1:] if isinstance(v, list) else v for n, v in inputs.items()}
    return kept
