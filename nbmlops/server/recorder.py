"""Predictions on their way from the server to the store: a bounded queue and one thread. Answers never wait for it."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbmlops.errors import NbmlopsError
from nbmlops.records import ModelVersion

if TYPE_CHECKING:
    import pandas as pd

    from nbmlops.deployments import Deployments

log = logging.getLogger(__name__)

EVERY_SECONDS = 1.0
EVERY_ROWS = 1_000
CAPACITY = 100_000  # rows; about 100 MB with fifty numeric columns
_LONGEST_WAIT = 30.0
_WARN_SECONDS = 1.0  # a full queue is said once a second, not once a request


@dataclass(frozen=True)
class Piece:
    """Predictions of one model version made together; one row each, ``at`` in seconds."""

    model: ModelVersion
    environment: str | None
    ids: list[str]
    inputs: pd.DataFrame
    outputs: pd.DataFrame
    at: float
    source: str = "online"


class Recorder:
    """Writes pieces through :meth:`Deployments.record` every second or thousand rows.

    What the store refuses is kept and tried again, with growing pauses up to 30 s. When ``capacity`` rows wait, new
    ones are refused, counted and said in the log: memory stays bounded, and the answers go on.
    """

    def __init__(self, deployments: Deployments, capacity: int = CAPACITY) -> None:
        self._deployments = deployments
        self.capacity = capacity
        self._warned = -math.inf
        self._waiting: deque[Piece] = deque()
        self._rows = 0
        self._change = threading.Condition()
        self._writing = threading.Lock()
        self._closing = False
        self._thread: threading.Thread | None = None
        self.recorded = 0
        self.dropped = 0
        self.failures = 0

    @property
    def waiting(self) -> int:
        """Rows that are not stored yet."""
        return self._rows

    def add(self, piece: Piece) -> bool:
        """Take a piece; False if the queue has no room for it, and it will never be stored. Returns at once."""
        rows = len(piece.ids)
        with self._change:
            if self._closing or self._rows + rows > self.capacity:
                self._drop(rows)
                return False
            self._waiting.append(piece)
            self._rows += rows
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="nbmlops-recorder", daemon=True)
                self._thread.start()
            if self._rows >= EVERY_ROWS:
                self._change.notify()
        return True

    def _drop(self, rows: int) -> None:
        self.dropped += rows
        now = time.monotonic()
        if now - self._warned >= _WARN_SECONDS:
            self._warned = now
            log.warning(
                "%d predictions are not recorded: %d rows wait already; %d were dropped since the start",
                *(rows, self._rows, self.dropped),
            )

    def flush(self) -> bool:
        """Write what waits now; False if the store refused it."""
        with self._writing:
            with self._change:
                pieces = list(self._waiting)
            for group in _groups(pieces):
                if not self._write(group):
                    return False
        return True

    def close(self) -> None:
        """Write what waits and end the thread; what the store still refuses is lost, and said in the log."""
        with self._change:
            self._closing = True
            self._change.notify()
        if self._thread is not None:
            self._thread.join(timeout=_LONGEST_WAIT)
        if not self.flush():
            log.error("%d predictions could not be recorded and are lost", self._rows)

    def _run(self) -> None:
        pause = EVERY_SECONDS
        while True:
            with self._change:
                self._change.wait_for(self._due if pause == EVERY_SECONDS else self._ending, timeout=pause)
                if self._closing:
                    return
            pause = EVERY_SECONDS if self.flush() else min(_LONGEST_WAIT, pause * 2)

    def _due(self) -> bool:
        return self._closing or self._rows >= EVERY_ROWS

    def _ending(self) -> bool:
        return self._closing

    def _write(self, pieces: list[Piece]) -> bool:
        """One batch; its pieces leave the queue only when they are stored."""
        try:
            self._store(pieces)
        except Exception as error:  # whatever the reason, the thread must live on and try again
            self.failures += 1
            said = error.message if isinstance(error, NbmlopsError) else repr(error)
            log.warning("%d predictions are not recorded yet: %s", sum(len(p.ids) for p in pieces), said)
            return False
        gone = set(map(id, pieces))
        with self._change:
            self._waiting = deque(p for p in self._waiting if id(p) not in gone)
            self._rows -= sum(len(p.ids) for p in pieces)
        self.recorded += sum(len(p.ids) for p in pieces)
        return True

    def _store(self, pieces: list[Piece]) -> None:
        import pandas as pd

        first = pieces[0]
        self._deployments.record(
            first.model,
            pd.concat([p.inputs for p in pieces], ignore_index=True),
            pd.concat([p.outputs for p in pieces], ignore_index=True),
            ids=[i for p in pieces for i in p.ids],
            source=first.source,
            environment=first.environment,
            at=[p.at for p in pieces for _ in p.ids],
        )


def _groups(pieces: list[Piece]) -> list[list[Piece]]:
    """By model version and source, in the order of arrival."""
    groups: dict[tuple[str, int, str | None, str], list[Piece]] = {}
    for piece in pieces:
        of = piece.model.name, piece.model.version, piece.environment, piece.source
        groups.setdefault(of, []).append(piece)
    return list(groups.values())
