"""The ledger against the state it tells of: cheap tampering that leaves the chain whole is found too."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
from sklearn.linear_model import LinearRegression

from nbmlops.errors import Tampered


@pytest.fixture
def standing(ws: Any) -> Any:
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0]})
    for _ in range(2):
        ws.models.register(LinearRegression().fit(frame, [1, 2, 3]), "m", input_example=frame, alias="newest")
    ws.promotion.promote("m@1", "staging", "first")
    ws.promotion.promote("m@2", "staging", "second")
    ws.promotion.rollback("m", "staging", "worse")
    return ws


def test_agreement(standing: Any) -> None:
    assert standing.verify_ledger() == len(standing.events())


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM ledger", "no event tells of the registration of model:m@1"),
        ("DELETE FROM ledger WHERE seq = (SELECT max(seq) FROM ledger)", "no event has put model:m@1 into staging"),
        ("UPDATE model_aliases SET version = 2 WHERE alias = 'staging'", "no event has put model:m@2 into staging"),
        ("UPDATE model_aliases SET version = 1 WHERE alias = 'newest'", "no event has put model:m@1 into newest"),
    ],
)
def test_disagreement_is_named(standing: Any, statement: str, said: str) -> None:
    with standing.store.write() as db:
        db.execute(sa.text(statement))
    with pytest.raises(Tampered, match=said):
        standing.verify_ledger()
