"""Live progress of a flow: bars in a terminal or in a notebook, plain lines elsewhere; the right one is chosen.

All of them are callables that take event dictionaries, whose ``type`` is ``flow``, ``stage``, ``cell``, ``output``,
``select``, ``skip`` or ``contract``. What a cell holds and prints is shown as text: no markup, no colour codes, one
line.
"""

from __future__ import annotations

import abc
import contextlib
import sys
from collections.abc import Callable, Iterator
from html import escape
from typing import Any, Self

from nbmlops import clock, lazy
from nbmlops.pipelines.contracted import VIOLATED
from nbmlops.pipelines.events import LOST, REUSED, Event, Ordered
from nbmlops.records import FIRST_TIME

Progress = Callable[[Event], None]
_DONE = {
    "FINISHED": "done",
    "SKIPPED": "skipped",
    "FAILED": "failed",
    "TIMEOUT": "timed out",
    "DIED": "kernel died",
    "KILLED": "stopped",
    "BLOCKED": "blocked",
    "PRUNED": "given up, others are ahead",
    LOST: "lost with its worker",
}
_BESIDE = 8  # executions of a stage that a notebook shows one by one after they have ended
_REASONS = 3
_WELL = {"FINISHED": "success", REUSED: "success", "SKIPPED": "info", "PRUNED": "info"}  # and how their bars look


def silent(event: Event) -> None:
    """Shows nothing."""


@contextlib.contextmanager
def showing(progress: Progress | bool | None) -> Iterator[Progress]:
    """The display to use: the given callable; none for False; by itself for None: notebook, terminal or plain lines."""
    if callable(progress):
        yield progress
    elif progress is False:
        yield silent
    else:
        with NotebookBars() if _in_notebook() else TerminalBars() if sys.stderr.isatty() else Lines() as display:
            yield display


def _in_notebook() -> bool:
    ipython = lazy.loaded("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def line(event: Event) -> str:
    """One event in one line of plain text; empty for those not worth one."""
    kind, status = event["type"], event.get("status", "")
    if kind == "flow" and status == "RUNNING":
        return f"flow {event['name']} ({event['flow_id']}): {', '.join(event['stages'])}"
    if kind == "flow":
        return f"flow {event['name']}: {_DONE.get(status, status)}{_why(event)}"
    if kind == "stage":
        return f"  {event['label']}: {_became(event)}"
    if kind == "skip":
        return f"  {event['stage']}: skipped: {event['reason']}"
    if kind == "select":
        left_out = f"; left out: {', '.join(event['unscored'])}" if event["unscored"] else ""
        return f"  {event['stage']}: chosen {event['label']} with {event['metric']}={event['value']:.6g}{left_out}"
    if kind == "contract":
        return f"  {event['label']}: {event['subject']} violates its contract: {'; '.join(event['violations'])}"
    return ""


def _became(event: Event) -> str:
    """What has become of a stage, in words."""
    status = event["status"]
    if status == REUSED:
        count, of = event.get("count", 1), event.get("of", 1)
        some = f"{count} of {of}" if count < of else f"all {count}"
        return f"{some} fresh, reused" if count > 1 else "fresh, reused"
    again = f", attempt {event['attempt']}" if event.get("attempt", 1) > 1 else ""
    took = f" in {clock.duration(event['seconds'])}" if "seconds" in event and status != "SKIPPED" else ""
    reason = f": {_one_line(event['reason'])}" if event.get("reason") else ""
    became = "started" if status == "RUNNING" else _DONE.get(status, status)
    error = "" if status == "KILLED" else _why(event)
    return f"{became}{again}{took}{reason}{error}{_because(event)}"


def _because(event: Event) -> str:
    """Why a stage is executed, in brackets."""
    why = [_one_line(text) for text in event.get("why") or () if text not in FIRST_TIME]
    more = f", and {len(why) - _REASONS} more" if len(why) > _REASONS else ""
    return f" ({'; '.join(why[:_REASONS])}{more})" if why else ""


def _why(event: Event) -> str:
    error, decision = event.get("error"), event.get("decision")
    if error:
        lines = str(error["message"]).strip().splitlines() or [""]
        first = " ".join(lines) if error["name"] == VIOLATED else lines[0]
        return f": {first if event['type'] == 'flow' else error['name'] + ': ' + first}"
    if decision:
        return f"; model:{decision['model']}@{decision['version']} {decision['status']} for {decision['environment']}"
    return ""


class Display(abc.ABC):
    """Shows events; as a context, what is still in progress when it is left is shown as stopped."""

    def __init__(self) -> None:
        self.ordered = Ordered()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for event in self.ordered.close():
            self.show(event)

    def __call__(self, event: Event) -> None:
        for each in self.ordered(event):
            self.show(each)

    @abc.abstractmethod
    def show(self, event: Event) -> None:
        """Show an event as :class:`Ordered` gives it."""


class Lines(Display):
    """A line on stderr for each stage that starts or ends."""

    def show(self, event: Event) -> None:
        """Print its line, if it has one; why a stage runs is told where it starts."""
        ended = event["type"] == "stage" and event["status"] != "RUNNING"
        if text := line({**event, "why": []} if ended else event):
            print(text, file=sys.stderr, flush=True)


class Watched:
    """What the running cells of several executions are about, and what they printed last."""

    def __init__(self) -> None:
        self._cells: dict[str, tuple[str, str]] = {}

    def note(self, event: Event, width: int = 100) -> str:
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


class TerminalBars(Display):
    """A rich bar for each execution in progress: cells, the running one's first line and last output.

    One that ends leaves a line above the bars, so that those in progress can be seen in a long sweep too.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        super().__init__()
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
            transient=True,
        )
        self.watched = Watched()
        self.tasks: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.bars.stop()

    def show(self, event: Event) -> None:
        """Move the bar of its run, or print its line."""
        kind = event["type"]
        if kind == "stage" and event["status"] == "RUNNING":
            note = _cut(_because(event).strip(), self._room())
            self.tasks[event["run_id"]] = self.bars.add_task(event["label"], total=None, note=note)
        elif kind == "cell":
            note = self.watched.note(event, self._room())
            self.bars.update(self.tasks[event["run_id"]], completed=event["done"], total=event["cells"], note=note)
        elif kind == "output":
            self.bars.update(self.tasks[event["run_id"]], note=self.watched.note(event, self._room()))
        else:
            if kind == "stage" and (task := self.tasks.pop(event["run_id"], None)) is not None:
                self.bars.remove_task(task)
            if text := line(event):
                self.bars.console.print(text, markup=False, highlight=False, style=_style(event))

    def _room(self) -> int:
        """The characters left beside the bars, so that what a cell prints can neither wrap nor push them aside."""
        longest = max((len(task.description) for task in self.bars.tasks), default=0)
        return max(0, min(100, self.bars.console.width - longest - 56))


def _style(event: Event) -> str:
    """The colour of an event's line in a terminal."""
    if event["type"] == "contract":
        return "yellow"
    tone = {"FAILED": "red", "TIMEOUT": "red", "DIED": "red", "KILLED": "yellow", "BLOCKED": "yellow", LOST: "yellow"}
    return tone.get(event.get("status", ""), "")


class NotebookBars(Display):
    """An ipywidgets bar for each execution; the text beside it says how it ended.

    Of a long sweep, those that ended well share one bar.
    """

    def __init__(self) -> None:
        import ipywidgets
        from IPython.display import display

        super().__init__()
        self.widgets = ipywidgets
        self.box = ipywidgets.VBox()
        self.rows: dict[str, Any] = {}
        self.display = display
        self.watched = Watched()
        self.handle: Any = None

    def __exit__(self, *error: object) -> None:
        """Leave text in place of the bars: a notebook opened again has no widgets, and would show errors for them."""
        super().__exit__(*error)
        if self.handle is not None:
            self.handle.update(_Ended([(row.children[0].value, note.value) for row, _, note in self.rows.values()]))

    def show(self, event: Event) -> None:
        """Move the bar of its run, or print its line."""
        kind = event["type"]
        if kind == "stage" and event["status"] == "RUNNING":
            self._add(event["run_id"], event["label"], f"starting{_because(event)}")
        elif kind == "cell":
            bar, note = self.rows[event["run_id"]][1:]
            bar.max, bar.value = event["cells"], event["done"]
            note.value = self._note(event)
        elif kind == "output":
            self.rows[event["run_id"]][2].value = self._note(event)
        elif kind == "stage":
            self._end(event)
        elif text := line(event):
            print(text)

    def _note(self, event: Event) -> str:
        bar = self.rows[event["run_id"]][1]
        about = self.watched.note(event)
        return f"{bar.value} of {bar.max} cells{': ' if about else ''}{about}"

    def _end(self, event: Event) -> None:
        stage, status, run_id = event["stage"], event["status"], event["run_id"]
        of = self.ordered.executions.get(stage, 1)
        well = status in _WELL
        if of > _BESIDE and well:
            if run_id in self.rows:
                self._remove(run_id)
            self._count(stage, event.get("count", 1), of)
            return
        if run_id not in self.rows:
            self._add(run_id, event["label"], "")
        bar, note = self.rows[run_id][1:]
        if status == REUSED:
            bar.value = bar.max
        bar.bar_style = _WELL.get(status, "danger")
        note.value = _became(event)

    def _count(self, stage: str, more: int, of: int) -> None:
        """One bar for those of a sweep that have ended well."""
        key = f"all of {stage}"
        if key not in self.rows:
            self._add(key, stage, "")
            self.rows[key][1].max = of
        bar, note = self.rows[key][1:]
        bar.value += more
        bar.bar_style = "success" if bar.value >= of else ""
        note.value = f"{bar.value} of {of} candidates"

    def _add(self, key: str, name: str, about: str) -> None:
        # Label and IntProgress show their text as text, so nothing in a name or an error can become markup.
        bar = self.widgets.IntProgress(value=0, min=0, max=1, layout={"width": "200px", "height": "20px"})
        note = self.widgets.Label(value=about)
        label = self.widgets.Label(value=name, layout={"min_width": "160px"})
        row = self.widgets.HBox([label, bar, note], layout={"height": "26px", "align_items": "center"})
        self.rows[key] = row, bar, note
        self.box.children = (*self.box.children, row)
        if self.handle is None:
            self.handle = self.display(self.box, display_id=True)

    def _remove(self, key: str) -> None:
        row = self.rows.pop(key)[0]
        self.box.children = tuple(each for each in self.box.children if each is not row)
        for widget in (*row.children, row):
            widget.close()


class _Ended:
    """What became of the executions, as text."""

    def __init__(self, rows: list[tuple[str, str]]) -> None:
        self.rows = rows

    def __repr__(self) -> str:
        return "\n".join(": ".join(text for text in row if text) for row in self.rows)

    def _repr_html_(self) -> str:
        cells = ("".join(f'<td style="text-align: left">{escape(text)}</td>' for text in row) for row in self.rows)
        return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"
