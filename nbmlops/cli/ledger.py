"""``nbmlops ledger …``, ``identity …``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from nbmlops.cli.options import json_option, listing, workspace
from nbmlops.errors import NotFound

_reason = click.option("--reason", required=True, help="Why; kept in the ledger.")


@click.group()
def ledger() -> None:
    """The hash-chained record of decisions."""


@ledger.command("show")
@click.argument("subject", required=False)
@click.option("-n", "--limit", default=50, show_default=True)
@click.option("--all", "merged", is_flag=True, help="Also the ledgers of stores whose content was taken over.")
@json_option
def show_ledger(subject: str | None, limit: int, merged: bool) -> Any:
    """Events, newest first; SUBJECT may be a reference such as model:churn."""
    events = workspace().events(subject, limit, merged=merged)
    if subject and not events:
        raise NotFound(f"no event about {subject!r}", "subjects are references such as model:churn or model:churn@3")
    return listing(events, "Ledger")


@ledger.command("verify")
@click.option("--anchors", type=click.Path(dir_okay=False), help="Hold it against the heads in this file as well.")
def verify_ledger(anchors: str | None) -> Any:
    """Check every link and signature; exit 1, and which events were changed, removed, inserted or moved."""
    from nbmlops.store import ledger as chain

    count = workspace().verify_ledger(anchors)
    merged = chain.verify_merged(workspace().store)
    more = f", and {sum(merged.values())} in the ledgers of {len(merged)} merged stores" if merged else ""
    return f"the ledger is intact: {count} events{more}{', and every anchor is in it' if anchors else ''}"


@ledger.command("export")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--cloudevents", is_flag=True, help="As CloudEvents 1.0.")
def export_ledger(file: str, cloudevents: bool) -> Any:
    """Write all events as JSON lines, oldest first."""
    from nbmlops.store.engine import store_id

    events, own = list(reversed(workspace().events())), store_id(workspace().store)
    rows = [e.to_cloudevent(own) if cloudevents else e.to_dict() for e in events]
    Path(file).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return f"wrote {len(events)} events to {file}"


@ledger.command("anchor")
@click.argument("file", type=click.Path(dir_okay=False), required=False)
@click.option("--git", is_flag=True, help="Commit the file.")
def anchor_ledger(file: str | None, git: bool) -> Any:
    """Write the head of the ledger down, so that nothing before it can be rewritten or cut off unseen.

    Keep FILE (by default .nbmlops-anchors.jsonl in the project) where whoever writes to the store cannot.
    """
    from nbmlops import settings
    from nbmlops.store import anchors

    path = Path(file) if file else settings.project_root() / anchors.FILE
    found = anchors.write(workspace().store, path)
    if git:
        anchors.commit(path, found)
    return f"event {found.seq} ({found.hash[:16]}…) is written down in {path}{' and committed' if git else ''}"


@ledger.command()
def deliver() -> Any:
    """Announce now what waits to be announced (docs/ledger.md)."""
    here = workspace().announcements
    if not here.sinks:
        raise NotFound("no receiver is named", "write [[announce]] with to = … into nbmlops.toml")
    return ", ".join(f"{count} {what}" for what, count in here.deliver().items())


@ledger.command()
@click.option("--dead", is_flag=True, help="Only what was given up.")
@click.option("--retry", is_flag=True, help="Give what was given up another chance.")
@json_option
def announcements(dead: bool, retry: bool) -> Any:
    """What has become of events that are announced to files and webhooks."""
    here = workspace().announcements
    if retry:
        here.retry()
    return listing(here.list(dead=dead), "Announcements")


@click.group()
def identity() -> None:
    """Who acts, in which roles, and with which keys."""


@identity.command("show")
@json_option
def show_identity() -> Any:
    """Who acts here, and how that is known."""
    return workspace().identities.current()


@identity.command("list")
@json_option
def list_identities() -> Any:
    """Everybody who has a role or a key."""
    return listing(workspace().identities.list(), "Identities")


@identity.command()
@click.argument("user")
@click.argument("role")
@_reason
def grant(user: str, role: str, reason: str) -> Any:
    """Give a role; the first one to get the role admin decides about all that follow."""
    workspace().identities.grant(user, role, reason)
    return f"{user} has the role {role}"


@identity.command()
@click.argument("user")
@click.argument("role")
@_reason
def withdraw(user: str, role: str, reason: str) -> Any:
    """Take a role away."""
    workspace().identities.withdraw(user, role, reason)
    return f"{user} has the role {role} no more"


@identity.command("new-key")
@click.argument("file", type=click.Path(dir_okay=False), required=False)
def new_key(file: str | None) -> Any:
    """Make a key in your own folder (or FILE), encrypted if NBMLOPS_KEY_PASSPHRASE is set."""
    key, public = workspace().identities.new_key(file)
    return f"key {key} is made; let the store know it: nbmlops identity add-key {public}"


@identity.command("add-key")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--user", help="Whose it is; by default yours.")
@click.option("--reason", default="a key of mine", show_default=True)
def add_key(file: str, user: str | None, reason: str) -> Any:
    """Let the store know a public key (FILE.pub): from then on its owner signs every decision."""
    with open(file, encoding="ascii", errors="replace") as source:
        event = workspace().identities.add_key(source.read(1_000), user, reason)
    return f"{event.data['of']} signs with key {event.data['key']}"


@identity.command("revoke-key")
@click.argument("key")
@_reason
def revoke_key(key: str, reason: str) -> Any:
    """End a key; what it signed before stays valid."""
    workspace().identities.revoke_key(key, reason)
    return f"key {key} is revoked"


COMMANDS = (ledger, identity)
