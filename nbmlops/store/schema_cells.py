"""Tables of cells that ran, of certificates, and of what came from other stores; see :mod:`nbmlops.store.schema`."""

from __future__ import annotations

import sqlalchemy as sa

from nbmlops.store.columns import Text, id_, int_, json, number, table, text

# --- cells ------------------------------------------------------------------------------------------------------
cell_sessions = table(
    "cell_sessions",  # one kernel (or shell) while it recorded its cells
    id_(),
    text("frontend"),  # "kernel" (Jupyter), "terminal" (plain IPython), "stage" (papermill)
    text("notebook"),  # path, or empty
    text("kernel_id", null=True, index=True),
    text("user"),
    text("host"),
    int_("pid"),
    text("run_id", null=True, index=True),  # of the stage it executes
    number("started_at"),
    number("ended_at", null=True),
)
cell_executions = table(
    "cell_executions",
    id_(),
    text("session_id"),
    int_("number"),  # counts the executions of the session, from 1
    text("cell_id", null=True),  # from the front end
    int_("count", null=True),  # as in In [count]
    text("source"),  # as it was at that moment, secrets masked
    text("status"),  # "running" "ok" "error" "interrupted" "lost" "earlier" (before the recording began)
    json("error", null=True),  # {"name", "message", "traceback"}
    json("outputs"),  # as in a notebook; large data in blobs: {"digest", "bytes", …}
    json("names"),  # {"loaded": […], "stored": […], "deleted": […]}, as seen
    number("started_at"),
    number("seconds", null=True),
    sa.UniqueConstraint("session_id", "number"),
)
cell_touches = table(
    "cell_touches",  # what an execution logged, read or made
    text("execution_id", primary_key=True),
    sa.Column("kind", Text, primary_key=True),  # "run" "param" "metric" "tag" "artifact" "dataset" "model"
    sa.Column("subject", Text, primary_key=True),  # a run's id, or dataset:NAME@3, model:NAME@3
    sa.Column("name", Text, primary_key=True),  # the key or path, or empty
    sa.Column("mode", Text, primary_key=True),  # "read", "write"
    sa.Index("ix_cell_touches_subject_kind_name", "subject", "kind", "name"),
    rowid=False,
)
cell_journals = table("cell_journals", id_("name"), int_("offset"), rowid=False)
certificates = table(
    "certificates",
    id_(),
    text("run_id", index=True),
    text("status"),  # "reproduced" "drifted" "not reproducible"
    json("report"),  # what was compared and found
    text("user"),
    number("at"),
)

merged_stores = table(
    "merged_stores",  # stores whose content was taken over, and how far
    id_("store_id"),
    number("first_at"),
    number("last_at"),
    rowid=False,
)
merged_ledger = table(
    "merged_ledger",  # their ledgers, each a chain of its own beside ours
    sa.Column("store_id", Text, primary_key=True),
    int_("seq", key=True),
    text("id"),
    text("type"),
    text("subject", index=True),
    text("user"),
    number("at"),
    text("data"),
    text("previous"),
    text("hash"),
    text("signer", null=True),
    text("signature", null=True),
    rowid=False,
)
