"""``nbmlops run export`` and ``run import``: a run as one file."""

from __future__ import annotations

from typing import Any

import click

from nbmlops.cli.options import complete_run, json_option, workspace
from nbmlops.cli.runs import run


@run.command()
@click.argument("ref", shell_complete=complete_run)
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--data", is_flag=True, help="With the data of the data sets, not only what describes them.")
@click.option("--force", is_flag=True, help="Write over a file that exists.")
@json_option
def export(ref: str, file: str, data: bool, force: bool) -> Any:
    """A run as one zip file: notebook, cells, params, metrics, artifacts, models, environment, certificate.

    \b
    nbmlops run export 4KX2Q1 fit.zip
    nbmlops run export 4KX2Q1 fit.zip --data
    """
    return workspace().capsules.export(ref, file, data=data, force=force)


@run.command("import")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Only check the file and tell what would come.")
@json_option
def import_(file: str, dry_run: bool) -> Any:
    """Take over a run that `run export` wrote, as often as you like; the file is checked as a whole first."""
    return workspace().capsules.import_(file, dry_run=dry_run)


COMMANDS = (run,)
