"""Which distributions, at which versions, a model needs to be loaded elsewhere."""

from __future__ import annotations

import functools
import importlib.metadata
import sys
from collections.abc import Iterable

_ALWAYS = ("scikit-learn", "numpy", "scipy", "joblib", "threadpoolctl", "skops")
_KNOWN = {"sklearn": "scikit-learn", "numpy": "numpy", "scipy": "scipy"}


def libraries(types: Iterable[str], *, frames: bool) -> dict[str, str]:
    """Distribution name -> installed version, for the full type names in a package; ``frames`` adds pandas."""
    wanted = {*_ALWAYS, *(["pandas"] if frames else [])}
    for top in {t.partition(".")[0] for t in types} - sys.stdlib_module_names:
        wanted.update([_KNOWN[top]] if top in _KNOWN else _owners().get(top, ()))
    return {name: version for name in sorted(wanted) if (version := _version(name))}


@functools.lru_cache(maxsize=1)
def _owners() -> dict[str, list[str]]:
    """Which distributions bring a module: half a second to find out, so asked only for unknown modules, and once."""
    return {module: list(names) for module, names in importlib.metadata.packages_distributions().items()}


def text(found: dict[str, str]) -> str:
    """The same as the lines of a ``requirements.txt``."""
    return "".join(f"{name}=={version}\n" for name, version in found.items())


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
