"""One builder per record class: record -> :class:`Card`. Duck-typed, so that nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nbmlops import clock
from nbmlops.display import (
    capsules,
    cells,
    certificates,
    data,
    environments,
    extraction,
    governance,
    history,
    pipelines,
    quality,
    stages,
)
from nbmlops.display.plain import tree
from nbmlops.display.sections import (
    drift_grid,
    error_block,
    findings,
    grid,
    pairs,
    short,
    signature_grid,
    told,
)
from nbmlops.display.shape import Block, Card, Column

MOST_PASSED = 5  # findings that passed and are listed in a promotion's card; of more only the names are told


def card(record: Any) -> Card:
    """The card of a record of any class in :data:`BUILDERS`.

    Raises:
        KeyError: there is no builder for this class.
    """
    return BUILDERS[type(record).__name__](record)


def _experiment(x: Any) -> Card:
    facts = told(("runs", x.runs, "count"), ("created", x.created_at, "time"), ("id", x.experiment_id, "code"))
    return Card("experiment", x.name, "", facts, pairs("tags", x.tags))


def _artifact(x: Any) -> Card:
    facts = told(
        ("size", x.bytes, "bytes"),
        ("type", x.media_type, "text"),
        ("kept", x.created_at, "time"),
        ("digest", x.digest, "code"),
    )
    return Card("artifact", x.path, "", facts)


def _commit(git: Mapping[str, Any] | None) -> str:
    if not git or not git.get("commit"):
        return ""
    return f"{str(git['commit'])[:10]}{' + uncommitted changes' if git.get('dirty') else ''}"


def _run(x: Any) -> Card:
    source = x.source.get("path") or x.source.get("type") or ""
    facts = told(
        ("experiment", x.experiment, "text"),
        ("started", x.started_at, "time"),
        ("took", x.duration, "duration"),
        ("user", x.user, "text"),
        ("kind", x.kind if x.kind != "run" else "", "text"),
        ("source", source, "text"),
        ("commit", _commit(x.git), "code"),
        ("data", x.datasets, "code"),
        ("certificate", certificates.line(x.certificate), "text"),
        ("description", x.description, "text"),
        ("clean run", cells.quiet(x.verdict), "sentence"),
        ("id", x.run_id, "code"),
    )
    files = [(a.path, a.bytes, a.media_type) for a in x.artifacts]
    columns = (Column("path", "path"), Column("bytes", "size", "bytes"), Column("type", "type"))
    sections = (
        *error_block(x.error),
        *pairs("metrics", x.metrics, "number"),
        *pairs("params", x.params),
        *pairs("tags", x.tags),
        *grid("artifacts", columns, files),
        *cells.of_run(x.cells),
    )
    return Card("run", x.name or x.run_id, x.status, facts, sections)


def _model(x: Any) -> Card:
    facts = told(
        ("aliases", x.aliases, "badges"),
        ("flavor", x.flavor, "text"),
        ("size", x.bytes, "bytes"),
        ("user", x.user, "text"),
        ("created", x.created_at or None, "time"),
        ("run", x.run_id, "code"),
        ("data", x.datasets, "code"),
        ("certificate", certificates.line(x.certificate), "text"),
        ("description", x.description, "text"),
        ("package", x.package, "code"),
    )
    name = f"{x.name}@{x.version}" if x.version else x.name
    status = "" if x.version else "candidate"
    return Card("model", name, status, facts, (*pairs("metrics", x.metrics, "number"), *signature_grid(x.signature)))


def _finding(x: Any) -> Card:
    facts = told(("asked", x.asked, "text"), ("seen", x.seen, "text"), ("what to do", x.hint, "text"))
    return Card("finding", x.check, x.level, facts)


def _promotion(x: Any) -> Card:
    facts = told(
        ("environment", x.environment, "text"),
        ("reason", x.reason, "text"),
        ("by", x.user, "text"),
        ("before", f"version {x.previous}" if x.previous else "", "text"),
        ("at", x.at or None, "time"),
        ("approval", x.approval_id, "code"),
        ("event", x.event, "text"),
    )
    return Card(
        "promotion",
        f"{x.model}@{x.version} → {x.environment}",
        x.status,
        facts,
        findings(x.findings, most_passed=MOST_PASSED),
    )


def _predictions(x: Any) -> Card:
    facts = told(
        ("model", x.model, "code"),
        ("rows", x.rows, "count"),
        ("written to", x.out, "text"),
        ("batch", x.batch_id, "code"),
    )
    if x.frame is None:
        return Card("predictions", x.model, "", facts)
    head = x.frame.head(5)
    columns = tuple(Column(str(c), str(c), "number") for c in head.columns)
    rows = [
        tuple(short(v.item() if hasattr(v, "item") else v) for v in row)
        for row in head.itertuples(index=False, name=None)
    ]
    return Card("predictions", x.model, "", facts, grid("first rows", columns, rows))


def _report(x: Any) -> Card:
    window = " … ".join(clock.local(t) for t in (x.since, x.until) if t is not None)
    facts = told(
        ("window", window, "text"),
        ("predictions", x.rows, "count"),
        ("checked", x.at or None, "time"),
        ("alert", x.alert_id, "code"),
        ("id", x.report_id, "code"),
    )
    sections = (*findings(x.findings), *drift_grid(x.drift), *pairs("performance", x.performance, "number"))
    return Card("monitor report", f"{x.model}@{x.version}", x.status, facts, sections)


def _event(x: Any) -> Card:
    facts = told(
        ("subject", x.subject, "code"),
        ("by", x.user, "text"),
        ("at", x.at, "time"),
        ("store", x.store, "code"),
        ("hash", x.hash, "code"),
        ("previous", x.previous, "code"),
    )
    return Card("event", f"{x.seq} {x.type}", "", facts, pairs("data", x.data))


def _node(x: Any) -> Card:
    facts = told(*((name, short(value), "text") for name, value in x.facts.items()))
    behind = [(n.kind, n.title, n.ref) for n in x.behind]
    columns = (Column("kind", "kind"), Column("title", "title"), Column("ref", "ref", "code"))
    return Card(x.kind, x.title, "", facts, grid("behind it", columns, behind))


def _lineage(x: Any) -> Card:
    return Card("impact" if x.direction == "after" else "lineage", x.root.title, "", (), (Block("", tree(x)),))


def _store(x: Any) -> Card:
    facts = told(("artifacts", x.artifacts, "code"), ("schema", x.schema, "text"), ("journal", x.journal_mode, "text"))
    rows = [(s.get("setting", ""), short(s.get("value")), s.get("origin", "")) for s in x.settings]
    columns = (Column("name", "setting"), Column("value", "value"), Column("origin", "from"))
    return Card("store", x.url, "", facts, (*pairs("contents", x.counts, "count"), *grid("settings", columns, rows)))


def _diagnosis(x: Any) -> Card:
    worst = {f.level for f in x.findings}
    status = "block" if "block" in worst else "warn" if "warn" in worst else "pass"
    facts = told(("python", x.python, "text"), ("checked", x.at, "time"))
    return Card("diagnosis", f"nbmlops {x.version}", status, facts, findings(x.findings))


def _gc(x: Any) -> Card:
    verb = "deleted" if x.deleted else "would be deleted"
    facts = told(
        (verb, x.blobs, "count"),
        ("size", x.bytes, "bytes"),
        ("oldest", x.oldest, "time"),
        ("leftovers", x.leftovers, "count"),
        ("their size", x.leftover_bytes, "bytes"),
        ("kept: needed", x.needed, "count"),
        (f"kept: younger than {clock.duration(x.grace)}", x.young, "count"),
        ("damaged", x.damaged or None, "count"),
    )
    rows = [(e["digest"], e["bytes"], e["touched"]) for e in x.examples]
    columns = (
        Column("digest", "digest", "code"),
        Column("bytes", "size", "bytes"),
        Column("touched", "last wanted", "time"),
    )
    title = "store gc" if x.deleted else "store gc (dry run; --delete deletes)"
    return Card("clearing up", title, "", facts, grid("the oldest", columns, rows))


def _check(x: Any) -> Card:
    facts = told(("objects", x.blobs, "count"), ("size", x.bytes, "bytes"))
    return Card("verification", "stored objects", "pass" if x.ok else "block", facts, findings(x.findings))


def _merged(x: Any) -> Card:
    kinds = [name for name in dict.fromkeys((*x.added, *x.updated)) if x.added.get(name) or x.updated.get(name)]
    rows = [(name, x.added.get(name, 0), x.updated.get(name, 0), x.there.get(name, 0)) for name in kinds]
    columns = (
        Column("kind", "kind"),
        Column("added", "new", "count"),
        Column("updated", "brought up to date", "count"),
        Column("there", "were there", "count"),
    )
    moved = [(r.there, r.here, "the same content" if r.same else "the number was taken") for r in x.renumbered]
    facts = told(
        ("came", None if rows else "nothing new", "text"),
        ("store", x.store_id, "code"),
        ("event", x.event, "count"),
        ("were there", sum(x.there.values()), "count"),
        ("files", x.blobs, "count"),
        ("size", x.bytes, "bytes"),
        ("events taken over", x.events, "count"),
    )
    numbers = (Column("there", "there", "code"), Column("here", "here", "code"), Column("why", "why"))
    return Card(
        "merge",
        f"{x.origin} (dry run: nothing was written)" if x.dry_run else x.origin,
        "warn" if x.left_out else "pass",
        facts,
        (
            *grid("what came", columns, rows),
            *grid("numbers", numbers, moved),
            *grid("left out", (Column("what", ""),), [(text,) for text in x.left_out]),
        ),
    )


def _renumbered(x: Any) -> Card:
    why = "the same content" if x.same else "the number was taken"
    return Card("version", f"{x.there} is {x.here} here", "", told(("why", why, "text")))


BUILDERS: dict[str, Callable[[Any], Card]] = {
    "CapsuleReport": capsules.capsule,
    "CellExecution": cells.execution,
    "CellSession": cells.session,
    "CellFinding": cells.finding,
    "CellTouch": cells.touch,
    "Verdict": cells.verdict,
    "Experiment": _experiment,
    "Artifact": _artifact,
    "Run": _run,
    "DatasetVersion": data.dataset,
    "DatasetDiff": data.difference,
    "DatasetProfile": data.profile,
    "DatasetUse": data.use,
    "ModelVersion": _model,
    "Finding": _finding,
    "Promotion": _promotion,
    "Certificate": certificates.certificate,
    "Difference": certificates.difference,
    "StageRun": pipelines.stage,
    "StageContract": stages.contract,
    "Flow": pipelines.flow,
    "PlannedStage": pipelines.planned,
    "Plan": pipelines.plan,
    "Predictions": _predictions,
    "MonitorReport": _report,
    "Event": _event,
    "LineageNode": _node,
    "Lineage": _lineage,
    "StoreInfo": _store,
    "Diagnosis": _diagnosis,
    "ContractReport": quality.contract_report,
    "Violation": quality.violation,
    "Duplicates": quality.duplicates,
    "Leakage": quality.leakage,
    "LabelReport": quality.label_report,
    "GcReport": _gc,
    "StoreCheck": _check,
    "CellHistory": history.history,
    "CellVersion": history.version,
    "Environment": environments.environment,
    "EnvironmentCheck": environments.check,
    "Merged": _merged,
    "Renumbered": _renumbered,
    "Evidence": governance.evidence,
    "Exported": governance.exported,
    "ModelCard": governance.card,
    "Dossier": governance.card,
    "Section": governance.section,
    "Statement": governance.statement,
    "EnvironmentPolicy": governance.policy,
    "Identity": governance.identity,
    "Vote": governance.vote,
    "Approval": governance.approval,
    "Review": governance.review,
    "Extracted": extraction.extracted,
    "LiftedParameter": extraction.parameter,
    "ReadTurned": extraction.read,
}
