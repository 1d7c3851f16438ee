"""The manager's side: find the zygote, start it where there is none, and ask it for a kernel."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nbmlops.kernels import address, wire

_ANSWER = 10.0  # seconds; a fork takes some hundredths
_LOG_BYTES = 1_000_000
_RETRY = 300.0  # seconds until a zygote that failed is tried again; until then kernels start the usual way at once
_failed: dict[str, tuple[float, str]] = {}  # by key: when, and why


class NoZygote(Exception):
    """No warm kernel can be had; the text says why."""


class _Gone(Exception):
    """There is no zygote at this socket, or it has just retired."""


def ask(
    asked: address.Wish, request: dict[str, Any], files: tuple[int, ...], *, idle: float, patience: float
) -> tuple[socket.socket, int, int]:
    """A kernel from the zygote for the wish: its connection, its process id, and its pidfd, all the caller's.

    The zygote is started where there is none: it then has ``patience`` seconds, and ends when unused for ``idle``.

    Raises:
        NoZygote: it cannot be reached or started, or refuses.
    """
    key = asked.key()
    when, why = _failed.get(key, (-_RETRY, ""))
    if time.monotonic() - when < _RETRY:
        raise NoZygote(why)
    try:
        folder = _folder()
        conn, pid, watch = _child(asked, os.path.join(folder, f"{key}.sock"), idle, patience)
    except (NoZygote, OSError, ValueError) as error:
        reason = str(error) if isinstance(error, NoZygote) else f"the zygote does not answer: {error}"
        _failed[key] = (time.monotonic(), reason)
        raise NoZygote(reason) from error
    try:
        wire.send(conn, request, files)
    except OSError as error:
        conn.close()
        os.close(watch)
        raise NoZygote(f"the kernel ended at once: {error}") from error
    return conn, pid, watch


def _child(asked: address.Wish, path: str, idle: float, patience: float) -> tuple[socket.socket, int, int]:
    """A forked process that waits for its request."""
    why = ""
    for attempt in range(3):
        try:
            conn = _started(asked, path, idle, patience) if attempt else _dial(path)
        except _Gone as gone:
            why = str(gone)
            continue
        try:
            return conn, *_forked(conn)
        except _Gone as gone:
            why = str(gone)
            conn.close()
        except BaseException:  # whatever ends this, no connection may stay open: the zygote would keep its kernel
            conn.close()
            raise
    raise NoZygote(f"the zygote comes and goes: {why}")


def _folder() -> str:
    from jupyter_core.paths import jupyter_runtime_dir

    return address.folder(jupyter_runtime_dir())


def _dial(path: str) -> socket.socket:
    conn = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        conn.settimeout(_ANSWER)
        conn.connect(path)
        if _peer(conn)[1] != os.geteuid():
            raise PermissionError(f"{path} is another user's")
    except (FileNotFoundError, ConnectionRefusedError) as error:
        conn.close()
        raise _Gone(str(error)) from error
    except BaseException:  # whatever it is: nobody else has the socket yet, and it is raised again
        conn.close()
        raise
    return conn


def _peer(conn: socket.socket) -> tuple[int, int]:
    """The process and the user at the other end."""
    pid, uid, _ = struct.unpack("3i", conn.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid


def _forked(conn: socket.socket) -> tuple[int, int]:
    try:
        answer, files = wire.receive(conn, 1)
    except ConnectionResetError as error:
        raise _Gone("it ended before it answered") from error
    if answer is None:
        raise _Gone("it ended before it answered")
    if "pid" in answer and len(files) == 1:
        return int(answer["pid"]), files[0]
    for file in files:
        os.close(file)
    reason = str(answer.get("refused", "an answer that is none"))
    raise _Gone(reason) if answer.get("again") else NoZygote(reason)


def _started(asked: address.Wish, path: str, idle: float, patience: float) -> socket.socket:
    """A connection to the zygote, which one of several that race here starts."""
    end = time.monotonic() + patience
    with _lock(os.path.join(os.path.dirname(path), "start.lock"), end):
        try:
            return _dial(path)
        except _Gone:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # left by a zygote that was killed
        _start(asked, path, idle, end)
        return _dial(path)


@contextlib.contextmanager
def _lock(path: str, end: float) -> Iterator[None]:
    """Held while a zygote starts. Who waits in vain for it goes the usual way: nobody hangs on a stopped process."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise TimeoutError("another process has been starting a zygote for too long") from None
                time.sleep(0.02)
        yield
    finally:
        os.close(file)


def _start(asked: address.Wish, path: str, idle: float, end: float) -> None:
    read, write = os.pipe()
    log = os.path.join(os.path.dirname(path), "zygotes.log")
    mode = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    if os.path.exists(log) and os.path.getsize(log) > _LOG_BYTES:
        mode |= os.O_TRUNC
    output = os.open(log, mode, 0o600)
    words = [asked.python, *asked.options, "-m", "nbmlops.kernels.zygote", "--socket", path, "--pipe", str(write)]
    words += ["--idle", str(idle), *asked.preload]
    try:
        try:
            starter = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", env=asked.environment,
                start_new_session=True, pass_fds=(write,),
            )  # fmt: skip
        finally:
            os.close(write)
            os.close(output)
        said = _hear(read, end)
        starter.wait()  # it ends once it has forked the zygote, or failed to
    finally:
        os.close(read)
    if not said or said[-1] != "ready":
        if said and said[0].startswith("pid "):
            with contextlib.suppress(OSError):  # it may import for ever
                os.kill(int(said[0].split()[1]), signal.SIGKILL)
        elif starter.poll() is None:
            starter.kill()
        reason = said[-1] if len(said) > 1 else f"it did not start; {log} may say why"
        raise NoZygote(reason)


def _hear(pipe: int, end: float) -> list[str]:
    """The lines that the zygote says until it is ready, or ends, or the time is up."""
    data = b""
    poller = select.poll()
    poller.register(pipe, select.POLLIN)
    while not data.endswith(b"ready\n"):
        if not poller.poll(max(0.0, end - time.monotonic()) * 1000):
            break
        chunk = os.read(pipe, 4096)
        if not chunk:
            break
        data += chunk
    return data.decode(errors="replace").splitlines()


def stop_all(folder: str | os.PathLike[str] | None = None, *, seconds: float = 5.0) -> int:
    """End the zygotes of a Jupyter runtime folder (by default this user's), each after its last kernel; how many.

    Waits up to ``seconds`` for those that have no kernel. Zygotes that the next start would find are gone at once.
    """
    home = address.folder(os.fspath(folder)) if folder is not None else _folder()
    ending = []
    for path in sorted(Path(home).glob("*.sock")):
        try:
            with _dial(str(path)) as conn:
                pid = _peer(conn)[0]
                watch = os.pidfd_open(pid)
        except (_Gone, OSError):
            path.unlink(missing_ok=True)
            continue
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(watch, signal.SIGTERM)
        ending.append(watch)
    end = time.monotonic() + seconds
    for watch in ending:
        poller = select.poll()
        poller.register(watch, select.POLLIN)
        poller.poll(max(0.0, end - time.monotonic()) * 1000)
        os.close(watch)
    return len(ending)


def umask() -> int:
    """The umask of this process, read without changing it under another thread."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o022


def limits() -> list[list[int]]:
    """Number, soft and hard value of every resource limit."""
    return [[number, *resource.getrlimit(number)] for number in address.limits()]


@contextlib.contextmanager
def opened(cwd: str, stdout: Any, stderr: Any) -> Iterator[tuple[int, ...]]:
    """Descriptors of standard input, output, error and working folder, as ``subprocess.Popen`` takes the arguments.

    Raises:
        OSError: the folder is none, as Popen would raise it.
    """
    with contextlib.ExitStack() as stack:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        stack.callback(os.close, null)
        folder = os.open(cwd, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, folder)
        out = _descriptor(stdout, 1, null)
        error = out if stderr == subprocess.STDOUT else _descriptor(stderr, 2, null)
        yield null, out, error, folder


def _descriptor(value: Any, inherited: int, null: int) -> int:
    if value is None:
        return inherited
    if isinstance(value, int):
        return null if value == subprocess.DEVNULL else value
    return int(value.fileno())
