"""Ledgers side by side: each other store's chain is kept as it is, beside ours, and only ever grows.

A chain is kept under the id of its store. A folder that was copied has the id of the store it was copied from. While
the copy's ledger has nothing of its own, there is nothing to keep; once it has, its chain is kept under ``ID~EVENT``,
by the first event that is not ours, and found by that again.
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import sqlalchemy as sa

from nbmlops.errors import Tampered
from nbmlops.store import ledger, schema
from nbmlops.store.chains import GENESIS
from nbmlops.store.merging.checking import is_storable

Events: TypeAlias = Sequence[Mapping[str, Any]]
_NAME = re.compile(r"[0-9A-Z]{26}(~[0-9A-Z]{26})?")
_TEXTS = ("id", "type", "subject", "user", "data", "previous", "hash")


@dataclass(frozen=True)
class Chains:
    """The ledger of a store, and those of the stores it had taken over."""

    store_id: str
    own: Events
    carried: Mapping[str, Events] = field(default_factory=dict)


@dataclass
class Placed:
    """Where chains go: events to append, by the name of the chain here; ``name`` is that of the store itself."""

    name: str = ""
    append: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    heads: dict[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def events(self) -> int:
        return sum(map(len, self.append.values()))


def read(db: sa.Connection) -> Chains:
    """All ledgers of a store, checked.

    Raises:
        Tampered: one is not what was written.
    """
    s = schema
    try:
        own = [dict(r) for r in db.execute(sa.select(s.ledger).order_by(s.ledger.c.seq)).mappings()]
        names = {*db.execute(sa.select(s.merged_stores.c.store_id)).scalars()}
        names |= {*db.execute(sa.select(s.merged_ledger.c.store_id).distinct()).scalars()}
        own_id = db.execute(sa.select(s.meta.c.value).where(s.meta.c.name == "store_id")).scalar()
        carried = {name: list(ledger.chain(db, name)) for name in sorted(map(str, names))}
    except (sa.exc.DBAPIError, sqlite3.Error) as error:
        raise Tampered(f"the ledger cannot be read: {error}", "nothing was taken over") from error
    if odd := [str(n)[:40] for n in (own_id, *carried) if not isinstance(n, str) or not _NAME.fullmatch(n)]:
        raise Tampered(f"these are no ids of stores: {', '.join(odd[:5])}", "nothing was taken over")
    chains = Chains(str(own_id), own, carried)
    for name, events in (("the ledger", own), *((f"the ledger of {n}", e) for n, e in chains.carried.items())):
        _check(name, events)
    return chains


def _check(name: str, events: Events) -> None:
    for event in events:
        sound = all(isinstance(event[k], str) and is_storable(event[k]) for k in _TEXTS) and isinstance(
            event["at"], int | float
        )
        try:
            sound = sound and math.isfinite(event["at"]) and isinstance(json.loads(event["data"]), dict)
        except (ValueError, RecursionError):
            sound = False
        if not sound:
            raise Tampered(f"event {event['seq']!r:.20} of {name} is no event", "nothing was taken over")
    ledger.check(events, name)


def place(db: sa.Connection, own_id: str, chains: Chains) -> Placed:
    """Compare all chains with those that are here.

    Raises:
        Tampered: a chain is shorter than what was taken over before, or another; names the first event that differs.
    """
    held = {row.store_id for row in db.execute(sa.select(schema.merged_stores.c.store_id))}
    ours = [dict(row) for row in db.execute(sa.select(schema.ledger).order_by(schema.ledger.c.seq)).mappings()]
    placed = Placed()
    for name, events in ((chains.store_id, chains.own), *chains.carried.items()):
        here = name
        if name == own_id:
            here = _branch(name, ours, events)
        if events is chains.own:
            placed.name = here
        if here == own_id:
            continue
        before = list(ledger.chain(db, here)) if here in held else []
        fresh = _continued(here, before, events, whole=events is chains.own)
        if fresh or here not in held:
            placed.append[here] = [*placed.append.get(here, ()), *fresh]
            held.add(here)
        whole = before + fresh
        placed.heads[here] = (len(whole), whole[-1]["hash"] if whole else GENESIS)
    return placed


def _branch(name: str, ours: Events, theirs: Events) -> str:
    """The name here of a chain that begins as ours does.

    Raises:
        Tampered: the same event is another there.
    """
    for mine, other in zip(ours, theirs):
        if mine["hash"] != other["hash"]:
            if mine["id"] == other["id"]:
                raise _differs("this store's ledger", other)
            return f"{name}~{other['id']}"
    return name if len(theirs) <= len(ours) else f"{name}~{theirs[len(ours)]['id']}"


def _continued(name: str, before: Events, now: Events, *, whole: bool) -> list[Mapping[str, Any]]:
    """The events that are new; a chain that another store carries may be an earlier state of what is here."""
    for old, new in zip(before, now):
        if old["hash"] != new["hash"]:
            raise _differs(f"the ledger of {name}", new)
    if whole and len(now) < len(before):
        raise Tampered(
            f"the ledger of {name} ends before event {len(now) + 1}, which was taken over before",
            "it has lost events, or is an older copy: merge the newer one",
        )
    return list(now[len(before) :])


def _differs(whose: str, event: Mapping[str, Any]) -> Tampered:
    return Tampered(
        f"event {event['seq']} of {whose} ({event['type']} of {event['subject']}) is not what was taken over before",
        "two copies of a store went their own ways, or somebody changed one; nothing was taken over",
    )


def write(db: sa.Connection, placed: Placed, at: float) -> None:
    """Append what is new, and note the stores."""
    s = schema.merged_stores
    for name, events in placed.append.items():
        if db.execute(sa.select(s.c.store_id).where(s.c.store_id == name)).first() is None:
            db.execute(s.insert(), {"store_id": name, "first_at": at, "last_at": at})
        else:
            db.execute(s.update().where(s.c.store_id == name).values(last_at=at))
        if events:
            db.execute(schema.merged_ledger.insert(), [{"store_id": name, **event} for event in events])
