from __future__ import annotations

import json
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from nbmlops.context import Context
from nbmlops.errors import BlobCorrupt, InvalidValue, NotFound, Untrusted, UsageFault
from nbmlops.models import Models
from nbmlops.runs import Runs
from nbmlops.store import ledger

RNG = np.random.default_rng(0)
N = 300
FRAME = pd.DataFrame(
    {
        "age": RNG.integers(18, 90, N),
        "income": RNG.normal(30_000, 5_000, N),
        "city": RNG.choice(["Bonn", "Köln", "Ulm"], N),
    }
)
Y = pd.Series(np.where(FRAME["income"] > 30_000, "yes", "no"), name="bought")


def pipeline():
    columns = ColumnTransformer([("numbers", StandardScaler(), ["age", "income"]), ("city", OneHotEncoder(), ["city"])])
    return make_pipeline(columns, LogisticRegression()).fit(FRAME, Y)


class FakeDatasets:
    """Data sets by reference, as the datasets desk answers."""

    def __init__(self, frames):
        self.frames = frames

    def get(self, ref):
        return SimpleNamespace(schema=tuple({"name": c} for c in self.frames[ref].columns))

    def load(self, ref, columns=None, as_="pandas"):
        return self.frames[ref] if columns is None else self.frames[ref][columns]


class Desk:
    def __init__(self, store):
        self.context = Context(user="tester")
        self.store = store
        self.runs = Runs(store, lambda: self.context)
        self.datasets = FakeDatasets({"dataset:people@2": FRAME.assign(bought=Y), "dataset:other@1": FRAME[["age"]]})
        self.seen = None
        self.models = Models(
            store, lambda: self.context, self.runs, self.datasets, fitted=lambda model: (self.seen, None)
        )

    def start(self, **more):
        live = self.runs.start("trials")
        self.context = replace(self.context, run_id=live.run_id, **more)
        return live


@pytest.fixture
def desk(store):
    return Desk(store)


def test_a_model_comes_back_and_predicts_the_same(desk):
    model = pipeline()
    version = desk.models.register(model, "people", training_data=FRAME, description="first")
    assert (version.version, version.ref, version.flavor, version.user) == (1, "model:people@1", "skops", "tester")
    np.testing.assert_array_equal(desk.models.load("people").predict(FRAME), model.predict(FRAME))
    np.testing.assert_array_equal(version.load().predict_proba(FRAME), model.predict_proba(FRAME))
    found = desk.models.predict_frame("people@1", FRAME.iloc[::-1])
    assert list(found.columns) == ["prediction", "probability_no", "probability_yes"]
    assert found.index.equals(FRAME.index[::-1])
    np.testing.assert_array_equal(found["prediction"], model.predict(FRAME.iloc[::-1]))
    assert [o["name"] for o in version.signature["outputs"]] == list(found.columns)


def test_a_forest_answers_once_and_alike(desk):
    model = RandomForestClassifier(7, random_state=0).fit(FRAME[["age", "income"]], Y)
    desk.models.register(model, "forest", input_example=FRAME[["age", "income"]])
    found = desk.models.predict_frame("forest", FRAME)
    np.testing.assert_array_equal(found["prediction"], model.predict(FRAME[["age", "income"]]))


def test_the_package_says_what_it_needs(desk):
    import sklearn

    manifest = desk.models.manifest(desk.models.register(pipeline(), "people", training_data=FRAME))
    assert (manifest["format"], manifest["flavor"]) == ("package-1", "skops")
    assert set(manifest["files"]) == {"model.skops", "requirements.txt", "input_example.json"}
    assert manifest["libraries"]["scikit-learn"] == sklearn.__version__
    lines = desk.store.blobs.get(manifest["files"]["requirements.txt"]).decode().splitlines()
    assert {line.split("==")[0] for line in lines} >= {"scikit-learn", "numpy", "scipy", "skops", "pandas", "joblib"}
    inputs, outputs = desk.models.input_example(desk.models.get("people"))
    pd.testing.assert_frame_equal(inputs, FRAME.head(5))
    np.testing.assert_allclose(
        desk.models.predict_frame("people", inputs)["probability_no"], outputs["probability_no"], rtol=1e-12
    )


def test_the_training_profile_is_kept(desk):
    version = desk.models.register(pipeline(), "people", training_data=(FRAME, Y))
    profile = desk.models.training_profile(version)
    assert (profile["rows"], profile["target"]) == (N, "bought")
    assert set(profile["columns"]) == {"age", "income", "city"}
    assert profile["columns"]["age"]["kind"] == "numeric"
    assert set(profile["predictions"]) == {"prediction", "probability_no", "probability_yes"}
    sample = desk.models.training_sample(version)
    assert list(sample.columns) == ["age", "income", "city", "prediction", "probability_no", "probability_yes"]
    assert len(sample) == N
    small = desk.models.register(pipeline(), "small", input_example=FRAME.head(3))
    assert desk.models.training_profile(small) is None
    assert desk.models.training_sample(small) is None


def test_a_frame_with_the_target_names_it(desk):
    version = desk.models.register(pipeline(), "people", training_data=FRAME.assign(bought=Y))
    assert [c["name"] for c in version.signature["inputs"]] == ["age", "income", "city"]
    assert desk.models.training_profile(version)["target"] == "bought"


def test_big_data_is_sampled_the_same_way_each_time(desk):
    big = pd.concat([FRAME] * 40, ignore_index=True)
    first, second = (desk.models.register(pipeline(), "people", training_data=big) for _ in range(2))
    assert first.profile == second.profile
    assert len(desk.models.training_sample(first)) == 5_000
    assert desk.models.training_profile(first)["rows"] == len(big)


def test_the_input_is_found_where_the_run_read_it(desk):
    live = desk.start()
    desk.runs.use_dataset(live.run_id, "people", 2)
    desk.runs.use_dataset(live.run_id, "other", 1)
    live.log_metric("auc", 0.8)
    version = desk.models.register(pipeline(), "people")
    live.end()
    assert version.run_id == live.run_id
    assert version.metrics == {"auc": 0.8}
    assert version.datasets == ("dataset:people@2", "dataset:other@1")
    assert desk.models.training_profile(version)["rows"] == N


def test_what_the_model_was_fitted_with_is_used(desk):
    desk.seen = FRAME
    assert desk.models.training_profile(desk.models.register(pipeline(), "people"))["rows"] == N


def test_a_frame_that_has_changed_since_the_fit_is_not_used(desk):
    desk.seen = FRAME[["age"]]
    with pytest.raises(InvalidValue, match="nothing tells"):
        desk.models.register(pipeline(), "people")
    live = desk.start()
    desk.runs.use_dataset(live.run_id, "people", 2)
    assert desk.models.register(pipeline(), "people").version == 1
    live.end()


def test_a_dataset_can_be_named_as_training_data(desk):
    version = desk.models.register(pipeline(), "people", training_data="dataset:people@2")
    assert desk.models.training_profile(version)["target"] == "bought"


def test_without_any_rows_it_is_refused(desk):
    with pytest.raises(InvalidValue, match="nothing tells") as raised:
        desk.models.register(pipeline(), "people")
    assert "input_example=" in raised.value.hint
    with pytest.raises(NotFound):
        desk.models.get("people")


@pytest.mark.parametrize(
    ("example", "why"),
    [
        (FRAME[["age"]], "column 'income' is missing"),
        (FRAME.head(0), "no rows"),
        (FRAME.assign(city=[["a"]] * N), "city: it holds"),
        (FRAME.assign(city="Rom"), "cannot predict the rows given"),
        (7, "is no table"),
    ],
)
def test_examples_that_do_not_fit_are_refused(desk, example, why):
    with pytest.raises(InvalidValue, match=why):
        desk.models.register(pipeline(), "people", input_example=example)


def test_models_fitted_on_arrays(desk):
    values = FRAME[["age", "income"]].to_numpy()
    model = LinearRegression().fit(values, values[:, 0] * 2)
    version = desk.models.register(model, "line", training_data=values)
    assert version.signature["input_kind"] == "array"
    assert desk.models.predict_frame("line", values)["prediction"].to_numpy() == pytest.approx(model.predict(values))
    assert len(desk.models.predict_frame("line", [{"x0": 1.0, "x1": 2.0}])) == 1
    named = desk.models.register(model, "line", training_data=FRAME[["age", "income"]])
    assert [c["name"] for c in named.signature["inputs"]] == ["age", "income"]
    assert desk.models.predict_frame("line", FRAME)["prediction"].to_numpy() == pytest.approx(model.predict(values))
    with pytest.raises(InvalidValue, match="fitted with 2 columns"):
        desk.models.register(model, "line", input_example=np.zeros((2, 3)))


def test_texts_and_several_outputs(desk):
    texts = ["good thing", "bad thing"] * 12
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [1, 0] * 12)
    desk.models.register(model, "words", input_example=texts)
    assert desk.models.predict_frame("words", ["good"])["prediction"].tolist() == [1]
    both = LinearRegression().fit(FRAME[["age", "income"]], FRAME[["age", "income"]])
    version = desk.models.register(both, "both", input_example=FRAME)
    assert [o["name"] for o in version.signature["outputs"]] == ["prediction_0", "prediction_1"]


def test_a_transformer_can_be_kept_and_makes_no_predictions(desk):
    version = desk.models.register(StandardScaler().fit(FRAME[["age"]]), "scaler", input_example=FRAME)
    assert version.signature["outputs"] == []
    with pytest.raises(UsageFault, match="makes no predictions"):
        desk.models.predict_frame("scaler", FRAME)


def test_all_faults_of_an_input_come_at_once(desk):
    desk.models.register(pipeline(), "people", training_data=FRAME)
    with pytest.raises(InvalidValue) as raised:
        desk.models.predict_frame("people", [{"age": "old", "city": 3}])
    assert raised.value.message.startswith("input of model:people@1: 3 faults")


def test_versions_are_counted_under_concurrency(desk):
    model, errors = LinearRegression().fit(FRAME[["age"]], FRAME["income"]), []

    def register():
        try:
            desk.models.register(model, "line", input_example=FRAME.head(3))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=register) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [v.version for v in desk.models.versions("line")] == list(range(8, 0, -1))
    assert ledger.verify(desk.store) == 8
    assert {e.type for e in ledger.read(desk.store, subject="model:line")} == {"model.registered"}


def test_registering_and_its_event_stand_or_fall_together(desk, monkeypatch):
    monkeypatch.setattr(ledger, "append", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        desk.models.register(pipeline(), "people", training_data=FRAME)
    monkeypatch.undo()
    with pytest.raises(NotFound):
        desk.models.versions("people")


def test_aliases(desk):
    first = desk.models.register(pipeline(), "people", "champion", training_data=FRAME)
    second = desk.models.register("model:people@1", "people")
    assert (first.aliases, second.version, second.package) == (("champion",), 2, first.package)
    assert desk.models.get("people@champion").version == 1
    assert desk.models.set_alias("people", "champion", 2).aliases == ("champion",)
    assert desk.models.get("models:/people@champion").version == 2
    assert [v.aliases for v in desk.models.versions("people")] == [("champion",), ()]
    for alias in ("staging", "production"):
        with pytest.raises(UsageFault, match="only a promotion"):
            desk.models.set_alias("people", alias, 1)
    for alias in ("latest", "3", "v3", "a/b", "", 3):
        with pytest.raises(InvalidValue):
            desk.models.set_alias("people", alias, 1)
    with pytest.raises(UsageFault):
        desk.models.register(pipeline(), "people", "production", training_data=FRAME)


def test_what_does_not_exist_is_told_with_what_does(desk):
    with pytest.raises(NotFound, match="no model 'people'"):
        desk.models.get("people")
    desk.models.register(pipeline(), "people", training_data=FRAME)
    with pytest.raises(NotFound) as raised:
        desk.models.get("peopel")
    assert "'people'" in raised.value.hint
    with pytest.raises(NotFound) as raised:
        desk.models.get("people@7")
    assert raised.value.hint == "there is: 1"
    with pytest.raises(NotFound) as raised:
        desk.models.get("people@production")
    assert "promote" in raised.value.hint
    assert [v.ref for v in desk.models.list()] == ["model:people@1"]


def test_a_pinned_version_is_meant_when_none_is_named(desk):
    for _ in range(2):
        desk.models.register(pipeline(), "people", training_data=FRAME)
    desk.context = replace(desk.context, pins={"model:people": 1})
    assert desk.models.get("people").version == 1
    assert desk.models.get("people@2").version == 2


def test_a_logged_model_is_registered_later(desk):
    with pytest.raises(UsageFault, match="active run"):
        desk.models.log(pipeline(), "people", training_data=FRAME)
    live = desk.start(candidate=True)
    candidate = desk.models.register(pipeline(), "people", training_data=FRAME)
    assert (candidate.version, candidate.run_id) == (0, live.run_id)
    desk.models.log(pipeline(), "people", training_data=FRAME)
    live.log_metric("auc", 0.9)
    live.end()
    desk.context = Context(user="flow")
    with pytest.raises(NotFound):
        desk.models.get("people")
    first = desk.models.register(f"run:{live.run_id}", "people")
    assert (first.version, first.run_id, first.metrics) == (1, live.run_id, {"auc": 0.9})
    assert desk.models.register(f"runs:/{live.run_id}/people", "chosen").ref == "model:chosen@1"
    with pytest.raises(NotFound, match="no logged model 'none'"):
        desk.models.register(f"runs:/{live.run_id}/none", "people")


def test_a_nan_metric_is_kept(desk):
    live = desk.start()
    live.log_metric("loss", float("nan"))
    version = desk.models.register(pipeline(), "people", training_data=FRAME)
    live.end()
    assert np.isnan(desk.models.get(version.ref).metrics["loss"])


class Own(BaseEstimator):
    def fit(self, X, y=None):
        self.n_features_in_ = 1
        return self

    def predict(self, X):
        return np.asarray(X)[:, 0]


def test_own_types_are_told_at_registration_and_named_at_loading(desk):
    with pytest.warns(UserWarning, match=f"trusted=.*{__name__}.Own"):
        desk.models.register(Own().fit(None), "own", input_example=np.zeros((2, 1)))
    with pytest.raises(Untrusted) as raised:
        desk.models.load("own")
    assert raised.value.types == (f"{__name__}.Own",)
    with pytest.raises(Untrusted):
        desk.models.predict_frame("own", np.ones((1, 1)))
    assert desk.models.predict_frame("own", np.ones((1, 1)), raised.value.types)["prediction"][0] == 1
    with pytest.raises(Untrusted):  # trust ends with the call it was given in
        desk.models.predict_frame("own", np.ones((1, 1)))
    assert not all(f.ok for f in desk.models.verify("own"))


def test_the_package_is_never_asked_what_it_deserves(desk):
    with pytest.warns(UserWarning, match="must name them"):
        version = desk.models.register(Own().fit(None), "own", input_example=np.zeros((2, 1)))
    manifest = desk.models.manifest(version)
    manifest["trusted"] = manifest["skops_trusted_types"] = [f"{__name__}.Own"]
    forged = desk.store.blobs.put(json.dumps(manifest).encode())
    with desk.store.write() as db:
        from nbmlops.store import schema

        db.execute(schema.model_versions.update().values(package=forged))
    with pytest.raises(Untrusted):
        desk.models.load("own")


def test_a_lambda_cannot_be_stored(desk):
    model = make_pipeline(FunctionTransformer(lambda x: x), LinearRegression()).fit(FRAME[["age"]], FRAME["income"])
    with pytest.warns(UserWarning, match="<lambda>"):
        desk.models.register(model, "line", input_example=FRAME[["age"]])
    with pytest.raises(Untrusted):
        desk.models.load("line")


def test_damaged_bytes_are_found(desk):
    version = desk.models.register(
        DecisionTreeClassifier().fit(FRAME[["age"]], Y), "tree", training_data=FRAME[["age"]]
    )
    assert all(f.ok for f in desk.models.verify("tree"))
    from pathlib import Path

    path = Path(desk.store.blobs.url(desk.models.manifest(version)["files"]["model.skops"]))
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (bad,) = [f for f in desk.models.verify("tree") if not f.ok]
    assert bad.check == "model.skops"
    with pytest.raises(BlobCorrupt):
        desk.models.load("tree")


@pytest.mark.parametrize("name", ["", "../x", "a:b", 3, "x" * 300])
def test_names_are_checked(desk, name):
    with pytest.raises(InvalidValue):
        desk.models.register(pipeline(), name, training_data=FRAME)


def test_a_forest_is_registered_again_and_again(desk):
    X = pd.DataFrame(RNG.normal(size=(5_000, 20)), columns=[f"f{i}" for i in range(20)])
    model = RandomForestClassifier(100, max_depth=12, random_state=0, n_jobs=2).fit(X, X["f0"] > 0)
    assert [desk.models.register(model, "forest", training_data=X).version for _ in range(2)] == [1, 2]
    assert (desk.models.load("forest").predict(X) == model.predict(X)).all()
