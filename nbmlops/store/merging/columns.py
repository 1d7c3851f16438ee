"""What every column of the schema is to a merge. A column that is not here fails a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

OWN = "own"  # an integer that only orders or ties rows within its store; made anew here
ID = "id"  # a ULID: the same thing in every store
LABEL = "label"  # an id that may have another form
EXPERIMENT = "experiment"  # experiments of one name are one, whatever their ids
RUN = "run"  # the id of a run that must be there
RUN_SEQ = "run seq"
KEY_ID = "key id"
LINK = "link"  # the id of something that may be elsewhere
NAME = "name"  # of a data set or model
KEY = "key"  # of a parameter, metric or tag
ALIAS = "alias"
PATH = "path"  # of an artifact: relative, and stays inside
DATASET = "data set version"  # the number of a version of the data set in ``name``
MODEL = "model version"
DIGEST = "digest"  # of a blob that must be there, whatever is in it
MANIFEST = "manifest"  # of a blob that must be there, and what it names too
# What may speak of ``dataset:NAME@3``: a text, JSON, or the JSON of a decision (``{"model": NAME, "version": 3, …}``).
REFERENCE = "reference"
REFERENCES = "references"
DECISION = "decision"
FACT = "fact"  # nothing in it is a reference
# What somebody wrote, or evidence of what was: kept to the letter, also where it speaks of a version.
PROSE = "prose"


@dataclass(frozen=True)
class Table:
    """How the rows of a table are taken over.

    ``key`` tells whether a row is there already. ``of`` is the column that says which run, execution or flow a row
    belongs to: such rows come with it, or not at all. ``state`` is a column and the values in which a row here may
    still be brought up to date.
    """

    title: str
    key: tuple[str, ...]
    columns: Mapping[str, str]
    of: str = ""
    state: tuple[str, tuple[object, ...]] | None = None


NOT_TAKEN = ("meta", "journals", "cell_journals", "ledger", "merged_stores", "merged_ledger", "announcements")

# In the order in which they are taken.
TABLES: Mapping[str, Table] = {
    "experiments": Table(
        "experiments", ("name",), {"id": ID, "name": KEY, "created_at": FACT, "tags": REFERENCES}
    ),
    "keys": Table("keys", ("name",), {"id": OWN, "name": KEY}),
    "runs": Table(
        "runs",
        ("id",),
        {
            "seq": OWN, "id": ID, "experiment_id": EXPERIMENT, "name": FACT, "kind": FACT, "status": FACT,
            "started_at": FACT, "ended_at": FACT, "heartbeat_at": FACT, "deleted_at": FACT, "parent_id": LINK,
            "user": FACT, "host": FACT, "pid": FACT, "source": FACT, "git": FACT, "environment": DIGEST,
            "description": PROSE, "error": PROSE, "verdict": PROSE,
        },
    ),
    "params": Table(
        "params",
        ("run_seq", "key_id"),
        {"run_seq": RUN_SEQ, "key_id": KEY_ID, "value": REFERENCE, "type": FACT, "number": FACT},
        of="run_seq",
    ),
    "param_history": Table(
        "earlier params",
        ("run_seq", "key_id", "at", "value"),
        {"seq": OWN, "run_seq": RUN_SEQ, "key_id": KEY_ID, "at": FACT, "value": REFERENCE},
        of="run_seq",
    ),
    "tags": Table(
        "tags", ("run_seq", "key_id"), {"run_seq": RUN_SEQ, "key_id": KEY_ID, "value": REFERENCE}, of="run_seq"
    ),
    "metric_latest": Table(
        "metrics",
        ("run_seq", "key_id"),
        {
            "run_seq": RUN_SEQ, "key_id": KEY_ID, "step": FACT, "at": FACT, "value": FACT, "special": FACT,
            "minimum": FACT, "maximum": FACT, "points": FACT,
        },
        of="run_seq",
    ),
    "metric_chunks": Table(
        "metric chunks",
        ("run_seq", "key_id", "chunk"),
        {"run_seq": RUN_SEQ, "key_id": KEY_ID, "chunk": FACT, "points": FACT, "data": FACT},
        of="run_seq",
    ),
    "artifacts": Table(
        "artifacts",
        ("run_seq", "path"),
        {
            "run_seq": RUN_SEQ, "path": PATH, "digest": DIGEST, "bytes": FACT, "media_type": FACT,
            "created_at": FACT,
        },
        of="run_seq",
    ),
    "cell_sessions": Table(
        "sessions",
        ("id",),
        {
            "id": LABEL, "frontend": FACT, "notebook": FACT, "kernel_id": FACT, "user": FACT, "host": FACT,
            "pid": FACT, "run_id": LINK, "started_at": FACT, "ended_at": FACT,
        },
        state=("ended_at", (None,)),
    ),
    "cell_executions": Table(
        "cells",
        ("id",),
        {
            "id": LABEL, "session_id": LINK, "number": FACT, "cell_id": FACT, "count": FACT, "source": PROSE,
            "status": FACT, "error": PROSE, "outputs": PROSE, "names": FACT, "started_at": FACT, "seconds": FACT,
        },
        state=("status", ("running",)),
    ),
    "cell_touches": Table(
        "touches",
        ("execution_id", "kind", "subject", "name", "mode"),
        {"execution_id": LABEL, "kind": FACT, "subject": REFERENCE, "name": FACT, "mode": FACT},
        of="execution_id",
    ),
    "certificates": Table(
        "certificates",
        ("id",),
        {"id": ID, "run_id": RUN, "status": FACT, "report": REFERENCES, "user": FACT, "at": FACT},
    ),
    "datasets": Table("data sets", ("name",), {"id": ID, "name": NAME, "created_at": FACT, "tags": REFERENCES}),
    "dataset_versions": Table(
        "data set versions",
        ("id",),
        {
            "id": ID, "name": NAME, "version": DATASET, "digest": FACT, "kind": FACT, "format": FACT,
            "manifest": MANIFEST, "profile": MANIFEST, "rows": FACT, "columns": FACT, "bytes": FACT, "schema": FACT,
            "message": PROSE, "source": REFERENCES, "user": FACT, "run_id": LINK, "created_at": FACT,
        },
    ),
    "dataset_aliases": Table(
        "data set aliases", ("name", "alias"), {"name": NAME, "alias": ALIAS, "version": DATASET}
    ),
    "dataset_tags": Table(
        "data set tags",
        ("name", "version", "key"),
        {"name": NAME, "version": DATASET, "key": KEY, "value": REFERENCE},
    ),
    "dataset_uses": Table(
        "uses of data sets",
        ("run_id", "name", "version", "mode"),
        {"seq": OWN, "run_id": RUN, "name": NAME, "version": DATASET, "mode": FACT, "at": FACT},
        of="run_id",
    ),
    "models": Table("models", ("name",), {"id": ID, "name": NAME, "created_at": FACT, "description": PROSE}),
    "model_versions": Table(
        "model versions",
        ("id",),
        {
            "id": ID, "name": NAME, "version": MODEL, "flavor": FACT, "package": MANIFEST, "signature": FACT,
            "metrics": FACT, "profile": MANIFEST, "datasets": REFERENCES, "run_id": LINK, "description": PROSE,
            "user": FACT, "bytes": FACT, "created_at": FACT, "deleted_at": FACT,
        },
    ),
    "evidence": Table(
        "evidence",
        ("version_id", "kind"),
        {
            "id": ID, "version_id": LINK, "kind": FACT, "status": FACT, "report": REFERENCES, "files": REFERENCES,
            "seconds": FACT, "user": FACT, "at": FACT,
        },
    ),
    "reviews": Table(
        "reviews",
        ("id",),
        {
            "id": ID, "name": NAME, "version": MODEL, "environment": FACT, "status": FACT, "findings": REFERENCES,
            "notebook": MANIFEST, "page": DIGEST, "user": FACT, "at": FACT,
        },
    ),
    "logged_models": Table(
        "logged models",
        ("run_id", "name"),
        {
            "run_id": RUN, "name": NAME, "flavor": FACT, "package": MANIFEST, "signature": FACT, "profile": MANIFEST,
            "bytes": FACT, "created_at": FACT,
        },
        of="run_id",
    ),
    "model_aliases": Table("model aliases", ("name", "alias"), {"name": NAME, "alias": ALIAS, "version": MODEL}),
    "model_uses": Table(
        "uses of models",
        ("run_id", "name", "version"),
        {"run_id": RUN, "name": NAME, "version": MODEL, "at": FACT},
        of="run_id",
    ),
    "alias_history": Table(
        "moves of aliases",
        ("name", "alias", "version", "previous", "reason", "user", "at"),
        {
            "seq": OWN, "name": NAME, "alias": ALIAS, "version": MODEL, "previous": MODEL, "reason": PROSE,
            "user": FACT, "at": FACT,
            "event_seq": OWN,  # of its own store's ledger, so null here: the moves of other stores are told by theirs
        },
    ),
    "approvals": Table(
        "approvals",
        ("id",),
        {
            "id": ID, "name": NAME, "version": MODEL, "environment": FACT, "status": FACT, "reason": PROSE,
            "user": FACT, "created_at": FACT, "findings": REFERENCES, "decided_by": FACT, "decision": PROSE,
            "decided_at": FACT, "policy": FACT, "expires_at": FACT, "review": LINK,
        },
        state=("status", ("open",)),
    ),
    "approval_votes": Table(
        "votes",
        ("id",),
        {
            "id": ID, "approval_id": LINK, "decision": FACT, "user": FACT, "identity": FACT, "roles": FACT,
            "reason": PROSE, "at": FACT, "event_seq": OWN,
        },
    ),
    "flows": Table(
        "flows",
        ("id",),
        {
            "id": ID, "name": FACT, "path": FACT, "status": FACT, "params": REFERENCES, "outputs": REFERENCES,
            "decision": DECISION, "trigger": REFERENCES, "spec": DIGEST, "user": FACT, "started_at": FACT,
            "ended_at": FACT, "error": PROSE, "pins": REFERENCES, "resumes": LINK,
        },
        state=("status", ("RUNNING",)),
    ),
    "stage_runs": Table(
        "stages",
        ("run_id",),
        {
            "run_id": RUN, "flow_id": LINK, "stage": FACT, "notebook": FACT, "status": FACT, "params": REFERENCES,
            "pins": REFERENCES, "source": DIGEST, "executed": DIGEST, "attempt": FACT, "cells_done": FACT,
            "cells": FACT, "error": PROSE, "started_at": FACT, "ended_at": FACT, "label": FACT,
            "fingerprint": FACT, "facts": REFERENCES, "why": REFERENCES, "reason": PROSE, "worker": FACT,
            "peak_memory": FACT,
        },
        of="run_id",
    ),
    "reused_stages": Table(
        "reused stages",
        ("flow_id", "stage", "label", "run_id", "at"),
        {"seq": OWN, "flow_id": LINK, "stage": FACT, "label": FACT, "run_id": RUN, "at": FACT},
        of="flow_id",
    ),
    "run_outputs": Table(
        "outputs", ("run_id", "name"), {"run_id": RUN, "name": FACT, "value": REFERENCES, "at": FACT}, of="run_id"
    ),
    "prediction_batches": Table(
        "prediction batches",
        ("id",),
        {
            "id": LABEL, "name": NAME, "version": MODEL, "environment": FACT, "source": FACT, "first_id": FACT,
            "last_id": FACT, "rows": FACT, "data": DIGEST, "run_id": LINK, "user": FACT, "since": FACT,
            "until": FACT,
        },
    ),
    "feedback": Table(
        "feedback",
        ("prediction_id", "actual", "user", "at"),
        {"seq": OWN, "prediction_id": FACT, "actual": FACT, "user": FACT, "at": FACT},
    ),
    "monitor_reports": Table(
        "monitor reports",
        ("id",),
        {
            "id": ID, "name": NAME, "version": MODEL, "status": FACT, "since": FACT, "until": FACT, "rows": FACT,
            "data": MANIFEST, "at": FACT,
        },
    ),
    "alerts": Table(
        "alerts",
        ("id",),
        {
            "id": ID, "report_id": LINK, "name": NAME, "version": MODEL, "message": PROSE, "status": FACT,
            "flow_id": LINK, "findings": REFERENCES, "at": FACT, "closed_at": FACT,
        },
        state=("status", ("open", "retraining")),
    ),
}  # fmt: skip
