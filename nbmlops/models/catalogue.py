"""Looking versions up: by number, alias or pin, one or many; what was asked for and is not there, in words."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from nbmlops import clock, policy, refs
from nbmlops.context import ContextSource
from nbmlops.errors import NotFound
from nbmlops.records import Certificate, ModelVersion
from nbmlops.runs import Runs
from nbmlops.store import Store, schema
from nbmlops.store.told import DELETED

_there = schema.model_versions.c.deleted_at.is_(None)
Versions = list[ModelVersion]  # a name of its own, because Catalogue.list hides the type below it


class Catalogue:
    """Every version that is there. ``desk`` is what the records load their models with."""

    def __init__(self, store: Store, context: ContextSource, runs: Runs, desk: Any) -> None:
        self.store = store
        self.context = context
        self.runs = runs
        self.desk = desk

    def get(self, ref: str, *, deleted: bool = False) -> ModelVersion:
        """One version; see :meth:`nbmlops.models.Models.get`."""
        asked = refs.parse(ref, "model")
        v, a = schema.model_versions, schema.model_aliases
        with self.store.read() as db:
            number = self._number(db, asked)
            query = sa.select(v).where(v.c.name == asked.name).order_by(v.c.version.desc()).limit(1)
            if number is not None:
                query = query.where(v.c.version == number)
            found = db.execute(query if deleted or number is not None else query.where(_there)).mappings().first()
            if found is None:
                raise self._no_version(db, asked.name, number)
            if found["deleted_at"] is not None and not deleted:
                raise self._gone(db, found)
            labels = db.execute(sa.select(a.c.alias).where(a.c.name == asked.name, a.c.version == found["version"]))
            certificate = self.runs.certificate(found["run_id"]) if found["run_id"] else None
            return self.record(dict(found), tuple(sorted(labels.scalars())), certificate)

    def _number(self, db: sa.Connection, asked: refs.Ref) -> int | None:
        """The version that a reference means; None for the latest."""
        a, pins = schema.model_aliases, self.context().pins
        if asked.alias is None:
            return asked.version if asked.version is not None else pins.get(f"model:{asked.name}")
        query = sa.select(a.c.version).where(a.c.name == asked.name, a.c.alias == asked.alias)
        version = pins.get(str(asked)) or db.execute(query).scalar()
        if version is None:
            raise self._no_alias(db, asked.name, asked.alias)
        return version

    def list(self) -> Versions:
        """The latest version of each model, and those that hold an alias, such as the one in production; by name."""
        v, a = schema.model_versions, schema.model_aliases
        last = sa.func.max(v.c.version).label("version")
        newest = sa.select(v.c.name, last).where(_there).group_by(v.c.name).subquery()
        query = (
            sa.select(v)
            .join(newest, v.c.name == newest.c.name)
            .where(
                sa.or_(
                    v.c.version == newest.c.version,
                    sa.exists().where(a.c.name == v.c.name, a.c.version == v.c.version),
                )
            )
            .order_by(v.c.name, v.c.version.desc())
        )
        return self._all(query)

    def versions(self, name: str) -> Versions:
        """All versions of a model, newest first.

        Raises:
            NotFound: there is no model of that name.
        """
        v = schema.model_versions
        found = self._all(sa.select(v).where(v.c.name == name, _there).order_by(v.c.version.desc()))
        if not found:
            with self.store.read() as db:
                raise self._no_version(db, name, None)
        return found

    def _all(self, query: sa.Select[Any]) -> Versions:
        a = schema.model_aliases
        with self.store.read() as db:
            rows = db.execute(query).mappings().all()
            labels: dict[tuple[str, int], set[str]] = {}
            for name, alias, version in db.execute(sa.select(a.c.name, a.c.alias, a.c.version).order_by(a.c.alias)):
                labels.setdefault((name, version), set()).add(alias)
        certified = self.runs.certificates(row["run_id"] for row in rows if row["run_id"])
        return [
            self.record(dict(r), tuple(sorted(labels.get((r["name"], r["version"]), ()))), certified.get(r["run_id"]))
            for r in rows
        ]

    def record(
        self, row: dict[str, Any], aliases: tuple[str, ...], certificate: Certificate | None = None
    ) -> ModelVersion:
        kept = {
            k: row[k] for k in ("name", "version", "flavor", "package", "signature", "run_id", "description", "user")
        }
        metrics = {k: float(value) for k, value in row["metrics"].items()}
        rest = {k: row[k] for k in ("bytes", "created_at", "profile")}
        rest |= {"metrics": metrics, "datasets": tuple(row["datasets"])}
        return ModelVersion(**kept, **rest, aliases=aliases, certificate=certificate, _desk=self.desk)

    def _no_alias(self, db: sa.Connection, name: str, alias: str) -> NotFound:
        a = schema.model_aliases
        labels = list(db.execute(sa.select(a.c.alias).where(a.c.name == name)).scalars())
        if not labels:
            known = db.execute(sa.select(schema.models.c.name).where(schema.models.c.name == name)).first()
            if known is None:
                return self._no_version(db, name, None)
        hint = (
            ""
            if labels or alias not in policy.current(self.store).environments
            else f"nothing stands in {alias}: promote(ref, to={alias!r}, reason=…)"
        )
        return NotFound.of(f"alias of model {name!r}", alias, labels, hint)

    def _no_version(self, db: sa.Connection, name: str, version: int | None) -> NotFound:
        v = schema.model_versions
        numbers = [
            str(n)
            for n in db.execute(sa.select(v.c.version).where(v.c.name == name, _there).order_by(v.c.version)).scalars()
        ]
        if numbers:
            there = f"there {'are' if len(numbers) > 1 else 'is'}: {', '.join(numbers[-10:])}"
            return NotFound(f"model {name!r} has no version {version}", there)
        return NotFound.of("model", name, db.execute(sa.select(schema.models.c.name)).scalars())

    def _gone(self, db: sa.Connection, row: Any) -> NotFound:
        e, ref = schema.ledger, f"model:{row['name']}@{row['version']}"
        query = sa.select(e.c.user, e.c.data).where(e.c.subject == ref, e.c.type == DELETED).order_by(e.c.seq.desc())
        told = db.execute(query.limit(1)).first()
        why = f" by {told.user}, because: {json.loads(told.data).get('reason')}" if told else ""
        return NotFound(f"{ref} was deleted on {clock.iso(row['deleted_at'])}{why}", "take another version")
