"""Which runs were executed again, and what became of that."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from nbmlops.records import Certificate, Difference
from nbmlops.store import Store, schema

_AT_ONCE = 500


class Certificates:
    """The part of the runs desk about certificates. Only the reproduction desk writes them."""

    store: Store

    def certificate(self, run_id: str) -> Certificate | None:
        """The last certificate of a run, or None if nobody has asked for one."""
        return self.certificates([run_id]).get(run_id)

    def certified_here(self, run_id: str) -> Certificate | None:
        """The last certificate that was given in this store, not one that came with a file or another store."""
        c, events = schema.certificates, schema.ledger
        query = sa.select(c).where(c.c.run_id == run_id).order_by(c.c.at.desc(), c.c.id.desc())
        told = sa.select(events.c.data).where(events.c.type == "run.certified", events.c.subject == f"run:{run_id}")
        with self.store.read() as db:
            own = {json.loads(data).get("certificate") for data in db.scalars(told)}
            rows = db.execute(query).mappings().all()
        return next((certificate(row) for row in rows if row["id"] in own), None)

    def certificates(self, run_ids: Iterable[str]) -> dict[str, Certificate]:
        """The last certificates of several runs, by the runs' ids; without those that have none."""
        c, ids = schema.certificates, list(dict.fromkeys(run_ids))
        found: dict[str, Certificate] = {}
        with self.store.read() as db:
            for start in range(0, len(ids), _AT_ONCE):
                query = sa.select(c).where(c.c.run_id.in_(ids[start : start + _AT_ONCE])).order_by(c.c.at, c.c.id)
                found |= {row["run_id"]: certificate(row) for row in db.execute(query).mappings()}
        return found


def certificate(row: Any) -> Certificate:
    """The record of a row of ``certificates``."""
    report = dict(row["report"])
    differences = tuple(Difference(**{**d, "cells": tuple(d["cells"])}) for d in report.pop("differences", ()))
    return Certificate(
        certificate_id=row["id"],
        suspects=tuple(report.pop("suspects", ())),
        differences=differences,
        **report,
        **{name: row[name] for name in ("run_id", "status", "user", "at")},
    )
