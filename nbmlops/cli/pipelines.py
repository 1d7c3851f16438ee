"""``nbmlops pipeline …``, ``stage run``, ``stage show``, ``pipelines``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nbmlops.cli.options import assignments, json_option, listing, params_option, workspace
from nbmlops.errors import InvalidValue

_file = click.argument("file", type=click.Path(dir_okay=False))
_out = click.option("-o", "--output", "out", type=click.Path(), help="Write there, to a file or into a folder.")


def _written(files: dict[str, str], out: str | None) -> str:
    """Where the files were written, or what they hold."""
    from nbmlops.pipelines import exports

    if out is not None:
        return "\n".join(exports.write(files, out))
    if len(files) == 1:
        return next(iter(files.values())).rstrip("\n")
    return "\n".join(f"# ---- {name}\n{text}" for name, text in files.items()).rstrip("\n")


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
@params_option
@click.option("--format", "form", type=click.Choice(["text", "mermaid", "svg"]), default="text", show_default=True)
@_out
def graph(file: str, params: tuple[str, ...], form: str, out: str | None) -> Any:
    """The stages, and what flows between them."""
    from nbmlops.pipelines.graph import draw

    drawn = draw(workspace().pipelines.plan(file, assignments(params)), form)
    return _written({f"{Path(file).stem}.{form}": drawn}, out)


@pipeline.command()
@_file
@click.option("--to", required=True, type=click.Choice(["airflow", "kubernetes", "github-actions", "docker"]))
@params_option
@click.option("--image", help="The container image that holds the project (kubernetes).")
@click.option("--schedule", metavar="CRON", help="When it runs, e.g. '0 6 * * mon-fri'.")
@click.option("--run", metavar="REF", help="Rebuild this run's environment (docker; default: the one here).")
@_out
def export(file: str, to: str, params: tuple[str, ...], out: str | None, **more: str | None) -> Any:
    """Files for another scheduler, printed or written.

    \b
    nbmlops pipeline export pipeline.yaml --to airflow -o dags/
    nbmlops pipeline export pipeline.yaml --to kubernetes --image team/flights:7 --schedule '0 6 * * *' -o k8s/
    """
    return _written(workspace().pipelines.export(file, to, assignments(params), **more), out)


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
@click.argument("notebook", type=click.Path(dir_okay=False))
@params_option
@click.option("--timeout", metavar="TIME", help="Stop after e.g. 90s, 20m, 2h.")
@click.option("--memory", metavar="SIZE", help="Stop when it takes more than e.g. 2GB.")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Also write the executed notebook here.")
@click.option("--force", is_flag=True, help="Run it also where its earlier result is still right.")
@click.option("--stage", "name", metavar="NAME", help="The stage to run, where a pipeline file is given.")
@json_option
def run_stage(notebook: str, params: tuple[str, ...], name: str | None, **given: Any) -> Any:
    """Execute one notebook, or one stage of a pipeline file, with typed parameters; it is kept, pass or fail.

    \b
    nbmlops stage run train.ipynb -p max_depth=8 -o executed.ipynb
    nbmlops stage run pipeline.yaml --stage train -p month=3
    """
    from nbmlops.pipelines import limits

    desk, output, force = workspace().pipelines, given.pop("output"), given.pop("force")
    if name is not None:
        if output or any(given.values()):
            raise click.UsageError("--timeout, --memory and --output are for a notebook, not for a stage of a file")
        return desk.run_one(notebook, name, assignments(params), force=force)
    found, faults = limits.read(given)
    if faults:
        raise InvalidValue.of("limits", [text for _, text in faults], "write times as 20m, sizes as 2GB")
    return desk.run_stage(notebook, assignments(params), limits=found, output=output, force=force)


@stage.command("show")
@click.argument("notebook", type=click.Path(dir_okay=False))
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


@click.command()
@_file
@click.option("--cron", required=True, metavar="CRON", help="When it runs, e.g. '0 6 * * mon-fri', in local time.")
@click.option("--to", type=click.Choice(["cron", "systemd"]), default="cron", show_default=True)
@params_option
@click.option("--install/--print", help="Put it there, or only show it (default).")
@click.option("--folder", type=click.Path(file_okay=False), help="Where systemd's units go (default: yours).")
def schedule(file: str, cron: str, to: str, params: tuple[str, ...], install: bool, folder: str | None) -> Any:
    """Run a pipeline at given times: a line for cron, or a timer for systemd.

    \b
    nbmlops schedule pipeline.yaml --cron '0 6 * * mon-fri' -p month=3
    nbmlops schedule pipeline.yaml --cron '*/15 * * * *' --to systemd --install
    """
    from nbmlops.pipelines import schedules

    made = workspace().pipelines.schedule(file, cron, assignments(params))
    if install:
        return schedules.install(made, to, folder)
    return made.crontab() if to == "cron" else _written(made.units(), None)


COMMANDS = (pipeline, stage, pipelines, schedule)
