"""Whether a run's Python and packages are those that are here."""

from __future__ import annotations

import json
from typing import Any

from nbmlops.runs import origin
from nbmlops.store import Store

_FACTS = ("python", "implementation", "platform", "machine")


def differences(store: Store, noted: str | None) -> dict[str, Any]:
    """``same`` (None where nothing was noted), and what differs: ``{"python": [before, now], "packages": {name: …}}``.

    What was installed since counts for nothing: the run did not have it.
    """
    if noted is None:
        return {"same": None}
    before, now = json.loads(store.blobs.get(noted)), json.loads(origin.environment())
    found: dict[str, Any] = {k: [before.get(k), now.get(k)] for k in _FACTS if before.get(k) != now.get(k)}
    was, has = before.get("packages", {}), now.get("packages", {})
    if packages := {name: [was[name], has.get(name)] for name in was if was[name] != has.get(name)}:
        found["packages"] = packages
    return {"same": not found, **found}
