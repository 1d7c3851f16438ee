"""Which data sets and versions there are: finding them, their tags and aliases, and who reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import sqlalchemy as sa

from nbmlops import refs
from nbmlops.context import Context, ContextSource
from nbmlops.errors import InvalidValue, NotFound
from nbmlops.records import DatasetUse, DatasetVersion
from nbmlops.store import Store, schema

VERSIONS = schema.dataset_versions
_TAGS = schema.dataset_tags
Reference: TypeAlias = str | DatasetVersion
# Named here, because inside the class ``list`` is a method.
Versions: TypeAlias = list[DatasetVersion]
Uses: TypeAlias = list[DatasetUse]


class UseLog(Protocol):
    """What records that a run used a version."""

    def use_dataset(self, run_id: str, name: str, version: int, mode: str = "read") -> None: ...


class Catalogue:
    """Finding versions. ``runs`` records which run read or wrote which."""

    def __init__(self, store: Store, context: ContextSource, runs: UseLog) -> None:
        self._store = store
        self._context = context
        self._runs = runs

    def get(self, ref: Reference) -> DatasetVersion:
        """One version: the one named, else the pinned one, else the latest.

        Raises:
            NotFound: there is no such data set or version.
        """
        if isinstance(ref, DatasetVersion):
            return ref
        parsed = refs.parse(ref, "dataset")
        wanted = parsed.version
        if wanted is None and parsed.alias is not None:
            wanted = self._context().pins.get(str(parsed)) or self._alias(parsed.name, parsed.alias)
        elif wanted is None:
            wanted = self._context().pins.get(f"dataset:{parsed.name}")
        query = sa.select(VERSIONS).where(VERSIONS.c.name == parsed.name)
        if wanted is not None:
            query = query.where(VERSIONS.c.version == wanted)
        with self._store.read() as db:
            row = db.execute(query.order_by(VERSIONS.c.version.desc()).limit(1)).mappings().first()
        if row is None:
            raise self._missing(parsed.name, wanted)
        return self._records([row])[0]

    def list(self, search: str | None = None, tags: Mapping[str, str] | None = None) -> Versions:
        """The latest version of each data set, by name.

        Args:
            search: text that the name, the message, the author, the source or a column's name of any version must
                hold, in either case of letters; several words must all be there.
            tags: tags that the latest version must have, with these values.
        """
        last = (
            sa.select(VERSIONS.c.name, sa.func.max(VERSIONS.c.version).label("version"))
            .group_by(VERSIONS.c.name)
            .subquery()
        )
        query = sa.select(VERSIONS).join(
            last, sa.and_(VERSIONS.c.name == last.c.name, VERSIONS.c.version == last.c.version)
        )
        for word in (search or "").split():
            query = query.where(VERSIONS.c.name.in_(_holding(word)))
        for key, value in (tags or {}).items():
            there = sa.select(_TAGS.c.name).where(
                _TAGS.c.name == VERSIONS.c.name,
                _TAGS.c.version == VERSIONS.c.version,
                _TAGS.c.key == key,
                _TAGS.c.value == value,
            )
            query = query.where(there.exists())
        with self._store.read() as db:
            rows = db.execute(query.order_by(VERSIONS.c.name)).mappings().all()
        return self._records(rows)

    def versions(self, name: str) -> Versions:
        """All versions of a data set, the oldest first.

        Raises:
            NotFound: there is no such data set.
        """
        name = refs.parse(name, "dataset").name
        with self._store.read() as db:
            rows = (
                db.execute(sa.select(VERSIONS).where(VERSIONS.c.name == name).order_by(VERSIONS.c.version))
                .mappings()
                .all()
            )
        if not rows:
            raise self._missing(name, None)
        return self._records(rows)

    def tag(self, ref: Reference, tags: Mapping[str, Any]) -> DatasetVersion:
        """Set tags of a version; a value of None removes one. Tags are labels and no part of the content.

        Raises:
            InvalidValue: a key is empty, longer than 250 characters or not text.
        """
        version = self.get(ref)
        wrong = [repr(k) for k in tags if not isinstance(k, str) or not k.strip() or len(k) > 250]
        if wrong:
            raise InvalidValue(
                f"these tags have no usable name: {', '.join(wrong)}", "name them with up to 250 letters"
            )
        kept = {k: str(v) for k, v in tags.items() if v is not None}
        place = {"name": version.name, "version": version.version}
        with self._store.write() as db:
            for key in tags.keys() - kept.keys():
                db.execute(
                    sa.delete(_TAGS).where(
                        _TAGS.c.name == version.name, _TAGS.c.version == version.version, _TAGS.c.key == key
                    )
                )
            rows = [{**place, "key": k, "value": v} for k, v in kept.items()]
            self._store.upsert(db, _TAGS, rows, ("name", "version", "key"))
        return self.get(version.ref)

    def uses(self, ref: Reference) -> Uses:
        """Who made and who read a version: runs first, then the models made from it, the oldest first."""
        version = self.get(ref)
        uses, runs, models = schema.dataset_uses, schema.runs, schema.model_versions
        query = (
            sa.select(uses.c.run_id, uses.c.mode, uses.c.at, runs.c.name, runs.c.user)
            .join(runs, runs.c.id == uses.c.run_id)
            .where(uses.c.name == version.name, uses.c.version == version.version)
            .order_by(uses.c.at)
        )
        with self._store.read() as db:
            found = [
                DatasetUse(
                    version.ref, f"run:{r.run_id}", "wrote" if r.mode == "write" else "read", r.name, r.user, r.at
                )
                for r in db.execute(query)
            ]
            # JSON differs between databases; the text filter only narrows what is looked at.
            like = sa.cast(models.c.datasets, sa.Text).contains(json.dumps(version.ref)[1:-1], autoescape=True)
            rows = db.execute(sa.select(models).where(like).order_by(models.c.created_at)).mappings().all()
        found += [
            DatasetUse(
                version.ref,
                f"model:{m['name']}@{m['version']}",
                "trained",
                m["description"],
                m["user"],
                m["created_at"],
            )
            for m in rows
            if version.ref in m["datasets"]
        ]
        return found

    # --- rows and records ---------------------------------------------------------------------------------------
    def _latest(self, name: str) -> Any:
        query = sa.select(VERSIONS).where(VERSIONS.c.name == name).order_by(VERSIONS.c.version.desc()).limit(1)
        with self._store.read() as db:
            return db.execute(query).first()

    def _row(self, version: DatasetVersion) -> Any:
        query = sa.select(VERSIONS).where(VERSIONS.c.name == version.name, VERSIONS.c.version == version.version)
        with self._store.read() as db:
            row = db.execute(query).mappings().first()
        if row is None:
            raise self._missing(version.name, version.version)
        return row

    def _alias(self, name: str, alias: str) -> int:
        table = schema.dataset_aliases
        with self._store.read() as db:
            known = {r.alias: r.version for r in db.execute(sa.select(table).where(table.c.name == name))}
        if alias not in known:
            raise NotFound.of(f"alias of data set {name!r}", alias, known, "" if known else "name a version: NAME@1")
        return known[alias]

    def _missing(self, name: str, version: int | None) -> NotFound:
        with self._store.read() as db:
            names = db.execute(sa.select(schema.datasets.c.name)).scalars().all()
            there = db.execute(
                sa.select(VERSIONS.c.version).where(VERSIONS.c.name == name).order_by(VERSIONS.c.version)
            )
            numbers = [str(n) for n in there.scalars()]
        if numbers:
            shown = ", ".join(numbers[-10:])
            return NotFound(
                f"data set {name!r} has no version {version}", f"there {'are' if len(numbers) > 1 else 'is'}: {shown}"
            )
        return NotFound.of("data set", name, names, "" if names else "snapshot(frame, NAME) makes the first one")

    def _records(self, rows: Sequence[Any], *, new: bool = True) -> Versions:
        """The records of rows, with the aliases and tags of each."""
        names = sorted({r["name"] for r in rows})
        one = len(names) == 1
        found: dict[tuple[str, int], dict[str, Any]] = {}
        with self._store.read() as db:
            for table in (schema.dataset_aliases, _TAGS):
                query = sa.select(table).where(table.c.name == names[0]) if one else sa.select(table)
                for r in db.execute(query).mappings():
                    kept = found.setdefault((r["name"], r["version"]), {"aliases": [], "tags": {}})
                    if "alias" in r:
                        kept["aliases"].append(r["alias"])
                    else:
                        kept["tags"][r["key"]] = r["value"]
        return [self._build(r, found.get((r["name"], r["version"]), {}), new=new) for r in rows]

    def _build(self, row: Any, more: dict[str, Any], *, new: bool) -> DatasetVersion:
        same = ("name", "version", "digest", "kind", "rows", "columns", "bytes", "message", "source", "user", "run_id")
        return DatasetVersion(
            **{k: row[k] for k in (*same, "created_at", "format", "manifest")},
            schema=tuple(row["schema"]),
            aliases=tuple(sorted(more.get("aliases", ()))),
            tags=dict(sorted(more.get("tags", {}).items())),
            new=new,
            _desk=self,
        )

    def _used(self, name: str, version: int, mode: str, context: Context) -> None:
        context.touch("dataset", f"dataset:{name}@{version}", "", mode)
        if context.run_id is not None:
            self._runs.use_dataset(context.run_id, name, version, mode)


def _holding(word: str) -> Any:
    """The names of data sets of which a version holds a word."""
    fields = (
        VERSIONS.c.name,
        VERSIONS.c.message,
        VERSIONS.c.user,
        sa.cast(VERSIONS.c.source, sa.Text),
        sa.cast(VERSIONS.c.schema, sa.Text),
    )
    return sa.select(VERSIONS.c.name).where(sa.or_(*(f.icontains(word, autoescape=True) for f in fields)))
