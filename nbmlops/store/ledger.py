"""Decisions as a hash chain: each event holds the hash of the one before, so that none can be changed unseen.

``hash = sha256(previous + "\\n" + canonical JSON of everything else)``. An event is appended in the same transaction
as the act it tells of: there is never one without the other. Who has a key signs: the hash is signed, and the key's id
is part of what is hashed, so that no signature can be taken away unseen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from nbmlops import clock, secrets, signing
from nbmlops.errors import NotAllowed, NotFound, Tampered
from nbmlops.records import Event, plain
from nbmlops.store import chains
from nbmlops.store.chains import GENESIS, digest
from nbmlops.store.engine import EVENTS, Store, lock_ledger
from nbmlops.store.people import KEY_REVOKED, people
from nbmlops.store.schema import ledger, merged_ledger, merged_stores

MERGED = "store.merged"
_SHOWN = 8  # faults in one message


def append(db: sa.Connection, *, type: str, subject: str, user: str, data: dict[str, Any]) -> Event:
    """Append one event inside ``store.write()``; returns it with its place and hash."""
    lock_ledger(db)
    user, key = secrets.scrub_text(user), _key_of(db, type, user)
    last = db.execute(sa.select(ledger.c.seq, ledger.c.hash).order_by(ledger.c.seq.desc()).limit(1)).first()
    row: dict[str, Any] = {
        "seq": (last.seq if last else 0) + 1,
        "id": clock.new_id(),
        "type": type,
        "subject": secrets.scrub_text(subject),
        "user": user,
        "at": clock.now(),
        # Masked here and not by the database's gate: the hash is of what is written.
        "data": json.dumps(
            secrets.scrub(plain(data)), sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str
        ),
        "previous": last.hash if last else GENESIS,
        "signer": key.key_id if key else None,
    }
    row["hash"] = digest(row)
    row["signature"] = key.sign(row["hash"]) if key else None
    db.execute(ledger.insert(), row)
    db.info[EVENTS] = True
    return _event(row)


def _key_of(db: sa.Connection, type: str, user: str) -> signing.Key | None:
    """What the event is to be signed with: who has a key in this store signs with it.

    Raises:
        NotAllowed: the user has a key, and this process has not.
    """
    known = people(db)
    theirs = known.keys_of(user)
    if not theirs:
        return None
    key = signing.mine()
    if key is not None and key.key_id in theirs:
        return key
    if type == KEY_REVOKED:  # a lost key can be revoked by whoever may do that
        return None
    has = "there is no key here" if key is None else f"the key here is {key.key_id}"
    raise NotAllowed(
        f"{user} signs what {user} does with key {' or '.join(theirs)}, and {has}",
        f"set {signing.KEY} to its file, act under another name, or have the key revoked",
    )


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
        Tampered: names every event that was changed, removed, inserted or moved, or is signed falsely or not at all.
    """
    events = [dict(row) for row in rows]
    if wrong := chains.faults(events):
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise Tampered(
            f"{whose} is not what was written: {'; '.join(wrong[:_SHOWN])}{more}",
            "restore the store from a backup, compare the two, and find out who wrote to the database",
        )
    return len(events)


def _event(row: dict[str, Any]) -> Event:
    store = row.pop("store_id", None)
    return Event(**{**row, "data": json.loads(row["data"])}, store=store)
