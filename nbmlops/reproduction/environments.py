"""Whether what surrounded a run surrounded its clean run too."""

from __future__ import annotations

from typing import Any

from nbmlops.errors import NbmlopsError
from nbmlops.reproduction.logged import Logged
from nbmlops.runs import environment as room
from nbmlops.store import Store


def compared(store: Store, noted: str | None, after: Logged | None) -> dict[str, Any]:
    """``same`` (None where nobody knows), and the findings on what matters, the worst first.

    Args:
        store: where the blobs are.
        noted: the digest of what surrounded the run.
        after: the clean run; where there is none, what surrounds this process is taken.
    """
    if noted is None:
        return {"same": None}
    try:
        before = room.read(store, noted).facts
        now = room.read(store, after.environment).facts if after and after.environment else room.here()
    except NbmlopsError:  # damaged, or gone: told by `nbmlops store verify`
        return {"same": None}
    found = room.differences(before, now)
    return {"same": all(f.ok for f in found), "differences": [f.to_dict() for f in found if not f.ok]}
