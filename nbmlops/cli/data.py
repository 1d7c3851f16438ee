"""``nbmlops dataset …``, ``datasets``."""

from __future__ import annotations

from typing import Any

import click

from nbmlops.cli.options import assignments, complete_dataset, json_option, listing, workspace


def _columns(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    """``a,b`` as names."""
    return tuple(n.strip() for n in value.split(",") if n.strip()) if value else ()


@click.group()
def dataset() -> None:
    """Data sets: snapshot, show, compare, split, check, export, verify."""


@dataset.command()
@click.argument("path", type=click.Path(exists=True))
@click.option("-n", "--name", required=True, help="The data set's name.")
@click.option("-m", "--message", help="What is new in this version.")
@click.option("--contract", metavar="FILE", help="Refuse, or warn of, data that violates this contract (YAML).")
@click.option(
    "--labels", metavar="FILE", help="Of a folder: a CSV or Parquet file with a column of paths, or `folders`."
)
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="A tag; may be given several times.")
@json_option
def snapshot(
    path: str, name: str, message: str | None, contract: str | None, labels: str | None, tags: tuple[str, ...]
) -> Any:
    """Keep a CSV or Parquet file, or a folder of files, as a version of a data set.

    \b
    nbmlops dataset snapshot sales.csv --name sales -m "October added"
    nbmlops dataset snapshot photos/ --name pets --labels folders
    """
    more = {"contract": contract, "labels": labels, "tags": assignments(tags)}
    return workspace().datasets.snapshot(path, name, message, **more)  # type: ignore[arg-type]


@dataset.command("list")
@click.argument("words", nargs=-1)
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="Only with this tag.")
@json_option
def list_(words: tuple[str, ...], tags: tuple[str, ...]) -> Any:
    """Every data set with its latest version; WORDS are looked for in names, messages, authors, sources and columns."""
    return listing(workspace().datasets.list(" ".join(words), assignments(tags)), "Data sets")


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
@click.argument("ref", shell_complete=complete_dataset)
@json_option
def profile(ref: str) -> Any:
    """What each column holds: missing and distinct values, extremes, averages, frequent values."""
    return workspace().datasets.profile(ref)


@dataset.command()
@click.argument("ref", shell_complete=complete_dataset)
@json_option
def uses(ref: str) -> Any:
    """Which runs made or read a version, and which models were trained on it."""
    return listing(workspace().datasets.uses(ref), f"Uses of {ref}")


@dataset.command()
@click.argument("ref", shell_complete=complete_dataset)
@click.argument("tags", nargs=-1, required=True, metavar="NAME=VALUE…")
@json_option
def tag(ref: str, tags: tuple[str, ...]) -> Any:
    """Set tags of a version; an empty value removes one."""
    return workspace().datasets.tag(ref, {k: v or None for k, v in assignments(tags).items()})


@dataset.command()
@click.argument("before", shell_complete=complete_dataset)
@click.argument("after", shell_complete=complete_dataset)
@click.option("--key", callback=_columns, metavar="COLUMNS", help="Match rows by these columns, as in `--key id`.")
@json_option
def diff(before: str, after: str, key: tuple[str, ...]) -> Any:
    """What changed between two versions."""
    return workspace().datasets.diff(before, after, key=key or None)


@dataset.command()
@click.argument("ref", shell_complete=complete_dataset)
@click.option("--parts", required=True, metavar="NAME=SHARE,…", help="Shares or numbers of rows: train=0.8,test=0.2")
@click.option("--by", type=click.Choice(["random", "stratified", "time", "group"]), default="random", show_default=True)
@click.option("--column", help="The class, time or group that --by needs.")
@click.option("--seed", default=0, show_default=True)
@click.option("--together", callback=_columns, metavar="COLUMNS", help="Rows equal in these stay in one part.")
@json_option
def split(ref: str, parts: str, by: str, column: str | None, seed: int, together: tuple[str, ...]) -> Any:
    """Divide a version into parts that share no row, each a data set NAME-PART that remembers its parent.

    \b
    nbmlops dataset split flights@3 --parts train=0.7,test=0.2,monitor=0.1 --by time --column time_hour
    """
    from nbmlops.frames.splits import parse_parts

    made = workspace().datasets.split(ref, parse_parts(parts), by=by, column=column, seed=seed, together=together)
    return listing(list(made.values()), f"Parts of {ref}")


@dataset.command()
@click.argument("ref", shell_complete=complete_dataset)
def contract(ref: str) -> Any:
    """Print a contract that a version keeps, as YAML to start from.

    \b
    nbmlops dataset contract sales > contracts/sales.yaml
    """
    return workspace().datasets.infer_contract(ref).to_yaml().rstrip()


@dataset.command()
@click.argument("ref", shell_complete=complete_dataset)
@click.option("--contract", "rules", required=True, metavar="FILE", help="The contract, YAML or FILE.py:NAME.")
@json_option
def check(ref: str, rules: str) -> Any:
    """Hold a version to a contract; exit 1 if it is refused."""
    return workspace().datasets.check(ref, rules)


@dataset.command()
@click.argument("ref", shell_complete=complete_dataset)
@click.option("--columns", callback=_columns, help="Look at these columns only.")
@json_option
def duplicates(ref: str, columns: tuple[str, ...]) -> Any:
    """Rows that are there more than once."""
    return workspace().datasets.duplicates(ref, columns or None)


@dataset.command()
@click.argument("train", shell_complete=complete_dataset)
@click.argument("other", shell_complete=complete_dataset)
@click.option("--label", help="The column with the class: equal rows with another class are told apart.")
@click.option("--ignore", callback=_columns, metavar="COLUMNS", help="Leave these out, such as an id.")
@json_option
def leakage(train: str, other: str, label: str | None, ignore: tuple[str, ...]) -> Any:
    """Rows of a training set that stand in another set too; exit 1 if there are any."""
    return workspace().datasets.leakage(train, other, label=label, ignore=ignore)


@dataset.command()
@click.argument("ref", shell_complete=complete_dataset)
@click.option("--label", required=True, help="The column with the class.")
@click.option("--features", callback=_columns, metavar="COLUMNS", help="Judge by these columns; by default all others.")
@json_option
def labels(ref: str, label: str, features: tuple[str, ...]) -> Any:
    """Rows whose label is probably wrong, by cross-validated confidence."""
    return workspace().datasets.labels(ref, label, features or None)


@dataset.command()
@click.argument("ref", shell_complete=complete_dataset)
@click.argument("folder", type=click.Path(file_okay=False))
def export(ref: str, folder: str) -> Any:
    """Write a version as plain Parquet files (or its files) into a folder, with Croissant metadata."""
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
