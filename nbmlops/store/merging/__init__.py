"""Taking over the content of another store, any number of times, without duplicates.

Rows are the same if their ids are, or, where they have none, all that tells them apart. Versions whose number is taken
here get the next free one, and everything that speaks of them follows (``columns`` lists every column there is,
``numbers`` does it). Blobs come first, then all rows and the event that tells of them in one transaction: a merge that
is killed leaves nothing but blobs that nobody uses, and the next one goes on. Ledgers stay beside ours (``chains``).

What people wrote (descriptions, messages, reasons) and what is evidence (sources and outputs of cells, executed
notebooks, other stores' ledgers) stays to the letter, old numbers included.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import sqlalchemy as sa

from nbmlops.records import Merged
from nbmlops.store.blobs.transfer import BlobSource
from nbmlops.store.engine import Store
from nbmlops.store.schema import runs

__all__ = ["BlobSource", "Rows", "merge_rows", "merge_store"]

# By table name, rows as ``Store`` reads them: JSON columns as Python values, bytes as bytes. Each iterable is gone
# through several times, so it is a list, or an object whose ``__iter__`` begins anew; never a generator.
Rows: TypeAlias = Mapping[str, Iterable[Mapping[str, Any]]]


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

    Where nothing is new, there is no event either.

    Args:
        store: takes them.
        rows: by table name, rows of schema ``HEAD`` with all their columns; tables may be absent. Integer keys
            (``runs.seq``, ``keys.id``) are those of the rows' own store and only tie the rows together. A run's
            params, tags, metrics and artifacts need its row in ``runs``, their names in ``keys`` and its experiment's
            row; whatever refers to ``dataset:NAME@3`` or ``model:NAME@3`` needs that row in ``dataset_versions`` or
            ``model_versions``, for the number may be another here. Not looked at: ``meta``, ``journals``,
            ``cell_journals``, ``ledger``, ``merged_stores``, ``merged_ledger``.
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
    from nbmlops.store.merging.act import Act, Asked

    return Act(store, rows, blobs=blobs, asked=Asked(origin, user, partial, dry_run)).done()


def merge_store(
    store: Store,
    other: str | os.PathLike[str],
    *,
    artifacts: str | None = None,
    user: str = "",
    partial: bool = False,
    dry_run: bool = False,
    settle: Callable[[Store], list[str]] | None = None,
) -> Merged:
    """Take over everything another store has; see :func:`merge_rows`.

    Args:
        store: takes it.
        other: a folder, or an SQLAlchemy URL. It is not changed.
        artifacts: where the other store's blobs are, if not beside its database.
        user: who does it.
        partial: take rows also if blobs that they need are missing.
        dry_run: only tell what would come.
        settle: is given a folder's copy to fold journals in; returns in words what it has to leave out.

    Raises:
        UsageFault: it is this store.
        NotFound: there is no store.
        StoreTooNew: a newer nbmlops wrote it.
        InvalidValue: what is in it cannot be taken over; all faults are listed and nothing was written.
        Tampered: one of its ledgers is not intact, does not agree with its models, or is not a continuation of what
            was taken over before.
    """
    from nbmlops.store.merging.act import Act, Asked, refuse_itself
    from nbmlops.store.merging.source import StoreRows, opened

    refuse_itself(store, other)
    with opened(other, artifacts) as theirs:
        left_out = settle(theirs) if settle is not None and theirs.folder is not None else []
        with theirs.snapshot() as db:
            asked = Asked(_shown(theirs, other), user, partial, dry_run, (*left_out, *_unseen(theirs)))
            return Act(store, StoreRows(db), blobs=theirs.blobs, asked=asked, theirs=theirs, db=db).done()


def _unseen(theirs: Store) -> list[str]:
    """What a database server does not have: journals lie with whoever writes them."""
    if theirs.folder is not None:
        return []
    running = sa.select(sa.func.count()).select_from(runs).where(runs.c.status == "RUNNING")
    with theirs.read() as db:
        count = db.execute(running).scalar_one()
    return [f"what {count} open runs have in journals on their own machines"] if count else []


def _shown(theirs: Store, other: str | os.PathLike[str]) -> str:
    return os.path.abspath(os.fspath(other)) if theirs.folder is not None else theirs.shown_url
