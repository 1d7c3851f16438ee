"""The tables of decisions: evidence, reviews, approvals and their votes, the ledger and what it announces."""

from __future__ import annotations

import sqlalchemy as sa

from nbmlops.store.columns import id_, int_, json, number, seq, table, text

evidence = table(
    "evidence",  # what proves what a model version is worth; each kind once
    id_(),
    text("version_id"),
    text("kind"),  # "evaluation" "performance" "importance" "calibration" "slices" "fairness" "cost" …
    text("status"),  # "done", "failed", "waiting"
    json("report"),
    json("files"),  # {"confusion.svg": digest}
    number("seconds", null=True),
    text("user"),
    number("at"),
    sa.UniqueConstraint("version_id", "kind"),
)
approvals = table(
    "approvals",
    id_(),
    text("name"),
    int_("version"),
    text("environment"),
    text("status", index=True),  # "open" "approved" "rejected" "expired" "withdrawn"
    text("reason"),
    text("user"),
    number("created_at"),
    json("findings"),
    text("decided_by", null=True),
    text("decision", null=True),
    number("decided_at", null=True),
    json("policy", null=True),  # the environment's rules when it was opened: approvers, roles, four_eyes
    number("expires_at", null=True),
    text("review", null=True),  # the id of the review that is to be read
    sa.Index("ix_approvals_name_version", "name", "version"),
)
approval_votes = table(
    "approval_votes",
    id_(),
    text("approval_id", index=True),
    text("decision"),  # "approve", "reject"
    text("user"),
    text("identity"),  # how it is known who that is: "key:…", "jupyterhub", "os", "setting"
    json("roles"),  # those that the person had then
    text("reason"),
    number("at"),
    int_("event_seq", null=True),
)
reviews = table(
    "reviews",  # the tests of an environment, as executed notebooks
    id_(),
    text("name"),
    int_("version"),
    text("environment"),
    text("status"),  # "passed", "blocked"
    json("findings"),
    text("notebook"),  # digest
    text("page", null=True),  # digest of the same as HTML
    text("user"),
    number("at"),
    sa.Index("ix_reviews_name_version", "name", "version"),
)
ledger = table(
    "ledger",
    seq(),
    text("id", unique=True),
    text("type"),  # "model.promoted", "model.approved", …
    text("subject", index=True),  # "model:NAME@VERSION"
    text("user"),
    number("at"),
    text("data"),  # canonical JSON, exactly the text that was hashed
    text("previous"),
    text("hash"),
    text("signer", null=True),  # the key that signed it; part of what is hashed
    text("signature", null=True),  # of the hash
)
announcements = table(
    "announcements",  # events on their way out
    seq(),
    int_("event_seq"),
    text("sink"),
    text("status", index=True),  # "waiting", "sent", "dead"
    int_("attempts"),
    number("next_at"),
    text("error", null=True),
    number("at"),
    sa.UniqueConstraint("event_seq", "sink"),
)
