"""Progress is shown where the flow was started, and a broken display fails nothing."""

from __future__ import annotations

import io
from typing import Any

import pytest

from nbmlops.pipelines import progress

EVENTS: list[dict[str, Any]] = [
    {"type": "flow", "status": "RUNNING", "name": "f", "flow_id": "01X", "stages": {"a": 1, "b": 2}},
    {"type": "stage", "status": "RUNNING", "stage": "a", "label": "a[x=<b>[red]]", "run_id": "r1", "attempt": 1},
    {
        "type": "cell",
        "stage": "a",
        "label": "a",
        "run_id": "r1",
        "done": 1,
        "cells": 3,
        "status": "completed",
        "index": 0,
    },
    {
        "type": "cell",
        "stage": "a",
        "label": "a",
        "run_id": "r1",
        "done": 1,
        "cells": 3,
        "status": "running",
        "index": 1,
        "source": "fit([b])",
        "title": "fit([b])",
    },
    {"type": "output", "stage": "a", "label": "a", "run_id": "r1", "index": 1, "text": "step 1\n[red]<b>step\x1b[2J 2"},
    {
        "type": "stage",
        "status": "FAILED",
        "stage": "a",
        "label": "a[x=<b>[red]]",
        "run_id": "r1",
        "attempt": 1,
        "seconds": 2.0,
        "error": {"name": "ValueError", "message": "bad [bold]\nmore"},
    },
    {"type": "select", "stage": "b", "label": "b[x=1]", "run_id": "r2", "metric": "auc", "value": 0.75, "unscored": []},
    {
        "type": "flow",
        "status": "BLOCKED",
        "name": "f",
        "flow_id": "01X",
        "error": None,
        "decision": {"model": "m", "version": 2, "status": "blocked", "environment": "staging"},
    },
]


def test_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.showing(None) as shown:
        for event in EVENTS:
            shown(event)
    assert capsys.readouterr().err.splitlines() == [
        "flow f (01X): a, b",
        "  a[x=<b>[red]]: started",
        "  a[x=<b>[red]]: failed in 2.0 s: ValueError: bad [bold]",
        "  b: chosen b[x=1] with auc=0.75",
        "flow f: blocked; model:m@2 blocked for staging",
    ]


def test_a_terminal_shows_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("COLUMNS", "160")
    with progress.showing(None) as shown:
        assert isinstance(shown, progress.TerminalBars)
        for event in EVENTS:
            shown(event)
            shown.bars.refresh()
    text = screen.getvalue()
    assert "a[x=<b>[red]]" in text, "names are text, never markup"
    assert "failed in 2.0 s: ValueError: bad [bold]" in text
    assert "1/3" in text
    assert "fit([b]) | [red]<b>step [2J 2" in text, "what a cell prints is text, and only its last line"
    assert "\x1b[2J" not in text


def test_a_notebook_shows_bars(capsys: pytest.CaptureFixture[str]) -> None:
    bars = progress.NotebookBars()
    for event in EVENTS[:5]:
        bars(event)
    bar, note = bars.rows["r1"][1:]
    assert note.value == "1 of 3 cells: fit([b]) | [red]<b>step [2J 2"
    for event in EVENTS[5:]:
        bars(event)
    assert (bar.value, bar.max, bar.bar_style) == (1, 3, "danger")
    assert note.value == "failed in 2.0 s: ValueError: bad [bold]"
    assert "chosen b[x=1]" in capsys.readouterr().out


def begin(run_id: str, label: str = "a", **more: Any) -> dict[str, Any]:
    stage = label.partition("[")[0]
    return {"type": "stage", "status": "RUNNING", "stage": stage, "label": label, "run_id": run_id, **more}


def end(run_id: str, status: str = "FINISHED", label: str = "a", **more: Any) -> dict[str, Any]:
    return {**begin(run_id, label), "status": status, "seconds": 1.0, **more}


def flow(status: str, **stages: int) -> dict[str, Any]:
    return {"type": "flow", "status": status, "name": "f", "flow_id": "01X", "stages": stages, "error": None}


CELL = {"type": "cell", "stage": "a", "label": "a", "done": 1, "cells": 3, "status": "running", "title": "fit()"}


def test_reused_skipped_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    reused = [{"type": "stage", "status": "REUSED", "stage": "train", "label": f"train[x={n}]", "run_id": f"t{n}"}
              for n in range(12)]  # fmt: skip
    events = [
        flow("RUNNING", features=1, train=20, report=1),
        {"type": "stage", "status": "REUSED", "stage": "features", "label": "features", "run_id": "f1"},
        *reused,
        begin("t12", "train[x=12]", why=["cell 3 changed", "a", "b", "c"], attempt=1),
        end("t12", "PRUNED", "train[x=12]"),
        end("p1", "SKIPPED", "report", reason="no new rows\nat all"),
        {"type": "skip", "stage": "report", "reason": "no new rows\nat all"},
        {"type": "skip", "stage": "other", "reason": "report was skipped"},
        flow("FINISHED"),
    ]
    with progress.Lines() as shown:
        for event in events:
            shown(event)
    assert capsys.readouterr().err.splitlines()[1:-1] == [
        "  features: fresh, reused",
        "  train: 12 of 20 fresh, reused",
        "  train[x=12]: started (cell 3 changed; a; b, and 1 more)",
        "  train[x=12]: given up, others are ahead in 1.0 s",
        "  report: skipped: no new rows at all",
        "  other: skipped: report was skipped",
    ]


def test_events_that_are_late_double_or_lacking(capsys: pytest.CaptureFixture[str]) -> None:
    events = [
        flow("RUNNING", a=1),
        {**CELL, "run_id": "r1"},  # before its begin
        begin("r1"),
        begin("r2", attempt=2),  # another worker took over, the first one says nothing any more
        {**CELL, "run_id": "r1"},
        end("r1"),
        end("r2", attempt=2),
        end("r2", attempt=2),
        {**CELL, "run_id": "r2"},
        {**CELL, "run_id": "r2", "type": "output", "text": "late"},
        begin("r3", "b"),
        flow("FAILED"),
        end("r3", label="b"),
    ]
    with progress.Lines() as shown:
        for event in events:
            shown(event)
        assert capsys.readouterr().err.splitlines() == [
            "flow f (01X): a",
            "  a: started",
            "  a: lost with its worker",
            "  a: started, attempt 2",
            "  a: done, attempt 2 in 1.0 s",
            "  b: started",
            "  b: lost with its worker",
            "flow f: failed",
        ]
    terminal, notebook = progress.TerminalBars(), progress.NotebookBars()
    for event in events:
        terminal(event)
        notebook(event)
    assert not terminal.bars.tasks, "nothing spins on"
    assert [(row[1].bar_style, row[2].value) for row in notebook.rows.values()] == [
        ("danger", "lost with its worker"),
        ("success", "done, attempt 2 in 1.0 s"),
        ("danger", "lost with its worker"),
    ]


def test_what_is_left_when_a_display_ends_is_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), progress.Lines() as shown:
        shown(begin("r1"))
        raise KeyboardInterrupt
    assert capsys.readouterr().err.splitlines() == ["  a: started", "  a: stopped"]


def test_a_long_sweep_is_one_bar_in_a_notebook() -> None:
    bars = progress.NotebookBars()
    bars(flow("RUNNING", s=20))
    for n in range(15):
        reused = n < 5
        for event in (
            [end(str(n), "REUSED", f"s[{n}]")] if reused else [begin(str(n), f"s[{n}]"), end(str(n), label=f"s[{n}]")]
        ):
            bars(event)
    bars(begin("x", "s[15]"))
    assert [row.children[0].value for row in bars.box.children] == ["s", "s[15]"]
    assert bars.rows["all of s"][2].value == "15 of 20 candidates"
    bars(end("x", "FAILED", "s[15]", error={"name": "E", "message": "m"}))
    assert bars.rows["x"][2].value == "failed in 1.0 s: E: m", "what fails keeps its own"


def test_own_displays_and_none() -> None:
    seen: list[Any] = []
    with progress.showing(seen.append) as shown:
        shown(EVENTS[0])
    assert seen == EVENTS[:1]
    with progress.showing(False) as shown:
        assert shown is progress.silent
