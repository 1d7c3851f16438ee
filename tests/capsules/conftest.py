"""Stores in folders of their own, and a run worth sending."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from nbmlops.context import Context
from nbmlops.store import Store, open_store
from nbmlops.workspace import Workspace

FRAME = pd.DataFrame({"x": np.arange(30.0), "c": list("abc") * 10})


def workspace(folder: Path, run_id: str | None = None) -> Workspace:
    return Workspace(open_store(folder), lambda: Context(user="tester", host=folder.name, run_id=run_id))


def worked(ws: Workspace, factor: float = 2.0) -> str:
    """Two versions of a data set, a run that used the second and names it, a nested run and a model; the run's id."""
    ws.datasets.snapshot(FRAME, "sales", tags={"made": "first"})
    made = ws.datasets.snapshot(FRAME.assign(x=FRAME.x * factor), "sales")
    live = ws.runs.start(
        "prices", "fit", params={"lr": factor, "data": made.ref, "base": "dataset:sales@1"}, description="a fit"
    )
    for step in range(3):
        live.log_metric("loss", factor / (step + 1), step=step)
    live.log_metric("odd", float("nan"))
    live.log_artifact("notes/a.txt", f"by {factor}".encode())
    live.log_artifact("Notes/A.txt", b"another, on some disks the same name")
    ws.runs.use_dataset(live.run_id, "sales", made.version)
    child = ws.runs.start("prices", "fold", parent_id=live.run_id)
    child.log_metric("loss", 1.0)
    child.log_artifact("notes/a.txt", b"of the fold")
    child.end()
    live.end()
    within = Workspace(ws.store, lambda: Context(user="tester", host="here", run_id=live.run_id))
    model = LinearRegression().fit(FRAME[["x"]], FRAME["x"] * factor)
    within.models.register(model, "price", input_example=FRAME[["x"]])
    return live.run_id


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Callable[[str], Workspace]]:
    """A workspace on a new store, by name."""
    made: list[Store] = []

    def opened(name: str) -> Workspace:
        found = workspace(tmp_path / name)
        made.append(found.store)
        return found

    yield opened
    for store in made:
        store.close()


@pytest.fixture(scope="session")
def sent(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with ``store`` (as :func:`worked` makes it), ``bare.zip``, ``full.zip``; and the run's id."""
    folder = tmp_path_factory.mktemp("sent")
    ws = workspace(folder / "store")
    run_id = worked(ws)
    ws.capsules.export(run_id, folder / "bare.zip")
    ws.capsules.export(run_id, folder / "full.zip", data=True)
    ws.store.close()
    return folder, run_id
