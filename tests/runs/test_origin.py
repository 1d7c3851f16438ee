"""Which notebook runs here: the ladder from an explicit setting down to asking the server."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nbmlops.notebook import place
from nbmlops.runs import origin


@pytest.fixture
def space(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The namespace of a shell that seems to be there."""
    names: dict[str, Any] = {}
    monkeypatch.setattr(place, "shell", lambda: SimpleNamespace(user_ns=names))
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    return names


def test_each_rung_counts_only_when_those_above_are_silent(
    space: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place.notebook_path() is None
    monkeypatch.setenv("JPY_SESSION_NAME", "work/from_server.ipynb")
    assert place.notebook_path() == "work/from_server.ipynb"
    space["__session__"] = "work/session.ipynb"
    assert place.notebook_path() == "work/session.ipynb"
    space["__vsc_ipynb_file__"] = "/home/a/vscode.ipynb"
    assert place.notebook_path() == "/home/a/vscode.ipynb"
    assert place.notebook_path("/flow/stage.ipynb") == "/flow/stage.ipynb"
    monkeypatch.setenv("NBMLOPS_NOTEBOOK", "/given.ipynb")
    assert place.notebook_path("/flow/stage.ipynb") == "/given.ipynb"
    assert origin.source()["type"] == "notebook"


def test_a_session_that_is_no_notebook_is_none(space: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "console-1")
    space["__session__"] = "/some/uuid"
    assert place.notebook_path() is None


def test_the_server_is_asked_by_kernel_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            body = json.dumps(
                [{"kernel": {"id": "other"}, "path": "no"}, {"kernel": {"id": "k1"}, "path": "a/b.ipynb"}]
            )
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(runtime))
    here = {"url": f"http://127.0.0.1:{server.server_port}/", "token": "t0ken", "root_dir": "/home/a"}
    (runtime / "jpserver-1.json").write_text(json.dumps(here))
    (runtime / "jpserver-2.json").write_text("{not json")
    (runtime / "jpserver-3.json").write_text(json.dumps({**here, "url": "http://192.0.2.1/"}))  # never asked
    try:
        assert place.ask_servers("k1") == "/home/a/a/b.ipynb"
        assert place.ask_servers("unknown") is None
    finally:
        server.shutdown()
        server.server_close()
    assert set(asked) == {("/api/sessions", "token t0ken")}


def test_outside_a_repository_and_before_the_first_commit(tmp_path: Path) -> None:
    import subprocess

    origin._git_cache.clear()
    assert origin.git(str(tmp_path)) == (None, b"")
    origin._git_cache.clear()
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    facts, diff = origin.git(str(tmp_path))
    assert facts is not None
    assert (facts["commit"], facts["dirty"], diff) == (None, True, b"")
