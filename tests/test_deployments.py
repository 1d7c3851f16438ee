"""Batch prediction, the log of predictions, and feedback."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from nbmlops import clock
from nbmlops.deployments import Deployments, in_environment
from nbmlops.deployments.outcomes import checked
from nbmlops.errors import InvalidValue, NotFound, StoreFault, UsageFault
from nbmlops.frames.tables import read_table


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame({"age": rng.integers(18, 80, 60).astype(float), "income": rng.normal(3, 1, 60)})


@pytest.fixture
def model(ws, frame):
    fitted = LogisticRegression().fit(frame, (frame["age"] > 40).astype(int))
    return ws.models.register(fitted, "churn", training_data=frame)


def test_predict_a_frame_keeps_order_and_index_and_records(ws, model, frame):
    rows = frame.set_axis([f"row {i}" for i in range(60)])
    done = ws.deployments.predict("model:churn", rows)
    assert (done.rows, done.model, done.out) == (60, "model:churn@1", None)
    assert list(done.frame.columns) == ["prediction_id", "prediction", "probability_0", "probability_1"]
    assert list(done.frame.index) == list(rows.index)
    expected = ws.models.predict_frame("model:churn@1", frame)
    np.testing.assert_array_equal(done.frame["prediction"].to_numpy(), expected["prediction"].to_numpy())
    assert done.frame["prediction_id"].is_monotonic_increasing
    found = ws.deployments.prediction(done.frame["prediction_id"].iloc[7])
    assert (found["model"], found["batch"], found["source"]) == ("model:churn@1", done.batch_id, "batch")
    assert found["inputs"] == frame.iloc[7].to_dict()
    assert found["outputs"]["prediction"] == expected["prediction"].iloc[7]
    assert found["actual"] is None


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_files_in_and_out(ws, model, frame, tmp_path, suffix):
    source, out = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    frame.to_csv(source, index=False) if suffix == ".csv" else frame.to_parquet(source)
    done = ws.deployments.predict("churn", source, out)
    written = read_table(out)
    assert done.out == str(out)
    assert list(written["prediction_id"]) == list(done.frame["prediction_id"])
    np.testing.assert_allclose(written["probability_1"], done.frame["probability_1"])
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == sorted([source.name, out.name])


def test_no_file_is_overwritten_and_the_input_least_of_all(ws, model, frame, tmp_path):
    source, link, old = tmp_path / "in.csv", tmp_path / "link.csv", tmp_path / "old.csv"
    frame.to_csv(source, index=False)
    link.symlink_to(source)
    old.write_text("precious")
    before = source.read_bytes()
    for out in (source, link, tmp_path / ".." / tmp_path.name / "in.csv"):
        with pytest.raises(UsageFault, match="is the input"):
            ws.deployments.predict("churn", str(source), out)
    for data in (source, frame):
        with pytest.raises(UsageFault, match="exists already"):
            ws.deployments.predict("churn", data, old)
    assert (source.read_bytes(), old.read_text()) == (before, "precious")
    assert len(ws.deployments.window("churn")) == 0


def test_a_field_that_is_no_number_is_blamed_and_no_other(ws, model, tmp_path):
    (tmp_path / "in.csv").write_text("age,income\n2,1\ntwo,2.5\n3,\n")
    with pytest.raises(InvalidValue, match=r"age: row 1 has 'two' \(text\), and a number"):
        ws.deployments.predict("churn", tmp_path / "in.csv")


def test_csv_fields_become_what_was_asked_for_one_by_one(tmp_path):
    kinds = {"n": ("numeric", None), "yes": ("boolean", None), "grade": ("categorical", [1, 2])}
    asked = {"inputs": [{"name": n, "kind": k, "categories": c} for n, (k, c) in kinds.items()]}
    (tmp_path / "in.csv").write_text("n,yes,grade\n1,True,1\nx,false,2\n,perhaps,b\n")
    found = read_table(tmp_path / "in.csv", asked)
    assert found["n"].tolist()[:2] == [1, "x"]
    assert pd.isna(found["n"][2])
    assert found["yes"].tolist() == [True, False, "perhaps"]
    assert found["grade"].tolist() == [1, 2, "b"]


def test_predict_a_dataset(ws, model, frame):
    ws.datasets.snapshot(frame.assign(extra="not asked for"), "people")
    done = ws.deployments.predict("model:churn@1", "dataset:people")
    assert done.rows == 60
    assert set(ws.deployments.prediction(done.frame["prediction_id"].iloc[0])["inputs"]) == {"age", "income"}


def test_faults_leave_no_file_and_no_record(ws, model, frame, tmp_path):
    with pytest.raises(InvalidValue, match=r"income.*age|age.*income"):
        ws.deployments.predict("churn", pd.DataFrame({"age": ["old"]}), tmp_path / "out.csv")
    with pytest.raises(InvalidValue, match="no rows"):
        ws.deployments.predict("churn", frame.head(0))
    with pytest.raises(InvalidValue, match="cannot write predictions"):
        ws.deployments.predict("churn", frame, tmp_path / "out.xlsx")
    with pytest.raises(InvalidValue, match=r"neither \.csv nor \.parquet"):
        ws.deployments.predict("churn", tmp_path / "in.json")
    with pytest.raises(NotFound, match="no file"):
        ws.deployments.predict("churn", str(tmp_path / "missing.csv"))
    with pytest.raises(NotFound, match="no folder"):
        ws.deployments.predict("churn", frame, tmp_path / "nowhere" / "out.csv")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InvalidValue, match="cannot be read"):
        ws.deployments.predict("churn", tmp_path / "broken.parquet")
    with pytest.raises(NotFound):
        ws.deployments.predict("chrun", frame)
    assert not list(tmp_path.glob("*out*"))
    assert len(ws.deployments.window("churn")) == 0


def test_what_cannot_be_recorded_is_not_written(ws, model, frame, tmp_path, monkeypatch):
    def refuse(self, data):
        raise StoreFault("no space left", "make room")

    monkeypatch.setattr(type(ws.store.blobs), "put", refuse)
    with pytest.raises(StoreFault):
        ws.deployments.predict("churn", frame, tmp_path / "out.csv")
    assert not [p for p in tmp_path.iterdir() if p.is_file()]


def test_csv_text_stays_text(ws, tmp_path):
    train = pd.DataFrame({"zip": ["007", "NA", "010"] * 10, "n": [1.0, 2.0, 3.0] * 10})
    fitted = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(train, [0, 1, 0] * 10)
    ws.models.register(fitted, "zip", training_data=train)
    (tmp_path / "in.csv").write_text("zip,n\n007,1\nNA,2\n")
    done = ws.deployments.predict("zip", tmp_path / "in.csv")
    found = [ws.deployments.prediction(i)["inputs"]["zip"] for i in done.frame["prediction_id"]]
    assert found == ["007", "NA"]


def test_unnamed_arrays(ws):
    values = np.random.default_rng(0).normal(size=(40, 3))
    ws.models.register(LogisticRegression().fit(values, values[:, 0] > 0), "plain", training_data=values)
    done = ws.deployments.predict("plain", values)
    assert done.rows == 40
    assert set(ws.deployments.prediction(done.frame["prediction_id"].iloc[0])["inputs"]) == {"x0", "x1", "x2"}


def test_feedback_latest_counts_and_window_joins_it(ws, model, frame):
    done = ws.deployments.predict("churn", frame)
    ids = list(done.frame["prediction_id"])
    ws.deployments.feedback(ids[3], 0)
    ws.deployments.feedback(f"prediction:{ids[3]}", np.int64(1))
    ws.deployments.feedback_many(ids[5:8], [True, 2, 0.0])
    assert ws.deployments.prediction(ids[3])["actual"] == 1
    window = ws.deployments.window("churn")
    assert list(window.columns) == [
        *("prediction_id", "at", "version", "age", "income"),
        *("prediction", "probability_0", "probability_1", "actual"),
    ]
    assert list(window["prediction_id"]) == ids
    assert [window["actual"][i] for i in (3, 4, 5, 6, 7)] == [1, None, True, 2, 0.0]


def test_feedback_to_unknown_ids_and_bad_values_records_nothing(ws, model, frame):
    ids = list(ws.deployments.predict("churn", frame).frame["prediction_id"])
    with pytest.raises(NotFound, match=r"no predictions nope, nope2"):
        ws.deployments.feedback_many([ids[0], "nope", "nope2"], [1, 1, 1])
    with pytest.raises(NotFound):
        ws.deployments.feedback(ids[0][:-1] + "x", 1)
    with pytest.raises(InvalidValue) as caught:
        ws.deployments.feedback_many(ids[:3], [None, float("nan"), [1]])
    assert len(caught.value.faults) == 3
    with pytest.raises(NotFound):
        ws.deployments.prediction("nope")
    assert ws.deployments.window("churn")["actual"].isna().all()


def outputs(kind, dtype, *classes):
    found = [{"name": "prediction", "kind": kind, "type": dtype}]
    return {"outputs": found + [{"name": f"probability_{c}", "kind": "numeric", "type": "float64"} for c in classes]}


@pytest.mark.parametrize(
    ("signature", "good", "bad"),
    [
        (outputs("numeric", "float64"), [1, -2.5], ["abc", "", "1", True, float("inf"), 10**400]),
        (outputs("numeric", "int64", 0, 1), [0, 1.0, True, 7], ["yes", "1", 0.5]),
        (outputs("numeric", "int64"), [3, 0.5], ["3"]),
        (outputs("boolean", "bool", False, True), [True, 0], ["yes", 2]),
        (outputs("text", "object", "no", "yes"), ["yes", "other"], ["", " ", 1, True]),
        ({"outputs": []}, ["anything", 1], []),
    ],
)
def test_outcomes_fit_what_the_model_gives(signature, good, bad):
    assert [checked(v, signature) for v in good] == [(v, None) for v in good]
    assert all(checked(v, signature)[1] for v in bad)


def test_classes_that_look_like_json_are_found():
    assert checked(1, outputs("text", "object", "1", "2")) == ("1", None)
    assert checked(True, outputs("text", "object", "true", "false")) == ("true", None)
    assert checked("False", outputs("boolean", "bool")) == (False, None)


def test_nonsense_as_feedback_is_refused_at_once(ws, model, frame):
    ids = list(ws.deployments.predict("churn", frame).frame["prediction_id"])
    with pytest.raises(InvalidValue, match=r"2 faults.*a number, like 0, 1, not 'abc'") as caught:
        ws.deployments.feedback_many(ids[:3], [1, "abc", ""])
    assert [f.partition(":")[0] for f in caught.value.faults] == ids[1:3]
    assert ws.deployments.window("churn")["actual"].isna().all()


def test_window_by_time_and_version(ws, model, frame):
    second = ws.models.register(LogisticRegression().fit(frame, frame["income"] > 3), "churn", training_data=frame)
    outputs = ws.models.predict_frame("model:churn@2", frame)
    ids = [clock.new_id() for _ in range(60)]
    ws.deployments.record(second, frame, outputs, ids=ids, source="online", at=[1000.0 + i for i in range(60)])
    ws.deployments.predict("model:churn@1", frame.head(4))
    assert len(ws.deployments.window("churn")) == 64
    assert len(ws.deployments.window("churn", 2)) == 60
    assert list(ws.deployments.window("churn", since=1010, until=1013)["prediction_id"]) == ids[10:13]
    assert len(ws.deployments.window("churn", since="2020-01-01")) == 4
    assert len(ws.deployments.window("churn", until="1970-01-01")) == 0
    with pytest.raises(InvalidValue, match="since"):
        ws.deployments.window("churn", since="yesterday-ish")


def test_names_that_collide_and_mixed_objects_are_kept(ws, model):
    inputs = pd.DataFrame({"prediction": [1, 2], "mixed": [1, "a"]})
    ids = [clock.new_id(), clock.new_id()]
    ws.deployments.record("model:churn@1", inputs, pd.DataFrame({"prediction": [9, 8]}), ids=ids)
    window = ws.deployments.window("churn")
    assert list(window["input.prediction"]) == [1, 2]
    assert list(window["prediction"]) == [9, 8]
    assert list(window["mixed"]) == ["1", "a"]
    with pytest.raises(InvalidValue, match="2 inputs, 1 outputs"):
        ws.deployments.record("model:churn@1", inputs, pd.DataFrame({"prediction": [9]}))


def test_environments(ws):
    assert in_environment(ws.store, "churn", None) == ("model:churn", None)
    assert in_environment(ws.store, "model:churn@production", None) == ("model:churn@production", "production")
    assert in_environment(ws.store, "churn", "staging") == ("model:churn@staging", "staging")
    assert in_environment(ws.store, "churn@3", "staging") == ("model:churn@3", "staging")
    with pytest.raises(InvalidValue, match="not in staging"):
        in_environment(ws.store, "churn@production", "staging")
    with pytest.raises(InvalidValue, match="no environment"):
        in_environment(ws.store, "churn", "prod")


def test_a_desk_on_the_same_store_sees_everything(ws, model, frame):
    ids = list(ws.deployments.predict("churn", frame).frame["prediction_id"])
    other = Deployments(ws.store, ws.context, ws.models)
    assert other.prediction(ids[-1])["prediction_id"] == ids[-1]
