"""The dashboard: runs, data sets, models, flows and alerts in tabs. One verb of the page is one call of a desk."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import traitlets

from nbmlops import clock, refs
from nbmlops.display import html_table, sections
from nbmlops.errors import InvalidValue, NbmlopsError, NotFound
from nbmlops.widgets import esm, views
from nbmlops.widgets.view import View

MOST_RUNS = 2000

# What a saved copy keeps.
KEPT_RUNS = 200
KEPT_CARDS = 50
KEPT_CURVES = 10  # runs
KEPT_METRICS = 4  # of each of them
KEPT_POINTS = 200

Args = Mapping[str, str]


@dataclass(frozen=True)
class Verb:
    """One verb the page may use: what it calls, and the names of all its arguments, each a text."""

    call: Callable[[Any, Args], Any]
    takes: tuple[str, ...] = ()


def _dataset(ws: Any, args: Args) -> dict[str, Any]:
    version = ws.datasets.get(args["ref"])
    return {"card": views.card_payload(version), "profile": views.profile_payload(ws.datasets.profile(version))}


def _model(ws: Any, args: Args) -> dict[str, Any]:
    found = ws.models.get(args["ref"])
    history = {e: ws.promotion.history(found.name, e) for e in ws.promotion.policies().environments}
    return {
        "card": views.card_payload(found),
        "name": found.name,
        "version": found.version,
        "aliases": list(found.aliases),
        "history": views.history_payload(history),
    }


def _report(ws: Any, args: Args) -> dict[str, Any]:
    for report in ws.monitors.reports():
        if report.report_id == args["ref"]:
            return views.card_payload(report)
    raise NotFound.of("monitor report", args["ref"])


def _curve(ws: Any, args: Args) -> dict[str, Any]:
    return views.curve_payload(ws.runs.metric_history(refs.parse(args["ref"], "run").name, args["key"]))


def _promote(ws: Any, args: Args) -> dict[str, Any]:
    return views.card_payload(ws.promotion.promote(args["ref"], args["to"], args["reason"]))


def _approve(ws: Any, args: Args) -> dict[str, Any]:
    return views.card_payload(ws.promotion.approve(args["ref"], args["to"], args["reason"]))


def _reject(ws: Any, args: Args) -> dict[str, Any]:
    return views.card_payload(ws.promotion.reject(args["ref"], args["to"], args["reason"]))


def _rollback(ws: Any, args: Args) -> dict[str, Any]:
    return views.card_payload(ws.promotion.rollback(args["name"], args["environment"], args["reason"]))


READS: dict[str, Verb] = {
    "runs": Verb(lambda ws, args: views.table_payload(ws.runs.search(limit=MOST_RUNS), "runs")),
    "run": Verb(lambda ws, args: views.card_payload(ws.runs.get(args["ref"])), ("ref",)),
    "curve": Verb(_curve, ("ref", "key")),
    "datasets": Verb(lambda ws, args: views.table_payload(ws.datasets.list(), "data sets")),
    "dataset_versions": Verb(lambda ws, args: views.table_payload(ws.datasets.versions(args["name"])), ("name",)),
    "dataset": Verb(_dataset, ("ref",)),
    "models": Verb(lambda ws, args: views.table_payload(ws.models.list(), "models")),
    "model_versions": Verb(lambda ws, args: views.table_payload(ws.models.versions(args["name"])), ("name",)),
    "model": Verb(_model, ("ref",)),
    "pending": Verb(lambda ws, args: views.pending_payload(ws.promotion.pending())),
    "flows": Verb(lambda ws, args: views.table_payload(ws.pipelines.flows(), "flows")),
    "flow": Verb(lambda ws, args: views.card_payload(ws.pipelines.get(args["ref"])), ("ref",)),
    "reports": Verb(lambda ws, args: views.table_payload(ws.monitors.reports(), "reports")),
    "report": Verb(_report, ("ref",)),
    "alerts": Verb(lambda ws, args: views.table_payload(ws.monitors.alerts(), "alerts")),
}
ACTS: dict[str, Verb] = {
    "promote": Verb(_promote, ("ref", "to", "reason")),
    "approve": Verb(_approve, ("ref", "to", "reason")),
    "reject": Verb(_reject, ("ref", "to", "reason")),
    "rollback": Verb(_rollback, ("name", "environment", "reason")),
}
VERBS = READS | ACTS


def answer(workspace: Any, message: Any) -> dict[str, Any]:
    """The reply to one message ``{id, verb, args}``: ``{id, ok: True, data}`` or ``{id, ok: False, error}``."""
    message = message if isinstance(message, Mapping) else {}
    asked = message.get("id")
    try:
        verb, args = _checked(message)
        return {"id": asked, "ok": True, "data": verb.call(workspace, args)}
    except NbmlopsError as error:
        return {"id": asked, "ok": False, "error": _fault(error)}
    except Exception as error:  # the page must show a bug too: a comm handler's traceback reaches nobody
        logging.getLogger(__name__).exception("the dashboard's verb %r failed", message.get("verb"))
        found = {
            "error": type(error).__name__,
            "message": str(error),
            "hint": "this is a fault of nbmlops; the log has more",
        }
        return {"id": asked, "ok": False, "error": found}


def _checked(message: Mapping[str, Any]) -> tuple[Verb, Args]:
    name, args = message.get("verb"), message.get("args") or {}
    verb = VERBS.get(name) if isinstance(name, str) else None
    if verb is None:
        raise NotFound.of("verb", str(name), VERBS)
    if (
        not isinstance(args, Mapping)
        or set(args) != set(verb.takes)
        or not all(isinstance(v, str) for v in args.values())
    ):
        raise InvalidValue(f"{name} takes the texts {', '.join(verb.takes) or 'nothing'}", "reload the page")
    if "reason" in args and not args["reason"].strip():
        raise InvalidValue(f"{name} needs a reason", "say why: the ledger keeps it")
    return verb, args


def _fault(error: NbmlopsError) -> dict[str, Any]:
    found: dict[str, Any] = dict(error.to_dict())
    findings = sections.findings(getattr(error, "findings", ()))
    if findings:
        found["findings"] = views.grid_payload(findings[0])  # type: ignore[arg-type]
    return found


def name_of(verb: str, args: Args) -> str:
    """The name under which a saved copy keeps a reply; the page builds the same."""
    return f"{verb}?{'&'.join(f'{k}={args[k]}' for k in sorted(args))}"


def snapshot(workspace: Any) -> dict[str, Any]:
    """Replies to what a reader of a saved copy is likely to ask, by :func:`name_of`."""
    kept: dict[str, Any] = {}

    def keep(verb: str, **args: str) -> Any:
        reply = answer(workspace, {"verb": verb, "args": args})
        kept[name_of(verb, args)] = {k: v for k, v in reply.items() if k != "id"}
        return reply.get("data") or {"ids": [], "rows": [], "columns": []}

    runs = keep("runs")
    runs["rows"], runs["ids"] = runs["rows"][:KEPT_RUNS], runs["ids"][:KEPT_RUNS]
    metrics = [c["key"].removeprefix("metrics.") for c in runs["columns"] if c["key"].startswith("metrics.")]
    for place, ref in enumerate(runs["ids"][:KEPT_CARDS]):
        keep("run", ref=ref)
        for key in metrics[:KEPT_METRICS] if place < KEPT_CURVES else ():
            curve = keep("curve", ref=ref, key=key)
            if "points" in curve:
                places = views.thin(np.array([float(y) for _, y in curve["points"]]), KEPT_POINTS)
                curve["points"] = [curve["points"][i] for i in places]
    for many, one in (("datasets", "dataset"), ("models", "model")):
        found = keep(many)
        for row in found["rows"][:KEPT_CARDS]:
            versions = keep(f"{one}_versions", name=str(row[0]))
            for ref in versions["ids"][:5]:
                keep(one, ref=ref)
        for ref in found["ids"][:KEPT_CARDS]:
            keep(one, ref=ref)
    keep("pending")
    keep("alerts")
    for many, one in (("flows", "flow"), ("reports", "report")):
        for ref in keep(many)["ids"][:KEPT_CARDS]:
            keep(one, ref=ref)
    return kept


def _bare(kept: Mapping[str, Any]) -> str:
    """For readers that run no script: how much there is of what."""
    names = {"runs": "runs", "datasets": "data sets", "models": "models", "flows": "flows", "alerts": "alerts"}
    rows = [(title, len(kept[f"{verb}?"].get("data", {}).get("rows", []))) for verb, title in names.items()]
    return html_table(rows, ["nbmlops", "kept here"], "dashboard")


def static_html(workspace: Any, token: str = "") -> str:
    """The dashboard as a fragment, read-only, that needs neither kernel nor network."""
    kept = snapshot(workspace)
    state = {"live": False, "snapshot": kept, "tab": 0, "saved_at": clock.now()}
    return esm.twin("dashboard", state, _bare(kept), token)


def dashboard_page(workspace: Any) -> str:
    """The read-only dashboard as a whole HTML page, to send or to keep."""
    return esm.page("nbmlops dashboard", static_html(workspace))


class Dashboard(View):
    """The widget: ``Dashboard(workspace)`` as the last value of a cell shows it; it answers the page's messages."""

    _esm = esm.source("dashboard")
    _css = esm.css()
    live = traitlets.Bool(True).tag(sync=True)
    tab = traitlets.Int(0).tag(sync=True)

    def __init__(self, workspace: Any, **more: Any) -> None:
        super().__init__(**more)
        self._workspace = workspace
        self.on_msg(self._on_message)

    def _on_message(self, widget: Any, content: Any, buffers: Any) -> None:
        self.send(answer(self._workspace, content))

    def static_html(self) -> str:
        """What the dashboard shows now, read-only."""
        return static_html(self._workspace, self.token)

    def text(self) -> str:
        """One line: what it is."""
        return "nbmlops dashboard"
