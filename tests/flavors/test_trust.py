from __future__ import annotations

import importlib
import io
import json
import os
import warnings
import zipfile

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import BaseEstimator
from sklearn.cluster import Birch
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import all_estimators

from nbmlops import flavors
from nbmlops.errors import CheckFailed, InvalidValue, Untrusted
from nbmlops.flavors import inspection, sklearn, soundness, trusted

RNG = np.random.default_rng(0)
X = np.abs(RNG.normal(size=(60, 4))) + 0.1
Y = (X[:, 0] > X[:, 1]).astype(int)
TARGET = X @ [1.0, 2, 3, 4]
INPUTS = {
    "texts": (["a b c", "c d"],),
    "classes": (X, Y),
    "numbers": (X, TARGET),
    "labels": (X, np.c_[Y, 1 - Y]),
    "rows": (X,),
    "column": (X[:, 0], TARGET),
    "words": (Y,),
    "dicts": ([{"a": 1}, {"b": 2}],),
}
# Each of these holds a function of scikit-learn, so whoever loads it has to name that function.
NAMED = {
    "BisectingKMeans": "sklearn.cluster._kmeans._kmeans_single_lloyd",
    "GenericUnivariateSelect": "sklearn.feature_selection._univariate_selection.f_classif",
    "SelectFdr": "sklearn.feature_selection._univariate_selection.f_classif",
    "SelectFpr": "sklearn.feature_selection._univariate_selection.f_classif",
    "SelectFwe": "sklearn.feature_selection._univariate_selection.f_classif",
    "SelectKBest": "sklearn.feature_selection._univariate_selection.f_classif",
    "SelectPercentile": "sklearn.feature_selection._univariate_selection.f_classif",
}
CLASSES = dict(all_estimators())
# Estimators around others, and some that are slow or choosy with their defaults.
TREE, LINE = DecisionTreeClassifier(max_depth=3, random_state=0), LinearRegression()
ARGUMENTS = {
    "ClassifierChain": {"estimator": TREE},
    "ColumnTransformer": {"transformers": [("scaled", StandardScaler(), [0, 1])], "remainder": "passthrough"},
    "FeatureUnion": {"transformer_list": [("scaled", StandardScaler())]},
    "FixedThresholdClassifier": {"estimator": TREE},
    "GaussianRandomProjection": {"n_components": 2},
    "GridSearchCV": {"estimator": TREE, "param_grid": {"max_depth": [1, 2]}, "cv": 2},
    "MultiOutputClassifier": {"estimator": TREE},
    "MultiOutputRegressor": {"estimator": LINE},
    "OneVsOneClassifier": {"estimator": TREE},
    "OneVsRestClassifier": {"estimator": TREE},
    "OutputCodeClassifier": {"estimator": TREE},
    "Pipeline": {"steps": [("scaled", StandardScaler()), ("tree", TREE)]},
    "RFE": {"estimator": TREE},
    "RFECV": {"estimator": TREE, "cv": 2},
    "RandomizedSearchCV": {"estimator": TREE, "param_distributions": {"max_depth": [1, 2]}, "cv": 2, "n_iter": 2},
    "RegressorChain": {"estimator": LINE},
    "SelectFromModel": {"estimator": TREE},
    "SelfTrainingClassifier": {"estimator": TREE},
    "SequentialFeatureSelector": {"estimator": TREE, "cv": 2},
    "SparseRandomProjection": {"n_components": 2},
    "StackingClassifier": {"estimators": [("tree", TREE)], "cv": 2},
    "StackingRegressor": {"estimators": [("line", LINE)], "cv": 2},
    "TSNE": {"max_iter": 250},
    "VotingClassifier": {"estimators": [("tree", TREE)]},
    "VotingRegressor": {"estimators": [("line", LINE)]},
}


def fitted(name: str):
    """An estimator with its defaults, fitted on the first input it takes; None if it takes none of them."""
    try:
        model = CLASSES[name](**ARGUMENTS.get(name, {}))
    except TypeError:
        return None, None
    for given in INPUTS.values():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.fit(*given)
                for method in ("predict", "transform"):
                    if hasattr(model, method):
                        getattr(model, method)(given[0])
                return model, given[0]
        except Exception:  # the wrong kind of input: the next one may do
            continue
    return None, None


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_estimator_comes_back_and_answers_the_same(name):
    model, given = fitted(name)
    if model is None or name in {"Birch", "TunedThresholdClassifierCV"}:
        pytest.skip("needs special input, or is refused: see the other tests")
    files = sklearn.save(model)
    again = sklearn.load(files, (NAMED[name],) if name in NAMED else ())
    for method in ("predict", "predict_proba", "transform"):
        if hasattr(model, method):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                before, after = (getattr(m, method)(given) for m in (model, again))
            before, after = (np.asarray(v.toarray() if hasattr(v, "toarray") else v) for v in (before, after))
            if before.dtype.kind == "f":  # BLAS may sum arrays that lie elsewhere in memory in another order
                np.testing.assert_allclose(before, after, rtol=1e-9, atol=1e-12)
            else:
                np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("name", sorted(NAMED))
def test_functions_of_scikit_learn_must_be_named(name):
    with pytest.raises(Untrusted) as raised:
        sklearn.load(sklearn.save(fitted(name)[0]))
    assert raised.value.types == (NAMED[name],)
    assert f"trusted=('{NAMED[name]}',)" in raised.value.hint


def test_the_list_has_every_public_estimator_and_names_types_only():
    public = {f"{c.__module__}.{c.__name__}" for c in CLASSES.values() if c.__module__.startswith("sklearn.")}
    assert public <= trusted.ESTIMATORS
    for full in trusted.ESTIMATORS | trusted.PARTS | trusted.TREES | trusted.SPARSE | trusted.SCALARS | trusted.PLAIN:
        module, _, name = full.rpartition(".")
        assert isinstance(getattr(importlib.import_module(module), name), type), full


def test_functions_on_the_list_belong_to_numpy_and_scipy():
    assert all(
        n.startswith(("numpy.", "scipy.special.", "scipy._lib.array_api_compat.")) for n in trusted.NUMERIC_FUNCTIONS
    )
    assert not trusted.NUMERIC_FUNCTIONS & {
        "numpy.load",
        "numpy.save",
        "numpy.fromfile",
        "numpy.frompyfunc",
        "numpy.vectorize",
    }


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(StandardScaler(), LogisticRegression()),
        make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()),
        GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2]}, cv=2),
        RandomForestClassifier(5, random_state=np.random.RandomState(3)),
        HistGradientBoostingClassifier(max_iter=5, early_stopping=True, random_state=1),
        KNeighborsClassifier(algorithm="ball_tree"),
    ],
    ids=lambda m: type(m).__name__,
)
def test_compositions_come_back(model):
    model.fit(X, Y)
    again = sklearn.load(sklearn.save(model))
    np.testing.assert_array_equal(model.predict_proba(X), again.predict_proba(X))


def test_a_column_transformer_with_categories_comes_back():
    frame = pd.DataFrame({"n": X[:, 0], "c": pd.Categorical(np.where(Y, "a", "b")), "t": np.where(Y, "x", "y")})
    model = make_pipeline(
        ColumnTransformer(
            [
                ("numbers", StandardScaler(), make_column_selector(dtype_include=np.number)),
                ("texts", OneHotEncoder(handle_unknown="ignore"), ["c", "t"]),
            ]
        ),
        LogisticRegression(),
    ).fit(frame, Y)
    np.testing.assert_array_equal(model.predict(frame), sklearn.load(sklearn.save(model)).predict(frame))


def double(values):
    return values * 2


class Doubler(BaseEstimator):
    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def predict(self, X):
        return np.asarray(X)[:, 0] * 2


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (FunctionTransformer(double), f"{__name__}.double"),
        (FunctionTransformer(os.system), "posix.system"),
        (FunctionTransformer(eval), "builtins.eval"),
        (FunctionTransformer(np.load), "numpy.load"),
        (FunctionTransformer(f_classif), "sklearn.feature_selection._univariate_selection.f_classif"),
        (Doubler(), f"{__name__}.Doubler"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_functions_and_own_types_are_refused_unless_named(model, name):
    model.fitted_ = True
    files = sklearn.save(model)
    with pytest.raises(Untrusted) as raised:
        sklearn.load(files)
    assert name in raised.value.types
    assert isinstance(sklearn.load(files, raised.value.types), type(model))


@pytest.mark.parametrize("kind", ["itemgetter", "attrgetter", "methodcaller"])
def test_operators_partials_and_methods_are_refused(kind):
    import functools
    import operator

    model = FunctionTransformer(getattr(operator, kind)("x"))
    with pytest.raises(Untrusted) as raised:
        sklearn.load(sklearn.save(model.fit(X)))
    assert raised.value.types == (f"operator.{kind}",)
    with pytest.raises(Untrusted, match=r"functools\.partial"):
        sklearn.load(sklearn.save(FunctionTransformer(functools.partial(np.add, 1)).fit(X)))
    with pytest.raises(Untrusted, match=r"StandardScaler\.fit"):
        sklearn.load(sklearn.save(FunctionTransformer(StandardScaler().fit).fit(X)))


def test_what_is_named_counts_in_that_call_only():
    files = sklearn.save(Doubler().fit(X))
    assert sklearn.load(files, (f"{__name__}.Doubler",)).predict(X)[0] == X[0, 0] * 2
    assert sklearn.load(files, [Doubler]).fitted_
    assert sklearn.load(files, f"{__name__}.Doubler").fitted_
    with pytest.raises(Untrusted):
        sklearn.load(files)


@pytest.mark.parametrize("given", [True, 3, ("*",), ("numpy.*",), ("eval",), (3,)])
def test_wildcards_are_no_names(given):
    with pytest.raises(InvalidValue):
        sklearn.load(sklearn.save(StandardScaler().fit(X)), given)


# -- files made by hand -----------------------------------------------------------------------------------------------
def opened(model) -> tuple[dict, dict[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(model))) as archive:
        members = {n: archive.read(n) for n in archive.namelist()}
    return json.loads(members.pop("schema.json")), members


def closed(schema, members=(), compression=zipfile.ZIP_STORED) -> dict[str, bytes]:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's own remark about names that are there twice
        with zipfile.ZipFile(buffer, "w", compression) as archive:
            for name, content in dict(members).items() if isinstance(members, dict) else members:
                archive.writestr(name, content)
            archive.writestr("schema.json", schema if isinstance(schema, str) else json.dumps(schema))
    return {sklearn.FILE: buffer.getvalue()}


def node(loader, module, name, **more):
    return {"__loader__": loader, "__module__": module, "__class__": name, "__id__": 1, "protocol": 2, **more}


EMPTY = node("TupleNode", "builtins", "tuple", content=[])


@pytest.mark.parametrize(
    "schema",
    [
        node("FunctionNode", "os", "system"),
        node("TypeNode", "subprocess", "Popen"),
        node("ObjectNode", "sklearn.utils", "all_estimators"),
        node("ConstructorFromReduceNode", "subprocess", "Popen", content=EMPTY),
        node("OperatorFuncNode", "operator", "methodcaller", attrs=EMPTY),
        # trusted names in a role that is not theirs
        node("ListNode", "sklearn.tree._tree", "Tree", content=[]),
        node("ConstructorFromReduceNode", "sklearn.neighbors._kd_tree", "KDTree", content=EMPTY),
        node("DictNode", "sklearn.linear_model._logistic", "LogisticRegression", content={}, key_types=EMPTY),
        node("FunctionNode", "sklearn.tree._tree", "Tree"),
        node("NdArrayNode", "builtins", "eval", type="json", content=[], shape=EMPTY),
        # kinds of node that are not known, or hidden where no node belongs
        node("NewNode", "builtins", "list"),
        node("CachedNode", "builtins", "list"),
        node("JsonNode", "builtins", "str", content="1", extra=[{"deep": node("FunctionNode", "os", "system")}]),
        node("FunctionNode", "builtins", "list", protocol=0),
        {**node("TypeNode", "builtins", "list"), "__class__": ["list"]},
        {**node("TypeNode", "builtins", "list"), "protocol": 0},
        {**node("TypeNode", "builtins", "list"), "protocol": True},
        {**node("TypeNode", "builtins", "list"), "protocol": 99},
        [],
        "not json",
        "[" * 100_000,
    ],
)
def test_schemas_made_by_hand_are_refused(schema, monkeypatch):
    monkeypatch.setattr(skops.io, "load", lambda *a, **k: pytest.fail("skops was asked to build it"))
    with pytest.raises(Untrusted):
        sklearn.load(closed(schema))


@pytest.mark.parametrize(
    ("members", "compression", "why"),
    [
        ({"../../evil.npy": b""}, zipfile.ZIP_STORED, "a member named"),
        ({"/etc/passwd": b""}, zipfile.ZIP_STORED, "a member named"),
        ({"1.pkl": b""}, zipfile.ZIP_STORED, "a member named"),
        ([("1.npy", b"a"), ("1.npy", b"b")], zipfile.ZIP_STORED, "the same name"),
        ({"1.npy": bytes(10_000_000)}, zipfile.ZIP_DEFLATED, "compressed"),
        ({"1.npz": b"no archive"}, zipfile.ZIP_STORED, "cannot be read"),
    ],
)
def test_archives_made_by_hand_are_refused(members, compression, why):
    schema, _ = opened(StandardScaler().fit(X))
    with pytest.raises(Untrusted, match=why):
        sklearn.load(closed(schema, members, compression))


def test_archives_have_limits(monkeypatch):
    schema, members = opened(RandomForestClassifier(3).fit(X, Y))
    monkeypatch.setattr(inspection, "MEMBERS", 3)
    with pytest.raises(Untrusted, match="members"):
        sklearn.load(closed(schema, members))
    monkeypatch.undo()
    monkeypatch.setattr(inspection, "UNPACKED", 1000)
    with pytest.raises(Untrusted, match="unpacks to"):
        sklearn.load(closed(schema, members))


def test_a_bomb_inside_a_sparse_matrix_is_counted(monkeypatch):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.npy", bytes(5_000_000))
    monkeypatch.setattr(inspection, "UNPACKED", 1_000_000)
    schema, _ = opened(StandardScaler().fit(X))
    with pytest.raises(Untrusted, match="unpacks to"):
        sklearn.load(closed(schema, {"1.npz": inner.getvalue()}))


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_archive_is_refused(content):
    with pytest.raises(Untrusted):
        sklearn.load({sklearn.FILE: content})


def test_a_lost_array_is_a_clear_error():
    schema, members = opened(StandardScaler().fit(X))
    members.popitem()
    with pytest.raises(CheckFailed, match="cannot be rebuilt"):
        sklearn.load(closed(schema, members))


@pytest.mark.parametrize("field", ["left_child", "right_child", "feature"])
@pytest.mark.parametrize(
    "model", [DecisionTreeClassifier(), RandomForestClassifier(3), GradientBoostingRegressor(n_estimators=2)]
)
def test_trees_that_point_outside_themselves_are_refused(model, field):
    schema, members = opened(model.fit(X, Y))
    for name, content in members.items():
        array = np.load(io.BytesIO(content)) if name.endswith(".npy") else None
        if array is not None and array.dtype.names and field in array.dtype.names and len(array) > 1:
            array[field][0] = 10_000_000
            buffer = io.BytesIO()
            np.save(buffer, array)
            members[name] = buffer.getvalue()
    with pytest.raises(Untrusted, match="points outside"):
        sklearn.load(closed(schema, members))


def test_other_index_tables_are_looked_at():
    boosted = HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=2).fit(X, Y)
    boosted._predictors[0][0].nodes["feature_idx"][0] = 99
    near = KNeighborsClassifier(algorithm="kd_tree").fit(X, Y)
    np.asarray(near._tree.get_arrays()[1])[0] = 10_000
    for model in (boosted, near):
        with pytest.raises(Untrusted, match="points outside"):
            soundness.check_indices(model)
    forest = RandomForestClassifier(2).fit(X, Y)
    forest.estimators_[0] = DecisionTreeClassifier().fit(np.c_[X, X], Y)  # takes more columns than the forest checks
    isolated = IsolationForest(n_estimators=2).fit(X)
    isolated.estimators_features_[0] = np.array([0])
    for model in (forest, isolated):
        with pytest.raises(Untrusted, match="points outside"):
            soundness.check_indices(model)


# -- what cannot be stored --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("model", [object(), {"a": 1}, "text", LogisticRegression, lambda x: x, 3])
def test_only_estimators_are_models(model):
    with pytest.raises(InvalidValue, match="cannot be stored as a model"):
        flavors.save(model)


def test_an_unfitted_model_is_refused():
    with pytest.raises(InvalidValue, match="not fitted"):
        flavors.save(LogisticRegression())


def test_what_skops_cannot_write_is_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        with pytest.raises(InvalidValue, match="Birch"):
            flavors.save(Birch(n_clusters=2).fit(X))


def test_a_selection_is_named_and_comes_back():
    model = make_pipeline(SelectKBest(k=2), LogisticRegression()).fit(X, Y)
    files = sklearn.save(model)
    fine, refused = sklearn.types_in(files)
    assert refused == [NAMED["SelectKBest"]]
    assert "sklearn.linear_model._logistic.LogisticRegression" in fine
    np.testing.assert_array_equal(sklearn.load(files, refused).predict(X), model.predict(X))
