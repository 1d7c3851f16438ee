"""What MLflow loads an exported model with: ``loader_module: nbmlops.flavors.pyfunc``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


class Served:
    """A model as MLflow asks it: checks rows against the signature, and answers with the registry's columns."""

    def __init__(self, model: Any, signature: dict[str, Any]) -> None:
        self.model = model
        self.signature = signature

    def predict(self, rows: Any, params: Any = None) -> pd.DataFrame:
        """Predictions, row by row. MLflow's ``params`` mean nothing to these models."""
        from nbmlops.flavors import mlmodel, prediction

        return prediction.predict(self.model, self.signature, mlmodel.as_given(self.signature, rows))


def _load_pyfunc(path: str) -> Served:
    """MLflow's entry: ``path`` is the directory's folder ``nbmlops``."""
    from nbmlops.flavors import mlmodel

    return Served(*mlmodel.load(Path(path).parent))
