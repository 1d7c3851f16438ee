"""What followed from a thing: level by level, a few questions to the database for each, however wide it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from nbmlops import clock
from nbmlops.errors import InvalidValue, NotFound
from nbmlops.records import LineageNode
from nbmlops.refs import parse
from nbmlops.store import Store, schema

LEVELS, WIDTH = 20, 1_000  # of things followed, and of things on one level; what is left out is said
_PART = 400  # references in one question
_KINDS = ("dataset", "model", "run", "flow", "stage")


class Impact:
    """One walk forward. Each thing is followed once, where it was met first."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._titles: dict[str, tuple[str, dict[str, Any]]] = {}
        self._after: dict[str, list[str]] = defaultdict(list)
        self._ends: dict[str, list[LineageNode]] = defaultdict(list)
        self._cut: dict[str, str] = {}

    def root(self, ref: str) -> LineageNode:
        """The tree from a reference with its version.

        Raises:
            InvalidValue: nothing can follow from such a thing.
            NotFound: it does not exist.
        """
        kind = ref.partition(":")[0]
        if kind not in _KINDS:
            raise InvalidValue(f"nothing follows from a {kind}", f"--impact takes {', '.join(_KINDS)}")
        seen, level = {ref}, [ref]
        with self.store.snapshot() as db:
            for _ in range(LEVELS):
                found = self._step(db, level)
                new = [r for r in dict.fromkeys(c for r in level for c in found.get(r, ())) if r not in seen]
                for parent in level:
                    self._after[parent] = list(dict.fromkeys(found.get(parent, ())))
                if len(new) > WIDTH:
                    for left in new[WIDTH:]:
                        self._cut[left] = f"not followed: more than {WIDTH:,} things on one level"
                    new = new[:WIDTH]
                seen.update(new)
                level = new
                if not level:
                    break
            for left in level:
                self._cut[left] = f"not followed: more than {LEVELS} steps away"
            self._name(db, {ref, *(r for refs in self._after.values() for r in refs)})
        if ref not in self._titles:
            raise NotFound.of(kind, ref.partition(":")[2], [])
        return self._node(ref, set())

    def _node(self, ref: str, told: set[str]) -> LineageNode:
        title, facts = self._titles.get(ref, (f"{ref} (missing)", {}))
        if ref in self._cut:
            facts = {**facts, "and": self._cut[ref]}
        if ref in told:
            return LineageNode(ref, ref.partition(":")[0], title, facts)
        told.add(ref)
        after = [self._node(child, told) for child in self._after.get(ref, ())]
        return LineageNode(ref, ref.partition(":")[0], title, facts, (*self._ends.get(ref, ()), *after))

    # -- one step --------------------------------------------------------------------------------------------------
    def _step(self, db: sa.Connection, level: list[str]) -> dict[str, list[str]]:
        """What follows directly from each of these."""
        by: dict[str, list[str]] = defaultdict(list)
        for ref in level:
            by[ref.partition(":")[0]].append(ref)
        found: dict[str, list[str]] = defaultdict(list)
        for kind, step in (
            ("dataset", self._of_datasets), ("model", self._of_models), ("run", self._of_runs),
            ("flow", self._of_flows), ("stage", self._of_stages),
        ):  # fmt: skip
            for start in range(0, len(by[kind]), _PART):
                for parent, child in step(db, by[kind][start : start + _PART]):
                    found[parent].append(child)
        return found

    def _of_datasets(self, db: sa.Connection, refs: list[str]) -> list[tuple[str, str]]:
        u, v = schema.dataset_uses, schema.dataset_versions
        read = sa.select(u.c.name, u.c.version, u.c.run_id).where(_pairs(u, refs), u.c.mode == "read").order_by(u.c.seq)
        links = [(f"dataset:{r.name}@{r.version}", f"run:{r.run_id}") for r in db.execute(read)]
        wanted = set(refs)
        parts = sa.or_(*(v.c.name.startswith(f"{parse(ref).name}-", autoescape=True) for ref in refs))
        made = db.execute(sa.select(v.c.name, v.c.version, v.c.source).where(parts).order_by(v.c.name, v.c.version))
        return links + [
            (of, f"dataset:{r.name}@{r.version}") for r in made if (of := (r.source or {}).get("of")) in wanted
        ]

    def _of_runs(self, db: sa.Connection, refs: list[str]) -> list[tuple[str, str]]:
        ids = [ref.partition(":")[2] for ref in refs]
        links = []
        for kind, table in (("dataset", schema.dataset_versions), ("model", schema.model_versions)):
            query = sa.select(table.c.run_id, table.c.name, table.c.version).where(table.c.run_id.in_(ids))
            rows = db.execute(query.order_by(table.c.name, table.c.version))
            links += [(f"run:{r.run_id}", f"{kind}:{r.name}@{r.version}") for r in rows]
        r = schema.runs
        children = db.execute(sa.select(r.c.parent_id, r.c.id).where(r.c.parent_id.in_(ids)).order_by(r.c.seq))
        return links + [(f"run:{row.parent_id}", f"run:{row.id}") for row in children]

    def _of_models(self, db: sa.Connection, refs: list[str]) -> list[tuple[str, str]]:
        u, p, m = schema.model_uses, schema.prediction_batches, schema.monitor_reports
        used = db.execute(sa.select(u.c.name, u.c.version, u.c.run_id).where(_pairs(u, refs)).order_by(u.c.at))
        links = [(f"model:{r.name}@{r.version}", f"run:{r.run_id}") for r in used]
        batches = sa.select(
            p.c.name, p.c.version, p.c.environment, p.c.source, sa.func.count().label("batches"),
            sa.func.sum(p.c.rows).label("rows"), sa.func.min(p.c.since).label("since"),
            sa.func.max(p.c.until).label("until"), sa.func.min(p.c.first_id).label("first"),
        ).where(_pairs(p, refs)).group_by(p.c.name, p.c.version, p.c.environment, p.c.source)  # fmt: skip
        for row in db.execute(batches):
            self._ends[f"model:{row.name}@{row.version}"].append(_predictions(row))
        reports = sa.select(m.c.name, m.c.version, m.c.status, sa.func.count().label("reports")).where(_pairs(m, refs))
        told: dict[str, dict[str, int]] = defaultdict(dict)
        for row in db.execute(reports.group_by(m.c.name, m.c.version, m.c.status)):
            told[f"model:{row.name}@{row.version}"][row.status] = row.reports
        for ref, counts in told.items():
            title = f"{sum(counts.values()):,} reports of monitoring"
            self._ends[ref].append(LineageNode(f"{ref} monitoring", "monitoring", title, dict(sorted(counts.items()))))
        return links + self._alerts(db, refs)

    def _alerts(self, db: sa.Connection, refs: list[str]) -> list[tuple[str, str]]:
        a, links = schema.alerts, []
        for row in db.execute(sa.select(a).where(_pairs(a, refs)).order_by(a.c.at)):
            ref = f"model:{row.name}@{row.version}"
            facts = {"at": clock.iso(row.at), "message": row.message, "status": row.status}
            self._ends[ref].append(LineageNode(f"alert:{row.id}", "alert", f"alert:{row.id} on {ref}", facts))
            if row.flow_id:
                links.append((ref, f"flow:{row.flow_id}"))
        return links

    def _of_flows(self, db: sa.Connection, refs: list[str]) -> list[tuple[str, str]]:
        s = schema.stage_runs
        ids = [ref.partition(":")[2] for ref in refs]
        rows = db.execute(sa.select(s.c.flow_id, s.c.run_id).where(s.c.flow_id.in_(ids)).order_by(s.c.started_at))
        return [(f"flow:{row.flow_id}", f"run:{row.run_id}") for row in rows]

    def _of_stages(self, db: sa.Connection, refs: list[str]) -> list[tuple[str, str]]:
        s = schema.stage_runs
        names = [ref.partition(":")[2] for ref in refs]
        rows = db.execute(sa.select(s.c.stage, s.c.run_id).where(s.c.stage.in_(names)).order_by(s.c.started_at))
        return [(f"stage:{row.stage}", f"run:{row.run_id}") for row in rows]

    # -- titles ----------------------------------------------------------------------------------------------------
    def _name(self, db: sa.Connection, refs: Iterable[str]) -> None:
        """Titles and facts of everything that was met, kind by kind."""
        by: dict[str, list[str]] = defaultdict(list)
        for ref in refs:
            by[ref.partition(":")[0]].append(ref)
        for kind, name in (
            ("dataset", self._name_datasets), ("model", self._name_models),
            ("run", self._name_runs), ("flow", self._name_flows),
        ):  # fmt: skip
            for start in range(0, len(by[kind]), _PART):
                name(db, by[kind][start : start + _PART])
        for ref in by["stage"]:
            if self._after.get(ref):
                self._titles[ref] = f"{ref}: {len(self._after[ref]):,} runs", {}

    def _name_datasets(self, db: sa.Connection, refs: list[str]) -> None:
        v = schema.dataset_versions
        for row in db.execute(
            sa.select(v.c.name, v.c.version, v.c.rows, v.c.user, v.c.created_at).where(_pairs(v, refs))
        ):
            ref = f"dataset:{row.name}@{row.version}"
            facts = {"written": f"{clock.iso(row.created_at)} by {row.user}"}
            self._titles[ref] = f"{ref}: {row.rows:,} rows", facts

    def _name_models(self, db: sa.Connection, refs: list[str]) -> None:
        v, a, h = schema.model_versions, schema.model_aliases, schema.alias_history
        stands: dict[str, list[str]] = defaultdict(list)
        for row in db.execute(sa.select(a).where(_pairs(a, refs)).order_by(a.c.alias)):
            stands[f"model:{row.name}@{row.version}"].append(row.alias)
        stood: dict[str, set[str]] = defaultdict(set)
        for row in db.execute(sa.select(h.c.name, h.c.version, h.c.alias).where(_pairs(h, refs))):
            stood[f"model:{row.name}@{row.version}"].add(row.alias)
        columns = (v.c.name, v.c.version, v.c.user, v.c.created_at, v.c.deleted_at)
        for row in db.execute(sa.select(*columns).where(_pairs(v, refs))):
            ref = f"model:{row.name}@{row.version}"
            facts = {
                "registered": f"{clock.iso(row.created_at)} by {row.user}",
                "stands as": ", ".join(stands[ref]),
                "stood as": ", ".join(sorted(stood[ref] - set(stands[ref]))),
                "deleted": clock.iso(row.deleted_at),
            }
            self._titles[ref] = ref, {k: value for k, value in facts.items() if value}

    def _name_runs(self, db: sa.Connection, refs: list[str]) -> None:
        r, s = schema.runs, schema.stage_runs
        ids = [ref.partition(":")[2] for ref in refs]
        query = sa.select(r.c.id, r.c.name, r.c.status, r.c.user, r.c.started_at, s.c.stage, s.c.notebook)
        joined = query.select_from(r.outerjoin(s, s.c.run_id == r.c.id)).where(r.c.id.in_(ids))
        for row in db.execute(joined):
            what = f"stage {row.stage} ({row.notebook})" if row.stage else row.name
            facts = {"status": row.status, "started": f"{clock.iso(row.started_at)} by {row.user}"}
            self._titles[f"run:{row.id}"] = f"run:{row.id} {what}", facts

    def _name_flows(self, db: sa.Connection, refs: list[str]) -> None:
        f = schema.flows
        ids = [ref.partition(":")[2] for ref in refs]
        for row in db.execute(sa.select(f.c.id, f.c.name, f.c.path, f.c.status).where(f.c.id.in_(ids))):
            self._titles[f"flow:{row.id}"] = f"flow:{row.id} {row.name} ({row.path})", {"status": row.status}


def _pairs(table: Any, refs: list[str]) -> Any:
    """Rows of these names and versions."""
    named = [(asked.name, asked.version) for asked in map(parse, refs)]
    return sa.tuple_(table.c.name, table.c.version).in_(named)


def _predictions(row: Any) -> LineageNode:
    """All predictions of one version in one environment, as one thing: there may be millions."""
    where = f" in {row.environment}" if row.environment else ""
    title = f"{row.rows:,} predictions{where} ({row.source})"
    facts = {
        "batches": row.batches,
        "first": f"{clock.iso(row.since)} prediction:{row.first}",
        "last": clock.iso(row.until),
    }
    ref = f"model:{row.name}@{row.version} predictions{where} ({row.source})"
    return LineageNode(ref, "predictions", title, facts)
