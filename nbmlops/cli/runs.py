"""``nbmlops run …``, ``runs``, ``experiments``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nbmlops.cli.options import complete_run, json_option, listing, workspace
from nbmlops.cli.output import write
from nbmlops.errors import UsageFault


@click.group()
def run() -> None:
    """Tracked runs: find, show, compare, reproduce, delete."""


@run.command("list")
@click.option("-e", "--experiment", multiple=True, help="Only this experiment; may be given several times.")
@click.option(
    "-f", "--filter", "filter_", default="", help="For example: \"metrics.rmse < 1 AND params.model = 'tree'\"."
)
@click.option("-o", "--order-by", multiple=True, help='For example: "metrics.rmse ASC".')
@click.option("-n", "--limit", default=50, show_default=True, help="At most so many.")
@json_option
def list_(experiment: tuple[str, ...], filter_: str, order_by: tuple[str, ...], limit: int) -> Any:
    """The latest runs, or those that fulfil a filter.

    \b
    nbmlops run list -f "metrics.roc_auc > 0.7" -o "metrics.roc_auc DESC"
    """
    return listing(workspace().runs.search(list(experiment) or None, filter_, list(order_by), limit), "Runs")


@run.command()
@click.argument("ref", shell_complete=complete_run)
@click.option(
    "--html", type=click.Path(dir_okay=False), help="Write the executed notebook of a stage as HTML to this file."
)
@click.option("--artifact", metavar="PATH", help="Write this artifact to --out (default: its own name).")
@click.option("--out", type=click.Path(), help="Where the artifact goes.")
@json_option
def show(ref: str, html: str | None, artifact: str | None, out: str | None) -> Any:
    """One run with everything it logged. A unique part of the id is enough."""
    runs = workspace().runs
    record = runs.get(ref)
    if html:
        from nbmlops.reports import notebook_html

        page = notebook_html(runs.artifact(record.run_id, "executed.ipynb"), title=record.name)
        write(html, page.encode())
        return f"wrote {html}"
    if artifact:
        target = Path(out or Path(artifact).name)
        write(target, runs.artifact(record.run_id, artifact))
        return f"wrote {target}"
    return record


@run.command("export-notebook")
@click.argument("ref", shell_complete=complete_run)
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--force", is_flag=True, help="Write over a file that exists.")
def export_notebook(ref: str, file: str, force: bool) -> Any:
    """Write the cells behind a run as an executed notebook, in the order in which they really ran."""
    ws = workspace()
    record = ws.runs.get(ref)
    if Path(file).exists() and not force:
        raise UsageFault(f"{file} exists already", "choose another name, or give --force")
    write(file, ws.cells.export(record.run_id))
    return f"wrote {file}"


@run.command()
@click.argument("refs", nargs=-1, required=True, shell_complete=complete_run)
@click.option("--all", "all_", is_flag=True, help="Also what is the same in all of them.")
@json_option
def compare(refs: tuple[str, ...], all_: bool) -> Any:
    """Several runs side by side: the parameters, metrics and data sets that differ."""
    records = [workspace().runs.get(ref) for ref in refs]
    titles = [r.name if len({x.name for x in records}) == len(records) else r.short_id for r in records]
    rows = []
    for part in ("params", "metrics"):
        for key in dict.fromkeys(k for r in records for k in getattr(r, part)):
            rows.append([f"{part}.{key}", *(getattr(r, part).get(key) for r in records)])
    rows.append(["data sets", *(", ".join(r.datasets) for r in records)])
    shown = [row for row in rows if all_ or len({str(value) for value in row[1:]}) > 1]
    return listing([dict(zip(("what", *titles), row, strict=True)) for row in shown], "Differences")


@run.command("env")
@click.argument("ref", shell_complete=complete_run)
@click.option("-o", "--out", type=click.Path(dir_okay=False), help="Write it to this file.")
@click.option("--format", "format_", type=click.Choice(["pip", "json"]), default="pip", show_default=True)
def env(ref: str, out: str | None, format_: str) -> Any:
    """The environment of a run or model version as a lock for pip: every distribution exactly; or all its facts.

    \b
    nbmlops run env 4KX2Q1 -o requirements.lock
    pip install --no-deps -r requirements.lock
    """
    from nbmlops.runs import environment

    found = workspace().environment(ref)
    text = environment.lock(found.facts) if format_ == "pip" else environment.as_json(found.facts)
    if out is None:
        return text.removesuffix("\n")
    write(out, text.encode())
    return f"wrote {len(found.packages)} distributions to {out}"


@run.command()
@click.argument("ref", shell_complete=complete_run)
@click.option(
    "-o", "--out", required=True, type=click.Path(dir_okay=False), help="The notebook, or pipeline file, to write."
)
@click.option("--snapshots", is_flag=True, help="Turn reads of files into snapshots.")
@click.option("--pipeline", is_flag=True, help="Cut it into stages; --out is then the pipeline file.")
@click.option("--no-prove", is_flag=True, help="Do not run it.")
@click.option("--force", is_flag=True, help="Write over what is there.")
@json_option
def extract(ref: str, out: str, snapshots: bool, pipeline: bool, no_prove: bool, force: bool) -> Any:
    """The minimal cells behind a run, model, figure or metric, as a stage notebook that is proved by running it.

    \b
    nbmlops run extract run:01J… -o stage.ipynb
    nbmlops run extract run:01J…/figures/1.png -o figure.ipynb
    nbmlops run extract model:churn@3 -o pipeline.yaml --pipeline

    Exit code 1 if a clean run gives something else, or fails; the notebook is written all the same.
    """
    from nbmlops.extraction import Wish

    wish = Wish(snapshots=snapshots, pipeline=pipeline, prove=not no_prove, force=force)
    return workspace().extraction.extract(ref, out=out, wish=wish)


@run.command()
@click.argument("ref", shell_complete=complete_run)
def delete(ref: str) -> Any:
    """Hide a run from every list; its rows and files stay in the store."""
    record = workspace().runs.delete(ref)
    return f"deleted run {record.name} ({record.run_id})"


@run.command()
@click.argument("ref", shell_complete=complete_run)
@click.option("--tolerance", type=float, default=0.0, show_default=True, help="Relative; 0 is equal to the last bit.")
@click.option(
    "--how",
    type=click.Choice(["notebook", "journal"]),
    help="Of a live session: its notebook from top to bottom (default), or all cells in the order in which they ran.",
)
@json_option
def reproduce(ref: str, tolerance: float, how: str | None) -> Any:
    """Execute a run, or a model's run, in a fresh kernel, compare, and keep a certificate; exit 1 if it differs.

    \b
    nbmlops run reproduce 01J8…
    nbmlops run reproduce model:churn@3 --tolerance 1e-9
    """
    here = workspace()
    if here.context().reproducing:
        return "left out: this is a clean run already"
    return here.reproduction.reproduce(ref, tolerance=tolerance, how=how)


runs = click.Command("runs", params=list_.params, callback=list_.callback, help="Short for `run list`.")


@click.command()
@json_option
def experiments() -> Any:
    """All experiments and how many runs they have."""
    return listing(workspace().runs.experiments(), "Experiments")


COMMANDS = (run, runs, experiments)
