"""Statistics of monitoring: drift of columns, performance with feedback, and the verdict over both."""

from __future__ import annotations

from nbmlops.stats.verdict import Limits

__all__ = ["Limits"]
