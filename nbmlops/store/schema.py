"""The tables, and nothing else. A change here needs a migration; a test compares the two.

Times are seconds since the epoch (UTC). ``digest`` columns name blobs (``sha256:…``). Runs carry a small integer
``seq`` beside their ULID, because millions of parameter, metric and tag rows refer to them.
NaN and infinities are kept as NULL in ``value`` with a mark in ``special``: SQL has no portable NaN.
"""

from __future__ import annotations

import sqlalchemy as sa

from nbmlops.store.columns import Text, id_, int_, json, metadata, number, seq, table, text
from nbmlops.store.schema_cells import (
    cell_executions,
    cell_journals,
    cell_sessions,
    cell_touches,
    certificates,
    merged_ledger,
    merged_stores,
)
from nbmlops.store.schema_decisions import announcements, approval_votes, approvals, evidence, ledger, reviews

# What the tables are asked for by: `schema.runs`, whichever file they are written in.
__all__ = [
    "alerts", "alias_history", "announcements", "approval_votes", "approvals", "artifacts", "cell_executions",
    "cell_journals", "cell_sessions", "cell_touches", "certificates", "dataset_aliases", "dataset_tags",
    "dataset_uses", "dataset_versions", "datasets", "evidence", "experiments", "feedback", "flows", "journals",
    "keys", "ledger", "logged_models", "merged_ledger", "merged_stores", "meta", "metadata", "metric_chunks",
    "metric_latest", "model_aliases", "model_uses", "model_versions", "models", "monitor_reports", "param_history",
    "params", "prediction_batches", "reused_stages", "reviews", "run_outputs", "runs", "stage_runs", "tags",
]  # fmt: skip

meta = table("meta", id_("name"), text("value"), rowid=False)

# --- tracking ---------------------------------------------------------------------------------------------------
experiments = table("experiments", id_(), text("name", unique=True), number("created_at"), json("tags"))
runs = table(
    "runs",
    seq(),
    text("id", unique=True),
    text("experiment_id", index=True),
    text("name"),
    text("kind"),  # "run", "stage", "sweep"
    text("status", index=True),  # RUNNING FINISHED FAILED KILLED
    number("started_at", index=True),
    number("ended_at", null=True),
    number("heartbeat_at"),
    number("deleted_at", null=True),
    text("parent_id", null=True, index=True),
    text("user"),
    text("host"),
    int_("pid"),
    json("source"),  # {"type": "notebook|script|stage|interactive", "path", "cell_id", …}
    json("git", null=True),  # {"commit", "branch", "dirty", "diff": digest}
    text("environment", null=True),  # digest of the JSON list of distributions, Python, platform
    text("description"),
    json("error", null=True),  # {"name", "message", "traceback"}
    json("verdict", null=True),  # would a clean run differ: {"verdict", "findings"}
)
keys = table("keys", seq("id"), text("name", unique=True))
params = table(
    "params",
    int_("run_seq", key=True),
    int_("key_id", key=True),
    text("value"),
    text("type"),  # "str", "int", "float", "bool", "NoneType", "json"
    number("number", null=True),
    sa.Index("ix_params_key_id_value", "key_id", "value"),
    rowid=False,
)
param_history = table(
    "param_history",
    seq(),
    int_("run_seq"),
    int_("key_id"),
    number("at"),
    text("value"),
    sa.Index("ix_param_history_run_seq", "run_seq"),
)
tags = table(
    "tags",
    int_("run_seq", key=True),
    int_("key_id", key=True),
    text("value"),
    sa.Index("ix_tags_key_id_value", "key_id", "value"),
    rowid=False,
)
metric_latest = table(
    "metric_latest",
    int_("run_seq", key=True),
    int_("key_id", key=True),
    int_("step"),
    number("at"),
    number("value", null=True),
    text("special", null=True),  # "nan", "inf", "-inf"
    number("minimum", null=True),
    number("maximum", null=True),
    int_("points"),
    sa.Index("ix_metric_latest_key_id_value", "key_id", "value"),
    rowid=False,
)
metric_chunks = table(
    "metric_chunks",
    int_("run_seq", key=True),
    int_("key_id", key=True),
    int_("chunk", key=True),
    int_("points"),
    sa.Column("data", sa.LargeBinary, nullable=False),
    rowid=False,
)
journals = table(
    "journals", int_("run_seq", key=True), sa.Column("name", Text, primary_key=True), int_("offset"), rowid=False
)
artifacts = table(
    "artifacts",
    int_("run_seq", key=True),
    sa.Column("path", Text, primary_key=True),
    text("digest"),
    int_("bytes"),
    text("media_type"),
    number("created_at"),
    rowid=False,
)

# --- data sets --------------------------------------------------------------------------------------------------
datasets = table("datasets", id_(), text("name", unique=True), number("created_at"), json("tags"))
dataset_versions = table(
    "dataset_versions",
    id_(),
    text("name"),
    int_("version"),
    text("digest"),  # of schema and values, however they are stored
    text("kind"),  # "frame", "files"
    text("format"),  # layout of the manifest: "chunks-1" ("parquet-1" in stores of 0.1), "files-2" ("files-1")
    text("manifest"),  # digest of the manifest blob: schema, dtypes, files
    text("profile"),  # digest of the profile blob; empty until it is first asked for
    int_("rows"),
    int_("columns"),
    int_("bytes"),
    json("schema"),  # [{"name", "type", "nullable"}]
    text("message"),
    json("source"),  # {"type", "path", "run_id", "cell_id"}
    text("user"),
    text("run_id", null=True, index=True),
    number("created_at"),
    sa.UniqueConstraint("name", "version"),
    sa.Index("ix_dataset_versions_name_digest", "name", "digest"),
)
dataset_aliases = table(
    "dataset_aliases", id_("name"), sa.Column("alias", Text, primary_key=True), int_("version"), rowid=False
)
dataset_tags = table(
    "dataset_tags",
    id_("name"),
    int_("version", key=True),
    sa.Column("key", Text, primary_key=True),
    text("value"),
    sa.Index("ix_dataset_tags_key_value", "key", "value"),
    rowid=False,
)
dataset_uses = table(
    "dataset_uses",
    seq(),
    text("run_id", index=True),
    text("name"),
    int_("version"),
    text("mode"),  # "read", "write"
    number("at"),
    sa.UniqueConstraint("run_id", "name", "version", "mode"),
    sa.Index("ix_dataset_uses_name_version", "name", "version"),
)

# --- models -----------------------------------------------------------------------------------------------------
models = table("models", id_(), text("name", unique=True), number("created_at"), text("description"))
model_versions = table(
    "model_versions",
    id_(),
    text("name"),
    int_("version"),
    text("flavor"),  # "skops"
    text("package"),  # digest of the package manifest blob: files, signature, requirements, versions
    json("signature"),
    json("metrics"),  # of the run when it was registered
    text("profile", null=True),  # digest of the training profile, what monitors compare with
    json("datasets"),  # ["dataset:flight-features@3", …] read by the run
    text("run_id", null=True, index=True),
    text("description"),
    text("user"),
    int_("bytes"),
    number("created_at"),
    number("deleted_at", null=True),
    sa.UniqueConstraint("name", "version"),
)
logged_models = table(
    "logged_models",  # packages attached to a run, before or without registration
    text("run_id", primary_key=True),
    sa.Column("name", Text, primary_key=True),
    text("flavor"),
    text("package"),
    json("signature"),
    text("profile", null=True),
    int_("bytes"),
    number("created_at"),
    rowid=False,
)
model_aliases = table(
    "model_aliases", id_("name"), sa.Column("alias", Text, primary_key=True), int_("version"), rowid=False
)
model_uses = table(
    "model_uses",  # which versions a run loaded
    text("run_id", primary_key=True),
    sa.Column("name", Text, primary_key=True),
    int_("version", key=True),
    number("at"),
    sa.Index("ix_model_uses_name_version", "name", "version"),
    rowid=False,
)
alias_history = table(
    "alias_history",
    seq(),
    text("name"),
    text("alias"),
    int_("version", null=True),
    int_("previous", null=True),
    text("reason"),
    text("user"),
    number("at"),
    int_("event_seq", null=True),
    sa.Index("ix_alias_history_name_alias", "name", "alias"),
)

# --- pipelines --------------------------------------------------------------------------------------------------
flows = table(
    "flows",
    id_(),
    text("name", index=True),
    text("path"),
    text("status"),  # RUNNING FINISHED FAILED KILLED BLOCKED
    json("params"),
    json("outputs"),  # {"dataset:x": 3, "model:y": 2}: what the flow wrote, and what it chose in a sweep
    json("decision", null=True),  # of the promotion: findings, outcome
    json("trigger"),  # {"type": "user|alert", "ref"}
    text("spec"),  # digest of the pipeline file
    text("user"),
    number("started_at"),
    number("ended_at", null=True),
    json("error", null=True),
    json("pins", null=True),  # {"dataset:x": 3, "model:y@production": 2}: the versions meant when it started
    text("resumes", null=True),  # the flow it goes on with
)
stage_runs = table(
    "stage_runs",
    text("run_id", primary_key=True),
    text("flow_id", null=True, index=True),
    text("stage"),
    text("notebook"),  # path as given
    text("status"),  # RUNNING FINISHED FAILED KILLED TIMEOUT DIED SKIPPED PRUNED
    json("params"),
    json("pins"),  # {"dataset:x": 3}
    text("source", null=True),  # digest of the notebook as it was before
    text("executed", null=True),  # digest of the executed notebook, pass or fail
    int_("attempt"),
    int_("cells_done"),
    int_("cells"),
    json("error", null=True),
    number("started_at"),
    number("ended_at", null=True),
    text("label", null=True),  # the stage's name, in a sweep with its combination: "train[depth=6]"
    text("fingerprint", null=True, index=True),  # of everything in ``facts``; null where it must not be reused
    json("facts", null=True),  # what it was made from: code, modules, values, inputs, packages, files
    json("why", null=True),  # why it ran, in words
    text("reason", null=True),  # why it ended early, where it was SKIPPED
    text("worker", null=True),  # where it ran, if not in the flow's own process
    int_("peak_memory", null=True),  # bytes
)
reused_stages = table(
    "reused_stages",  # stages of a flow whose earlier result was still right: no kernel was started
    seq(),
    text("flow_id", index=True),
    text("stage"),
    text("label"),
    text("run_id"),
    number("at"),
)
run_outputs = table(
    "run_outputs",  # small results handed on by nbmlops.output()
    text("run_id", primary_key=True),
    sa.Column("name", Text, primary_key=True),
    json("value", null=True),
    number("at"),
    rowid=False,
)

# --- predictions and monitoring ---------------------------------------------------------------------------------
prediction_batches = table(
    "prediction_batches",
    id_(),
    text("name"),
    int_("version"),
    text("environment", null=True),
    text("source"),  # "batch", "online"
    text("first_id"),
    text("last_id"),
    int_("rows"),
    text("data"),  # digest of a Parquet blob: prediction_id, at, inputs, outputs
    text("run_id", null=True),
    text("user"),
    number("since"),  # time of the first and last prediction
    number("until"),
    sa.Index("ix_prediction_batches_name_version_since", "name", "version", "since"),
    sa.Index("ix_prediction_batches_first_id", "first_id"),
)
feedback = table(
    "feedback",
    seq(),
    text("prediction_id", index=True),
    json("actual"),
    text("user"),
    number("at"),
)
monitor_reports = table(
    "monitor_reports",
    id_(),
    text("name"),
    int_("version"),
    text("status"),  # "ok", "warn", "alert", "no data"
    number("since", null=True),
    number("until", null=True),
    int_("rows"),
    text("data"),  # digest of the report blob
    number("at"),
    sa.Index("ix_monitor_reports_name_version", "name", "version"),
)
alerts = table(
    "alerts",
    id_(),
    text("report_id", index=True),
    text("name"),
    int_("version"),
    text("message"),
    text("status"),  # "open", "retraining", "closed"
    text("flow_id", null=True),  # the retraining it started
    json("findings"),
    number("at"),
    number("closed_at", null=True),
)
