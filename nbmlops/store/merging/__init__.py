"""Taking over the content of another store, any number of times, without duplicates."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeAlias

from nbmlops.records import Merged
from nbmlops.store.engine import Store

# By table name, rows as ``Store`` reads them: JSON columns as Python values, bytes as bytes. Each iterable is gone
# through several times, so it is a list, or an object whose ``__iter__`` begins anew; never a generator.
Rows: TypeAlias = Mapping[str, Iterable[Mapping[str, Any]]]


class BlobSource(Protocol):
    """Where the bytes come from: another store's ``Blobs``, or an archive. ``digest`` is ``sha256:…``."""

    def has(self, digest: str) -> bool:
        """Whether it is there."""

    def size(self, digest: str) -> int:
        """Its number of bytes."""

    def get(self, digest: str) -> bytes:
        """Its bytes; checked once more by whoever takes them."""

    def save(self, digest: str, path: str | os.PathLike[str]) -> None:
        """Write its bytes to a file in bounded memory."""


def merge_rows(
    store: Store,
    rows: Rows,
    *,
    blobs: BlobSource,
    origin: str,
    user: str = "",
    partial: bool = False,
    dry_run: bool = False,
) -> Merged:
    """Take over rows and the blobs they need: blobs first, then all rows and one event in one transaction.

    Args:
        store: takes them.
        rows: by table name, rows of schema ``HEAD`` with all their columns; tables may be absent. Integer keys
            (``runs.seq``, ``keys.id``) are those of the rows' own store and only tie the rows together. A run's
            params, tags, metrics and artifacts need its row in ``runs`` and their names in ``keys``; whatever refers to
            ``dataset:NAME@3`` or ``model:NAME@3`` needs that row in ``dataset_versions`` or ``model_versions``, for the
            number may be another here. Not looked at: ``meta``, ``journals``, ``cell_journals``, ``ledger``,
            ``merged_stores``, ``merged_ledger``.
        blobs: has what the rows name.
        origin: where they come from, in words; kept in the event.
        user: who does it; kept in the event.
        partial: take rows also if blobs that they need are missing.
        dry_run: only tell what would come; nothing is written.

    Raises:
        InvalidValue: rows are not what a store of this schema holds, or blobs are missing; all faults are listed and
            nothing was written.
        BlobCorrupt: a blob has not the content that its name promises; no row was written.
    """
    raise NotImplementedError
