"""What is wrong with a chain of events: which was changed, removed, inserted or moved, and whose signature is false.

An event is whole if its hash is that of its content and of the hash before it; only its writer could have made it so,
or somebody who rewrites all that follows. Against that stand signatures, and heads that were written down elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from nbmlops import signing
from nbmlops.store.people import KEY_REVOKED, TYPES, People

GENESIS = "0" * 64
_HASHED = ("seq", "id", "type", "subject", "user", "at", "data")


def digest(row: Mapping[str, Any]) -> str:
    """The hash of an event, from its content and the hash before it."""
    facts = {name: row[name] for name in _HASHED}
    if row.get("signer"):  # so that a signature cannot be taken away
        facts["signer"] = row["signer"]
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(f"{row['previous']}\n{text}".encode()).hexdigest()


def faults(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """Everything that is wrong with a chain, in the order of its events; empty if nothing is.

    Args:
        events: rows of the ledger, by their places.
    """
    places = {event["hash"]: event["seq"] for event in events}
    ids: dict[str, int] = {}
    known, wrong, before = People(), [], None
    for event in events:
        wrong += _missing(before, event)
        wrong += _linked(before, event, places)
        wrong += _signed(known, event)
        if event["id"] in ids:
            wrong.append(f"{_name(event)} was inserted: event {ids[event['id']]} has its id")
        ids[event["id"]] = event["seq"]
        if event["type"] in TYPES:
            known.note(event["type"], _data(event))
        before = event
    return wrong


def _missing(before: Mapping[str, Any] | None, event: Mapping[str, Any]) -> list[str]:
    """Places that are empty between two events."""
    first, last = (before["seq"] if before else 0) + 1, event["seq"] - 1
    if first > last:
        return [] if event["seq"] == first else [f"{_name(event)} was inserted: its place is taken"]
    return [f"event {first} was removed" if first == last else f"events {first} to {last} were removed"]


def _linked(before: Mapping[str, Any] | None, event: Mapping[str, Any], places: Mapping[str, int]) -> list[str]:
    try:
        if digest(event) != event["hash"]:
            return [f"{_name(event)} was changed"]
    except (TypeError, ValueError):  # what no writer of ours can have written
        return [f"{_name(event)} was changed"]
    expected = before["hash"] if before else GENESIS
    if event["previous"] == expected or (before and event["seq"] != before["seq"] + 1):
        return []  # a gap was told of already
    if (place := places.get(event["previous"])) is not None:
        return [f"{_name(event)} was moved: it was written after event {place}"]
    if before is None:
        return [f"the events before {_name(event)} were removed"]
    return [f"event {before['seq']} is not the one that was there when {_name(event)} was written"]


def _signed(known: People, event: Mapping[str, Any]) -> list[str]:
    """A signature must be there where the user has a key, be of that user's key in use, and fit the hash."""
    signer, signature = event.get("signer"), event.get("signature")
    if not signer:
        if signature:
            return [f"{_name(event)} was changed: it has a signature of nobody"]
        theirs = known.keys_of(event["user"])
        if theirs and event["type"] != KEY_REVOKED:
            return [f"{_name(event)} is not signed, and {event['user']} has key {theirs[0]}"]
        return []
    if signer in known.revoked:
        return [f"{_name(event)} is signed with key {signer}, which was revoked before"]
    owner, public = known.keys.get(signer, ("", ""))
    if owner != event["user"]:
        return [f"{_name(event)} is signed with key {signer}, which {event['user']} does not have"]
    if not signature or not signing.valid(public, event["hash"], signature):
        return [f"the signature of {_name(event)} is false"]
    return []


def _name(event: Mapping[str, Any]) -> str:
    return f"event {event['seq']} ({event['type']} of {event['subject']})"


def _data(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """What an event holds; nothing where that cannot be read, which its hash tells of."""
    try:
        found = json.loads(event["data"])
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
