"""Live progress of a flow: bars in a terminal or in a notebook, plain lines elsewhere; the right one is chosen.

All of them are callables that take event dictionaries, whose ``type`` is ``flow``, ``stage``, ``cell``, ``output``,
``select`` or ``contract``. What a cell holds and prints is shown as text: no markup, no colour codes, one line.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from nbmlops import clock, lazy
from nbmlops.pipelines.contracted import VIOLATED

Progress = Callable[[dict[str, Any]], None]
_DONE = {
    "FINISHED": "done",
    "SKIPPED": "skipped",
    "FAILED": "failed",
    "TIMEOUT": "timed out",
    "DIED": "kernel died",
    "KILLED": "stopped",
    "BLOCKED": "blocked",
}


def silent(event: dict[str, Any]) -> None:
    """Shows nothing."""


@contextlib.contextmanager
def showing(progress: Progress | bool | None) -> Iterator[Progress]:
    """The display to use: the given callable; none for False; by itself for None: notebook, terminal or plain lines."""
    if callable(progress):
        yield progress
    elif progress is False:
        yield silent
    elif _in_notebook():
        yield NotebookBars()
    elif sys.stderr.isatty():
        with TerminalBars() as bars:
            yield bars
    else:
        yield plain_lines


def _in_notebook() -> bool:
    ipython = lazy.loaded("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def line(event: dict[str, Any]) -> str:
    """One event in one line of plain text; empty for those not worth one."""
    kind, status = event["type"], event.get("status", "")
    if kind == "flow" and status == "RUNNING":
        return f"flow {event['name']} ({event['flow_id']}): {', '.join(event['stages'])}"
    if kind == "flow":
        return f"flow {event['name']}: {_DONE.get(status, status)}{_why(event)}"
    if kind == "stage":
        again = f", attempt {event['attempt']}" if event.get("attempt", 1) > 1 else ""
        took = f" in {clock.duration(event['seconds'])}" if "seconds" in event else ""
        became = "started" if status == "RUNNING" else _DONE.get(status, status)
        return f"  {event['label']}: {became}{again}{took}{_why(event)}"
    if kind == "select":
        left_out = f"; left out: {', '.join(event['unscored'])}" if event["unscored"] else ""
        return f"  {event['stage']}: chosen {event['label']} with {event['metric']}={event['value']:.6g}{left_out}"
    if kind == "contract":
        return f"  {event['label']}: {event['subject']} violates its contract: {'; '.join(event['violations'])}"
    return ""


def _why(event: dict[str, Any]) -> str:
    error, decision = event.get("error"), event.get("decision")
    if error:
        lines = str(error["message"]).strip().splitlines() or [""]
        first = " ".join(lines) if error["name"] == VIOLATED else lines[0]
        return f": {first if event['type'] == 'flow' else error['name'] + ': ' + first}"
    if decision:
        return f"; model:{decision['model']}@{decision['version']} {decision['status']} for {decision['environment']}"
    return ""


def plain_lines(event: dict[str, Any]) -> None:
    """A line on stderr for each stage that starts or ends."""
    if text := line(event):
        print(text, file=sys.stderr, flush=True)


class Watched:
    """What the running cells of several executions are about, and what they printed last."""

    def __init__(self) -> None:
        self._cells: dict[str, tuple[str, str]] = {}

    def note(self, event: dict[str, Any], width: int = 100) -> str:
        """One line on the cell that an event of type ``cell`` or ``output`` tells of; empty when it is over."""
        title, printed = self._cells.get(event["run_id"], ("", ""))
        if event["type"] == "output":
            printed = _one_line(event["text"].rpartition("\n")[2])
        elif event["status"] == "running":
            title, printed = _one_line(event.get("title", "")), ""
        else:
            title, printed = "", ""
        self._cells[event["run_id"]] = title, printed
        shown = [_cut(title, width // 2 if printed else width), _cut(printed, width - width // 2 - 3)]
        return " | ".join(text for text in shown if text)


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text).strip()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…" if width > 1 else ""


class TerminalBars:
    """A rich bar for each execution: cells, the running one's first line and last output; ended lines stay."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("  {task.description}", markup=False),
            BarColumn(30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self.bars = Bars(
            *columns,
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(stderr=True),
            transient=False,
        )
        self.watched = Watched()
        self.tasks: dict[str, Any] = {}

    def __enter__(self) -> TerminalBars:
        self.bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bars.stop()

    def __call__(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "stage" and event["status"] == "RUNNING":
            self.tasks[event["run_id"]] = self.bars.add_task(event["label"], total=None, note="")
        elif kind == "cell":
            note = self.watched.note(event, self._room())
            self.bars.update(self.tasks[event["run_id"]], completed=event["done"], total=event["cells"], note=note)
        elif kind == "output":
            self.bars.update(self.tasks[event["run_id"]], note=self.watched.note(event, self._room()))
        elif kind == "stage":
            task = self.tasks[event["run_id"]]
            self.bars.update(task, note=_DONE.get(event["status"], event["status"]) + _why(event))
            self.bars.stop_task(task)
        elif text := line(event):
            self.bars.console.print(text, markup=False, highlight=False)

    def _room(self) -> int:
        """The characters left beside the bars, so that what a cell prints can neither wrap nor push them aside."""
        longest = max((len(task.description) for task in self.bars.tasks), default=0)
        return max(0, min(100, self.bars.console.width - longest - 56))


class NotebookBars:
    """An ipywidgets bar for each execution; the text beside it says how it ended."""

    def __init__(self) -> None:
        import ipywidgets
        from IPython.display import display

        self.widgets = ipywidgets
        self.box = ipywidgets.VBox()
        self.rows: dict[str, Any] = {}
        self.display = display
        self.watched = Watched()
        self.shown = False

    def __call__(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "stage" and event["status"] == "RUNNING":
            self._add(event)
        elif kind == "cell":
            bar, note = self.rows[event["run_id"]]
            bar.max, bar.value = event["cells"], event["done"]
            note.value = self._note(event)
        elif kind == "output":
            self.rows[event["run_id"]][1].value = self._note(event)
        elif kind == "stage":
            bar, note = self.rows[event["run_id"]]
            bar.bar_style = "success" if event["status"] == "FINISHED" else "danger"
            note.value = _DONE.get(event["status"], event["status"]) + _why(event)
        elif text := line(event):
            print(text)

    def _note(self, event: dict[str, Any]) -> str:
        bar = self.rows[event["run_id"]][0]
        about = self.watched.note(event)
        return f"{bar.value} of {bar.max} cells{': ' if about else ''}{about}"

    def _add(self, event: dict[str, Any]) -> None:
        # Label and IntProgress show their text as text, so nothing in a name or an error can become markup.
        bar = self.widgets.IntProgress(value=0, min=0, max=1, layout={"width": "200px"})
        note = self.widgets.Label(value="starting")
        self.rows[event["run_id"]] = bar, note
        label = self.widgets.Label(value=event["label"], layout={"min_width": "160px"})
        self.box.children = (*self.box.children, self.widgets.HBox([label, bar, note]))
        if not self.shown:
            self.display(self.box)
            self.shown = True
