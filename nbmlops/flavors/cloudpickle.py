"""Objects as cloudpickle writes them, classes and functions of a notebook included. Only if asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nbmlops import lazy
from nbmlops.flavors import pickles
from nbmlops.flavors.pickles import supports

FILE = "model.cloudpickle"
__all__ = ["FILE", "load", "save", "supports", "types_in"]


def save(model: object, _example: Any = None) -> dict[str, bytes]:
    """The files of a package.

    Raises:
        InvalidValue: the object cannot be pickled.
    """
    library = lazy.need("cloudpickle", "keeping a model as a pickle", "")
    return {FILE: pickles.written(model, library.dumps, "cloudpickle")}


def types_in(_files: Mapping[str, bytes]) -> tuple[list[str], list[str]]:
    """Nothing is known of a pickle before it has run."""
    return [], ["cloudpickle: anything"]


def load(files: Mapping[str, bytes], _trusted: Iterable[str | type] = ()) -> Any:
    """The object; runs what the file holds.

    Raises:
        CheckFailed: it cannot be rebuilt here.
    """
    import pickle

    lazy.need("cloudpickle", "loading such a model", "")
    return pickles.read(files, FILE, pickle.loads)
