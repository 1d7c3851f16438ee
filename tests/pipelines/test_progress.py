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
    assert "failed: ValueError: bad [bold]" in text
    assert "1/3" in text
    assert "fit([b]) | [red]<b>step [2J 2" in text, "what a cell prints is text, and only its last line"
    assert "\x1b[2J" not in text


def test_a_notebook_shows_bars(capsys: pytest.CaptureFixture[str]) -> None:
    bars = progress.NotebookBars()
    for event in EVENTS[:5]:
        bars(event)
    bar, note = bars.rows["r1"]
    assert note.value == "1 of 3 cells: fit([b]) | [red]<b>step [2J 2"
    for event in EVENTS[5:]:
        bars(event)
    assert (bar.value, bar.max, bar.bar_style) == (1, 3, "danger")
    assert note.value == "failed: ValueError: bad [bold]"
    assert "chosen b[x=1]" in capsys.readouterr().out


def test_own_displays_and_none() -> None:
    seen: list[Any] = []
    with progress.showing(seen.append) as shown:
        shown(EVENTS[0])
    assert seen == EVENTS[:1]
    with progress.showing(False) as shown:
        assert shown is progress.silent
