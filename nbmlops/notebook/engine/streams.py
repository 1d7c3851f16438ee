"""What a cell prints: joined as it arrives, bounded, and its last lines for those who watch."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Callable
from typing import Any

from nbmlops.notebook.engine.ended import ANSI

KEPT = 10_000_000  # characters of one stream of one cell; more is cut out of its middle
TOLD = 500  # characters
PAUSE = 0.2  # seconds between two tellings
_BLANK = re.compile(r"[^\S ]+")


class Stream:
    """One output of type ``stream``. Its node gets the text when :meth:`settle` is called.

    nbclient appends every message as an output of its own and joins them at the end of the cell, with a regular
    expression for carriage returns that takes the square of a line's length: a printed gigabyte never comes back.
    """

    def __init__(self, node: Any) -> None:
        self.node = node
        self.head = ""
        self.parts: list[str] = []
        self.size = 0  # of the parts
        self.left_out = 0

    def add(self, text: str) -> None:
        """Append what was printed. Costs the length of the text, also in the long run."""
        self.parts.append(text)
        self.size += len(text)
        if self.size > 2 * KEPT:
            self._compact()

    def _compact(self) -> None:
        text, half = overwritten("".join(self.parts)), KEPT // 2
        if not self.head and len(text) > KEPT:
            self.head, text = text[:half], text[half:]
        if self.head and len(text) > half:
            self.left_out += len(text) - half
            text = text[-half:]
        self.parts, self.size = [text], len(text)

    def settle(self) -> None:
        """Write the text so far into the output."""
        self._compact()
        rest = "".join(self.parts)
        cut = f"\n[{self.left_out:,} characters were left out here]\n" if self.left_out else ""
        self.node.text = self.head + cut + rest


def overwritten(text: str) -> str:
    """Text as a terminal shows it after carriage returns: of a line, what was written last."""
    if "\r" not in text:
        return text
    return "\n".join(line[line.rfind("\r", 0, -1) + 1 :] if "\r" in line else line for line in text.split("\n"))


class LastLines:
    """Tells the last printed lines, at most five times a second, and the very last ones in any case."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell = tell
        self.tail = ""
        self.timer: asyncio.TimerHandle | None = None

    def add(self, text: str) -> None:
        """Text that was printed or shown."""
        self.tail = (self.tail + text[-8 * TOLD :])[-8 * TOLD :]
        if self.timer is None:
            self.timer = asyncio.get_running_loop().call_later(PAUSE, self.flush)

    def flush(self) -> None:
        """Tell now what has not been told."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
            if text := last_lines(self.tail):
                self.tell(text)

    def clear(self) -> None:
        """The cell is over: its text is no longer what runs."""
        self.flush()
        self.tail = ""


def last_lines(text: str) -> str:
    """The last three lines that are not blank, without colour codes and control characters, at most 500 characters."""
    lines = overwritten(ANSI.sub("", text).rstrip("\r\n")).splitlines()
    shown = ["".join(c for c in _BLANK.sub(" ", line) if unicodedata.category(c) not in {"Cc", "Cf"}) for line in lines]
    return "\n".join([line.rstrip() for line in shown if line.strip()][-3:])[-TOLD:]
