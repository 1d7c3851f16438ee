"""Listens to what a cell prints and shows, bounded; the front end gets everything as it is."""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Callable
from typing import Any

MOST_TEXT = 20_000  # characters of printed text that are kept of one stream: the first and the last half
MOST_DATA = 2_000_000  # characters of one representation
MOST_OUTPUTS = 100
REMARK = {"nbmlops": "remark"}  # metadata of what we say below a cell: it is none of the cell's own outputs
_OVERWRITTEN = re.compile(r"[^\n]*\r(?!\n)")


class Listener:
    """What one shell shows between ``start`` and ``stop``, as outputs of a notebook."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._outputs: list[dict[str, Any]] = []
        self._undo: list[Callable[[], None]] = []
        self._clear = False

    def start(self) -> None:
        """Begin to listen."""
        self.stop()
        self._outputs = []
        self._clear = False
        for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr)):
            self._listen(name, stream)
        publisher = self._shell.display_pub
        if hasattr(publisher, "register_hook"):  # ipykernel's; a terminal prints what it displays
            publisher.register_hook(self._message)
            self._undo.append(lambda: publisher.unregister_hook(self._message))

    def stop(self) -> list[dict[str, Any]]:
        """What was shown since ``start``."""
        while self._undo:
            self._undo.pop()()
        found, self._outputs = self._outputs, []
        for output in found:
            if output["output_type"] == "stream":
                output["text"] = _bounded("".join(output["text"]))
            output.pop("size", None)
            output.pop("display_id", None)
        return found

    def _listen(self, name: str, stream: Any) -> None:
        """Replace the stream's ``write`` for the time of the cell, as IPython itself does.

        A stream of another class in its place would not do: ipykernel and logging handlers hold the stream itself.
        """
        write = getattr(stream, "write", None)
        if write is None:
            return

        def heard(text: Any, *arguments: Any, **more: Any) -> Any:
            result = write(text, *arguments, **more)
            if isinstance(text, str) and not self._told_otherwise():
                self._printed(name, text)
            return result

        try:
            stream.write = heard
        except AttributeError:  # a stream that cannot be listened to: its text is not kept
            return
        self._undo.append(lambda: _restore(stream, heard, write))

    def _told_otherwise(self) -> bool:
        """Whether what is printed is a result or a traceback, which a terminal prints and a notebook gets as such."""
        shell = self._shell
        return getattr(shell.displayhook, "is_active", False) or getattr(shell, "showing_traceback", False)

    def _printed(self, name: str, text: str) -> None:
        outputs = self._outputs
        last = outputs[-1] if outputs else None
        if self._clear:
            outputs.clear()
            self._clear, last = False, None
        if last is None or last.get("name") != name:
            if len(outputs) >= MOST_OUTPUTS:
                return
            last = {"output_type": "stream", "name": name, "text": [], "size": 0}
            outputs.append(last)
        last["text"].append(text)
        last["size"] += len(text)
        if last["size"] > 4 * MOST_TEXT:
            kept = _bounded("".join(last["text"]))
            last["text"], last["size"] = [kept], len(kept)

    def _message(self, message: Any) -> Any:
        """A display message on its way out; it is passed on untouched."""
        kind = message.get("msg_type") or message.get("header", {}).get("msg_type")
        content = message.get("content", {})
        if kind == "clear_output":
            if content.get("wait"):
                self._clear = True
            else:
                self._outputs.clear()
        elif kind in {"display_data", "update_display_data"}:
            self._shown(content, update=kind == "update_display_data")
        return message

    def _shown(self, content: dict[str, Any], update: bool) -> None:
        if content.get("metadata") == REMARK:
            return
        if self._clear:
            self._outputs.clear()
            self._clear = False
        display_id = (content.get("transient") or {}).get("display_id")
        for output in self._outputs if update else ():
            if display_id is not None and output.get("display_id") == display_id:
                output["data"] = as_texts(content.get("data") or {})
        if not update and len(self._outputs) < MOST_OUTPUTS:
            data = as_texts(content.get("data") or {})
            self._outputs.append({"output_type": "display_data", "data": data, "display_id": display_id})


def _restore(stream: Any, ours: Any, before: Any) -> None:
    if getattr(stream, "write", None) is ours:  # somebody who replaced it after us puts it back himself
        stream.write = before


def _bounded(text: str) -> str:
    """The text as a terminal leaves it (a progress bar's last state), cut in the middle where it is long."""
    if "\r" in text:
        text = _OVERWRITTEN.sub("", text.replace("\r\n", "\n"))
    if len(text) <= MOST_TEXT:
        return text
    half = MOST_TEXT // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"


def as_texts(data: dict[str, Any]) -> dict[str, Any]:
    """A bundle with bytes as base64 text, and representations that are too large left out."""
    found: dict[str, Any] = {}
    for kind, value in data.items():
        kept = base64.b64encode(value).decode() if isinstance(value, bytes) else value
        if not isinstance(kept, str) or len(kept) <= MOST_DATA:
            found[kind] = kept
    return found
