"""The surroundings of a run: noted, read again, written as a lock, and compared."""

from __future__ import annotations

from nbmlops.runs.environment.differences import differences

__all__ = ["differences"]
