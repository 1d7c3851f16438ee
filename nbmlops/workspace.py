"""A workspace holds the desks over one store. Each desk is made, and its libraries loaded, when first used."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbmlops import clock, settings
from nbmlops.context import Context, ContextSource, hostname, who
from nbmlops.errors import NotFound
from nbmlops.records import Environment, EnvironmentCheck, Event, Merged, StageRun, StoreInfo
from nbmlops.store import Store, open_store, schema
from nbmlops.store import ledger as chain

if TYPE_CHECKING:
    from nbmlops.announcements import Announcements
    from nbmlops.capsules import Capsules
    from nbmlops.cells import Cells
    from nbmlops.datasets import Datasets
    from nbmlops.deployments import Deployments
    from nbmlops.dossiers import Dossiers
    from nbmlops.evidence import Evidences
    from nbmlops.exporting import Exports
    from nbmlops.extraction import Extraction
    from nbmlops.identities import Identities
    from nbmlops.lineage import Lineages
    from nbmlops.models import Fitted, Models
    from nbmlops.monitors import Monitors
    from nbmlops.pipelines import Pipelines
    from nbmlops.promotion import Promotion
    from nbmlops.reproduction import Reproduction
    from nbmlops.runs import Runs


class Workspace:
    """``Workspace("folder")``, with its desks: runs, cells, datasets, models, promotion, deployments and so on.

    Args:
        store: an open store, a folder, an SQLAlchemy URL, or None for the settings' default.
        context: who acts; by default the user of this process.
        fitted: finds the data a model was last fitted on, and the run, when somebody remembers them.
    """

    def __init__(
        self,
        store: Store | str | os.PathLike[str] | None = None,
        context: ContextSource | None = None,
        fitted: Fitted | None = None,
    ) -> None:
        self.store = store if isinstance(store, Store) else open_store(store)
        self.context = context or _default_context
        self._fitted = fitted
        self.store.after_events = self._announce

    def _announce(self) -> None:
        from nbmlops import announcements

        announcements.told(self.store)

    @cached_property
    def announcements(self) -> Announcements:
        from nbmlops.announcements import Announcements, sinks

        return Announcements(self.store, sinks.read())

    @cached_property
    def identities(self) -> Identities:
        from nbmlops.identities import Identities

        return Identities(self.store, self.context)

    @cached_property
    def runs(self) -> Runs:
        from nbmlops.runs import Runs

        return Runs(self.store, self.context)

    @cached_property
    def cells(self) -> Cells:
        from nbmlops.cells import Cells

        return Cells(self.store)

    @cached_property
    def datasets(self) -> Datasets:
        from nbmlops.datasets import Datasets

        return Datasets(self.store, self.context, self.runs)

    @cached_property
    def models(self) -> Models:
        from nbmlops.models import Models, unknown_fit

        return Models(self.store, self.context, self.runs, self.datasets, fitted=self._fitted or unknown_fit)

    @cached_property
    def evidence(self) -> Evidences:
        from nbmlops.evidence import Evidences

        return Evidences(self.store, self.context, self.models, self.runs)

    @cached_property
    def exports(self) -> Exports:
        from nbmlops.exporting import Exports

        return Exports(self.store, self.models, self.evidence)

    @cached_property
    def promotion(self) -> Promotion:
        from nbmlops.promotion import Promotion

        return Promotion(
            self.store, self.context, self.models, self.runs, evidence=self.evidence, notebooks=self._execute
        )

    def _execute(self, notebook: str, params: Mapping[str, Any]) -> StageRun:
        """Execute a notebook that judges a version, or shows what was found."""
        return self.pipelines.run_stage(notebook, params, force=True, progress=False)

    @cached_property
    def deployments(self) -> Deployments:
        from nbmlops.deployments import Deployments

        return Deployments(self.store, self.context, self.models)

    @cached_property
    def pipelines(self) -> Pipelines:
        from nbmlops.pipelines import Pipelines

        return Pipelines(self.store, self.context, self.runs, self.datasets, self.models, self.promotion)

    @cached_property
    def monitors(self) -> Monitors:
        from nbmlops.monitors import Monitors

        return Monitors(self.store, self.context, self.models, self.deployments, self.pipelines, self.runs)

    @cached_property
    def lineage(self) -> Lineages:
        from nbmlops.lineage import Lineages

        return Lineages(self.store, self.runs, self.datasets, self.models, self.deployments)

    def environment(self, ref: str) -> Environment:
        """What surrounded a run, or the run that a model version came from; or what a lock file holds.

        A model version of no run has a little of it in its package: Python, and the libraries that it needs.

        Raises:
            NotFound: no such run, model version or file; or nothing was noted.
            InvalidValue: the file is no lock.
        """
        from nbmlops.runs import environment as room

        if not ref.startswith(("run:", "runs:", "model:", "models:")) and os.path.isfile(ref):
            return room.of(room.read_lock_file(ref))
        if ref.startswith(("model:", "models:")) or "@" in ref:
            version = self.models.get(ref)
            if version.run_id is None:
                return room.of(room.of_package(self.models.manifest(version)))
            ref = version.run_id
        run = self.runs.get(ref)
        if run.environment is None:
            raise NotFound(f"nothing was noted of the environment of run {run.name!r}", "name another run")
        return room.read(self.store, run.environment)

    def check_environment(self, ref: str) -> EnvironmentCheck:
        """How this process differs from a run's, a model version's or a lock's environment.

        What brings BLAS is imported where that environment had it, for its library and threads to be compared.

        Raises:
            NotFound, InvalidValue: as :meth:`environment` does.
        """
        from nbmlops.runs import environment as room

        before = self.environment(ref)
        room.load(before.facts)
        found = room.differences(before.facts, room.here())
        return EnvironmentCheck(ref, found, len(before.packages), clock.now())

    def events(self, subject: str | None = None, limit: int | None = None, *, merged: bool = False) -> list[Event]:
        """The ledger's events, newest first; with ``merged`` also those of stores whose content was taken over."""
        return chain.read(self.store, subject=subject, limit=limit, merged=merged)

    def merge(
        self,
        other: str | os.PathLike[str],
        *,
        artifacts: str | None = None,
        partial: bool = False,
        dry_run: bool = False,
    ) -> Merged:
        """Take over everything another store has, any number of times, without duplicates; it is not changed.

        Args:
            other: a folder, or a database's URL.
            artifacts: where its files are, if not beside its database.
            partial: take what is there also if files are missing.
            dry_run: only tell what would come.

        Raises:
            UsageFault: it is this store.
            NotFound: there is no store.
            InvalidValue: what is in it cannot be taken over, or files are missing; all faults are listed.
            Tampered: a ledger is not intact, or not a continuation of what was taken over before.
        """
        from nbmlops.cells.folding import fold_copy
        from nbmlops.runs.fold import fold_all
        from nbmlops.store.blobs import Blobs
        from nbmlops.store.merging import merge_store

        def settle(copy: Store) -> list[str]:
            outputs = Blobs(str(copy.journal_folder / "outputs")) if dry_run else self.store.blobs
            return fold_all(copy) + fold_copy(copy, outputs)

        user = self.context().user
        return merge_store(
            self.store, other, artifacts=artifacts, user=user, partial=partial, dry_run=dry_run, settle=settle
        )

    @cached_property
    def reproduction(self) -> Reproduction:
        from nbmlops.reproduction import Reproduction

        return Reproduction(self.store, self.context, self.runs, self.models, cells=self.cells)

    @cached_property
    def dossiers(self) -> Dossiers:
        from nbmlops.dossiers import Dossiers

        return Dossiers(self)

    @cached_property
    def extraction(self) -> Extraction:
        from nbmlops.extraction import Extraction

        return Extraction(
            self.runs, self.datasets, self.models, self.pipelines, self.cells, reproduction=self.reproduction
        )

    @cached_property
    def capsules(self) -> Capsules:
        from nbmlops.capsules import Capsules

        return Capsules(self.store, self.context, self.runs, self.cells)

    def verify_ledger(self, anchors: str | os.PathLike[str] | None = None) -> int:
        """The number of events of an intact ledger that agrees with the models and aliases it tells of.

        Args:
            anchors: a file of heads that were written down; each must still be in the chain.

        Raises:
            Tampered: it is not intact, or does not agree; says where.
        """
        from nbmlops import audit
        from nbmlops.store import anchors as heads

        if anchors is not None:
            heads.verify(self.store, heads.read(Path(anchors)))
        return audit.verify(self.store)

    def info(self) -> StoreInfo:
        """Where things are kept, how many there are, and each setting with its origin."""
        import sqlalchemy as sa

        from nbmlops.store.migrations import current

        tables = {
            "experiments": schema.experiments, "runs": schema.runs, "data set versions": schema.dataset_versions,
            "model versions": schema.model_versions, "flows": schema.flows,
            "prediction batches": schema.prediction_batches,
            "events": schema.ledger,
        }  # fmt: skip
        with self.store.read() as db:
            counts = {
                name: db.execute(sa.select(sa.func.count()).select_from(t)).scalar_one() for name, t in tables.items()
            }
            version = current(db) or ""
        resolved = [settings.resolve(s.name) for s in settings.SETTINGS]
        rows = tuple({"setting": r.name, "value": _shown(r.value), "origin": r.origin} for r in resolved)
        return StoreInfo(
            self.store.shown_url, self.store.blobs.shown_root, version, self.store.journal_mode, counts, rows
        )


def _shown(value: Any) -> Any:
    """A setting without the password that a URL may hold."""
    if isinstance(value, str) and "://" in value and "@" in value:
        head, _, tail = value.partition("://")
        return f"{head}://…@{tail.rpartition('@')[2]}"
    return value


def _default_context() -> Context:
    return Context(user=who(), host=hostname())
