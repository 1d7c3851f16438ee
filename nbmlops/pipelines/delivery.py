"""Where events go: appended to a file as JSON lines, or posted to a server by a thread that nobody waits for."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbmlops.lines import append

ATTEMPTS, BACKOFF, TIMEOUT = 5, 0.2, 5.0  # seconds before the second attempt, doubled; seconds for one request
_MOST_WAITING = 1000
_PASSING = frozenset({408, 425, 429})  # besides 5xx, the answers after which another attempt may do


class FileTarget:
    """Appends events to a file, whole lines only, also when several processes do so."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def send(self, event: dict[str, Any]) -> None:
        """Write one event.

        Raises:
            OSError: the file cannot be written.
        """
        append(self.path, event)

    def close(self, seconds: float) -> None:
        """Nothing is left to do."""


class HttpTarget:
    """Posts events in their order. What is not delivered goes to a file, and is told to ``fault``.

    ``OPENLINEAGE_API_KEY`` is sent as a bearer token, as OpenLineage's own clients do.
    """

    def __init__(self, url: str, undelivered: Path, fault: Callable[[str], None]) -> None:
        parts = urllib.parse.urlsplit(url)
        self.url = url if parts.path.strip("/") else url.rstrip("/") + "/api/v1/lineage"
        self.kept, self.fault = FileTarget(undelivered), fault
        self._waiting: queue.Queue[dict[str, Any] | None] = queue.Queue(_MOST_WAITING)
        self._stop = threading.Event()
        self._down = False  # once a server has been given up on, further events wait for one attempt only
        self._thread = threading.Thread(target=self._work, name="nbmlops-openlineage", daemon=True)
        self._thread.start()

    def send(self, event: dict[str, Any]) -> None:
        """Queue one event; if the queue is full it is kept in the file instead."""
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            self._keep(event, "the queue is full")

    def close(self, seconds: float) -> None:
        """Deliver what waits for at most so long; the rest is kept."""
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(seconds)
        self._stop.set()  # a thread that still tries gives up and keeps its event
        self._thread.join(1.0)
        while True:
            try:
                event = self._waiting.get_nowait()
            except queue.Empty:
                return
            if event is not None:
                self._keep(event, f"{self.url} did not answer in time")

    def _work(self) -> None:
        while (event := self._waiting.get()) is not None:
            if problem := self._deliver(event):
                self._keep(event, problem)
            if self._stop.is_set():
                return

    def _deliver(self, event: dict[str, Any]) -> str:
        """Post with retries; what went wrong at last, or nothing."""
        problem = ""
        for attempt in range(1 if self._down else ATTEMPTS):
            if attempt and self._stop.wait(BACKOFF * 2 ** (attempt - 1)):
                break
            try:
                self._post(event)
            except urllib.error.HTTPError as error:
                problem = f"{self.url} answered {error.code}"
                if error.code < 500 and error.code not in _PASSING:
                    return problem
            except (OSError, ValueError) as error:
                problem = f"{self.url}: {error}"
            else:
                self._down = False
                return ""
        self._down = True
        return problem

    def _post(self, event: dict[str, Any]) -> None:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get("OPENLINEAGE_API_KEY"):
            headers["Authorization"] = f"Bearer {key}"
        body = json.dumps(event, ensure_ascii=False, default=str).encode()
        request = urllib.request.Request(self.url, body, headers)  # noqa: S310  (http or https: the emitter looks)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
            answer.read()

    def _keep(self, event: dict[str, Any], problem: str) -> None:
        try:
            self.kept.send(event)
        except OSError as error:
            problem = f"{problem}; nor can {self.kept.path} be written: {error.strerror}"
        self.fault(problem)
