"""scikit-learn models as ONNX, if it can be proved that the answers are the same.

Converted by skl2onnx, with one input for each column of a frame, or one matrix. Numbers go in as float64 where the
converters allow it, else as float32, in which thresholds of trees may fall on the other side: so every conversion is
tried on real rows, and refused if a label differs, or a probability or number by more than 1e-5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nbmlops import lazy
from nbmlops.errors import Untrusted, UsageFault

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

FILE = "model.onnx"
TOLERANCE = 1e-5  # of a probability; of a number, relative to 1 or to itself, whichever is greater
ROWS = 1_000
LARGEST = 2 << 30  # bytes: what protobuf can hold
DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")  # operators that onnxruntime has by itself
_OPSET = 18
_PURPOSE = "ONNX"


@dataclass(frozen=True)
class Parity:
    """Whether the converted model answers as the original: ``proved``, or ``refused`` with a reason.

    ``worst`` is the greatest difference of a probability or number seen over ``rows``.
    """

    status: str
    reason: str
    rows: int = 0
    worst: float | None = None
    inputs: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def convert(
    model: Any, signature: Mapping[str, Any], rows: pd.DataFrame, expected: pd.DataFrame
) -> tuple[Parity, bytes | None]:
    """The model as ONNX, proved on rows; or why not.

    Args:
        model: a fitted scikit-learn estimator.
        signature: what it takes and gives.
        rows: as the model takes them, at least one.
        expected: what it answers to these rows.

    Raises:
        MissingLibrary: ``nbmlops[onnx]`` is not installed.
    """
    lazy.need("skl2onnx", _PURPOSE, "onnx")
    lazy.need("onnxruntime", _PURPOSE, "onnx")
    if reason := _unfit(signature):
        return Parity("refused", reason), None
    told = Parity("refused", "nothing was tried")
    for form in _forms(signature):
        for numbers in ("float64", "float32"):
            try:
                content = _converted(_inner(model), signature, numbers, form)
                found = predict(content, signature, rows)
            except Exception as error:  # converters and the runtime fail in their own ways, by model and version
                first = str(error).strip().splitlines()
                why = f"{type(error).__name__}: {first[0] if first else ''}"[:300]
                told = _better(told, Parity("refused", why, inputs=f"{form} of {numbers}"))
                continue
            compared = _compared(found, expected, f"{form} of {numbers}")
            if compared.status == "proved":
                return compared, content
            told = _better(told, compared)
    return told, None


def _forms(signature: Mapping[str, Any]) -> tuple[str, ...]:
    """One matrix, which most estimators want; columns, which those want that choose among them by name."""
    if signature["input_kind"] == "array":
        return ("matrix",)
    plain = all(c["kind"] in {"numeric", "boolean"} for c in signature["inputs"])
    return ("matrix", "columns") if plain else ("columns",)


def _inner(model: Any) -> Any:
    """What a search has found: it predicts with nothing else."""
    return getattr(model, "best_estimator_", model)


def _better(old: Parity, new: Parity) -> Parity:
    """A comparison tells more than a conversion that failed, and the first failure more than a later one."""
    return new if old.reason == "nothing was tried" or (new.rows and not old.rows) else old


def _unfit(signature: Mapping[str, Any]) -> str:
    """Why such inputs or outputs cannot be expressed at all."""
    if not signature["outputs"]:
        return "the model predicts nothing"
    kinds = {c["kind"] for c in signature["inputs"]}
    if "datetime" in kinds:
        return "it takes times, for which ONNX has no type"
    if kinds & {"list", "struct"} or len(signature.get("shape", ())) > 2:
        return "it takes nested values, which its inputs here cannot be"
    if any(c["kind"] in {"text", "categorical"} and c["nullable"] for c in signature["inputs"]):
        return "it takes text that may be missing, for which ONNX has no value"
    return ""


def _converted(model: Any, signature: Mapping[str, Any], numbers: str, form: str) -> bytes:
    import warnings

    from skl2onnx import convert_sklearn
    from skl2onnx.common import data_types
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

    number = data_types.DoubleTensorType if numbers == "float64" else data_types.FloatTensorType
    inputs = signature["inputs"]
    if form == "matrix":
        types = [("input", number([None, len(inputs)]))]
    else:
        types = [(c["name"], _type(c, number, data_types)) for c in inputs]
    # A locale that every system has: theirs is one that a container may lack.
    options: dict[Any, Any] = {kind: {"locale": "C"} for kind in (CountVectorizer, TfidfVectorizer)}
    if hasattr(model, "classes_"):
        options[id(model)] = {"zipmap": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converters' own deprecations
        made = convert_sklearn(model, initial_types=types, options=options, target_opset={"": _OPSET, "ai.onnx.ml": 3})
    return made.SerializeToString()


def _type(column: Mapping[str, Any], number: Any, types: Any) -> Any:
    if column["kind"] == "numeric":
        whole = "int" in column["type"].lower() and not column["nullable"]
        return types.Int64TensorType([None, 1]) if whole else number([None, 1])
    if column["kind"] == "boolean":
        return types.BooleanTensorType([None, 1])
    return types.StringTensorType([None, 1])


def check(content: bytes) -> None:
    """Refuse what is no self-contained model: tensors in other files, operators from elsewhere.

    Raises:
        Untrusted: it is something else.
    """
    onnx = lazy.need("onnx", _PURPOSE, "onnx")
    if len(content) > LARGEST:
        raise _untrusted(f"it has {len(content):,} bytes")
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own errors, by version
        raise _untrusted(f"it cannot be read ({type(error).__name__})") from error
    if foreign := sorted({i.domain for i in model.opset_import} - set(DOMAINS)):
        raise _untrusted(f"it needs operators from elsewhere: {', '.join(foreign)}")
    todo = [model.graph]
    while todo:
        graph = todo.pop()
        tensors = [*graph.initializer, *(a.t for n in graph.node for a in n.attribute)]
        if any(t.data_location or t.external_data for t in tensors):
            raise _untrusted("some of its data lie in other files")
        todo += [g for n in graph.node for a in n.attribute for g in (a.g, *a.graphs) if g.node]


def _untrusted(why: str) -> Untrusted:
    return Untrusted(f"this is no ONNX model that stands by itself: {why}", "export it again from the registry")


def predict(content: bytes, signature: Mapping[str, Any], rows: pd.DataFrame) -> pd.DataFrame:
    """The same columns as the original model gives.

    Args:
        content: an ONNX file as :func:`convert` makes it.
        signature: of the original.
        rows: checked against the signature.

    Raises:
        Untrusted: the file is no self-contained model.
        UsageFault: it does not give what the signature says.
    """
    import pandas as pd

    check(content)
    runtime = lazy.need("onnxruntime", _PURPOSE, "onnx")
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    given = session.run(None, _fed(session.get_inputs(), signature, rows))
    names = [o["name"] for o in signature["outputs"]]
    columns: dict[str, Any] = {}
    if (classes := [n for n in names if n.startswith("probability_")]) and len(given) > 1:
        chances = given[1].reshape(len(rows), -1)
        columns = {name: chances[:, i] for i, name in enumerate(classes)} if chances.shape[1] == len(classes) else {}
    labels = given[0].reshape(len(rows), -1)
    plain = [n for n in names if n.startswith("prediction")]
    if labels.shape[1] != len(plain) or len(columns) != len(classes):
        raise UsageFault(f"the converted model gives {[g.shape for g in given]}", f"{', '.join(names)} are asked for")
    return pd.DataFrame({**{name: labels[:, i] for i, name in enumerate(plain)}, **columns}, index=rows.index)[names]


def _fed(asked: Any, signature: Mapping[str, Any], rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """The rows as the session's inputs: a matrix, or a column each."""
    kinds = {"tensor(double)": "float64", "tensor(float)": "float32", "tensor(int64)": "int64", "tensor(bool)": "bool"}
    if len(asked) == 1 and len(rows.columns) > 1:
        return {asked[0].name: rows.to_numpy(dtype=object).astype(kinds[asked[0].type])}
    return {
        entry.name: rows.iloc[:, place].to_numpy(dtype=object).astype(kinds.get(entry.type, object)).reshape(-1, 1)
        for place, entry in enumerate(asked)
    }


def _compared(found: pd.DataFrame, expected: pd.DataFrame, numbers: str) -> Parity:
    import numpy as np

    worst = 0.0
    for name in expected.columns:
        a, b = found[name].to_numpy(), expected[name].to_numpy()
        if b.dtype.kind != "f":
            differing = int((a.astype(str) != b.astype(str)).sum())
            if differing:
                why = f"{differing} of {len(b)} labels differ ({numbers})"
                return Parity("refused", why, len(b), None, numbers)
            continue
        scale = 1.0 if name.startswith("probability_") else np.maximum(np.abs(b), 1.0)
        gaps = np.abs(a.astype(float) - b) / scale
        worst = max(worst, float(np.nanmax(gaps, initial=0.0)))
        if (np.isnan(a.astype(float)) != np.isnan(b)).any() or worst > TOLERANCE:
            why = f"{name} differs by {worst:.2g}, and {TOLERANCE:g} is allowed ({numbers})"
            return Parity("refused", why, len(b), worst, numbers)
    return Parity(
        "proved", f"{len(expected)} rows, the greatest difference is {worst:.2g}", len(expected), worst, numbers
    )
