"""Reviews: what an environment's tests found of a version, as an executed notebook and as a page, kept in the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from nbmlops import clock
from nbmlops.context import ContextSource
from nbmlops.errors import NbmlopsError, NotFound
from nbmlops.records import Finding, ModelVersion, Review, StageRun, plain
from nbmlops.store import Store, ledger, schema
from nbmlops.store.engine import lock_ledger
from nbmlops.store.told import REVIEWED

if TYPE_CHECKING:
    from collections.abc import Sequence

Notebooks = Callable[[str, Mapping[str, Any]], StageRun]
"""Executes a notebook with parameters, as a stage; StageFailed if it ended with an error."""

NOTEBOOK = Path(__file__).with_name("review.ipynb")
R = schema.reviews


class Reviews:
    """Writing and reading them. ``notebooks`` executes them; without it none is written."""

    def __init__(self, store: Store, context: ContextSource, notebooks: Notebooks | None = None) -> None:
        self.store = store
        self.context = context
        self.notebooks = notebooks

    def write(
        self, version: ModelVersion, environment: str, findings: Sequence[Finding], reason: str = ""
    ) -> Review | Finding:
        """Execute the review notebook over what was found; where that fails, a finding."""
        asked = "the review notebook is written"
        if self.notebooks is None:
            return Finding("review", "warn", asked, "no notebook can be executed here", "promote from a workspace")
        row = {
            "id": clock.new_id(), "name": version.name, "version": version.version, "environment": environment,
            "status": "blocked" if any(f.level == "block" for f in findings) else "passed",
            "findings": plain(list(findings)), "notebook": "", "page": None,
            "user": self.context().user, "at": clock.now(),
        }  # fmt: skip
        with self.store.write() as db:
            db.execute(R.insert(), row)
        try:
            executed = self.notebooks(str(NOTEBOOK), {"review_id": row["id"], "reason": reason}).executed
            page = self._page(executed, f"{version.ref} for {environment}") if executed else None
        except NbmlopsError as error:
            with self.store.write() as db:
                db.execute(R.delete().where(R.c.id == row["id"]))
            return Finding("review", "warn", asked, error.message, error.hint)
        files = {"notebook": executed or "", "page": page}
        with self.store.write() as db:
            lock_ledger(db)
            db.execute(R.update().where(R.c.id == row["id"]).values(**files))
            told = {"review": row["id"], "environment": environment, "status": row["status"], **files}
            ledger.append(db, type=REVIEWED, subject=version.ref, user=str(row["user"]), data=told)
        return _review({**row, **files})

    def _page(self, executed: str, title: str) -> str:
        from nbmlops.reports import notebook_html

        return self.store.blobs.put(notebook_html(self.store.blobs.get(executed), title, code=False).encode())

    def of(self, version: ModelVersion, environment: str | None = None) -> list[Review]:
        """Reviews of a version, the newest first."""
        query = sa.select(R).where(R.c.name == version.name, R.c.version == version.version)
        if environment is not None:
            query = query.where(R.c.environment == environment)
        with self.store.read() as db:
            return [_review(dict(row)) for row in db.execute(query.order_by(R.c.at.desc(), R.c.id.desc())).mappings()]

    def get(self, review_id: str) -> Review:
        """One review.

        Raises:
            NotFound: there is none with this id.
        """
        with self.store.read() as db:
            row = db.execute(sa.select(R).where(R.c.id == review_id)).mappings().first()
        if row is None:
            raise NotFound(f"there is no review {review_id!r}", "nbmlops model review REF shows those of a version")
        return _review(dict(row))

    def page(self, review: Review) -> bytes:
        """The review as one HTML file.

        Raises:
            NotFound: its notebook was not written.
        """
        if review.page is None:
            raise NotFound(f"review {review.review_id} has no page", "promote the version again")
        return self.store.blobs.get(review.page)


def _review(row: dict[str, Any]) -> Review:
    kept = ("version", "environment", "status", "notebook", "page", "user", "at")
    findings = tuple(Finding(**f) for f in row["findings"])
    return Review(row["id"], row["name"], findings=findings, **{k: row[k] for k in kept})
