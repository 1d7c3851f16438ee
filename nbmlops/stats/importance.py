"""Which inputs a model relies on: permutation importance (L. Breiman, 2001) of the columns that it is given."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from nbmlops.stats import scores as room

if TYPE_CHECKING:
    import pandas as pd

ROWS = 1_000
REPEATS = 5
SECONDS = 10.0


def importance(
    predict: Callable[[pd.DataFrame], pd.DataFrame],
    inputs: pd.DataFrame,
    actual: pd.Series,
    task: str,
    *,
    seconds: float = SECONDS,
    seed: int = 0,
) -> dict[str, Any]:
    """How much worse the model gets when a column's values are shuffled between the rows, the worst column first.

    Of two columns that say the same, each may look unimportant: the model has the other one.

    Args:
        predict: the whole model, from a frame of inputs to its outputs.
        inputs: rows as the model takes them; at most 1,000 of them are used.
        actual: what was right.
        task: ``classification`` or ``regression``.
        seconds: columns that are not reached within it are named under ``skipped``.
        seed: of the shuffling.

    Returns:
        ``score`` (its name), ``value``, ``rows``, ``columns`` (``column mean low high``: the loss in that score over
        the repeats; for errors the gain) and ``skipped``.
    """
    chance = np.random.default_rng(seed)
    if len(inputs) > ROWS:
        kept = np.sort(chance.choice(len(inputs), ROWS, replace=False))
        inputs, actual = inputs.iloc[kept], actual.iloc[kept]
    inputs, actual = inputs.reset_index(drop=True), actual.reset_index(drop=True)
    outputs = predict(inputs)
    there = room.known(actual, outputs, task)
    name = room.main(list(room.scores(actual[there], outputs[there], task)))
    sign = 1.0 if name in room.HIGHER else -1.0

    def score(outputs: pd.DataFrame) -> float:
        rows = there & room.known(actual, outputs, task)
        return room.whole(room.scores(actual[rows], outputs[rows], task)[name], int(rows.sum()))

    whole, until = score(outputs), time.monotonic() + seconds
    found: list[dict[str, Any]] = []
    skipped: list[str] = []
    for column in inputs.columns:
        if found and time.monotonic() > until:
            skipped.append(str(column))
            continue
        losses = [sign * (whole - score(predict(_shuffled(inputs, column, chance)))) for _ in range(REPEATS)]
        found.append({"column": str(column), "mean": float(np.mean(losses)), "low": min(losses), "high": max(losses)})
    found.sort(key=lambda row: -row["mean"])
    return {"score": name, "value": whole, "rows": int(there.sum()), "columns": found, "skipped": skipped}


def _shuffled(inputs: pd.DataFrame, column: Any, chance: np.random.Generator) -> pd.DataFrame:
    mixed = inputs.copy(deep=False)
    mixed[column] = inputs[column].take(chance.permutation(len(inputs))).set_axis(inputs.index)
    return mixed
