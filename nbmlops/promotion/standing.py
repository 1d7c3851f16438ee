"""Which version stands where: aliases that are environments, their history, and moves."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from nbmlops.records import Event
from nbmlops.store import Store, schema

ROLLED_BACK = "model.rolled-back"


def standing(db: sa.Connection, name: str, environment: str) -> int | None:
    """The version that stands in an environment; None if there is none."""
    a = schema.model_aliases
    return db.execute(sa.select(a.c.version).where(a.c.name == name, a.c.alias == environment)).scalar()


def deleted(db: sa.Connection, name: str, version: int) -> bool:
    """Whether a version was deleted, or never was."""
    v = schema.model_versions
    query = sa.select(v.c.id).where(v.c.name == name, v.c.version == version, v.c.deleted_at.is_(None))
    return db.execute(query).first() is None


def move(
    store: Store, db: sa.Connection, name: str, environment: str, version: int | None, *, reason: str, event: Event
) -> int | None:
    """Put a version there, or nobody (None), and write it into the history; returns who stood there before."""
    a = schema.model_aliases
    previous = standing(db, name, environment)
    row = {"name": name, "alias": environment, "version": version}
    if version is None:
        db.execute(a.delete().where(a.c.name == name, a.c.alias == environment))
    else:
        store.upsert(db, a, [row], ["name", "alias"])
    more = {"previous": previous, "reason": reason, "user": event.user, "at": event.at, "event_seq": event.seq}
    db.execute(schema.alias_history.insert(), {**row, **more})
    return previous


def labels(db: sa.Connection, name: str, version: int) -> list[str]:
    """The aliases of a version, environments too."""
    a = schema.model_aliases
    return list(db.execute(sa.select(a.c.alias).where(a.c.name == name, a.c.version == version)).scalars())


def history(store: Store, name: str, environment: str) -> list[dict[str, Any]]:
    """What stood in an environment, newest first: ``version previous reason user at event``."""
    h = schema.alias_history
    query = sa.select(h).where(h.c.name == name, h.c.alias == environment).order_by(h.c.seq.desc())
    with store.read() as db:
        rows = db.execute(query).mappings().all()
    kept = ("version", "previous", "reason", "user", "at")
    return [{**{k: r[k] for k in kept}, "event": r["event_seq"]} for r in rows]


def stood(db: sa.Connection, name: str, environment: str) -> list[int]:
    """The versions a rollback can go through, the current one last: each rollback takes one away.

    Versions that were deleted since are left out. Moves in another store, which came with the model, have no event in
    our ledger, but one of that time in theirs.
    """
    h, e, m = schema.alias_history, schema.ledger, schema.merged_ledger
    theirs = sa.select(m.c.type).where(
        h.c.event_seq.is_(None),
        m.c.at == h.c.at,
        m.c.type == ROLLED_BACK,
        m.c.subject.startswith(f"model:{name}@", autoescape=True),
    )
    query = (
        sa.select(h.c.version, sa.func.coalesce(e.c.type, theirs.limit(1).scalar_subquery()))
        .select_from(h.outerjoin(e, h.c.event_seq == e.c.seq))
        .where(h.c.name == name, h.c.alias == environment, h.c.version.is_not(None))
        .order_by(h.c.seq)
    )
    found: list[int] = []
    for number, kind in db.execute(query).all():
        if kind == ROLLED_BACK:
            while found and found[-1] != number:  # one by one, or more where versions between were deleted
                found.pop()
        if not found or kind != ROLLED_BACK:
            found.append(number)
    return [number for number in found[:-1] if not deleted(db, name, number)] + found[-1:]
