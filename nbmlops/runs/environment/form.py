"""The form of a noted environment: what is read from a store or a capsule is checked before anything relies on it."""

from __future__ import annotations

import json
from typing import Any

from nbmlops.errors import InvalidValue

TEXTS = ("python", "implementation", "platform", "machine")
_MAPS = ("packages", "sources", "records", "variables", "build", "os", "cpu")
_LISTS = ("libraries", "gpus")


def facts(blob: bytes | str) -> dict[str, Any]:
    """The facts of a noted environment, also of one that an earlier version noted, which has fewer.

    Raises:
        InvalidValue: it is no environment; naming every fault.
    """
    try:
        found = json.loads(blob)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InvalidValue("this is no environment: it is not a JSON object", "name a run, a model version or a lock")
    faults = [f"{name!r} is missing" for name in ("python", "packages") if name not in found]
    faults += [f"{name!r} is no text" for name in TEXTS if not isinstance(found.get(name, ""), str)]
    faults += [f"{name!r} is no mapping" for name in _MAPS if not isinstance(found.get(name, {}), dict)]
    faults += [f"{name!r} is no list" for name in _LISTS if not _listed(found.get(name, []), dict)]
    faults += ["'imported' is no list of names"] if not _listed(found.get("imported") or [], str) else []
    if isinstance(found.get("sources"), dict) and not _listed(list(found["sources"].values()), dict):
        faults.append("'sources' holds something that is no mapping")
    if faults:
        raise InvalidValue.of("the environment", faults, "use that of another run, or of this process")
    return found


def _listed(value: Any, kind: type) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, kind) for item in value)
