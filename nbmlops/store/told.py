"""What ledgers tell of versions and aliases, our own and those of stores whose content was taken over."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from nbmlops.store import schema as s
from nbmlops.store.engine import Store, store_id
from nbmlops.store.ledger import MERGED

OURS = ""
EVIDENCE, REVIEWED, DELETED = "model.evidence-kept", "model.reviewed", "model.deleted"
_VOTES = {"approve": ("model.approval-given", "model.approved"), "reject": ("model.rejected",)}
_OF_EVIDENCE = ("version_id", "kind", "status", "report", "files")


def evidence_digest(row: Mapping[str, Any]) -> str:
    """What events tell of a row of evidence: the hash of whose it is, and of what it says."""
    told = {name: row[name] for name in _OF_EVIDENCE}
    return hashlib.sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass
class Chain:
    """What one ledger tells: registered versions with the ids it names, and versions taken over by their ids."""

    registered: dict[str, str | None] = field(default_factory=dict)
    taken: dict[str, list[tuple[str | None, str, str]]] = field(default_factory=lambda: defaultdict(list))
    aliases: dict[str, int] = field(default_factory=dict)

    def note(self, kind: str, subject: str, data: dict[str, Any]) -> None:
        """Remember an event; what another store wrote into one may be anything, and then tells nothing."""
        if kind == "model.registered":
            self.registered[subject] = data.get("id")
        elif kind == MERGED:
            store, aliases = data.get("store"), data.get("aliases")
            for version_id, pair in _items(data.get("model_versions")):
                if isinstance(pair, list) and len(pair) == 2 and (store is None or isinstance(store, str)):
                    self.taken[version_id].append((store, str(pair[0]), str(pair[1])))
            self.aliases.update(_items(aliases))


class Told:
    """All ledgers of a store, read once."""

    def __init__(self, db: sa.Connection, own_id: str) -> None:
        self.events: dict[int, tuple[str, str]] = {}
        self.certified: set[tuple[str, str, str]] = set()  # ids, runs and statuses of certificates
        self.evidence: dict[str, str] = {}  # what was last told of each row
        self.reviews: dict[str, tuple[str, str | None]] = {}  # the notebook and page of each
        self._own_id = own_id
        self._chains: dict[str, Chain] = defaultdict(Chain)
        for row in db.execute(sa.select(s.ledger).order_by(s.ledger.c.seq)):
            self.events[row.seq] = row.type, row.subject
            self._note(OURS, row)
        for row in db.execute(sa.select(s.merged_ledger).order_by(s.merged_ledger.c.store_id, s.merged_ledger.c.seq)):
            self._note(row.store_id, row)

    def _note(self, store: str, row: Any) -> None:
        data = json.loads(row.data)
        self._chains[store].note(row.type, row.subject, data)
        if store == OURS and row.type in {EVIDENCE, MERGED} and isinstance(data, dict):
            self.evidence.update(_items(data.get("evidence")))
        if row.type == REVIEWED and isinstance(data, dict):
            self.reviews[str(data.get("review"))] = str(data.get("notebook")), data.get("page")
        if row.type == "run.certified" and isinstance(data, dict):
            self.certified.add((str(data.get("certificate")), row.subject, str(data.get("status"))))
        elif row.type == MERGED and isinstance(data, dict) and data.get("store") is None:  # an archive has no ledger
            found = _items(data.get("certificates"))
            self.certified.update((i, str(f[0]), str(f[1])) for i, f in found if isinstance(f, list) and len(f) == 2)

    def ours(self, ref: str, version_id: str) -> bool:
        """Whether this version was registered in this store."""
        return self._chains[OURS].registered.get(ref, "") in (None, version_id)

    def registered(self, version_id: str, ref: str) -> bool:
        """Whether an event tells where this version, under this number, comes from."""
        return self._told(OURS, version_id, ref, frozenset())

    def _told(self, store: str, version_id: str, ref: str, seen: frozenset[str]) -> bool:
        if store in seen or store not in self._chains:
            return False
        chain = self._chains[store]
        if ref in chain.registered and chain.registered[ref] in (None, version_id):
            return True
        # Each store tells what it took over from which, under which number there; an archive has no ledger.
        return any(
            here == ref and (origin is None or self._told(self._named(origin), version_id, there, seen | {store}))
            for origin, there, here in chain.taken.get(version_id, ())
        )

    def _named(self, store: str) -> str:
        return store if store in self._chains else OURS if store == self._own_id else store

    def placed(self, name: str, alias: str, version: int, event: int | None) -> bool:
        """Whether the move with this event, or for one that another store made the merge, put the alias there."""
        if event is None:
            return self._chains[OURS].aliases.get(f"model:{name}@{alias}") == version
        return self.events.get(event, ("", ""))[1] == f"model:{name}@{version}"


def _items(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


def disagreements(store: Store) -> list[str]:
    """Registered versions and certificates without their event, and aliases that stand where no event has put them."""
    with store.read() as db:
        told = Told(db, store_id(store))
        versions = [(row.id, f"model:{row.name}@{row.version}") for row in db.execute(sa.select(s.model_versions))]
        aliases = {(row.name, row.alias): row.version for row in db.execute(sa.select(s.model_aliases))}
        named = dict(versions)
        evidence = [
            (
                row["id"],
                f"{row['kind']} of {named.get(row['version_id'], row['version_id'])}",
                evidence_digest(dict(row)),
            )
            for row in db.execute(sa.select(s.evidence)).mappings()
            if row["status"] != "waiting"
        ]
        certificates = list(
            db.execute(sa.select(s.certificates.c.id, s.certificates.c.run_id, s.certificates.c.status))
        )
        decided = _decisions(db, told)
        moves = db.execute(sa.select(s.alias_history).order_by(s.alias_history.c.seq)).mappings().all()
    wrong = [f"no event tells of the registration of {ref}" for id_, ref in versions if not told.registered(id_, ref)]
    wrong += [
        f"no event tells of the certificate of run:{run_id} ({status})"
        for id_, run_id, status in certificates
        if (id_, f"run:{run_id}", status) not in told.certified
    ]
    wrong += [
        f"no event tells of the evidence {what} as it is"
        for id_, what, now in evidence
        if told.evidence.get(id_) != now
    ]
    wrong += decided
    last = {(move["name"], move["alias"]): move for move in moves}
    for (name, alias), version in aliases.items():
        move = last.get((name, alias))
        if move is None or move["version"] != version or not told.placed(name, alias, version, move["event_seq"]):
            wrong.append(f"no event has put model:{name}@{version} into {alias}")
    return wrong


def _decisions(db: sa.Connection, told: Told) -> list[str]:
    """Votes, deletions and reviews that no event tells of; what another store decided came with its own ledger."""
    v, a, w = s.model_versions, s.approvals, s.approval_votes
    wrong = []
    query = sa.select(w.c.decision, w.c.user, w.c.event_seq, a.c.name, a.c.version).join(a, a.c.id == w.c.approval_id)
    for row in db.execute(query.where(w.c.event_seq.is_not(None))):
        kind, subject = told.events.get(row.event_seq, ("", ""))
        if kind not in _VOTES.get(row.decision, ()) or subject != f"model:{row.name}@{row.version}":
            wrong.append(f"no event tells that {row.user} said {row.decision} to model:{row.name}@{row.version}")
    deleted = {subject for kind, subject in told.events.values() if kind == DELETED}
    for held in db.execute(sa.select(v.c.id, v.c.name, v.c.version, v.c.deleted_at)):
        ref = f"model:{held.name}@{held.version}"
        if ref in deleted and held.deleted_at is None:
            wrong.append(f"an event tells of the deletion of {ref}, which is there")
        elif held.deleted_at is not None and ref not in deleted and told.ours(ref, held.id):
            wrong.append(f"no event tells of the deletion of {ref}")
    for review in db.execute(sa.select(s.reviews).where(s.reviews.c.notebook != "")):
        if told.reviews.get(review.id) != (review.notebook, review.page):
            wrong.append(f"no event tells of review {review.id} of model:{review.name}@{review.version} as it is")
    return wrong
