"""Objects as joblib writes them: pickles with arrays beside them. Only if asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nbmlops.flavors import pickles
from nbmlops.flavors.pickles import supports

FILE = "model.joblib"
__all__ = ["FILE", "load", "save", "supports", "types_in"]


def save(model: object, _example: Any = None) -> dict[str, bytes]:
    """The files of a package.

    Raises:
        InvalidValue: the object cannot be pickled.
    """
    import io

    import joblib as library

    def dumps(thing: object) -> bytes:
        buffer = io.BytesIO()
        library.dump(thing, buffer)
        return buffer.getvalue()

    return {FILE: pickles.written(model, dumps, "joblib")}


def types_in(_files: Mapping[str, bytes]) -> tuple[list[str], list[str]]:
    """Nothing is known of a pickle before it has run."""
    return [], ["joblib: anything"]


def load(files: Mapping[str, bytes], _trusted: Iterable[str | type] = ()) -> Any:
    """The object; runs what the file holds.

    Raises:
        CheckFailed: it cannot be rebuilt here.
    """
    import io

    import joblib as library

    return pickles.read(files, FILE, lambda data: library.load(io.BytesIO(data)))
