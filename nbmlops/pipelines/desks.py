"""The desks that stages and flows work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbmlops.context import ContextSource
from nbmlops.errors import NotFound
from nbmlops.refs import Ref
from nbmlops.store import Store

if TYPE_CHECKING:
    from nbmlops.datasets import Datasets
    from nbmlops.models import Models
    from nbmlops.promotion import Promotion
    from nbmlops.runs import Runs


@dataclass(frozen=True)
class Desks:
    """The store, and the desks over it."""

    store: Store
    runs: Runs
    datasets: Datasets
    models: Models
    promotion: Promotion

    @classmethod
    def over(cls, store: Store, context: ContextSource) -> Desks:
        """Desks of their own over a store, for a process without a workspace."""
        from nbmlops.datasets import Datasets
        from nbmlops.evidence import Evidences
        from nbmlops.models import Models
        from nbmlops.promotion import Promotion
        from nbmlops.runs import Runs

        runs = Runs(store, context)
        datasets = Datasets(store, context, runs)
        models = Models(store, context, runs, datasets)
        evidence = Evidences(store, context, models, runs)
        return cls(store, runs, datasets, models, Promotion(store, context, models, runs, evidence=evidence))

    def exists(self, ref: Ref) -> bool:
        """Whether there is such a data set or model, or version of it."""
        try:
            (self.datasets if ref.kind == "dataset" else self.models).get(str(ref))
        except NotFound:
            return False
        return True
