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
        self._open: _Printed | None = None  # what is printed now goes on here
        self._time: object = None  # between one start and its stop

    def start(self) -> None:
        """Begin to listen."""
        self.stop()
        self._outputs = []
        self._clear = False
        self._open, self._time = None, object()
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
        found, self._outputs, self._open, self._time = self._outputs, [], None, None
        for output in found:
            if output["output_type"] == "stream":
                output["text"] = _bounded("".join(output["text"].copy()))  # a thread may still be printing
            output.pop("display_id", None)
        return found

    def _listen(self, name: str, stream: Any) -> None:
        """Replace the stream's ``write`` for the time of the cell, as IPython itself does.

        A stream of another class in its place would not do: ipykernel and logging handlers hold the stream itself.
        """
        write = getattr(stream, "write", None)
        if write is None:
            return

        # A result or a traceback is printed in a terminal, and a notebook gets it as such.
        result_shown = _having(self._shell.displayhook, "is_active")
        error_shown = _having(self._shell, "showing_traceback")
        now = self._time  # whoever has wrapped this write in a cell, and left it so, calls it later on too

        def heard(text: Any) -> Any:
            # A line that is printed comes through here at least twice: no call more than needed, nothing to unpack.
            result = write(text)
            if result_shown.is_active or error_shown.showing_traceback or self._time is not now:
                return result
            if not isinstance(text, str):
                return result
            printed = self._open
            if printed is None or printed.name != name or self._clear:
                printed = self._begin(name)
            printed.parts.append(text)
            printed.size += len(text)
            if printed.size > 4 * MOST_TEXT:
                printed.shorten()
            return result

        try:
            stream.write = heard
        except AttributeError:  # a stream that cannot be listened to: its text is not kept
            return
        self._undo.append(lambda: _restore(stream, heard, write))

    def _begin(self, name: str) -> _Printed:
        """A new output of printed text; one that is not kept where there are too many."""
        if self._clear:
            self._outputs.clear()
            self._clear = False
        printed = self._open = _Printed(name)
        if len(self._outputs) < MOST_OUTPUTS:
            self._outputs.append({"output_type": "stream", "name": name, "text": printed.parts})
        return printed

    def _message(self, message: Any) -> Any:
        """A display message on its way out; it is passed on untouched."""
        kind = message.get("msg_type") or message.get("header", {}).get("msg_type")
        content = message.get("content", {})
        if kind == "clear_output":
            if content.get("wait"):
                self._clear = True
            else:
                self._outputs.clear()
                self._open = None
        elif kind in {"display_data", "update_display_data"}:
            self._shown(content, update=kind == "update_display_data")
        return message

    def _shown(self, content: dict[str, Any], update: bool) -> None:
        if content.get("metadata") == REMARK:
            return
        if self._clear:
            self._outputs.clear()
            self._clear, self._open = False, None
        display_id = (content.get("transient") or {}).get("display_id")
        for output in self._outputs if update else ():
            if display_id is not None and output.get("display_id") == display_id:
                output["data"] = as_texts(content.get("data") or {})
        if not update and len(self._outputs) < MOST_OUTPUTS:
            data = as_texts(content.get("data") or {})
            self._outputs.append({"output_type": "display_data", "data": data, "display_id": display_id})
            self._open = None  # what is printed next comes after it


class _Printed:
    """Text that is printed to one stream, with nothing else between."""

    __slots__ = ("name", "parts", "size")

    def __init__(self, name: str) -> None:
        self.name, self.size = name, 0
        self.parts: list[str] = []

    def shorten(self) -> None:
        """Keep no more in memory than can be kept of it."""
        kept = _bounded("".join(self.parts))
        self.parts[:], self.size = [kept], len(kept)


class _Never:
    """In place of IPython's objects, where they do not tell what they are showing."""

    is_active = showing_traceback = False


def _having(owner: Any, attribute: str) -> Any:
    return owner if hasattr(owner, attribute) else _Never


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
