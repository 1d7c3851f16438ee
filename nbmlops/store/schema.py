"""The tables, and nothing else. A change here needs a migration; a test compares the two.

Times are seconds since the epoch (UTC). ``digest`` columns name blobs (``sha256:…``). Runs carry a small integer
``seq`` beside their ULID, because millions of parameter, metric and tag rows refer to them.
NaN and infinities are kept as NULL in ``value`` with a mark in ``special``: SQL has no portable NaN.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

Text, Integer, Float, JSON = sa.Text, sa.Integer, sa.Float, sa.JSON
# SQLite gives rowid speed only to a column that is exactly INTEGER; PostgreSQL needs 64 bits.
BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _table(name: str, *columns: sa.Column | sa.Index | sa.UniqueConstraint, rowid: bool = True) -> sa.Table:
    return sa.Table(name, metadata, *columns, sqlite_with_rowid=rowid)


def _text(name: str, *, null: bool = False, **more: object) -> sa.Column:
    return sa.Column(name, Text, nullable=null, **more)  # type: ignore[arg-type]


def _id(name: str = "id") -> sa.Column:
    return sa.Column(name, Text, primary_key=True)


def _seq(name: str = "seq") -> sa.Column:
    return sa.Column(name, BigInt, primary_key=True, autoincrement=True)


def _number(name: str, *, null: bool = False, **more: object) -> sa.Column:
    return sa.Column(name, Float(53), nullable=null, **more)  # type: ignore[arg-type]


def _int(name: str, *, null: bool = False, key: bool = False) -> sa.Column:
    return sa.Column(name, BigInt, nullable=null, primary_key=key, autoincrement=False)


def _json(name: str, *, null: bool = False) -> sa.Column:
    return sa.Column(name, JSON(none_as_null=True), nullable=null)


meta = _table("meta", _id("name"), _text("value"), rowid=False)

# --- tracking ---------------------------------------------------------------------------------------------------
experiments = _table("experiments", _id(), _text("name", unique=True), _number("created_at"), _json("tags"))
runs = _table(
    "runs",
    _seq(),
    _text("id", unique=True),
    _text("experiment_id", index=True),
    _text("name"),
    _text("kind"),  # "run", "stage", "sweep"
    _text("status", index=True),  # RUNNING FINISHED FAILED KILLED
    _number("started_at", index=True),
    _number("ended_at", null=True),
    _number("heartbeat_at"),
    _number("deleted_at", null=True),
    _text("parent_id", null=True, index=True),
    _text("user"),
    _text("host"),
    _int("pid"),
    _json("source"),  # {"type": "notebook|script|stage|interactive", "path", "cell_id", …}
    _json("git", null=True),  # {"commit", "branch", "dirty", "diff": digest}
    _text("environment", null=True),  # digest of the JSON list of distributions, Python, platform
    _text("description"),
    _json("error", null=True),  # {"name", "message", "traceback"}
    _json("verdict", null=True),  # would a clean run differ: {"verdict", "findings"}
)
keys = _table("keys", _seq("id"), _text("name", unique=True))
params = _table(
    "params",
    _int("run_seq", key=True),
    _int("key_id", key=True),
    _text("value"),
    _text("type"),  # "str", "int", "float", "bool", "NoneType", "json"
    _number("number", null=True),
    sa.Index("ix_params_key_id_value", "key_id", "value"),
    rowid=False,
)
param_history = _table(
    "param_history",
    _seq(),
    _int("run_seq"),
    _int("key_id"),
    _number("at"),
    _text("value"),
    sa.Index("ix_param_history_run_seq", "run_seq"),
)
tags = _table(
    "tags",
    _int("run_seq", key=True),
    _int("key_id", key=True),
    _text("value"),
    sa.Index("ix_tags_key_id_value", "key_id", "value"),
    rowid=False,
)
metric_latest = _table(
    "metric_latest",
    _int("run_seq", key=True),
    _int("key_id", key=True),
    _int("step"),
    _number("at"),
    _number("value", null=True),
    _text("special", null=True),  # "nan", "inf", "-inf"
    _number("minimum", null=True),
    _number("maximum", null=True),
    _int("points"),
    sa.Index("ix_metric_latest_key_id_value", "key_id", "value"),
    rowid=False,
)
metric_chunks = _table(
    "metric_chunks",
    _int("run_seq", key=True),
    _int("key_id", key=True),
    _int("chunk", key=True),
    _int("points"),
    sa.Column("data", sa.LargeBinary, nullable=False),
    rowid=False,
)
journals = _table(
    "journals", _int("run_seq", key=True), sa.Column("name", Text, primary_key=True), _int("offset"), rowid=False
)
artifacts = _table(
    "artifacts",
    _int("run_seq", key=True),
    sa.Column("path", Text, primary_key=True),
    _text("digest"),
    _int("bytes"),
    _text("media_type"),
    _number("created_at"),
    rowid=False,
)

# --- cells ------------------------------------------------------------------------------------------------------
cell_sessions = _table(
    "cell_sessions",  # one kernel (or shell) while it recorded its cells
    _id(),
    _text("frontend"),  # "kernel" (Jupyter), "terminal" (plain IPython), "stage" (papermill)
    _text("notebook"),  # path, or empty
    _text("kernel_id", null=True, index=True),
    _text("user"),
    _text("host"),
    _int("pid"),
    _text("run_id", null=True, index=True),  # of the stage it executes
    _number("started_at"),
    _number("ended_at", null=True),
)
cell_executions = _table(
    "cell_executions",
    _id(),
    _text("session_id"),
    _int("number"),  # counts the executions of the session, from 1
    _text("cell_id", null=True),  # from the front end
    _int("count", null=True),  # as in In [count]
    _text("source"),  # as it was at that moment, secrets masked
    _text("status"),  # "running" "ok" "error" "interrupted" "lost" "earlier" (before the recording began)
    _json("error", null=True),  # {"name", "message", "traceback"}
    _json("outputs"),  # as in a notebook; large data in blobs: {"digest", "bytes", …}
    _json("names"),  # {"loaded": […], "stored": […], "deleted": […]}, as seen
    _number("started_at"),
    _number("seconds", null=True),
    sa.UniqueConstraint("session_id", "number"),
)
cell_touches = _table(
    "cell_touches",  # what an execution logged, read or made
    _text("execution_id", primary_key=True),
    sa.Column("kind", Text, primary_key=True),  # "run" "param" "metric" "tag" "artifact" "dataset" "model"
    sa.Column("subject", Text, primary_key=True),  # a run's id, or dataset:NAME@3, model:NAME@3
    sa.Column("name", Text, primary_key=True),  # the key or path, or empty
    sa.Column("mode", Text, primary_key=True),  # "read", "write"
    sa.Index("ix_cell_touches_subject_kind_name", "subject", "kind", "name"),
    rowid=False,
)
cell_journals = _table("cell_journals", _id("name"), _int("offset"), rowid=False)
certificates = _table(
    "certificates",
    _id(),
    _text("run_id", index=True),
    _text("status"),  # "reproduced" "drifted" "not reproducible"
    _json("report"),  # what was compared and found
    _text("user"),
    _number("at"),
)

# --- data sets --------------------------------------------------------------------------------------------------
datasets = _table("datasets", _id(), _text("name", unique=True), _number("created_at"), _json("tags"))
dataset_versions = _table(
    "dataset_versions",
    _id(),
    _text("name"),
    _int("version"),
    _text("digest"),  # of schema and values, however they are stored
    _text("kind"),  # "frame", "files"
    _text("format"),  # layout of the manifest: "chunks-1" ("parquet-1" in stores of 0.1), "files-2" ("files-1")
    _text("manifest"),  # digest of the manifest blob: schema, dtypes, files
    _text("profile"),  # digest of the profile blob; empty until it is first asked for
    _int("rows"),
    _int("columns"),
    _int("bytes"),
    _json("schema"),  # [{"name", "type", "nullable"}]
    _text("message"),
    _json("source"),  # {"type", "path", "run_id", "cell_id"}
    _text("user"),
    _text("run_id", null=True, index=True),
    _number("created_at"),
    sa.UniqueConstraint("name", "version"),
    sa.Index("ix_dataset_versions_name_digest", "name", "digest"),
)
dataset_aliases = _table(
    "dataset_aliases", _id("name"), sa.Column("alias", Text, primary_key=True), _int("version"), rowid=False
)
dataset_tags = _table(
    "dataset_tags",
    _id("name"),
    _int("version", key=True),
    sa.Column("key", Text, primary_key=True),
    _text("value"),
    sa.Index("ix_dataset_tags_key_value", "key", "value"),
    rowid=False,
)
dataset_uses = _table(
    "dataset_uses",
    _seq(),
    _text("run_id", index=True),
    _text("name"),
    _int("version"),
    _text("mode"),  # "read", "write"
    _number("at"),
    sa.UniqueConstraint("run_id", "name", "version", "mode"),
    sa.Index("ix_dataset_uses_name_version", "name", "version"),
)

# --- models -----------------------------------------------------------------------------------------------------
models = _table("models", _id(), _text("name", unique=True), _number("created_at"), _text("description"))
model_versions = _table(
    "model_versions",
    _id(),
    _text("name"),
    _int("version"),
    _text("flavor"),  # "skops"
    _text("package"),  # digest of the package manifest blob: files, signature, requirements, versions
    _json("signature"),
    _json("metrics"),  # of the run when it was registered
    _text("profile", null=True),  # digest of the training profile, what monitors compare with
    _json("datasets"),  # ["dataset:flight-features@3", …] read by the run
    _text("run_id", null=True, index=True),
    _text("description"),
    _text("user"),
    _int("bytes"),
    _number("created_at"),
    sa.UniqueConstraint("name", "version"),
)
logged_models = _table(
    "logged_models",  # packages attached to a run, before or without registration
    _text("run_id", primary_key=True),
    sa.Column("name", Text, primary_key=True),
    _text("flavor"),
    _text("package"),
    _json("signature"),
    _text("profile", null=True),
    _int("bytes"),
    _number("created_at"),
    rowid=False,
)
model_aliases = _table(
    "model_aliases", _id("name"), sa.Column("alias", Text, primary_key=True), _int("version"), rowid=False
)
model_uses = _table(
    "model_uses",  # which versions a run loaded
    _text("run_id", primary_key=True),
    sa.Column("name", Text, primary_key=True),
    _int("version", key=True),
    _number("at"),
    sa.Index("ix_model_uses_name_version", "name", "version"),
    rowid=False,
)
alias_history = _table(
    "alias_history",
    _seq(),
    _text("name"),
    _text("alias"),
    _int("version", null=True),
    _int("previous", null=True),
    _text("reason"),
    _text("user"),
    _number("at"),
    _int("event_seq", null=True),
    sa.Index("ix_alias_history_name_alias", "name", "alias"),
)
approvals = _table(
    "approvals",
    _id(),
    _text("name"),
    _int("version"),
    _text("environment"),
    _text("status", index=True),  # "open", "approved", "rejected"
    _text("reason"),
    _text("user"),
    _number("created_at"),
    _json("findings"),
    _text("decided_by", null=True),
    _text("decision", null=True),
    _number("decided_at", null=True),
    sa.Index("ix_approvals_name_version", "name", "version"),
)

# --- pipelines --------------------------------------------------------------------------------------------------
flows = _table(
    "flows",
    _id(),
    _text("name", index=True),
    _text("path"),
    _text("status"),  # RUNNING FINISHED FAILED KILLED BLOCKED
    _json("params"),
    _json("outputs"),  # {"dataset:x": 3, "model:y": 2}: what the flow wrote, and what it chose in a sweep
    _json("decision", null=True),  # of the promotion: findings, outcome
    _json("trigger"),  # {"type": "user|alert", "ref"}
    _text("spec"),  # digest of the pipeline file
    _text("user"),
    _number("started_at"),
    _number("ended_at", null=True),
    _json("error", null=True),
    _json("pins", null=True),  # {"dataset:x": 3, "model:y@production": 2}: the versions meant when it started
    _text("resumes", null=True),  # the flow it goes on with
)
stage_runs = _table(
    "stage_runs",
    _text("run_id", primary_key=True),
    _text("flow_id", null=True, index=True),
    _text("stage"),
    _text("notebook"),  # path as given
    _text("status"),  # RUNNING FINISHED FAILED KILLED TIMEOUT DIED SKIPPED PRUNED
    _json("params"),
    _json("pins"),  # {"dataset:x": 3}
    _text("source", null=True),  # digest of the notebook as it was before
    _text("executed", null=True),  # digest of the executed notebook, pass or fail
    _int("attempt"),
    _int("cells_done"),
    _int("cells"),
    _json("error", null=True),
    _number("started_at"),
    _number("ended_at", null=True),
    _text("label", null=True),  # the stage's name, in a sweep with its combination: "train[depth=6]"
    _text("fingerprint", null=True, index=True),  # of everything in ``facts``; null where it must not be reused
    _json("facts", null=True),  # what it was made from: code, modules, values, inputs, packages, files
    _json("why", null=True),  # why it ran, in words
    _text("reason", null=True),  # why it ended early, where it was SKIPPED
    _text("worker", null=True),  # where it ran, if not in the flow's own process
    _int("peak_memory", null=True),  # bytes
)
reused_stages = _table(
    "reused_stages",  # stages of a flow whose earlier result was still right: no kernel was started
    _seq(),
    _text("flow_id", index=True),
    _text("stage"),
    _text("label"),
    _text("run_id"),
    _number("at"),
)
run_outputs = _table(
    "run_outputs",  # small results handed on by nbmlops.output()
    _text("run_id", primary_key=True),
    sa.Column("name", Text, primary_key=True),
    _json("value", null=True),
    _number("at"),
    rowid=False,
)

# --- predictions and monitoring ---------------------------------------------------------------------------------
prediction_batches = _table(
    "prediction_batches",
    _id(),
    _text("name"),
    _int("version"),
    _text("environment", null=True),
    _text("source"),  # "batch", "online"
    _text("first_id"),
    _text("last_id"),
    _int("rows"),
    _text("data"),  # digest of a Parquet blob: prediction_id, at, inputs, outputs
    _text("run_id", null=True),
    _text("user"),
    _number("since"),  # time of the first and last prediction
    _number("until"),
    sa.Index("ix_prediction_batches_name_version_since", "name", "version", "since"),
    sa.Index("ix_prediction_batches_first_id", "first_id"),
)
feedback = _table(
    "feedback",
    _seq(),
    _text("prediction_id", index=True),
    _json("actual"),
    _text("user"),
    _number("at"),
)
monitor_reports = _table(
    "monitor_reports",
    _id(),
    _text("name"),
    _int("version"),
    _text("status"),  # "ok", "warn", "alert", "no data"
    _number("since", null=True),
    _number("until", null=True),
    _int("rows"),
    _text("data"),  # digest of the report blob
    _number("at"),
    sa.Index("ix_monitor_reports_name_version", "name", "version"),
)
alerts = _table(
    "alerts",
    _id(),
    _text("report_id", index=True),
    _text("name"),
    _int("version"),
    _text("message"),
    _text("status"),  # "open", "retraining", "closed"
    _text("flow_id", null=True),  # the retraining it started
    _json("findings"),
    _number("at"),
    _number("closed_at", null=True),
)

# --- decisions --------------------------------------------------------------------------------------------------
ledger = _table(
    "ledger",
    _seq(),
    _text("id", unique=True),
    _text("type"),  # "model.promoted", "model.approved", …
    _text("subject", index=True),  # "model:NAME@VERSION"
    _text("user"),
    _number("at"),
    _text("data"),  # canonical JSON, exactly the text that was hashed
    _text("previous"),
    _text("hash"),
)
merged_stores = _table(
    "merged_stores",  # stores whose content was taken over, and how far
    _id("store_id"),
    _number("first_at"),
    _number("last_at"),
    rowid=False,
)
merged_ledger = _table(
    "merged_ledger",  # their ledgers, each a chain of its own beside ours
    sa.Column("store_id", Text, primary_key=True),
    _int("seq", key=True),
    _text("id"),
    _text("type"),
    _text("subject", index=True),
    _text("user"),
    _number("at"),
    _text("data"),
    _text("previous"),
    _text("hash"),
    rowid=False,
)
