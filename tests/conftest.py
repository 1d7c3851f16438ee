"""Fixtures: a real SQLite store in a temporary folder, a workspace on it, the session, a shell, the command line."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nbmlops import kernels
from nbmlops.context import Context, hostname
from nbmlops.store import Store, open_store
from nbmlops.workspace import Workspace

os.environ.setdefault("MPLBACKEND", "agg")
# One folder for the sockets of warm kernels, also where several processes share the tests: they then share zygotes too.
_FIRST = "NBMLOPS_TESTS_RUNTIME" not in os.environ
if _FIRST:
    os.environ["NBMLOPS_TESTS_RUNTIME"] = tempfile.mkdtemp(prefix="nbmlops-tests-")
    os.environ["JUPYTER_RUNTIME_DIR"] = os.environ["NBMLOPS_TESTS_RUNTIME"]
_RUNTIME = os.environ["NBMLOPS_TESTS_RUNTIME"]
# An empty home of configurations, not the user's. One for all: kernels of another one would need another zygote.
_CONFIG = Path(_RUNTIME, "config")


# Tests that share a server, a browser or other processes that are slow to start, by the beginning of their names.
_TOGETHER = (
    "tests/browser/",
    "tests/kernels/test_specs.py",
    "tests/notebook/test_corpus_oracle.py",
    "tests/store/test_postgres.py",
    "tests/store/test_s3.py",
    "tests/test_snapshot_faults.py::test_processes_that_snapshot_one_name_at_once",
    "tests/widgets/test_static_page.py",
)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """No process that waits for kernels outlives the tests."""
    if _FIRST:
        kernels.stop_all(_RUNTIME)
        shutil.rmtree(_RUNTIME, ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share the tests, long ones go first: none is left alone with one at the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give tests to whichever process is free, but those of ``_TOGETHER`` to one.

    Not by xdist 3.8's own groups: they are written where pytest 9.2 does not look, and have no effect.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((start for start in _TOGETHER if nodeid.startswith(start)), nodeid)

    return Scheduling(config, log) if config.getvalue("dist") == "load" else None


@pytest.fixture(autouse=True)
def _own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test sees the project's store, another user's name, or a pipeline's context."""
    main = sys.modules["__main__"]
    if not hasattr(
        main, "__spec__"
    ):  # a shell of another test has put a module there that no process can be spawned from
        main.__spec__ = None
    for name in [n for n in os.environ if n.startswith("NBMLOPS_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
    monkeypatch.setenv("NBMLOPS_USER", "tester")
    monkeypatch.setenv("NBMLOPS_STAGING_SERVICE", "false")  # it takes seconds; its own tests turn it on
    monkeypatch.setenv("XDG_CONFIG_HOME", str(_CONFIG))
    monkeypatch.setenv("NBMLOPS_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    yield
    assert not _CONFIG.joinpath("nbmlops").exists(), "a test that makes keys takes the fixture own_keys"


@pytest.fixture
def own_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder for keys that this test alone sees."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "store")
    yield opened
    opened.close()


@pytest.fixture
def ws(store: Store) -> Workspace:
    """A workspace of the user "tester", in no run."""
    return Workspace(store, lambda: Context(user="tester", host=hostname()))


@pytest.fixture
def nb(tmp_path: Path) -> Iterator[Any]:
    """The package as a user has it after ``import nbmlops``, on a store of its own; state is reset afterwards."""
    import nbmlops
    from nbmlops import session

    session.reset()
    yield nbmlops
    session.reset()


@pytest.fixture
def cli(nb: Any) -> Callable[..., Any]:
    """Run the command line in process: ``cli("run", "list", "--json", code=0)`` gives the result with ``.json()``."""
    from click.testing import CliRunner

    from nbmlops.cli import entry

    class Result:
        def __init__(self, result: Any) -> None:
            self.code, self.out, self.err = result.exit_code, result.stdout, result.stderr

        def json(self) -> Any:
            return json.loads(self.out)

    def run(*arguments: str, code: int = 0) -> Result:
        done = Result(CliRunner().invoke(entry, list(arguments), catch_exceptions=False))
        assert done.code == code, f"exit {done.code}, not {code}\n{done.out}\n{done.err}"
        return done

    return run
