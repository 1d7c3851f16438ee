"""Which distributions, at which versions, a model needs to be loaded elsewhere."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable

_ALWAYS = ("scikit-learn", "numpy", "scipy", "joblib", "threadpoolctl", "skops")
# Modules of the standard library and of scikit-learn's own dependencies need no lookup.
_KNOWN = {"sklearn": "scikit-learn", "numpy": "numpy", "scipy": "scipy"}


def libraries(types: Iterable[str], *, frames: bool) -> dict[str, str]:
    """Distribution name -> installed version, for the full type names in a package; ``frames`` adds pandas."""
    wanted = {*_ALWAYS, *(["pandas"] if frames else [])}
    owners: dict[str, list[str]] | None = None
    for top in {t.partition(".")[0] for t in types}:
        if top in _KNOWN:
            wanted.add(_KNOWN[top])
            continue
        if owners is None:
            owners = {k: list(v) for k, v in importlib.metadata.packages_distributions().items()}
        wanted.update(owners.get(top, ()))
    return {name: version for name in sorted(wanted) if (version := _version(name))}


def text(found: dict[str, str]) -> str:
    """The same as the lines of a ``requirements.txt``."""
    return "".join(f"{name}=={version}\n" for name, version in found.items())


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
