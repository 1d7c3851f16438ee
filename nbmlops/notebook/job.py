"""What is asked of the engine, what it answers, and how it is told to stop. No notebook library is imported here."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Event = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What to execute and how.

    ``environment`` is added to this process's. ``timeout`` is for the whole notebook and ``cell_timeout`` for each
    cell, in seconds. ``kernel`` overrides the notebook's own kernelspec. ``path`` is recorded and not read.
    ``grace`` is how long an interrupted cell has before its kernel is killed, and then the kernel to end.

    ``warm`` allows a kernel whose imports (``preload``: names of modules) are done already. ``memory`` is for the
    kernel and its children together, in bytes. Cells with one of ``skip_tags`` are not executed. ``record`` has the
    kernel keep a journal of its cells in the store of its context.

    ``save`` is called in another thread with the unfinished notebook after two seconds, then at doubling intervals up
    to ``save_every`` seconds; never for notebooks that end sooner, and never after the end.
    """

    cwd: str
    params: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    kernel: str | None = None
    timeout: float | None = None
    cell_timeout: float | None = None
    path: str = ""
    start_timeout: float = 60.0
    grace: float = 5.0
    warm: bool = True
    preload: tuple[str, ...] = ()
    memory: int | None = None
    skip_tags: tuple[str, ...] = ()
    save: Callable[[bytes], None] | None = None
    save_every: float = 300.0
    record: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of it. ``status``: FINISHED, SKIPPED (on purpose, see ``reason``), FAILED, TIMEOUT, DIED or KILLED
    (stopped from outside).

    ``cell`` is the index, in the executed notebook, of the cell where it ended. ``error`` has ``name``, ``message``
    and ``traceback`` (a list of lines without colour codes); a kernel that died has the names ``MemoryLimit``,
    ``OutOfMemory`` (the system's memory, with proof) or ``KernelDied``. ``peak_memory`` is in bytes, of the kernel and
    its children as far as it was seen. ``warnings`` tell what else went wrong without failing it.
    """

    nb: Any
    status: str
    cell: int | None
    error: dict[str, Any] | None
    cells_done: int
    cells: int
    duration: float
    reason: str = ""
    peak_memory: int | None = None
    warnings: tuple[str, ...] = ()


class Stop:
    """A request to end executions early, which any thread can make."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._calls: list[Callable[[], object]] = []

    def set(self) -> None:
        with self._lock:
            self._event.set()
            calls = list(self._calls)
        for call in calls:
            call()

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep, unless stopped before; whether it was stopped."""
        return self._event.wait(seconds)

    @contextlib.contextmanager
    def calling(self, call: Callable[[], object]) -> Iterator[None]:
        """While inside, ``set`` makes this call; at once if it was set already."""
        with self._lock:
            self._calls.append(call)
        try:
            if self.is_set():
                call()
            yield
        finally:
            with self._lock:
                self._calls.remove(call)
