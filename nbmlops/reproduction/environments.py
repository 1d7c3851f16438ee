"""Whether a run and its clean run had the same Python, packages and machine."""

from __future__ import annotations

from typing import Any

from nbmlops.errors import NbmlopsError
from nbmlops.records import plain
from nbmlops.reproduction.logged import Logged
from nbmlops.runs import environment
from nbmlops.store import Store


def compared(store: Store, noted: str | None, after: Logged | None) -> dict[str, Any]:
    """``same``, and ``findings``: what differs, the worst first, as plain findings. ``same`` is None if nobody knows.

    Args:
        store: where the blobs are.
        noted: the digest of what surrounded the run.
        after: the clean run; without one this process's surroundings are taken.
    """
    if noted is None:
        return {"same": None}
    if after is not None and after.environment == noted:
        return {"same": True, "findings": []}
    try:
        before = environment.read(store, noted).facts
        now = environment.read(store, after.environment).facts if after and after.environment else environment.here()
    except NbmlopsError:  # damaged, or gone: told by `nbmlops store verify`
        return {"same": None}
    return {"same": not (found := environment.differences(before, now)), "findings": plain(found)}
