"""How much memory a kernel and its children take, the end of one that takes too much, and who else may have ended it.

Resident sizes are cheap to read and count a page once for every process that maps it: a forked kernel's with all that
its parent has imported. Where that sum passes the limit, proportional sizes (PSS, one walk over the page tables: 1 ms
for 100 MB) decide. There is no resource limit behind this: RLIMIT_AS and RLIMIT_DATA count what is reserved, and
memory maps, allocators' arenas and threads' stacks reserve far more than they use. Instead the kernel is made the
system's first choice should memory run out before it is looked at.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from pathlib import Path

import psutil

UNWATCHED, RELAXED, CLOSE = 1.0, 0.25, 0.05  # seconds between two looks: without a limit, far from it, near it
LISTED = 0.5  # seconds between two looks for new children
SHARE = 10  # looking takes at most a tenth of the time


class Watch:
    """Looks at a process and its children, in a thread of its own, and kills them all above ``limit`` bytes."""

    def __init__(self, pid: int, limit: int | None) -> None:
        self.root = psutil.Process(pid)
        self.limit = limit
        self.peak = self.last = 0
        self.exceeded: int | None = None  # the bytes for which it was killed
        self._tree = [self.root]
        self._listed = 0.0
        self._shared = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="nbmlops-memory", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        if self.limit is not None:
            with contextlib.suppress(OSError):
                Path(f"/proc/{self.root.pid}/oom_score_adj").write_text("500")
        self._look(exact=True)
        self._thread.start()

    def stop(self) -> None:
        """Look a last time, while the process lives."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        if self.exceeded is None:
            self._look(exact=True)
            self.peak = max(self.peak, _highest(self.root.pid) - self._shared)

    def _work(self) -> None:
        cost = 0.0
        while not self._ended.wait(max(self._pause(), SHARE * cost)):
            started = time.monotonic()
            self._look()
            if self.limit is not None and self.last > self.limit:
                self.exceeded = self.last
                kill(self.root)
                return
            cost = time.monotonic() - started

    def _pause(self) -> float:
        if self.limit is None:
            return UNWATCHED
        return CLOSE if self.last > self.limit / 2 else RELAXED

    def _look(self, exact: bool = False) -> None:
        """``last``, in bytes: exact if asked, if there are other processes than before, and if it may be too much."""
        now = time.monotonic()
        if now - self._listed > LISTED:
            tree = _tree(self.root)
            exact, self._tree, self._listed = exact or tree != self._tree, tree, now
        resident = sum(_resident(process) for process in self._tree)
        if not resident:
            return  # it is gone; the last figure stays
        if exact or (self.limit is not None and resident > self.limit):
            self._shared = max(0, resident - sum(_proportional(process) for process in self._tree))
        self.last = resident - self._shared
        self.peak = max(self.peak, self.last)


def _tree(root: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return [root, *root.children(recursive=True)]
    return [root]


def _resident(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return process.memory_info().rss
    return 0


def _proportional(process: psutil.Process) -> int:
    """Of what several processes share, each has its part."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return _resident(process)


def _highest(pid: int) -> int:
    """The most that a process ever had resident, also between two looks; 0 where the system does not keep it."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def kill(root: psutil.Process) -> None:
    """Kill a process and its children; it is stopped first, so that it cannot make more of them."""
    with contextlib.suppress(psutil.Error):
        root.send_signal(getattr(signal, "SIGSTOP", 0))
    for process in reversed(_tree(root)):
        with contextlib.suppress(psutil.Error):
            process.kill()


def oom_files(pid: int, root: str = "/") -> list[Path]:
    """Where the system counts what it has killed for want of memory: in the process's control group, else in all.

    Of control groups version 1 and 2; ``root`` is where ``proc`` and ``sys`` are.
    """
    base, files = Path(root), []
    with contextlib.suppress(OSError):
        for line in (base / f"proc/{pid}/cgroup").read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if "memory" in controllers.split(","):
                files.append(base / "sys/fs/cgroup/memory" / path.lstrip("/") / "memory.oom_control")
            elif number == "0":
                files.append(base / "sys/fs/cgroup" / path.lstrip("/") / "memory.events")
    return [*files, base / "proc/vmstat"]


def oom_kills(files: list[Path]) -> int | None:
    """The count in the first file that has one; None where none has."""
    for file in files:
        with contextlib.suppress(OSError, ValueError):
            for line in file.read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return None


def size(count: int) -> str:
    """Bytes in words: ``2.1 GB``."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count} bytes"
