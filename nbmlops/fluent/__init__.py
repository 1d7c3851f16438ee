"""The functions of ``import nbmlops``: each is one call to a desk, on behalf of the session. Here are those of runs."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nbmlops import session
from nbmlops.errors import InvalidValue, NotFound
from nbmlops.records import Artifact, Run
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
