"""Trouble: every fault ends in two lines with the right exit code, and nothing is half-written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

needs_mount = pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run(["which", "mount"], capture_output=True).returncode != 0,
    reason="LOUD: only root can mount the small and the read-only file system this test needs",
)


def run(*words: str, store: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "NBMLOPS_STORE": str(store)}
    return subprocess.run([sys.executable, "-m", "nbmlops", *words], capture_output=True, text=True, env=env)


def script(code: str, store: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "NBMLOPS_STORE": str(store)}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)


def two_lines(done: subprocess.CompletedProcess[str], code: int, said: str) -> None:
    lines = done.stderr.strip().splitlines()
    assert done.returncode == code, done.stderr
    assert len(lines) == 2, done.stderr
    assert said in lines[0]
    assert lines[1].startswith("  -> ")
    assert "Traceback" not in done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"LOUD: no tmpfs can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@needs_mount
def test_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    store = small_disk / "store"
    assert script("import nbmlops\nwith nbmlops.start_run('first'): nbmlops.log_metric('m', 1)", store).returncode == 0
    table = tmp_path / "big.csv"
    import numpy as np

    np.savetxt(
        table, np.random.default_rng(0).random((60_000, 10)), delimiter=",", header=",".join("abcdefghij"), comments=""
    )
    two_lines(run("dataset", "snapshot", str(table), "--name", "big", store=store), 4, "no space left")
    assert [p for p in (store / "blobs" / "tmp").rglob("*") if p.is_file()] == []
    assert run("datasets", "--json", store=store).stdout.strip() == "[]"
    assert "first" in run("runs", store=store).stdout


@needs_mount
def test_a_disk_that_fills_up_while_logging_keeps_what_was_logged(small_disk: Path) -> None:
    store = small_disk / "store"
    code = """
import nbmlops, sys
from nbmlops.errors import StoreFault
run = nbmlops.start_run("victim")
count = 0
try:
    while True:
        nbmlops.log_metric("m", count, step=count)
        count += 1
except StoreFault as error:
    print(count, *error.lines(), sep="\\n")
import os; os._exit(0)
"""
    done = script(code, store)
    count, first, second = done.stdout.strip().splitlines()
    assert "no space left" in first
    assert second.startswith("  -> ")
    for journal in (store / "journal").iterdir():
        assert journal.stat().st_size % 32 == 0
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    code = (
        "import nbmlops; r = nbmlops.get_run('victim'); print(r.status, len(nbmlops.get_metric_history(r.run_id, 'm')))"
    )
    assert script(code, store).stdout.split() == ["KILLED", count]


@needs_mount
def test_a_read_only_store_is_read_but_not_written(tmp_path: Path) -> None:
    store = tmp_path / "store"
    script("import nbmlops\nwith nbmlops.start_run('kept'): nbmlops.log_metric('m', 1)", store)
    subprocess.run(["mount", "--bind", str(store), str(store)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(store)], check=True)
        shown = run("runs", store=store)
        assert shown.returncode == 0, shown.stderr
        assert "kept" in shown.stdout
        done = script(
            "import nbmlops\ntry: nbmlops.start_run('new')\n"
            "except nbmlops.NbmlopsError as e: print(type(e).__name__, e.exit_code, e.hint)",
            store,
        )
        assert done.stdout.startswith("StoreReadOnly 4"), done
        (tmp_path / "x.csv").write_text("a\n1\n")
        two_lines(run("dataset", "snapshot", str(tmp_path / "x.csv"), "--name", "x", store=store), 4, "read-only")
    finally:
        subprocess.run(["umount", "-l", str(store)], check=True)


def test_a_corrupt_blob(tmp_path: Path) -> None:
    store = tmp_path / "store"
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    assert run("dataset", "snapshot", str(tmp_path / "x.csv"), "--name", "x", store=store).returncode == 0
    for path in (store / "blobs" / "sha256").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.write_bytes(path.read_bytes()[:-1] + b"!")
    two_lines(run("dataset", "export", "x", str(tmp_path / "out"), store=store), 4, "does not have the content")
    assert run("dataset", "verify", store=store).returncode == 1


def test_a_newer_schema(tmp_path: Path) -> None:
    from nbmlops.store import open_store

    opened = open_store(tmp_path / "store")
    with opened.write() as db:
        db.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    opened.close()
    two_lines(run("runs", store=tmp_path / "store"), 4, "schema 9999")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["run", "show", "nothing"], 3, "no run 'nothing'"),
        (["dataset", "show", "nothing"], 3, "nothing"),
        (["model", "show", "nothing@3"], 3, "nothing"),
        (["model", "promote", "nothing", "--to", "staging", "--reason", "x"], 3, "nothing"),
        (["pipeline", "status", "nothing"], 3, "nothing"),
        (["why", "prediction:nothing"], 3, "nothing"),
        (["why", "nothing"], 2, "does not say what kind"),
        (["run", "list", "--filter", "metrics.a >"], 2, "a number or quoted text"),
        (["run", "list", "--limit", "many"], 2, "'many' is not a valid integer"),
        (["frobnicate"], 2, "no such command 'frobnicate'"),
        (["run", "shwo", "x"], 2, "show"),
        (["pipeline", "run", "missing.yaml"], 3, "missing.yaml"),
        (["model", "promote", "m"], 2, "--to"),
        (["predict", "m", "missing.csv", "--out", "o.csv"], 3, "m"),
    ],
)
def test_wrong_words_and_unknown_names(cli: Any, words: list[str], code: int, said: str) -> None:
    done = cli(*words, code=code)
    first, second = done.err.strip().splitlines()
    assert said in first
    assert second.startswith("  -> ")


def test_a_verb_without_its_noun_is_told_where_it_is(cli: Any) -> None:
    first, second = cli("promote", "m", "--to", "staging", code=2).err.strip().splitlines()
    assert first == "UsageFault: no such command 'promote'"
    assert second == "  -> it is `nbmlops model promote`"


def test_a_wrong_setting_is_named_with_its_origin(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBMLOPS_LEASE", "soon")
    assert "setting lease from NBMLOPS_LEASE is 'soon'" in cli("store", "info", code=2).err
    monkeypatch.delenv("NBMLOPS_LEASE")
    (tmp_path / "pyproject.toml").write_text("[tool.nbmlops]\nexperiment = 'from pyproject'\n")
    shown = {s["setting"]: s for s in cli("store", "info", "--json").json()["settings"]}
    assert shown["experiment"] == {"setting": "experiment", "value": "from pyproject", "origin": "pyproject.toml"}
    assert shown["store"]["origin"] == "NBMLOPS_STORE"


def test_debug_shows_the_traceback(cli: Any) -> None:
    assert "Traceback" in cli("--debug", "run", "show", "nothing", code=3).err


def test_errors_travel_between_processes() -> None:
    import pickle

    from nbmlops import errors

    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.NbmlopsError):
            error = kind("what", "do this")
            again = pickle.loads(pickle.dumps(error))
            assert type(again) is kind
            assert again.lines() == error.lines()
            assert again.__notes__ == ["-> do this"]
    faults = pickle.loads(pickle.dumps(errors.InvalidValue.of("x", ["a", "b"], "c")))
    assert faults.faults == ("a", "b")
