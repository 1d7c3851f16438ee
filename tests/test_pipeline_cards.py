"""Plans, flows and stages as people see them in a terminal, and what the command line says of mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nbmlops import display
from nbmlops.records import Flow, Plan, PlannedStage, StageRun


def stage(name: str, **more: Any) -> StageRun:
    return StageRun(**{"run_id": f"01{name}", "stage": name, "notebook": f"{name}.ipynb", "status": "FINISHED", **more})


def section(text: str, title: str) -> list[str]:
    """The lines of a section of a card's text."""
    lines = text.splitlines()
    start = lines.index(f"  {title}") + 1
    end = next((i for i in range(start, len(lines)) if not lines[i].startswith("    ")), len(lines))
    return [line.strip() for line in lines[start:end]]


def test_a_plan_says_the_states_and_why() -> None:
    found = Plan(
        "demo",
        "p.yaml",
        (
            PlannedStage("a", "a.ipynb", (), (), (), 1, state="stale", why=("cell 3 changed", "pandas 3.1 -> 3.2")),
            PlannedStage("b", "b.ipynb", ("a",), (), (), 5, state="waits", why=("reused if the result of a stays",)),
            PlannedStage("c", "other.ipynb", ("a",), (), (), 1, state="fresh"),
        ),
    )
    text = display.text(found)
    assert "stages    1 stale, 1 waits, 1 fresh" in text
    assert section(text, "stages")[1:] == [
        "1  a      stale     1",
        "2  b      waits     5  a",
        "3  c      fresh     1  a      other.ipynb",
    ]
    assert section(text, "why") == ["a: cell 3 changed; pandas 3.1 -> 3.2", "b: reused if the result of a stays"]
    assert display.html(found).count("nbm-badge nbm-") == 3


def test_a_flow_says_what_was_reused_skipped_and_handed_on() -> None:
    flow = Flow(
        "01F",
        "demo",
        "p.yaml",
        "FINISHED",
        stages=(
            stage("a", reused=True, results={"rows": 7}, started_at=1.0, ended_at=9.0, cells=3, cells_done=3),
            *(
                stage(
                    "t",
                    label=f"t[x={n}]",
                    why=("cell 3 changed",),
                    results={"best": n} if n < 2 else {},
                    peak_memory=10**8,
                    worker="tcp://w:1",
                )
                for n in range(20)
            ),
            stage("b", why=("never run",), status="SKIPPED", reason="no new rows"),
        ),
    )
    text = display.text(flow)
    assert "reused    1 of 22 results" in text
    rows = section(text, "stages")
    assert rows[1].split() == ["a", "reused"], "what an earlier run took is not told as this one's"
    assert rows[2].split() == ["t[x=0]", "FINISHED", "100.0", "MB", "tcp://w:1"]
    assert section(text, "why they ran") == ["t[x=0], t[x=1], t[x=2] and 17 more: cell 3 changed"]
    assert section(text, "skipped") == ["b: no new rows"]
    assert section(text, "handed on") == ["name    value", "a.rows  7", "t.best  [0, 1]"]


def test_cards_fit_into_a_terminal() -> None:
    things = tuple(f"dataset:{'long-name-' * 3}{n}" for n in range(2))
    planned = PlannedStage("a" * 30, "n.ipynb", (), things, things, 1, why=("because " * 30,))
    text = display.text(Plan("demo", "p.yaml", (planned,)), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("because") == 30, "reasons are wrapped, not cut"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["pipeline", "run", "no.yaml"], 3, "no pipeline file 'no.yaml'"),
        (["stage", "show", "no.ipynb"], 3, "no notebook 'no.ipynb'"),
        (["schedule", "no.yaml", "--cron", "* * * * *"], 3, "no pipeline file"),
        (["stage", "run", "p.yaml"], 2, "stage run FILE --stage NAME"),
        (["pipeline", "plan", "n.ipynb"], 2, "is a notebook, and no pipeline file"),
        (["pipeline", "resume"], 3, "there is no flow to resume"),
    ],
)
def test_mistakes_are_told_in_two_lines(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text("name: p\nstages: {}\n")
    (tmp_path / "n.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    result = cli(*arguments, code=code)
    assert said in result.err
    assert len(result.err.strip().splitlines()) == 2
