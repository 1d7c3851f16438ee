"""Noting where runs come from without making them wait: looked up beside the run, joined at its end."""

from __future__ import annotations

import threading
from typing import Any

from nbmlops import settings
from nbmlops.notebook import place
from nbmlops.runs import origin
from nbmlops.store import Store, schema


class Origins:
    """Environment, git state and, where it needs asking for, the notebook of each run."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._threads: dict[str, threading.Thread] = {}
        self._environment: str | None = None

    def known(self, here: dict[str, Any]) -> dict[str, Any]:
        """Columns of the run's row, as far as an earlier run of this process has just looked them up."""
        found: dict[str, Any] = {}
        if self._environment is not None:
            found["environment"] = self._environment
        if "cwd" not in here or not settings.value("git"):
            found["git"] = None
        elif (held := origin.cached_git(here["cwd"])) is not None:
            found["git"] = self._git(*held)
        return found

    def note(self, run_id: str, here: dict[str, Any], known: dict[str, Any]) -> None:
        """Look up what is not known yet, on a thread of its own: git and packages take longer than a run may."""
        nameless = here["type"] == "notebook" and not here["path"] and bool(here.get("kernel_id"))
        if {"environment", "git"} <= known.keys() and not nameless:
            return

        def look() -> None:
            values = dict(known)
            if "environment" not in known:
                self._environment = self._environment or self._store.blobs.put(origin.environment())
                values["environment"] = self._environment
            if "git" not in known:
                values["git"] = self._git(*origin.git(here["cwd"]))
            if nameless and (path := place.ask_servers(here["kernel_id"])):
                values["source"] = {**here, "path": path}
            with self._store.write() as db:
                db.execute(schema.runs.update().where(schema.runs.c.id == run_id).values(**values))

        thread = threading.Thread(target=look, name="nbmlops-origin", daemon=True)
        self._threads[run_id] = thread
        thread.start()

    def wait(self, run_id: str) -> None:
        """Until what was being looked up for a run is in its row, at most ten seconds."""
        if (thread := self._threads.pop(run_id, None)) is not None:
            thread.join(timeout=10)

    def _git(self, facts: dict[str, Any] | None, diff: bytes) -> dict[str, Any] | None:
        return {**facts, "diff": self._store.blobs.put(diff)} if facts and diff else facts
