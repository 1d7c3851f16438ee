"""Two packages of one model: do they predict the same?"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nbmlops.errors import NbmlopsError
from nbmlops.reproduction.logged import Kept
from nbmlops.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from nbmlops.reproduction.comparing import Predictions

MOST_ROWS = 1000
Rows = Callable[[Mapping[str, Any]], "pd.DataFrame | None"]


def by_predictions(store: Store, tolerance: float, read: Rows) -> Predictions:
    """Compares two packages by what they predict for the rows that the first one was kept with.

    Args:
        store: where the blobs of both are.
        tolerance: relative, as for metrics.
        read: finds further rows for a signature: of a data set that the run read.
    """

    def compare(before: Kept, after: Kept) -> tuple[str, float | None] | None:
        try:
            return _difference(store, (before, after), tolerance, read)
        except NbmlopsError as error:  # other types, another signature: that is the difference
            return f"another package, whose predictions cannot be compared: {error.message}", None

    return compare


def _difference(store: Store, pair: tuple[Kept, Kept], tolerance: float, read: Rows) -> tuple[str, float | None] | None:
    import numpy as np

    rows = _rows(store, pair[0], read)
    was, now = (_predict(store, kept, rows) for kept in pair)
    if list(was.columns) != list(now.columns):
        return f"predicts {', '.join(now.columns)} in place of {', '.join(was.columns)}", None
    wrong, largest = np.zeros(len(was), dtype=bool), None
    for name in was.columns:
        a, b = was[name].to_numpy(), now[name].to_numpy()
        if a.dtype.kind in "fc" and b.dtype.kind in "fc":
            differs = ~np.isclose(a, b, rtol=tolerance, atol=0.0, equal_nan=True)
            size = float(np.nanmax(np.abs(a - b)[differs])) if differs.any() else 0.0
            largest = max(largest or 0.0, size)
        else:
            differs = np.asarray(a != b)
        wrong |= differs
    if not wrong.any():
        return None
    return f"{int(wrong.sum()):,} of {len(was):,} predictions differ", largest or None


def _rows(store: Store, kept: Kept, read: Rows) -> pd.DataFrame:
    """The example in the package, with the training sample and rows of a data set where there are such."""
    import pandas as pd

    from nbmlops.flavors import packaging
    from nbmlops.models import packages

    signature = kept.row["signature"]
    names = [column["name"] for column in signature["inputs"]]
    files = json.loads(store.blobs.get(kept.package))["files"]
    found = [packaging.read_example(store.blobs.get(files["input_example.json"]), signature)[0]]
    if kept.row.get("profile"):
        profile = json.loads(store.blobs.get(kept.row["profile"]))
        found.append(packages.sample(store, profile["sample"])[names])
    elif (more := read(signature)) is not None:
        found.append(more[names].head(MOST_ROWS))
    return pd.concat(found, ignore_index=True)


def _predict(store: Store, kept: Kept, rows: pd.DataFrame) -> pd.DataFrame:
    from nbmlops import flavors
    from nbmlops.flavors import checking, prediction

    files = json.loads(store.blobs.get(kept.package))["files"]
    # Under the loader's own list only: nobody is here who could trust more.
    content = {name: store.blobs.get(digest) for name, digest in files.items() if name.startswith("model.")}
    model = flavors.load(kept.row["flavor"], content)
    signature = kept.row["signature"]
    return prediction.predict(model, signature, checking.check(signature, rows, "the rows of the first"))
