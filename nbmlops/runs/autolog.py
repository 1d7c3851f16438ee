"""Autolog for scikit-learn: every outermost ``fit`` is logged with its parameters, training score and seconds.

``fit`` and its kin are wrapped on every estimator class that is loaded, and on those that are defined later, whatever
library they come from; ``uninstall`` puts them back. A fit inside a fit (a pipeline's steps, a search's candidates, an
ensemble's trees) is never logged by itself, not even in another thread: joblib's workers know that they are nested,
while threads of the user's own each have an outermost fit.
"""

from __future__ import annotations

import functools
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from nbmlops.errors import NbmlopsError

if TYPE_CHECKING:
    from nbmlops.runs.live import LiveRun

METHODS = ("fit", "fit_transform", "fit_predict")
_MAX_PARAMS = 100
_MAX_SCORED_ROWS = 20_000  # scoring may cost far more than fitting (nearest neighbours, kernel machines)


@dataclass(frozen=True)
class Options:
    """``log_models``: keep each fitted model; ``child_runs``: a nested run for each candidate of a search."""

    log_models: bool = False
    child_runs: bool = False


class Target(Protocol):
    """Where autolog logs to, and who remembers what a model was fitted on."""

    def current(self) -> LiveRun | None: ...
    def begin(self, name: str, nested: bool) -> Any: ...
    def remember(self, model: object, data: object, run_id: str | None) -> None: ...
    def keep_model(self, model: object, name: str, data: object) -> None: ...


class _Installed:
    def __init__(self) -> None:
        self.options = Options()
        self.target: Target | None = None
        self.originals: dict[tuple[type, str], Callable[..., Any]] = {}
        self.hooked = False
        self.outer: set[int] = set()  # threads in the middle of an outermost fit


_here = _Installed()


def install(options: Options, target: Target) -> None:
    """Wrap the estimators' fit methods; calling it again only changes the options."""
    _here.options, _here.target = options, target
    if _here.hooked:
        return
    from sklearn.base import BaseEstimator

    todo = [BaseEstimator]
    while todo:
        cls = todo.pop()
        _wrap(cls)
        todo += cls.__subclasses__()

    def also_later(cls: type, **kwargs: Any) -> None:
        super(BaseEstimator, cls).__init_subclass__(**kwargs)
        _wrap(cls)

    BaseEstimator.__init_subclass__ = classmethod(also_later)  # type: ignore[assignment]
    _here.hooked = True


def _wrap(cls: type) -> None:
    for method in METHODS:
        original = cls.__dict__.get(method)
        if callable(original) and (cls, method) not in _here.originals:
            _here.originals[cls, method] = original
            setattr(cls, method, _wrapped(original))


def uninstall() -> None:
    """Put every fit method back."""
    for (cls, method), original in _here.originals.items():
        setattr(cls, method, original)
    _here.originals.clear()
    if _here.hooked:
        from sklearn.base import BaseEstimator

        del BaseEstimator.__init_subclass__
        _here.hooked = False


def installed() -> bool:
    """Whether fits are being logged."""
    return _here.hooked


def _wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def fit(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _is_inner():
            return original(self, *args, **kwargs)
        me = threading.get_ident()
        _here.outer.add(me)
        began = time.perf_counter()
        try:
            result = original(self, *args, **kwargs)
            seconds = time.perf_counter() - began
            _log(self, args, kwargs, seconds)
            return result
        finally:
            _here.outer.discard(me)

    return fit


def _is_inner() -> bool:
    """Whether this fit happens inside another one: in the same thread, or in a worker of joblib's."""
    if not _here.outer:
        return False
    if threading.get_ident() in _here.outer:
        return True
    from joblib.parallel import get_active_backend

    return (get_active_backend()[0].nesting_level or 0) > 0


def _log(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], seconds: float) -> None:
    """Autolog never breaks a fit: what goes wrong here is said once, and the model is returned all the same."""
    target = _here.target
    if target is None:
        return
    try:
        x = args[0] if args else kwargs.get("X")
        y = args[1] if len(args) > 1 else kwargs.get("y")
        own = None
        live = target.current()
        if live is None:
            own = target.begin(type(model).__name__, False)
            live = target.current()
        target.remember(model, x, live.run_id if live is not None else None)
        if live is not None:
            _log_fit(live, model, x, y, seconds, kwargs.get("sample_weight"))
            _log_search(live, target, model)
            if _here.options.log_models:
                target.keep_model(model, type(model).__name__, x)
        if own is not None:
            own.__exit__(None, None, None)
    except (NbmlopsError, OSError, ValueError, TypeError, AttributeError) as error:
        warnings.warn(f"nbmlops could not log this fit: {error}", stacklevel=4)


def _log_fit(live: LiveRun, model: Any, x: Any, y: Any, seconds: float, weight: Any) -> None:
    live.log_params(_params(model))
    live.set_tags(
        {"estimator_name": type(model).__name__, "estimator_class": f"{type(model).__module__}.{type(model).__name__}"}
    )
    metrics = {"fit_seconds": seconds}
    score = _score(model, x, y, weight)
    if score is not None:
        metrics["training_score"] = score
    live.log_metrics(metrics)


def _params(model: Any) -> dict[str, Any]:
    """Parameters as text; nested estimators by name, with their own parameters beside them."""
    found = {}
    for name, value in list(model.get_params(deep=True).items())[:_MAX_PARAMS]:
        text = type(value).__name__ if hasattr(value, "get_params") else value
        if not isinstance(text, str | int | float | bool | type(None)):
            text = " ".join(repr(value).split())
        found[name] = text[:500] if isinstance(text, str) else text
    return found


def _score(model: Any, x: Any, y: Any, weight: Any) -> float | None:
    """The estimator's own score on the training data (at most 20,000 rows of it), or None if it has none."""
    if not hasattr(model, "score") or x is None or not hasattr(x, "shape") or not hasattr(model, "predict"):
        return None
    if weight is not None or (y is None and getattr(model, "_estimator_type", "") in {"classifier", "regressor"}):
        return None
    rows = x.shape[0]
    if rows > _MAX_SCORED_ROWS:
        x = x[:_MAX_SCORED_ROWS] if not hasattr(x, "iloc") else x.iloc[:_MAX_SCORED_ROWS]
        y = y if y is None else (y[:_MAX_SCORED_ROWS] if not hasattr(y, "iloc") else y.iloc[:_MAX_SCORED_ROWS])
    try:
        return float(model.score(x) if y is None else model.score(x, y))
    except (ValueError, TypeError, AttributeError, NotImplementedError):  # some estimators have a score that needs more
        return None


def _log_search(live: LiveRun, target: Target, model: Any) -> None:
    """The best candidate of a search; each candidate as a child run only when asked."""
    results = getattr(model, "cv_results_", None)
    if not isinstance(results, dict) or "params" not in results:
        return
    if getattr(model, "best_params_", None):
        live.log_params({f"best_{k}": v for k, v in model.best_params_.items()})
        live.log_metric("best_cv_score", float(model.best_score_))
    if not _here.options.child_runs:
        return
    for place, candidate in enumerate(results["params"]):
        child = target.begin(f"candidate {place}", True)
        child._live.log_params(
            {k: v if isinstance(v, str | int | float | bool | type(None)) else str(v) for k, v in candidate.items()}
        )
        scores = {k: float(v[place]) for k, v in results.items() if k.startswith(("mean_", "std_", "rank_"))}
        child._live.log_metrics(scores)
        child.__exit__(None, None, None)
