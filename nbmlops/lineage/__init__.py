"""The lineage desk: what lies behind anything in the store, and what followed from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbmlops.errors import InvalidValue
from nbmlops.lineage.behind import Walk
from nbmlops.lineage.impact import Impact
from nbmlops.records import Lineage
from nbmlops.refs import parse
from nbmlops.store import Store

if TYPE_CHECKING:
    from nbmlops.datasets import Datasets
    from nbmlops.deployments import Deployments
    from nbmlops.models import Models
    from nbmlops.runs import Runs


class Lineages:
    """``why(ref)``: a tree from any reference back to the notebooks and data that made it, or to all that followed."""

    def __init__(self, store: Store, runs: Runs, datasets: Datasets, models: Models, deployments: Deployments) -> None:
        self.store = store
        self.runs = runs
        self.datasets = datasets
        self.models = models
        self.deployments = deployments

    def why(self, ref: str, *, impact: bool = False) -> Lineage:
        """Everything behind a reference; what was deleted since is named as missing.

        A prediction leads to its model version, that to the run that trained it, the run to its pipeline flow and the
        data set versions it read, and those to the runs that wrote them.

        Args:
            ref: a prediction, model, data set, run, stage, flow or event.
            impact: the other way: everything that followed. A data set version leads to the runs that read it, those to
                what they wrote, a model to where it stood, what it predicted, and what became of that.

        Raises:
            NotFound: the thing named does not exist.
            InvalidValue: the text is no reference, or nothing can follow from it.
        """
        if impact:
            return Lineage(Impact(self.store).root(self._exact(ref)), "after")
        return Lineage(Walk(self).root(str(ref)))

    def _exact(self, ref: str) -> str:
        """The reference with the version or id that it means."""
        asked = parse(ref)
        if asked.kind == "model":
            return self.models.get(str(asked), deleted=True).ref
        if asked.kind == "dataset":
            return self.datasets.get(str(asked)).ref
        if asked.kind == "run":
            return self.runs.get(str(asked)).ref
        return f"{asked.kind}:{asked.name}"

    def export(self, ref: str, format: str, *, impact: bool = False) -> str:
        """The same as a text for others.

        Args:
            ref: as :meth:`why` takes it.
            format: ``html`` (a page), ``json``, ``prov`` (W3C PROV-JSON) or ``openlineage`` (run events, one a line).
            impact: what followed, instead of what lies behind.

        Raises:
            NotFound, InvalidValue: as :meth:`why`, or there is no such format.
        """
        from nbmlops.lineage import forms

        if format not in forms.FORMATS:
            raise InvalidValue(f"there is no format {format!r}", f"choose {', '.join(forms.FORMATS)}")
        return forms.FORMATS[format](self, self.why(ref, impact=impact))
