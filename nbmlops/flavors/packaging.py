"""A model, what it takes and gives, and what it needs, as the files of one package."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nbmlops import flavors
from nbmlops.errors import InvalidValue
from nbmlops.flavors import checking, nested, prediction, requirements, signature

FORMAT = "package-1"
EXAMPLE_ROWS = 5
SAMPLE_ROWS = 5_000  # of at most 10,000: a baseline for drift that costs a forest of 100 trees 0.1 s
PROFILE_ROWS = 100_000


@dataclass(frozen=True)
class Package:
    """A package before it is stored. ``inputs`` and ``outputs`` are a sample, row by row; ``table`` is for profiles."""

    flavor: str
    files: dict[str, bytes]
    signature: dict[str, Any]
    libraries: dict[str, str]
    refused: tuple[str, ...]
    rows: int
    inputs: pd.DataFrame
    outputs: pd.DataFrame
    table: pd.DataFrame

    def manifest(self, digests: dict[str, str]) -> dict[str, Any]:
        """What is stored as the package's own blob; ``digests`` names the blob of each file."""
        return {
            "format": FORMAT,
            "flavor": self.flavor,
            "files": digests,
            "signature": self.signature,
            "python": platform.python_version(),
            "libraries": self.libraries,
        }


def build(model: Any, data: object, flavor: str | None = None) -> Package:
    """Take a fitted model and rows it was given apart into a package.

    Args:
        model: a fitted one.
        data: rows it was given.
        flavor: keep it with this one.

    Raises:
        InvalidValue: the model cannot be stored, its input cannot be described, or it cannot predict that input.
    """
    original, model = model, flavors.adapted(model, flavor)
    described, frame = _described(original, data)
    kept, files = flavors.save(model, flavor, signature.model_input(described, frame.head(EXAMPLE_ROWS)))
    fine, refused = flavors.types_in(kept, files)
    table = _sample(frame, PROFILE_ROWS)
    inputs = _sample(table, SAMPLE_ROWS)
    try:
        described["outputs"] = prediction.describe(model, described, inputs)
        outputs = (
            prediction.predict(model, described, inputs) if described["outputs"] else pd.DataFrame(index=inputs.index)
        )
    except Exception as error:  # the user's model may raise anything
        raise InvalidValue(
            f"this {type(model).__name__} cannot predict the rows given: {type(error).__name__}: {error}",
            "pass input_example= with rows as the model gets them in predict()",
        ) from error
    libraries = requirements.libraries(
        [*fine, *refused, *_library(original)], frames=described["input_kind"] != "array"
    )
    files |= {
        "requirements.txt": requirements.text(libraries).encode(),
        "input_example.json": _example(inputs.head(EXAMPLE_ROWS), outputs.head(EXAMPLE_ROWS)),
    }
    return Package(kept, files, described, libraries, tuple(refused), len(frame), inputs, outputs, table)


def _library(model: object) -> list[str]:
    """Where the object's own type comes from, for packages that do not tell what is in them."""
    return [f"{type(model).__module__}.{type(model).__qualname__}"]


def read_example(content: bytes, described: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows kept in a package as an example: (inputs as the model takes them, the outputs it gave)."""
    kept = json.loads(content)
    inputs = checking.check(described, kept["inputs"], "the package's input example")
    return inputs, pd.DataFrame.from_records(kept["outputs"], columns=[o["name"] for o in described["outputs"]])


def columns_of(model: object) -> list[str] | None:
    """The column names the model was fitted with; None if it saw no names."""
    names = getattr(model, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def _described(model: Any, data: object) -> tuple[dict[str, Any], pd.DataFrame]:
    """The signature without outputs, and the data in the model's columns."""
    kind, frame = signature.as_frame(data)
    names = columns_of(model)
    if names is not None:
        frame = _by_name(model, names, kind, frame)
    elif isinstance(width := getattr(model, "n_features_in_", None), int | np.integer) and width != len(frame.columns):
        raise InvalidValue(
            f"the model was fitted with {width} columns, and the input example has {len(frame.columns)}",
            "give the columns that fit() got, and no others",
        )
    if not len(frame):
        raise InvalidValue("the input example has no rows", "give at least one row")
    found = signature.infer(frame)
    if (shape := frame.attrs.get(signature.SHAPE)) is not None:
        found |= {"input_kind": "array", "shape": shape}
    elif names is None and hasattr(model, "n_features_in_"):
        found |= {"input_kind": "array", "shape": [-1, len(frame.columns)]}
    elif names is None:
        found |= {"input_kind": kind}
    return found, nested.plain(found["inputs"], frame.reset_index(drop=True))


def _by_name(model: Any, names: Sequence[str], kind: str, frame: pd.DataFrame) -> pd.DataFrame:
    if kind == "array" and len(frame.columns) == len(names):
        return frame.set_axis(list(names), axis=1)
    if missing := [n for n in names if n not in frame.columns]:
        raise InvalidValue.of(
            f"the rows given do not fit this {type(model).__name__}",
            [f"column {n!r} is missing" for n in missing],
            f"give the columns it was fitted with: {', '.join(names[:12])}{', …' if len(names) > 12 else ''}",
        )
    return frame[list(names)]


def _sample(frame: pd.DataFrame, rows: int) -> pd.DataFrame:
    """At most so many rows, always the same ones, in their order."""
    if len(frame) <= rows:
        return frame
    chosen = np.random.default_rng(0).choice(len(frame), rows, replace=False)
    return frame.iloc[np.sort(chosen)].reset_index(drop=True)


def _example(inputs: pd.DataFrame, outputs: pd.DataFrame) -> bytes:
    def records(frame: pd.DataFrame) -> str:
        return frame.to_json(orient="records", date_format="iso", date_unit="ns", double_precision=15)

    return f'{{"inputs": {records(inputs)}, "outputs": {records(outputs)}}}'.encode()
