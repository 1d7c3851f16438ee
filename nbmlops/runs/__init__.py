"""The runs desk: experiments, runs, what they log, and finding them again."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from nbmlops import clock, settings
from nbmlops.cells import Cells
from nbmlops.cells.brief import brief
from nbmlops.context import ContextSource
from nbmlops.errors import InvalidValue, NotFound, StoreReadOnly, UsageFault
from nbmlops.records import Experiment, Run
from nbmlops.refs import check_key, parse
from nbmlops.runs import origin, search
from nbmlops.runs.artifacts import Artifacts
from nbmlops.runs.certificates import Certificates
from nbmlops.runs.live import Also, LiveRun, check_params, check_tags, keeper
from nbmlops.runs.origins import Origins
from nbmlops.runs.uses import Uses
from nbmlops.store import Store, schema

if TYPE_CHECKING:
    import pandas as pd

    from nbmlops.runs.frame import Frames

STATUSES = ("RUNNING", "FINISHED", "FAILED", "KILLED")
_ENDINGS = {"FINISHED", "FAILED", "KILLED"}
# Built once: building a statement takes longer than executing it, and a small run consists of little else.
_INSERT = schema.runs.insert()
_END = (
    schema.runs.update()
    .where(schema.runs.c.id == sa.bindparam("run"))
    .values({name: sa.bindparam(name) for name in ("status", "ended_at", "heartbeat_at", "error")})
)


class Runs(Artifacts, Uses, Certificates):
    """Every verb about runs. Records come back frozen; the handle to log with is :class:`LiveRun`."""

    def __init__(self, store: Store, context: ContextSource) -> None:
        self.store = store
        self.context = context
        self._experiments: dict[str, str] = {}
        self.origins = Origins(store)
        self._cells = Cells(store)

    # -- experiments -----------------------------------------------------------------------------------------------
    def experiment(self, name: str, *, tags: dict[str, str] | None = None) -> Experiment:
        """The experiment of that name, made if it is new."""
        check_key(name, "experiment")
        e = schema.experiments
        with self.store.read() as db:
            row = db.execute(sa.select(e).where(e.c.name == name)).mappings().first()
        if row is None:
            with self.store.write() as db:
                new = {"id": clock.new_id(), "name": name, "created_at": clock.now(), "tags": tags or {}}
                db.execute(self.store.insert(e).on_conflict_do_nothing(), new)
                row = db.execute(sa.select(e).where(e.c.name == name)).mappings().one()
        self._experiments[name] = row["id"]
        return Experiment(row["id"], row["name"], row["created_at"], row["tags"])

    def experiments(self) -> list[Experiment]:
        """All experiments with their number of runs, newest first."""
        e, r = schema.experiments, schema.runs
        query = (
            sa.select(e, sa.func.count(r.c.seq).label("runs"))
            .select_from(e.outerjoin(r, (r.c.experiment_id == e.c.id) & r.c.deleted_at.is_(None)))
            .group_by(*e.c)
            .order_by(e.c.created_at.desc())
        )
        with self.store.read() as db:
            return [
                Experiment(x["id"], x["name"], x["created_at"], x["tags"], x["runs"])
                for x in db.execute(query).mappings()
            ]

    # -- life ------------------------------------------------------------------------------------------------------
    def start(
        self,
        experiment: str | None = None,
        name: str | None = None,
        *,
        parent_id: str | None = None,
        kind: str = "run",
        tags: dict[str, Any] | None = None,
        params: dict[str, Any] | None = None,
        description: str = "",
        source: dict[str, Any] | None = None,
    ) -> LiveRun:
        """Start a run in an experiment (default: the setting ``experiment``) and return the handle to log with."""
        check_params(params or {})
        check_tags(tags or {})
        experiment = experiment or settings.value("experiment")
        experiment_id = self._experiments.get(experiment) or self.experiment(experiment).experiment_id
        run_id, at = clock.new_id(), clock.now()
        context = self.context()
        here = source if source is not None else {**origin.source(context.notebook), "cell_id": context.cell_id}
        known = self.origins.known(here)
        row: dict[str, Any] = {
            "id": run_id,
            "experiment_id": experiment_id,
            "name": check_key(name, "run") if name else f"run-{run_id[-6:].lower()}",
            "kind": kind,
            "status": "RUNNING",
            "started_at": at,
            "heartbeat_at": at,
            "parent_id": parent_id,
            "user": context.user,
            "host": context.host,
            "pid": os.getpid(),
            "source": {"pid_namespace": origin.pid_namespace(), **here},
            "description": description or "",
            **known,
        }
        with self.store.write() as db:
            seq = db.execute(_INSERT, row).inserted_primary_key[0]  # type: ignore[index]
        live = LiveRun(self, run_id, seq, row["name"])
        self.origins.note(run_id, here, known)
        if params:
            live.log_params(params)
        if tags:
            live.set_tags(tags)
        return live

    def resume(self, ref: str, *, owned: bool = True) -> LiveRun:
        """Log to a run that exists: one that ended is running again; with ``owned=False`` its owner ends it."""
        row = self._row(ref)
        if owned:
            again = {
                "status": "RUNNING",
                "ended_at": None,
                "heartbeat_at": clock.now(),
                "pid": os.getpid(),
                "host": self.context().host,
                "error": None,
            }
            with self.store.write() as db:
                db.execute(schema.runs.update().where(schema.runs.c.id == row["id"]).values(**again))
        return LiveRun(self, row["id"], row["seq"], row["name"], owned=owned)

    def finish(self, live: LiveRun, status: str, error: dict[str, Any] | None, also: Also | None = None) -> None:
        """End a run on behalf of its handle: fold, compress, record the status, all in one durable transaction."""
        if status not in _ENDINGS:
            raise InvalidValue(f"a run cannot end with status {status!r}", f"use one of {', '.join(sorted(_ENDINGS))}")
        self.origins.wait(live.run_id)
        at = clock.now()
        end = {"run": live.run_id, "status": status, "ended_at": at, "heartbeat_at": at, "error": error}
        with self.store.write(durable=True) as db:
            live.folder.seal(db)
            db.execute(_END, end)
            if also is not None:
                also(db)
        live.folder.forget()

    def renew(self, run_id: str) -> None:
        """Renew a run's lease. A run that was taken for dead while its machine slept is running again."""
        r = schema.runs
        alive = {"heartbeat_at": clock.now(), "status": "RUNNING", "ended_at": None}
        with self.store.write() as db:
            db.execute(r.update().where(r.c.id == run_id, r.c.status.in_(["RUNNING", "KILLED"])).values(**alive))

    def reap(self) -> int:
        """Fold and mark KILLED the runs whose process is gone; returns how many. Every reading verb calls it."""
        r = schema.runs
        with self.store.read() as db:
            open_runs = db.execute(sa.select(r).where(r.c.status == "RUNNING")).mappings().all()
        dead = [row for row in open_runs if self._is_dead(row)]
        for row in dead:
            self._bury(row, None)
        return len(dead)

    def give_up(self, run_id: str, error: dict[str, Any]) -> None:
        """Mark KILLED a run whose process is known to be lost, sooner than its lease would tell."""
        row = self._row(run_id)
        if row["status"] == "RUNNING":
            self._bury(row, error)

    def _bury(self, row: Any, error: dict[str, Any] | None) -> None:
        from nbmlops.runs.fold import Folder

        r, folder = schema.runs, Folder(self.store, row["id"], row["seq"])
        end = {"status": "KILLED", "ended_at": row["heartbeat_at"], **({"error": error} if error else {})}
        with self.store.write(durable=True) as db:
            folder.seal(db)
            db.execute(r.update().where(r.c.id == row["id"], r.c.status == "RUNNING").values(**end))
        folder.forget()

    def _is_dead(self, row: Any) -> bool:
        if clock.now() - row["heartbeat_at"] > settings.value("lease"):
            return True
        here = row["host"] == self.context().host and row["source"].get("pid_namespace") == origin.pid_namespace() != ""
        return here and not os.path.exists(f"/proc/{row['pid']}")

    def delete(self, ref: str) -> Run:
        """Hide a run; its rows and files stay until a clean-up of the store."""
        run = self.get(ref)
        if run.status == "RUNNING":
            raise UsageFault(f"run {run.name!r} is still running", "end it first with end_run()")
        with self.store.write() as db:
            db.execute(schema.runs.update().where(schema.runs.c.id == run.run_id).values(deleted_at=clock.now()))
        return run

    # -- reading ---------------------------------------------------------------------------------------------------
    def find(self, run_id: str) -> Run | None:
        """The run with exactly this id, or None."""
        with self.store.read() as db:
            known = db.execute(sa.select(schema.runs.c.seq).where(schema.runs.c.id == run_id)).first()
        return self.get(run_id) if known else None

    def get(self, ref: str) -> Run:
        """One run with everything it logged. A unique prefix of its id, or its last six characters, is enough.

        Raises:
            NotFound: no run, or more than one, answers to it.
        """
        self._settle()
        row = self._row(ref)
        return self._records([row], artifacts=True)[0]

    def search(
        self,
        experiments: Sequence[str] | None = None,
        filter: str = "",
        order_by: list[str] | str | None = None,
        limit: int = 1000,
    ) -> list[Run]:
        """Runs that fulfil a filter, newest first unless ordered; see :mod:`nbmlops.runs.search` for the grammar."""
        self._settle()
        r = schema.runs
        with self.store.read() as db:
            # Sorting numbers and fetching the rows of a page afterwards is twice as fast as sorting whole rows.
            seqs = db.scalars(self._query(experiments, filter, order_by, limit).with_only_columns(r.c.seq)).all()
            rows = {}
            for start in range(0, len(seqs), 1000):
                part = sa.select(r).where(r.c.seq.in_(seqs[start : start + 1000]))
                rows.update({row["seq"]: row for row in db.execute(part).mappings()})
        return self._records(rows[seq] for seq in seqs)

    def frame(
        self,
        experiments: Sequence[str] | None = None,
        filter: str = "",
        order_by: list[str] | str | None = None,
        limit: int = 100_000,
    ) -> pd.DataFrame:
        """The same as a DataFrame with ``params.*``, ``metrics.*`` and ``tags.*`` columns, absent values missing."""
        self._settle()
        return self._frames.of(self._query(experiments, filter, order_by, limit))

    @functools.cached_property
    def _frames(self) -> Frames:
        from nbmlops.runs.frame import Frames

        return Frames(self.store)

    def metric_history(self, run_id: str, key: str) -> pd.DataFrame:
        """All points of a metric in logging order: ``step``, ``timestamp`` (UTC), ``value``.

        Raises:
            NotFound: the run has logged no such metric.
        """
        import pandas as pd

        from nbmlops.runs.fold import read_points

        self._settle()
        seq = self._row(run_id)["seq"]
        k, m = schema.keys, schema.metric_latest
        with self.store.read() as db:
            query = sa.select(k.c.name, k.c.id).join(m, m.c.key_id == k.c.id).where(m.c.run_seq == seq)
            known = {row.name: row.id for row in db.execute(query)}
            if key not in known:
                raise NotFound.of("metric", key, known)
            steps, stamps, values = read_points(db, seq, known[key])
        times = pd.DatetimeIndex(stamps.view("M8[ms]")).tz_localize("UTC")
        return pd.DataFrame({"step": steps, "timestamp": times, "value": values}, copy=False)

    def param_history(self, ref: str) -> list[dict[str, Any]]:
        """The values of parameters that were logged again: ``key``, ``value`` before, ``at`` (time of the change)."""
        h, k = schema.param_history, schema.keys
        query = (
            sa.select(k.c.name.label("key"), h.c.value, h.c.at)
            .join(k, k.c.id == h.c.key_id)
            .where(h.c.run_seq == self._row(ref)["seq"])
            .order_by(h.c.seq)
        )
        self._settle()
        with self.store.read() as db:
            return [dict(row) for row in db.execute(query).mappings()]

    def children(self, run_id: str) -> list[Run]:
        """The runs nested in a run, oldest first."""
        r = schema.runs
        with self.store.read() as db:
            rows = db.execute(sa.select(r).where(r.c.parent_id == run_id).order_by(r.c.seq)).mappings().all()
        return self._records(rows)

    def _settle(self) -> None:
        """What this process logged is folded, and the dead are marked, before anyone looks."""
        for live in keeper.runs():
            if live._desk.store is self.store:
                live.flush()
        with contextlib.suppress(StoreReadOnly):  # then nobody can mark the dead, and reading goes on
            self.reap()

    def _query(
        self, experiments: Sequence[str] | None, filter: str, order_by: list[str] | str | None, limit: int
    ) -> Any:
        r, e = schema.runs, schema.experiments
        joins, order = search.ordering(order_by)
        source: Any = r.join(e, e.c.id == r.c.experiment_id)
        for table, condition in joins:
            source = source.outerjoin(table, condition)
        query = sa.select(r, e.c.name.label("experiment")).select_from(source).where(r.c.deleted_at.is_(None))
        for condition in search.conditions(filter):
            query = query.where(condition)
        if experiments is not None:
            names = [experiments] if isinstance(experiments, str) else list(experiments)
            query = query.where(sa.or_(e.c.name.in_(names), e.c.id.in_(names)))
        return query.order_by(*order).limit(limit)

    def _row(self, ref: str) -> Any:
        run_id = parse(ref, "run").name
        r = schema.runs
        with self.store.read() as db:
            row = db.execute(sa.select(r).where(r.c.id == run_id)).mappings().first()
            if row is not None:
                return row
            like = sa.or_(
                r.c.id.startswith(run_id.upper(), autoescape=True), r.c.id.endswith(run_id.upper(), autoescape=True)
            )
            near = db.execute(sa.select(r).where(like, r.c.deleted_at.is_(None)).limit(3)).mappings().all()
            if not near:
                near = (
                    db.execute(sa.select(r).where(r.c.name == run_id, r.c.deleted_at.is_(None)).limit(3))
                    .mappings()
                    .all()
                )
        if len(near) == 1:
            return near[0]
        if near:
            ids = ", ".join(row["id"] for row in near)
            raise NotFound(f"{run_id!r} means more than one run", f"give more of the id: {ids}, …")
        raise NotFound(
            f"no run {run_id!r}",
            "list them with `nbmlops runs`; an id, a unique part of it, or a unique name is enough",
        )

    def _records(self, rows: Iterable[Any], *, artifacts: bool = False) -> list[Run]:
        from nbmlops.runs.frame import logged

        rows = list(rows)
        seqs = [row["seq"] for row in rows]
        with self.store.read() as db:
            params, metrics, tags = logged(db, seqs)
            names = {e.id: e.name for e in db.execute(sa.select(schema.experiments))}
        return [
            Run(
                run_id=row["id"],
                experiment=names[row["experiment_id"]],
                params=params.get(row["seq"], {}),
                metrics=metrics.get(row["seq"], {}),
                tags=tags.get(row["seq"], {}),
                artifacts=tuple(self.artifacts(row["id"])) if artifacts else (),
                datasets=tuple(self.datasets(row["id"])) if artifacts else (),
                cells=brief(self._cells.of_run(row["id"], outputs=False), row["id"]) if artifacts else (),
                artifact_uri=self.store.blobs.shown_root,
                certificate=self.certificate(row["id"]) if artifacts else None,
                **{
                    k: row[k]
                    for k in (
                        "name", "status", "started_at", "ended_at", "user", "host", "kind", "parent_id",
                        "description", "source", "git", "environment", "error", "verdict", "experiment_id",
                    )
                },
            )
            for row in rows
        ]  # fmt: skip
