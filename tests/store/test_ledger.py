"""The ledger: a chain that shows every change."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from nbmlops.errors import Tampered
from nbmlops.store import Store, ledger, schema
from nbmlops.store.chains import GENESIS


@pytest.fixture
def chain(store: Store) -> Store:
    for number in range(5):
        with store.write() as db:
            ledger.append(
                db, type="model.promoted", subject=f"model:m@{number}", user="anna", data={"reason": f"<b>{number}</b>"}
            )
    return store


def test_an_intact_chain(chain: Store) -> None:
    assert ledger.verify(chain) == 5
    newest = ledger.read(chain, limit=1)[0]
    assert (newest.seq, newest.data["reason"]) == (5, "<b>4</b>")
    assert [e.seq for e in ledger.read(chain, subject="model:m")] == [5, 4, 3, 2, 1]
    assert ledger.get(chain, 1).previous == GENESIS


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ('UPDATE ledger SET data = \'{"reason":"other"}\' WHERE seq = 3', r"event 3 .* was changed"),
        ("UPDATE ledger SET user = 'eve' WHERE seq = 2", "event 2"),
        ("DELETE FROM ledger WHERE seq = 4", "event 4 was removed"),
        ("DELETE FROM ledger WHERE seq = 1", "event 1 was removed"),
        ("UPDATE ledger SET at = at + 1 WHERE seq = 5", "event 5"),
    ],
)
def test_tampering_is_named(chain: Store, statement: str, named: str) -> None:
    with chain.write() as db:
        db.execute(sa.text(statement))
    with pytest.raises(Tampered, match=named):
        ledger.verify(chain)


def test_an_event_lives_and_dies_with_its_act(store: Store) -> None:
    with pytest.raises(RuntimeError), store.write() as db:
        ledger.append(db, type="x", subject="y", user="z", data={})
        raise RuntimeError
    with store.read() as db:
        assert db.execute(sa.select(sa.func.count()).select_from(schema.ledger)).scalar() == 0
