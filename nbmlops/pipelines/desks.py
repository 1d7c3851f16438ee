"""The desks that stages and flows work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
