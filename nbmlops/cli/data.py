"""``nbmlops dataset …``, ``datasets``."""

from __future__ import annotations

from typing import Any

import click

from nbmlops.cli.options import complete_dataset, json_option, listing, workspace


@click.group()
def dataset() -> None:
    """Data sets: snapshot, show, compare, export, verify."""


@dataset.command()
@click.argument("path", type=click.Path(exists=True))
@click.option("-n", "--name", required=True, help="The data set's name.")
@click.option("-m", "--message", help="What is new in this version.")
@json_option
def snapshot(path: str, name: str, message: str | None) -> Any:
    """Keep a CSV or Parquet file, or a folder of files, as a version of a data set.

    \b
    nbmlops dataset snapshot sales.csv --name sales -m "October added"
    """
    return workspace().datasets.snapshot(path, name, message)


@dataset.command("list")
@json_option
def list_() -> Any:
    """Every data set with its latest version."""
    return listing(workspace().datasets.list(), "Data sets")


@dataset.command()
@click.argument("ref", shell_complete=complete_dataset)
@json_option
def show(ref: str) -> Any:
    """One version: schema, size, who made it, and from where."""
    return workspace().datasets.get(ref)


@dataset.command()
@click.argument("ref", shell_complete=complete_dataset)
@json_option
def versions(ref: str) -> Any:
    """All versions of a data set."""
    return listing(workspace().datasets.versions(ref.removeprefix("dataset:")), f"Versions of {ref}")


@dataset.command()
@click.argument("before", shell_complete=complete_dataset)
@click.argument("after", shell_complete=complete_dataset)
@json_option
def diff(before: str, after: str) -> Any:
    """What changed between two versions."""
    datasets = workspace().datasets
    return datasets.diff(datasets.get(before), datasets.get(after))


@dataset.command()
@click.argument("ref", shell_complete=complete_dataset)
@click.argument("folder", type=click.Path(file_okay=False))
def export(ref: str, folder: str) -> Any:
    """Write a version as plain Parquet files (or its files) into a folder."""
    workspace().datasets.export(ref, folder)
    return f"wrote {ref} to {folder}"


@dataset.command()
@click.argument("ref", required=False, shell_complete=complete_dataset)
@json_option
def verify(ref: str | None) -> Any:
    """Re-hash what is stored, of one version or of all; exit 1 if something is not what was written."""
    return listing(workspace().datasets.verify(ref), "Verification")


@click.command()
@json_option
def datasets() -> Any:
    """Short for `dataset list`."""
    return listing(workspace().datasets.list(), "Data sets")


COMMANDS = (dataset, datasets)
