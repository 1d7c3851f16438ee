"""A real server in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import httpx
import pytest

from nbmlops.errors import UsageFault
from nbmlops.server import is_loopback, listening, serve


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("example.org", False)],
)
def test_loopback(host, loopback):
    assert is_loopback(host) is loopback


def test_other_hosts_need_a_token(ws, model, monkeypatch, capsys):
    with pytest.raises(UsageFault, match=r"0\.0\.0\.0"):
        serve(ws, "churn", host="0.0.0.0")
    started = {}

    def run(self, sockets):
        self.started = True
        started["at"] = sockets[0].getsockname()

    monkeypatch.setattr("uvicorn.Server.run", run)
    monkeypatch.setenv("NBMLOPS_TOKEN", "t")
    serve(ws, "churn", host="0.0.0.0", port=0)
    assert started["at"][0] == "0.0.0.0"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"serving model:churn@1 at http://0.0.0.0:{started['at'][1]}")
    assert "/docs" in line
    assert "Ctrl-C" in line


def test_a_port_in_use_and_a_strange_host():
    with listening("127.0.0.1", 0) as door:
        port = door.getsockname()[1]
        with pytest.raises(UsageFault, match=rf"port {port} of 127\.0\.0\.1 is in use"):
            listening("127.0.0.1", port)
    with pytest.raises(UsageFault, match="cannot listen"):
        listening("192.0.2.1", 0)


def test_a_server_answers_and_writes_before_it_ends(ws, model, tensors, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = "import sys; from nbmlops.server import serve; from nbmlops.workspace import Workspace; "
    code += "serve(Workspace(sys.argv[1]), 'churn', port=int(sys.argv[2]))"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "store"), str(port)], env={**os.environ})
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            _wait(client, process)
            answer = client.post("/v2/models/churn/infer", json={"inputs": tensors}).json()
        process.terminate()
        process.wait(30)
    finally:
        process.kill()
        process.wait(10)
    ids = answer["parameters"]["prediction_ids"]
    assert [ws.deployments.prediction(i)["model"] for i in ids] == ["model:churn@1"] * 3


def _wait(client, process):
    deadline = time.monotonic() + 60
    while True:
        try:
            if client.get("/v2/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.05)
