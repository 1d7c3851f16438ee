"""Model <-> files, one module per flavor: it says what it takes, writes files, and loads them under a trust list."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from nbmlops.errors import InvalidValue, NotFound

# Each module has: supports(model), save(model) -> files, load(files, trusted) -> model, types_in(files).
FLAVORS = {"skops": "nbmlops.flavors.sklearn"}


def flavor_of(model: object) -> str:
    """The name of the flavor that stores this object.

    Raises:
        InvalidValue: none does.
    """
    for name in FLAVORS:
        if _module(name).supports(model):
            return name
    found = (
        f"the class {model.__name__}"
        if isinstance(model, type)
        else f"a {type(model).__module__}.{type(model).__name__}"
    )
    raise InvalidValue(
        f"{found} cannot be stored as a model",
        "give a fitted scikit-learn estimator or pipeline, or a class derived from sklearn.base.BaseEstimator",
    )


def save(model: object) -> tuple[str, dict[str, bytes]]:
    """The flavor's name and the files that hold the model, by name.

    Raises:
        InvalidValue: no flavor takes the object, or it cannot be written.
    """
    name = flavor_of(model)
    return name, _module(name).save(model)


def load(flavor: str, files: dict[str, bytes], trusted: Iterable[str | type] = ()) -> Any:
    """The model object from its files; nothing is built before every type in them is trusted.

    Raises:
        Untrusted: the files hold types that are neither on the loader's list nor in ``trusted``.
    """
    return _module(flavor).load(files, trusted)


def types_in(flavor: str, files: dict[str, bytes]) -> tuple[list[str], list[str]]:
    """The types in the files: (those the loader trusts, those :func:`load` would ask to be named)."""
    return _module(flavor).types_in(files)


def _module(flavor: str) -> ModuleType:
    if flavor not in FLAVORS:
        raise NotFound.of("model flavor", flavor, FLAVORS)
    return importlib.import_module(FLAVORS[flavor])
