"""A classifier that suits a frame's columns, to judge its labels with: chosen, not tuned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbmlops.errors import InvalidValue

if TYPE_CHECKING:
    import pandas as pd

MANY = 1000  # rows from which on trees know more than lines
_CATEGORIES = 250  # what histogram trees take in one column
_SAMPLE = 2000
_FEW = 10
_WORDS = 2.5  # mean words of a column that is read as text


def choose(frame: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, Any, str, list[str]]:
    """The columns that can be used, an unfitted classifier for them, its name, and what was left out.

    Numbers, times and categories go to gradient boosted trees; with texts, or below 1,000 rows, to a logistic
    regression over words (hashed TF-IDF), categories and scaled numbers.

    Raises:
        InvalidValue: there is no column that a model can use.
    """
    kinds, out, columns = {}, [], {}
    for name in frame.columns:
        kind, values = _column(frame[name])
        if kind:
            kinds[str(name)], columns[str(name)] = kind, values
        else:
            out.append(str(name))
    notes = [f"columns that no model here can use: {', '.join(out[:10])}"] if out else []
    if not columns:
        raise InvalidValue("no column is there to predict the labels from", "name features: numbers, categories, texts")
    import pandas as pd

    used = pd.DataFrame(columns)
    of = {kind: [n for n, k in kinds.items() if k == kind] for kind in ("number", "category", "text")}
    if of["text"] or len(used) < MANY:
        return used, _lines(of), "logistic regression", notes
    return used, _trees(of, seed), "gradient boosted trees", notes


def _column(values: pd.Series) -> tuple[str, Any]:
    """What a column is to a model, and its values as such; an empty kind if it is nothing."""
    import pandas as pd

    types = pd.api.types
    if types.is_complex_dtype(values.dtype):
        return "", None
    if types.is_bool_dtype(values.dtype) or types.is_numeric_dtype(values.dtype):
        return _number(values.astype("float64"))
    if types.is_datetime64_any_dtype(values.dtype) or types.is_timedelta64_dtype(values.dtype):
        return _number(values.astype("int64").where(values.notna()).astype("float64"))
    if isinstance(values.dtype, pd.CategoricalDtype) or types.infer_dtype(values, skipna=True) in {"string", "empty"}:
        texts = values.astype(object).where(values.notna(), "").map(str)
        distinct = texts.nunique()
        words = sum(len(text.split()) for text in texts.iloc[:_SAMPLE]) / max(1, len(texts.iloc[:_SAMPLE]))
        if distinct > _CATEGORIES and words >= _WORDS:
            return "text", texts
        # A key tells rows apart and nothing else.
        return ("", None) if distinct > 0.9 * len(texts) and distinct > _CATEGORIES else ("category", texts)
    return "", None


def _number(values: pd.Series) -> tuple[str, Any]:
    """Finite values; of too few of them a fold may have none, which trees do not take."""
    import numpy as np

    values = values.where(np.isfinite(values))
    return ("number", values) if values.count() >= _FEW else ("", None)


def _lines(of: dict[str, list[str]]) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(add_indicator=True, keep_empty_features=True), StandardScaler())
    steps: list[Any] = [("numbers", numbers, of["number"])] if of["number"] else []
    if of["category"]:
        steps.append(("categories", OneHotEncoder(handle_unknown="ignore", max_categories=_CATEGORIES), of["category"]))
    for i, name in enumerate(of["text"]):
        words = make_pipeline(HashingVectorizer(n_features=2**16, alternate_sign=False), TfidfTransformer())
        steps.append((f"text{i}", words, name))
    return make_pipeline(ColumnTransformer(steps), LogisticRegression(max_iter=1000, C=2.0))


def _trees(of: dict[str, list[str]], seed: int) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=float("nan"), max_categories=_CATEGORIES)
    place = [("categories", codes, of["category"]), ("numbers", "passthrough", of["number"])]
    steps = ColumnTransformer([step for step in place if step[2]])
    categorical = list(range(len(of["category"])))
    # Few, shallow trees: a model that learns the wrong labels by heart finds none of them.
    trees = HistGradientBoostingClassifier(
        max_iter=80, max_leaf_nodes=15, min_samples_leaf=30, categorical_features=categorical or None, random_state=seed
    )
    return make_pipeline(steps, trees)
