"""Whether one model is better than another on the same rows: a paired bootstrap of the difference of a score.

Rows are drawn once for both, so that what is hard for both counts for neither. With the 95 % interval of the
difference, and a margin m that is still called equal: **better**, if the whole interval is above 0; **worse**, if it
is below -m; **not worse**, if it is at or above -m; else **cannot tell**. Of two models that are equally good, one in
forty is called worse if there is no margin, fewer with one; how often a worse one is noticed depends on the rows.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nbmlops.errors import InvalidValue
from nbmlops.stats import scores as room

if TYPE_CHECKING:
    import pandas as pd

DRAWS = 2_000
LEVEL = 0.95


@dataclass(frozen=True)
class Comparison:
    """``difference`` is new minus old, turned so that more is better; ``new`` and ``old`` are the scores themselves."""

    verdict: str
    metric: str
    new: float
    old: float
    difference: float
    low: float
    high: float
    margin: float
    rows: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def words(self) -> str:
        """One line for a finding."""
        told = f"{self.metric} {self.new:.4g}, there {self.old:.4g} on the same {self.rows:,} rows"
        return f"{self.verdict}: {told}; difference {self.difference:+.4g} ({self.low:+.4g} … {self.high:+.4g})"


def compare(
    actual: pd.Series,
    new: pd.DataFrame,
    old: pd.DataFrame,
    task: str,
    *,
    metric: str | None = None,
    margin: float = 0.0,
    seed: int = 0,
) -> Comparison:
    """Compare the answers of two models to the same rows.

    Args:
        actual: what was right; rows without it are left out.
        new: the candidate's outputs, ``prediction`` and perhaps ``probability_<class>``.
        old: those of the model it would replace.
        task: ``classification`` or ``regression``.
        metric: by default ROC AUC, else accuracy, else RMSE.
        margin: how much worse is still called equal, in units of the metric.
        seed: of the draws.

    Raises:
        InvalidValue: no row can be scored for both, or there is no such score for both.
    """
    there = room.known(actual, new, task) & room.known(actual, old, task)
    rows = int(there.sum())
    if not rows:
        raise InvalidValue("no row can be scored for both models", "give test data whose outcome is known")
    sides = [room.scores(actual[there], outputs[there], task) for outputs in (new, old)]
    both = [name for name in sides[0] if name in sides[1]]
    name = metric or room.main(both)
    if name not in both:
        raise InvalidValue(f"there is no {name} of both models", f"there are {', '.join(both)}")
    sign = 1.0 if name in room.HIGHER else -1.0
    ours, theirs = (side[name] for side in sides)
    drawn = [sign * (ours(weights) - theirs(weights)) for weights in room.resampled(rows, DRAWS, seed)]
    edge = (1 - LEVEL) / 2
    low, high = (float(v) for v in np.nanquantile(np.concatenate(drawn), [edge, 1 - edge]))
    values = room.whole(ours, rows), room.whole(theirs, rows)
    difference = sign * (values[0] - values[1])
    return Comparison(_verdict(low, high, margin), name, *values, difference, low, high, margin, rows)


def _verdict(low: float, high: float, margin: float) -> str:
    if low > 0:
        return "better"
    if high < -margin:
        return "worse"
    return "not worse" if low >= -margin else "cannot tell"
