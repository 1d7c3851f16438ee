"""Routes, errors, the token, metrics and recording, through the app."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sklearn.linear_model import LinearRegression

from nbmlops.errors import NotFound, StoreFault
from nbmlops.server import gate
from nbmlops.server.app import create_app

INFER = "/v2/models/churn/infer"


def fails(response, status, *texts):
    body = response.json()
    assert response.status_code == status, body
    assert set(body) == {"error", "message", "hint"}
    for text in texts:
        assert text in body["message"] + body["hint"]
    return body


def test_health_and_metadata(client):
    assert client.get("/v2").json()["name"] == "nbmlops"
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/ping").status_code == 200
    found = client.get("/v2/models/churn").json()
    assert (found["name"], found["versions"], found["platform"]) == ("churn", ["1"], "nbmlops_skops")
    assert found["inputs"][0] == {"name": "age", "datatype": "INT64", "shape": [-1]}
    assert [o["name"] for o in found["outputs"]] == ["prediction", "probability_no", "probability_yes"]
    assert client.get("/v2/models/churn/versions/1/ready").json()["ready"] is True
    assert client.get("/v2/models/churn/ready").status_code == 200
    assert "/invocations" in client.get("/openapi.json").json()["paths"]
    fails(client.get("/v2/models/chrun"), 404, "chrun", "model:churn@1")
    fails(client.get("/v2/models/churn/versions/7/ready"), 404, "7")


def test_infer_predicts_records_and_takes_feedback(client, ws, people, tensors):
    answer = client.post(INFER, json={"id": "mine", "inputs": tensors}).json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("churn", "1", "mine")
    outputs = {o["name"]: o for o in answer["outputs"]}
    expected = ws.models.predict_frame("model:churn@1", people.head(3))
    assert outputs["prediction"]["data"] == expected["prediction"].tolist()
    assert outputs["prediction"]["datatype"] == "BYTES"
    assert outputs["probability_yes"] == {
        "name": "probability_yes",
        "shape": [3],
        "datatype": "FP64",
        "data": expected["probability_yes"].tolist(),
    }
    ids = answer["parameters"]["prediction_ids"]
    assert len(set(ids)) == 3
    assert client.post("/feedback", json={"prediction_id": ids[1], "actual": "yes"}).json() == {"recorded": 1}
    more = [{"prediction_id": ids[0], "actual": "no"}, {"prediction_id": ids[2], "actual": "no"}]
    assert client.post("/feedback", json=more).json() == {"recorded": 2}
    found = ws.deployments.prediction(ids[1])
    assert (found["model"], found["source"], found["actual"]) == ("model:churn@1", "online", "yes")
    assert found["inputs"] == people.iloc[1].to_dict()
    assert found["outputs"]["prediction"] == expected["prediction"].iloc[1]


def test_infer_with_column_tensors_missing_order_and_chosen_outputs(client, tensors):
    tensors[1] |= {"shape": [3, 1], "data": [[v] for v in tensors[1]["data"]]}
    body = {"inputs": tensors[::-1], "outputs": [{"name": "probability_yes"}]}
    answer = client.post("/v2/models/churn/versions/1/infer", json=body).json()
    assert [o["name"] for o in answer["outputs"]] == ["probability_yes"]
    fails(client.post(INFER, json={**body, "outputs": [{"name": "score"}]}), 400, "no output score")


def test_infer_for_a_model_of_arrays(ws):
    values = np.random.default_rng(0).normal(size=(50, 3))
    ws.models.register(LinearRegression().fit(values, values.sum(axis=1)), "plain", training_data=values)
    with TestClient(create_app(ws, "plain")) as client:
        assert client.get("/v2/models/plain").json()["inputs"] == [
            {"name": "input", "datatype": "FP64", "shape": [-1, 3]}
        ]
        for data in ([[1.0, 2.0, 3.0], [0.0, 0.0, 1.0]], [1, 2, 3, 0, 0, 1]):
            tensor = {"name": "input", "shape": [2, 3], "datatype": "FP64", "data": data}
            answer = client.post("/v2/models/plain/infer", json={"inputs": [tensor]}).json()
            assert answer["outputs"][0]["data"] == pytest.approx([6.0, 1.0])
        assert client.post("/invocations", json={"inputs": [[1, 2, 3]]}).json()["predictions"] == pytest.approx([6.0])
        fails(client.post("/invocations", json={"instances": [[1, 2]]}), 400, "row 0 is a list of 2")


def test_all_faults_of_a_request_at_once(client, tensors):
    tensors[0] |= {"data": [1.5, 2, 3]}
    tensors[1] |= {"datatype": "FLOAT"}
    tensors[2] |= {"shape": [4]}
    body = fails(client.post(INFER, json={"inputs": tensors}), 400, "age", "income", "city", "3 faults")
    assert body["error"] == "InvalidValue"
    tensors = [{"name": "age", "shape": [1], "datatype": "BYTES", "data": ["old"]}]
    fails(client.post(INFER, json={"inputs": tensors}), 400, "columns missing: income, city, vip", "age")


@pytest.mark.parametrize("body", [b"{", b"", b'{"inputs": NaN}', b"\xff"])
def test_malformed_json(client, body):
    fails(client.post(INFER, content=body), 400, "no JSON")


@pytest.mark.parametrize("body", [[], {}, {"inputs": {}}, {"inputs": [1]}, {"inputs": []}, "text", None])
def test_wrong_structure(client, body):
    fails(client.post(INFER, json=body), 400)
    fails(client.post("/invocations", json=body), 400)
    fails(client.post("/feedback", json=body), 400)


def test_unknown_routes_methods_and_types(client):
    fails(client.get("/nowhere"), 404, "GET /nowhere")
    fails(client.get("/invocations"), 405)
    fails(client.post("/invocations", content=b"x", headers={"content-type": "text/html"}), 415, "text/html")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_too_large(client, chunked, monkeypatch):
    monkeypatch.setattr(gate, "BODY_BYTES", 1 << 20)
    content = (b" " * (1 << 18) for _ in range(8)) if chunked else b" " * (2 << 20)
    fails(client.post(INFER, content=content), 413, "1 MiB")


def test_more_rows_than_can_ever_be_recorded(ws, model, tensors):
    app = create_app(ws, "churn", capacity=2)
    with TestClient(app) as client:
        fails(client.post(INFER, json={"inputs": tensors}), 413, "3 rows", "at most 2", "nbmlops predict")
    assert app.state.recorder.dropped == 0


def test_an_answer_that_is_not_recorded_says_so(ws, model, tensors, people, monkeypatch):
    app = create_app(ws, "churn", capacity=4)
    monkeypatch.setattr(app.state.recorder, "flush", lambda: False)  # a store that refuses
    rows = json.loads(people.head(3).to_json(orient="records"))
    with TestClient(app) as client:
        assert client.post(INFER, json={"inputs": tensors}).json()["parameters"]["recorded"] is True
        assert client.post(INFER, json={"inputs": tensors}).json()["parameters"]["recorded"] is False
        assert client.post("/invocations", json={"dataframe_records": rows}).json()["recorded"] is False
        monkeypatch.undo()
        assert app.state.recorder.flush()
        assert client.post("/invocations", json={"dataframe_records": rows}).json()["recorded"] is True


def test_mlflow_shapes_agree(client, ws, people):
    rows = json.loads(people.head(2).to_json(orient="records"))
    split = {"columns": list(people.columns), "data": [list(row.values()) for row in rows]}
    bodies = [
        {"dataframe_split": split},
        {"dataframe_records": rows},
        {"inputs": {c: [row[c] for row in rows] for c in people.columns}},
        {"instances": rows},
    ]
    expected = ws.models.predict_frame("model:churn@1", people.head(2))["prediction"].tolist()
    for body in bodies:
        answer = client.post("/invocations", json=body).json()
        assert answer["predictions"] == expected
        assert len(answer["prediction_ids"]) == 2
        assert answer["model"] == "model:churn@1"
    csv = people.head(2).to_csv(index=False)
    answer = client.post("/invocations", content=csv, headers={"content-type": "text/csv"}).json()
    assert answer["predictions"] == expected


def test_mlflow_faults(client, people):
    rows = json.loads(people.head(2).to_json(orient="records"))
    for key in ("dataframe_records", "instances", "inputs"):
        fails(client.post("/invocations", json={key: []}), 400, f"{key} is empty")
    fails(
        client.post("/invocations", json={"dataframe_split": {"columns": ["a"], "data": [[1], [1, 2], 3]}}),
        400,
        "row 1",
        "row 2",
    )
    fails(client.post("/invocations", json={"instances": rows, "inputs": rows}), 400, "inputs and instances")
    del rows[1]["city"]
    fails(client.post("/invocations", json={"dataframe_records": rows}), 400, "row 1 lacks city")
    fails(client.post("/invocations", json={"inputs": {"age": [1], "city": ["a", "b"]}}), 400, "different lengths")
    fails(client.post("/invocations", json={"inputs": [[1, 2, 3, 4]]}), 400, "by name")
    fails(client.post("/invocations", content=b"", headers={"content-type": "text/csv"}), 400)
    fails(client.post("/invocations", content=b"age,city\n", headers={"content-type": "text/csv"}), 400, "no rows")


def test_feedback_faults(client, tensors):
    ids = client.post(INFER, json={"inputs": tensors}).json()["parameters"]["prediction_ids"]
    fails(client.post("/feedback", json={"prediction_id": "nope", "actual": 1}), 404, "nope")
    fails(client.post("/feedback", json=[{"actual": 1}, 5]), 400, "item 0 lacks prediction_id", "item 1 is no object")
    fails(client.post("/feedback", json={"prediction_id": ids[0], "actual": None}), 400, "None")


def test_the_token(ws, model, tensors):
    with TestClient(create_app(ws, "churn", token="s3cret")) as client:
        assert client.get("/v2/health/ready").status_code == 200
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic s3cret"}):
            for path in ("/v2/models/churn", "/metrics", "/docs", "/nowhere"):
                response = client.get(path, headers=headers)
                fails(response, 401, "token")
                assert response.headers["www-authenticate"] == "Bearer"
            fails(client.post(INFER, json={"inputs": tensors}, headers=headers), 401)
        right = {"authorization": "bearer s3cret"}
        assert client.post(INFER, json={"inputs": tensors}, headers=right).status_code == 200


def test_metrics(client, tensors):
    client.post(INFER, json={"inputs": tensors})
    client.post(INFER, json={})
    text = client.get("/metrics").text
    assert 'nbmlops_requests_total{code="200",model="churn",version="1"} 1.0' in text
    assert 'nbmlops_requests_total{code="400",model="churn",version="1"} 1.0' in text
    assert 'nbmlops_request_duration_seconds_count{model="churn",version="1"} 2.0' in text
    assert 'nbmlops_predictions_total{model="churn",version="1"} 3.0' in text
    assert 'nbmlops_model_info{flavor="skops",model="churn",version="1"} 1.0' in text


def test_every_app_has_metrics_of_its_own(ws, model):
    create_app(ws, "churn")
    create_app(ws, "churn")


def test_unknown_models_and_environments_are_refused_at_once(ws, model):
    with pytest.raises(NotFound):
        create_app(ws, "chrun")
    with pytest.raises(NotFound, match="staging"):
        create_app(ws, "churn", "staging")


def test_the_server_follows_its_alias(client, app, ws, fit, people, tensors, monkeypatch):
    monkeypatch.setattr("nbmlops.server.serving.LOOK_SECONDS", 0.0)
    assert client.post(INFER, json={"inputs": tensors}).json()["model_version"] == "1"
    ws.models.register(fit(5), "churn", alias="champion", training_data=people)
    deadline = time.monotonic() + 20
    while client.post(INFER, json={"inputs": tensors}).json()["model_version"] != "2":
        assert time.monotonic() < deadline
    app.state.recorder.flush()
    assert set(ws.deployments.window("churn")["version"]) == {1, 2}


def test_a_version_that_cannot_be_loaded_leaves_the_old_one(app, ws, fit, people, monkeypatch):
    ws.models.register(fit(5), "churn", alias="champion", training_data=people)

    def refuse(*args, **kwargs):
        raise StoreFault("the disk is gone", "")

    monkeypatch.setattr(ws.models, "load", refuse)
    assert app.state.serving._newer() is None
    monkeypatch.undo()
    assert app.state.serving._newer().version.version == 2


def test_a_model_that_fails_is_a_500_of_one_request(client, app, tensors, monkeypatch):
    class Broken:
        def predict(self, rows):
            raise RuntimeError("boom")

    served = app.state.serving.current
    monkeypatch.setattr(app.state.serving, "current", type(served)(served.version, Broken()))
    fails(client.post(INFER, json={"inputs": tensors}), 500, "RuntimeError: boom")


def test_shutdown_writes_what_waits(ws, model, tensors):
    with TestClient(create_app(ws, "churn")) as client:
        ids = client.post(INFER, json={"inputs": tensors}).json()["parameters"]["prediction_ids"]
    assert list(ws.deployments.window("churn")["prediction_id"]) == ids
