"""Model <-> files, one flavor each: it says what it takes, writes files, and loads them under a trust list.

A flavor is a module, or any object, with the functions of :class:`Flavor`. Those of nbmlops are in a table; others come
from installed packages, by the entry point group ``nbmlops.flavors``:

    [project.entry-points."nbmlops.flavors"]
    mylib = "mylib.nbmlops_flavor"
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, cast, runtime_checkable

from nbmlops.errors import InvalidValue, NotFound, Untrusted

log = logging.getLogger(__name__)


@runtime_checkable
class Flavor(Protocol):
    """How one kind of model is kept.

    A flavor may also have ``adapt(model)``, which gives an object with ``predict`` for one without. ``types_in`` tells
    what :func:`load` would build: (what it trusts, what must be named, or needs ``trust=True``). Nothing may be built,
    and no code of the package run, before that is known.
    """

    def supports(self, model: object) -> bool:
        """Whether this flavor keeps such an object, without importing anything."""
        ...

    def save(self, model: object, example: Any = None) -> dict[str, bytes]:
        """Files by names that begin with ``model.``; ``example`` has rows as the model takes them."""
        ...

    def load(self, files: Mapping[str, bytes], trusted: Iterable[str | type] = ()) -> Any:
        """The object again."""
        ...

    def types_in(self, files: Mapping[str, bytes]) -> tuple[list[str], list[str]]:
        """The types that are trusted, and the others."""
        ...


GROUP = "nbmlops.flavors"
# In the order in which they are asked. Those of ``RUNS_CODE`` can do anything when they load, and give a model back
# only with ``trust=True``; those of ``ASKED`` take one only if they are named.
FLAVORS = {
    "skops": "nbmlops.flavors.sklearn",
    "torch": "nbmlops.flavors.torch",
    "joblib": "nbmlops.flavors.joblib",
    "cloudpickle": "nbmlops.flavors.cloudpickle",
}
RUNS_CODE = ("torch", "joblib", "cloudpickle")
ASKED = ("joblib", "cloudpickle")


def flavor_of(model: object, asked: str | None = None) -> str:
    """The name of the flavor that stores this object.

    Args:
        model: the object.
        asked: this one, if it can.

    Raises:
        InvalidValue: none does, or not the one that is asked for.
        NotFound: there is no flavor of that name.
    """
    if asked is not None:
        if not _flavor(asked).supports(model):
            raise InvalidValue(
                f"the flavor {asked} does not keep {_found(model)}", "leave flavor= out, or name another"
            )
        return asked
    for name in (*(n for n in FLAVORS if n not in ASKED), *_others()):
        if _flavor(name).supports(model):
            return name
    raise InvalidValue(
        f"{_found(model)} cannot be stored as a model",
        "give a fitted scikit-learn estimator or pipeline, a torch.nn.Module, or a class derived from "
        'sklearn.base.BaseEstimator; flavor="cloudpickle" keeps anything with predict, and no environment takes that',
    )


def _found(model: object) -> str:
    kind = type(model)
    return f"the class {model.__name__}" if isinstance(model, type) else f"a {kind.__module__}.{kind.__name__}"


def adapted(model: object, asked: str | None = None) -> Any:
    """The object, or what its flavor makes of it so that it predicts."""
    adapt = getattr(_flavor(flavor_of(model, asked)), "adapt", None)
    return model if adapt is None else adapt(model)


def save(model: object, asked: str | None = None, example: Any = None) -> tuple[str, dict[str, bytes]]:
    """The flavor's name and the files that hold the model, by name.

    Raises:
        InvalidValue: no flavor takes the object, or it cannot be written.
    """
    name = flavor_of(model, asked)
    files = _flavor(name).save(model, example)
    if wrong := [file for file in files if not file.startswith("model.") or "/" in file]:
        raise InvalidValue(f"the flavor {name} writes {wrong[0]!r}", "its files are called model.…")
    return name, files


def load(flavor: str, files: Mapping[str, bytes], trusted: Iterable[str | type] = (), *, trust: bool = False) -> Any:
    """The model object from its files; nothing is built before every type in them is trusted.

    Args:
        flavor: as :func:`save` named it.
        files: by name.
        trusted: further types to allow.
        trust: run what the files hold, whatever it is: pickles, and flavors of other packages.

    Raises:
        Untrusted: the files hold types that are neither on the loader's list nor in ``trusted``, or are of a flavor
            that runs code, and ``trust`` is not given.
    """
    if not (trust is True or (flavor in FLAVORS and flavor not in RUNS_CODE)):
        what = "one that can do anything when it is loaded" if flavor in FLAVORS else "of another package's flavor"
        raise Untrusted(
            f"the model file is {what} ({flavor})",
            "if you know who wrote it: load_model(ref, trust=True), in each call",
            [f"{flavor}: anything"],
        )
    return _flavor(flavor).load(files, trusted)


def types_in(flavor: str, files: Mapping[str, bytes]) -> tuple[list[str], list[str]]:
    """The types in the files: (those the loader trusts, those :func:`load` would ask to be named)."""
    if flavor not in FLAVORS or flavor in RUNS_CODE:
        return [], [f"{flavor}: anything"]
    return _flavor(flavor).types_in(files)


def _flavor(name: str) -> Flavor:
    if name in FLAVORS:
        return cast("Flavor", importlib.import_module(FLAVORS[name]))
    others = _others()
    if name not in others:
        raise NotFound.of("model flavor", name, [*FLAVORS, *others])
    return others[name]


@functools.cache
def _others() -> dict[str, Flavor]:
    """Flavors of installed packages. A broken one is told, and stops no other; none takes the name of one of ours."""
    found: dict[str, Flavor] = {}
    for point in importlib.metadata.entry_points(group=GROUP):
        if point.name in FLAVORS:
            log.warning("%s takes the name of a flavor of nbmlops, %s, and is left out", point.value, point.name)
            continue
        try:
            loaded = point.load()
        except Exception as error:  # a package's own code, which may fail in any way
            log.warning(
                "the flavor %s (%s) cannot be used: %s: %s", point.name, point.value, type(error).__name__, error
            )
            continue
        if not isinstance(loaded, Flavor):
            log.warning("the flavor %s (%s) lacks supports, save, load or types_in", point.name, point.value)
            continue
        found[point.name] = loaded
    return found
