"""Decisions as a hash chain: each event holds the hash of the one before, so that none can be changed unseen.

``hash = sha256(previous + "\\n" + canonical JSON of everything else)``. An event is appended in the same transaction
as the act it tells of: there is never one without the other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from nbmlops import clock, secrets
from nbmlops.errors import NotFound, Tampered
from nbmlops.records import Event, plain
from nbmlops.store.engine import Store, lock_ledger
from nbmlops.store.schema import ledger, merged_ledger, merged_stores

GENESIS = "0" * 64
MERGED = "store.merged"


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
        "signer": None,
        "signature": None,
    }
    row["hash"] = _hash(row)
    db.execute(ledger.insert(), row)
    return _event(row)


def read(store: Store, *, subject: str | None = None, limit: int | None = None, merged: bool = False) -> list[Event]:
    """Events, newest first; ``subject`` may be a reference or its beginning (``model:churn``).

    Those of stores whose content was taken over come with ``merged``; they speak of versions by the numbers there.
    """
    with store.read() as db:
        found = [_event(dict(row)) for row in db.execute(_asked(ledger, subject, limit)).mappings()]
        if merged:
            found += [_event(dict(row)) for row in db.execute(_asked(merged_ledger, subject, limit)).mappings()]
            found = sorted(found, key=lambda e: (e.at, e.seq), reverse=True)[:limit]
        return found


def _asked(table: sa.Table, subject: str | None, limit: int | None) -> sa.Select[Any]:
    query = sa.select(table).order_by(*((table.c.at.desc(),) if table is merged_ledger else ()), table.c.seq.desc())
    if subject:
        query = query.where(
            sa.or_(table.c.subject == subject, table.c.subject.startswith(subject + "@", autoescape=True))
        )
    return query.limit(limit) if limit else query


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
    with store.read() as db:
        return check(map(dict, db.execute(sa.select(ledger).order_by(ledger.c.seq)).mappings()))


def verify_merged(store: Store) -> dict[str, int]:
    """Check the chain of every store whose content was taken over; the number of events of each.

    Raises:
        Tampered: as :func:`verify`, and where a chain has lost the end that our own ledger tells of.
    """
    with store.read() as db:
        names = db.execute(sa.select(merged_stores.c.store_id).order_by(merged_stores.c.store_id)).scalars().all()
        chains = {name: list(chain(db, name)) for name in names}
        told = db.execute(sa.select(ledger.c.data).where(ledger.c.type == MERGED).order_by(ledger.c.seq)).scalars()
        heads = {name: head for text in told for name, head in json.loads(text).get("ledgers", {}).items()}
    counts = {name: check(rows, f"the ledger of {name}") for name, rows in chains.items()}
    for name, (count, last) in heads.items():
        held = chains.get(name, [])
        if count and (len(held) < count or held[count - 1]["hash"] != last):
            raise Tampered(
                f"the ledger of {name}, taken over with {count} events, is not what it was then",
                "restore the store from a backup, or merge that store once more into a new one",
            )
    return counts


def chain(db: sa.Connection, store_id: str) -> Iterator[Mapping[str, Any]]:
    """The events of a store that was taken over, oldest first."""
    theirs = sa.select(merged_ledger).where(merged_ledger.c.store_id == store_id).order_by(merged_ledger.c.seq)
    for row in db.execute(theirs).mappings():
        yield {name: value for name, value in row.items() if name != "store_id"}


def check(rows: Iterable[Mapping[str, Any]], whose: str = "the ledger") -> int:
    """Follow a chain from its beginning; returns the number of events.

    Raises:
        Tampered: names the first event that was changed, removed, inserted or moved.
    """
    previous, place = GENESIS, 0
    for row in rows:
        place += 1
        if row["seq"] != place:
            raise Tampered(
                f"event {place} is missing from {whose}",
                "restore the store from a backup and find out who removed it",
            )
        if row["previous"] != previous or _hash(dict(row)) != row["hash"]:
            raise Tampered(
                f"event {place} of {whose} ({row['type']} of {row['subject']}) is not what was written",
                "restore the store from a backup and compare the two",
            )
        previous = row["hash"]
    return place


def _hash(row: dict[str, Any]) -> str:
    facts = {k: row[k] for k in ("seq", "id", "type", "subject", "user", "at", "data")}
    if row.get("signer"):  # so that a signature cannot be taken away
        facts["signer"] = row["signer"]
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(f"{row['previous']}\n{text}".encode()).hexdigest()


def _event(row: dict[str, Any]) -> Event:
    store = row.pop("store_id", None)
    return Event(**{**row, "data": json.loads(row["data"])}, store=store)
