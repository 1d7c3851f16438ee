"""One execution: a notebook, a kernel, an event loop, in a thread of its own."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import nbformat
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from nbmlops import clock
from nbmlops.notebook.engine.client import OutputClient, log
from nbmlops.notebook.engine.document import prepare
from nbmlops.notebook.engine.ended import ANSI, Ended, Skipped
from nbmlops.notebook.engine.kernel import Kernel
from nbmlops.notebook.engine.saving import Saver
from nbmlops.notebook.engine.states import States
from nbmlops.notebook.job import Event, Job, Outcome, Stop

# Cells are recorded whether or not the notebook loads the extension. The kernel's Python may have no nbmlops.
_RECORD = """exec('''
try:
    from nbmlops import extension
except ImportError:
    pass
else:
    extension.listen(get_ipython())
''', {"get_ipython": get_ipython})"""
SKIP = "StageSkipped"  # the name of the error that nbmlops.skip raises


def execute(nb: Any, job: Job, on_event: Callable[[Event], None] | None = None, stop: Stop | None = None) -> Outcome:
    """Execute a copy of the notebook; the outcome holds it as it became, however it ended.

    ``on_event`` gets, in another thread, ``{"type": "cell", "index", "status": "running" | "completed" | "failed",
    "done", "cells", "source", "title"}`` and ``{"type": "output", "index", "text"}``: the last lines a cell printed,
    as plain text. Ctrl-C here, or ``stop``, interrupts the cell and ends the kernel; the outcome is then KILLED.
    """
    states = States(prepare(nb, job), on_event or (lambda event: None), job.skip_tags)
    return run(states, job, stop or Stop())


def run(states: States, job: Job, stop: Stop, options: Mapping[str, Any] | None = None) -> Outcome:
    """Execute the prepared notebook of ``states``. ``options`` are for papermill's client."""
    execution = _Execution(states, job, stop, options or {})
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


class _Execution:
    """One notebook, one kernel, one event loop."""

    def __init__(self, states: States, job: Job, stop: Stop, options: Mapping[str, Any]) -> None:
        self.job, self.stop, self.options = job, stop, options
        self.states, self.nb = states, states.nb
        self.saver = Saver(job.save, job.save_every) if job.save else None
        self.peak: int | None = None
        self.index: int | None = None

    async def run(self) -> Outcome:
        started = time.monotonic()
        self.deadline = started + self.job.timeout if self.job.timeout else None
        self.stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        self.states.notebook_start()
        ended: Ended | Skipped | None = None
        try:
            with self.stop.calling(functools.partial(loop.call_soon_threadsafe, self.stopped.set)):
                await self._all_cells()
        except (Ended, Skipped) as error:
            ended = error
            if isinstance(error, Ended):
                self.nb.metadata.papermill["exception"] = True
        finally:
            self.states.notebook_complete()
        return self._outcome(ended, time.monotonic() - started)

    def _outcome(self, ended: Ended | Skipped | None, seconds: float) -> Outcome:
        status = ended.status if isinstance(ended, Ended) else "SKIPPED" if ended else "FINISHED"
        return Outcome(
            self.nb,
            status,
            self.index if ended else None,
            ended.error if isinstance(ended, Ended) else None,
            self.states.done,
            self.states.cells,
            seconds,
            reason=ended.reason if isinstance(ended, Skipped) else "",
            peak_memory=self.peak,
            warnings=tuple(self.saver.warnings) if self.saver else (),
        )

    async def _all_cells(self) -> None:
        self.kernel = Kernel(self.job, self.nb)
        told = {"log": log, "iopub_timeout": 60, **self.options}
        self.client = OutputClient(self.states, km=self.kernel.km, kernel_name=self.kernel.km.kernel_name, **told)
        saving = asyncio.ensure_future(self.saver.run(self.nb, self.client.settle)) if self.saver else None
        try:
            await self._start()
            if self.deadline is not None and self.deadline <= time.monotonic():
                raise self._over(None)  # no cell has begun
            for index, cell in enumerate(self.nb.cells):
                self.index = index
                if not await self._cell(index, cell):
                    break
            self.client.set_widgets_metadata()
        finally:
            if saving and self.saver:
                saving.cancel()
                await self.saver.end()
            await self.kernel.close(self.client.kc)
            self.peak = self.kernel.peak
            if self.client.kc is not None:
                self.client.kc.stop_channels()

    async def _start(self) -> None:
        kernel = self.kernel
        try:
            with open(kernel.noise(), "wb") as noise:  # what it writes outside of cells, for example a crash report
                options = {"cwd": self.job.cwd, "env": kernel.environment(), "stdout": noise, "stderr": noise}
                await self._until(self.client.async_start_new_kernel(**options), None)
            kernel.observe()
            self.client.startup_timeout = self.job.start_timeout
            await self._until(self.client.async_start_new_kernel_client(), None)
            info = await self._until(self._info(), None)
        except (RuntimeError, TimeoutError, DeadKernelError, OSError) as error:
            kernel.kill = True
            if kernel.watch and kernel.watch.exceeded:
                raise await kernel.death(None) from error
            raise Ended("DIED", "KernelDied", f"the kernel did not start: {error}", kernel.last_words()) from error
        kernel.ipython = info["content"].get("implementation") == "ipython"
        self.nb.metadata["language_info"] = info["content"]["language_info"]
        if self.job.record and kernel.ipython:
            # No answer is awaited: the kernel takes requests in order, and what runs silently leaves no trace.
            self.client.kc.execute(_RECORD, silent=True, store_history=False)

    async def _info(self) -> Any:
        return await self.client.async_wait_for_reply(self.client.kc.kernel_info())

    async def _cell(self, index: int, cell: Any) -> bool:
        """Run one cell; whether the notebook goes on after it."""
        if cell.cell_type == "code" and cell.source.strip() and not self.states.runs(cell):
            self.states.passed_over()
            return True
        self.states.cell_start(cell, index)
        self.client.begin(index, cell.id)
        try:
            await self._until(self.client.async_execute_cell(cell, index), self.job.cell_timeout)
        except CellExecutionError as error:
            if error.ename == "SystemExit" and error.evalue in {"", "0", "None"}:
                return False  # as under papermill: sys.exit() is a way to end a notebook early
            if (reason := _skip(cell)) is not None:
                raise Skipped(reason) from error
            raise self._failed(cell, index, _cell_error(error, cell)) from error
        except DeadKernelError as error:
            raise self._failed(cell, index, await self.kernel.death(index), tell=True) from error
        except CellTimeoutError as error:
            raise self._failed(cell, index, Ended("FAILED", "OutputTimeout", str(error)), tell=True) from error
        except Ended as ended:
            raise self._failed(cell, index, ended, tell=True) from None
        finally:
            self.client.finish(cell)
            self.states.cell_complete(cell, index)
        if (reason := _skip(cell)) is not None:  # in a cell that may raise
            raise Skipped(reason)
        return True

    def _failed(self, cell: Any, index: int, ended: Ended, tell: bool = False) -> Ended:
        """Mark the cell; ``tell`` also writes the error into its outputs, where the kernel could not."""
        self.states.cell_exception(cell, index)
        if tell and cell.cell_type == "code":
            error = ended.error
            lines = [*error["traceback"], f"{error['name']}: {error['message']}"]
            cell.outputs.append(
                nbformat.v4.new_output("error", ename=error["name"], evalue=error["message"], traceback=lines)
            )
        return ended

    async def _until(self, work: Coroutine[Any, Any, Any], cell_timeout: float | None) -> Any:
        """Await the work until a time limit or a stop; then interrupt the kernel and, if that is no use, give it up."""
        now = time.monotonic()
        limits = [limit for limit in (self.deadline, now + cell_timeout if cell_timeout else None) if limit is not None]
        if self.deadline is not None and self.deadline <= now and self.index is not None:
            work.close()  # not even sent: an interrupt could reach the kernel before it, and nothing would answer that
            raise self._over(None)
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
        whole = self.deadline is not None and time.monotonic() >= self.deadline
        await self._interrupt(task)
        if killed:
            raise Ended("KILLED", "Interrupted", "stopped before it was finished")
        raise self._over(None if whole else cell_timeout)

    def _over(self, cell_timeout: float | None) -> Ended:
        """A limit is reached: that of the cell, or of the whole notebook."""
        limit = self.job.timeout if cell_timeout is None else cell_timeout
        what = "the notebook was not finished" if cell_timeout is None else "the cell was not finished"
        return Ended("TIMEOUT", "StageTimeout", f"{what} after {clock.duration(limit)}")

    async def _interrupt(self, task: asyncio.Future[Any]) -> None:
        """Interrupt a cell and give it ``grace``; a kernel that still starts holds nothing and is killed at once."""
        kernel = self.kernel
        kernel.wait = min(kernel.wait, self.job.grace)
        if self.index is not None and await kernel.km.is_alive():
            await kernel.km.interrupt_kernel()
            await asyncio.wait({task}, timeout=self.job.grace)
        if not task.done():
            kernel.kill = True
            task.cancel()
            await asyncio.wait({task}, timeout=1)
        if task.done() and not task.cancelled():
            task.exception()  # looked at, so that asyncio does not log it: the limit is what matters


def _cell_error(error: CellExecutionError, cell: Any) -> Ended:
    """The error as the kernel reported it: its own traceback, not nbclient's text around it."""
    for output in cell.outputs:
        if output.output_type == "error":
            return Ended("FAILED", error.ename, ANSI.sub("", error.evalue), "\n".join(output.traceback).splitlines())
    return Ended("FAILED", error.ename, ANSI.sub("", error.evalue))


def _skip(cell: Any) -> str | None:
    """The reason if the cell has skipped the notebook: its error becomes a line of text. None if it has not."""
    for at, output in enumerate(cell.get("outputs", [])):
        if output.output_type == "error" and output.ename == SKIP:
            reason = ANSI.sub("", output.evalue)
            cell.outputs[at] = nbformat.v4.new_output("stream", name="stdout", text=f"skipped: {reason}\n")
            return reason
    return None
