"""Whether the ledger and the state it tells of agree: a chain that is whole may still have lost its end."""

from __future__ import annotations

import json

import sqlalchemy as sa

from nbmlops.errors import Tampered
from nbmlops.store import Store, ledger
from nbmlops.store import schema as s


def verify(store: Store) -> int:
    """Check the chain, and that versions, aliases and certificates are what the events say; the number of events.

    What cannot be found without another copy: newest events that were removed together with the state they led to.

    Raises:
        Tampered: names the first event, or every disagreement.
    """
    count = ledger.verify(store)
    wrong = disagreements(store)
    if wrong:
        raise Tampered(
            f"the ledger does not agree with the store: {'; '.join(wrong)}",
            "restore the store from a backup and find out who wrote to the database",
        )
    return count


def disagreements(store: Store) -> list[str]:
    """Registered versions and certificates without their event, and aliases that stand where no event has put them."""
    with store.read() as db:
        events = {row.seq: (row.type, row.subject) for row in db.execute(sa.select(s.ledger))}
        versions = [f"model:{row.name}@{row.version}" for row in db.execute(sa.select(s.model_versions))]
        aliases = {(row.name, row.alias): row.version for row in db.execute(sa.select(s.model_aliases))}
        certificates = db.execute(
            sa.select(s.certificates.c.id, s.certificates.c.run_id, s.certificates.c.status)
        ).all()
        certified = _certified(db)
        moves = db.execute(sa.select(s.alias_history).order_by(s.alias_history.c.seq)).mappings().all()
    registered = {subject for kind, subject in events.values() if kind == "model.registered"}
    wrong = [f"no event tells of the registration of {ref}" for ref in versions if ref not in registered]
    wrong += [
        f"no event tells of the certificate of run:{run_id} ({status})"
        for certificate, run_id, status in certificates
        if (certificate, f"run:{run_id}", status) not in certified
    ]
    last = {(move["name"], move["alias"]): move for move in moves}
    for (name, alias), version in aliases.items():
        move = last.get((name, alias))
        ref = f"model:{name}@{version}"
        if move is None or events.get(move["event_seq"], ("", ""))[1] != ref or move["version"] != version:
            wrong.append(f"no event has put {ref} into {alias}")
    return wrong


def _certified(db: sa.Connection) -> set[tuple[str, str, str]]:
    """Id, run and status of the certificates that events tell of, also those of stores that were merged."""
    found = set()
    for table in (s.ledger, s.merged_ledger):
        for row in db.execute(sa.select(table.c.subject, table.c.data).where(table.c.type == "run.certified")):
            data = json.loads(row.data)
            found.add((data.get("certificate"), row.subject, data.get("status")))
    return found
