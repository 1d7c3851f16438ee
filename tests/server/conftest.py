"""A small classifier on named columns, its version 2, and a client of the app."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from nbmlops.server.app import create_app


@pytest.fixture
def people():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 80, 80),
            "income": rng.normal(3, 1, 80),
            "city": rng.choice(["Oslo", "Rome"], 80),
            "vip": rng.random(80) > 0.5,
        }
    )


@pytest.fixture
def fit(people):
    def made(trees=3):
        encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["city"]), remainder="passthrough")
        forest = RandomForestClassifier(trees, random_state=0, n_jobs=1)
        return make_pipeline(encode, forest).fit(people, np.where(people["age"] > 40, "yes", "no"))

    return made


@pytest.fixture
def model(ws, fit, people):
    return ws.models.register(fit(), "churn", alias="champion", training_data=people)


@pytest.fixture
def app(ws, model):
    return create_app(ws, "model:churn@champion")


@pytest.fixture
def client(app):
    with TestClient(app, raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture
def tensors(people):
    """The first three people as v2 tensors."""
    rows = people.head(3)
    kinds = {"age": "INT64", "income": "FP64", "city": "BYTES", "vip": "BOOL"}
    return [{"name": c, "shape": [3], "datatype": kinds[c], "data": rows[c].tolist()} for c in rows.columns]
