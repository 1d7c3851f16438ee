"""A thousand ways to bend a ledger, each of which is found: in plain chains, in signed ones, and in anchored ones."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from nbmlops import audit, signing
from nbmlops.context import Context
from nbmlops.errors import Tampered
from nbmlops.identities import Identities
from nbmlops.store import Store, chains, ledger, schema
from nbmlops.store.anchors import Anchor

EVENTS = 12
Rows = list[dict[str, Any]]
Bend = Callable[[Rows, random.Random], None]


def written(store: Store, key: signing.Key | None = None) -> Rows:
    """The rows of a chain of decisions; with a key, signed ones."""
    if key is not None:
        Identities(store, lambda: Context("ada")).add_key(key.public, "ada")
    for number in range(EVENTS):
        with store.write() as db:
            facts = {"environment": "staging", "reason": f"number {number}", "findings": []}
            ledger.append(db, type="model.promoted", subject=f"model:m@{number + 1}", user="ada", data=facts)
    return rows_of(store)


def rows_of(store: Store) -> Rows:
    with store.read() as db:
        return [dict(row) for row in db.execute(sa.select(schema.ledger).order_by(schema.ledger.c.seq)).mappings()]


# --- ways to bend it ----------------------------------------------------------------------------------------------
def change(rows: Rows, chance: random.Random) -> None:
    row, name = chance.choice(rows), chance.choice(["id", "type", "subject", "user", "at", "data", "previous", "hash"])
    if name == "at":
        row["at"] += chance.choice([-1.0, 1e-6, 60.0])
    elif name == "data":
        row["data"] = json.dumps({**json.loads(row["data"]), "reason": str(chance.random())}, sort_keys=True)
    else:
        place = chance.randrange(len(row[name]))
        row[name] = row[name][:place] + chance.choice("xyz") + row[name][place + 1 :]


def remove(rows: Rows, chance: random.Random) -> None:
    del rows[chance.randrange(len(rows) - 1)]  # the end is another matter: see below


def remove_and_close_up(rows: Rows, chance: random.Random) -> None:
    remove(rows, chance)
    for place, row in enumerate(rows, 1):
        row["seq"] = place


def swap(rows: Rows, chance: random.Random) -> None:
    a, b = chance.sample(range(len(rows)), 2)
    rows[a], rows[b] = {**rows[b], "seq": rows[a]["seq"]}, {**rows[a], "seq": rows[b]["seq"]}


def insert(rows: Rows, chance: random.Random) -> None:
    place = chance.randrange(1, len(rows))
    rows.insert(place, {**rows[place], "id": "forged", "user": "eve"})
    rows[place]["previous"] = rows[place - 1]["hash"]
    for number, row in enumerate(rows, 1):
        row["seq"] = number
    rows[place]["hash"] = chains.digest(rows[place])


def twice(rows: Rows, chance: random.Random) -> None:
    place = chance.randrange(len(rows))
    rows.insert(place, dict(rows[place]))
    for number, row in enumerate(rows, 1):
        row["seq"] = number


def rewrite(rows: Rows, chance: random.Random) -> None:
    """Change one event, and compute all hashes anew: what somebody does who knows how."""
    place = chance.randrange(1, len(rows))
    rows[place]["data"] = json.dumps({"reason": str(chance.random())})
    rehash(rows, place)


def rewrite_unsigned(rows: Rows, chance: random.Random) -> None:
    place = chance.randrange(1, len(rows))
    rows[place]["data"] = json.dumps({"reason": str(chance.random())})
    for row in rows[place:]:
        row["signer"] = row["signature"] = None
    rehash(rows, place)


def sign_with_another(rows: Rows, chance: random.Random) -> None:
    """Sign one event, and all after it, with a key of one's own."""
    place, key = chance.randrange(1, len(rows)), another()
    rows[place]["data"] = json.dumps({"reason": str(chance.random())})
    for row in rows[place:]:
        row["signer"] = key.key_id
    rehash(rows, place)
    for row in rows[place:]:
        row["signature"] = key.sign(row["hash"])


def forge_signature(rows: Rows, chance: random.Random) -> None:
    row = chance.choice(rows[1:])
    row["signature"] = chance.choice([None, "", "AAAA", rows[1]["signature"] if row is not rows[1] else "AAAA"])


def rehash(rows: Rows, start: int) -> None:
    for place in range(start, len(rows)):
        rows[place]["previous"] = rows[place - 1]["hash"] if place else chains.GENESIS
        rows[place]["hash"] = chains.digest(rows[place])


def truncate(rows: Rows, chance: random.Random) -> None:
    del rows[chance.randrange(1, len(rows)) :]


PLAIN: tuple[Bend, ...] = (change, remove, remove_and_close_up, swap, insert, twice)
SIGNED: tuple[Bend, ...] = (*PLAIN, rewrite, rewrite_unsigned, sign_with_another, forge_signature)
_KEYS: list[signing.Key] = []


def another() -> signing.Key:
    return _KEYS[0]


@pytest.fixture
def key(tmp_path, monkeypatch) -> signing.Key:
    _KEYS[:] = [signing.new(tmp_path / "eve.pem")]
    mine = signing.new(tmp_path / "ada.pem")
    monkeypatch.setenv(signing.KEY, str(tmp_path / "ada.pem"))
    return mine


@pytest.mark.parametrize(("signed", "times"), [(False, 400), (True, 400)], ids=["plain", "signed"])
def test_every_tampering_is_found_and_named(store, request, signed, times):
    rows = written(store, request.getfixturevalue("key") if signed else None)
    assert chains.faults(rows) == []
    for seed in range(times):
        chance, bent = random.Random(seed), [dict(row) for row in rows]
        ways = SIGNED if signed else PLAIN
        way = ways[seed % len(ways)]
        way(bent, chance)
        found = chains.faults(bent)
        assert found, f"{way.__name__} with seed {seed}"
        assert all("event" in fault for fault in found)


def test_after_an_anchor_nothing_can_be_rewritten_or_cut_off(store):
    rows = written(store)
    anchors = [Anchor("S", row["seq"], row["hash"], row["at"]) for row in rows[3::4]]
    assert not [fault for a in anchors if (fault := a.fault(rows))]
    for seed in range(200):
        chance, bent = random.Random(seed), [dict(row) for row in rows[: anchors[-1].seq]]
        (rewrite if seed % 2 else truncate)(bent, chance)
        assert chains.faults(bent) == []  # what only an anchor tells
        found = [fault for a in anchors if (fault := a.fault(bent))]
        assert found, seed
        assert "event" in found[0]


@pytest.mark.parametrize(
    ("way", "told"),
    [
        (lambda rows: rows[4].update(user="eve"), "event 5 (model.promoted of model:m@5) was changed"),
        (lambda rows: rows.pop(4), "event 5 was removed"),
        (lambda rows: rows.__delitem__(slice(3, 5)), "events 4 to 5 were removed"),
        (lambda rows: swap_places(rows, 2, 7), "event 3 (model.promoted of model:m@8) was changed"),
        (lambda rows: rows.pop(0), "event 1 was removed"),
    ],
)
def test_what_was_done_is_said(store, way, told):
    rows = written(store)
    way(rows)
    assert chains.faults(rows)[0] == told


def swap_places(rows: Rows, a: int, b: int) -> None:
    rows[a], rows[b] = {**rows[b], "seq": rows[a]["seq"]}, {**rows[a], "seq": rows[b]["seq"]}


def test_the_state_is_held_against_the_ledger_too(store):
    written(store)
    with store.write() as db:
        db.execute(schema.ledger.update().where(schema.ledger.c.seq == 3).values(user="eve"))
    with pytest.raises(Tampered, match=r"event 3 \(model.promoted of model:m@3\) was changed"):
        audit.verify(store)
