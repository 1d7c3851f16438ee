"""Estimators and pipelines of every family: packaged here, loaded and asked in another process, the same answers."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn import (
    cluster,
    covariance,
    ensemble,
    gaussian_process,
    linear_model,
    naive_bayes,
    neighbors,
    neural_network,
    svm,
    tree,
)
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_transformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectFromModel
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, PolynomialFeatures, StandardScaler

pytestmark = pytest.mark.slow
N = 80
CHANCE = np.random.default_rng(0)
NUMBERS = pd.DataFrame(CHANCE.normal(size=(N, 3)), columns=["a", "b", "c"])
MIXED = NUMBERS.assign(
    city=pd.Categorical(CHANCE.choice(["Bonn", "Köln"], N)), note=CHANCE.choice(["good day", "bad day"], N)
).assign(a=lambda f: f.a.where(f.index % 7 > 0))
CLASS = pd.Series(np.where(NUMBERS.b > 0, "yes", "no"))
THREE = pd.Series(np.digitize(NUMBERS.b, [-0.5, 0.5]))
VALUE = NUMBERS.a * 2 + NUMBERS.b
TEXT = MIXED.note
mixed = ColumnTransformer(
    [
        ("n", make_pipeline(SimpleImputer(), StandardScaler()), ["a", "b", "c"]),
        ("k", OneHotEncoder(handle_unknown="ignore"), ["city"]),
        ("t", TfidfVectorizer(), "note"),
    ]
)
MODELS = {
    "logistic": (linear_model.LogisticRegression(), NUMBERS, CLASS),
    "three classes": (linear_model.LogisticRegression(), NUMBERS, THREE),
    "sgd": (linear_model.SGDClassifier(random_state=0), NUMBERS, CLASS),
    "ridge": (linear_model.Ridge(), NUMBERS, VALUE),
    "lasso": (linear_model.LassoCV(cv=3), NUMBERS, VALUE),
    "huber": (linear_model.HuberRegressor(), NUMBERS, VALUE),
    "poisson": (linear_model.PoissonRegressor(), NUMBERS, VALUE.abs()),
    "tree": (tree.DecisionTreeClassifier(random_state=0), NUMBERS, CLASS),
    "forest": (ensemble.RandomForestClassifier(8, random_state=0), NUMBERS, THREE),
    "extra trees": (ensemble.ExtraTreesRegressor(8, random_state=0), NUMBERS, VALUE),
    "boosting": (ensemble.GradientBoostingClassifier(n_estimators=8), NUMBERS, CLASS),
    "histograms": (ensemble.HistGradientBoostingRegressor(max_iter=8), MIXED[["a", "b"]], VALUE),
    "ada": (ensemble.AdaBoostClassifier(n_estimators=8), NUMBERS, CLASS),
    "bagging": (ensemble.BaggingClassifier(n_estimators=4, random_state=0), NUMBERS, CLASS),
    "svc": (svm.SVC(), NUMBERS, CLASS),
    "svr": (svm.SVR(), NUMBERS, VALUE),
    "neighbours": (neighbors.KNeighborsClassifier(), NUMBERS, CLASS),
    "bayes": (naive_bayes.GaussianNB(), NUMBERS, CLASS),
    "network": (neural_network.MLPClassifier((5,), max_iter=30, random_state=0), NUMBERS, CLASS),
    "process": (gaussian_process.GaussianProcessRegressor(), NUMBERS, VALUE),
    "discriminant": (LinearDiscriminantAnalysis(), NUMBERS, THREE),
    "k-means": (cluster.KMeans(3, n_init=1, random_state=0), NUMBERS, None),
    "mini-batches": (cluster.MiniBatchKMeans(3, n_init=1, random_state=0), NUMBERS, None),
    "isolation": (ensemble.IsolationForest(n_estimators=8, random_state=0), NUMBERS, None),
    "one-class": (svm.OneClassSVM(), NUMBERS, None),
    "local outliers": (neighbors.LocalOutlierFactor(novelty=True), NUMBERS.to_numpy(), None),
    "envelope": (covariance.EllipticEnvelope(random_state=0), NUMBERS, None),
    "columns": (make_pipeline(mixed, linear_model.LogisticRegression()), MIXED, CLASS),
    "ordinal": (
        make_pipeline(
            make_column_transformer((OrdinalEncoder(), ["city"]), remainder="passthrough"), tree.DecisionTreeRegressor()
        ),
        MIXED[["b", "c", "city"]],
        VALUE,
    ),
    "text": (make_pipeline(CountVectorizer(), naive_bayes.MultinomialNB()), TEXT, CLASS),
    "text and svd": (
        make_pipeline(TfidfVectorizer(), TruncatedSVD(2, random_state=0), linear_model.Ridge()),
        TEXT,
        VALUE,
    ),
    "calibrated": (CalibratedClassifierCV(svm.LinearSVC(), cv=3), NUMBERS, CLASS),
    "stacking": (
        ensemble.StackingClassifier(
            [("t", tree.DecisionTreeClassifier(max_depth=2)), ("b", naive_bayes.GaussianNB())], cv=3
        ),
        NUMBERS,
        CLASS,
    ),
    "voting": (
        ensemble.VotingRegressor([("r", linear_model.Ridge()), ("t", tree.DecisionTreeRegressor(max_depth=2))]),
        NUMBERS,
        VALUE,
    ),
    "grid": (GridSearchCV(linear_model.LogisticRegression(), {"C": [0.1, 1.0]}, cv=2), NUMBERS, CLASS),
    "random search": (
        RandomizedSearchCV(tree.DecisionTreeRegressor(), {"max_depth": [1, 2]}, n_iter=2, cv=2),
        NUMBERS,
        VALUE,
    ),
    "one against the rest": (OneVsRestClassifier(linear_model.LogisticRegression()), NUMBERS, THREE),
    "many outputs": (MultiOutputRegressor(linear_model.Ridge()), NUMBERS, NUMBERS[["a", "b"]]),
    "a turned target": (TransformedTargetRegressor(linear_model.Ridge(), transformer=StandardScaler()), NUMBERS, VALUE),
    "a union": (make_pipeline(make_union(PCA(2), PolynomialFeatures(2)), linear_model.Ridge()), NUMBERS, VALUE),
    "a selection": (
        make_pipeline(
            SelectFromModel(ensemble.ExtraTreesClassifier(5, random_state=0)), linear_model.LogisticRegression()
        ),
        NUMBERS,
        CLASS,
    ),
}
ELSEWHERE = """
import sys
import pandas as pd
from nbmlops.workspace import Workspace
ws = Workspace(sys.argv[1])
for name in sys.argv[2:]:
    version = ws.models.get(name)
    rows, _ = ws.models.input_example(version)
    sample = ws.models.training_sample(version).iloc[:, : len(version.signature["inputs"])]
    ws.models.predict_frame(version.ref, sample).to_pickle(f"{name}.frame")
"""


def test_forty_models_answer_in_another_process_as_they_do_here(ws, tmp_path):
    expected, names = {}, {}
    for number, (what, (model, data, target)) in enumerate(MODELS.items()):
        name = names[what] = f"m{number}"
        model.fit(data, target) if target is not None else model.fit(data)
        version = ws.models.register(model, name, training_data=data)
        width = len(version.signature["inputs"])
        rows = ws.models.training_sample(version).iloc[:, :width]
        expected[what] = model.predict(data if len(rows) == N else rows)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", ELSEWHERE, str(ws.store.folder), *names.values()]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for what, name in names.items():
        found = pd.read_pickle(tmp_path / f"{name}.frame")  # written by our own process just now
        columns = [c for c in found if c.startswith("prediction")]
        np.testing.assert_array_equal(np.squeeze(found[columns].to_numpy()), np.squeeze(expected[what]), what)
    assert len(MODELS) >= 40
