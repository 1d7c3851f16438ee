"""The functions of ``import nbmlops``: each is one call to a desk, on behalf of the session."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nbmlops import session
from nbmlops.errors import InvalidValue, NotFound
from nbmlops.records import (
    Artifact,
    ContractReport,
    DatasetVersion,
    Event,
    Lineage,
    ModelVersion,
    MonitorReport,
    Predictions,
    Promotion,
    Run,
)
from nbmlops.session import live, workspace

if TYPE_CHECKING:
    import pandas as pd


def log_metric(key: str, value: float, step: int | None = None, timestamp: int | None = None) -> None:
    """Log one point of a metric. Costs microseconds; others see it within a second; a SIGKILL loses nothing.

    Args:
        key: its name, any printable text.
        value: a number; NaN and infinities are kept and marked.
        step: a whole number that orders the points; 0 when left out, as in MLflow.
        timestamp: milliseconds since 1970; now when left out.

    Raises:
        InvalidValue: the value is no number, the step no whole number, the key not printable.
    """
    live().log_metric(key, value, step, None if timestamp is None else timestamp / 1000)


def log_metrics(metrics: dict[str, float], step: int | None = None) -> None:
    """Log one point of several metrics; none is logged if one is wrong. See :func:`log_metric`."""
    live().log_metrics(metrics, step)


def log_param(key: str, value: Any) -> Any:
    """Log a parameter and return its value. Logging it again replaces it and keeps the old value in the history."""
    return live().log_param(key, value)


def log_params(params: dict[str, Any]) -> None:
    """Log several parameters; none is logged if one is wrong."""
    live().log_params(params)


def set_tag(key: str, value: Any) -> None:
    """Set a tag of the active run; the last value counts."""
    live().set_tag(key, value)


def set_tags(tags: dict[str, Any]) -> None:
    """Set several tags of the active run."""
    live().set_tags(tags)


def log_text(text: str, artifact_file: str) -> Artifact:
    """Keep text with the active run under a relative path such as ``notes.txt``."""
    if not isinstance(text, str):
        raise InvalidValue(
            f"log_text keeps text, not {type(text).__name__}", "use log_dict, log_table, log_figure or log_artifact"
        )
    kind = "text/plain" if str(artifact_file).endswith(".txt") else None
    return live().log_artifact(artifact_file, text.encode(), kind)


def log_dict(dictionary: Mapping[str, Any] | list[Any], artifact_file: str) -> Artifact:
    """Keep a dictionary or list as JSON, or as YAML if the path ends in ``.yaml`` or ``.yml``."""
    import json

    if str(artifact_file).endswith((".yaml", ".yml")):
        import yaml

        text = yaml.safe_dump(json.loads(json.dumps(dictionary, default=str)), sort_keys=False, allow_unicode=True)
    else:
        text = json.dumps(dictionary, indent=2, default=str, ensure_ascii=False)
    return live().log_artifact(artifact_file, text.encode())


def log_figure(figure: Any, artifact_file: str = "figure.png", **save_options: Any) -> Artifact:
    """Keep a matplotlib figure (or a plotly one as HTML); the path's suffix decides the format: png, svg, pdf, html.

    Raises:
        InvalidValue: the object is no figure that can be saved.
    """
    if hasattr(figure, "savefig"):
        buffer = io.BytesIO()
        suffix = Path(artifact_file).suffix.lstrip(".") or "png"
        figure.savefig(buffer, format=suffix, **{"bbox_inches": "tight", **save_options})
        return live().log_artifact(artifact_file, buffer.getvalue())
    if hasattr(figure, "to_html"):
        return live().log_artifact(artifact_file, figure.to_html().encode(), "text/html")
    raise InvalidValue(
        f"{type(figure).__name__} is not a figure", "give a matplotlib figure (plt.gcf()) or a plotly one"
    )


def log_image(image: Any, artifact_file: str = "image.png") -> Artifact:
    """Keep an image: a PIL image, or a NumPy array of height x width, or x 3 or 4 channels.

    Floats run from 0 to 1, integers from 0 to 255.
    """
    from PIL import Image

    if not hasattr(image, "save"):
        import numpy as np

        pixels = np.asarray(image)
        if pixels.ndim not in {2, 3} or (pixels.ndim == 3 and pixels.shape[2] not in {1, 3, 4}):
            raise InvalidValue(
                f"an array of shape {pixels.shape} is no image", "give height x width, or height x width x 3"
            )
        if pixels.dtype.kind == "f":
            pixels = np.clip(np.rint(np.nan_to_num(pixels) * 255), 0, 255)
        image = Image.fromarray(pixels.astype(np.uint8).squeeze())
    buffer = io.BytesIO()
    image.save(buffer, format=(Path(artifact_file).suffix.lstrip(".") or "png").replace("jpg", "jpeg"))
    return live().log_artifact(artifact_file, buffer.getvalue())


def log_table(data: Any, artifact_file: str) -> Artifact:
    """Keep a table: a frame or a dictionary of columns, as Parquet, CSV or JSON by the path's suffix.

    A JSON table that is there already grows by these rows, as in MLflow.
    """
    import pandas as pd

    run = live()
    frame = (
        data
        if isinstance(data, pd.DataFrame)
        else data.to_pandas()
        if hasattr(data, "to_pandas")
        else pd.DataFrame(data)
    )
    suffix = Path(artifact_file).suffix
    if suffix == ".parquet":
        return run.log_artifact(artifact_file, frame.to_parquet())
    if suffix == ".csv":
        return run.log_artifact(artifact_file, frame.to_csv(index=False).encode(), "text/csv")
    if suffix != ".json":
        raise InvalidValue(
            f"a table cannot be kept as {suffix or 'a file without suffix'}", "end the path in .parquet, .csv or .json"
        )
    runs = workspace().runs
    if artifact_file in {a.path for a in runs.artifacts(run.run_id)}:
        held = pd.read_json(io.BytesIO(runs.artifact(run.run_id, artifact_file)), orient="split")
        frame = pd.concat([held, frame], ignore_index=True)
    return run.log_artifact(artifact_file, frame.to_json(orient="split", index=False).encode())


def log_artifact(local_path: str | os.PathLike[str], artifact_path: str | None = None) -> Artifact | list[Artifact]:
    """Keep a file (or a folder of files) with the active run, in the folder ``artifact_path`` if given.

    Raises:
        NotFound: there is no such file.
    """
    path = Path(local_path)
    if path.is_dir():
        return log_artifacts(path, f"{artifact_path}/{path.name}" if artifact_path else path.name)
    if not path.is_file():
        raise NotFound(f"no file {str(local_path)!r}", f"the working directory is {os.getcwd()}")
    target = f"{artifact_path.rstrip('/')}/{path.name}" if artifact_path else path.name
    return workspace().runs.put_artifact(live().run_id, target, path)


def log_artifacts(local_dir: str | os.PathLike[str], artifact_path: str | None = None) -> list[Artifact]:
    """Keep every file of a folder; links that lead out of it are not followed."""
    root = Path(local_dir)
    if not root.is_dir():
        raise NotFound(f"no folder {str(local_dir)!r}", f"the working directory is {os.getcwd()}")
    base = f"{artifact_path.rstrip('/')}/" if artifact_path else ""
    files = sorted(p for p in root.rglob("*") if p.is_file() and not p.is_symlink())
    run_id = live().run_id
    return [workspace().runs.put_artifact(run_id, f"{base}{p.relative_to(root).as_posix()}", p) for p in files]


def autolog(disable: bool = False, *, log_models: bool = False, child_runs: bool = False) -> None:
    """Log every scikit-learn fit in the active run: estimator, parameters, training score, seconds.

    Args:
        disable: stop doing so.
        log_models: also keep the fitted model with the run.
        child_runs: a child run for each candidate of a search (GridSearchCV and its kin).
    """
    from nbmlops.runs import autolog as automatic

    if disable:
        automatic.uninstall()
    else:
        automatic.install(automatic.Options(log_models=log_models, child_runs=child_runs), session.AutologTarget())


def get_run(run_id: str) -> Run:
    """A run by its id (a unique part is enough), with ``.params .metrics .tags .artifacts``.

    Raises:
        NotFound: no run answers to it.
    """
    return workspace().runs.get(run_id)


def get_metric_history(run_id: str, key: str) -> pd.DataFrame:
    """All points of a metric in logging order: columns ``step``, ``timestamp`` (UTC), ``value``."""
    return workspace().runs.metric_history(run_id, key)


def search_runs(
    experiment_names: Sequence[str] | None = None,
    filter_string: str = "",
    order_by: list[str] | str | None = None,
    max_results: int = 100_000,
    *,
    experiment_ids: Sequence[str] | None = None,
    output_format: Literal["pandas", "list"] = "pandas",
    search_all_experiments: bool = False,
    run_view_type: Any = None,
) -> Any:
    """Runs as a DataFrame with ``params.*``, ``metrics.*`` and ``tags.*`` columns; the newest first unless ordered.

    Args:
        experiment_names: only these experiments; names, or ids as MLflow has them.
        filter_string: for example ``metrics.rmse < 1 AND params.model = 'tree' AND tags.team LIKE 'vis%'``.
        order_by: for example ``["metrics.rmse ASC"]``.
        max_results: at most so many.
        experiment_ids: the same as ``experiment_names``.
        output_format: ``pandas``, or ``list`` for a list of :class:`nbmlops.records.Run`.
        search_all_experiments: look in all experiments, not only in the one of :func:`set_experiment`.
        run_view_type: accepted for MLflow's sake; deleted runs are never listed.

    Raises:
        InvalidValue: the filter or order does not follow the grammar; says where.
    """
    wanted = (
        [*(experiment_names or []), *(experiment_ids or [])]
        if not isinstance(experiment_names, str)
        else [experiment_names]
    )
    if not wanted and not search_all_experiments and (current := session.experiment_name()) is not None:
        wanted = [current]
    runs = workspace().runs
    if output_format == "list":
        return runs.search(wanted or None, filter_string, order_by, max_results)
    return runs.frame(wanted or None, filter_string, order_by, max_results)


# --- data ---------------------------------------------------------------------------------------------------------
def snapshot(
    data: Any,
    name: str,
    message: str | None = None,
    contract: Any = None,
    labels: Any = None,
    *,
    tags: dict[str, Any] | None = None,
) -> DatasetVersion:
    """Keep a version of a data set: a pandas, Polars or Arrow frame, a CSV or Parquet file, or a folder of files.

    The same content as the latest version gives that version back and writes nothing; of other content only what the
    latest version does not hold is written.

    Args:
        data: the frame, or the path of a file or folder.
        name: the data set's name.
        message: why this version was made.
        contract: what the data must be like: a YAML file, a dict or a pandera schema; a violation can refuse it.
        labels: of a folder, a table with a column of paths, or ``"folders"`` for the names of its subfolders.
        tags: labels of the version.

    Raises:
        InvalidValue: data that cannot be kept exactly, with every column and value that stands in the way.
        ContractViolated: the contract refuses the data; no version is made.
    """
    return workspace().datasets.snapshot(data, name, message, contract=contract, labels=labels, tags=tags)


def load_dataset(ref: str, columns: list[str] | None = None, as_: str = "pandas", *, filters: Any = None) -> Any:
    """The data of ``NAME``, ``NAME@VERSION`` or ``NAME@ALIAS``, as it was given.

    Inside a pipeline a name without version means the version that the flow pinned.

    Args:
        ref: the data set.
        columns: the columns to load, in this order; all by default.
        as_: ``pandas``, ``polars``, ``arrow``, ``duckdb`` or ``dask``.
        filters: the rows to load: ``[("month", "==", 3), …]``, which must all hold.
    """
    return workspace().datasets.load(ref, columns, as_, filters=filters)


def get_dataset(ref: str) -> DatasetVersion:
    """The record of a data set version: ``.digest .rows .schema .profile .files() .to_arrow() .diff(other)``."""
    return workspace().datasets.get(ref)


def split_dataset(
    ref: str,
    parts: dict[str, float | int],
    by: str = "random",
    column: str | None = None,
    *,
    seed: int = 0,
    together: tuple[str, ...] = (),
) -> dict[str, DatasetVersion]:
    """Divide a version into parts that share no row, each a version of ``NAME-PART`` that remembers its parent.

    ``by`` is ``random``, ``stratified``, ``time`` or ``group``; all but the first need a ``column``.
    """
    return workspace().datasets.split(ref, parts, by=by, column=column, seed=seed, together=together)


def check_dataset(ref: str, contract: Any) -> ContractReport:
    """Hold a version to a contract: all violations at once, with examples of rows."""
    return workspace().datasets.check(ref, contract)


# --- models -------------------------------------------------------------------------------------------------------
def log_model(model: Any, name: str, input_example: Any = None, *, training_data: Any = None) -> ModelVersion:
    """Keep a fitted model with the active run, without registering it; the rest as in :func:`register_model`."""
    if session.current_context().run_id is None:
        live()
    return workspace().models.log(model, name, input_example=input_example, training_data=training_data)


def register_model(
    model_or_ref: Any,
    name: str,
    alias: str | None = None,
    description: str | None = None,
    *,
    input_example: Any = None,
    training_data: Any = None,
    certify: bool = False,
) -> ModelVersion:
    """Register a fitted model, or a run's logged one (``run:ID``), as the next version of ``name``.

    The signature comes from ``training_data``, else from ``input_example``, else from what the model was fitted on,
    else from data the run read.

    Args:
        model_or_ref: the fitted model, or a reference to one that a run has logged.
        name: the model's name; its versions are counted.
        alias: a label that moves to this version.
        description: a few words, kept with the version.
        input_example: some rows as ``predict`` gets them.
        training_data: a frame, ``(X, y)`` or a data set's reference; also gives the profile that monitoring needs.
        certify: execute the run again in a fresh kernel, as it is so far, and keep the certificate.

    Raises:
        InvalidValue: the model or its inputs cannot be described; says what is missing.
    """
    version = workspace().models.register(
        model_or_ref, name, alias, description, input_example=input_example, training_data=training_data
    )
    return workspace().reproduction.certify(version, now=True) if certify else version


def load_model(ref: str, trusted: Sequence[str] = ()) -> Any:
    """The model of ``NAME@VERSION`` or ``NAME@ALIAS``; ``trusted`` names further types to allow in this call.

    Raises:
        Untrusted: the package holds types that are not on the allow-list; nothing of it was built.
    """
    return workspace().models.load(ref, trusted=tuple(trusted))


def promote(ref: str, to: str, reason: str, rules: Sequence[str] = ()) -> Promotion:
    """Move a model version to an environment (``staging``, ``production``) through its tests, rules and approval.

    Raises:
        Blocked: a check refused; nothing has changed, every finding is listed.
    """
    return workspace().promotion.promote(ref, to, reason, rules=tuple(rules))


def approve(ref: str, to: str, reason: str) -> Promotion:
    """Complete an open approval; the model version then stands in the environment."""
    return workspace().promotion.approve(ref, to, reason)


def reject(ref: str, to: str, reason: str) -> Promotion:
    """End an open approval without moving anything."""
    return workspace().promotion.reject(ref, to, reason)


def rollback(name: str, environment: str, reason: str) -> Promotion:
    """Bring back the model version that stood in the environment before."""
    return workspace().promotion.rollback(name, environment, reason)


def delete_model(ref: str, reason: str) -> Event:
    """Take a version out of use: it can be neither loaded nor promoted; what it did stays readable.

    Raises:
        UsageFault: it stands in an environment.
    """
    return workspace().promotion.delete(ref, reason)


# --- inference and monitoring -------------------------------------------------------------------------------------
def predict(ref: str, data: Any, out: str | None = None) -> Predictions:
    """Predict with a registered model and record it; every row gets a ``prediction_id``."""
    return workspace().deployments.predict(ref, data, out)


def record_feedback(prediction_id: str, actual: Any) -> None:
    """Record what really happened for a prediction."""
    workspace().deployments.feedback(prediction_id, actual)


def monitor(ref: str, since: Any = None, until: Any = None) -> MonitorReport:
    """Compare a window of recorded predictions with the model's training profile."""
    return workspace().monitors.check(ref, since, until)


def why(ref: str) -> Lineage:
    """Everything behind a run, data set, model, flow or prediction, back to the cells and data that made it."""
    return workspace().lineage.why(ref)
