"""The rules of environments as a project writes them, and approvals under them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from sklearn.dummy import DummyClassifier

from nbmlops import audit, clock, policy
from nbmlops.context import Context
from nbmlops.errors import Blocked, InvalidValue, NotAllowed, NotFound, Tampered, UsageFault
from nbmlops.records import EnvironmentPolicy
from nbmlops.store import ledger
from nbmlops.workspace import Workspace

FRAME = pd.DataFrame({"a": [float(n) for n in range(30)], "b": [n % 3 for n in range(30)]})
TEAM = """
[environments.staging]
service = false
[environments.production]
approvers = 2
four_eyes = true
expires = "14d"
"""


def write(text: str) -> Path:
    Path("nbmlops.toml").write_text(text)
    return Path("nbmlops.toml")


class Team:
    """One workspace, in which several persons act."""

    def __init__(self, store) -> None:
        self.user = "author"
        self.ws = Workspace(store, lambda: Context(user=self.user))

    def register(self) -> str:
        return self.ws.models.register(DummyClassifier().fit(FRAME, FRAME.b > 1), "m", training_data=FRAME).ref

    def __call__(self, user: str, verb: str, *given: str):
        self.user = user
        return getattr(self.ws.promotion, verb)(*given, "because")

    def asked(self) -> str:
        ref = self.register()
        self("ada", "promote", ref, "staging")
        assert self("ada", "promote", ref, "production").status == "waiting"
        return ref

    def stands(self, environment: str = "production") -> int | None:
        try:
            return self.ws.models.get(f"m@{environment}").version
        except NotFound:
            return None


@pytest.fixture
def team(store) -> Team:
    return Team(store)


def test_without_a_word_it_is_staging_and_production():
    found = policy.read()
    assert found == policy.Policies()
    assert found.of("production") == EnvironmentPolicy("production", after="staging", approvers=1)
    with pytest.raises(NotFound, match="no environment 'prod'"):
        found.of("prod")


def test_a_chain_in_the_order_of_the_file_with_rules_of_one_model():
    write(
        '[environments.test]\n[environments.qa]\nrules = ["metrics.auc > 0.5"]\n[environments.live]\nroles = ["qa"]\n'
        'canary = 0.05\n[models.churn.qa]\nrules = ["metrics.recall > 0.2"]\ngate = "g.ipynb"\n'
    )
    found = policy.read()
    assert [(p.name, p.after, p.approvers, p.service) for p in found.environments.values()] == [
        ("test", None, 0, True), ("qa", "test", 0, False), ("live", "qa", 1, False),
    ]  # fmt: skip
    assert found.of("qa", "other").rules == ("metrics.auc > 0.5",)
    assert found.of("qa", "churn").rules == ("metrics.auc > 0.5", "metrics.recall > 0.2")
    assert (found.of("qa", "churn").gate, found.of("live").canary) == ("g.ipynb", 0.05)


def test_pyproject_holds_it_as_well():
    Path("pyproject.toml").write_text("[tool.nbmlops.environments.one]\napprovers = 3\n")
    assert policy.read().of("one").approvers == 3


def test_every_fault_is_told_at_once():
    write(
        '[environments.staging]\napprover = 1\nexpires = "soon"\n[environments."a/../b"]\nafter = "production"\n'
        'rules = ["import os"]\nshadow = 2\n[environments.live]\napprovers = 0\nroles = ["qa"]\nfour_eyes = 1\n'
        "[models.m.prod]\nrules = 3\n[other]\n"
    )
    with pytest.raises(InvalidValue) as caught:
        policy.read()
    told = "\n".join(caught.value.faults)
    for part in (
        "other is not known",
        "environments.staging.approver is not known (did you mean approvers?)",
        "environments.staging.expires: 'soon' is not a duration",
        "environments.a/../b: 'a/../b' cannot be the name of an environment",
        "environments.a/../b.rules: 'import os'",
        "environments.a/../b.shadow: a share from 0 to 1 is needed, not 2",
        "environments.a/../b.after: 'production' is no environment that is named above it",
        "environments.live.four_eyes: true or false is needed, not 1",
        "environments.live: roles are named, and nobody has to approve; set approvers",
        "models.m.prod is not known",
        "models.m.prod.rules: a list of texts is needed, not 3",
    ):
        assert part in told
    assert len(caught.value.faults) == 11
    write("environments = 3")
    with pytest.raises(InvalidValue, match="a table for each of them is needed"):
        policy.read()
    write("[")
    with pytest.raises(InvalidValue, match="not valid TOML"):
        policy.read()


def test_rules_of_the_file_are_judged(team):
    write('[environments.staging]\nservice = false\nrules = ["metrics.auc > 0.5"]\n')
    ref = team.register()
    with pytest.raises(Blocked, match=r"there is no metrics\.auc"):
        team("ada", "promote", ref, "staging")


def test_the_store_keeps_the_rules_for_those_who_have_no_file(team):
    path = write(TEAM)
    ref = team.asked()
    path.unlink()
    assert policy.current(team.ws.store).of("production").approvers == 2
    assert team("bob", "approve", ref, "production").status == "waiting"
    assert [e.type for e in ledger.read(team.ws.store, subject="policy")] == ["policy.set"]
    write(TEAM.replace("2", "1"))  # others see who made it less
    team("bob", "promote", team.register(), "staging")
    assert [(e.type, e.user) for e in ledger.read(team.ws.store, subject="policy")] == [
        ("policy.set", "bob"), ("policy.set", "ada"),
    ]  # fmt: skip


def test_two_persons_approve_and_neither_author_nor_who_asked_is_one(team):
    write(TEAM)
    ref = team.asked()
    for user, part in (("author", "registered"), ("ada", "asked for")):
        with pytest.raises(NotAllowed, match=f"{user} has {part} model:m@1 for production, and four eyes"):
            team(user, "approve", ref, "production")
    first = team("bob", "approve", ref, "production")
    assert (first.status, first.approved_by, first.required, team.stands()) == ("waiting", ("bob",), 2, None)
    with pytest.raises(NotAllowed, match=r"bob has approved .* already"):
        team("bob", "approve", ref, "production")
    (waiting,) = team.ws.promotion.pending()
    assert [(v.user, v.decision, v.identity, v.event) for v in waiting.votes] == [
        ("bob", "approve", "setting", first.event)
    ]
    done = team("cleo", "approve", ref, "production")
    assert (done.status, done.approved_by, team.stands()) == ("approved", ("bob", "cleo"), 1)
    (kept,) = team.ws.promotion.approvals("m")
    assert (kept.status, len(kept.votes)) == ("approved", 2)
    audit.verify(team.ws.store)


def test_one_word_against_it_ends_it(team):
    write(TEAM)
    ref = team.asked()
    team("bob", "approve", ref, "production")
    assert team("ada", "reject", ref, "production").status == "rejected"
    with pytest.raises(NotFound, match="no approval"):
        team("cleo", "approve", ref, "production")
    assert team.stands() is None


def test_an_approval_that_waits_too_long_ends(team, monkeypatch):
    write(TEAM)
    ref, now = team.asked(), clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + 15 * 86_400)
    assert team.ws.promotion.pending() == []
    with pytest.raises(NotFound, match="expired on"):
        team("bob", "approve", ref, "production")
    assert team.ws.promotion.approvals("m")[0].status == "expired"
    assert team("ada", "promote", ref, "production").status == "waiting"
    audit.verify(team.ws.store)


def test_rules_that_became_stricter_count_for_what_is_asked_from_then_on(team):
    ref = team.asked()
    assert team.ws.promotion.pending()[0].required == 1
    write(TEAM)
    assert team("bob", "approve", ref, "production").status == "approved"


def test_a_deleted_version_is_nowhere_and_not_forgotten(team):
    ref = team.asked()
    with pytest.raises(UsageFault, match="stands in staging"):
        team("ada", "delete", ref)
    second = team.register()
    team.ws.models.set_alias("m", "champion", 2)
    team("ada", "promote", second, "staging")
    event = team("ada", "delete", ref)
    assert (event.type, event.data["reason"]) == ("model.deleted", "because")
    assert team.ws.promotion.approvals("m")[0].status == "withdrawn"
    with pytest.raises(NotFound, match=r"was deleted on .* by ada, because: because"):
        team.ws.models.load(ref)
    for verb in ("promote", "approve", "reject"):
        with pytest.raises(NotFound, match="was deleted"):
            team("ada", verb, ref, "production")
    with pytest.raises(NotFound, match="was deleted"):
        team("ada", "delete", ref)
    assert [v.version for v in team.ws.models.versions("m")] == [2]
    assert team.register() == "model:m@3"
    with pytest.raises(UsageFault, match="cannot be rolled back"):
        team("ada", "rollback", "m", "staging")
    assert team.ws.models.get(ref, deleted=True).version == 1
    audit.verify(team.ws.store)


def test_a_rollback_passes_over_what_was_deleted(team):
    for _ in range(3):
        team("ada", "promote", team.register(), "staging")
    team("ada", "delete", "model:m@2")
    assert team("ada", "rollback", "m", "staging").version == 1
    with pytest.raises(UsageFault, match="only version 1 has stood there"):
        team("ada", "rollback", "m", "staging")


def test_decisions_that_no_event_tells_of_are_found(team, store):
    ref = team.asked()
    team("bob", "approve", ref, "production")
    other = team.register()
    team("ada", "delete", other)
    assert audit.verify(store)
    for statement, told in (
        ("UPDATE approval_votes SET decision = 'reject'", "no event tells that bob said reject to model:m@1"),
        (
            "UPDATE model_versions SET deleted_at = NULL WHERE version = 2",
            "an event tells of the deletion of model:m@2",
        ),
        ("UPDATE model_versions SET deleted_at = 1.0 WHERE version = 1", "no event tells of the deletion of model:m@1"),
    ):
        with pytest.raises(Tampered, match=told), store.write() as db:
            db.execute(sa.text(statement))
            audit.verify(store)
    assert audit.verify(store)
