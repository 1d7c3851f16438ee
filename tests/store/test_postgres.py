"""The same store in PostgreSQL: a private server on a Unix socket, started for these tests."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from nbmlops import secrets
from nbmlops.context import Context, hostname
from nbmlops.errors import Tampered
from nbmlops.runs.fold import Folder
from nbmlops.store import journal, open_store, schema
from nbmlops.workspace import Workspace
from tests.pipelines import notebooks
from tests.store_rows import rows

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The socket folder of a running server; a missing one fails, it does not skip: `make services` installs it."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    assert found, "PostgreSQL is needed for these tests\n  -> make services"
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    # The server refuses to run as root.
    user = [] if os.geteuid() else ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    if not os.geteuid():
        who = pwd.getpwnam("postgres")
        os.chown(folder, who.pw_uid, who.pw_gid)
    data = folder / "data"

    def call(*words: str) -> None:
        subprocess.run([*user, *words], check=True, capture_output=True, cwd=folder, stdin=subprocess.DEVNULL)

    call(str(found[-1] / "initdb"), "-D", str(data), "--no-sync", "-U", "nbmlops", "-A", "trust")
    options = f"-c listen_addresses='' -c unix_socket_directories={folder}"
    call(str(found[-1] / "pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield str(folder)
    finally:
        call(str(found[-1] / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def url(server: str, request: pytest.FixtureRequest) -> str:
    """A new, empty database."""
    name = "t" + str(abs(hash(request.node.name)))
    admin = sa.create_engine(f"postgresql+psycopg://nbmlops@/postgres?host={server}", isolation_level="AUTOCOMMIT")
    with admin.connect() as db:
        db.execute(sa.text(f"DROP DATABASE IF EXISTS {name}"))
        db.execute(sa.text(f"CREATE DATABASE {name}"))
    admin.dispose()
    return f"postgresql+psycopg://nbmlops@/{name}?host={server}"


@pytest.fixture
def team(url: str) -> Iterator[Workspace]:
    store = open_store(url)
    yield Workspace(store, lambda: Context(user="tester", host=hostname()))
    store.close()


LOGGER = """
import sys, nbmlops
with nbmlops.start_run(sys.argv[1], tags={"w": sys.argv[1]}):
    nbmlops.log_params({"n": 3, "name": "x"})
    for i in range(500):
        nbmlops.log_metric("loss", i * 0.5, step=i)
"""


def test_eight_processes_make_and_use_one_store(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBMLOPS_STORE", url)
    workers = [subprocess.Popen([sys.executable, "-c", LOGGER, f"w{n}"], stderr=subprocess.PIPE) for n in range(8)]
    errors = [w.communicate()[1].decode() for w in workers]
    assert [w.returncode for w in workers] == [0] * 8, errors
    ws = Workspace(open_store(url))
    frame = ws.runs.frame(None, "metrics.loss > 1 AND params.n = 3 AND tags.w LIKE 'w%'", ["run_name DESC"])
    assert frame["run_name"].tolist() == [f"w{n}" for n in reversed(range(8))]
    assert frame["metrics.loss"].tolist() == [249.5] * 8
    run = ws.runs.search()[0]
    assert ws.runs.metric_history(run.run_id, "loss")["value"].tolist() == [i * 0.5 for i in range(500)]
    assert run.status == "FINISHED"


def test_special_values_data_models_and_the_ledger(team: Workspace) -> None:
    from sklearn.linear_model import LinearRegression

    live = team.runs.start(name="special")
    for value in (float("nan"), float("inf"), 1.0):
        live.log_metric("m", value)
    live.end()
    assert str(team.runs.metric_history(live.run_id, "m")["value"].tolist()) == "[nan, inf, 1.0]"
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0], "c": pd.Categorical([1, 2, 1])})
    version = team.datasets.snapshot(frame, "t")
    pd.testing.assert_frame_equal(team.datasets.load(version.ref), frame)
    assert not team.datasets.snapshot(frame, "t").new
    model = LinearRegression().fit(frame[["x"]], [1, 2, 3])
    assert team.models.register(model, "m", input_example=frame[["x"]]).version == 1
    team.promotion.promote("m", "staging", "first")
    assert team.models.get("m@staging").version == 1
    assert team.verify_ledger() == 2
    with team.store.write() as db:
        db.execute(sa.text("UPDATE ledger SET data = '{}' WHERE seq = 1"))
    with pytest.raises(Tampered):
        team.verify_ledger()


def test_stores_are_merged_in_and_out(team: Workspace, tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0]})
    team.datasets.snapshot(frame, "trips")
    old = Path(__file__).parents[1] / "data" / "store-0003"
    merged = team.merge(old)
    assert (merged.added["runs"], merged.added["flows"]) == (3, 2)
    assert {r.there: r.here for r in merged.renumbered} == {
        "dataset:trips@1": "dataset:trips@2",
        "dataset:trips@2": "dataset:trips@3",
    }
    assert team.merge(old).added == {}
    assert team.datasets.load("trips@3")["city"].tolist() == ["Bern", "Köln", "Bern", "Wien"] * 2
    assert team.models.get("price@staging").version == 1
    assert team.runs.get(team.runs.search()[-1].run_id).params["data"] == "dataset:trips@3"
    assert team.verify_ledger() == 2
    assert not team.datasets.snapshot(team.datasets.load("trips@3"), "trips").new
    # And from the server into a folder; its files lie in this test's project.
    mine = Workspace(open_store(tmp_path / "mine"), lambda: Context(user="tester", host=hostname()))
    back = mine.merge(team.store.url)
    assert (back.added["runs"], back.added["data set versions"], back.renumbered) == (3, 4, ())
    assert mine.merge(team.store.url).added == {}
    assert mine.datasets.load("trips@3").equals(team.datasets.load("trips@3"))
    assert mine.verify_ledger() == 2
    mine.store.close()


def test_no_row_holds_a_secret(team: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    value = 'tok/9f+"Zq3'
    monkeypatch.setenv("API_TOKEN", value)
    try:
        secrets.Secret("env:API_TOKEN")
        live = team.runs.start(value, params={"p": value}, tags={value: 1}, source={"type": "script", "path": value})
        live.end("FAILED", {"name": "E", "message": [value, {value: 1.5}], "traceback": repr(value)})
        with team.store.read() as db:
            rows = [repr(db.execute(sa.select(t)).all()) for t in schema.metadata.sorted_tables]
        assert not any("tok/9f+" in row for row in rows)
        error = team.runs.get(live.run_id).error
        assert error is not None
        assert error["message"] == ["[secret env:API_TOKEN]", {"[secret env:API_TOKEN]": 1.5}]
    finally:
        secrets.forget()


SNAPPER = """
import sys, nbmlops
from nbmlops import session
session.workspace()
print("ready", flush=True)
sys.stdin.readline()
print(nbmlops.snapshot({"a": [int(sys.argv[2])] * 1000}, sys.argv[1]).version)
"""


@pytest.mark.parametrize("equal", [True, False])
def test_processes_that_snapshot_one_name_at_once(url: str, monkeypatch: pytest.MonkeyPatch, equal: bool) -> None:
    monkeypatch.setenv("NBMLOPS_STORE", url)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    values = [7 if equal else n for n in range(4)]
    workers = [subprocess.Popen([sys.executable, "-c", SNAPPER, "x", str(v)], **pipes) for v in values]
    assert [w.stdout.readline() for w in workers] == ["ready\n"] * 4
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    made = [int(w.communicate()[0]) for w in workers]
    assert sorted(made) == ([1] * 4 if equal else [1, 2, 3, 4])
    datasets = Workspace(open_store(url)).datasets
    for version, value in zip(made, values):
        assert datasets.load(f"x@{version}")["a"].tolist() == [value] * 1000
    assert [f for f in datasets.verify() if not f.ok] == []


def test_the_url_is_shown_without_its_password() -> None:
    from nbmlops.store import engine

    store = engine._open_server("postgresql+psycopg://anna:s3cret@localhost:1/db", None)
    assert "s3cret" not in store.shown_url
    assert "s3cret" in store.url


def test_an_absent_server_is_two_lines(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBMLOPS_STORE", "postgresql+psycopg://anna:s3cret@127.0.0.1:9/db")
    done = cli("runs", code=4)
    assert len(done.err.strip().splitlines()) == 2
    assert "s3cret" not in done.err


def test_a_clean_run_has_a_store_of_its_own(team: Workspace, tmp_path: Path) -> None:
    team.datasets.snapshot(pd.DataFrame({"x": [1.0, 2.0]}), "numbers")
    cells = "import nbmlops\nnbmlops.log_metric('sum', nbmlops.load_dataset('numbers').x.sum())\n"
    escape = f"nbmlops.use({team.store.url!r})\nnbmlops.start_run('escaped', nested=True)\nnbmlops.end_run()"
    path = notebooks.write(tmp_path / "s.ipynb", "n: int = 1", cells, escape)
    run = team.pipelines.run_stage(path, progress=False)
    team.datasets.snapshot(pd.DataFrame({"x": [9.0]}), "numbers")
    team.cells.fold()
    before = rows(team.store)
    certificate = team.reproduction.reproduce(run.run_id, progress=False)
    assert certificate.status == "reproduced", certificate.differences
    after = rows(team.store)
    assert {name for name in after if after[name] != before[name]} == {"certificates", "ledger"}
    assert team.verify_ledger() == 1


def test_two_that_fold_one_journal_at_once_apply_it_once(team: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    live = team.runs.start("x")
    written = journal.Journal(team.store.journal_folder, live.run_id)
    written.point("loss", 1.0, 0, 0.0)
    with team.store.read() as db:
        seq = db.execute(sa.select(schema.runs.c.seq).where(schema.runs.c.id == live.run_id)).scalar_one()
    first, second = (Folder(team.store, live.run_id, seq) for _ in range(2))
    first.fold()  # what comes first is written whole; later points are added to what is there
    written.point("loss", 0.5, 1, 0.0)
    other, read = threading.Thread(target=first.fold), journal.read

    def read_slowly(*args: Any) -> Iterator[journal.Batch]:
        """The other one begins, and ends if it may, between the offset and the rows that are added to."""
        monkeypatch.setattr(journal, "read", read)
        other.start()
        waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        with team.store.engine.connect() as db:
            while other.is_alive() and not db.execute(sa.text(waits)).scalar():
                db.rollback()
        yield from read(*args)

    monkeypatch.setattr(journal, "read", read_slowly)
    second.fold()
    other.join()
    written.close()
    live.end()
    assert team.runs.metric_history(live.run_id, "loss").value.tolist() == [1.0, 0.5]
