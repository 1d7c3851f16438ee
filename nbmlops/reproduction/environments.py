"""Whether what surrounded a run is what is here."""

from __future__ import annotations

from typing import Any

from nbmlops.runs import environment as room
from nbmlops.store import Store


def differences(store: Store, noted: str | None) -> dict[str, Any]:
    """``same`` (None where nothing was noted), and the findings on what matters, the worst first."""
    if noted is None:
        return {"same": None}
    found = room.differences(room.read(store, noted).facts, room.here())
    return {"same": all(f.ok for f in found), "differences": [f.to_dict() for f in found if not f.ok]}
