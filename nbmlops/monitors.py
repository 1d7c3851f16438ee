"""The monitors desk: a window of predictions against what the model was trained on, alerts, and retraining."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from nbmlops import clock
from nbmlops.context import ContextSource
from nbmlops.errors import NotFound, UsageFault
from nbmlops.records import Finding, Flow, ModelVersion, MonitorReport
from nbmlops.refs import parse
from nbmlops.store import Store, ledger, schema

if TYPE_CHECKING:
    import pandas as pd

    from nbmlops.deployments import Deployments, PredictionLog
    from nbmlops.models import Models
    from nbmlops.pipelines import Pipelines
    from nbmlops.runs import Runs
    from nbmlops.stats import Limits

_PARENTS = 20  # how far up to look for the stage that a run belongs to


class Monitors:
    """Every verb about watching models."""

    def __init__(
        self,
        store: Store,
        context: ContextSource,
        models: Models,
        deployments: Deployments,
        pipelines: Pipelines,
        runs: Runs,
    ) -> None:
        self.store = store
        self.context = context
        self.models = models
        self.deployments = deployments
        self.pipelines = pipelines
        self.runs = runs

    # -- checking --------------------------------------------------------------------------------------------------
    def check(
        self, ref: str, since: Any = None, until: Any = None, limits: Limits | Mapping[str, Any] | None = None
    ) -> MonitorReport:
        """Compare the predictions of one model version in a window with its training data, and keep the report.

        An alert is returned, not raised. While an alert on this version is not closed, a further one is not opened:
        the report names the one there is. Too few predictions give the status ``no data``.

        Args:
            ref: the model; only predictions of the version it stands for count.
            since, until: ``since <= at < until``; seconds, datetimes or ISO text, None is open.
            limits: :class:`nbmlops.stats.Limits`, or those of its values that differ from the defaults.

        Raises:
            NotFound: there is no such model.
            InvalidValue: a time or a limit makes no sense.
        """
        from nbmlops.stats import Limits

        bounds = Limits.of(limits)
        model = self.models.get(ref)
        log = self.deployments.log(model.name, model.version, since, until)
        times = log.rows["at"]
        findings, drift, performance = self._judged(model, log, bounds)
        report = MonitorReport(
            report_id=clock.new_id(),
            model=model.name,
            version=model.version,
            status=_status(findings, len(log.rows), bounds),
            rows=len(log.rows),
            since=float(times.min()) if len(times) else None,
            until=float(times.max()) if len(times) else None,
            findings=tuple(findings),
            drift=tuple(drift),
            performance=performance,
            at=clock.now(),
        )
        return self._kept(report)

    def _judged(
        self, model: ModelVersion, log: PredictionLog, limits: Limits
    ) -> tuple[list[Finding], list[dict[str, Any]], dict[str, Any]]:
        from nbmlops.stats import drift, performance, verdict

        if len(log.rows) < limits.rows:
            seen = f"{len(log.rows)} predictions"
            hint = "take a longer window, or wait for more predictions"
            return [Finding("window", "warn", f"at least {limits.rows} predictions", seen, hint)], [], {}
        profile = self.models.training_profile(model) or {}
        sample = self.models.training_sample(model)
        if sample is None and not profile:
            asked = "the data the model was trained on"
            hint = "register the model with training_data=…, so that windows can be compared with it"
            found, inputs, outputs = [Finding("profile", "warn", asked, "no training profile", hint)], [], []
        else:
            before, after = _sides(sample, log)
            asked_for = {c["name"] for c in model.signature.get("inputs", ())}
            columns = {k: v for k, v in profile.get("columns", {}).items() if not asked_for or k in asked_for}
            inputs = verdict.judge(drift.columns(before, columns, log.inputs), limits)
            outputs = verdict.judge(drift.columns(after, profile.get("predictions", {}), log.outputs), limits)
            found = []
        figures: dict[str, Any] = {}
        if "prediction" in log.outputs.columns:
            task = performance.task_of(log.outputs, profile.get("predictions", {}).get("prediction"))
            figures = dict(performance.performance(log.outputs, log.actual, task))
        found += verdict.findings(inputs, outputs, figures, model.metrics, limits)
        return found, [{**r, "role": "input"} for r in inputs] + [{**r, "role": "output"} for r in outputs], figures

    def _kept(self, report: MonitorReport) -> MonitorReport:
        """Store the report and, where it says so, the alert with its ledger event: in one transaction."""
        known = self._open_alert(report.model, report.version) if report.status == "alert" else None
        if report.status == "alert":
            report = dataclasses.replace(report, alert_id=known or clock.new_id())
        digest = self.store.blobs.put(json.dumps(report.to_dict(), default=str).encode())
        row = {
            "id": report.report_id,
            "name": report.model,
            "version": report.version,
            "status": report.status,
            "since": report.since,
            "until": report.until,
            "rows": report.rows,
            "data": digest,
            "at": report.at,
        }
        with self.store.write() as db:
            db.execute(schema.monitor_reports.insert(), row)
            if report.alert_id and known is None:
                self._raise_alert(db, report)
        return report

    def _open_alert(self, name: str, version: int) -> str | None:
        a = schema.alerts
        query = sa.select(a.c.id).where(a.c.name == name, a.c.version == version, a.c.status != "closed")
        with self.store.read() as db:
            return db.execute(query.order_by(a.c.at.desc()).limit(1)).scalar()

    def _raise_alert(self, db: sa.Connection, report: MonitorReport) -> None:
        blocking = [f for f in report.findings if f.level == "block"]
        message = "; ".join(f"{f.check}: {f.seen}" for f in blocking)
        alert = {
            "id": report.alert_id,
            "report_id": report.report_id,
            "name": report.model,
            "version": report.version,
            "message": message,
            "status": "open",
            "findings": [f.to_dict() for f in blocking],
            "at": report.at,
        }
        db.execute(schema.alerts.insert(), alert)
        ledger.append(
            db,
            type="monitor.alert",
            subject=report.ref,
            user=self.context().user,
            data={"alert": report.alert_id, "report": report.report_id, "message": message},
        )

    # -- looking back ----------------------------------------------------------------------------------------------
    def reports(self, name: str | None = None) -> list[MonitorReport]:
        """The reports that were kept, newest first; of one model if it is named."""
        r = schema.monitor_reports
        query = sa.select(r.c.data, r.c.version).order_by(r.c.at.desc(), r.c.id.desc())
        if name is not None:
            query = query.where(r.c.name == parse(name, kind="model").name)
        with self.store.read() as db:
            rows = db.execute(query).all()
        # A report that came from another store may be about a version that has another number here.
        return [dataclasses.replace(_report(self.store.blobs.get(row.data)), version=row.version) for row in rows]

    def alerts(self, open_only: bool = False) -> list[dict[str, Any]]:
        """The alerts, newest first: ``id report_id name version message status flow_id findings at closed_at``."""
        a = schema.alerts
        query = sa.select(a).order_by(a.c.at.desc(), a.c.id.desc())
        if open_only:
            query = query.where(a.c.status != "closed")
        with self.store.read() as db:
            return [dict(row) for row in db.execute(query).mappings()]

    def alert_rows(self, open_only: bool = False) -> list[dict[str, Any]]:
        """The same for a table: ``id model status message at flow_id``, where ``model`` is a reference."""
        return [
            {
                "id": alert["id"],
                "model": f"model:{alert['name']}@{alert['version']}",
                **{key: alert[key] for key in ("status", "message", "at", "flow_id")},
            }
            for alert in self.alerts(open_only)
        ]

    def status(self) -> list[dict[str, Any]]:
        """The latest report of every model version that was checked: ``model status rows at report_id alert_id``."""
        waiting = {(a["name"], a["version"]): a["id"] for a in reversed(self.alerts(open_only=True))}
        r = schema.monitor_reports
        with self.store.read() as db:
            rows = [dict(row) for row in db.execute(sa.select(r).order_by(r.c.at.desc(), r.c.id.desc())).mappings()]
        latest: dict[tuple[str, int], dict[str, Any]] = {}
        for row in rows:
            latest.setdefault((row["name"], row["version"]), row)
        return [
            {
                "model": f"model:{name}@{version}",
                "status": row["status"],
                "rows": row["rows"],
                "at": row["at"],
                "report_id": row["id"],
                "alert_id": waiting.get((name, version)),
            }
            for (name, version), row in latest.items()
        ]

    # -- acting ----------------------------------------------------------------------------------------------------
    def act(self, alert_id: str, pipeline: str | None = None, params: Mapping[str, Any] | None = None) -> Flow:
        """Retrain because of an alert: run the pipeline that trained the model again, and close the alert.

        A flow that fails leaves the alert open; one whose model the gate blocked does too, because nothing better
        came of it. Every stage is run anew.

        Args:
            alert_id: as :meth:`check` and :meth:`alerts` name it.
            pipeline: another pipeline file than the one that trained the alert's model version.
            params: overlaid on the parameters of that flow.

        Raises:
            NotFound: there is no such alert.
            UsageFault: it is closed or being acted on already, or no pipeline is known.
        """
        from nbmlops.pipelines.flow import Options

        alert = self._alert(alert_id)
        path, values = self._training(alert, pipeline, params)
        self._claim(alert)
        options = Options(force=True, trigger={"type": "alert", "ref": alert["id"]})
        try:
            flow = self.pipelines.run(path, values, options)
        except BaseException:  # Ctrl-C too: the alert stays open, and it is raised again
            self._settle(alert, {"status": "open"}, None)
            raise
        closed = flow.status == "FINISHED"
        state = {"status": "closed" if closed else "open", "closed_at": clock.now() if closed else None}
        self._settle(alert, {**state, "flow_id": flow.flow_id}, flow)
        return flow

    def _alert(self, alert_id: str) -> dict[str, Any]:
        found = self.alerts()
        match = next((a for a in found if a["id"] == alert_id.removeprefix("alert:")), None)
        if match is None:
            waiting = [a["id"] for a in found if a["status"] == "open"]
            hint = f"open alerts: {', '.join(waiting[:5])}" if waiting else "there is no open alert"
            raise NotFound.of("alert", alert_id, (), hint)
        return match

    def _claim(self, alert: dict[str, Any]) -> None:
        """From open to retraining, by one person only."""
        a = schema.alerts
        with self.store.write() as db:
            claim = a.update().where(a.c.id == alert["id"], a.c.status == "open").values(status="retraining")
            if db.execute(claim).rowcount:
                return
            status = db.execute(sa.select(a.c.status).where(a.c.id == alert["id"])).scalar()
        raise UsageFault(
            f"alert {alert['id']} is {status}, not open",
            "run the monitor again; it opens a new alert if there is reason",
        )

    def _settle(self, alert: dict[str, Any], values: dict[str, Any], flow: Flow | None) -> None:
        a = schema.alerts
        with self.store.write() as db:
            db.execute(a.update().where(a.c.id == alert["id"]).values(**values))
            if flow is not None and flow.status in {"FINISHED", "BLOCKED"}:
                ledger.append(
                    db,
                    type="model.retrained",
                    subject=f"model:{alert['name']}@{alert['version']}",
                    user=self.context().user,
                    data={"alert": alert["id"], "flow": flow.flow_id, "status": flow.status, "outputs": flow.outputs},
                )

    def _training(
        self, alert: dict[str, Any], pipeline: str | None, params: Mapping[str, Any] | None
    ) -> tuple[str, dict[str, Any]]:
        """The pipeline to run and its parameters."""
        if pipeline is not None:
            return str(pipeline), dict(params or {})
        ref = f"model:{alert['name']}@{alert['version']}"
        flow = self._flow_of(self.models.get(ref).run_id)
        if flow is None:
            hint = "name one: `nbmlops monitor retrain ALERT --pipeline FILE`, or monitors.act(alert, pipeline='FILE')"
            raise UsageFault(f"{ref} was not trained by a pipeline", hint)
        return flow["path"], {**(flow["params"] or {}), **(params or {})}

    def _flow_of(self, run_id: str | None) -> dict[str, Any] | None:
        """The flow whose stage this run is, or lies in."""
        r, s, f = schema.runs, schema.stage_runs, schema.flows
        with self.store.read() as db:
            for _ in range(_PARENTS):
                if run_id is None:
                    return None
                query = sa.select(f).join(s, s.c.flow_id == f.c.id).where(s.c.run_id == run_id)
                if row := db.execute(query).mappings().first():
                    return dict(row)
                run_id = db.execute(sa.select(r.c.parent_id).where(r.c.id == run_id)).scalar()
        return None


def _sides(sample: pd.DataFrame | None, log: PredictionLog) -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
    """The training sample's inputs and outputs; where a name is both, the input comes first."""
    if sample is None:
        return None, None
    first, last = (sample.loc[:, ~sample.columns.duplicated(keep=keep)] for keep in ("first", "last"))
    return first[[c for c in first if c not in log.outputs or c in log.inputs]], last[
        [c for c in last if c in log.outputs]
    ]


def _status(findings: list[Finding], rows: int, limits: Limits) -> str:
    if rows < limits.rows:
        return "no data"
    levels = {f.level for f in findings}
    return "alert" if "block" in levels else "warn" if "warn" in levels else "ok"


def _report(data: bytes) -> MonitorReport:
    fields = json.loads(data)
    findings = tuple(Finding(**f) for f in fields["findings"])
    return MonitorReport(**{**fields, "findings": findings, "drift": tuple(fields["drift"])})
