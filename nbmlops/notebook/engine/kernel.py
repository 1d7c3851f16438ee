"""A kernel's life: which one, its start, and its end, which is soon and told truly."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpec, KernelSpecManager, NoSuchKernel
from jupyter_client.manager import AsyncKernelManager

from nbmlops import settings
from nbmlops.notebook.engine import memory
from nbmlops.notebook.engine.client import CellClient, log
from nbmlops.notebook.engine.ended import Ended
from nbmlops.notebook.engine.memory import Watch
from nbmlops.notebook.job import Job

WARM = "nbmlops"  # the kernelspec that `nbmlops kernel install` writes
SHUTDOWN = 15.0  # seconds for a kernel that has done its work: it is asked, at half of them told, then killed
# The path of a unix socket holds about 107 bytes; jupyter_client adds "k-ipc-5" to the folder's.
_SOCKET_FOLDER = 80


class Kernel:
    """One kernel process, its folder of sockets, and what is seen of its memory."""

    def __init__(self, job: Job, nb: Any) -> None:
        self.job = job
        self.kill = False  # whether it has shown that asking it is no use
        self.wait = SHUTDOWN
        self.ipython = False
        self.watch: Watch | None = None
        self.peak: int | None = None
        self.oom_files: list[Path] = []
        self.oom_kills: int | None = None
        self.folder = tempfile.mkdtemp(prefix="nbmlops-")
        try:
            self.km = self._manager(*_spec_of(job, nb))
        except Ended:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def _manager(self, name: str, spec: KernelSpec) -> AsyncKernelManager:
        km = AsyncKernelManager(kernel_name=name, log=log)
        km.client_factory = CellClient
        km._kernel_spec = spec
        if os.name == "posix" and len(os.fsencode(self.folder)) <= _SOCKET_FOLDER:
            # ipykernel 7.4 warns of unencrypted TCP; sockets in a private folder need neither the warning nor a port.
            km.transport = "ipc"
        km.connection_file = str(Path(self.folder, "k.json"))
        return km

    def environment(self) -> dict[str, str]:
        """The variables of this process, with what the job adds."""
        variables = {k: v for k, v in os.environ.items() if k not in {"JPY_PARENT_PID", "JPY_SESSION_NAME"}}
        variables |= {"JPY_SESSION_NAME": self.job.path} if self.job.path else {}
        return variables | dict(self.job.environment)

    def noise(self) -> str:
        """The file of what the kernel writes outside of cells, for example a crash report."""
        return os.path.join(self.folder, "kernel.log")

    def last_words(self) -> list[str]:
        """The end of that file."""
        with contextlib.suppress(OSError):
            return Path(self.noise()).read_text(errors="replace").splitlines()[-40:]
        return []

    def observe(self) -> None:
        """Watch the memory of the process, where there is one on this machine."""
        pid = getattr(self.km.provisioner, "pid", None)
        if pid is None:
            return
        self.oom_files = memory.oom_files(pid)
        self.oom_kills = memory.oom_kills(self.oom_files)
        with contextlib.suppress(psutil.Error):
            self.watch = Watch(pid, self.job.memory)
            self.watch.start()

    async def death(self, cell: int | None) -> Ended:
        """Why the kernel is no longer there, as far as there is proof."""
        self.kill = True
        where = "" if cell is None else f" in cell {cell + 1}"
        last = self.watch.last if self.watch else 0
        if self.watch and self.watch.exceeded and self.job.memory:
            used, limit = memory.size(self.watch.exceeded), memory.size(self.job.memory)
            return Ended("DIED", "MemoryLimit", f"used {used}, the limit is {limit}{where and ','}{where}")
        provisioner = self.km.provisioner
        code = await provisioner.poll() if provisioner and provisioner.has_process else None
        seen = f", last seen with {memory.size(last)}" if last else ""
        if code == -signal.SIGKILL and memory.oom_kills(self.oom_files) != self.oom_kills:
            message = f"the system ran out of memory and killed the kernel{where}{seen}"
            return Ended("DIED", "OutOfMemory", message, self.last_words())
        return Ended("DIED", "KernelDied", f"the kernel died{where}{_why(code, seen)}", self.last_words())

    async def _ask_to_end(self, client: Any) -> None:
        """Ask for the end; not with ``shutdown_kernel``, which interrupts first and looks only ten times a second.

        An IPython kernel is asked where it takes its cells. ipykernel 7's control thread still flushes its output when
        the main thread already ends what it flushes into: 1 in 25 kernels then hung until SIGTERM, 7.5 s later.
        """
        if client is None or not self.ipython:
            await self.km.request_shutdown()
            return
        client.shell_channel.send(client.session.msg("shutdown_request", {"restart": False}))
        if self.km.provisioner is not None:
            await self.km.provisioner.shutdown_requested()

    async def close(self, client: Any = None) -> None:
        """End the kernel: politely, so that it can write what it still holds, unless it is past that.

        ``wait`` seconds in all: it is asked, told with SIGTERM at half of them, and killed.
        """
        try:
            if self.watch is not None:
                self.watch.stop()
                self.peak = self.watch.peak or None
            if self.km.has_kernel and self.kill:
                await self.km.shutdown_kernel(now=True)
            elif self.km.has_kernel:
                await self._ask_to_end(client)
                await self.km.finish_shutdown(waittime=self.wait, pollinterval=0.02)
        finally:
            await self.km.cleanup_resources()
            shutil.rmtree(self.folder, ignore_errors=True)


def _why(code: int | None, seen: str) -> str:
    if code is None or code == 0:
        return seen
    if code > 0:
        return f" with exit code {code}{seen}"
    name = f"signal {-code}"
    with contextlib.suppress(ValueError):
        name = signal.Signals(-code).name
    return f": {name}{' (often the sign of too little memory)' if code == -signal.SIGKILL else ''}{seen}"


def _spec_of(job: Job, nb: Any) -> tuple[str, KernelSpec]:
    """The asked kernelspec, else the notebook's where it is installed, else ``python3``.

    Raises:
        Ended: the job asks for a kernel that there is not.
    """
    asked = job.kernel or nb.metadata.get("kernelspec", {}).get("name") or NATIVE_KERNEL_NAME
    specs = KernelSpecManager()
    if asked == WARM:  # whether it is installed or not
        asked = NATIVE_KERNEL_NAME
    try:
        spec = specs.get_kernel_spec(asked)
    except NoSuchKernel:
        if job.kernel:
            text = f"there is no kernel {asked!r}; jupyter kernelspec list shows them"
            raise Ended("FAILED", "NoSuchKernel", text) from None
        asked, spec = NATIVE_KERNEL_NAME, specs.get_kernel_spec(NATIVE_KERNEL_NAME)
    if asked != NATIVE_KERNEL_NAME:
        return asked, spec
    if not job.kernel:
        # The spec may name another installation's Python; a stage runs in the environment of the flow.
        spec.argv = [sys.executable, *spec.argv[1:]]
    ours = spec.argv[0] in {"python", "python3", sys.executable}
    warm = job.warm and ours and settings.value("kernel") != "cold"
    return asked, (_spec(job) if warm else None) or spec


def _spec(job: Job) -> KernelSpec | None:
    """The spec of a kernel with the job's modules already imported; None where there can be none."""
    from nbmlops import kernels

    return None if kernels.available() else kernels.warm_spec(job.preload)
