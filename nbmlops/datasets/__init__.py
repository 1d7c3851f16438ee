"""Data sets: immutable, numbered snapshots of frames and folders, found again by content.

A version's digest is a function of schema and values alone. Taking a snapshot of what the latest version already holds
gives that version; nothing is written. Rows lie in chunks that versions share; a manifest blob lists them beside the
schema and what Parquet cannot say about dtypes.
"""

from __future__ import annotations

from nbmlops.datasets.catalogue import Reference
from nbmlops.datasets.quality import Quality

__all__ = ["Datasets", "Reference"]


class Datasets(Quality):
    """The desk of data sets, built up by what it does: finding (``catalogue``), reading, keeping, judging."""
