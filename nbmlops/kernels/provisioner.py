"""The provisioner that asks a zygote for its kernel, and starts it the usual way where that cannot be.

Jupyter finds it as ``nbmlops`` (an entry point of ``jupyter_client.kernel_provisioners``).
"""

from __future__ import annotations

import asyncio
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, cast

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import Float, List, Unicode

from nbmlops.kernels import available, wire

_KNOWN = frozenset({"cwd", "env", "extra_arguments", "independent", "kernel_id", "stderr", "stdout"})
_POLL = 0.01


class WarmProcess:
    """As much of ``subprocess.Popen`` as LocalProvisioner uses, for a process that is a child of the zygote."""

    stdin = stdout = stderr = None

    def __init__(self, conn: socket.socket, pid: int, watch: int) -> None:
        self._conn, self.pid, self._watch = conn, pid, watch
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code (minus the signal's number), or None while it runs."""
        if self.returncode is None and _readable(self._conn.fileno()):
            try:
                message, _ = wire.receive(self._conn)
            except (OSError, ValueError):
                message = None
            if message is None:  # the zygote died, and its kernels with it
                self._make_sure()
            self.returncode = int(message["exit"]) if message else -signal.SIGKILL
            self._close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end.

        Raises:
            subprocess.TimeoutExpired: it still runs after so many seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired("a warm kernel", timeout or 0)
            time.sleep(_POLL)
        return code

    def send_signal(self, signum: int) -> None:
        """Send the process, and no other that got its number later, a signal."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._watch, signum)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def _make_sure(self) -> None:
        try:
            signal.pidfd_send_signal(self._watch, signal.SIGKILL)
        except OSError:
            return
        _readable(self._watch, 2000)

    def _close(self) -> None:
        self._conn.close()
        if self._watch >= 0:
            os.close(self._watch)
            self._watch = -1

    def __del__(self) -> None:
        """A kernel that nobody holds any more ends: the zygote sees the connection close."""
        self._close()


def _readable(file: int, milliseconds: int = 0) -> bool:
    poller = select.poll()
    poller.register(file, select.POLLIN)
    return bool(poller.poll(milliseconds))


class WarmProvisioner(LocalProvisioner):
    """Forks ipykernel from a zygote. ``usual`` says why a kernel was started the usual way; '' if it was not."""

    preload = List(Unicode(), help="Modules that the zygote has imported.").tag(config=True)
    idle = Float(600.0, help="Seconds that an unused zygote stays.").tag(config=True)
    start_timeout = Float(60.0, help="Seconds that a zygote may take to start.").tag(config=True)
    usual = ""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start the kernel, warm where that is possible."""
        self.usual = self._unsuited(cmd, kwargs)
        if not self.usual:
            found = await asyncio.to_thread(self._fork, cmd, dict(kwargs))
            if isinstance(found, WarmProcess):
                self.process = cast("Any", found)
                self.pid = self.pgid = found.pid
                self.cwd = kwargs.get("cwd") or Path.cwd()
                return self.connection_info
            self.usual = found
        self.log.warning("the kernel starts the usual way: %s", self.usual)
        return await super().launch_kernel(cmd, **kwargs)

    async def send_signal(self, signum: int) -> None:
        """Signal the kernel's group, unless it has ended: its number may then be another's."""
        if isinstance(self.process, WarmProcess) and self.process.poll() is not None:
            return
        await super().send_signal(signum)

    async def wait(self) -> int | None:
        """Wait for the end, looking more often than LocalProvisioner."""
        if isinstance(self.process, WarmProcess):
            while self.process.poll() is None:
                await asyncio.sleep(_POLL)
        return await super().wait()

    def _unsuited(self, cmd: list[str], kwargs: dict[str, Any]) -> str:
        if reason := available():
            return reason
        if _split(cmd) is None:
            return f"{' '.join(cmd[:4])} … is not `python -m ipykernel_launcher`"
        if other := sorted(k for k, v in kwargs.items() if k not in _KNOWN and v is not None):
            return f"asked for {', '.join(other)}, which a forked kernel cannot have"
        if kwargs.get("independent"):
            return "asked for a kernel that outlives its manager"
        if subprocess.PIPE in (kwargs.get("stdout"), kwargs.get("stderr")):
            return "asked for pipes"
        return ""

    def _fork(self, cmd: list[str], kwargs: dict[str, Any]) -> WarmProcess | str:
        """The kernel's process, or why there is none."""
        from nbmlops.kernels import address, client  # not to be imported where there is no fork

        environment = dict(os.environ if kwargs.get("env") is None else kwargs["env"])
        environment["JPY_PARENT_PID"] = str(os.getpid())  # as jupyter_client does
        cwd = os.path.abspath(os.fspath(kwargs.get("cwd") or os.getcwd()))
        options, arguments = _split(cmd) or ([], [])
        python = shutil.which(os.path.expanduser(cmd[0]), path=environment.get("PATH"))
        if python is None:
            return f"there is no {cmd[0]}"
        asked = address.wish(os.path.abspath(python), self.preload, environment, cwd=cwd, options=options)
        request = {
            "command": [asked.python, *cmd[1:]],
            "arguments": arguments,
            "environment": environment,
            "umask": client.umask(),
            "limits": client.limits(),
        }
        with client.opened(cwd, kwargs.get("stdout"), kwargs.get("stderr")) as files:
            try:
                return WarmProcess(*client.ask(asked, request, files, idle=self.idle, patience=self.start_timeout))
            except client.NoZygote as reason:
                return str(reason)


def _split(cmd: list[str]) -> tuple[list[str], list[str]] | None:
    """Options of the interpreter (``-X`` ones only) and arguments of the kernel; None for another command."""
    if cmd[1:].count("-m") != 1 or "ipykernel_launcher" not in cmd:
        return None
    at = cmd.index("-m")
    options, rest = cmd[1:at], cmd[at + 1 :]
    if rest[:1] != ["ipykernel_launcher"] or not all(o.startswith("-X") and len(o) > 2 for o in options):
        return None
    return options, rest[1:]
