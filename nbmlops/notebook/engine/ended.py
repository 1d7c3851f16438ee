"""Why a notebook did not go on."""

from __future__ import annotations

import re
from typing import Any

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Ended(Exception):
    """The notebook cannot go on. ``status`` says why, ``error`` as :class:`nbmlops.notebook.job.Outcome` has it."""

    def __init__(self, status: str, name: str, message: str, traceback: list[str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.error: dict[str, Any] = {
            "name": name,
            "message": message,
            "traceback": [ANSI.sub("", line) for line in traceback or []],
        }


class Skipped(Exception):
    """The notebook ended itself with ``nbmlops.skip``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
