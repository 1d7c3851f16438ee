"""Nested values, images and units in a signature; and one check, the same for predict, the server and files."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from sklearn.linear_model import LogisticRegression

from nbmlops.display import text
from nbmlops.errors import InvalidValue
from nbmlops.flavors import checking, packaging, prediction, signature
from nbmlops.server.app import create_app

N = 30
NESTED = pd.DataFrame(
    {
        "spot": [[float(i), 1.0] for i in range(N)],
        "path": [list(range(i % 4)) for i in range(N)],
        "grid": [np.ones((2, 3)) * i for i in range(N)],
        "who": [{"age": i, "name": "x", "vip": True} for i in range(N)],
        "plain": range(N),
    }
)
NESTED.attrs["units"] = {"plain": "km", "other": "s"}


class Sum:
    """Adds up the spots."""

    def predict(self, frame):
        return np.array([sum(v) for v in frame.spot])


class Bright:
    """Looks at whole images."""

    def predict(self, images):
        assert images.shape[1:] == (4, 5)
        return (images.mean(axis=(1, 2)) > 0.5).astype(int)


def test_lists_records_and_units_are_described_and_survive(ws):
    found = {c["name"]: c for c in signature.infer(NESTED)["inputs"]}
    assert (found["spot"]["kind"], found["spot"]["shape"]) == ("list", [2])
    assert found["path"]["shape"] == [-1]
    assert found["grid"]["shape"] == [2, 3]
    assert found["who"]["fields"] == {"age": "numeric", "name": "text", "vip": "boolean"}
    assert found["plain"]["unit"] == "km"
    with pytest.warns(UserWarning, match="trust=True"):
        version = ws.models.register(Sum(), "nested", training_data=NESTED, flavor="cloudpickle")
    assert "km" in text(version)
    model = ws.models.load(version.ref, trust=True)
    rows = checking.check(version.signature, json.loads(NESTED.head(3).to_json(orient="records")))
    assert prediction.predict(model, version.signature, rows).prediction.tolist() == [1.0, 2.0, 3.0]
    assert ws.models.input_example(version)[0].spot.tolist()[:2] == [[0.0, 1.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("spot", [1.0], "a list of 2 numbers is needed"),
        ("spot", [1.0, "x"], "a list of 2 numbers is needed"),
        ("spot", [1.0, True], "a list of 2 numbers is needed"),
        ("spot", "ab", "a list of 2 numbers is needed"),
        ("path", [[1]], "a list of numbers is needed"),
        ("grid", [[1, 2, 3], [4, 5]], "a list of 2 x 3 numbers is needed"),
        ("who", {"age": 1, "name": "x"}, "an object with age (numeric), name (text), vip (boolean) is needed"),
        ("who", {"age": "1", "name": "x", "vip": True}, "an object with age"),
        ("who", None, "no value, and training saw none missing"),
    ],
)
def test_nested_values_are_enforced(column, value, told):
    described = signature.infer(NESTED)
    row = {**NESTED.iloc[1].to_dict(), column: value}
    with pytest.raises(InvalidValue) as caught:
        checking.check(described, [row])
    (fault,) = caught.value.faults
    assert told in fault


@pytest.mark.parametrize(
    "values",
    [
        [[1], "a"],
        [[1], [[1]]],
        [{"a": 1}, {"b": 1}],
        [{"a": [1]}, {"a": [1]}],
        [[1, None], [2, 3]],
        [{1}, {2}],
        [b"x", b"y"],
    ],
)
def test_what_cannot_be_described_fails_loudly_with_every_column(values):
    frame = pd.DataFrame({"odd": pd.Series(values, dtype=object), "also": pd.Series(values, dtype=object)})
    with pytest.raises(InvalidValue) as caught:
        signature.infer(frame)
    assert [fault.partition(":")[0] for fault in caught.value.faults] == ["odd", "also"]


def test_images_keep_their_shape_on_every_way(ws):
    images = np.random.default_rng(0).random((N, 4, 5))
    package = packaging.build(Bright(), images, "cloudpickle")
    assert package.signature["shape"] == [-1, 4, 5]
    assert len(package.signature["inputs"]) == 20
    rows = checking.check(package.signature, images)
    assert (
        prediction.predict(Bright(), package.signature, rows).prediction.tolist() == Bright().predict(images).tolist()
    )
    with pytest.raises(InvalidValue, match="each row is 5 x 4 numbers"):
        checking.check(package.signature, images.transpose(0, 2, 1))
    from nbmlops.server import inputs

    body = {"inputs": [{"name": "input", "shape": [2, 4, 5], "datatype": "FP64", "data": images[:2].tolist()}]}
    for columns in (
        inputs.from_v2(body, package.signature),
        inputs.from_mlflow({"instances": images[:2].tolist()}, package.signature),
    ):
        assert [columns[f"x{i}"][1] for i in range(20)] == images[1].ravel().tolist()


PLAIN = pd.DataFrame(
    {
        "age": np.arange(N),
        "income": np.linspace(1, 9, N),
        "city": pd.Categorical(["Bonn", "Köln"] * (N // 2)),
        "vip": [True, False] * (N // 2),
    }
)
BAD = {
    "a missing column": {"income": 1.0, "city": "Bonn", "vip": True},
    "a fraction": {"age": 1.5, "income": 1.0, "city": "Bonn", "vip": True},
    "an unknown category": {"age": 1, "income": 1.0, "city": "Ulm", "vip": True},
    "text for a number": {"age": 1, "income": "much", "city": "Bonn", "vip": True},
    "everything at once": {"age": 1.5, "income": "much", "city": "Ulm", "vip": True},
}


@pytest.fixture
def served(ws):
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    steps = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough")
    version = ws.models.register(
        make_pipeline(steps, LogisticRegression()).fit(PLAIN, PLAIN.vip), "m", training_data=PLAIN
    )
    with TestClient(create_app(ws, version.ref), raise_server_exceptions=False) as client:
        yield ws, client


@pytest.mark.parametrize("what", sorted(BAD))
def test_the_same_faults_whichever_way_rows_come(served, tmp_path, what):
    ws, client = served
    row = BAD[what]
    with pytest.raises(InvalidValue) as caught:
        ws.models.predict_frame("m", pd.DataFrame([row]))
    faults = caught.value.faults
    assert len(faults) == (3 if what == "everything at once" else 1)
    pd.DataFrame([row]).to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(InvalidValue) as caught:
        ws.deployments.predict("m", tmp_path / "rows.csv")
    assert caught.value.faults == faults
    split = {"dataframe_split": {"columns": list(row), "data": [list(row.values())]}}
    kinds = {int: "INT64", float: "FP64", str: "BYTES", bool: "BOOL"}
    tensors = [{"name": k, "shape": [1], "datatype": kinds[type(v)], "data": [v]} for k, v in row.items()]
    for path, body in (("/invocations", split), ("/v2/models/m/infer", {"inputs": tensors})):
        answer = client.post(path, json=body)
        assert (answer.status_code, answer.json()["message"]) == (400, caught.value.message)
