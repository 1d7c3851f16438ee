"""Approvals: a promotion that waits for persons, the votes they give, and how it ends."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from nbmlops import clock
from nbmlops.errors import NotAllowed, NotFound
from nbmlops.records import Approval, EnvironmentPolicy, Finding, Identity, ModelVersion, Promotion, Vote, plain
from nbmlops.store import schema

A, V = schema.approvals, schema.approval_votes


def find(db: sa.Connection, version: ModelVersion, environment: str) -> Approval | None:
    """The open approval of a version for an environment; one that has expired counts until it is closed."""
    query = sa.select(A).where(
        A.c.name == version.name,
        A.c.version == version.version,
        A.c.environment == environment,
        A.c.status == "open",
    )
    row = db.execute(query).mappings().first()
    return _approval(dict(row), _votes(db, [row["id"]])) if row else None


def get(db: sa.Connection, version: ModelVersion, environment: str) -> Approval:
    """The same, or an error that tells what waits instead.

    Raises:
        NotFound: none is open.
    """
    if found := find(db, version, environment):
        return found
    waiting = [f"{a.ref} for {a.environment}" for a in listed(db, open_only=True)]
    asked = f"promote({version.ref!r}, to={environment!r}, reason=…) opens one"
    raise NotFound(
        f"no approval of {version.ref} for {environment} is open",
        f"these wait: {', '.join(waiting)}" if waiting else asked,
    )


def listed(db: sa.Connection, *, name: str | None = None, open_only: bool = False) -> list[Approval]:
    """Approvals, oldest first, with their votes."""
    query = sa.select(A).order_by(A.c.id)
    if name is not None:
        query = query.where(A.c.name == name)
    if open_only:
        query = query.where(A.c.status == "open")
    rows = db.execute(query).mappings().all()
    votes = _votes(db, [row["id"] for row in rows])
    return [_approval(dict(row), votes) for row in rows]


def opened(
    db: sa.Connection, version: ModelVersion, policy: EnvironmentPolicy, *, reason: str, user: str, **more: Any
) -> Approval:
    """Open one under the rules of this moment. ``more``: ``findings`` and the id of the ``review`` to be read."""
    now = clock.now()
    row = {
        "id": clock.new_id(),
        "name": version.name,
        "version": version.version,
        "environment": policy.name,
        "status": "open",
        "reason": reason,
        "user": user,
        "created_at": now,
        "findings": plain(more["findings"]),
        "policy": {"approvers": policy.approvers, "roles": list(policy.roles), "four_eyes": policy.four_eyes},
        "expires_at": now + policy.expires if policy.expires else None,
        "review": more.get("review"),
    }
    db.execute(A.insert(), row)
    return _approval(row, {})


def voted(db: sa.Connection, approval: Approval, vote: Vote) -> None:
    """Keep a vote."""
    row = {
        "id": clock.new_id(),
        "approval_id": approval.approval_id,
        "event_seq": vote.event,
        "roles": list(vote.roles),
        **{k: getattr(vote, k) for k in ("decision", "user", "identity", "reason", "at")},
    }
    db.execute(V.insert(), row)


def closed(db: sa.Connection, approval_id: str, status: str, *, user: str, reason: str) -> None:
    """End an approval: approved, rejected, expired or withdrawn."""
    decided = {"status": status, "decision": reason, "decided_by": user, "decided_at": clock.now()}
    db.execute(A.update().where(A.c.id == approval_id).values(**decided))


def expired(approval: Approval) -> bool:
    """Whether its time is over."""
    return approval.expires_at is not None and approval.expires_at <= clock.now()


def check_vote(approval: Approval, identity: Identity, author: str) -> None:
    """Whether this person may approve.

    Args:
        approval: an open one.
        identity: who acts.
        author: who registered the version.

    Raises:
        NotAllowed: has voted already, is one of those who must not with four eyes, or has none of the roles.
    """
    what = f"{approval.ref} for {approval.environment}"
    if any(vote.user == identity.user and vote.decision == "approve" for vote in approval.votes):
        raise NotAllowed(
            f"{identity.user} has approved {what} already",
            f"{approval.required - len(approval.votes)} more of {approval.required} must approve",
        )
    if approval.four_eyes:
        part = [word for word, user in (("registered", author), ("asked for", approval.user)) if user == identity.user]
        if part:
            raise NotAllowed(
                f"{identity.user} has {' and '.join(part)} {what}, and four eyes are needed",
                "have somebody else approve it",
            )
    if approval.roles and not set(approval.roles) & set(identity.roles):
        has = f"has the roles {', '.join(identity.roles)}" if identity.roles else "has no role"
        raise NotAllowed(
            f"{what} must be approved by somebody with the role {' or '.join(approval.roles)}; {identity.user} {has}",
            "a person with such a role approves, or an administrator grants it: nbmlops identity grant USER ROLE",
        )


def facts(waiting: Approval) -> dict[str, Any]:
    """What an event tells of the approval it is about."""
    return {"approval": waiting.approval_id, "requested_by": waiting.user, "required": waiting.required}


def known_by(identity: Identity) -> dict[str, Any]:
    """What an event tells of who decided."""
    return {"identity": identity.how if identity.key is None else f"key:{identity.key}", "roles": list(identity.roles)}


def vote(decision: str, identity: Identity, outcome: Promotion) -> Vote:
    """Somebody's word, as the outcome tells of it."""
    known = known_by(identity)["identity"]
    return Vote(decision, identity.user, known, identity.roles, outcome.reason, outcome.at, outcome.event)


def same_person(waiting: Approval, identity: Identity) -> list[Finding]:
    """A warning where one person asks and approves: without four eyes it does not block, as a team may be of one."""
    if waiting.user != identity.user:
        return []
    asked = "another person approves than the one who asked"
    seen = f"the person who approves is the one who asked: {identity.user}"
    return [Finding("approver", "warn", asked, seen, "have somebody else approve")]


def _votes(db: sa.Connection, ids: list[str]) -> dict[str, list[Vote]]:
    found: dict[str, list[Vote]] = {}
    query = sa.select(V).where(V.c.approval_id.in_(ids)).order_by(V.c.at, V.c.id)
    for row in db.execute(query).mappings():
        told = {k: row[k] for k in ("decision", "user", "identity", "reason", "at")}
        vote = Vote(roles=tuple(row["roles"]), event=row["event_seq"], **told)
        found.setdefault(row["approval_id"], []).append(vote)
    return found


def _approval(row: dict[str, Any], votes: dict[str, list[Vote]]) -> Approval:
    policy = row["policy"] or {}  # of before there were any: one person
    return Approval(
        approval_id=row["id"],
        model=row["name"],
        at=row["created_at"],
        required=policy.get("approvers", 1),
        roles=tuple(policy.get("roles", ())),
        four_eyes=policy.get("four_eyes", False),
        votes=tuple(votes.get(row["id"], ())),
        findings=tuple(Finding(**f) for f in row["findings"]),
        **{k: row[k] for k in ("version", "environment", "status", "reason", "user", "expires_at", "review")},
    )
