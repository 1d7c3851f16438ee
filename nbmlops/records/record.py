"""What all records share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


def plain(value: Any) -> Any:
    """A value as JSON can carry it: records become dicts, NaN and infinities the strings ``nan``, ``inf``, ``-inf``."""
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


@dataclass(frozen=True)
class Record:
    """Base of all records: ``to_dict()`` gives JSON-ready data, ``ref`` the reference that finds it again."""

    def to_dict(self) -> dict[str, Any]:
        """The public fields as plain, JSON-ready values."""
        return {f.name: plain(getattr(self, f.name)) for f in fields(self) if f.repr}


@dataclass(frozen=True)
class Finding(Record):
    """One answer of a check: ``pass``, ``warn`` or ``block``; what was asked, what was seen, what to do."""

    check: str
    level: str
    asked: str
    seen: str
    hint: str = ""

    @property
    def ok(self) -> bool:
        return self.level == "pass"
