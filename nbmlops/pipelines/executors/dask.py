"""Stages on the workers of a Dask cluster: any scheduler by its address, or a cluster of processes made here.

The workers need the same store, the same artifacts and the notebooks' folder, all by the names they have here. A work
whose worker is lost is given to another one by Dask; the run it leaves behind is recorded as KILLED.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, wait
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from nbmlops import clock, lazy
from nbmlops.context import Context, hostname
from nbmlops.errors import InvalidValue
from nbmlops.notebook.job import Stop
from nbmlops.pipelines import rows
from nbmlops.pipelines.desks import Desks
from nbmlops.pipelines.executors import Announce, offered
from nbmlops.pipelines.work import Execution, Work
from nbmlops.records import StageRun
from nbmlops.store import Store, schema

_Where = tuple[str, str, dict[str, Any]]  # store, artifacts, context
_LOST = {"name": "WorkerLost", "message": "its Dask worker was lost; another one took its work", "traceback": ""}
_ENDING = 60.0  # seconds for stages that were told to stop: an interrupt, a grace, and what their kernels still hold
_POLL = 0.5  # seconds between two looks at whether a work should stop


class DaskExecutor:
    """Executes works as tasks of a Dask cluster, one at a time on each of its threads."""

    def __init__(
        self, desks: Desks, context: Context, announce: Announce, *, address: str | None, workers: int | None
    ) -> None:
        distributed = lazy.need("distributed", "to run stages on a Dask cluster", "dask")
        self._open = contextlib.ExitStack()
        if address is None:
            cluster = distributed.LocalCluster(
                n_workers=workers or os.cpu_count() or 1,
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                resources=offered() or None,
            )
            self._client = self._open.enter_context(distributed.Client(self._open.enter_context(cluster)))
        else:
            self._client = self._open.enter_context(_connected(distributed, address))
        info = self._client.scheduler_info(n_workers=-1)["workers"].values()
        threads = sum(worker["nthreads"] for worker in info)
        self._has = [worker.get("resources") or {} for worker in info]
        self.workers = min(workers or threads, max(threads, 1))
        self._futures: list[Future[list[StageRun]]] = []
        self._topic = f"nbmlops-{uuid.uuid4().hex}"
        self._client.subscribe_topic(self._topic, lambda event: announce(event[1]))
        artifacts = desks.store.blobs.root
        root = artifacts if "://" in artifacts else os.path.abspath(artifacts)
        self._where = (desks.store.url, root, asdict(context))

    def submit(self, work: Work) -> Execution:
        distributed = lazy.need("distributed", "to run stages on a Dask cluster", "dask")
        name = f"nbmlops-{uuid.uuid4().hex}"
        end = distributed.Event(f"{name}-stop", client=self._client)
        pool = self._client.get_executor(pure=False, resources=work.limits.resources or None)
        future = pool.submit(_execute, work, self._where, self._topic, name, key=name)
        self._futures.append(future)
        return Execution(future, end.set)

    def lacking(self, resources: dict[str, float]) -> list[str]:
        return [
            f"it needs {tag}={amount:g}, and no worker of the cluster has that much"
            for tag, amount in resources.items()
            if not any(has.get(tag, 0) >= amount for has in self._has)
        ]

    def close(self) -> None:
        for future in self._futures:
            future.cancel()  # only what has not begun
        wait(self._futures, timeout=_ENDING)  # what was told to stop records its end before its worker goes
        self._open.close()


def _connected(distributed: Any, address: str) -> Any:
    """A client of the scheduler at this address.

    Raises:
        InvalidValue: nothing answers there, or it is no address.
    """
    try:
        return distributed.Client(address, timeout=20)
    except (OSError, ValueError) as error:
        what = str(error).strip().splitlines() or [type(error).__name__]
        raise InvalidValue(
            f"no Dask scheduler answers at {address}: {what[0]}",
            "start one with `dask scheduler`, or use --executor dask",
        ) from error


def _execute(work: Work, where: _Where, topic: str, name: str) -> list[StageRun]:
    """On a worker: the attempts of a work, told live and ended when asked."""
    from distributed import Event, get_client, get_worker

    from nbmlops.pipelines.stage import StageRunner

    worker = get_worker()
    url, root, context = where
    here = Context(**{**context, "host": hostname()})
    desks = _desks(url, root, here)
    runner = StageRunner(desks, here, functools.partial(worker.log_event, topic), worker=worker.address)
    done, before = _before(desks, work)
    if done is not None:
        return [done]
    stop = Stop()
    with _stopping(Event(f"{name}-stop", client=get_client()), stop):
        return runner.attempts(work, stop, 1 + before)


@functools.lru_cache(maxsize=4)
def _store(url: str, root: str) -> Store:
    from nbmlops.store import open_store

    return open_store(url, root)


def _desks(url: str, root: str, context: Context) -> Desks:
    return Desks.over(_store(url, root), lambda: context)


def _before(desks: Desks, work: Work) -> tuple[StageRun | None, int]:
    """The result of this work, if only Dask lost it with the worker that had it; else how many attempts there were.

    Dask gives a work to another worker only when the first is gone, so what still says RUNNING is not running: its
    end is recorded here.
    """
    if work.flow_id is None:
        return None, 0
    s = schema.stage_runs
    mine = sa.and_(s.c.flow_id == work.flow_id, s.c.label == work.label)
    with desks.store.read() as db:
        found = db.execute(sa.select(s.c.run_id, s.c.status).where(mine)).all()
    for run_id, status in found:
        if status in {"FINISHED", "SKIPPED"}:
            return rows.stage_run(desks, run_id), len(found)
        if status == "RUNNING":
            desks.runs.give_up(run_id, _LOST)
            with desks.store.write() as db:
                ended = {"status": "KILLED", "error": _LOST, "ended_at": clock.now()}
                db.execute(s.update().where(s.c.run_id == run_id, s.c.status == "RUNNING").values(**ended))
    return None, len(found)


@contextlib.contextmanager
def _stopping(asked: Any, stop: Stop) -> Iterator[None]:
    """While inside, the flow's request to stop this work is passed on."""
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            if asked.wait(timeout=_POLL):
                stop.set()
                return

    watcher = threading.Thread(target=watch, name="nbmlops-stop", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join(timeout=5)
