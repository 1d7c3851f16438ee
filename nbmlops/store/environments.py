"""The environments of a store: aliases that only decisions move, as the ledger last told of them."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from nbmlops.store import schema

EVENT, SUBJECT = "policy.set", "policy"
DEFAULT = ("staging", "production")


def kept(db: sa.Connection) -> dict[str, Any] | None:
    """The rules that the store was last used with, as its ledger has them; None for one that never had other ones."""
    e = schema.ledger
    query = sa.select(e.c.data).where(e.c.subject == SUBJECT, e.c.type == EVENT).order_by(e.c.seq.desc()).limit(1)
    text = db.execute(query).scalar()
    return None if text is None else json.loads(text)


def names(db: sa.Connection) -> tuple[str, ...]:
    """The environments, in their order."""
    found = kept(db)
    return DEFAULT if found is None else tuple(policy["name"] for policy in found["environments"])
