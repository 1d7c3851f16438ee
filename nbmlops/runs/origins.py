"""Noting where runs come from without making them wait: looked up beside the run, joined at its end."""

from __future__ import annotations

import os
import threading
from typing import Any

import sqlalchemy as sa

from nbmlops import settings
from nbmlops.notebook import place
from nbmlops.runs import environment, origin
from nbmlops.store import Store, schema


class Origins:
    """Environment, git state and, where it needs asking for, the notebook of each run."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._threads: dict[str, threading.Thread] = {}
        self._environment: str | None = None
        self._written = b""
        self._noted: dict[str, str] = {}

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
        if "environment" in known:
            self._noted[run_id] = known["environment"]
        # A server knows the name of a notebook that was renamed while its kernel ran.
        lost = here["type"] == "notebook" and not os.path.exists(here["path"])
        nameless = lost and bool(here.get("kernel_id"))
        if {"environment", "git"} <= known.keys() and not nameless:
            return

        def look() -> None:
            values = dict(known)
            if "environment" not in known:
                found = self._noted[run_id] = self._surroundings()
                # The kernel that does the work may have been quicker, and knows better.
                values["environment"] = sa.func.coalesce(schema.runs.c.environment, found)
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
        """At a run's end: until what was being looked up is in its row, at most ten seconds; then note what was loaded.

        The surroundings are those at the end, unless somebody else has noted them since: the kernel of a stage does,
        whose run is ended by the process of the flow.
        """
        if (thread := self._threads.pop(run_id, None)) is not None:
            thread.join(timeout=10)
        if (before := self._noted.pop(run_id, None)) is not None:
            self.renew(run_id, before)

    def renew(self, run_id: str, before: str | None = None) -> None:
        """Note the surroundings of this process as a run's; with ``before`` only where that is still what is noted."""
        try:
            found = self._surroundings()
        except Exception:  # a broken installation, or a library that cannot be asked: no reason for a run not to end
            return
        if found == before:
            return
        r = schema.runs
        where = [r.c.id == run_id, *([r.c.environment == before] if before is not None else [])]
        with self._store.write() as db:
            db.execute(r.update().where(*where).values(environment=found))

    def _surroundings(self) -> str:
        """The digest of what surrounds this process now; it is kept only when it is new."""
        now = environment.now()
        if self._environment is None or now != self._written:
            self._environment, self._written = self._store.blobs.put(now), now
        return self._environment

    def _git(self, facts: dict[str, Any] | None, diff: bytes) -> dict[str, Any] | None:
        return {**facts, "diff": self._store.blobs.put(diff)} if facts and diff else facts
