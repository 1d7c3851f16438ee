"""Opening stores: many at once, read-only, damaged, newer; and one transaction being all or nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from shapes import shape

from nbmlops.errors import BlobCorrupt, StoreFault, StoreReadOnly, StoreTooNew
from nbmlops.store import Store, engine, migrations, open_store, schema
from nbmlops.workspace import Workspace

OPEN = "import sys; from nbmlops.store import open_store; open_store(sys.argv[1]).close()"


def test_sixteen_processes_open_a_new_store_at_once(tmp_path: Path) -> None:
    where = tmp_path / "new"
    workers = [subprocess.Popen([sys.executable, "-c", OPEN, str(where)], stderr=subprocess.PIPE) for _ in range(16)]
    results = [(w.communicate()[1].decode(), w.returncode) for w in workers]
    assert [r for r in results if r[1]] == []
    with open_store(where).read() as db:
        assert db.execute(sa.select(sa.func.count()).select_from(schema.meta)).scalar() == 2


def test_settings_of_sqlite(store: Store) -> None:
    with store.read() as db:
        assert db.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert db.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000
    assert (store.folder / ".gitignore").read_text() == "*\n"


def test_no_wal_on_a_network_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "file_system", lambda path: "nfs4")
    store = open_store(tmp_path / "remote")
    with store.read() as db:
        assert db.exec_driver_sql("PRAGMA journal_mode").scalar() == "truncate"


def test_a_failing_transaction_leaves_nothing(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.write() as db:
        db.execute(schema.keys.insert(), {"name": "a"})
        with store.write() as inner:  # joins the outer one
            inner.execute(schema.keys.insert(), {"name": "b"})
        raise ZeroDivisionError
    with store.read() as db:
        assert db.execute(sa.select(schema.keys)).all() == []


def test_a_newer_schema_is_refused(store: Store) -> None:
    with store.write() as db:
        db.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreTooNew, match="9999") as caught:
        open_store(store.folder)
    assert "upgrade" in caught.value.hint


def test_a_damaged_database_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "nbmlops.db").write_bytes(b"not a database at all" * 500)
    with pytest.raises(StoreFault, match="damaged"):
        open_store(folder)


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite:///:memory:", "nonsense://"])
def test_impossible_urls(url: str) -> None:
    with pytest.raises(StoreFault):
        open_store(url)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to read-only folders; the read-only mount test covers it")
def test_a_read_only_folder(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(StoreReadOnly):
        open_store(folder / "store")


def test_a_new_store_equals_all_migrations_in_turn(tmp_path: Path) -> None:
    created = open_store(tmp_path / "created")
    migrated = engine._open_folder(tmp_path / "migrated", None)
    with migrated.write() as db:
        db.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
        migrations.migrate(db, None)
    assert shape(created.folder / "nbmlops.db") == shape(migrated.folder / "nbmlops.db")
    with migrated.read() as db:
        assert migrations.current(db) == migrations.HEAD


def test_backup_is_a_store(store: Store, tmp_path: Path) -> None:
    import zipfile

    from nbmlops.store.backup import write_backup

    digest = store.blobs.put(b"kept")
    count, _ = write_backup(store, tmp_path / "copy.zip")
    assert count == 2
    zipfile.ZipFile(tmp_path / "copy.zip").extractall(tmp_path / "restored")
    assert open_store(tmp_path / "restored").blobs.get(digest) == b"kept"


def test_backup_of_a_damaged_store_saves_the_rest_and_says_so(ws: Workspace, tmp_path: Path) -> None:
    import zipfile

    from nbmlops.store.backup import write_backup

    live = ws.runs.start(name="r")
    artifact = live.log_artifact("a.txt", b"lost")
    live.log_artifact("b.txt", b"kept")
    live.end()
    Path(ws.store.blobs.url(artifact.digest)).unlink()
    with pytest.raises(BlobCorrupt, match="1 objects are missing"):
        write_backup(ws.store, tmp_path / "copy.zip")
    with zipfile.ZipFile(tmp_path / "copy.zip") as saved:
        assert b"kept" in [saved.read(name) for name in saved.namelist()]
