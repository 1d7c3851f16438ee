"""Keys and roles as the ledger tells of them: there is no table that could say something else."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from nbmlops.store.schema import ledger

KEY_ADDED, KEY_REVOKED = "identity.key-added", "identity.key-revoked"
GRANTED, WITHDRAWN = "identity.role-granted", "identity.role-withdrawn"
TYPES = (KEY_ADDED, KEY_REVOKED, GRANTED, WITHDRAWN)
ADMIN, SUBJECT = "admin", "identity:"


@dataclass
class People:
    """What holds after the events that were noted. ``keys`` has those in use: id -> (user, public key)."""

    keys: dict[str, tuple[str, str]] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    roles: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def note(self, kind: str, data: Mapping[str, Any]) -> None:
        """Take one more event into account."""
        user = str(data.get("of", ""))
        if kind == KEY_ADDED:
            self.keys[str(data.get("key"))] = user, str(data.get("public"))
        elif kind == KEY_REVOKED:
            self.keys.pop(str(data.get("key")), None)
            self.revoked.add(str(data.get("key")))
        elif kind == GRANTED:
            self.roles[user].add(str(data.get("role")))
        elif kind == WITHDRAWN:
            self.roles[user].discard(str(data.get("role")))

    def keys_of(self, user: str) -> list[str]:
        """The ids of a person's keys in use."""
        return [key for key, (owner, _) in self.keys.items() if owner == user]

    def administrators(self) -> list[str]:
        """Who has the role ``admin``."""
        return sorted(user for user, roles in self.roles.items() if ADMIN in roles)


def people(db: sa.Connection) -> People:
    """Keys and roles as they are now."""
    # By the subject, which has an index: every event that is written asks.
    of_people = sa.and_(ledger.c.subject >= SUBJECT, ledger.c.subject < SUBJECT[:-1] + ";")
    query = sa.select(ledger.c.type, ledger.c.data).where(of_people).order_by(ledger.c.seq)
    return fold((row.type, json.loads(row.data)) for row in db.execute(query))


def fold(events: Iterable[tuple[str, Mapping[str, Any]]]) -> People:
    """Keys and roles after these events."""
    found = People()
    for kind, data in events:
        found.note(kind, data)
    return found
