"""The cellar: SQL rows, content-addressed blobs, the ledger and the metric journal. It knows nothing of ML."""

from __future__ import annotations

from nbmlops.store import schema
from nbmlops.store.engine import Store, open_store

__all__ = ["Store", "open_store", "schema"]
