"""Work in a thread of its own, so that the caller's shows progress and takes Ctrl-C."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from nbmlops import secrets
from nbmlops.notebook.job import Event, Stop
from nbmlops.pipelines import progress as displays
from nbmlops.pipelines.flow import next_event
from nbmlops.pipelines.progress import Progress

T = TypeVar("T")


def watched(work: Callable[[Callable[[Event], None], Stop], T], progress: Progress | bool | None) -> T:
    """Do the work, which gets what takes its events and what stops it.

    Raises:
        KeyboardInterrupt: Ctrl-C; the work was stopped, and has ended.
    """
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stop = Stop()

    def announce(event: Event) -> None:
        secrets.hear()
        events.put(secrets.scrub(event))

    with displays.showing(progress) as shown, ThreadPoolExecutor(1, thread_name_prefix="nbmlops-clean") as pool:
        future = pool.submit(work, announce, stop)
        future.add_done_callback(events.put)
        try:
            while (event := next_event(events)) is None or isinstance(event, dict):
                if event:
                    with contextlib.suppress(Exception):  # a broken progress display must never fail a clean run
                        shown(event)
        except BaseException:  # Ctrl-C: the kernel is ended before it is raised again
            stop.set()
            raise
    return future.result()
