"""Autolog: the outermost estimator only, whatever happens inside it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import KMeans
from sklearn.datasets import make_classification
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from nbmlops import session


@pytest.fixture
def data() -> tuple[Any, Any]:
    return make_classification(200, 6, random_state=0)


@pytest.fixture(autouse=True)
def _autologged(nb: Any) -> Iterator[None]:
    nb.autolog()
    yield
    nb.autolog(disable=True)


def test_a_fit_is_logged_in_the_active_run(nb: Any, data: Any) -> None:
    with nb.start_run() as run:
        LogisticRegression(C=0.5).fit(*data)
    record = nb.get_run(run.run_id)
    assert record.params["C"] == "0.5"
    assert record.tags["estimator_name"] == "LogisticRegression"
    assert 0.5 < record.metrics["training_score"] <= 1
    assert record.metrics["fit_seconds"] > 0
    assert record.artifacts == ()


def test_a_fit_without_a_run_gets_one(nb: Any, data: Any) -> None:
    DecisionTreeClassifier(max_depth=2).fit(*data)
    (row,) = nb.search_runs(output_format="list")
    assert (row.name, row.status, row.params["max_depth"]) == ("DecisionTreeClassifier", "FINISHED", "2")


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(StandardScaler(), PCA(2), LogisticRegression()),
        StackingClassifier([("a", DecisionTreeClassifier()), ("b", LogisticRegression())], n_jobs=2),
        RandomForestClassifier(20, n_jobs=2),
        OneVsRestClassifier(LogisticRegression(), n_jobs=2),
        GridSearchCV(DecisionTreeClassifier(), {"max_depth": [1, 2, 3]}, cv=3, n_jobs=2),
    ],
    ids=lambda m: type(m).__name__,
)
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_only_the_outermost_estimator_is_logged(nb: Any, data: Any, model: Any, backend: str) -> None:
    from joblib import parallel_config

    with nb.start_run() as run, parallel_config(backend):
        model.fit(*data)
    record = nb.get_run(run.run_id)
    assert record.tags["estimator_name"] == type(model).__name__
    assert len(nb.get_metric_history(run.run_id, "fit_seconds")) == 1
    assert len(nb.search_runs()) == 1


def test_a_search_logs_its_best_and_children_only_on_request(nb: Any, data: Any) -> None:
    search = GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2, 3]}, cv=3)
    with nb.start_run("plain") as run:
        search.fit(*data)
    assert nb.get_run(run.run_id).params["best_max_depth"] == str(search.best_params_["max_depth"])
    assert session.workspace().runs.children(run.run_id) == []
    nb.autolog(child_runs=True)
    with nb.start_run("with children") as run:
        search.fit(*data)
    children = session.workspace().runs.children(run.run_id)
    assert [c.params["max_depth"] for c in children] == ["1", "2", "3"]
    assert all("mean_test_score" in c.metrics for c in children)


def test_fits_in_the_users_own_threads_are_all_logged(nb: Any, data: Any) -> None:
    start = threading.Barrier(4)

    def fit(depth: int) -> None:
        start.wait()
        with nb.start_run(f"depth {depth}"):
            RandomForestClassifier(10, max_depth=depth, n_jobs=2).fit(*data)

    threads = [threading.Thread(target=fit, args=(d,)) for d in range(1, 5)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    found = nb.search_runs(order_by=["run_name"])
    assert found["params.max_depth"].tolist() == ["1", "2", "3", "4"]


def test_estimators_without_target_or_score_and_preprocessors(nb: Any, data: Any) -> None:
    with nb.start_run() as run:
        KMeans(2, n_init=1).fit(data[0])
        LabelEncoder().fit(["a", "b"])
        StandardScaler().fit_transform(data[0])
    assert len(nb.get_metric_history(run.run_id, "fit_seconds")) == 3


def test_a_failing_fit_raises_its_own_error(nb: Any) -> None:
    with nb.start_run(), pytest.raises(ValueError, match="inconsistent numbers of samples"):
        LogisticRegression().fit(np.zeros((3, 2)), [0, 1])


def test_classes_of_others_even_those_defined_later(nb: Any, data: Any) -> None:
    class Mine(ClassifierMixin, BaseEstimator):
        def __init__(self, size: int = 1) -> None:
            self.size = size

        def fit(self, X: Any, y: Any) -> Mine:
            self.classes_ = np.unique(y)
            return self

        def predict(self, X: Any) -> Any:
            return np.zeros(len(X), int)

    with nb.start_run() as run:
        Mine(size=3).fit(*data)
    assert nb.get_run(run.run_id).params["size"] == "3"
    nb.autolog(disable=True)
    with nb.start_run() as run:
        Mine().fit(*data)
        LogisticRegression().fit(*data)
    assert nb.get_run(run.run_id).params == {}
    nb.autolog(disable=True)


def test_what_a_model_was_fitted_on_is_remembered_weakly(nb: Any, data: Any) -> None:
    import gc

    with nb.start_run():
        frame = np.array(data[0])
        model = LogisticRegression().fit(frame, data[1])
    assert session.fitted(model)[0] is frame
    del frame
    gc.collect()
    assert session.fitted(model)[0] is None
