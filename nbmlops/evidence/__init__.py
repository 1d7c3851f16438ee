"""The evidence desk: what shows how a model version was made and what it is worth, each kind measured once and kept.

A version is judged by rows that are frozen at its registration. What is cheap is measured then, the rest when somebody
asks, or a promotion does. The ledger has the digest of every report, so that none can be changed unseen.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from nbmlops import clock
from nbmlops.context import ContextSource
from nbmlops.errors import InvalidValue, NbmlopsError, NotFound, UsageFault
from nbmlops.evidence import evaluation as frozen
from nbmlops.evidence.evaluation import Evaluation, Rows
from nbmlops.evidence.measures import KINDS, Found, Subject
from nbmlops.models import Models
from nbmlops.records import Evidence, ModelVersion, plain
from nbmlops.runs import Runs
from nbmlops.store import Store, ledger, schema
from nbmlops.store.engine import lock_ledger
from nbmlops.store.told import EVIDENCE, evidence_digest

if TYPE_CHECKING:
    import pandas as pd

    from nbmlops.flavors.onnx import Parity

EVALUATION = "evaluation"
_CARRIED = "evaluation.json"  # in the package of a logged model
E = schema.evidence


class Evidences:
    """Every verb about evidence."""

    def __init__(self, store: Store, context: ContextSource, models: Models, runs: Runs) -> None:
        self.store = store
        self.context = context
        self.models = models
        self.runs = runs

    # -- registering -----------------------------------------------------------------------------------------------
    def register(self, model_or_ref: object, name: str, *, test: Rows | None = None, **given: Any) -> ModelVersion:
        """Register a model with :meth:`nbmlops.models.Models.register`, and keep what can be known of it at once.

        Test rows that the model cannot take are told as a warning and kept as failed evidence: the version is there.
        """
        version = self.models.register(model_or_ref, name, **given)
        if not version.version:  # a sweep's candidate, which is only logged: its rows go with the package
            return version if test is None else self._carry(version, test, model_or_ref)
        if test is None:
            self._adopt(version)
        rows = [self._frozen(version, test, model_or_ref)] if test is not None else []
        subject = self._subject(version, rows[0] if rows and rows[0][1] else None)
        kinds = [kind for kind, k in KINDS.items() if k.at_once and (test is not None or kind != "performance")]
        self._keep(version, [row for row, _ in rows] + [self._measured(kind, subject) for kind in kinds])
        return version

    def test_rows(self, data: Any, target: str | None = None, groups: Any = ()) -> Rows:
        """Test data as :meth:`register` takes them: ``(X, y)``, a frame, or a data set's reference.

        Raises:
            InvalidValue: the target or a group is not there, or lengths differ; all faults at once.
        """
        if isinstance(data, str):
            from nbmlops import refs

            held = self.models.datasets.get(str(refs.parse(data, "dataset")))
            return frozen.take_apart(self.models.datasets.load(held.ref), target, groups, held.ref)
        return frozen.take_apart(data, target, groups)

    def _frozen(self, version: ModelVersion, test: Rows, model: object) -> tuple[dict[str, Any], Evaluation | None]:
        """The row of the kind "evaluation", and the rows; None if the model could not take them."""
        from nbmlops.flavors import checking
        from nbmlops.stats import performance

        begun, rows = time.perf_counter(), frozen.sampled(test)
        try:
            given = self._columns_of(version, rows.inputs)
            inputs = checking.check(version.signature, given, f"test data of {version.ref}").reset_index(drop=True)
            outputs = self._answer(version, model, inputs)
        except Exception as error:  # the model's own code may raise anything; the version is registered all the same
            told = error.message if isinstance(error, NbmlopsError) else f"{type(error).__name__}: {error}"
            faults = list(error.faults) if isinstance(error, InvalidValue) else []
            warnings.warn(f"{version.ref} is registered, but cannot take the test data: {told}", stacklevel=4)
            return _row(EVALUATION, "failed", {"error": told, "faults": faults}, since=begun), None
        task = performance.task_of(outputs) if "prediction" in outputs else "other"
        found = Evaluation(inputs, rows.actual, rows.groups, outputs, task, rows.source)
        report = {
            "rows": len(test.actual), "kept": len(inputs), "task": task, "target": str(rows.actual.name),
            "groups": [str(name) for name in rows.groups], "source": rows.source,
        }  # fmt: skip
        files = {frozen.FILE: self.store.blobs.put(found.to_parquet())}
        return _row(EVALUATION, "done", report, files, since=begun), found

    def _carry(self, version: ModelVersion, test: Rows, model: object) -> ModelVersion:
        """Put the frozen rows into the package of a logged model; whoever registers it finds them there."""
        row, _ = self._frozen(version, test, model)
        manifest, blobs = self.models.manifest(version), self.store.blobs
        told = json.dumps({k: row[k] for k in ("status", "report", "files")}, sort_keys=True).encode()
        manifest["files"] |= {_CARRIED: blobs.put(told), **row["files"]}
        package = blobs.put(json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode())
        m = schema.logged_models
        mine = sa.and_(m.c.run_id == version.run_id, m.c.name == version.name)
        with self.store.write() as db:
            db.execute(m.update().where(mine).values(package=package))
        return dataclasses.replace(version, package=package)

    def _adopt(self, version: ModelVersion) -> Evidence | None:
        """The rows that came in the package of a logged model, kept as evidence of the version made of it."""
        digest = self.models.manifest(version)["files"].get(_CARRIED)
        if digest is None:
            return None
        told = json.loads(self.store.blobs.get(digest))
        self._keep(version, [_row(EVALUATION, told["status"], told["report"], told["files"])])
        return self.get(version.ref, EVALUATION)

    def _columns_of(self, version: ModelVersion, inputs: Any) -> Any:
        """A frame without the columns that the model does not take: groups, ids, other targets."""
        names = [c["name"] for c in version.signature["inputs"]]
        columns = list(getattr(inputs, "columns", ()))
        return inputs[names] if columns and set(names) < set(columns) else inputs

    def _answer(self, version: ModelVersion, model: object, inputs: pd.DataFrame) -> pd.DataFrame:
        from nbmlops.flavors import prediction

        if isinstance(model, str):
            return self.models.predict_frame(version.ref, inputs)
        return prediction.predict(model, version.signature, inputs)

    # -- measuring -------------------------------------------------------------------------------------------------
    def gather(
        self, ref: str, kinds: Sequence[str] | None = None, *, again: bool = False, background: bool = False
    ) -> list[Evidence]:
        """Measure what was not measured yet; a kind that fails keeps its reason and stops no other.

        Args:
            ref: the version.
            kinds: some of :data:`KINDS`; all by default.
            again: also those that were measured, or have failed, before.
            background: in a process of its own, which goes on when this one ends; until then they are ``waiting``.

        Raises:
            InvalidValue: there is no such kind.
        """
        asked = _known(kinds)
        version = self.models.get(ref)
        done = {e.kind for e in self.of(version.ref) if e.status != "waiting"}
        left = [kind for kind in asked if again or kind not in done]
        if left and background:
            self._start(version, left, again=again)
        elif left:
            subject = self._subject(version, self.evaluation(version.ref))
            self._keep(version, [self._measured(kind, subject) for kind in left])
        return [e for e in self.of(version.ref) if e.kind in asked]

    def _start(self, version: ModelVersion, kinds: list[str], *, again: bool) -> None:
        """Begin a process that gathers them."""
        waiting = [_row(kind, "waiting", {}) for kind in kinds]
        self._keep(version, waiting, told=False)
        named = [word for kind in kinds for word in ("--kind", kind)]
        command = [sys.executable, "-m", "nbmlops", "model", "evidence", version.ref, "--gather", *named]
        subprocess.Popen(
            [*command, *(["--again"] if again else [])],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={
                **os.environ,
                "NBMLOPS_STORE": self.store.url,
            },  # a URL may hold a password, which arguments would show
        )

    def _measured(self, kind: str, subject: Subject) -> dict[str, Any]:
        """One kind's row; why it failed is its report."""
        begun = time.perf_counter()
        try:
            report, files = KINDS[kind].measure(subject)
        except Exception as error:  # a user's model or data may raise anything; the other kinds go on
            if isinstance(error, UsageFault):
                return _row(kind, "skipped", {"reason": error.message, "hint": error.hint}, since=begun)
            return _row(kind, "failed", {"error": f"{type(error).__name__}: {error}"}, since=begun)
        return _row(
            kind, "done", report, {n: self.store.blobs.put(content) for n, content in files.items()}, since=begun
        )

    def _subject(self, version: ModelVersion, rows: Any) -> Subject:
        judged = rows[1] if isinstance(rows, tuple) else rows
        return Subject(
            predict=lambda frame: self.models.predict_frame(version.ref, frame),
            load=lambda: self._fresh(version),
            example=lambda: self.models.input_example(version)[0],
            onnx=lambda: self._onnx(version),
            evaluation=judged,
            facts={"provenance": self._provenance(version, judged), "cost": self._cost(version)},
        )

    def _fresh(self, version: ModelVersion) -> Callable[[pd.DataFrame], pd.DataFrame]:
        """What a server does with a row: the model built from its files, rows checked and answered."""
        from nbmlops.flavors import checking, prediction

        model = self.models.load(version.ref)

        def answer(rows: pd.DataFrame) -> pd.DataFrame:
            return prediction.predict(model, version.signature, checking.check(version.signature, rows, "input"))

        return answer

    def _onnx(self, version: ModelVersion) -> tuple[Parity, bytes | None]:
        """Converted, and held against the model's own answers to rows of training, else to its example."""
        from nbmlops.flavors import onnx

        width = len(version.signature["inputs"])
        sample = self.models.training_sample(version)
        if sample is None:
            rows, expected = self.models.input_example(version)
        else:
            rows = sample.head(onnx.ROWS)
            rows, expected = rows.iloc[:, :width], rows.iloc[:, width:]
        return onnx.convert(self.models.load(version.ref), version.signature, rows, expected)

    def _provenance(self, version: ModelVersion, judged: Evaluation | None) -> dict[str, Any]:
        run = self.runs.find(version.run_id) if version.run_id else None
        test = judged.source if judged is not None else None
        told: dict[str, Any] = {"run": f"run:{run.run_id}" if run else None, "test_data": test}
        if run is not None:
            told |= {"source": run.source, "environment": run.environment, "git": run.git}
            told |= {"cells": len(run.cells), "training_data": [ref for ref in version.datasets if ref != test]}
        return told

    def _cost(self, version: ModelVersion) -> dict[str, Any]:
        run = self.runs.find(version.run_id) if version.run_id else None
        told: dict[str, Any] = {"package_bytes": version.bytes}
        if run is not None:
            seconds = {k: v for k, v in run.metrics.items() if k == "fit_seconds" or k.startswith("system/")}
            told |= {"run_seconds": run.duration, **seconds}
        return told

    # -- keeping and reading ---------------------------------------------------------------------------------------
    def _keep(self, version: ModelVersion, rows: list[dict[str, Any]], *, told: bool = True) -> None:
        user, at = self.context().user, clock.now()
        with self.store.write() as db:
            lock_ledger(db)
            number = _id(db, version)
            there = db.execute(sa.select(E.c.kind, E.c.id).where(E.c.version_id == number))
            ids = {row.kind: row.id for row in there}
            more = {"version_id": number, "user": user, "at": at}
            kept = [{**row, **more, "id": ids.get(row["kind"]) or clock.new_id()} for row in rows]
            self.store.upsert(db, E, kept, ["version_id", "kind"])
            if told:
                facts = {"evidence": {row["id"]: evidence_digest(row) for row in kept}}
                ledger.append(db, type=EVIDENCE, subject=version.ref, user=user, data=facts)

    def note(self, version: ModelVersion, kind: str, report: Mapping[str, Any]) -> None:
        """Keep what was measured elsewhere; it takes the place of an earlier one of the same kind."""
        self._keep(version, [_row(kind, "done", dict(report))])

    def of(self, ref: str) -> list[Evidence]:
        """All evidence of a version, the rows it is judged by first."""
        version = self.models.get(ref, deleted=True)
        with self.store.read() as db:
            rows = db.execute(sa.select(E).where(E.c.version_id == _id(db, version))).mappings().all()
        order = [EVALUATION, *KINDS]
        told = ("kind", "status", "report", "files", "seconds", "user", "at")
        found = [Evidence(version.name, version.version, **{k: row[k] for k in told}) for row in rows]
        return sorted(found, key=lambda e: order.index(e.kind) if e.kind in order else len(order))

    def get(self, ref: str, kind: str) -> Evidence | None:
        """One kind, if it was kept."""
        return next((e for e in self.of(ref) if e.kind == kind), None)

    def evaluation(self, ref: str) -> Evaluation | None:
        """The frozen rows that a version is judged by; None if none were given, or the model cannot take them."""
        kept = self.get(ref, EVALUATION) or self._adopt(self.models.get(ref))
        if kept is None or kept.status != "done":
            return None
        return frozen.read(self.store.blobs.get(kept.files[frozen.FILE]), kept.report)

    def file(self, ref: str, kind: str, name: str) -> bytes:
        """A file of evidence, such as a plot.

        Raises:
            NotFound: there is none of that name.
        """
        kept = self.get(ref, kind)
        if kept is None or name not in kept.files:
            raise NotFound.of("file of evidence", name, kept.files if kept else ())
        return self.store.blobs.get(kept.files[name])

    def facts(self, ref: str) -> dict[str, Any]:
        """What rules may speak of: each kind that was measured, by name.

        ``performance.roc_auc.low``, ``fairness.sex.equalized_odds_difference``, ``latency.p99_ms``,
        ``importance.income``, ``slices.worst_gap``, …
        """
        found = {e.kind: dict(e.report) for e in self.of(ref) if e.status == "done"}
        if "importance" in found:
            found["importance"] = {row["column"]: row["mean"] for row in found["importance"]["columns"]}
        return found


def _row(
    kind: str, status: str, report: dict[str, Any], files: dict[str, str] | None = None, since: float | None = None
) -> dict[str, Any]:
    seconds = None if since is None else time.perf_counter() - since
    return {"kind": kind, "status": status, "report": plain(report), "files": files or {}, "seconds": seconds}


def _id(db: sa.Connection, version: ModelVersion) -> str:
    v = schema.model_versions
    return db.execute(sa.select(v.c.id).where(v.c.name == version.name, v.c.version == version.version)).scalar_one()


def _known(kinds: Sequence[str] | None) -> list[str]:
    asked = list(KINDS) if kinds is None else [kinds] if isinstance(kinds, str) else list(kinds)
    if unknown := [kind for kind in asked if kind not in KINDS]:
        faults = [f"there is no kind {kind!r}" for kind in unknown]
        raise InvalidValue.of("evidence", faults, f"kinds: {', '.join(KINDS)}")
    return asked


__all__ = ["EVALUATION", "KINDS", "Evaluation", "Evidences", "Found", "Rows"]
