"""Stores of earlier versions: opened, migrated, read, compared and continued.

store-0001 is of nbmlops 0.1, with frames as whole files; store-0003 of the version before cells were recorded.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from old_frames import ARROW, SALES
from shapes import shape

from nbmlops.context import Context, hostname
from nbmlops.store import migrations, open_store, schema
from nbmlops.workspace import Workspace

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def old(tmp_path):
    yield from opened("store-0001", tmp_path)


@pytest.fixture
def later(tmp_path):
    yield from opened("store-0003", tmp_path)


def opened(name, tmp_path):
    shutil.copytree(DATA / name, tmp_path / "old")
    ws = Workspace(open_store(tmp_path / "old"), lambda: Context(user="tester", host=hostname()))
    yield ws
    ws.store.close()


@pytest.mark.parametrize("name", ["store-0001", "store-0003"])
def test_it_is_migrated(name, tmp_path):
    for ws in opened(name, tmp_path):
        with ws.store.read() as db:
            assert migrations.current(db) == migrations.HEAD
            assert sa.inspect(db).has_table(schema.merged_ledger.name)
    open_store(tmp_path / "fresh").close()
    assert shape(tmp_path / "old" / "nbmlops.db") == shape(tmp_path / "fresh" / "nbmlops.db")


def test_every_version_comes_back(old):
    for number, frame in enumerate(SALES, 1):
        version = old.datasets.get(f"sales@{number}")
        assert version.format == "parquet-1"
        pd.testing.assert_frame_equal(old.datasets.load(version), frame, check_exact=True)
        pd.testing.assert_frame_equal(old.datasets.load(version, columns=["city"]), frame[["city"]])
        assert version.profile["rows"] == 4
    assert old.datasets.load("arrow", as_="arrow").equals(ARROW)
    assert all(f.ok for f in old.datasets.verify())
    assert [u.how for u in old.datasets.uses("sales@1")] == ["wrote", "read"]


def test_the_same_content_has_the_same_digest(old, tmp_path):
    assert not old.datasets.snapshot(SALES[-1], "sales").new
    assert not old.datasets.snapshot(ARROW, "arrow").new
    fresh = Workspace(open_store(tmp_path / "fresh"), lambda: Context(user="tester", host=hostname()))
    for number, frame in enumerate(SALES, 1):
        assert fresh.datasets.snapshot(frame, "sales").digest == old.datasets.get(f"sales@{number}").digest
    fresh.store.close()


def test_it_goes_on(old, tmp_path):
    changed = SALES[-1].assign(n=pd.array([1, 2, 3, 4], dtype="Int32"))
    made = old.datasets.snapshot(changed, "sales", tags={"season": "spring"})
    assert (made.version, made.format, made.tags) == (4, "chunks-1", {"season": "spring"})
    change = old.datasets.diff("sales@3", "sales@4", key="key")
    assert (change.rows_changed, change.cells_changed) == (1, {"n": 1})
    assert old.datasets.diff("sales@1", "sales@2").rows_changed == 1
    assert old.datasets.diff("sales@2", "sales@3").columns_added == ("extra",)
    for ref in ("sales@1", "sales@4"):
        assert pd.read_parquet(old.datasets.files(ref)[0])["who"].tolist()[3] == ""
        assert old.datasets.export(ref, tmp_path / ref)
    assert all(f.ok for f in old.datasets.verify())


def test_everything_of_0003_is_there(later):
    runs = {run.name: run for run in later.runs.search()}
    assert set(runs) == {"fit-0", "fit-1", "select"}
    fit = later.runs.get(runs["fit-0"].run_id)
    assert (fit.status, fit.params["lr"], fit.tags["kind"]) == ("FINISHED", "0.1", "<b>demo</b>")
    assert later.runs.metric_history(fit.run_id, "loss")["value"].tolist() == [1, 1 / 2, 1 / 3, 1 / 4]
    assert str(fit.metrics["broken"]) == "nan"
    assert later.runs.artifact(fit.run_id, "notes/about.txt") == b"as it was"
    assert later.runs.datasets(fit.run_id) == ["dataset:trips@2"]
    trips = later.datasets.load("trips@2")
    assert trips["city"].tolist() == ["Bern", "Köln", "Bern", "Wien"] * 2
    assert later.models.get("price@staging").version == later.models.get("price@champion").version == 1
    assert later.models.load("price@1").predict(trips[["x"]]).shape == (8,)
    assert later.deployments.window("price")["actual"].dropna().tolist() == [2.0]
    flow = later.pipelines.get("trips")
    assert (flow.status, flow.stages[0].reused, flow.stages[0].results) == ("FINISHED", True, {"rows": 8})
    assert later.lineage.why("dataset:long-trips").root.title
    assert all(f.ok for f in (*later.datasets.verify(), *later.models.verify("price@1")))


def test_0003_goes_on(later):
    assert later.verify_ledger() == 6
    within = later.runs.start("trips", "after")
    within.log_metric("loss", 1.0)
    within.end()
    assert not later.datasets.snapshot(later.datasets.load("trips@2"), "trips").new
    assert later.datasets.snapshot(pd.DataFrame({"x": [1.0]}), "trips").version == 3
    later.models.set_alias("price", "newest", 2)
    later.promotion.promote("price@2", "staging", "again")
    later.promotion.rollback("price", "staging", "no")
    assert later.models.get("price@staging").version == 1
    assert later.verify_ledger() == 9
