"""Libraries are imported where they are used, and asked about without importing them."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from nbmlops.errors import MissingLibrary


def need(module: str, purpose: str, extra: str) -> ModuleType:
    """Import an optional library, or say which extra brings it.

    Raises:
        MissingLibrary: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and not module.startswith(error.name):
            raise  # installed, but one of its own dependencies is missing: not ours to shorten
        raise MissingLibrary.of(module.partition(".")[0], purpose, extra) from error


def loaded(module: str) -> Any:
    """The module if somebody has imported it already, else None. Never imports."""
    return sys.modules.get(module)


def is_instance(obj: object, module: str, *names: str) -> bool:
    """Whether ``obj`` is an instance of ``module.name`` for one of the names, without importing the module."""
    found = loaded(module)
    return found is not None and isinstance(obj, tuple(t for n in names if (t := getattr(found, n, None))))
