"""``nbmlops predict``, ``serve``, ``feedback``, ``monitor …``, ``why``."""

from __future__ import annotations

from typing import Any

import click

from nbmlops.cli.options import assignments, complete_model, json_option, listing, params_option, workspace
from nbmlops.cli.output import write


@click.command()
@click.argument("model_ref", shell_complete=complete_model)
@click.argument("input")
@click.option(
    "--out", required=True, type=click.Path(dir_okay=False), help="A new file for the predictions: .csv or .parquet."
)
@json_option
def predict(model_ref: str, input: str, out: str) -> Any:
    """Predict a file (CSV, Parquet) or a data set (dataset:NAME), recorded row by row.

    \b
    nbmlops predict churn@production customers.csv --out scores.csv
    """
    return workspace().deployments.predict(model_ref, input, out)


@click.command()
@click.argument("model_ref", shell_complete=complete_model)
@click.option(
    "--env", "environment", metavar="ENV", help="Serve the version that stands in this environment, and follow it."
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535))
@click.option("--token", envvar="NBMLOPS_TOKEN", help="Bearer token; needed unless bound to loopback (NBMLOPS_TOKEN).")
def serve(model_ref: str, environment: str | None, host: str, port: int, token: str | None) -> None:
    """Serve a model over HTTP: Open Inference Protocol v2, MLflow's /invocations, /feedback, /metrics, /docs.

    \b
    nbmlops serve churn --env production --port 8080
    """
    from nbmlops.server import serve as run_server

    run_server(workspace(), model_ref, environment=environment, host=host, port=port, token=token)


@click.command(context_settings={"ignore_unknown_options": True})  # an actual of -5 is no option
@click.argument("prediction_id")
@click.argument("actual")
def feedback(prediction_id: str, actual: str) -> Any:
    """Record what really happened for a prediction."""
    workspace().deployments.feedback(prediction_id.removeprefix("prediction:"), _value(actual))
    return f"recorded {actual} for {prediction_id}"


def _value(text: str) -> Any:
    """Text from the command line as JSON where it is JSON (numbers, true, null), else as it is."""
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text


@click.group()
def monitor() -> None:
    """Predictions against the training data: check, alerts, retrain."""


@monitor.command()
@click.argument("model_ref", shell_complete=complete_model)
@click.option("--since", help="From this time on (ISO 8601; UTC unless it says otherwise).")
@click.option("--until", help="Up to this time.")
@click.option("--retrain", is_flag=True, help="If an alert fires, run the pipeline that trained the model again.")
@params_option
@json_option
def check(model_ref: str, since: str | None, until: str | None, retrain: bool, params: tuple[str, ...]) -> Any:
    """Integrity, drift and performance of a window of predictions; exit 1 when an alert fires.

    \b
    nbmlops monitor check churn@production --since 2026-11-01
    """
    monitors = workspace().monitors
    report = monitors.check(model_ref, since, until)
    if retrain and report.alert_id:
        return monitors.act(report.alert_id, params=assignments(params) or None)
    return report


@monitor.command()
@json_option
def status() -> Any:
    """The latest reports."""
    return listing(workspace().monitors.reports(), "Monitor reports")


@monitor.command()
@click.option("--all", "all_", is_flag=True, help="Closed ones too.")
@json_option
def alerts(all_: bool) -> Any:
    """Alerts that are open."""
    return listing(workspace().monitors.alert_rows(open_only=not all_), "Alerts")


@monitor.command()
@click.argument("alert_id")
@click.option(
    "--pipeline", type=click.Path(exists=True, dir_okay=False), help="Another file than the one that trained the model."
)
@params_option
@json_option
def retrain(alert_id: str, pipeline: str | None, params: tuple[str, ...]) -> Any:
    """Answer an alert: run the training pipeline again."""
    return workspace().monitors.act(alert_id, pipeline=pipeline, params=assignments(params) or None)


@click.command()
@click.argument("ref")
@click.option("--impact", is_flag=True, help="The other way: everything that followed from it.")
@click.option(
    "--format", "format_", type=click.Choice(["html", "json", "prov", "openlineage"]), help="For others to read."
)
@click.option("-o", "--out", type=click.Path(dir_okay=False), help="Write it to this file.")
@json_option
def why(ref: str, impact: bool, format_: str | None, out: str | None) -> Any:
    """Everything behind a run, data set, model, flow, event or prediction; or what followed from it.

    \b
    nbmlops why prediction:01J…
    nbmlops why dataset:flights@3 --impact        which models and predictions came from it
    nbmlops why model:churn@production --format html -o why.html
    """
    here = workspace().lineage
    if format_ is None and out is None:
        return here.why(ref, impact=impact)
    text = here.export(ref, format_ or _format_of(out), impact=impact)
    if out is None:
        return text
    write(out, text.encode())
    return f"wrote {out}"


def _format_of(out: str | None) -> str:
    return "html" if str(out).endswith((".html", ".htm")) else "json"


COMMANDS = (predict, serve, feedback, monitor, why)
