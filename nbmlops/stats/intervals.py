"""How sure a figure is: percentile bootstrap intervals (B. Efron, 1979) of every score at once.

Percentiles of the resampled figures are taken as they are: an interval never leaves the range of its score, and the
rows are drawn once for all scores. Near the end of a score's range, and below some 50 rows, they are too narrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nbmlops.stats import scores as room

if TYPE_CHECKING:
    import pandas as pd

DRAWS = 1_000
_CELLS = 20_000_000  # rows times draws: more rows are drawn less often, for their figures vary less
_FEWEST = 200


def intervals(
    actual: pd.Series, outputs: pd.DataFrame, task: str, *, draws: int = DRAWS, level: float = 0.95, seed: int = 0
) -> dict[str, dict[str, float]]:
    """By score: ``value``, and ``low`` and ``high`` of the interval; empty where no row has a known outcome.

    Args:
        actual: what was right; rows without it are left out.
        outputs: ``prediction`` and perhaps ``probability_<class>``, row by row.
        task: ``classification`` or ``regression``.
        draws: how often the rows are drawn again, at most.
        level: the share of repetitions in which such an interval holds the true figure.
        seed: of the draws.
    """
    there = room.known(actual, outputs, task)
    actual, outputs = actual[there], outputs[there]
    if not len(actual):
        return {}
    found = room.scores(actual, outputs, task)
    draws = min(draws, max(_FEWEST, _CELLS // len(actual)))
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in found}
    for weights in room.resampled(len(actual), draws, seed):
        for name, score in found.items():
            drawn[name].append(score(weights))
    edge = (1 - level) / 2
    told = {}
    for name, score in found.items():
        low, high = np.nanquantile(np.concatenate(drawn[name]), [edge, 1 - edge])
        told[name] = {"value": room.whole(score, len(actual)), "low": float(low), "high": float(high)}
    return told
