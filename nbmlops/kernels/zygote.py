"""The zygote (``python -m nbmlops.kernels.zygote``): imports what kernels need once, then forks one child for each.

What it keeps to, each needed for a child to be like a fresh process:

- one thread at the fork, no event loop, no zmq context, no OpenMP region: the child makes them all;
- the child reads its own request, so a slow client holds nobody up and no environment stays in the zygote;
- the child leaves the loop by returning from it, with every socket of the zygote closed.

It ends by itself: when unused for ``--idle`` seconds, when its socket's file is gone, on SIGTERM (after its last
kernel), and when a file that it has imported was changed.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nbmlops.kernels import preload, wire

_LOOK = 2.0  # seconds between looks at the socket's file
_PR_SET_NAME, _PR_SET_PDEATHSIG = 15, 1


@dataclass(eq=False)
class _Kernel:
    """A forked child, and the manager it belongs to."""

    pid: int
    watch: int  # pidfd: readable when it has ended
    conn: socket.socket
    peer: int | None  # pidfd of the manager: a child of the manager may hold its end of the connection open
    ended: bool = False
    left: bool = False

    def files(self) -> list[int]:
        return [self.watch, self.conn.fileno(), *([self.peer] if self.peer is not None else [])]


class Zygote:
    """Listens on a socket, forks, and tells each manager how its kernel ended."""

    def __init__(self, path: str, idle: float, stamps: dict[str, int]) -> None:
        self.path, self.idle, self.stamps = path, idle, stamps
        self.kernels: dict[int, _Kernel] = {}  # by each of their files
        self.open = True
        self.poller = select.epoll()
        umask = os.umask(0o177)
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.server.bind(path)
        os.umask(umask)
        self.inode = os.lstat(path).st_ino
        self.server.listen(128)
        self.poller.register(self.server, select.EPOLLIN)
        signal.signal(signal.SIGTERM, self._on_term)

    def _on_term(self, _signal: int, _frame: object) -> None:
        self.retire()

    def retire(self) -> None:
        """Take no more requests; what runs goes on."""
        if self.open:
            self.open = False
            if self._has_its_file():
                os.unlink(self.path)
            self.poller.unregister(self.server)
            self.server.close()

    def _has_its_file(self) -> bool:
        try:
            return os.lstat(self.path).st_ino == self.inode
        except OSError:
            return False

    def serve(self) -> socket.socket | None:
        """Work until there is nothing left to do; in a forked child, return the connection with its request."""
        used = time.monotonic()
        while self.open or self.kernels:
            for file, _ in self.poller.poll(min(_LOOK, self.idle)):
                used = time.monotonic()
                if file in self.kernels:
                    self._on_kernel(self.kernels[file], file)
                elif self.open and file == self.server.fileno() and (child := self._on_request()):
                    return child
            if self.kernels:
                used = time.monotonic()
            if self.open and (not self._has_its_file() or time.monotonic() - used >= self.idle):
                self.retire()
        return None

    def _on_request(self) -> socket.socket | None:
        try:
            conn, _ = self.server.accept()
        except OSError as error:  # too many open files, or the client has gone already
            print(f"accept: {error}", file=sys.stderr, flush=True)
            time.sleep(0.05)
            return None
        pid, uid, _ = struct.unpack("3i", conn.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid != os.geteuid():
            conn.close()
            return None
        conn.settimeout(5)
        if refusal := self._refusal():
            self.retire()
            with contextlib.suppress(OSError):
                wire.send(conn, refusal)
            conn.close()
            return None
        return self._fork(conn, pid)

    def _refusal(self) -> dict[str, Any] | None:
        """Why a child would not be a clean kernel; ``again``: a new zygote's child would be."""
        if count := preload.threads() - 1:
            return {"refused": f"the zygote has {count} more threads than one", "again": False}
        if path := preload.changed(self.stamps):
            return {"refused": f"{path} was changed", "again": True}
        return None

    def _fork(self, conn: socket.socket, manager: int) -> socket.socket | None:
        sys.stdout.flush()
        sys.stderr.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # the handler is not the child's
        try:
            pid = os.fork()
            if pid == 0:
                self._leave()
                return conn
            kernel = _Kernel(pid, os.pidfd_open(pid), conn, _pidfd(manager))
        except OSError as error:
            with contextlib.suppress(OSError):
                wire.send(conn, {"refused": f"fork: {error}", "again": False})
            conn.close()
            return None
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        for file in kernel.files():
            self.kernels[file] = kernel
            # What comes over the connection is for the child; only its end is for the zygote.
            self.poller.register(file, select.EPOLLRDHUP if file == conn.fileno() else select.EPOLLIN)
        try:
            wire.send(conn, {"pid": pid}, (kernel.watch,))
        except OSError:
            self._manager_left(kernel)
        return None

    def _leave(self) -> None:
        """In the child: nothing of the zygote's stays open, and signals do what they do in a fresh process."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.poller.close()
        self.server.close()
        for file in self.kernels:
            os.close(file)
        for kernel in self.kernels.values():
            kernel.conn.detach()

    def _on_kernel(self, kernel: _Kernel, file: int) -> None:
        if file == kernel.watch:
            self._kernel_ended(kernel)
        else:
            self._manager_left(kernel)

    def _kernel_ended(self, kernel: _Kernel) -> None:
        """Tell the manager. The process is reaped only when the manager has heard it, so its id is not given away."""
        kernel.ended = True
        self.poller.unregister(kernel.watch)
        found = os.waitid(os.P_PIDFD, kernel.watch, os.WEXITED | os.WNOWAIT)
        code = 0
        if found is not None:
            code = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        try:
            wire.send(kernel.conn, {"exit": code})
        except OSError:
            self._manager_left(kernel)
        if kernel.left:
            self._reap(kernel)

    def _manager_left(self, kernel: _Kernel) -> None:
        """The manager says nothing more on its connection: it is gone. Its kernel goes with it."""
        if not kernel.left:
            kernel.left = True
            for file in kernel.files()[1:]:
                self.poller.unregister(file)
        if kernel.ended:
            self._reap(kernel)
        else:
            for kill in (os.killpg, os.kill):  # before its first step it has no group yet
                with contextlib.suppress(OSError):
                    kill(kernel.pid, signal.SIGKILL)

    def _reap(self, kernel: _Kernel) -> None:
        if kernel.watch not in self.kernels:
            return
        os.waitpid(kernel.pid, 0)
        for file in kernel.files():
            del self.kernels[file]
            os.close(file)
        kernel.conn.detach()


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def name_process(name: str) -> None:
    """The name that ``ps`` and ``top`` show (15 characters)."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def die_with_parent() -> None:
    """SIGKILL when the zygote dies, however it does."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _say(pipe: int, text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(pipe, text.encode() + b"\n")


def _prepare(modules: Iterable[str], pipe: int) -> tuple[dict[str, int], preload.Base]:
    """Import everything; returns the stamps of what was imported, and what every kernel imports anyway."""
    begun = time.time_ns()
    base, faults = preload.load_base()
    faults += preload.load(modules)
    for fault in faults:
        print(f"not preloaded: {fault}", file=sys.stderr, flush=True)
    stamps = preload.stamps()
    now = time.time_ns()
    fresh = [path for path, when in stamps.items() if begun <= when <= now]
    if fresh:  # it may have been imported before the change or after it
        _say(pipe, f"{fresh[0]} was changed during the imports")
        sys.exit(1)
    if (count := preload.settle()) > 1:
        _say(pipe, f"the imports left {count - 1} more threads than one: {', '.join(modules)}")
        sys.exit(1)
    gc.collect()
    gc.disable()
    gc.freeze()  # the collector would write to, and so copy, the pages that kernels share
    return stamps, base


def main() -> None:
    """Become a daemon, import, listen, serve. The starter reads the pid from ``--pipe``, then ``ready`` or why not."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", required=True)
    parser.add_argument("--pipe", required=True, type=int)
    parser.add_argument("--idle", required=True, type=float)
    parser.add_argument("modules", nargs="*")
    asked = parser.parse_args()
    if os.fork():
        os._exit(0)  # the starter reaps this one; the zygote is nobody's zombie
    _say(asked.pipe, f"pid {os.getpid()}")
    if not sys.flags.safe_path:
        del sys.path[0]  # the folder it was started in, put there by -m
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is not meant for it
    name_process("nbmlops-zygote")
    from nbmlops.kernels import child

    stamps, base = _prepare(asked.modules, asked.pipe)
    blas = child.blas()
    zygote = Zygote(asked.socket, asked.idle, stamps)
    _say(asked.pipe, "ready")
    os.close(asked.pipe)
    conn = zygote.serve()
    if conn is not None:
        del zygote, stamps
        child.run(conn, base, blas)


if __name__ == "__main__":
    main()
