"""scikit-learn estimators and pipelines, kept by skops: no pickle, and every type is judged before it is built."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

from nbmlops.errors import CheckFailed, InvalidValue, NbmlopsError, Untrusted
from nbmlops.flavors import inspection, soundness

FILE = "model.skops"


def supports(model: object) -> bool:
    """Whether the object is a scikit-learn estimator (an instance, not a class)."""
    from sklearn.base import BaseEstimator

    return isinstance(model, BaseEstimator)


def save(model: object, _example: Any = None) -> dict[str, bytes]:
    """The files of a package: ``{"model.skops": bytes}``.

    Raises:
        InvalidValue: the model is not fitted, or holds something that skops cannot write.
    """
    import skops.io
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    name = type(model).__name__
    try:
        check_is_fitted(model)
    except NotFittedError as error:
        raise InvalidValue(f"this {name} is not fitted", "call fit() before you register it") from error
    except TypeError as error:
        raise InvalidValue(f"{name} is no estimator: {error}", "register an object with fit and predict") from error
    try:
        # Uncompressed on purpose: a file that cannot grow when it is read needs no trust in its own figures.
        return {FILE: skops.io.dumps(model, compression=zipfile.ZIP_STORED)}
    except Exception as error:  # anything a user's object may raise while it is taken apart
        raise InvalidValue(
            f"skops cannot store this {name}: {type(error).__name__}: {error}",
            "lambdas, local functions, open files and Birch cannot be stored; use a named function or another step",
        ) from error


def types_in(files: Mapping[str, bytes]) -> tuple[list[str], list[str]]:
    """The types in a package: (those :func:`load` builds, those it refuses unless they are named)."""
    return inspection.asked_types(files[FILE])


def load(files: Mapping[str, bytes], trusted: Iterable[str | type] = ()) -> Any:
    """The model object, built only after every type in the file was found trusted.

    Raises:
        Untrusted: the file holds types that are neither on the loader's list nor named in ``trusted``.
        CheckFailed: the types are fine, and the installed libraries cannot rebuild the object.
    """
    import skops.io

    data = files.get(FILE, b"")  # a package without it is no archive either, and refused as such
    fine, refused = inspection.asked_types(data, _names(trusted))
    if refused:
        raise Untrusted(
            f"the model file holds {len(refused)} type{'s' * (len(refused) > 1)} that the loader does not trust: "
            f"{', '.join(refused)}",
            f"if you know what they do: load_model(ref, trusted={tuple(refused)!r})",
            refused,
        )
    try:
        model = skops.io.load(io.BytesIO(data), trusted=fine)
        soundness.check_indices(model)
    except NbmlopsError:
        raise
    except Exception as error:  # other versions of libraries, or a damaged table, fail in any way they like
        raise CheckFailed(
            f"the model file cannot be rebuilt: {type(error).__name__}: {error}",
            "install the versions in the package's requirements.txt, or register the model again",
        ) from error
    return model


def _names(trusted: Iterable[str | type]) -> list[str]:
    """Names as given; one name may come without its tuple. Wildcards and ``True`` are no names.

    Raises:
        InvalidValue: something else than full names or types.
    """
    given = [trusted] if isinstance(trusted, str | type) else trusted
    if isinstance(given, bool) or not isinstance(given, Iterable):
        raise InvalidValue(f"trusted={trusted!r} names no type", 'give full names: trusted=("package.module.Type",)')
    names = [f"{t.__module__}.{t.__qualname__}" if isinstance(t, type) else t for t in given]
    faults = [f"{n!r} is not a full name" for n in names if not isinstance(n, str) or "." not in n or "*" in n]
    if faults:
        raise InvalidValue.of("trusted", faults, 'give full names: trusted=("package.module.Type",)')
    return names
