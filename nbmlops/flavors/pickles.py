"""Objects as pickles, which run whatever they hold when they are loaded: kept only if asked for, never trusted."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nbmlops.errors import CheckFailed, InvalidValue


def supports(model: object) -> bool:
    """Whether it can predict, and is no class."""
    return not isinstance(model, type) and callable(getattr(model, "predict", None))


def written(model: object, dumps: Callable[[object], bytes], how: str) -> bytes:
    """The object as bytes.

    Raises:
        InvalidValue: it cannot be pickled.
    """
    try:
        return dumps(model)
    except Exception as error:  # anything a user's object may raise while it is taken apart
        raise InvalidValue(
            f"{how} cannot store this {type(model).__name__}: {type(error).__name__}: {error}",
            "open files, connections and locks cannot be stored; leave them out in __getstate__",
        ) from error


def read(files: Mapping[str, bytes], name: str, loads: Callable[[bytes], object]) -> object:
    """The object again. Runs what the bytes hold: only for who said ``trust=True``.

    Raises:
        CheckFailed: it cannot be rebuilt here.
    """
    try:
        return loads(files[name])
    except Exception as error:  # other versions of libraries, a missing module, or code of the pickle
        raise CheckFailed(
            f"the model file cannot be rebuilt: {type(error).__name__}: {error}",
            "install the versions in the package's requirements.txt, or register the model again",
        ) from error
