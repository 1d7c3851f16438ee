"""A packaged model as a real service: ``nbmlops serve`` in a process of its own, over a store with this model only.

The store is a temporary folder with copies of the package's files, so that no request of a rehearsal can reach what the
user has: neither the log of predictions nor the blobs. The process ends with the ``with`` block, and with its parent.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

import sqlalchemy as sa

from nbmlops.errors import StoreFault
from nbmlops.models import Models
from nbmlops.records import ModelVersion
from nbmlops.store import Store, open_store, schema

START_SECONDS = 60.0
STOP_SECONDS = 15.0
ANSWER_SECONDS = 30.0
_ADDRESS = b" at http://127.0.0.1:"
_LAST_WORDS = 12


@dataclass(frozen=True)
class Reply:
    """What came back: the status, and the body as JSON where it is JSON."""

    status: int
    body: Any
    seconds: float


class Service:
    """A running service."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, token: str, words: deque[str]) -> None:
        self.process = process
        self.port = port
        self._token = token
        self._words = words

    @contextlib.contextmanager
    def line(self) -> Iterator[http.client.HTTPConnection]:
        """A connection that is kept open."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)
        try:
            yield line
        finally:
            line.close()

    def ask(
        self, line: http.client.HTTPConnection, path: str, body: bytes | None = None, kind: str = "application/json"
    ) -> Reply:
        """One request: POST with a body, GET without.

        Raises:
            OSError, http.client.HTTPException: the service does not answer as HTTP asks it to.
        """
        headers = {"Authorization": f"Bearer {self._token}", **({} if body is None else {"Content-Type": kind})}
        begun = time.perf_counter()
        line.request("GET" if body is None else "POST", path, body, headers)
        response = line.getresponse()
        content = response.read()
        seconds = time.perf_counter() - begun
        try:
            return Reply(response.status, json.loads(content), seconds)
        except ValueError:  # the answer to a health check, or of something that is no service of ours
            return Reply(response.status, content.decode("utf-8", "replace")[:500], seconds)

    def memory(self) -> int | None:
        """Bytes that the process holds."""
        import psutil

        try:
            return psutil.Process(self.process.pid).memory_info().rss
        except psutil.Error:
            return None

    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    def last_words(self) -> str:
        """The end of what it wrote."""
        return "\n".join(self._words)

    def stop(self) -> int | None:
        """Ask it to end; its exit code, or None if it had to be killed."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return None


@contextlib.contextmanager
def served(models: Models, version: ModelVersion) -> Iterator[Service]:
    """The version as a service; nothing of it is left afterwards.

    Raises:
        StoreFault: it does not start; says what it said last.
    """
    folder = tempfile.mkdtemp(prefix="nbmlops-rehearsal-")
    process = None
    try:
        with contextlib.closing(open_store(folder)) as store:
            _copy(models, version, store)
        token, words = secrets.token_urlsafe(24), deque[str](maxlen=_LAST_WORDS)
        process = subprocess.Popen(
            [sys.executable, "-m", "nbmlops.cli.rehearsed", "serve", version.ref, "--port", "0"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            cwd=folder, env=_environment(folder, token), start_new_session=True,
        )  # fmt: skip
        yield Service(process, _port(process, words), token, words)
    finally:
        if process is not None:
            process.kill()
            process.wait()
            if process.stderr is not None:
                process.stderr.close()
        shutil.rmtree(folder, ignore_errors=True)


def _copy(models: Models, version: ModelVersion, store: Store) -> None:
    """The rows and files of one version, and nothing else."""
    blobs, v, m = models.store.blobs, schema.model_versions, schema.models
    with models.store.read() as db:
        model = db.execute(sa.select(m).where(m.c.name == version.name)).mappings().one()
        row = db.execute(sa.select(v).where(v.c.name == version.name, v.c.version == version.version)).mappings().one()
    for digest in (version.package, *models.manifest(version)["files"].values()):
        store.blobs.put(blobs.get(digest))
    with store.write() as db:
        db.execute(m.insert(), dict(model))
        db.execute(v.insert(), {**row, "profile": None})


def _environment(folder: str, token: str) -> Mapping[str, str]:
    """Those of this process, without what names its store and its secrets."""
    kept = {k: value for k, value in os.environ.items() if not k.startswith("NBMLOPS_")}
    return {**kept, "NBMLOPS_STORE": folder, "NBMLOPS_TOKEN": token, "PYTHONUNBUFFERED": "1"}


def _port(process: subprocess.Popen[bytes], words: deque[str]) -> int:
    """The port that it says it listens on."""
    found: list[int] = []
    ready = threading.Event()
    pipe = process.stderr

    def read(pipe: IO[bytes]) -> None:
        with contextlib.suppress(ValueError):  # the pipe is closed when the service ends
            for line in pipe:
                words.append(line.decode("utf-8", "replace").rstrip())
                if _ADDRESS in line and not found:
                    found.append(int(line.partition(_ADDRESS)[2].split(b" ")[0].rstrip(b"/")))
                    ready.set()
        ready.set()

    if pipe is not None:
        threading.Thread(target=read, args=(pipe,), name="nbmlops-rehearsal", daemon=True).start()
    ready.wait(START_SECONDS)
    if not found:
        said = "\n".join(words) or f"nothing within {START_SECONDS:.0f} s"
        raise StoreFault(f"the service did not start; it said: {said}", "start it by hand: nbmlops serve REF")
    return found[0]
