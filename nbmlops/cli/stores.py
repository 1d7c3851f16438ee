"""``nbmlops store …``, ``doctor``, ``init``, ``completion``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from nbmlops.cli.options import json_option, workspace


@click.group()
def store() -> None:
    """Where everything is kept."""


@store.command()
@json_option
def info() -> Any:
    """The store, what is in it, and each setting with its origin."""
    return workspace().info()


@store.command()
def migrate() -> Any:
    """Bring the schema up to date (opening a store does this too)."""
    info = workspace().info()
    return f"{info.url} is up to date: schema {info.schema}"


@store.command()
@click.argument("file", type=click.Path(dir_okay=False))
def backup(file: str) -> Any:
    """Write the database and all blobs of a folder store into one zip file, while others go on working."""
    from nbmlops.store.backup import write_backup

    count, size = write_backup(workspace().store, Path(file))
    return f"wrote {count} files, {size / 1e6:.1f} MB, to {file}"


@store.command()
@click.option("--grace", default="24h", show_default=True, help="Keep what was stored or wanted within: 2h, 30m, 7d.")
@click.option("--delete", is_flag=True, help="Delete; without it, only tell what would be deleted.")
@json_option
def gc(grace: str, delete: bool) -> Any:
    """What no version, run or model needs any more; --delete deletes it, safely while others go on working."""
    from nbmlops.store.gc import collect, seconds

    return collect(workspace().store, grace=seconds(grace), delete=delete)


@store.command()
@click.argument("other")
@click.option("--artifacts", help="Where the other store's files are, if not beside its database.")
@click.option("--partial", is_flag=True, help="Take what is there also if files are missing.")
@click.option("--dry-run", is_flag=True, help="Only tell what would come.")
@json_option
def merge(other: str, artifacts: str | None, partial: bool, dry_run: bool) -> Any:
    """Take over all that the store OTHER (a folder or URL) has, any number of times; OTHER is not changed."""
    return workspace().merge(other, artifacts=artifacts, partial=partial, dry_run=dry_run)


@store.command()
@json_option
def verify() -> Any:
    """Hash every stored object again; exit 1 if one is damaged or missing, with what needs it."""
    from nbmlops.store.verify import verify as verify_store

    return verify_store(workspace().store)


@click.command()
@click.option(
    "--against",
    metavar="REF",
    help="Instead: how this environment differs from that of a run, a model version or a lock file; exit 1 if a "
    "difference may change results.",
)
@json_option
def doctor(against: str | None) -> Any:
    """What is wrong here, and how to mend it; exit 1 if something is."""
    from nbmlops.doctor import diagnose

    return workspace().check_environment(against) if against else diagnose()


@click.command()
@click.argument("folder", default=".", type=click.Path(file_okay=False))
def init(folder: str) -> Any:
    """A project to start from: notebooks, pipeline, CI and Dockerfile. Nothing that exists is overwritten."""
    from nbmlops.templates import write_project

    written = write_project(Path(folder))
    there = "" if Path(folder).samefile(Path.cwd()) else f"cd {shlex.quote(folder)} && "
    return "\n".join([*(f"  {name}" for name in written), f"next: {there}nbmlops pipeline run pipeline.yaml"])


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> Any:
    """Print the completion script for a shell.

    \b
    eval "$(nbmlops completion bash)"        in ~/.bashrc
    """
    from click.shell_completion import get_completion_class

    from nbmlops.cli import entry

    kind = get_completion_class(shell)
    return kind(entry, {}, "nbmlops", "_NBMLOPS_COMPLETE").source() if kind else ""


COMMANDS = (store, doctor, init, completion)
