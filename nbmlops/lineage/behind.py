"""What lies behind a prediction, a model, a data set, a run or a decision, back to data and cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from nbmlops import clock
from nbmlops.errors import NotFound
from nbmlops.records import Certificate, LineageNode, ModelVersion
from nbmlops.refs import parse
from nbmlops.store import ledger, schema

if TYPE_CHECKING:
    from nbmlops.lineage import Lineages

_DEPTH = 60  # data sets made from data sets; a longer chain is cut, and says so


class Walk:
    """One walk: each thing is looked up once, and nothing twice on one path."""

    def __init__(self, desk: Lineages) -> None:
        self._desk = desk
        self._known: dict[str, LineageNode] = {}
        self._path: list[str] = []

    def root(self, ref: str) -> LineageNode:
        asked = parse(ref)
        if asked.kind == "model":
            return self._model(self._desk.models.get(str(asked), deleted=True))
        if asked.kind == "dataset":
            return self._dataset(self._desk.datasets.get(str(asked)).ref)
        if asked.kind == "run":
            return self._run(self._desk.runs.get(str(asked)).run_id)
        if asked.kind == "stage":
            return self._run(self._latest_stage(asked.name))
        return {"prediction": self._prediction, "flow": self._flow, "event": self._event}[asked.kind](asked.name)

    # -- one method per kind ---------------------------------------------------------------------------------------
    def _prediction(self, prediction_id: str) -> LineageNode:
        found = self._desk.deployments.prediction(prediction_id)
        facts = {
            "at": clock.iso(found["at"]),
            "inputs": found["inputs"],
            "outputs": found["outputs"],
            "actual": found["actual"],
            "source": found["source"],
            "environment": found["environment"],
            "user": found["user"],
        }
        title = f"prediction:{found['prediction_id']} by {found['model']}"
        behind = [self._node(found["model"])]
        return LineageNode(f"prediction:{found['prediction_id']}", "prediction", title, _said(facts), tuple(behind))

    def _model(self, model: ModelVersion) -> LineageNode:
        facts = {
            "registered": _by(model.user, model.created_at),
            "flavor": model.flavor,
            "description": model.description,
            "aliases": ", ".join(model.aliases),
            "metrics": model.metrics,
            "package": model.package,
            "training profile": model.profile,
            "certificate": _certified(model.certificate),
            "history": self._history(model.name, model.version),
            "evidence": self._evidence(model),
        }
        behind = [f"run:{model.run_id}"] if model.run_id else list(model.datasets)
        title = f"{model.ref} ({model.flavor})"
        return LineageNode(model.ref, "model", title, _said(facts), self._nodes(behind))

    def _run(self, run_id: str) -> LineageNode:
        run = self._desk.runs.get(f"run:{run_id}")
        stage = self._row(schema.stage_runs, schema.stage_runs.c.run_id == run.run_id)
        git = run.git or {}
        facts = {
            "status": run.status,
            "started": _by(run.user, run.started_at),
            "host": run.host,
            "took": clock.duration(run.duration),
            "source": run.source.get("path") or run.source.get("type"),
            "cell": run.source.get("cell_id"),
            "git commit": git.get("commit")
            and git["commit"] + (" with uncommitted changes" if git.get("dirty") else ""),
            "uncommitted changes": git.get("diff"),
            "environment": run.environment,
            "params": run.params,
            "metrics": run.metrics,
            "certificate": _certified(run.certificate),
            "error": run.error and f"{run.error.get('name')}: {run.error.get('message')}",
        }
        behind = [*run.datasets, *self._desk.runs.models(run.run_id)]
        title = f"run:{run.run_id} {run.name}"
        if stage:
            title = f"run:{run.run_id} stage {stage['stage']} ({stage['notebook']})"
            facts |= {
                "notebook": stage["notebook"],
                "notebook as it was": stage["source"],
                "executed notebook": stage["executed"],
                "stage params": stage["params"],
                "pins": stage["pins"],
                "attempt": stage["attempt"],
                "why it ran": ", ".join(stage["why"] or ()),
                "handed on": self._desk.runs.handed_on([run.run_id])[run.run_id],
            }
            flow = f"flow:{stage['flow_id']}" if stage["flow_id"] else None
            behind = ([flow] if flow and flow not in self._path else []) + behind
        if run.parent_id and f"run:{run.parent_id}" not in self._path:
            behind.append(f"run:{run.parent_id}")
        return LineageNode(run.ref, "run", title, _said(facts), self._nodes(behind))

    def _flow(self, flow_id: str) -> LineageNode:
        """As the root, a flow leads to its stages; behind one of its stages, only to what triggered it."""
        row = self._row(schema.flows, schema.flows.c.id == flow_id)
        if row is None:
            raise NotFound.of("flow", flow_id, [], "`nbmlops pipeline status` lists the flows")
        trigger = row["trigger"] or {}
        facts = {
            "status": row["status"],
            "started": _by(row["user"], row["started_at"]),
            "params": row["params"],
            "outputs": row["outputs"],
            "trigger": trigger.get("type"),
            "pipeline file": row["spec"],
            "decision": (row["decision"] or {}).get("status"),
        }
        behind = self._alert(trigger["ref"]) if trigger.get("type") == "alert" else []
        if not self._path:
            self._path.append(f"flow:{flow_id}")
            behind += [self._run(run_id) for run_id in self._stages_of(flow_id)]
            self._path.pop()
        title = f"flow:{row['id']} {row['name']} ({row['path']})"
        return LineageNode(f"flow:{row['id']}", "flow", title, _said(facts), tuple(behind))

    def _dataset(self, ref: str) -> LineageNode:
        version = self._desk.datasets.get(ref)
        facts = {
            "written": _by(version.user, version.created_at),
            "message": version.message,
            "rows": version.rows,
            "columns": version.columns,
            "digest": version.digest,
            "source": version.source.get("path") or version.source.get("type"),
        }
        title = f"{version.ref}: {version.rows:,} rows, {version.columns} columns"
        behind = [str(version.source["of"])] if version.source.get("type") == "split" else []
        behind += [f"run:{version.run_id}"] if version.run_id else []
        return LineageNode(version.ref, "dataset", title, _said(facts), self._nodes(behind))

    def _event(self, seq: str) -> LineageNode:
        if not seq.isdecimal():
            raise NotFound.of("event", seq, [], "an event is named by its number in the ledger")
        event = ledger.get(self._desk.store, int(seq))
        facts = {"by": _by(event.user, event.at), "hash": event.hash, **{str(k): v for k, v in event.data.items()}}
        title = f"event:{event.seq} {event.type} of {event.subject}"
        return LineageNode(event.ref, "event", title, _said(facts), self._nodes([event.subject]))

    def _alert(self, alert_id: str) -> list[LineageNode]:
        row = self._row(schema.alerts, schema.alerts.c.id == alert_id)
        if row is None:
            return [_missing(f"alert:{alert_id}")]
        facts = {
            "at": clock.iso(row["at"]),
            "message": row["message"],
            "status": row["status"],
            "report": row["report_id"],
        }
        title = f"alert:{alert_id} on model:{row['name']}@{row['version']}"
        return [LineageNode(f"alert:{alert_id}", "alert", title, _said(facts))]

    # -- walking ---------------------------------------------------------------------------------------------------
    def _nodes(self, refs: list[str]) -> tuple[LineageNode, ...]:
        return tuple(self._node(ref) for ref in dict.fromkeys(refs))

    def _node(self, ref: str) -> LineageNode:
        if ref in self._known:
            return self._known[ref]
        if ref in self._path or len(self._path) >= _DEPTH:
            return LineageNode(ref, ref.partition(":")[0], f"{ref} (not followed further)")
        self._path.append(ref)
        try:
            node = self.root(ref)
        except NotFound:
            node = _missing(ref)
        finally:
            self._path.pop()
        self._known[ref] = node
        return node

    # -- rows ------------------------------------------------------------------------------------------------------
    def _row(self, table: sa.Table, where: sa.ColumnElement[bool]) -> dict[str, Any] | None:
        with self._desk.store.read() as db:
            row = db.execute(sa.select(table).where(where)).mappings().first()
        return None if row is None else dict(row)

    def _stages_of(self, flow_id: str) -> list[str]:
        """What the flow executed, and what it took from earlier ones."""
        s, u = schema.stage_runs, schema.reused_stages
        own = sa.select(s.c.run_id, s.c.started_at).where(s.c.flow_id == flow_id)
        taken = sa.select(u.c.run_id, u.c.at).where(u.c.flow_id == flow_id)
        with self._desk.store.read() as db:
            rows = [*db.execute(own).all(), *db.execute(taken).all()]
        return [run_id for run_id, _ in sorted(rows, key=lambda row: row[1])]

    def _latest_stage(self, name: str) -> str:
        s = schema.stage_runs
        with self._desk.store.read() as db:
            query = sa.select(s.c.run_id).where(s.c.stage == name).order_by(s.c.started_at.desc()).limit(1)
            run_id = db.execute(query).scalar()
            if run_id is None:
                raise NotFound.of("stage", name, db.execute(sa.select(s.c.stage).distinct()).scalars())
        return run_id

    def _evidence(self, model: ModelVersion) -> str:
        """The kinds that were measured."""
        e, v = schema.evidence, schema.model_versions
        held = sa.and_(v.c.id == e.c.version_id, v.c.name == model.name, v.c.version == model.version)
        query = sa.select(e.c.kind).where(e.c.status == "done", sa.exists().where(held)).order_by(e.c.kind)
        with self._desk.store.read() as db:
            return ", ".join(db.execute(query).scalars())

    def _history(self, name: str, version: int) -> list[str]:
        """Approvals and moves of aliases that concern this version, oldest first, one line each."""
        a, p, w, v = schema.alias_history, schema.approvals, schema.approval_votes, schema.model_versions
        lines: list[tuple[float, str]] = []
        with self._desk.store.read() as db:
            moved = sa.select(a).where(a.c.name == name, (a.c.version == version) | (a.c.previous == version))
            for row in db.execute(moved).mappings():
                verb = f"became {row['alias']}" if row["version"] == version else f"was replaced as {row['alias']}"
                lines.append((row["at"], f"{verb}, by {row['user']}: {row['reason']}"))
            votes = sa.select(w, p.c.environment).join(p, p.c.id == w.c.approval_id)
            for row in db.execute(votes.where(p.c.name == name, p.c.version == version)).mappings():
                told = f"{row['user']} says {row['decision']} for {row['environment']}"
                lines.append((row["at"], f"{told} (known by {row['identity']}): {row['reason']}"))
            gone = sa.select(v.c.deleted_at).where(v.c.name == name, v.c.version == version)
            if (at := db.execute(gone).scalar()) is not None:
                lines.append((at, "was deleted"))
            for row in db.execute(sa.select(p).where(p.c.name == name, p.c.version == version)).mappings():
                lines.append(
                    (row["created_at"], f"proposed for {row['environment']}, by {row['user']}: {row['reason']}")
                )
                if row["decided_at"]:
                    text = f"{row['status']} for {row['environment']}, by {row['decided_by']}: {row['decision']}"
                    lines.append((row["decided_at"], text))
        return [f"{clock.iso(at)} {text}" for at, text in sorted(lines)]


def _certified(certificate: Certificate | None) -> str:
    """What became of a clean run, and when."""
    return "" if certificate is None else f"{certificate.status}, {_by(certificate.user, certificate.at)}"


def _by(user: str, at: float | None) -> str:
    return f"{clock.iso(at)} by {user}" if user else clock.iso(at)


def _said(facts: dict[str, Any]) -> dict[str, Any]:
    """Without what is not known."""
    return {name: value for name, value in facts.items() if value not in (None, "", {}, [], ())}


def _missing(ref: str) -> LineageNode:
    return LineageNode(
        ref, ref.partition(":")[0], f"{ref} (missing)", {"missing": "it is not in this store (any more)"}
    )
