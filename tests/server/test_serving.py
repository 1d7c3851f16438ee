"""Predicting for many requests at once changes no answer."""

from __future__ import annotations

import asyncio

import pytest

from nbmlops.errors import InvalidValue


@pytest.mark.parametrize("rows_at_once", [512, 2])
def test_together_is_the_same_as_alone(app, people, monkeypatch, rows_at_once):
    monkeypatch.setattr("nbmlops.server.serving.ROWS_AT_ONCE", rows_at_once)
    serving = app.state.serving
    good = [{c: [v] for c, v in row.items()} for row in people.head(30).to_dict("records")]
    bad = {**good[0], "age": ["old"]}
    odd = {**good[1], "age": [1e30]}

    async def ask():
        return await asyncio.gather(*map(serving.predict, [*good[:15], bad, *good[15:], odd]), return_exceptions=True)

    answers = asyncio.run(ask())
    assert [type(a) is InvalidValue for a in answers] == [False] * 15 + [True] + [False] * 15 + [True]
    assert "'old'" in answers[15].message
    fine = [a for a in answers if not isinstance(a, Exception)]
    alone = asyncio.run(_one_by_one(serving, good))
    assert [a.outputs for a in fine] == alone
    assert len({i for a in fine for i in a.ids}) == 30


async def _one_by_one(serving, requests):
    return [(await serving.predict(columns)).outputs for columns in requests]


def test_a_client_that_went_away_disturbs_nobody(app, people):
    serving = app.state.serving
    row = {c: [v] for c, v in people.iloc[0].to_dict().items()}

    async def ask():
        gone = asyncio.ensure_future(serving.predict(row))
        stays = asyncio.ensure_future(serving.predict(row))
        await asyncio.sleep(0)
        gone.cancel()
        return await stays

    assert len(asyncio.run(ask()).ids) == 1
