"""Executes a notebook in a kernel of its own and tells what became of every cell.

The only module that knows papermill, nbclient and jupyter_client. Importing it costs about a second (they load
jsonschema), so import it inside functions.

Papermill keeps its conventions here: the ``injected-parameters`` cell, and the metadata under ``papermill``. Three
things its stock engine does not do: a dead or timed-out cell is ``failed`` and cells that never ran stay ``pending``
(it marks all of them ``completed``); the kernel learns each cell's id; and nothing is written to disk on the way.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from papermill import __version__ as papermill_version
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NotebookExecutionManager

from nbmlops import clock
from nbmlops.notebook import parameters, types
from nbmlops.notebook.job import Event, Job, Outcome, Stop

_log = logging.getLogger("nbmlops.notebook")
_log.addHandler(logging.NullHandler())
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# The path of a unix socket holds about 107 bytes; jupyter_client adds "k-ipc-5" to the folder's.
_SOCKET_FOLDER = 80


def execute(nb: Any, job: Job, on_event: Callable[[Event], None] | None = None, stop: Stop | None = None) -> Outcome:
    """Execute a copy of the notebook; the outcome holds it as it became, however it ended.

    ``on_event`` gets ``{"type": "cell", "index", "status": "running" | "completed" | "failed", "done", "cells"}`` in
    another thread. Ctrl-C here, or ``stop``, interrupts the cell and ends the kernel; the outcome is then KILLED.
    """
    stop = stop or Stop()
    execution = _Execution(nb, job, on_event or (lambda event: None), stop)
    outcome: list[Outcome] = []
    failure: list[BaseException] = []
    finished = threading.Event()  # not thread.join: an interrupt in it makes a living thread look dead (CPython 3.11)

    def work() -> None:
        try:
            with asyncio.Runner() as runner:
                outcome.append(runner.run(execution.run()))
        except BaseException as error:  # handed to the calling thread, which raises it
            failure.append(error)
        finally:
            finished.set()

    # A thread of its own: the caller's may have a running event loop (any notebook has), and must be free for Ctrl-C.
    thread = threading.Thread(target=work, name="nbmlops-notebook", daemon=True)
    thread.start()
    ended = False
    while not ended:
        try:
            ended = finished.wait(0.5)  # a wait without end would not see an interrupt that reached another thread
        except KeyboardInterrupt:
            stop.set()
    if failure:
        raise failure[0]
    return outcome[0]


def prepare(nb: Any, job: Job) -> Any:
    """A copy of the notebook, format 4.5, with cell ids, without old outputs, and with the given parameters injected.

    Cells without an id get one from their position, the same each time. An injected cell from an earlier execution is
    removed, because its values would otherwise override the defaults unseen.
    """
    nb = nbformat.from_dict(nb) if not isinstance(nb, nbformat.NotebookNode) else nbformat.from_dict(dict(nb))
    nb.nbformat, nb.nbformat_minor = 4, max(5, nb.get("nbformat_minor", 0))
    nb.cells = [c for c in nb.cells if parameters.INJECTED not in c.metadata.get("tags", [])]
    for index, cell in enumerate(nb.cells):
        cell.setdefault("id", f"cell-{index}")
        cell.source = parameters.cell_source(cell)
    if job.params:
        cell = nbformat.v4.new_code_cell(parameters.injected_source(job.params), id="injected-parameters")
        cell.metadata["tags"] = [parameters.INJECTED]
        place = parameters.tagged(nb, parameters.TAG)
        nb.cells.insert(0 if place is None else place + 1, cell)
    nb.metadata["papermill"] = nbformat.from_dict(
        {
            "default_parameters": {},
            "environment_variables": {},
            "input_path": job.path or None,
            "output_path": None,
            "parameters": {k: types.to_json(v) for k, v in job.params.items()},
            "version": papermill_version,
        }
    )
    return nb


def to_bytes(nb: Any) -> bytes:
    """The notebook as its file would hold it."""
    return nbformat.writes(nb, version=nbformat.NO_CONVERT).encode()


class _Progress(NotebookExecutionManager):
    """Papermill's record of cell states, made true for cells that died or never ran."""

    def __init__(self, nb: Any, on_event: Callable[[Event], None]) -> None:
        super().__init__(nb, progress_bar=False, autosave_cell_every=0)
        self.on_event = on_event
        self.cells = sum(_runs(cell) for cell in nb.cells)
        self.done = 0

    def _tell(self, index: int, status: str) -> None:
        self.on_event({"type": "cell", "index": index, "status": status, "done": self.done, "cells": self.cells})

    def cell_start(self, cell: Any, cell_index: int | None = None, **kwargs: Any) -> None:
        super().cell_start(cell, cell_index, **kwargs)
        if _runs(cell):
            self._tell(cell_index or 0, "running")

    def cell_complete(self, cell: Any, cell_index: int | None = None, **kwargs: Any) -> None:
        super().cell_complete(cell, cell_index, **kwargs)
        status = cell.metadata.papermill["status"]
        if _runs(cell):
            self.done += status == self.COMPLETED
            self._tell(cell_index or 0, status)

    def notebook_complete(self, **kwargs: Any) -> None:
        """Times only: the stock method calls every cell that never ran completed."""
        self.end_time = self.now()
        self.nb.metadata.papermill["end_time"] = self.end_time.isoformat()
        self.nb.metadata.papermill["duration"] = (self.end_time - self.start_time).total_seconds()


def _runs(cell: Any) -> bool:
    tags = cell.metadata.get("tags", [])
    return cell.cell_type == "code" and bool(cell.source.strip()) and "skip-execution" not in tags


class _CellClient(AsyncKernelClient):
    """Sends the cell's id with the code, as JupyterLab does; ``pre_run_cell`` hooks then know the cell."""

    cell_id = ""

    def execute(
        self,
        code: str,
        silent: bool = False,
        store_history: bool = True,
        user_expressions: dict[str, Any] | None = None,
        allow_stdin: bool | None = None,
        stop_on_error: bool = True,
    ) -> str:
        content = {
            "code": code,
            "silent": silent,
            "store_history": store_history,
            "user_expressions": user_expressions or {},
            "allow_stdin": bool(allow_stdin),
            "stop_on_error": stop_on_error,
        }
        message = self.session.msg("execute_request", content, metadata={"cellId": self.cell_id})
        self.shell_channel.send(message)
        return message["header"]["msg_id"]


class _Ended(Exception):
    """The notebook cannot go on. ``status`` says why."""

    def __init__(self, status: str, name: str, message: str, traceback: list[str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"name": name, "message": message, "traceback": [_ANSI.sub("", line) for line in traceback or []]}


class _Execution:
    """One notebook, one kernel, one event loop."""

    def __init__(self, nb: Any, job: Job, on_event: Callable[[Event], None], stop: Stop) -> None:
        self.job, self.stop = job, stop
        self.nb = prepare(nb, job)
        self.progress = _Progress(self.nb, on_event)
        self.folder = tempfile.mkdtemp(prefix="nbmlops-")
        self.index: int | None = None
        self.kill = False  # whether the kernel has shown that asking it is no use

    async def run(self) -> Outcome:
        started = time.monotonic()
        self.deadline = started + self.job.timeout if self.job.timeout else None
        self.stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        self.progress.notebook_start()
        ended: _Ended | None = None
        try:
            with self.stop.calling(functools.partial(loop.call_soon_threadsafe, self.stopped.set)):
                await self._all_cells()
        except _Ended as error:
            ended = error
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.progress.notebook_complete()
        if ended:
            self.nb.metadata.papermill["exception"] = True
        return Outcome(
            self.nb,
            ended.status if ended else "FINISHED",
            self.index if ended else None,
            ended.error if ended else None,
            self.progress.done,
            self.progress.cells,
            time.monotonic() - started,
        )

    async def _all_cells(self) -> None:
        self.km = self._kernel()
        self.client = PapermillNotebookClient(
            self.progress,
            km=self.km,
            log=_log,
            coalesce_streams=True,
            iopub_timeout=60,
            kernel_name=self.km.kernel_name,
        )
        try:
            await self._start()
            for index, cell in enumerate(self.nb.cells):
                self.index = index
                if not await self._cell(index, cell):
                    break
            self.client.set_widgets_metadata()
        finally:
            await self._close()

    def _kernel(self) -> AsyncKernelManager:
        km = AsyncKernelManager(kernel_name=self._kernel_name(), log=_log, shutdown_wait_time=15.0)
        km.client_factory = _CellClient
        if km.ipykernel and km.kernel_spec and not self.job.kernel:
            # The spec may name another installation's Python; a stage runs in the environment of the flow.
            km.kernel_spec.argv = [sys.executable, *km.kernel_spec.argv[1:]]
        if os.name == "posix" and len(os.fsencode(self.folder)) <= _SOCKET_FOLDER:
            # ipykernel 7.4 warns of unencrypted TCP; sockets in a private folder need neither the warning nor a port.
            km.transport = "ipc"
        km.connection_file = str(Path(self.folder, "k.json"))
        return km

    def _kernel_name(self) -> str:
        """The asked kernelspec, else the notebook's where it is installed, else ``python3``."""
        asked = self.job.kernel or self.nb.metadata.get("kernelspec", {}).get("name") or "python3"
        try:
            KernelSpecManager().get_kernel_spec(asked)
        except NoSuchKernel:
            if self.job.kernel:
                raise _Ended(
                    "FAILED", "NoSuchKernel", f"there is no kernel {asked!r}; jupyter kernelspec list shows them"
                ) from None
            return "python3"
        return asked

    async def _start(self) -> None:
        environment = {k: v for k, v in os.environ.items() if k not in {"JPY_PARENT_PID", "JPY_SESSION_NAME"}}
        environment |= {"JPY_SESSION_NAME": self.job.path} if self.job.path else {}
        environment |= self.job.environment
        with open(self._noise(), "wb") as noise:  # what the kernel writes outside of cells, for example a crash report
            start = self.client.async_start_new_kernel(cwd=self.job.cwd, env=environment, stdout=noise, stderr=noise)
            await self._until(start, None)
        try:
            self.client.startup_timeout = self.job.start_timeout
            await self._until(self.client.async_start_new_kernel_client(), None)
            info = await self._until(self._info(), None)
        except (RuntimeError, TimeoutError) as error:
            self.kill = True
            raise _Ended("DIED", "KernelDied", f"the kernel did not start: {error}", self._last_words()) from error
        self.nb.metadata["language_info"] = info["content"]["language_info"]

    async def _info(self) -> Any:
        return await self.client.async_wait_for_reply(self.client.kc.kernel_info())

    def _noise(self) -> str:
        return os.path.join(self.folder, "kernel.log")

    def _last_words(self) -> list[str]:
        with contextlib.suppress(OSError):
            return Path(self._noise()).read_text(errors="replace").splitlines()[-40:]
        return []

    async def _cell(self, index: int, cell: Any) -> bool:
        """Run one cell; whether the notebook goes on after it."""
        if cell.cell_type == "code" and not _runs(cell):
            return True
        self.progress.cell_start(cell, index)
        if self.client.kc is not None:
            self.client.kc.cell_id = cell.id
        try:
            await self._until(self.client.async_execute_cell(cell, index), self.job.cell_timeout)
        except CellExecutionError as error:
            if error.ename == "SystemExit" and error.evalue in {"", "0", "None"}:
                return False  # as under papermill: sys.exit() is a way to end a notebook early
            raise self._failed(cell, index, _cell_error(error, cell)) from error
        except DeadKernelError as error:
            raise self._failed(cell, index, await self._death(index), tell=True) from error
        except CellTimeoutError as error:
            raise self._failed(cell, index, _Ended("FAILED", "OutputTimeout", str(error)), tell=True) from error
        except _Ended as ended:
            raise self._failed(cell, index, ended, tell=True) from None
        finally:
            self.progress.cell_complete(cell, index)
        return True

    def _failed(self, cell: Any, index: int, ended: _Ended, tell: bool = False) -> _Ended:
        """Mark the cell; ``tell`` also writes the error into its outputs, where the kernel could not."""
        self.progress.cell_exception(cell, index)
        if tell and cell.cell_type == "code":
            error = ended.error
            lines = [*error["traceback"], f"{error['name']}: {error['message']}"]
            cell.outputs.append(
                nbformat.v4.new_output("error", ename=error["name"], evalue=error["message"], traceback=lines)
            )
        return ended

    async def _death(self, index: int) -> _Ended:
        self.kill = True
        code = await self.km.provisioner.poll() if self.km.provisioner and self.km.provisioner.has_process else None
        why = f" with exit code {code}" if code else ""
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                why = f": {signal.Signals(-code).name}"
            why += " (often the sign of too little memory)" if code == -signal.SIGKILL else ""
        return _Ended("DIED", "KernelDied", f"the kernel died in cell {index + 1}{why}", self._last_words())

    async def _until(self, work: Coroutine[Any, Any, Any], cell_timeout: float | None) -> Any:
        """Await the work until a time limit or a stop; then interrupt the kernel and, if that is no use, give it up."""
        now = time.monotonic()
        limits = [limit for limit in (self.deadline, now + cell_timeout if cell_timeout else None) if limit is not None]
        task = asyncio.ensure_future(work)
        stopped = asyncio.ensure_future(self.stopped.wait())
        try:
            timeout = max(0.0, min(limits) - now) if limits else None
            await asyncio.wait({task, stopped}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            killed = stopped.done()
        finally:
            stopped.cancel()
        await self._interrupt(task)
        if killed:
            raise _Ended("KILLED", "Interrupted", "stopped before it was finished")
        whole = self.deadline is not None and time.monotonic() >= self.deadline
        limit = self.job.timeout if whole else cell_timeout
        what = "the notebook was not finished" if whole else "the cell was not finished"
        raise _Ended("TIMEOUT", "StageTimeout", f"{what} after {clock.duration(limit)}")

    async def _interrupt(self, task: asyncio.Future[Any]) -> None:
        if self.client.kc is not None and await self.km.is_alive():
            await self.km.interrupt_kernel()
            await asyncio.wait({task}, timeout=self.job.grace)
        if not task.done():
            self.kill = True
            task.cancel()
            await asyncio.wait({task}, timeout=1)
        if task.done() and not task.cancelled():
            task.exception()  # looked at, so that asyncio does not log it: the limit is what matters

    async def _close(self) -> None:
        """End the kernel: politely, so that it can write what it still holds, unless it is past that."""
        try:
            if self.km.has_kernel:
                await self.km.shutdown_kernel(now=self.kill)
        finally:
            await self.km.cleanup_resources()
            if self.client.kc is not None:
                self.client.kc.stop_channels()


def _cell_error(error: CellExecutionError, cell: Any) -> _Ended:
    """The error as the kernel reported it: its own traceback, not nbclient's text around it."""
    for output in cell.outputs:
        if output.output_type == "error":
            return _Ended("FAILED", error.ename, _ANSI.sub("", error.evalue), "\n".join(output.traceback).splitlines())
    return _Ended("FAILED", error.ename, _ANSI.sub("", error.evalue))
