"""Announcing events: to files and webhooks, after they are committed, each at least once and in order.

The ledger itself is what waits to go out: the table ``announcements`` only says what has become of an event at a
receiver. A thread of its own delivers; no act ever waits for it, or fails because of it. What a process does not get
done, the next one does, or ``nbmlops ledger deliver``.
"""

from __future__ import annotations

import atexit
import http.client
import logging
import threading
import weakref
from typing import Any

import sqlalchemy as sa

from nbmlops import clock
from nbmlops.announcements import sinks as room
from nbmlops.announcements.sinks import Refused, Sink
from nbmlops.errors import NbmlopsError
from nbmlops.records import Event
from nbmlops.store import Store, ledger, schema
from nbmlops.store.engine import store_id

log = logging.getLogger(__name__)

ATTEMPTS = 10
LEASE = 60.0  # seconds after which a delivery that nobody has ended is another's
_FIRST, _LONGEST = 1.0, 600.0  # seconds before the second attempt, doubled up to the last
_AT_END = 3.0  # seconds that a process which ends gives to what is left
_BATCH = 200
A = schema.announcements
_ENDED = ("sent", "dead")


class Announcements:
    """Delivery to the receivers that a project names."""

    def __init__(self, store: Store, sinks: list[Sink]) -> None:
        self.store = store
        self.sinks = sinks
        self._source = store_id(store)

    def deliver(self) -> dict[str, int]:
        """Everything that is due now; how many were ``sent``, are ``dead``, and ``wait`` for another attempt."""
        told = {"sent": 0, "dead": 0, "waiting": 0}
        for sink in self.sinks:
            while (claimed := self._claim(sink)) is not None:
                status = self._send(sink, *claimed)
                told[status] += 1
                if status == "waiting":
                    break  # in order: what comes after waits too
        return told

    def next_at(self) -> float | None:
        """When the next attempt is due; None if nothing waits."""
        query = sa.select(sa.func.min(A.c.next_at)).where(
            A.c.status.not_in(_ENDED), A.c.sink.in_([sink.name for sink in self.sinks])
        )
        with self.store.read() as db:
            return db.execute(query).scalar()

    def list(self, *, dead: bool = False) -> list[dict[str, Any]]:
        """What has become of events, the newest first: ``event sink status attempts error at``."""
        query = sa.select(A).order_by(A.c.seq.desc()).limit(1_000)
        if dead:
            query = query.where(A.c.status == "dead")
        with self.store.read() as db:
            rows = db.execute(query).mappings().all()
        kept = ("sink", "status", "attempts", "error", "at")
        return [{"event": row["event_seq"], **{name: row[name] for name in kept}} for row in rows]

    def retry(self) -> int:
        """Give what is dead another chance; how many."""
        again = {"status": "waiting", "attempts": 0, "next_at": clock.now(), "error": None}
        with self.store.write() as db:
            return db.execute(A.update().where(A.c.status == "dead").values(**again)).rowcount

    # -- inside ----------------------------------------------------------------------------------------------------
    def _claim(self, sink: Sink) -> tuple[Event, int] | None:
        """The next event for a receiver, and which attempt it is; None if there is none, or another process has it."""
        now = clock.now()
        with self.store.write() as db:
            mine = A.c.sink == sink.name
            query = sa.select(A).where(mine, A.c.status.not_in(_ENDED)).order_by(A.c.event_seq).limit(1)
            row = db.execute(query).mappings().first()
            if row is not None:
                if row["next_at"] > now:
                    return None
                values = {"status": "sending", "attempts": row["attempts"] + 1, "next_at": now + LEASE}
                db.execute(A.update().where(A.c.seq == row["seq"]).values(**values))
                return ledger.get(self.store, row["event_seq"]), row["attempts"] + 1
            last = db.execute(sa.select(sa.func.max(A.c.event_seq)).where(mine)).scalar() or sink.after
            event = self._next(db, sink, last)
            if event is None:
                return None
            new = {"event_seq": event.seq, "sink": sink.name, "status": "sending", "attempts": 1}
            db.execute(A.insert(), {**new, "next_at": now + LEASE, "error": None, "at": now})
            return event, 1

    def _next(self, db: sa.Connection, sink: Sink, last: int) -> Event | None:
        e = schema.ledger
        while rows := db.execute(
            sa.select(e.c.seq, e.c.type).where(e.c.seq > last).order_by(e.c.seq).limit(_BATCH)
        ).all():
            for row in rows:
                if sink.wants(row.type):
                    return ledger.get(self.store, row.seq)
            last = rows[-1].seq
        return None

    def _send(self, sink: Sink, event: Event, attempt: int) -> str:
        try:
            sink.send(event.to_cloudevent(self._source))
        except Refused as error:
            return self._ended(sink, event, "dead", str(error))
        except (OSError, http.client.HTTPException, ValueError) as error:
            if attempt >= ATTEMPTS:
                return self._ended(sink, event, "dead", f"{attempt} attempts: {error}")
            return self._ended(sink, event, "waiting", str(error), min(_FIRST * 2 ** (attempt - 1), _LONGEST))
        return self._ended(sink, event, "sent", None)

    def _ended(self, sink: Sink, event: Event, status: str, error: str | None, wait: float = 0.0) -> str:
        now = clock.now()
        values = {"status": status, "error": error, "next_at": now + wait, "at": now}
        with self.store.write() as db:
            db.execute(A.update().where(A.c.sink == sink.name, A.c.event_seq == event.seq).values(**values))
        if status == "dead":
            log.warning("event %s was not announced to %s: %s", event.seq, sink.name, error)
        return status


class Courier:
    """The thread that delivers for one store. It begins with the first event, and ends with the process."""

    def __init__(self, store: Store) -> None:
        self._store = weakref.ref(store)
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def told(self) -> None:
        """An event was committed: deliver it, some time soon."""
        with self._lock:
            self._wake.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="nbmlops-courier", daemon=True)
                self._thread.start()
                atexit.register(self.close)

    def close(self) -> None:
        """Deliver what is due, for three seconds at most."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_AT_END)

    def _work(self) -> None:
        while True:
            self._wake.wait(self._pause())
            self._wake.clear()
            if (store := self._store()) is None:
                return
            try:
                Announcements(store, room.read()).deliver()
            except NbmlopsError as error:  # the project's file may be wrong, the store locked: the act is done
                log.warning("events were not announced: %s", error.message)
            del store
            if self._stop.is_set():
                return

    def _pause(self) -> float | None:
        """Seconds until something is due; None if nothing is."""
        store = self._store()
        if store is None or self._stop.is_set():
            return 0.0
        try:
            due = Announcements(store, room.read()).next_at()
        except NbmlopsError:
            return _LONGEST
        return None if due is None else max(0.05, due - clock.now())


_couriers: weakref.WeakKeyDictionary[Store, Courier] = weakref.WeakKeyDictionary()
_couriers_lock = threading.Lock()


def told(store: Store) -> None:
    """Events were committed to this store: a thread announces them where the project names receivers."""
    try:
        if not room.read():
            return
    except NbmlopsError as error:  # the act is done; whoever wrote the file is told by `nbmlops ledger deliver`
        log.warning("events are not announced: %s", error.message)
        return
    with _couriers_lock:
        courier = _couriers.get(store)
        if courier is None:
            courier = _couriers[store] = Courier(store)
    courier.told()
