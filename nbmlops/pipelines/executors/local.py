"""Stages in threads of this process, each with a kernel of its own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from nbmlops.context import Context
from nbmlops.notebook.job import Stop
from nbmlops.pipelines.desks import Desks
from nbmlops.pipelines.executors import Announce, offered
from nbmlops.pipelines.stage import StageRunner
from nbmlops.pipelines.work import Execution, Work
from nbmlops.records import StageRun


class LocalExecutor:
    """Executes works on ``workers`` threads, and those that need a resource only while it is free."""

    def __init__(self, desks: Desks, context: Context, announce: Announce, *, workers: int) -> None:
        self.workers = workers
        self._runner = StageRunner(desks, context, announce)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="nbmlops-stage")
        self._offered = offered()
        self._free = dict(self._offered)
        self._released = threading.Condition()

    def submit(self, work: Work) -> Execution:
        stop = Stop()
        return Execution(self._pool.submit(self._run, work, stop), stop.set)

    def lacking(self, resources: dict[str, float]) -> list[str]:
        return [
            f"it needs {tag}={amount:g}, and this machine offers {self._offered.get(tag, 0):g} (setting resources)"
            for tag, amount in resources.items()
            if amount > self._offered.get(tag, 0)
        ]

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, work: Work, stop: Stop) -> list[StageRun]:
        needed = work.limits.resources
        with self._released:
            while any(self._free.get(tag, 0) < amount for tag, amount in needed.items()):
                if self._released.wait(0.5) or stop.is_set():
                    continue
            for tag, amount in needed.items():
                self._free[tag] -= amount
        try:
            return self._runner.attempts(work, stop)
        finally:
            with self._released:
                for tag, amount in needed.items():
                    self._free[tag] += amount
                self._released.notify_all()
