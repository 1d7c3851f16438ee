"""The surroundings of a run: noted, read again, written as a lock, and compared."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nbmlops.notebook import installed
from nbmlops.records import Environment
from nbmlops.runs.environment import machine, packages
from nbmlops.runs.environment.differences import differences
from nbmlops.runs.environment.form import TEXTS, facts
from nbmlops.runs.environment.locks import lock, read_lock, read_lock_file

if TYPE_CHECKING:
    from nbmlops.store import Store

__all__ = [
    "as_json",
    "differences",
    "facts",
    "here",
    "load",
    "lock",
    "now",
    "of",
    "of_package",
    "read",
    "read_lock",
    "read_lock_file",
]

_FORMAT = 2


def now() -> bytes:
    """What surrounds this process, as the JSON text that a run notes: Python, machine, libraries, distributions.

    Nothing in it changes by itself, so that runs in the same surroundings share one text. The first call of a process
    reads the index of installed distributions and asks git and ``nvidia-smi``; later ones take under a millisecond.
    """
    changing = {"imported": packages.imported(), **machine.changing()}
    return _written(json.dumps(changing, sort_keys=True), installed.state())


@functools.lru_cache(4)
def _written(changing: str, state: tuple[tuple[str, int], ...]) -> bytes:
    facts = {"format": _FORMAT, **machine.fixed(), **json.loads(changing), **packages.installed_here(state)}
    return as_json(facts).encode("utf-8", "replace")


def as_json(known: Mapping[str, Any]) -> str:
    """Facts as the text that is noted."""
    return json.dumps(known, indent=1, ensure_ascii=False)


def here() -> dict[str, Any]:
    """The facts of this process."""
    return facts(now())


def read(store: Store, digest: str) -> Environment:
    """The environment that is kept under a digest.

    Raises:
        StoreFault: there is no such object, or it is damaged.
        InvalidValue: it is no environment.
    """
    return of(facts(store.blobs.get(digest)), digest)


def of(known: Mapping[str, Any], digest: str = "") -> Environment:
    """Facts as a record."""
    imported = known.get("imported")
    python, implementation, platform, architecture = (str(known.get(name, "")) for name in TEXTS)
    return Environment(
        digest,
        python,
        implementation,
        platform,
        architecture,
        packages={str(name): str(version) for name, version in known["packages"].items()},
        imported=None if imported is None else tuple(imported),
        sources=dict(known.get("sources") or {}),
        facts=dict(known),
    )


def of_package(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The facts in a model package's manifest: its Python, and the libraries that it needs."""
    libraries = {str(name): str(version) for name, version in (manifest.get("libraries") or {}).items()}
    return {"python": str(manifest.get("python") or ""), "packages": libraries, "imported": list(libraries)}


def load(before: Mapping[str, Any]) -> None:
    """Import what brings the BLAS and OpenMP that an environment had: what is not loaded has no threads to compare.

    Only NumPy, SciPy and scikit-learn, and only where the environment had imported them.
    """
    import importlib
    import sys

    for name, module in (("numpy", "numpy"), ("scipy", "scipy.linalg"), ("scikit-learn", "sklearn.utils")):
        if before.get("libraries") and name in (before.get("imported") or ()) and module not in sys.modules:
            try:
                importlib.import_module(module)
            except Exception:  # noqa: S112  # broken here, whatever the reason: the packages' versions tell
                continue
