"""The promotion desk: which version stands in which environment, who decided it, and on what evidence.

Only this desk moves environments. Each move is one transaction: the alias, its history and the ledger's event. What was
refused is kept in the ledger as well. Whatever took long is looked at again inside that transaction, under the lock of
the ledger, so that no other process can have changed what the decision rests on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from nbmlops import clock, identities, policy, rules
from nbmlops.context import ContextSource
from nbmlops.errors import Blocked, InvalidValue, NotFound, UsageFault
from nbmlops.evidence import Evidences
from nbmlops.models import Models, packages
from nbmlops.policy import Policies
from nbmlops.promotion import approvals, standing
from nbmlops.promotion.judging import FACTS, Judging
from nbmlops.promotion.reviews import Notebooks, Reviews
from nbmlops.records import Approval, EnvironmentPolicy, Event, Finding, Identity, ModelVersion, Review, plain
from nbmlops.records import Promotion as Outcome
from nbmlops.runs import Runs
from nbmlops.store import Store, ledger, schema
from nbmlops.store.engine import lock_ledger
from nbmlops.store.told import DELETED


class Promotion:
    """Every verb that changes what an environment runs, by the project's rules or those that are given."""

    def __init__(
        self,
        store: Store,
        context: ContextSource,
        models: Models,
        runs: Runs,
        *,
        evidence: Evidences,
        policies: Policies | None = None,
        notebooks: Notebooks | None = None,
    ) -> None:
        self.store = store
        self.context = context
        self.models = models
        self.reviews = Reviews(store, context, notebooks)
        self._judging = Judging(models, runs, evidence, self.reviews, self.policies)
        self._given = policies

    # -- verbs -----------------------------------------------------------------------------------------------------
    def promote(self, ref: str, to: str, reason: str, rules: Sequence[str] = ()) -> Outcome:
        """Run the rules and the environment's trials, then move the environment, or open an approval.

        Raises:
            Blocked: a rule or a trial refused; holds every finding, and nothing has changed.
            UsageFault: the version stands there already, or its approval is open already.
        """
        environment, reason, asked = self._policy(to, ref), _reason(reason), _rules(rules)
        version = self.models.get(ref)
        with self.store.read() as db:
            self._check_new(db, version, to)
            findings = self._standing_before(db, version, environment)
        findings += self._judging.findings(version, environment, asked, reason)
        if any(f.level == "block" for f in findings):
            raise self._blocked(version, to, reason, findings)
        with self._deciding() as db:
            self._check_new(db, version, to)  # again, now that nobody else can write
            if not (late := self._late(db, version, environment)):
                if environment.approvers:
                    return self._asked(db, version, environment, reason, findings)
                return self._moved(db, version, to, "promoted", reason, findings)
        raise self._blocked(version, to, reason, [*findings, *late])

    def approve(self, ref: str, to: str, reason: str) -> Outcome:
        """Approve a promotion that waits; with the last approval that is needed the environment moves.

        Raises:
            NotFound: no approval is open for this version and environment, or its time is over.
            NotAllowed: the environment wants another person, or one with a role.
            Blocked: the version no longer stands where it has to, or its bytes have changed.
        """
        environment, reason = self._policy(to, ref), _reason(reason)
        version = self.models.get(ref)
        identity = self._in_time(version, to)
        findings = packages.intact(self.store, version)
        if all(f.ok for f in findings):
            with self._deciding() as db:
                waiting = approvals.get(db, version, to)
                approvals.check_vote(waiting, identity, version.user)
                if not (findings := self._late(db, version, environment)):
                    return self._approved(db, version, waiting, identity, reason)
        raise self._blocked(version, to, reason, findings)

    def reject(self, ref: str, to: str, reason: str) -> Outcome:
        """End an open approval; the environment stays as it is.

        Raises:
            NotFound: no approval is open for this version and environment.
        """
        self._policy(to, ref)
        reason, version = _reason(reason), self.models.get(ref)
        identity = self._in_time(version, to)
        with self.store.write() as db:
            lock_ledger(db)
            waiting = approvals.get(db, version, to)
            facts = {"environment": to, "reason": reason, **approvals.facts(waiting), **approvals.known_by(identity)}
            event = self._event(db, "model.rejected", version.ref, facts)
            outcome = self._outcome(version, to, "rejected", reason, event, waiting.findings, approval=waiting)
            approvals.voted(db, waiting, approvals.vote("reject", identity, outcome))
            approvals.closed(db, waiting.approval_id, "rejected", user=event.user, reason=reason)
            return outcome

    def rollback(self, name: str, environment: str, reason: str) -> Outcome:
        """Return an environment, at once, to the version that stood there before the current one.

        Raises:
            UsageFault: nothing stood there before.
            Blocked: the bytes of that version are not what was written.
        """
        self._policy(environment, name)
        reason = _reason(reason)
        with self.store.write() as db:
            lock_ledger(db)
            stood = standing.stood(db, name, environment)
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

    def delete(self, ref: str, reason: str) -> Event:
        """Take a version out of use: it cannot be loaded or promoted any more; its history and predictions stay.

        Its labels go, and approvals that wait are withdrawn. The bytes stay until ``store gc``.

        Raises:
            UsageFault: it stands in an environment.
        """
        reason, version = _reason(reason), self.models.get(ref)
        v = schema.model_versions
        with self.store.write() as db:
            lock_ledger(db)
            held = standing.labels(db, version.name, version.version)
            if stands := [e for e in self.policies().environments if e in held]:
                raise UsageFault(
                    f"{version.ref} stands in {' and '.join(stands)}", "promote another version, or roll back, first"
                )
            event = self._event(db, DELETED, version.ref, {"reason": reason, "labels": held})
            for label in held:
                standing.move(self.store, db, version.name, label, None, reason=reason, event=event)
            for waiting in approvals.listed(db, name=version.name, open_only=True):
                if waiting.version == version.version:
                    approvals.closed(db, waiting.approval_id, "withdrawn", user=event.user, reason="deleted")
            gone = sa.and_(v.c.name == version.name, v.c.version == version.version, v.c.deleted_at.is_(None))
            if not db.execute(v.update().where(gone).values(deleted_at=event.at)).rowcount:
                raise NotFound(f"{version.ref} was deleted meanwhile", "there is nothing left to do")
        return event

    # -- reading ---------------------------------------------------------------------------------------------------
    def policies(self) -> Policies:
        """The rules that hold now."""
        return self._given or policy.current(self.store)

    def pending(self) -> list[Approval]:
        """Open approvals, oldest first; those whose time is over are left out."""
        with self.store.read() as db:
            return [a for a in approvals.listed(db, open_only=True) if not approvals.expired(a)]

    def approvals(self, name: str) -> list[Approval]:
        """All approvals of a model's versions, newest first, with their votes."""
        with self.store.read() as db:
            return approvals.listed(db, name=name)[::-1]

    def review(self, ref: str, environment: str | None = None) -> Review:
        """The latest review of a version, for one environment or any.

        Raises:
            NotFound: there is none.
        """
        version = self.models.get(ref, deleted=True)
        found = self.reviews.of(version, environment)
        if not found:
            where = f" for {environment}" if environment else ""
            raise NotFound(
                f"there is no review of {version.ref}{where}",
                "promote() writes one where an environment tests the model as a service",
            )
        return found[0]

    def history(self, name: str, environment: str) -> list[dict[str, Any]]:
        """What stood in an environment, newest first: ``version previous reason user at event``."""
        self._policy(environment, name)
        self.models.versions(name)
        return standing.history(self.store, name, environment)

    def fact_names(self) -> tuple[str, ...]:
        """The first names that rules may use: the keys of :meth:`facts`."""
        return (*FACTS, *self.policies().environments)

    def facts(self, version: ModelVersion) -> dict[str, Any]:
        """What rules may speak of; an environment where no model stands is None."""
        return self._judging.facts(version)

    # -- inside ----------------------------------------------------------------------------------------------------
    @contextmanager
    def _deciding(self) -> Iterator[sa.Connection]:
        """A transaction under the ledger's lock, which begins with keeping the rules that it is to go by."""
        with self.store.write() as db:
            lock_ledger(db)
            policy.adopt(self.store, db, self.policies(), identities.acting(self.store, self.context()))
            yield db

    def _policy(self, environment: str, ref: str) -> EnvironmentPolicy:
        name = ref.removeprefix("models:/").removeprefix("model:").partition("@")[0]
        return self.policies().of(environment, name)

    def _standing_before(self, db: sa.Connection, version: ModelVersion, policy: EnvironmentPolicy) -> list[Finding]:
        """The finding about the environment that comes before; none where there is none."""
        before = policy.after
        if before is None:
            return []
        number = standing.standing(db, version.name, before)
        asked = f"{version.ref} stands in {before}"
        if number == version.version:
            return [Finding("order", "pass", asked, "it does")]
        seen = f"version {number} stands there" if number else "nothing stands there"
        return [Finding("order", "block", asked, seen, f"promote({version.ref!r}, to={before!r}, reason=…) first")]

    def _late(self, db: sa.Connection, version: ModelVersion, policy: EnvironmentPolicy) -> list[Finding]:
        """What has come to stand against the move since it was judged."""
        found = [f for f in self._standing_before(db, version, policy) if not f.ok]
        if standing.deleted(db, version.name, version.version):
            found.append(Finding("deleted", "block", f"{version.ref} is there", "it was deleted meanwhile"))
        return found

    def _check_new(self, db: sa.Connection, version: ModelVersion, to: str) -> None:
        if standing.standing(db, version.name, to) == version.version:
            raise UsageFault(
                f"{version.ref} stands in {to} already", "there is nothing to promote; history() tells since when"
            )
        waiting = approvals.find(db, version, to)
        if waiting is not None and not approvals.expired(waiting):
            raise UsageFault(f"{version.ref} waits for its approval for {to} already", "approve or reject it")

    def _in_time(self, version: ModelVersion, to: str) -> Identity:
        """Who acts on an approval that is open and whose time is not over; one that is too old is closed.

        Raises:
            NotFound: there is no such approval.
        """
        with self.store.read() as db:
            waiting = approvals.get(db, version, to)
        if approvals.expired(waiting):
            self._expire(version, waiting)
            raise NotFound(
                f"the approval of {version.ref} for {to} expired on {clock.iso(waiting.expires_at)}",
                f"promote({version.ref!r}, to={to!r}, reason=…) asks again",
            )
        return identities.acting(self.store, self.context(), strict=bool(waiting.roles))

    def _expire(self, version: ModelVersion, waiting: Approval) -> None:
        with self.store.write() as db:
            lock_ledger(db)
            if self._is_open(db, version, waiting):
                facts = {"environment": waiting.environment, **approvals.facts(waiting)}
                event = self._event(db, "model.approval-expired", version.ref, facts)
                approvals.closed(db, waiting.approval_id, "expired", user=event.user, reason="its time was over")

    def _is_open(self, db: sa.Connection, version: ModelVersion, waiting: Approval) -> bool:
        found = approvals.find(db, version, waiting.environment)
        return found is not None and found.approval_id == waiting.approval_id

    def _asked(
        self, db: sa.Connection, version: ModelVersion, policy: EnvironmentPolicy, reason: str, findings: list[Finding]
    ) -> Outcome:
        """Open an approval, in the caller's transaction; one whose time is over is closed first."""
        user = self.context().user
        if (old := approvals.find(db, version, policy.name)) is not None:
            approvals.closed(db, old.approval_id, "expired", user=user, reason="asked for again")
        read = next(iter(self.reviews.of(version)), None)
        more = {"findings": findings, "review": read.review_id if read else None}
        waiting = approvals.opened(db, version, policy, reason=reason, user=user, **more)
        facts = {"environment": policy.name, "reason": reason, **approvals.facts(waiting), "findings": plain(findings)}
        event = self._event(db, "model.promotion-requested", version.ref, facts)
        return self._outcome(version, policy.name, "waiting", reason, event, findings, approval=waiting)

    def _approved(
        self, db: sa.Connection, version: ModelVersion, waiting: Approval, identity: Identity, reason: str
    ) -> Outcome:
        """Keep the vote, and, if it was the last that is needed, move."""
        given = [v.user for v in waiting.votes if v.decision == "approve"]
        told = [*waiting.findings, *approvals.same_person(waiting, identity)]
        to = waiting.environment
        if len(given) + 1 < waiting.required:
            facts = {"environment": to, "reason": reason, **approvals.facts(waiting), **approvals.known_by(identity)}
            event = self._event(db, "model.approval-given", version.ref, facts)
            outcome = self._outcome(version, to, "waiting", reason, event, told, approval=waiting)
        else:
            more = {
                **approvals.facts(waiting),
                **approvals.known_by(identity),
                "requested_because": waiting.reason,
                "approved_by": given,
            }
            outcome = self._moved(db, version, to, "approved", reason, told, more, waiting)
            approvals.closed(db, waiting.approval_id, "approved", user=identity.user, reason=reason)
        approvals.voted(db, waiting, approvals.vote("approve", identity, outcome))
        return dataclasses.replace(outcome, approved_by=(*given, identity.user))

    def _moved(
        self,
        db: sa.Connection,
        version: ModelVersion,
        to: str,
        status: str,
        reason: str,
        findings: Sequence[Finding],
        more: dict[str, Any] | None = None,
        approval: Approval | None = None,
    ) -> Outcome:
        """Move the alias, write its history and the event, all in the caller's transaction."""
        previous = standing.standing(db, version.name, to)
        facts = {"environment": to, "previous": previous, "reason": reason, "findings": plain(findings), **(more or {})}
        event = self._event(db, f"model.{status.replace(' ', '-')}", version.ref, facts)
        standing.move(self.store, db, version.name, to, version.version, reason=reason, event=event)
        return self._outcome(version, to, status, reason, event, findings, previous, approval)

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
        findings: Sequence[Finding],
        previous: int | None = None,
        approval: Approval | None = None,
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
            approval_id=approval.approval_id if approval else None,
            event=event.seq,
            at=event.at,
            approved_by=tuple(v.user for v in approval.votes if v.decision == "approve") if approval else (),
            required=approval.required if approval else 0,
            review=approval.review if approval else None,
        )


def _reason(reason: object) -> str:
    if not isinstance(reason, str) or not reason.strip():
        raise InvalidValue("a reason is needed", "say in a few words why: it stays in the ledger")
    return reason.strip()


def _rules(given: Sequence[str]) -> list[str]:
    return rules.check([given] if isinstance(given, str) else given)
