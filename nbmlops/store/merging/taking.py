"""What of the incoming rows comes, and writing it: one object for one transaction, so that nothing moves between."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from nbmlops import clock
from nbmlops.store import environments, manifest_only, schema
from nbmlops.store.engine import Store
from nbmlops.store.merging import columns as c
from nbmlops.store.merging import versions
from nbmlops.store.merging.columns import TABLES
from nbmlops.store.merging.reading import Read, of_many
from nbmlops.store.told import evidence_digest

NEW, FURTHER, THERE = "new", "further", "there"
_AT_ONCE = 500
_METRICS = ("metric_latest", "metric_chunks")
_NAMED = ("experiments", "datasets", "models")
# A run's own columns that belong to whoever looks at it here.
_KEPT = ("seq", "id", "experiment_id", "deleted_at")


class Taking:
    """Compares what was read with what is here, then writes.

    Args:
        store: takes the rows.
        db: its connection; to write, that of its transaction.
        rows: the incoming rows, checked.
        met: what was found in them.
    """

    def __init__(self, store: Store, db: sa.Connection, *, rows: Mapping[str, Iterable[Any]], met: Read) -> None:
        self.store, self.db, self.rows, self.met = store, db, rows, met
        self.added: Counter[str] = Counter()
        self.updated: Counter[str] = Counter()
        self.there: Counter[str] = Counter()
        self.left_out: list[str] = []
        self.aliases: dict[str, int] = {}  # of models, that came
        self.taken_versions: dict[str, tuple[str, str]] = {}
        self.certificates: dict[str, tuple[str, str]] = {}
        self.evidence: dict[str, str] = {}
        self._maps: dict[str, dict[Any, Any]] = {}
        self._model_numbers = {version.id: version.version for version in met.versions["model"]}
        self._dataset_ids = {(v.name, v.version): v.id for v in met.versions["dataset"]}
        self.settled = versions.settle(db, met.versions)
        self.numbers = self.settled.numbers
        self._runs = self._compare_runs()
        self._run_ids = {run.id: self._runs[seq] for seq, run in met.runs.items()}
        self._ids = {name: self._compare_ids(name) for name in TABLES if TABLES[name].state is not None or _by_id(name)}
        self._ids["dataset_versions"] = self._ids["model_versions"] = {
            v.id: NEW if v.id in self.settled.new else THERE for held in met.versions.values() for v in held
        }
        self._labels = {t: self._free_aliases(t) for t in ("dataset_aliases", "model_aliases")}
        self.faults = [*self.settled.faults, *self._absent()]

    @property
    def changed_runs(self) -> list[str]:
        """Ids of runs that are here and would be brought up to date."""
        return [run.id for seq, run in self.met.runs.items() if self._runs[seq] == FURTHER]

    # -- comparing -------------------------------------------------------------------------------------------------
    def _compare_runs(self) -> dict[int, str]:
        r, m = schema.runs, schema.metric_latest
        by_id = {run.id: seq for seq, run in self.met.runs.items()}
        query = sa.select(r.c.id, r.c.seq, r.c.status, r.c.heartbeat_at)
        here = {row.id: row for row in of_many(self.db, query, r.c.id, list(by_id))}
        count = sa.select(m.c.run_seq, sa.func.sum(m.c.points).label("points")).group_by(m.c.run_seq)
        points = {
            p.run_seq: int(p.points) for p in of_many(self.db, count, m.c.run_seq, [h.seq for h in here.values()])
        }
        found = {}
        for seq, run in self.met.runs.items():
            held = here.get(run.id)
            if held is None:
                found[seq] = NEW
            elif held.status in {"FINISHED", "FAILED"}:  # and nobody who claims its id changes it
                found[seq] = THERE
            else:
                # A run that was taken over while it ran may have been given up for dead here: its heart tells.
                later = run.heartbeat_at > held.heartbeat_at or (held.status == "RUNNING" != run.status)
                grown = run.heartbeat_at == held.heartbeat_at and self.met.points[seq] > points.get(held.seq, 0)
                found[seq] = FURTHER if later or grown else THERE
        return found

    def _compare_ids(self, name: str) -> dict[str, str]:
        table, state = schema.metadata.tables[name], TABLES[name].state
        column = table.c[state[0]] if state else sa.null()
        query = sa.select(table.c.id, column.label("state"))
        here = {row.id: row.state for row in of_many(self.db, query, table.c.id, list(self.met.states[name]))}
        return {
            id_: NEW if id_ not in here else FURTHER if state and _further(state[1], here[id_], there) else THERE
            for id_, there in self.met.states[name].items()
        }

    def _free_aliases(self, name: str) -> set[tuple[str, str]]:
        """Labels that come: those that no one has here; an environment only together with its model."""
        table = schema.metadata.tables[name]
        theirs = {(row["name"], row["alias"]) for row in self.rows.get(name, ())}
        names = sorted({name for name, _ in theirs})
        query = sa.select(table.c.name, table.c.alias)
        ours = {tuple(row) for row in of_many(self.db, query, table.c.name, names)}
        free = theirs - ours
        if name == "model_aliases":
            h = schema.alias_history
            free -= {tuple(row) for row in of_many(self.db, sa.select(h.c.name, h.c.alias), h.c.name, names)}
            decided = environments.names(self.db)  # what stands there is never moved by a merge
            free = {(n, a) for n, a in free if a not in decided or ("model", n) not in self.settled.names}
        return free

    def _absent(self) -> list[str]:
        """Runs that something needs and that are neither among the rows nor here."""
        r = schema.runs
        missing = self.met.absent - {i for (i,) in of_many(self.db, sa.select(r.c.id), r.c.id, sorted(self.met.absent))}
        return [f"run:{run_id} is needed and not among the rows" for run_id in sorted(missing)]

    # -- what comes ------------------------------------------------------------------------------------------------
    def coming(self, name: str) -> Iterator[tuple[dict[str, Any], str]]:
        """The rows of a table that are new or further than here, with every reference as it must be here."""
        for row in self.rows.get(name, ()):
            if (state := self._state(name, row)) != THERE:
                yield self.numbers.row(name, row), state
            else:
                self.there[TABLES[name].title] += 1

    def _state(self, name: str, row: Mapping[str, Any]) -> str:
        of = TABLES[name].of
        if name == "runs":
            return self._runs[row["seq"]]
        if name in self._labels:
            return NEW if (row["name"], row["alias"]) in self._labels[name] else THERE
        if name == "dataset_tags" and row["key"] == manifest_only.TAG:  # it says what came, not what is here
            return self._ids["dataset_versions"][self._dataset_ids[row["name"], row["version"]]]
        if name == "alias_history":
            return NEW if (row["name"], row["alias"]) in self._labels["model_aliases"] else THERE
        if of == "run_seq":
            return self._runs[row["run_seq"]]
        if of == "run_id":
            return self._run_ids.get(row["run_id"], THERE)
        if name == "cell_touches" and row["execution_id"] in self._ids["cell_executions"]:
            return NEW  # a capsule brings of a cell only what its run had to do with; the rest may come later
        if of:
            return self._ids["flows" if of == "flow_id" else "cell_executions"].get(row[of], THERE)
        return self._ids[name].get(row["id"], NEW) if name in self._ids else NEW

    # -- writing ---------------------------------------------------------------------------------------------------
    def write(self) -> None:
        """Write everything that comes; the transaction is the caller's."""
        for name in TABLES:
            if name in _NAMED:
                self._write_named(name)
            elif name == "keys":
                self._maps["keys"] = self.store.key_ids(self.db, list(self.met.keys.values()))
            elif name == "runs":
                self._write_runs()
            else:
                self._write_rows(name)
        self._tell_aliases()

    def _write_named(self, name: str) -> None:
        """Things that are one if their names are."""
        table, title = schema.metadata.tables[name], TABLES[name].title
        rows = {row["name"]: dict(row) for row in self.rows.get(name, ())}
        query = sa.select(table.c.name, table.c.id)
        here = {row.name for row in of_many(self.db, query, table.c.name, list(rows))}
        new = [self.numbers.row(name, row) for key, row in rows.items() if key not in here]
        taken = {row.id for row in of_many(self.db, query, table.c.id, [row["id"] for row in new])}
        for row in new:
            row["id"] = clock.new_id() if row["id"] in taken else row["id"]
        if new:
            self.db.execute(self.store.insert(table).on_conflict_do_nothing(), new)
        self.added[title] += len(new)
        self.there[title] += len(rows) - len(new)
        self._maps[name] = {row.name: row.id for row in of_many(self.db, query, table.c.name, list(rows))}

    def _write_runs(self) -> None:
        r, further = schema.runs, []
        experiments = {id_: self._maps["experiments"][name] for id_, name in self.met.experiments.items()}
        for batch in _batches(self.coming("runs")):
            new = [_without(row, "seq") for row, state in batch if state == NEW]
            for row in new:
                row["experiment_id"] = experiments[row["experiment_id"]]
            if new:
                self.db.execute(r.insert(), new)
            further += [row for row, state in batch if state == FURTHER]
            self.added["runs"] += len(new)
        for row in further:
            self.db.execute(r.update().where(r.c.id == row["id"]).values(**_without(row, *_KEPT)))
        self.updated["runs"] += len(further)
        by_id = {run.id: seq for seq, run in self.met.runs.items() if self._runs[seq] != THERE}
        seqs = {by_id[row.id]: row.seq for row in of_many(self.db, sa.select(r.c.id, r.c.seq), r.c.id, list(by_id))}
        self._maps["runs"] = seqs
        again = [seqs[seq] for seq, state in self._runs.items() if state == FURTHER]
        for name in _METRICS:  # as a whole: chunks of two states do not fit together
            table = schema.metadata.tables[name]
            for start in range(0, len(again), _AT_ONCE):
                self.db.execute(table.delete().where(table.c.run_seq.in_(again[start : start + _AT_ONCE])))

    def _write_rows(self, name: str) -> None:
        table, plan = schema.metadata.tables[name], TABLES[name]
        unique = _is_unique(table, plan.key)
        for batch in _batches(self.coming(name)):
            rows = [self._placed(name, row) for row, _ in batch]
            states = [state for _, state in batch]
            if not unique or name == "cell_touches" or (not plan.of and plan.key != ("id",)):
                states = [NEW if unlike else THERE for unlike in self._unlike(table, plan.key, rows)]
                rows = [row for row, state in zip(rows, states) if state == NEW]
                if rows:
                    self.db.execute(table.insert(), rows)
            else:
                new = [row for row, state in zip(rows, states) if state == NEW]
                if new:
                    self.db.execute(self.store.insert(table).on_conflict_do_nothing(), new)
                self.store.upsert(
                    self.db, table, [row for row, state in zip(rows, states) if state == FURTHER], plan.key
                )
            count = Counter(states)
            self.added[plan.title] += count[NEW]
            self.updated[plan.title] += count[FURTHER]
            self.there[plan.title] += count[THERE]

    def _placed(self, name: str, row: dict[str, Any]) -> dict[str, Any]:
        """A row with the integers of this store."""
        made: dict[str, Any] = {}
        for column, kind in TABLES[name].columns.items():
            if kind == c.OWN:
                if column == "event_seq":
                    made[column] = None
            elif kind == c.RUN_SEQ:
                made[column] = self._maps["runs"][row[column]]
            elif kind == c.KEY_ID:
                made[column] = self._maps["keys"][self.met.keys[row[column]]]
            else:
                made[column] = row[column]
        if name == "model_versions":
            there = self._model_numbers[row["id"]]
            self.taken_versions[row["id"]] = (f"model:{row['name']}@{there}", f"model:{row['name']}@{row['version']}")
        if name == "certificates":
            self.certificates[row["id"]] = (f"run:{row['run_id']}", row["status"])
        if name == "evidence":
            self.evidence[row["id"]] = evidence_digest(made)
        if name == "model_aliases":
            self.aliases[f"model:{row['name']}@{row['alias']}"] = row["version"]
        return made

    def _unlike(self, table: sa.Table, key: tuple[str, ...], rows: list[dict[str, Any]]) -> list[bool]:
        """Which rows have no like here; those of a batch that are like each other count once."""
        first = table.c[key[0]]
        query = sa.select(*(table.c[k] for k in key))
        values = sorted({row[key[0]] for row in rows})
        seen = {_like(row) for row in of_many(self.db, query, first, values)}
        found = []
        for row in rows:
            like = _like(row[k] for k in key)
            found.append(like not in seen)
            seen.add(like)
        return found

    def _tell_aliases(self) -> None:
        """Labels that stay where they are here, though they stand elsewhere there."""
        for name, kind in (("dataset_aliases", "dataset"), ("model_aliases", "model")):
            table = schema.metadata.tables[name]
            theirs = {(row["name"], row["alias"]): row for row in self.rows.get(name, ())}
            query = sa.select(table.c.name, table.c.alias, table.c.version)
            ours = {
                (row.name, row.alias): row.version
                for row in of_many(self.db, query, table.c.name, sorted({n for n, _ in theirs}))
            }
            for (thing, alias), row in theirs.items():
                meant = self.numbers.of(kind, thing, row["version"])
                if (stands := ours.get((thing, alias))) != meant:
                    now = f"stays at {kind}:{thing}@{stands}" if stands is not None else "is not set"
                    self.left_out.append(
                        f"{alias} {now} here; there it is {kind}:{thing}@{row['version']} ({meant} here)"
                    )


def _by_id(name: str) -> bool:
    return TABLES[name].key == ("id",) and name not in {"runs", "dataset_versions", "model_versions"}


def _further(states: tuple[object, ...], here: object, there: object) -> bool:
    """Whether a thing has come further there; ``states`` are those before the end, in their order."""
    ranks = {state: rank for rank, state in enumerate(states)}
    return ranks.get(there, len(states)) > ranks.get(here, len(states))


def _is_unique(table: sa.Table, key: tuple[str, ...]) -> bool:
    """Whether the database itself keeps two rows with this key from being there."""
    sets = [{c.name for c in table.primary_key}]
    sets += [{c.name for c in u.columns} for u in table.constraints if isinstance(u, sa.UniqueConstraint)]
    return set(key) in sets


def _like(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(json.dumps(v, sort_keys=True) if isinstance(v, dict | list) else v for v in values)


def _without(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def _batches(found: Iterable[Any]) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for each in found:
        batch.append(each)
        if len(batch) >= _AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch
