"""What is known of data sets: versions, profiles, differences and uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nbmlops.records.record import Record

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True)
class DatasetVersion(Record):
    """One immutable version of a data set. ``digest`` is a function of schema and values alone."""

    name: str
    version: int
    digest: str
    kind: str
    rows: int
    columns: int
    bytes: int
    schema: tuple[dict[str, Any], ...]
    message: str = ""
    source: dict[str, Any] = field(default_factory=dict)
    user: str = ""
    run_id: str | None = None
    created_at: float = 0.0
    aliases: tuple[str, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)
    new: bool = True
    format: str = field(default="parquet-1", repr=False)
    manifest: str = field(default="", repr=False)
    _desk: Any = field(default=None, repr=False, compare=False)

    @property
    def ref(self) -> str:
        return f"dataset:{self.name}@{self.version}"

    @property
    def profile(self) -> DatasetProfile | dict[str, Any]:
        """Per column: counts, nulls, distinct, min, max, mean, quantiles, histogram or top values."""
        return self._desk.profile(self)

    @property
    def known_profile(self) -> DatasetProfile | dict[str, Any] | None:
        """The profile if it is at hand; None if it would have to be made first."""
        return None if self._desk is None else self._desk.known_profile(self)

    def files(self) -> list[str]:
        """Paths or URLs of plain Parquet files, in row order, that any engine reads."""
        return self._desk.files(self)

    def uses(self) -> list[DatasetUse]:
        """Who made and who read it: runs, and models trained on it."""
        return self._desk.uses(self)

    def to_arrow(self, columns: list[str] | None = None) -> pa.Table:
        """The rows as an Arrow table."""
        return self._desk.to_arrow(self, columns)

    def to_pandas(self, columns: list[str] | None = None) -> pd.DataFrame:
        """The rows as the pandas frame that was given, dtypes and index included."""
        return self._desk.load(self.ref, columns=columns, as_="pandas")

    def diff(self, other: DatasetVersion | str, key: list[str] | str | None = None) -> DatasetDiff:
        """What changed from this version to ``other``; with ``key`` rows are matched by these columns."""
        return self._desk.diff(self, other, key=key)


@dataclass(frozen=True, eq=False)
class DatasetProfile(dict[str, Any], Record):
    """What a version's columns hold, see ``frames.profile``; a dict too, with the keys ``rows`` and ``columns``."""

    rows: int
    columns: dict[str, dict[str, Any]]
    dataset: str = ""

    def __post_init__(self) -> None:
        self.update(rows=self.rows, columns=self.columns)


@dataclass(frozen=True)
class DatasetDiff(Record):
    """What changed between two versions: schema, rows, and per column the change of its distribution.

    Rows added and removed are those of a multiset, or with a ``key`` those whose key is only in one version.
    ``rows_changed`` and ``cells_changed`` (column -> changed values) are of rows with one key, else of rows that stand
    at one place; ``examples`` show some, as ``{"change", "key" or "row", "before", "after"}``. ``renamed`` columns (old
    name -> new name) are not among those added and removed. ``columns_moved``: their order is another.
    """

    before: str
    after: str
    same: bool
    columns_added: tuple[str, ...] = ()
    columns_removed: tuple[str, ...] = ()
    types_changed: dict[str, tuple[str, str]] = field(default_factory=dict)
    rows_before: int = 0
    rows_after: int = 0
    rows_added: int = 0
    rows_removed: int = 0
    columns_changed: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows_changed: int = 0
    key: tuple[str, ...] = ()
    renamed: dict[str, str] = field(default_factory=dict)
    columns_moved: bool = False
    cells_changed: dict[str, int] = field(default_factory=dict)
    examples: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class DatasetUse(Record):
    """Somebody that made or read a version: a run (``wrote``, ``read``) or a model (``trained``)."""

    dataset: str
    by: str
    how: str
    name: str = ""
    user: str = ""
    at: float = 0.0

    @property
    def ref(self) -> str:
        return self.by
