"""``nbmlops pipeline …``, ``stage run``, ``stage show``, ``pipelines``."""

from __future__ import annotations

from typing import Any

import click

from nbmlops.cli.options import assignments, json_option, listing, params_option, workspace
from nbmlops.errors import InvalidValue

_file = click.argument("file", type=click.Path(exists=True, dir_okay=False))


def _how(command: Any) -> Any:
    """How a flow is run: the options that `run` and `resume` share."""
    for option in (
        click.option("--force", is_flag=True, help="Run every stage, whatever has been run before."),
        click.option("--workers", type=click.IntRange(1, 1024), help="Notebooks at the same time (default: 2)."),
        click.option("--executor", default="local", metavar="local|dask|tcp://HOST:PORT", help="Where stages run."),
    ):
        command = option(command)
    return command


def _options(how: dict[str, Any]) -> Any:
    from nbmlops.pipelines.flow import Options

    return Options(**how)


@click.group()
def pipeline() -> None:
    """Notebooks as stages: plan, run, look back."""


@pipeline.command()
@_file
@params_option
@click.option("--only", metavar="STAGE", help="Run this stage alone, on the latest versions of what it reads.")
@click.option("--from", "start", metavar="STAGE", help="Run this stage and those that come after it.")
@_how
@json_option
def run(file: str, params: tuple[str, ...], only: str | None, start: str | None, **how: Any) -> Any:
    """Execute a pipeline file; exit 1 if a stage fails or the promotion is blocked.

    Stages whose earlier results are still right are reused; --force runs them all the same.

    \b
    nbmlops pipeline run pipeline.yaml -p month=3
    """
    return workspace().pipelines.run(file, assignments(params), _options(how), only=only, start=start)


@pipeline.command()
@click.argument("flow", required=False)
@_how
@json_option
def resume(flow: str | None, **how: Any) -> Any:
    """Go on with a flow that failed or was stopped (the last one), with its values and pinned versions.

    \b
    nbmlops pipeline resume
    """
    return workspace().pipelines.resume(flow, _options(how))


@pipeline.command()
@_file
@params_option
@json_option
def plan(file: str, params: tuple[str, ...]) -> Any:
    """The stages in their order: which are fresh, which would run, and why; nothing is executed."""
    return workspace().pipelines.plan(file, assignments(params))


@pipeline.command()
@_file
def graph(file: str) -> Any:
    """The stages, and what flows between them, as text."""
    lines = []
    for stage in workspace().pipelines.plan(file).stages:
        lines.append(f"{stage.stage}  ({stage.notebook}{f', {stage.runs} candidates' if stage.runs > 1 else ''})")
        lines += [f"    <- {what}" for what in stage.reads]
        lines += [f"    -> {what}" for what in stage.writes]
    return "\n".join(lines)


@pipeline.command()
@click.argument("flow", required=False)
@json_option
def status(flow: str | None) -> Any:
    """One flow with its stages, or the latest flows."""
    pipelines = workspace().pipelines
    return pipelines.get(flow) if flow else listing(pipelines.flows(), "Flows")


@click.group()
def stage() -> None:
    """One notebook as one tracked, typed stage."""


@stage.command("run")
@click.argument("notebook", type=click.Path(exists=True, dir_okay=False))
@params_option
@click.option("--timeout", metavar="TIME", help="Stop after e.g. 90s, 20m, 2h.")
@click.option("--memory", metavar="SIZE", help="Stop when it takes more than e.g. 2GB.")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Also write the executed notebook here.")
@click.option("--force", is_flag=True, help="Run it also where its earlier result is still right.")
@json_option
def run_stage(notebook: str, params: tuple[str, ...], output: str | None, force: bool, **given: Any) -> Any:
    """Execute one notebook with typed parameters; it is kept, pass or fail.

    \b
    nbmlops stage run train.ipynb -p max_depth=8 -o executed.ipynb
    """
    from nbmlops.pipelines import limits

    found, faults = limits.read(given)
    if faults:
        raise InvalidValue.of("limits", [text for _, text in faults], "write times as 20m, sizes as 2GB")
    desk = workspace().pipelines
    return desk.run_stage(notebook, assignments(params), limits=found, output=output, force=force)


@stage.command("show")
@click.argument("notebook", type=click.Path(exists=True, dir_okay=False))
@json_option
def show_stage(notebook: str) -> Any:
    """What a notebook takes, reads, writes and depends on; it is read, and not executed.

    \b
    nbmlops stage show train.ipynb
    """
    return workspace().pipelines.show_stage(notebook)


@click.command()
@json_option
def pipelines() -> Any:
    """Short for `pipeline status`: the latest flows."""
    return listing(workspace().pipelines.flows(), "Flows")


COMMANDS = (pipeline, stage, pipelines)
