"""The models desk: versions, aliases and packages; loading under a trust list; prediction under a signature."""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from nbmlops import clock, policy, refs
from nbmlops.context import ContextSource
from nbmlops.errors import CheckFailed, InvalidValue, NotFound, UsageFault
from nbmlops.models import packages
from nbmlops.models.catalogue import Catalogue
from nbmlops.records import Finding, ModelVersion, plain
from nbmlops.store import Store, ledger, schema
from nbmlops.store.engine import lock_ledger

if TYPE_CHECKING:
    import pandas as pd

    from nbmlops.datasets import Datasets
    from nbmlops.flavors.packaging import Package
    from nbmlops.runs import Runs

Versions = list[ModelVersion]  # names of their own, because Models.list hides the type below it
Findings = list[Finding]
_KEPT = 4  # models that predict_frame holds ready


Fitted = Callable[[object], tuple[object | None, str | None]]


def unknown_fit(_model: object) -> tuple[None, None]:
    """Nobody has watched the fit."""
    return None, None


class Models:
    """Every verb about models. ``fitted(model)`` may know the rows a model was last fitted with, and in which run."""

    def __init__(
        self,
        store: Store,
        context: ContextSource,
        runs: Runs,
        datasets: Datasets,
        *,
        fitted: Fitted = unknown_fit,
    ) -> None:
        self.store = store
        self.context = context
        self.runs = runs
        self.datasets = datasets
        self.fitted = fitted
        self.catalogue = Catalogue(store, context, runs, self)
        self._ready: dict[str, Any] = {}
        self._ready_lock = threading.Lock()

    # -- writing ---------------------------------------------------------------------------------------------------
    def register(
        self,
        model_or_ref: object,
        name: str,
        alias: str | None = None,
        description: str | None = None,
        *,
        input_example: object = None,
        training_data: object = None,
        flavor: str | None = None,
    ) -> ModelVersion:
        """Store a model as the next version of ``name``; a reference takes the model that a run logged.

        The signature comes from ``training_data`` (a frame, ``(X, y)`` or a data set's reference), else from
        ``input_example``, else from what the model was fitted with or the run has read. In a sweep's candidate the
        model is only logged (version 0). ``flavor`` names how the object is kept, where it may be kept in several ways.

        Raises:
            InvalidValue: the model cannot be stored, or its input cannot be described.
        """
        refs.check_name(name, "model")
        if alias is not None:
            self._check_alias(alias)
        if isinstance(model_or_ref, str):
            source = self._logged(model_or_ref, name)
        elif self.context().candidate:
            return self.log(model_or_ref, name, input_example=input_example, training_data=training_data, flavor=flavor)
        else:
            source = self._stored(model_or_ref, input_example, training_data, flavor)
            source["run_id"] = self._run_of(model_or_ref)
        return self._insert(name, source, alias, description or "")

    def log(
        self,
        model: object,
        name: str,
        *,
        input_example: object = None,
        training_data: object = None,
        flavor: str | None = None,
    ) -> ModelVersion:
        """Keep a model with the current run without registering it; logging it again replaces it.

        Raises:
            UsageFault: no run is active.
        """
        refs.check_name(name, "model")
        run_id = self.context().run_id
        if run_id is None:
            raise UsageFault(
                "log_model needs an active run", "call start_run() first, or register_model(), which needs none"
            )
        row = {
            "run_id": run_id,
            "name": name,
            **self._stored(model, input_example, training_data, flavor),
            "created_at": clock.now(),
        }
        with self.store.write() as db:
            self.store.upsert(db, schema.logged_models, [row], ["run_id", "name"])
        self.context().touch("artifact", run_id, f"models/{name}", "write")
        return self._candidate(row)

    def set_alias(self, name: str, alias: str, version: int) -> ModelVersion:
        """Let a free label point to a version; ``staging`` and ``production`` are moved by promotion only."""
        self._check_alias(alias)
        held = self.get(f"model:{name}@{version}")
        with self.store.write() as db:
            lock_ledger(db)
            self._move(db, held.name, alias, version, "label set")
        return self.get(f"model:{name}@{version}")

    def _insert(self, name: str, source: dict[str, Any], alias: str | None, description: str) -> ModelVersion:
        run = self.runs.find(source["run_id"]) if source["run_id"] else None
        here, v = self.context(), schema.model_versions
        row = {
            **source,
            "id": clock.new_id(),
            "name": name,
            "metrics": plain(run.metrics if run else {}),
            "datasets": self.runs.datasets(run.run_id) if run else [],
            "description": description,
            "user": here.user,
            "created_at": clock.now(),
        }
        with self.store.write() as db:
            lock_ledger(
                db
            )  # versions are counted under the same lock as events, so two writers never get the same number
            row["version"] = (db.execute(sa.select(sa.func.max(v.c.version)).where(v.c.name == name)).scalar() or 0) + 1
            new = {"id": clock.new_id(), "name": name, "created_at": row["created_at"], "description": description}
            db.execute(self.store.insert(schema.models).on_conflict_do_nothing(), new)
            db.execute(v.insert(), row)
            facts = {k: row[k] for k in ("id", "flavor", "package", "run_id", "metrics", "datasets")}
            ledger.append(
                db, type="model.registered", subject=f"model:{name}@{row['version']}", user=here.user, data=facts
            )
            if alias:
                self._move(db, name, alias, row["version"], "label given at registration")
        here.touch("model", f"model:{name}@{row['version']}", "", "write")
        return self.catalogue.record(row, (alias,) if alias else ())

    def _move(self, db: sa.Connection, name: str, alias: str, version: int, reason: str) -> None:
        a, user = schema.model_aliases, self.context().user
        previous = db.execute(sa.select(a.c.version).where(a.c.name == name, a.c.alias == alias)).scalar()
        self.store.upsert(db, a, [{"name": name, "alias": alias, "version": version}], ["name", "alias"])
        facts = {"alias": alias, "previous": previous}
        event = ledger.append(db, type="model.alias-set", subject=f"model:{name}@{version}", user=user, data=facts)
        moved = {"name": name, "alias": alias, "version": version, "previous": previous, "reason": reason, "user": user}
        db.execute(schema.alias_history.insert(), {**moved, "at": event.at, "event_seq": event.seq})

    def _logged(self, ref: str, name: str) -> dict[str, Any]:
        """The package behind ``run:ID``, ``runs:/ID/NAME`` or another model's version."""
        if ref.startswith(("model:", "models:/")):
            held = self.get(ref)
            return {k: getattr(held, k) for k in ("flavor", "package", "signature", "profile", "bytes", "run_id")}
        wanted = ref.removeprefix("runs:/").partition("/")[2] if ref.startswith("runs:/") else ""
        run_id, m = self.runs.get(str(refs.parse(ref, "run"))).run_id, schema.logged_models
        with self.store.read() as db:
            rows = {r["name"]: dict(r) for r in db.execute(sa.select(m).where(m.c.run_id == run_id)).mappings()}
        chosen = wanted or (name if name in rows else next(iter(rows), "")) if len(rows) < 2 else wanted or name
        if chosen not in rows:
            raise NotFound.of(
                "logged model", chosen or name, rows, "" if rows else "log_model(model, name) in that run keeps one"
            )
        return {k: rows[chosen][k] for k in ("flavor", "package", "signature", "profile", "bytes", "run_id")}

    # -- packaging -------------------------------------------------------------------------------------------------
    def _stored(
        self, model: object, input_example: object, training_data: object, flavor: str | None
    ) -> dict[str, Any]:
        """The package in the blob store, and the columns of a row that name it."""
        from nbmlops import flavors

        package, target = self._package(model, input_example, training_data, flavor)
        if package.refused:
            named = f"name them, as in load_model(ref, trusted={package.refused!r})"
            asked = "say so, as in load_model(ref, trust=True)" if package.flavor in flavors.RUNS_CODE else named
            warnings.warn(
                f"this model holds {', '.join(package.refused)}: whoever loads it must {asked}, and no environment "
                "takes it",
                stacklevel=4,
            )
        return packages.keep(self.store, package, target)

    def _package(
        self, model: object, input_example: object, training_data: object, flavor: str | None
    ) -> tuple[Package, str | None]:
        """The package, described by the best rows at hand, and the target's name where it is known."""
        from nbmlops import flavors
        from nbmlops.flavors import packaging

        flavors.flavor_of(model, flavor)
        if isinstance(training_data, str):
            training_data = self.datasets.load(training_data)
        for data in (training_data, input_example):
            if data is not None:
                rows, target = packages.rows_and_target(data, packaging.columns_of(model))
                return packaging.build(model, rows, flavor), target
        if (seen := self.fitted(model)[0]) is not None:
            try:
                return packaging.build(model, seen, flavor), None
            except InvalidValue:
                # The caller's own frame, and perhaps no longer what it was when the model was fitted.
                return packaging.build(model, self._rows_read(model), flavor), None
        return packaging.build(model, self._rows_read(model), flavor), None

    def _run_of(self, model: object) -> str | None:
        """The current run, else the one in which the model was fitted."""
        return self.context().run_id or self.fitted(model)[1]

    def _rows_read(self, model: object) -> object:
        """Rows of a data set that the run has read and that has the model's columns, the last one read first."""
        from nbmlops.flavors import packaging

        names, run_id = packaging.columns_of(model), self._run_of(model)
        for ref in reversed(self.runs.datasets(run_id) if names and run_id else []):
            if set(names or ()) <= {column["name"] for column in self.datasets.get(ref).schema}:
                return self.datasets.load(ref, columns=names)
        raise InvalidValue(
            f"nothing tells what this {type(model).__name__} takes as input",
            "pass training_data=X (--training X in the magic), which keeps a profile for monitoring too, or "
            "input_example=X.head()",
        )

    # -- reading ---------------------------------------------------------------------------------------------------
    def get(self, ref: str, *, deleted: bool = False) -> ModelVersion:
        """One version. A reference without version means the pinned one of this context, else the latest.

        Args:
            ref: name, and version or alias.
            deleted: take one that was deleted as well.

        Raises:
            NotFound: no such model, version or alias.
        """
        return self.catalogue.get(ref, deleted=deleted)

    def list(self) -> Versions:
        """The latest version of each model, and those that hold an alias, such as the one in production; by name."""
        return self.catalogue.list()

    def versions(self, name: str) -> Versions:
        """All versions of a model, newest first.

        Raises:
            NotFound: there is no model of that name.
        """
        return self.catalogue.versions(name)

    def manifest(self, version: ModelVersion) -> dict[str, Any]:
        """The package's own description: format, flavor, files with digests, signature, Python and libraries."""
        return json.loads(self.store.blobs.get(version.package))

    def load(self, ref: str, trusted: Iterable[str | type] = (), *, trust: bool = False) -> Any:
        """The model object. Bytes are verified and every type in them is judged before anything is built.

        Args:
            ref: the version.
            trusted: further types to allow in this call.
            trust: run what the package holds, whatever it is, in this call: for pickles and flavors of other packages.

        Raises:
            Untrusted: the package holds types that are neither on the loader's list nor in ``trusted``.
            BlobCorrupt: the stored bytes are not what was written.
        """
        from nbmlops import flavors

        version = self.get(ref)
        self._used(version)
        files = {
            n: self.store.blobs.get(d) for n, d in self.manifest(version)["files"].items() if n.startswith("model.")
        }
        return flavors.load(version.flavor, files, trusted, trust=trust)

    def _used(self, version: ModelVersion) -> None:
        here = self.context()
        if version.version:
            here.touch("model", version.ref, "", "read")
            if here.run_id:
                self.runs.use_model(here.run_id, version.name, version.version)

    def predict_frame(self, ref: str, frame: object, trusted: Iterable[str | type] = ()) -> pd.DataFrame:
        """Predictions for rows that fit the signature, row by row: ``prediction``, ``probability_<class>`` …

        Raises:
            InvalidValue: lists every fault of the input at once; nothing is predicted then.
        """
        from nbmlops.flavors import checking, prediction

        version = self.get(ref)
        self._used(version)
        rows = checking.check(version.signature, frame, f"input of {version.ref}")
        return prediction.predict(self._ready_model(version, tuple(trusted)), version.signature, rows)

    def _ready_model(self, version: ModelVersion, trusted: tuple[str | type, ...]) -> Any:
        """Loaded once per package; what was loaded with more trust is not kept for callers with less."""
        if trusted:
            return self.load(version.ref, trusted)
        with self._ready_lock:
            if version.package not in self._ready:
                self._ready[version.package] = self.load(version.ref)
                while len(self._ready) > _KEPT:
                    del self._ready[next(iter(self._ready))]
            return self._ready[version.package]

    def training_profile(self, version: ModelVersion) -> dict[str, Any] | None:
        """Profiles of training inputs and predictions; None if fewer than 20 rows were at hand."""
        return None if version.profile is None else json.loads(self.store.blobs.get(version.profile))

    def training_sample(self, version: ModelVersion) -> pd.DataFrame | None:
        """A fixed sample of training inputs with the model's outputs beside them."""
        profile = self.training_profile(version)
        return packages.sample(self.store, profile["sample"]) if profile else None

    def input_example(self, version: ModelVersion) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Some rows as the model takes them, and the outputs it gave for them at registration."""
        from nbmlops.flavors import packaging

        content = self.store.blobs.get(self.manifest(version)["files"]["input_example.json"])
        return packaging.read_example(content, version.signature)

    def verify(self, ref: str) -> Findings:
        """Whether every stored byte of a version is what was written, and whether it loads without further trust."""
        version = self.get(ref)
        findings = packages.intact(self.store, version)
        if all(f.ok for f in findings):
            asked = "the package loads under the default trust"
            try:
                self.load(version.ref)
                findings.append(Finding("loads", "pass", asked, "it does"))
            except CheckFailed as error:
                findings.append(Finding("loads", "block", asked, error.message, error.hint))
        return findings

    def _candidate(self, row: dict[str, Any]) -> ModelVersion:
        run = self.runs.find(row["run_id"])
        more = {"version": 0, "description": "", "user": self.context().user}
        facts = {"metrics": plain(run.metrics) if run else {}, "datasets": self.runs.datasets(row["run_id"])}
        return self.catalogue.record({**row, **more, **facts}, ())

    def _check_alias(self, alias: str) -> None:
        refs.check_name(alias, "alias")
        if alias in policy.current(self.store).environments:
            raise UsageFault(
                f"{alias} is an environment, and only a promotion moves a model there",
                f"promote(ref, to={alias!r}, reason=…) runs its tests first",
            )
        if alias == "latest" or alias.removeprefix("v").isdecimal() or "/" in alias:
            raise InvalidValue(
                f"{alias!r} cannot be an alias", "'latest' and numbers mean versions; choose a word such as 'champion'"
            )
