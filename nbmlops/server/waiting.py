"""A version that waits for its approval, beside the one in service: the shares of requests that it answers, or sees.

``canary`` and ``shadow`` are settings of an environment. What the waiting version answers to a canary request is the
answer; what it answers to a shadow request nobody sees. Either is recorded under its own version, with its source.
"""

from __future__ import annotations

import hashlib
import logging
import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from nbmlops import clock, policy
from nbmlops.store import schema

if TYPE_CHECKING:
    from nbmlops.models import Models
    from nbmlops.server.serving import Served

log = logging.getLogger(__name__)

MOST_SHADOWED = 64  # requests that may wait to be seen; more are left out, and counted
CANARY, SHADOW = "canary", "shadow"


@dataclass(frozen=True)
class Waiting:
    """A loaded version that waits, and its shares."""

    served: Served
    canary: float
    shadow: float


class Beside:
    """Finds the version that waits for an environment, and has it answer its shares.

    Args:
        models: loads it.
        environment: of the server; None: nothing ever waits.
        load: loads a version.
    """

    def __init__(self, models: Models, environment: str | None, load: Callable[[Any], Served]) -> None:
        self._models = models
        self._environment = environment
        self._load = load
        self._refused: str | None = None
        self._chance = random.Random()
        self._shadows = ThreadPoolExecutor(1, thread_name_prefix="nbmlops-shadow")
        self._queued = 0
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.now: Waiting | None = None

    def look(self, name: str, standing: int) -> None:
        """See what waits now. Whatever goes wrong, the version in service goes on alone."""
        try:
            self.now = self._found(name, standing)
        except Exception as error:  # the store, the project's file, or the waiting version's own code
            self.now = None
            told = f"{type(error).__name__}: {error}"
            if told != self._refused:  # once, not once a second
                log.warning("no version waiting for %s is tried: %s", self._environment, told)
            self._refused = told

    def _found(self, name: str, standing: int) -> Waiting | None:
        if self._environment is None:
            return None
        asked = policy.current(self._models.store).of(self._environment, name)
        if not asked.canary and not asked.shadow:
            return None
        a = schema.approvals
        open_ = sa.and_(a.c.name == name, a.c.environment == self._environment, a.c.status == "open")
        in_time = sa.or_(a.c.expires_at.is_(None), a.c.expires_at > clock.now())
        with self._models.store.read() as db:
            query = sa.select(a.c.version).where(open_, in_time).order_by(a.c.created_at.desc()).limit(1)
            number = db.execute(query).scalar()
        if number is None or number == standing:
            return None
        if self.now is not None and self.now.served.version.version == number:
            return Waiting(self.now.served, asked.canary, asked.shadow)
        served = self._load(self._models.get(f"model:{name}@{number}"))
        log.info("%s waits for %s: it answers %.1f%%, and sees %.1f%% of the requests",
                 served.version.ref, self._environment, asked.canary * 100, asked.shadow * 100)  # fmt: skip
        return Waiting(served, asked.canary, asked.shadow)

    def takes(self, kind: str, key: str | None) -> bool:
        """Whether a request is of the share; the same key is always answered the same way."""
        if self.now is None or not (share := getattr(self.now, kind)):
            return False
        if key is None:
            return self._chance.random() < share
        return int.from_bytes(hashlib.sha256(f"{kind}:{key}".encode()).digest()[:8]) / 2**64 < share

    def see(self, predict: Callable[[], Any], answered: dict[str, list[Any]]) -> None:
        """Have the waiting version answer after the request was answered; how far they agree is counted."""
        with self._lock:
            if self._queued >= MOST_SHADOWED:
                self.counts["shadow left out"] += 1
                return
            self._queued += 1
        self._shadows.submit(self._seen, predict, answered)

    def _seen(self, predict: Callable[[], Any], answered: dict[str, list[Any]]) -> None:
        try:
            found = predict()
            if isinstance(found, Exception):
                self.counts["shadow failed"] += 1
                return
            self.counts["shadow"] += 1
            pairs = list(zip(found.outputs.get("prediction", ()), answered.get("prediction", ()), strict=False))
            self.counts["shadow rows"] += len(pairs)
            self.counts["shadow rows that agree"] += sum(a == b for a, b in pairs)
        finally:
            with self._lock:
                self._queued -= 1

    def close(self) -> None:
        """End the thread; the few requests that wait to be seen are seen first."""
        self._shadows.shutdown(wait=True)

    def told(self) -> dict[str, Any]:
        """What waits, its shares and counts, as JSON."""
        now = self.now
        waits = None if now is None else {"model": now.served.version.ref, "canary": now.canary, "shadow": now.shadow}
        return {"waiting": waits, "counts": dict(self.counts)}
