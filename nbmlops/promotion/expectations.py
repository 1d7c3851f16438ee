"""What somebody expects of a model, written as rows: golden answers, what must not matter, what points one way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbmlops.errors import NbmlopsError
from nbmlops.promotion.answers import equal
from nbmlops.records import Finding

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Predict = Callable[["pd.DataFrame"], "pd.DataFrame"]
ROWS = 500
TOLERANCE = 1e-6  # relative: golden answers are written down with few digits


def findings(asked: tuple[Mapping[str, Any], ...], rows: pd.DataFrame, predict: Predict) -> list[Finding]:
    """One finding for each expectation, judged on the rows that the version is judged by.

    Args:
        asked: ``{"invariant": COLUMN, "to": [values], "share": 1.0}``, or ``{"increases"|"decreases": OUTPUT,
            "when": COLUMN, "by": NUMBER, "share": 0.95}``.
        rows: as the model takes them; the first 500 are used.
        predict: checks rows against the signature, and answers them.
    """
    if not asked:
        return []
    rows = rows.head(ROWS).reset_index(drop=True)
    return [_judged(words(one), one, rows, predict) for one in asked]


def words(one: Mapping[str, Any]) -> str:
    """An expectation as a sentence."""
    if "invariant" in one:
        return f"{one['invariant']} does not matter: the same answer for {', '.join(map(str, one['to']))}"
    verb = "increases" if "increases" in one else "decreases"
    return f"{one[verb]} {verb} when {one['when']} rises by {one['by']:g}"


def _judged(asked: str, one: Mapping[str, Any], rows: pd.DataFrame, predict: Predict) -> Finding:
    try:
        fine = _invariant(one, rows, predict) if "invariant" in one else _directional(one, rows, predict)
    except NbmlopsError as error:
        return Finding(
            "expectation", "block", asked, f"{error.message} {'; '.join(error_faults(error))}".strip(), error.hint
        )
    except KeyError as error:
        return Finding("expectation", "block", asked, f"there is no {error.args[0]!r}", "name a column of the model")
    except Exception as error:  # the model's own code: whatever it raises is the finding
        return Finding("expectation", "block", asked, f"{type(error).__name__}: {error}", "mend the model")
    share, least = float(fine.mean()), float(one.get("share", 1.0 if "invariant" in one else 0.95))
    seen = f"true in {share:.1%} of {len(fine):,} rows, {least:.1%} are asked for"
    if share >= least:
        return Finding("expectation", "pass", asked, seen)
    first = int((~fine).argmax())
    return Finding(
        "expectation", "block", asked, f"{seen}; not in row {first}", "train it so, or change the expectation"
    )


def error_faults(error: NbmlopsError) -> list[str]:
    """The faults that an error lists, if any; the first five."""
    return list(getattr(error, "faults", ()))[:5]


def _invariant(one: Mapping[str, Any], rows: pd.DataFrame, predict: Predict) -> np.ndarray:
    import numpy as np

    name, fine = one["invariant"], np.ones(len(rows), dtype=bool)
    before = predict(rows)
    for value in one["to"]:
        fine &= equal(before, predict(_with(rows, name, value)))
    return fine


def _directional(one: Mapping[str, Any], rows: pd.DataFrame, predict: Predict) -> np.ndarray:
    verb = "increases" if "increases" in one else "decreases"
    output, sign = one[verb], 1.0 if verb == "increases" else -1.0
    before = predict(rows)[output].to_numpy(dtype=float)
    after = predict(_with(rows, one["when"], rows[one["when"]] + one["by"]))[output].to_numpy(dtype=float)
    return sign * (after - before) >= -1e-12 * abs(before)


def _with(rows: pd.DataFrame, name: str, value: Any) -> pd.DataFrame:
    """The rows with another value in one column, of the column's own type."""
    import pandas as pd

    if name not in rows:
        raise KeyError(name)
    kind = rows[name].dtype
    changed = value if isinstance(value, pd.Series) else pd.Series([value] * len(rows), index=rows.index)
    return rows.assign(**{name: changed.astype(object) if isinstance(kind, pd.CategoricalDtype) else changed})


def golden(path: str, root: Path, load: Callable[[str], pd.DataFrame], predict: Predict) -> Finding:
    """Rows with the answers that somebody has written beside them.

    Args:
        path: a CSV or Parquet file below the project's folder, or ``dataset:NAME``, with the model's columns and
            ``prediction``.
        root: the project's folder.
        load: reads a file or data set.
        predict: checks rows against the signature, and answers them.
    """
    import pandas as pd

    asked = f"the answers in {path}"
    try:
        rows = load(path if path.startswith("dataset:") else str(root / path))
        expected = rows[[c for c in rows if c == "prediction" or str(c).startswith("probability_")]]
        if not len(expected.columns) or not len(rows):
            return Finding(
                "golden rows", "block", asked, "there is no column prediction, or no row", "add what is right"
            )
        found = predict(rows.drop(columns=expected.columns))[list(expected.columns)]
    except NbmlopsError as error:
        seen = f"{error.message} {'; '.join(error_faults(error))}".strip()
        return Finding("golden rows", "block", asked, seen, error.hint)
    except Exception as error:  # the model's own code: whatever it raises is the finding
        return Finding("golden rows", "block", asked, f"{type(error).__name__}: {error}", "mend the model")
    fine = equal(expected.reset_index(drop=True), found.reset_index(drop=True), TOLERANCE)
    if fine.all():
        return Finding("golden rows", "pass", asked, f"{len(fine)} rows, all as written")
    first = int((~fine).argmax())
    told = pd.Series(expected.iloc[first]).to_dict(), pd.Series(found.iloc[first]).to_dict()
    seen = f"{int((~fine).sum())} of {len(fine)} differ; row {first}: {told[1]} instead of {told[0]}"
    return Finding("golden rows", "block", asked, seen, "the model is wrong, or what is written is")
