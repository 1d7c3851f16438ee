"""The promotion desk: which version stands in which environment, who decided it, and on what evidence.

Only this desk moves ``@staging`` and ``@production``. Each move is one transaction: the alias, its history and the
ledger's event. What was refused is kept in the ledger as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from nbmlops import clock, rules
from nbmlops.context import ContextSource
from nbmlops.errors import Blocked, InvalidValue, NotFound, UsageFault
from nbmlops.models import Models, packages
from nbmlops.promotion import trials
from nbmlops.records import Event, Finding, ModelVersion, plain
from nbmlops.records import Promotion as Outcome
from nbmlops.runs import Runs
from nbmlops.store import Store, ledger, schema
from nbmlops.store.engine import lock_ledger

FACTS = ("metrics", "params", "tags", "certificate", "flavor", "version")
ROLLED_BACK = "model.rolled-back"


@dataclass(frozen=True)
class Environment:
    """Where a model can stand: which environment it must stand in before, and whether a person must approve."""

    after: str | None = None
    approval: bool = False


ENVIRONMENTS = {"staging": Environment(), "production": Environment(after="staging", approval=True)}


class Promotion:
    """Every verb that changes what an environment runs."""

    def __init__(
        self,
        store: Store,
        context: ContextSource,
        models: Models,
        runs: Runs,
        *,
        environments: dict[str, Environment] | None = None,
    ) -> None:
        self.store = store
        self.context = context
        self.models = models
        self.runs = runs
        self.environments = ENVIRONMENTS if environments is None else environments

    # -- verbs -----------------------------------------------------------------------------------------------------
    def promote(self, ref: str, to: str, reason: str, rules: Sequence[str] = ()) -> Outcome:
        """Run the rules and the environment's trials, then move the environment, or open an approval.

        Raises:
            Blocked: a rule or a trial refused; holds every finding, and nothing has changed.
            UsageFault: the version stands there already, or its approval is open already.
        """
        environment, reason = self._environment(to), _reason(reason)
        asked = _rules(rules)
        version = self.models.get(ref)
        self._check_new(version, to)
        findings = [*self._standing_before(version, environment)]
        findings += _judged(asked, self.facts(version))
        findings += trials.run(self.models, version)
        if any(f.level == "block" for f in findings):
            raise self._blocked(version, to, reason, findings)
        if environment.approval:
            return self._open_approval(version, to, reason, findings)
        with self.store.write() as db:
            lock_ledger(db)
            return self._moved(db, version, to, "promoted", reason, findings)

    def approve(self, ref: str, to: str, reason: str) -> Outcome:
        """Complete an open approval: the environment moves now, in the name of the current user.

        Raises:
            NotFound: no approval is open for this version and environment.
            Blocked: the version no longer stands where it has to, or its bytes have changed.
        """
        environment, reason = self._environment(to), _reason(reason)
        version = self.models.get(ref)
        self._opened(version, to)
        findings = [*self._standing_before(version, environment), *packages.intact(self.store, version)]
        if any(f.level == "block" for f in findings):
            raise self._blocked(version, to, reason, findings)
        with self.store.write() as db:
            lock_ledger(db)
            row = self._opened(version, to)
            told = [*_findings(row["findings"]), *self._same_person(row)]
            outcome = self._moved(db, version, to, "approved", reason, told, row)
            self._decide(db, row, "approved", reason)
            return outcome

    def reject(self, ref: str, to: str, reason: str) -> Outcome:
        """End an open approval; the environment stays as it is.

        Raises:
            NotFound: no approval is open for this version and environment.
        """
        self._environment(to)
        reason, version = _reason(reason), self.models.get(ref)
        with self.store.write() as db:
            lock_ledger(db)
            row = self._opened(version, to)
            self._decide(db, row, "rejected", reason)
            facts = {"environment": to, "reason": reason, "approval": row["id"], "requested_by": row["user"]}
            event = self._event(db, "model.rejected", version.ref, facts)
        return self._outcome(version, to, "rejected", reason, event, _findings(row["findings"]), approval_id=row["id"])

    def rollback(self, name: str, environment: str, reason: str) -> Outcome:
        """Return an environment, at once, to the version that stood there before the current one.

        Raises:
            UsageFault: nothing stood there before.
            Blocked: the bytes of that version are not what was written.
        """
        self._environment(environment)
        reason = _reason(reason)
        with self.store.write() as db:
            lock_ledger(db)
            stood = self._stood(db, name, environment)
            if len(stood) < 2:
                found = f"only version {stood[0]} has stood there" if stood else "no version has stood there"
                raise UsageFault(
                    f"{environment} of model {name!r} cannot be rolled back: {found}", "promote another version instead"
                )
            version = self.models.get(f"model:{name}@{stood[-2]}")
            findings = packages.intact(self.store, version)
            if all(f.ok for f in findings):
                return self._moved(db, version, environment, "rolled back", reason, findings)
        raise self._blocked(version, environment, reason, findings)

    # -- reading ---------------------------------------------------------------------------------------------------
    def pending(self) -> list[dict[str, Any]]:
        """Open approvals, oldest first: ``approval_id model version environment reason user at findings``."""
        a = schema.approvals
        with self.store.read() as db:
            rows = db.execute(sa.select(a).where(a.c.status == "open").order_by(a.c.id)).mappings().all()
        return [
            {
                "approval_id": r["id"],
                "ref": f"model:{r['name']}@{r['version']}",
                "model": r["name"],
                "version": r["version"],
                "environment": r["environment"],
                "reason": r["reason"],
                "user": r["user"],
                "at": r["created_at"],
                "findings": r["findings"],
            }
            for r in rows
        ]

    def history(self, name: str, environment: str) -> list[dict[str, Any]]:
        """What stood in an environment, newest first: ``version previous reason user at event``."""
        self._environment(environment)
        self.models.get(f"model:{name}")
        h = schema.alias_history
        query = sa.select(h).where(h.c.name == name, h.c.alias == environment).order_by(h.c.seq.desc())
        with self.store.read() as db:
            rows = db.execute(query).mappings().all()
        return [
            {**{k: r[k] for k in ("version", "previous", "reason", "user", "at")}, "event": r["event_seq"]}
            for r in rows
        ]

    def fact_names(self) -> tuple[str, ...]:
        """The first names that rules may use: the keys of :meth:`facts`."""
        return (*FACTS, *self.environments)

    def facts(self, version: ModelVersion) -> dict[str, Any]:
        """What rules may speak of; an environment where no model stands is None."""
        run = self.runs.find(version.run_id) if version.run_id else None
        certificate = self.runs.certified_here(version.run_id) if version.run_id else None
        return {
            "metrics": version.metrics,
            "params": run.params if run else {},
            "tags": run.tags if run else {},
            # Given here, as the ledger tells: a tag anybody can set, and a file may bring whatever it likes.
            "certificate": certificate.status if certificate else "none",
            "flavor": version.flavor,
            "version": version.version,
            **{name: self._standing_facts(version.name, name) for name in self.environments},
        }

    # -- inside ----------------------------------------------------------------------------------------------------
    def _environment(self, name: str) -> Environment:
        if name not in self.environments:
            raise NotFound.of("environment", str(name), self.environments)
        return self.environments[name]

    def _standing(self, name: str, environment: str) -> int | None:
        a = schema.model_aliases
        with self.store.read() as db:
            return db.execute(sa.select(a.c.version).where(a.c.name == name, a.c.alias == environment)).scalar()

    def _standing_facts(self, name: str, environment: str) -> dict[str, Any] | None:
        number = self._standing(name, environment)
        if number is None:
            return None
        held = self.models.get(f"model:{name}@{number}")
        return {"version": held.version, "metrics": held.metrics, "flavor": held.flavor}

    def _standing_before(self, version: ModelVersion, environment: Environment) -> list[Finding]:
        """The finding about the environment that comes before; none where there is none."""
        before = environment.after
        if before is None:
            return []
        number = self._standing(version.name, before)
        asked = f"{version.ref} stands in {before}"
        if number == version.version:
            return [Finding("order", "pass", asked, "it does")]
        seen = f"version {number} stands there" if number else "nothing stands there"
        return [Finding("order", "block", asked, seen, f"promote({version.ref!r}, to={before!r}, reason=…) first")]

    def _check_new(self, version: ModelVersion, to: str) -> None:
        if self._standing(version.name, to) == version.version:
            raise UsageFault(
                f"{version.ref} stands in {to} already", "there is nothing to promote; history() tells since when"
            )
        if self._find_open(version, to):
            raise UsageFault(f"{version.ref} waits for its approval for {to} already", "approve or reject it")

    def _find_open(self, version: ModelVersion, to: str) -> dict[str, Any] | None:
        a = schema.approvals
        query = sa.select(a).where(
            a.c.name == version.name, a.c.version == version.version, a.c.environment == to, a.c.status == "open"
        )
        with self.store.read() as db:
            row = db.execute(query).mappings().first()
        return dict(row) if row else None

    def _same_person(self, row: dict[str, Any]) -> list[Finding]:
        """A warning where one person asks and approves: it does not block, as a team may consist of one."""
        user = self.context().user
        if row["user"] != user:
            return []
        asked = "another person approves than the one who asked"
        seen = f"the person who approves is the one who asked: {user}"
        return [Finding("approver", "warn", asked, seen, "have somebody else approve")]

    def _opened(self, version: ModelVersion, to: str) -> dict[str, Any]:
        if row := self._find_open(version, to):
            return row
        waiting = [f"{p['ref']} for {p['environment']}" for p in self.pending()]
        raise NotFound(
            f"no approval of {version.ref} for {to} is open",
            f"these wait: {', '.join(waiting)}"
            if waiting
            else f"promote({version.ref!r}, to={to!r}, reason=…) opens one",
        )

    def _open_approval(self, version: ModelVersion, to: str, reason: str, findings: list[Finding]) -> Outcome:
        row = {
            "id": clock.new_id(),
            "name": version.name,
            "version": version.version,
            "environment": to,
            "status": "open",
            "reason": reason,
            "user": self.context().user,
            "created_at": clock.now(),
            "findings": plain(findings),
        }
        with self.store.write() as db:
            lock_ledger(db)
            self._check_new(version, to)  # again, now that nobody else can write
            db.execute(schema.approvals.insert(), row)
            facts = {"environment": to, "reason": reason, "approval": row["id"], "findings": row["findings"]}
            event = self._event(db, "model.promotion-requested", version.ref, facts)
        previous = self._standing(version.name, to)
        return self._outcome(version, to, "waiting", reason, event, findings, previous, row["id"])

    def _decide(self, db: sa.Connection, row: dict[str, Any], status: str, reason: str) -> None:
        decided = {"status": status, "decision": reason, "decided_by": self.context().user, "decided_at": clock.now()}
        db.execute(schema.approvals.update().where(schema.approvals.c.id == row["id"]).values(**decided))

    def _moved(
        self,
        db: sa.Connection,
        version: ModelVersion,
        to: str,
        status: str,
        reason: str,
        findings: list[Finding],
        approval: dict[str, Any] | None = None,
    ) -> Outcome:
        """Move the alias, write its history and the event, all in the caller's transaction."""
        previous = self._standing(version.name, to)
        facts: dict[str, Any] = {"environment": to, "previous": previous, "reason": reason, "findings": plain(findings)}
        if approval:
            facts |= {
                "approval": approval["id"],
                "requested_by": approval["user"],
                "requested_because": approval["reason"],
            }
        event = self._event(db, f"model.{status.replace(' ', '-')}", version.ref, facts)
        row = {"name": version.name, "alias": to, "version": version.version}
        self.store.upsert(db, schema.model_aliases, [row], ["name", "alias"])
        more = {"previous": previous, "reason": reason, "user": event.user, "at": event.at, "event_seq": event.seq}
        db.execute(schema.alias_history.insert(), {**row, **more})
        return self._outcome(
            version, to, status, reason, event, findings, previous, approval["id"] if approval else None
        )

    def _stood(self, db: sa.Connection, name: str, environment: str) -> list[int]:
        """The versions a rollback can go through, the current one last: each rollback takes one away.

        Moves in another store, which came with the model, have no event in our ledger, but one of that time in theirs.
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
            .where(h.c.name == name, h.c.alias == environment)
            .order_by(h.c.seq)
        )
        stood: list[int] = []
        for number, kind in db.execute(query):
            if kind == ROLLED_BACK:
                del stood[-1:]
            else:
                stood.append(number)
        return stood

    def _blocked(self, version: ModelVersion, to: str, reason: str, findings: list[Finding]) -> Blocked:
        """The refusal, recorded in a transaction of its own before it is raised."""
        refusing = [f for f in findings if f.level == "block"]
        with self.store.write() as db:
            facts = {"environment": to, "reason": reason, "findings": plain(findings)}
            self._event(db, "model.promotion-blocked", version.ref, facts)
        told = "; ".join(f"{f.check} ({f.asked}): {f.seen}" for f in refusing)
        verb = "refuses" if len(refusing) == 1 else "refuse"
        return Blocked(
            f"{version.ref} does not enter {to}: {len(refusing)} of {len(findings)} checks {verb}: {told}",
            next(
                (f.hint for f in refusing if f.hint),
                "mend what the findings name, register the model again, and promote that",
            ),
            findings,
        )

    def _event(self, db: sa.Connection, kind: str, subject: str, facts: dict[str, Any]) -> Event:
        return ledger.append(db, type=kind, subject=subject, user=self.context().user, data=facts)

    def _outcome(
        self,
        version: ModelVersion,
        to: str,
        status: str,
        reason: str,
        event: Event,
        findings: list[Finding],
        previous: int | None = None,
        approval_id: str | None = None,
    ) -> Outcome:
        return Outcome(
            model=version.name,
            version=version.version,
            environment=to,
            status=status,
            reason=reason,
            user=event.user,
            previous=previous,
            findings=tuple(findings),
            approval_id=approval_id,
            event=event.seq,
            at=event.at,
        )


def _reason(reason: object) -> str:
    if not isinstance(reason, str) or not reason.strip():
        raise InvalidValue("a reason is needed", "say in a few words why: it stays in the ledger")
    return reason.strip()


def _rules(given: Sequence[str]) -> list[str]:
    return rules.check([given] if isinstance(given, str) else given)


def _judged(asked: list[str], facts: dict[str, Any]) -> list[Finding]:
    return rules.judge(asked, facts)


def _findings(rows: list[dict[str, Any]]) -> list[Finding]:
    return [Finding(**row) for row in rows]
