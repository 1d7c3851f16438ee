"""Decisions as a hash chain: each event holds the hash of the one before, so that none can be changed unseen.

``hash = sha256(previous + "\\n" + canonical JSON of everything else)``. An event is appended in the same transaction
as the act it tells of: there is never one without the other.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import sqlalchemy as sa

from nbmlops import clock, secrets
from nbmlops.errors import NotFound, Tampered
from nbmlops.records import Event, plain
from nbmlops.store.engine import Store, lock_ledger
from nbmlops.store.schema import ledger

GENESIS = "0" * 64


def append(db: sa.Connection, *, type: str, subject: str, user: str, data: dict[str, Any]) -> Event:
    """Append one event inside ``store.write()``; returns it with its place and hash."""
    lock_ledger(db)
    last = db.execute(sa.select(ledger.c.seq, ledger.c.hash).order_by(ledger.c.seq.desc()).limit(1)).first()
    row: dict[str, Any] = {
        "seq": (last.seq if last else 0) + 1,
        "id": clock.new_id(),
        "type": type,
        "subject": secrets.scrub_text(subject),
        "user": secrets.scrub_text(user),
        "at": clock.now(),
        # Masked here and not by the database's gate: the hash is of what is written.
        "data": json.dumps(
            secrets.scrub(plain(data)), sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str
        ),
        "previous": last.hash if last else GENESIS,
    }
    row["hash"] = _hash(row)
    db.execute(ledger.insert(), row)
    return _event(row)


def read(store: Store, *, subject: str | None = None, limit: int | None = None) -> list[Event]:
    """Events, newest first; ``subject`` may be a reference or its beginning (``model:churn``)."""
    query = sa.select(ledger).order_by(ledger.c.seq.desc())
    if subject:
        query = query.where(
            sa.or_(ledger.c.subject == subject, ledger.c.subject.startswith(subject + "@", autoescape=True))
        )
    if limit:
        query = query.limit(limit)
    with store.read() as db:
        return [_event(dict(row)) for row in db.execute(query).mappings()]


def get(store: Store, seq: int) -> Event:
    """One event by its place in the chain.

    Raises:
        NotFound: there is none.
    """
    with store.read() as db:
        row = db.execute(sa.select(ledger).where(ledger.c.seq == seq)).mappings().first()
    if row is None:
        raise NotFound.of("event", str(seq))
    return _event(dict(row))


def verify(store: Store) -> int:
    """Check the whole chain; returns the number of events.

    Raises:
        Tampered: names the first event that was changed, removed, inserted or moved.
    """
    previous, place = GENESIS, 0
    with store.read() as db:
        for row in db.execute(sa.select(ledger).order_by(ledger.c.seq)).mappings():
            place += 1
            if row["seq"] != place:
                raise Tampered(
                    f"event {place} is missing from the ledger",
                    "restore the store from a backup and find out who removed it",
                )
            if row["previous"] != previous or _hash(dict(row)) != row["hash"]:
                raise Tampered(
                    f"event {place} ({row['type']} of {row['subject']}) is not what was written",
                    "restore the store from a backup and compare the two",
                )
            previous = row["hash"]
    return place


def _hash(row: dict[str, Any]) -> str:
    facts = {k: row[k] for k in ("seq", "id", "type", "subject", "user", "at", "data")}
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(f"{row['previous']}\n{text}".encode()).hexdigest()


def _event(row: dict[str, Any]) -> Event:
    return Event(**{**row, "data": json.loads(row["data"])})
