"""``nbmlops pipeline …``, ``stage run``, ``stage show``, ``pipelines``."""

from __future__ import annotations

from typing import Any

import click

from nbmlops.cli.options import assignments, json_option, listing, params_option, workspace

_file = click.argument("file", type=click.Path(exists=True, dir_okay=False))


@click.group()
def pipeline() -> None:
    """Notebooks as stages: plan, run, look back."""


@pipeline.command()
@_file
@params_option
@click.option("--only", metavar="STAGE", help="Run this stage alone, on the latest versions of what it reads.")
@click.option("--workers", type=click.IntRange(1, 64), help="Stages of a sweep at the same time (default: cores).")
@click.option("--force", is_flag=True, help="Run every stage, whatever has been run before.")
@json_option
def run(file: str, params: tuple[str, ...], only: str | None, workers: int | None, force: bool) -> Any:
    """Execute a pipeline file; exit 1 if a stage fails or the promotion is blocked.

    \b
    nbmlops pipeline run pipeline.yaml -p month=3
    """
    return workspace().pipelines.run(file, assignments(params), force=force, only=only, workers=workers)


@pipeline.command()
@_file
@params_option
@json_option
def plan(file: str, params: tuple[str, ...]) -> Any:
    """The stages in the order in which they would run; nothing is executed."""
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
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Also write the executed notebook here.")
@json_option
def run_stage(notebook: str, params: tuple[str, ...], timeout: str | None, output: str | None) -> Any:
    """Execute one notebook with typed parameters; it is kept, pass or fail.

    \b
    nbmlops stage run train.ipynb -p max_depth=8 -o executed.ipynb
    """
    return workspace().pipelines.run_stage(notebook, assignments(params), timeout=timeout, output=output)


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
