"""The dossiers desk: model cards and technical documentation, from what the store knows and persons have added."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbmlops import clock, settings
from nbmlops.dossiers import rendering, written
from nbmlops.dossiers.known import Known
from nbmlops.errors import InvalidValue
from nbmlops.records import Dossier, ModelCard, Section

if TYPE_CHECKING:
    from nbmlops.workspace import Workspace

ORDER = "Regulation (EU) 2024/1689, Annex IV (https://eur-lex.europa.eu/eli/reg/2024/1689/oj)"


class Dossiers:
    """Every verb about cards and dossiers."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def card(self, ref: str) -> ModelCard:
        """What somebody who uses a version must know; what nobody has written or measured is named as missing.

        Raises:
            InvalidValue: ``cards/NAME.toml`` is not what it should be; all faults at once.
        """
        k = self._known(ref)
        sections = (
            Section("Model", (*k.identity(), *k.person("owner", "licence"))),
            Section("Intended use", tuple(k.person("purpose", "out_of_scope"))),
            Section("Inputs and outputs", tuple(k.signature())),
            Section("Data", (*k.data(), *k.person("data_collection"))),
            Section("Training", (*k.training(), *k.certificate())),
            Section("Performance", tuple(k.performance())),
            Section("Groups", tuple(k.groups())),
            Section("What it relies on", tuple(k.reasons())),
            Section("Limits and ethics", tuple(k.person("limitations", "ethics"))),
            Section("Tests and cost", (*k.robustness(), *k.cost())),
            Section("Decisions", tuple(k.decisions())),
        )
        return ModelCard(k.ref, sections, _metadata(k), clock.now())

    def dossier(self, ref: str) -> Dossier:
        """Technical documentation of a version, in the order of Annex IV of Regulation (EU) 2024/1689.

        It is no legal advice, and not complete before the list of what is missing is empty.

        Raises:
            InvalidValue: ``cards/NAME.toml`` is not what it should be; all faults at once.
        """
        k = self._known(ref)
        sections = (
            Section(
                "1. General description",
                (
                    *k.person("purpose", "owner"),
                    *k.identity(),
                    *k.person("interaction", "instructions"),
                    *k.signature(),
                ),
                "Purpose, provider, versions, what it works with, instructions for use (point 1).",
            ),
            Section(
                "2. Elements and development",
                (
                    *k.training(),
                    *k.person("design"),
                    *k.reasons(),
                    *k.data(),
                    *k.person("data_collection"),
                    *k.cost(),
                    *k.person("oversight", "changes"),
                    *k.performance(),
                    *k.groups(),
                    *k.robustness(),
                    *k.certificate(),
                    *k.person("security"),
                ),
                "Methods, design, architecture and resources, data, oversight, planned changes, validation and tests, "
                "security (point 2).",
            ),
            Section(
                "3. Monitoring, functioning and control",
                (*k.person("limitations", "ethics"), *k.groups(), *k.monitoring(), *k.person("oversight")),
                "Capabilities and limits, accuracy for groups, unintended outcomes, oversight, inputs (point 3).",
            ),
            Section("4. Why these metrics", tuple(k.person("metrics")), "Whether they suit this system (point 4)."),
            Section("5. Risk management", tuple(k.person("risks")), "The system of Article 9 (point 5)."),
            Section("6. Changes", tuple(k.decisions()), "Changes through its lifecycle (point 6)."),
            Section("7. Standards", tuple(k.person("standards")), "Standards and specifications applied (point 7)."),
            Section("8. Declaration", tuple(k.person("declaration")), "The declaration of Article 47 (point 8)."),
            Section(
                "9. After it was put to use",
                (*k.person("after_market"), *k.monitoring()),
                "The evaluation and monitoring plan of Article 72 (point 9).",
            ),
        )
        return Dossier(k.ref, sections, {}, clock.now(), ORDER)

    def render(self, card: ModelCard, path: str | os.PathLike[str]) -> str:
        """A card or dossier as the text of a file, by the ending of its name: ``.md`` or ``.html``.

        Raises:
            InvalidValue: another ending.
        """
        suffix = Path(path).suffix.lower()
        if suffix not in rendering.RENDERED:
            raise InvalidValue(f"{path} is neither .md nor .html", "name a file that ends so")
        return rendering.RENDERED[suffix](card)

    def _known(self, ref: str) -> Known:
        name = self.workspace.models.get(ref, deleted=True).name
        return Known(self.workspace, ref, written.read(settings.project_root(), name))


def _metadata(known: Known) -> dict[str, Any]:
    """The header of a model card as model hubs read it, with a ``model-index``."""
    test, scores = known.evidence.get("evaluation"), known.evidence.get("performance")
    told: dict[str, Any] = {"library_name": "sklearn" if known.version.flavor == "skops" else known.version.flavor}
    if "licence" in known.texts:
        told["license"] = known.texts["licence"]
    told["tags"] = ["nbmlops"]
    if test is None or scores is None or scores.status != "done" or test.status != "done":
        return told
    metrics = [
        {"type": name, "value": round(value["value"], 6), "name": f"{name} ({value['low']:.4g} … {value['high']:.4g})"}
        for name, value in scores.report.items()
        if isinstance(value, dict)
    ]
    source = test.report.get("source") or "test data"
    task = f"tabular-{test.report['task']}"
    results = [{"task": {"type": task}, "dataset": {"name": source, "type": source}, "metrics": metrics}]
    return {**told, "pipeline_tag": task, "model-index": [{"name": known.version.name, "results": results}]}
