"""Whether two models, or one at two times, give the same answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

TOLERANCE = 1e-9  # relative; other builds of a numeric library may differ in the last bits


def equal(found: pd.DataFrame, expected: pd.DataFrame, tolerance: float = TOLERANCE) -> np.ndarray:
    """In which rows all outputs are the same. Columns are taken by place, as inputs may have the names of outputs."""
    import numpy as np

    fine = np.ones(len(expected), dtype=bool)
    for place in range(len(found.columns)):
        a, b = found.iloc[:, place].to_numpy(), expected.iloc[:, place].to_numpy()
        if a.dtype.kind in "fiu" and b.dtype.kind in "fiu":
            fine &= np.isclose(a.astype(float), b.astype(float), rtol=tolerance, atol=tolerance, equal_nan=True)
        else:
            fine &= a.astype(object) == b.astype(object)
    return fine
