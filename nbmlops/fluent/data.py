"""The functions of data sets."""

from __future__ import annotations

from typing import Any

from nbmlops.records import ContractReport, DatasetVersion
from nbmlops.session import workspace


def snapshot(
    data: Any,
    name: str,
    message: str | None = None,
    contract: Any = None,
    labels: Any = None,
    *,
    tags: dict[str, Any] | None = None,
) -> DatasetVersion:
    """Keep a version of a data set: a pandas, Polars or Arrow frame, a CSV or Parquet file, or a folder of files.

    The same content as the latest version gives that version back and writes nothing; of other content only what the
    latest version does not hold is written.

    Args:
        data: the frame, or the path of a file or folder.
        name: the data set's name.
        message: why this version was made.
        contract: what the data must be like: a YAML file, a dict or a pandera schema; a violation can refuse it.
        labels: of a folder, a table with a column of paths, or ``"folders"`` for the names of its subfolders.
        tags: labels of the version.

    Raises:
        InvalidValue: data that cannot be kept exactly, with every column and value that stands in the way.
        ContractViolated: the contract refuses the data; no version is made.
    """
    return workspace().datasets.snapshot(data, name, message, contract=contract, labels=labels, tags=tags)


def load_dataset(ref: str, columns: list[str] | None = None, as_: str = "pandas", *, filters: Any = None) -> Any:
    """The data of ``NAME``, ``NAME@VERSION`` or ``NAME@ALIAS``, as it was given.

    Inside a pipeline a name without version means the version that the flow pinned.

    Args:
        ref: the data set.
        columns: the columns to load, in this order; all by default.
        as_: ``pandas``, ``polars``, ``arrow``, ``duckdb`` or ``dask``.
        filters: the rows to load: ``[("month", "==", 3), …]``, which must all hold.
    """
    return workspace().datasets.load(ref, columns, as_, filters=filters)


def get_dataset(ref: str) -> DatasetVersion:
    """The record of a data set version: ``.digest .rows .schema .profile .files() .to_arrow() .diff(other)``."""
    return workspace().datasets.get(ref)


def split_dataset(
    ref: str,
    parts: dict[str, float | int],
    by: str = "random",
    column: str | None = None,
    *,
    seed: int = 0,
    together: tuple[str, ...] = (),
) -> dict[str, DatasetVersion]:
    """Divide a version into parts that share no row, each a version of ``NAME-PART`` that remembers its parent.

    ``by`` is ``random``, ``stratified``, ``time`` or ``group``; all but the first need a ``column``.
    """
    return workspace().datasets.split(ref, parts, by=by, column=column, seed=seed, together=together)


def check_dataset(ref: str, contract: Any) -> ContractReport:
    """Hold a version to a contract: all violations at once, with examples of rows."""
    return workspace().datasets.check(ref, contract)
