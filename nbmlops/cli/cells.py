"""``nbmlops check``: would a clean run differ?"""

from __future__ import annotations

from typing import Any

import click

from nbmlops.cli.options import json_option, workspace
from nbmlops.errors import UsageFault


@click.command()
@click.argument("notebook", required=False, type=click.Path(dir_okay=False))
@click.option("--run", metavar="REF", help="The cells behind this run, and its notebook as it was then.")
@json_option
def check(notebook: str | None, run: str | None) -> Any:
    """Would a clean run differ, and why; exit 1 if it would.

    \b
    %mlops check                     this notebook: what ran here, against the file as it is saved
    nbmlops check train.ipynb        a saved notebook, by its cells and execution counts
    nbmlops check --run run:01J…     what ran for a run
    """
    if notebook is not None and run is not None:
        raise UsageFault(
            "a notebook and --run are two questions", "ask for one: of a run, its notebook is kept with it"
        )
    ws = workspace()
    return ws.cells.check(notebook, ws.runs.get(run).run_id if run else None)


COMMANDS = (check,)
