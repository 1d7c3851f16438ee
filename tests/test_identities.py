"""Keys and roles: events of the ledger; who may give them, and what a key binds its owner to."""

from __future__ import annotations

import getpass
import subprocess

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier

from nbmlops import audit, signing
from nbmlops.context import Context
from nbmlops.errors import InvalidValue, NotAllowed, NotFound, UsageFault
from nbmlops.identities import acting
from nbmlops.store import ledger
from nbmlops.workspace import Workspace

pytestmark = pytest.mark.usefixtures("own_keys")
ME = getpass.getuser()


def at(store, user=ME) -> Workspace:
    return Workspace(store, lambda: Context(user))


@pytest.fixture
def key(tmp_path, monkeypatch) -> signing.Key:
    monkeypatch.setenv(signing.KEY, str(tmp_path / "mine.pem"))
    return signing.new(tmp_path / "mine.pem")


def test_the_first_administrator_decides_about_all_that_follow(store):
    mine = at(store).identities
    assert mine.grant(ME, "admin", "somebody has to").type == "identity.role-granted"
    mine.grant("bob", "qa", "knows the data")
    assert [(i.user, i.roles) for i in mine.list()] == sorted([(ME, ("admin",)), ("bob", ("qa",))])
    with pytest.raises(UsageFault, match="is the last administrator"):
        mine.withdraw(ME, "admin", "tired")
    with pytest.raises(UsageFault, match="has the role qa already"):
        mine.grant("bob", "qa", "again")
    mine.withdraw("bob", "qa", "left")
    with pytest.raises(NotFound):
        mine.withdraw("bob", "qa", "again")
    assert audit.verify(store) == 3


def test_a_name_that_somebody_typed_is_not_the_person_where_it_counts(store):
    at(store).identities.grant("ada", "qa", "she knows")
    typed = acting(store, Context("ada"))
    assert (typed.how, typed.roles) == ("setting", ("qa",))
    proved = acting(store, Context("ada"), strict=True)
    assert (proved.user, proved.how, proved.roles) == (ME, "os", ())


def test_a_jupyterhub_user_is_known_as_such(store, monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    assert acting(store, Context("ada"), strict=True).how == "jupyterhub"


def test_whoever_has_a_key_signs_and_nobody_signs_without(store, key, monkeypatch):
    ada = at(store, "ada")
    ada.identities.add_key(key.public)
    who = ada.identities.current()
    assert (who.how, who.key) == ("key", key.key_id)
    assert acting(store, Context("ada"), strict=True).user == "ada"
    with store.write() as db:
        event = ledger.append(db, type="x", subject="y", user="ada", data={})
    assert event.signer == key.key_id
    assert signing.valid(key.public, event.hash, event.signature)
    monkeypatch.setenv("NBMLOPS_KEY", str(key.path.with_name("none.pem")))
    with pytest.raises(NotFound, match="cannot be found"), store.write() as db:
        ledger.append(db, type="x", subject="y", user="ada", data={})
    monkeypatch.delenv("NBMLOPS_KEY")
    with pytest.raises(NotAllowed, match="there is no key here"), store.write() as db:
        ledger.append(db, type="x", subject="y", user="ada", data={})
    with store.write() as db:
        assert ledger.append(db, type="x", subject="y", user="bob", data={}).signer is None
    assert audit.verify(store) == 3


def test_a_revoked_key_signs_no_more_and_what_it_signed_stays(store, key, tmp_path, monkeypatch):
    ada = at(store, "ada")
    ada.identities.add_key(key.public)
    with pytest.raises(UsageFault, match="knows key"):
        ada.identities.add_key(key.public)
    ada.identities.revoke_key(key.key_id, "the laptop was stolen")
    assert ada.identities.current().how == "setting"
    with store.write() as db:
        assert ledger.append(db, type="x", subject="y", user="ada", data={}).signer is None
    with pytest.raises(UsageFault, match="knows key"):
        ada.identities.add_key(key.public)
    with pytest.raises(NotFound):
        ada.identities.revoke_key(key.key_id, "again")
    assert audit.verify(store) == 3


def test_keys_of_others_are_for_administrators(store, key, tmp_path, monkeypatch):
    at(store).identities.grant("boss", "admin", "she is")
    other = signing.new(tmp_path / "other.pem")
    for act in (
        lambda: at(store, "eve").identities.add_key(other.public, "boss"),
        lambda: at(store).identities.grant(ME, "qa", "x"),
    ):
        with pytest.raises(NotAllowed, match="ask an administrator: boss"):
            act()
    at(store, "boss").identities.add_key(key.public)  # one's first key is one's own affair
    at(store, "boss").identities.grant("bob", "qa", "signed, so that it counts")
    with pytest.raises(NotAllowed):
        at(store, "eve").identities.revoke_key(key.key_id, "because")
    assert audit.verify(store) == 3


def test_where_a_role_is_needed_only_a_proved_person_approves(store, key):
    from pathlib import Path

    Path("nbmlops.toml").write_text('[environments.staging]\n[environments.production]\nroles = ["qa"]\n')
    ws = at(store)
    frame = pd.DataFrame({"a": np.arange(30.0)})
    ref = ws.models.register(DummyClassifier().fit(frame, frame.a > 9), "m", training_data=frame).ref
    ws.promotion.promote(ref, "staging", "x")
    ws.promotion.promote(ref, "production", "x")
    ws.identities.grant("ada", "qa", "she knows")
    with pytest.raises(NotAllowed, match=f"the role qa; {ME} has no role"):
        at(store, "ada").promotion.approve(ref, "production", "typed")
    at(store, "ada").identities.add_key(key.public)
    outcome = at(store, "ada").promotion.approve(ref, "production", "signed")
    assert outcome.status == "approved"
    event = ledger.get(store, outcome.event)
    assert (event.signer, event.data["identity"], event.data["roles"]) == (key.key_id, f"key:{key.key_id}", ["qa"])


def test_keys_are_files_that_only_their_owner_reads(tmp_path, monkeypatch):
    monkeypatch.setenv(signing.PASSPHRASE, "open sesame")
    made = signing.new(tmp_path / "k.pem")
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in made.path.read_bytes()
    with pytest.raises(UsageFault, match="exists already"):
        signing.new(tmp_path / "k.pem")
    monkeypatch.setenv(signing.KEY, str(made.path))
    assert signing.mine().key_id == made.key_id
    monkeypatch.setenv(signing.PASSPHRASE, "wrong")
    with pytest.raises(InvalidValue, match="cannot be read as a key"):
        signing.mine()
    monkeypatch.setenv(signing.PASSPHRASE, "open sesame")
    made.path.chmod(0o644)
    made.path.touch()
    with pytest.raises(InvalidValue, match="others can read"):
        signing.mine()
    for text in ("", "x", "aGFsbG8="):
        with pytest.raises(InvalidValue):
            signing.public_key(text)


def test_on_the_command_line(cli, tmp_path, tmp_path_factory, monkeypatch):
    monkeypatch.delenv("NBMLOPS_USER")
    monkeypatch.setenv("NBMLOPS_KEY", str(tmp_path / "k.pem"))
    told = cli("identity", "new-key", str(tmp_path / "k.pem"))
    assert "nbmlops identity add-key" in told.out
    assert "signs with key" in cli("identity", "add-key", str(tmp_path / "k.pub")).out
    assert cli("identity", "grant", ME, "admin", "--reason", "somebody has to").out.startswith(f"{ME} has the role")
    assert "key" in cli("identity", "show").out
    assert "admin" in cli("identity", "list").out
    assert "2 events" in cli("ledger", "verify").out
    cli("ledger", "anchor", str(tmp_path / "heads.jsonl"))
    assert "every anchor" in cli("ledger", "verify", "--anchors", str(tmp_path / "heads.jsonl")).out
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    for name in ("user.name", "user.email"):
        subprocess.run(["git", "-C", str(tmp_path), "config", name, "a@b"], check=True)
    told = cli("ledger", "anchor", str(tmp_path / "kept.jsonl"), "--git").out
    assert "event 2" in told
    assert "and committed" in told
    log = subprocess.run(
        ["git", "-C", str(tmp_path), "log", "--format=%s", "--name-only"], capture_output=True, text=True, check=True
    )
    assert log.stdout.split("\n")[:3] == ["Anchor event 2 of the ledger", "", "kept.jsonl"]
    cli("ledger", "anchor", str(tmp_path_factory.mktemp("bare") / "heads.jsonl"), "--git", code=4)  # no repository
    cli("ledger", "export", str(tmp_path / "e.jsonl"), "--cloudevents")
    assert '"type": "org.nbmlops.identity.role-granted"' in (tmp_path / "e.jsonl").read_text()
