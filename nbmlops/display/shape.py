"""What a display consists of: cards, grids and blocks, as plain data; and how one value becomes text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nbmlops import clock

# How a column is shown. "count" has thousands separators, "number" five significant digits; in a "sentence" what stands
# in backticks is code.
KINDS = ("text", "sentence", "code", "number", "count", "bytes", "time", "duration", "status", "badges", "plot")
RIGHT = frozenset({"number", "count", "bytes", "duration"})

# The tone of a status: one of "good", "warn", "bad", "busy", "calm".
TONES = {
    "good": "FINISHED pass ok promoted approved production closed done up fresh reused reproduced proved",
    "warn": "warn waiting staging open retraining pending KILLED stale drifted differs",
    "bad": "FAILED block BLOCKED alert rejected error TIMEOUT DIED down failed reject blocked",
    "busy": "RUNNING waits",
}
_TONE = {word: tone for tone, words in TONES.items() for word in words.split()} | {
    "strongly valid": "good", "weakly valid": "warn", "unknown": "warn", "invalid": "bad",
    "not reproducible": "bad", "interrupted": "warn", "lost": "bad",
    "approve": "good", "passed": "good", "expired": "warn", "withdrawn": "warn",
}  # fmt: skip


def tone(status: str) -> str:
    """The tone of a status word; ``calm`` for one that is neither good nor bad."""
    return _TONE.get(status, "calm")


@dataclass(frozen=True)
class Column:
    """One column of a grid; ``kind`` is one of :data:`KINDS`; ``hidden`` ones are shown on request."""

    key: str
    title: str
    kind: str = "text"
    hidden: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The column as the widget's module reads it."""
        return {"key": self.key, "title": self.title, "kind": self.kind, "hidden": self.hidden}


@dataclass(frozen=True)
class Grid:
    """A small table: each row has one value for each column. ``more`` counts rows that are left out."""

    title: str
    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Any]]
    more: int = 0


@dataclass(frozen=True)
class Block:
    """Text that keeps its line ends, such as a traceback or a tree."""

    title: str
    text: str


@dataclass(frozen=True)
class Points:
    """Sentences that are shown whole: each with what to do about it, or nothing."""

    title: str
    points: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """As lines, what to do below what it is about."""
        lines = (line for what, mend in self.points for line in (what, f"  -> {mend}" if mend else ""))
        return "\n".join(line for line in lines if line)


@dataclass(frozen=True)
class Picture:
    """A drawing, made when HTML is wanted; a text goes without it."""

    svg: Callable[[], str]
    title: str = ""


@dataclass(frozen=True)
class Card:
    """One record: what it is, its name, a status, facts (label, value, kind), and sections below."""

    kind: str
    name: str
    status: str = ""
    facts: tuple[tuple[str, Any, str], ...] = ()
    sections: tuple[Grid | Block | Points | Picture, ...] = ()


def number(value: Any) -> str:
    """Five significant digits; whole numbers and texts as they are."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size >= 1e15 or 0 < size < 1e-4:
        return f"{value:.4e}"
    if size >= 1e4:
        return f"{value:.1f}".removesuffix(".0")
    return f"{value:.5g}"


def size(value: float) -> str:
    """``812 B``, ``3.4 kB``, ``1.2 GB`` (powers of 1,000)."""
    amount = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def cell(value: Any, kind: str = "text") -> str:
    """One value as text; None is the empty string; a value that does not fit its kind is shown as it is."""
    if value is None or value == "":
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(cell(v, "text") for v in value)
    if isinstance(value, str):
        return _tidy(value) if kind == "number" and len(value) > 9 else value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if kind == "time":
        return clock.local(value)
    if kind == "duration":
        return clock.duration(value)
    if kind == "bytes":
        return size(value)
    if kind == "count" and isinstance(value, int):
        return f"{value:,}"
    return number(value)


def _tidy(text: str) -> str:
    """Params are kept as texts: ``0.30000000000000004`` is shown as the number it is."""
    try:
        return number(float(text))
    except ValueError:
        return text
