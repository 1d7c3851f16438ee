"""The frozen rows that a version is judged by: inputs, what was right, groups, and what the model answered."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbmlops.errors import InvalidValue

if TYPE_CHECKING:
    import pandas as pd

ROWS = 20_000  # more are kept as a sample of so many
FILE = "evaluation.parquet"
_INPUT, _GROUP, _OUTPUT, _ACTUAL = "input.", "group.", "output.", "actual"


@dataclass(frozen=True)
class Evaluation:
    """Frames with the same index, row by row; ``groups`` may have no column. ``task``: classification or regression."""

    inputs: pd.DataFrame
    actual: pd.Series
    groups: pd.DataFrame
    outputs: pd.DataFrame
    task: str
    source: str | None = None

    def to_parquet(self) -> bytes:
        """As one table; every pandas type comes back as it was."""
        import pandas as pd

        parts = {_INPUT: self.inputs, _GROUP: self.groups, _OUTPUT: self.outputs}
        named = [frame.add_prefix(prefix) for prefix, frame in parts.items()]
        buffer = io.BytesIO()
        pd.concat([*named, self.actual.rename(_ACTUAL)], axis=1).to_parquet(buffer, index=False, compression="zstd")
        return buffer.getvalue()


def read(content: bytes, report: dict[str, Any]) -> Evaluation:
    """What :meth:`Evaluation.to_parquet` wrote; ``report`` is that of the evidence it belongs to."""
    import pandas as pd

    table = pd.read_parquet(io.BytesIO(content))

    def part(prefix: str) -> pd.DataFrame:
        held = [name for name in table.columns if name.startswith(prefix)]
        return table[held].rename(columns=lambda name: name.removeprefix(prefix))

    return Evaluation(
        part(_INPUT), table[_ACTUAL], part(_GROUP), part(_OUTPUT), report["task"], source=report.get("source")
    )


@dataclass(frozen=True)
class Rows:
    """Test data taken apart, before a model has seen them."""

    inputs: Any
    actual: pd.Series
    groups: pd.DataFrame
    source: str | None = None


def take_apart(data: Any, target: str | None, groups: Any, source: str | None = None) -> Rows:
    """Inputs, target and groups out of what a user gives.

    Args:
        data: ``(X, y)``, or a frame with the target in it.
        target: the name of that column; not needed with ``(X, y)``.
        groups: names of columns, or a Series or frame with one row for each of the data.
        source: the reference of the data set it came from.

    Raises:
        InvalidValue: what is asked for is not there; all faults at once.
    """
    import pandas as pd

    if isinstance(data, tuple) and len(data) == 2:
        inputs, actual = data
        frame = inputs if isinstance(inputs, pd.DataFrame) else None
        actual = actual if isinstance(actual, pd.Series) else pd.Series(list(actual), name=target)
    else:
        frame = data.to_pandas() if hasattr(data, "to_pandas") else data
        inputs, actual = _with_target(frame, target)
    faults = [] if len(inputs) == len(actual) else [f"there are {len(inputs)} rows and {len(actual)} outcomes"]
    held, missing = _groups(groups, frame, len(actual))
    faults += missing
    if not len(actual):
        faults.append("there are no rows")
    if faults:
        raise InvalidValue.of("test data", faults, 'test_data=(X_test, y_test), groups=("column", …)')
    return Rows(inputs, actual.reset_index(drop=True), held.reset_index(drop=True), source)


def _with_target(frame: Any, target: str | None) -> tuple[Any, pd.Series]:
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise InvalidValue(
            f"a {type(frame).__module__}.{type(frame).__name__} is no test data",
            "give (X_test, y_test), a frame with target=, or dataset:NAME with target=",
        )
    if target is None or target not in frame.columns:
        asked = "no target is named" if target is None else f"there is no column {target!r}"
        raise InvalidValue(f"test data: {asked}", f"target= one of {', '.join(map(str, list(frame.columns)[:20]))}")
    return frame.drop(columns=target), frame[target]


def _groups(groups: Any, frame: pd.DataFrame | None, rows: int) -> tuple[pd.DataFrame, list[str]]:
    import pandas as pd

    if isinstance(groups, pd.Series):
        groups = groups.to_frame(groups.name if groups.name is not None else "group")
    if isinstance(groups, pd.DataFrame):
        fits = len(groups) == rows
        return groups.rename(columns=str), [] if fits else [f"there are {rows} rows and {len(groups)} rows of groups"]
    names: Sequence[str] = [groups] if isinstance(groups, str) else list(groups or ())
    there = list(frame.columns) if frame is not None else []
    missing = [f"there is no column {name!r} for groups" for name in names if name not in there]
    if missing or frame is None:
        return pd.DataFrame(index=range(rows)), missing
    return frame[list(names)], []


def sampled(rows: Rows) -> Rows:
    """At most 20,000 of them, always the same ones, in their order."""
    import numpy as np
    import pandas as pd

    if len(rows.actual) <= ROWS:
        return rows
    kept = np.sort(np.random.default_rng(0).choice(len(rows.actual), ROWS, replace=False))
    inputs = (
        rows.inputs.iloc[kept] if isinstance(rows.inputs, pd.DataFrame | pd.Series) else np.asarray(rows.inputs)[kept]
    )
    actual, groups = rows.actual.iloc[kept], rows.groups.iloc[kept]
    return Rows(inputs, actual.reset_index(drop=True), groups.reset_index(drop=True), rows.source)
