"""The two clients: one that sends code to the kernel, one that takes what comes back."""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from queue import Empty
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from nbformat.v4 import output_from_msg
from papermill.clientwrap import PapermillNotebookClient

from nbmlops.notebook.engine.states import States
from nbmlops.notebook.engine.streams import LastLines, Stream

log = logging.getLogger("nbmlops.notebook")
log.addHandler(logging.NullHandler())


class CellClient(AsyncKernelClient):
    """Sends the cell's id with the code, as JupyterLab does; ``pre_run_cell`` hooks then know the cell."""

    cell_id = ""

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Wait until the kernel answers on both channels.

        jupyter_client's own then waits a fifth of a second for nothing more to come. What comes late belongs to no
        cell, and is left out by that.

        Raises:
            RuntimeError: it died, or did not answer in so many seconds.
        """
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        while True:
            self.kernel_info()
            with contextlib.suppress(Empty):
                message = await self.shell_channel.get_msg(timeout=1)
                if message["msg_type"] == "kernel_info_reply":
                    await self.iopub_channel.get_msg(timeout=0.2)  # else it is not connected yet: ask again
                    self._handle_kernel_info_reply(message)
                    return
            if not await self.is_alive():
                raise RuntimeError("it died before it answered")
            if time.monotonic() > deadline:
                raise RuntimeError(f"it did not answer in {timeout:g} seconds")

    def execute(
        self,
        code: str,
        silent: bool = False,
        store_history: bool = True,
        user_expressions: dict[str, Any] | None = None,
        allow_stdin: bool | None = None,
        stop_on_error: bool = True,
    ) -> str:
        """Send code; the answer has the id that is returned."""
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


class OutputClient(PapermillNotebookClient):
    """Puts outputs into cells. Streams are joined as they arrive, and bounded; the last lines are told."""

    def __init__(self, states: States, **options: Any) -> None:
        super().__init__(states, **options)
        self.streams: dict[str, Stream] = {}
        self.index = 0
        self.last_lines = LastLines(lambda text: states.printed(self.index, text))

    def begin(self, index: int, cell_id: str) -> None:
        """The next messages belong to this cell."""
        self.index = index
        self.streams = {}
        if self.kc is not None:
            self.kc.cell_id = cell_id

    def settle(self) -> None:
        """Bring the running cell's outputs up to date with what was received."""
        for stream in self.streams.values():
            stream.settle()

    def finish(self, cell: Any) -> None:
        """The cell is over. Standard output comes before standard error where they follow each other."""
        self.settle()
        self.last_lines.clear()
        outputs = cell.get("outputs", [])
        for at, (first, second) in enumerate(itertools.pairwise(outputs)):
            if (first.get("name"), second.get("name")) == ("stderr", "stdout"):
                outputs[at : at + 2] = [second, first]

    def output(self, outs: list[Any], msg: dict[str, Any], display_id: str | None, cell_index: int) -> Any:
        """Take one output; returns it as it was received."""
        if self.output_hook_stack[msg["parent_header"].get("msg_id")]:  # an Output widget takes it
            return super().output(outs, msg, display_id, cell_index)
        if self.clear_before_next_output:
            self.streams = {}
        if msg["msg_type"] != "stream":
            out = super().output(outs, msg, display_id, cell_index)
            self.last_lines.add(_text(out))
            return out
        out = output_from_msg(msg)
        stream = self.streams.get(out.name)
        if stream is None:
            super().output(outs, msg, display_id, cell_index)
            stream = self.streams[out.name] = Stream(outs[-1])
        stream.add(out.text)
        self.last_lines.add(out.text)
        return out

    def clear_output(self, outs: list[Any], msg: dict[str, Any], cell_index: int) -> None:
        """Clear the cell's outputs, now or before the next one."""
        super().clear_output(outs, msg, cell_index)
        if not outs:
            self.streams = {}


def _text(output: Any) -> str:
    """The text of a result or a figure's description, as lines of their own."""
    text = output.get("data", {}).get("text/plain", "") if output else ""
    return f"\n{text}\n" if text else ""
