"""What a pipeline takes from outside its file: versions in the store, and what a promotion can be asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nbmlops import rules
from nbmlops.errors import NotFound
from nbmlops.notebook.parameters import suggestion
from nbmlops.pipelines.faults import Faults
from nbmlops.pipelines.spec import Promote, Stage
from nbmlops.refs import Ref

if TYPE_CHECKING:
    from nbmlops.datasets import Datasets
    from nbmlops.models import Models
    from nbmlops.promotion import Promotion


@dataclass
class Pins:
    """Versions of what is read and comes from outside: those meant without a version, and those named by one."""

    latest: dict[str, int] = field(default_factory=dict)
    named: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Outside:
    """Asks the desks about references, environments and rules. Nothing is written."""

    datasets: Datasets
    models: Models
    promotion: Promotion

    def pins(self, stages: dict[str, Stage], external: tuple[Ref, ...], faults: Faults) -> Pins:
        """The versions of ``external``; one that does not exist is a fault of the stages that declare to read it."""
        found = Pins()
        own = {thing for stage in stages.values() for thing in stage.writes}
        for ref in external:
            key, fixed = f"{ref.kind}:{ref.name}", ref.version is not None or ref.alias is not None
            try:
                version = self._desk(ref).get(str(ref)).version
            except NotFound as error:
                if fixed or key not in own:
                    text = f"{ref} is read and no stage to run writes it: {error.message}{self._near(ref, own, error)}"
                    for place in _places(stages, ref):
                        faults.add(place, text)
                continue
            (found.named if fixed else found.latest)[str(ref) if fixed else key] = version
        return found

    def _desk(self, ref: Ref) -> Any:
        return self.datasets if ref.kind == "dataset" else self.models

    def _near(self, ref: Ref, own: set[str], error: NotFound) -> str:
        """Names that come close; where only the version or alias is wrong, what there is."""
        known = {thing.name for thing in self._desk(ref).list()}
        if ref.name in known:
            return f" ({error.hint})"
        written = {thing.partition(":")[2] for thing in own if thing.startswith(f"{ref.kind}:")}
        return suggestion(ref.name, sorted(known | written))

    def request(self, promote: Promote | None, faults: Faults) -> None:
        """The environment and the facts of the rules, before there is a model to judge."""
        if promote is None:
            return
        environments = self.promotion.policies().environments
        if promote.to and promote.to not in environments:
            near, there = suggestion(promote.to, environments), ", ".join(environments)
            faults.add(("promote", "to"), f"promote: there is no environment {promote.to!r}{near}; there are {there}")
        for index, rule in enumerate(promote.rules):
            texts = rules.unknown_facts(rule, self.promotion.fact_names())
            faults.extend(("promote", "rules", index), (f"rule {rule!r}: {text}" for text in texts))


def _places(stages: dict[str, Stage], ref: Ref) -> list[tuple[object, ...]]:
    return [
        ("stages", name, "reads", index)
        for name, stage in stages.items()
        for index, read in enumerate(stage.reads)
        if read == ref
    ]
