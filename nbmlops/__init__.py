"""MLOps from inside Jupyter. ``import nbmlops`` is light; everything loads when it is first used.

``%load_ext nbmlops`` brings the magics ``%mlops`` and ``%%mlops``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_SESSION = (
    "active_run",
    "end_run",
    "last_active_run",
    "set_experiment",
    "start_run",
    "use",
)
_FLUENT = (
    "autolog",
    "get_metric_history",
    "get_run",
    "log_artifact",
    "log_artifacts",
    "log_dict",
    "log_figure",
    "log_image",
    "log_metric",
    "log_metrics",
    "log_param",
    "log_params",
    "log_table",
    "log_text",
    "search_runs",
    "set_tag",
    "set_tags",
)
_DATA = (
    "check_dataset",
    "get_dataset",
    "load_dataset",
    "snapshot",
    "split_dataset",
)
_MODELS = (
    "approve",
    "delete_model",
    "export_model",
    "get_evidence",
    "load_model",
    "log_model",
    "monitor",
    "predict",
    "promote",
    "record_feedback",
    "register_model",
    "reject",
    "rollback",
    "why",
)
_FLOWS = ("finding", "output", "plan_pipeline", "run_pipeline", "skip")
_HOMES = {
    **dict.fromkeys(_SESSION, "nbmlops.session"),
    **dict.fromkeys(_FLUENT, "nbmlops.fluent"),
    **dict.fromkeys(_DATA, "nbmlops.fluent.data"),
    **dict.fromkeys(_MODELS, "nbmlops.fluent.models"),
    **dict.fromkeys(_FLOWS, "nbmlops.flows"),
    "NbmlopsError": "nbmlops.errors",
    "Secret": "nbmlops.secrets",
    "Workspace": "nbmlops.workspace",
}
# For those who write `import nbmlops as mlflow`: what to use in place of names that are not here.
_OF_MLFLOW = {
    "MlflowClient": "nbmlops.Workspace() has the desks .runs, .datasets, .models, .promotion and more",
    "create_experiment": "nbmlops.set_experiment(name) names the experiment, which need not exist",
    "get_tracking_uri": "the command `nbmlops store info` tells where the store is",
    "models": "nbmlops.register_model takes a signature from input_example= or training_data=",
    "pyfunc": "nbmlops.load_model(ref) gives the model, nbmlops.predict(ref, data) its predictions",
    "set_registry_uri": "models are in the same store: set NBMLOPS_STORE, or call nbmlops.use(where)",
    "set_tracking_uri": "set NBMLOPS_STORE, or call nbmlops.use(where)",
    "sklearn": "use nbmlops.autolog, log_model, register_model and load_model",
}

__all__ = [*sorted(_HOMES), "__version__"]

if TYPE_CHECKING:
    from nbmlops.errors import NbmlopsError
    from nbmlops.flows import finding, output, plan_pipeline, run_pipeline, skip
    from nbmlops.fluent import (
        autolog,
        get_metric_history,
        get_run,
        log_artifact,
        log_artifacts,
        log_dict,
        log_figure,
        log_image,
        log_metric,
        log_metrics,
        log_param,
        log_params,
        log_table,
        log_text,
        search_runs,
        set_tag,
        set_tags,
    )
    from nbmlops.fluent.data import (
        check_dataset,
        get_dataset,
        load_dataset,
        snapshot,
        split_dataset,
    )
    from nbmlops.fluent.models import (
        approve,
        delete_model,
        export_model,
        get_evidence,
        load_model,
        log_model,
        monitor,
        predict,
        promote,
        record_feedback,
        register_model,
        reject,
        rollback,
        why,
    )
    from nbmlops.secrets import Secret
    from nbmlops.session import active_run, end_run, last_active_run, set_experiment, start_run, use
    from nbmlops.workspace import Workspace


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        instead = f": {_OF_MLFLOW[name]}" if name in _OF_MLFLOW else ""
        raise AttributeError(f"module 'nbmlops' has no attribute {name!r}{instead}")
    import importlib

    value = getattr(importlib.import_module(home), name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


def load_ipython_extension(ipython: Any) -> None:
    """``%load_ext nbmlops``: the magics, the rich display of records, and knowing which cell is running."""
    from nbmlops import extension

    extension.load(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """``%unload_ext nbmlops``."""
    from nbmlops import extension

    extension.unload(ipython)
