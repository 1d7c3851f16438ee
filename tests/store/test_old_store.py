"""A store of nbmlops 0.1 (schema 0001, frames as whole files): opened, migrated, read, compared and continued."""

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

OLD = Path(__file__).parents[1] / "data" / "store-0001"


@pytest.fixture
def old(tmp_path):
    shutil.copytree(OLD, tmp_path / "old")
    ws = Workspace(open_store(tmp_path / "old"), lambda: Context(user="tester", host=hostname()))
    yield ws
    ws.store.close()


def test_it_is_migrated(old, tmp_path):
    with old.store.read() as db:
        assert migrations.current(db) == migrations.HEAD
        assert sa.inspect(db).has_table(schema.dataset_tags.name)
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
