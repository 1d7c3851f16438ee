"""What the terminal shows of a returned record, and the exit code it means."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from nbmlops.errors import StoreFault
from nbmlops.records import (
    Certificate,
    ContractReport,
    Diagnosis,
    EnvironmentCheck,
    Extracted,
    Finding,
    Flow,
    Leakage,
    Lineage,
    MonitorReport,
    Promotion,
    Record,
    StageRun,
    StoreCheck,
    Verdict,
    plain,
)

_WIDEST, _LEAST, _UNCUT = 40, 3, 1_000_000


def show(value: Any, *, as_json: bool) -> None:
    """Print a record, a list of records, or text."""
    if as_json:
        click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False, default=str))
    elif isinstance(value, str):
        click.echo(value)
    elif isinstance(value, list):
        _table(value)
    elif isinstance(value, Record):
        from nbmlops import display

        room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        click.echo(display.tree(value) if isinstance(value, Lineage) else display.text(value, room))


def write(path: str | Path, data: bytes) -> None:
    """Write what a command was asked to.

    Raises:
        StoreFault: it cannot be written.
    """
    try:
        Path(path).write_bytes(data)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise StoreFault(f"cannot write {path}: {why}", "give a file in a folder that is there and is yours") from error


def _table(records: list[Any]) -> None:
    from nbmlops import display

    if not records:
        click.echo(f"{getattr(records, 'title', '') or 'nothing'}: none yet")
        return
    from nbmlops.display import plain as texts_of
    from nbmlops.display.listing import visible

    if not sys.stdout.isatty():
        columns, rows = visible(*display.table_of(records))
        click.echo(texts_of.table(columns, rows, widest=_UNCUT))  # another program reads it: nothing is cut
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from nbmlops.display.shape import RIGHT, cell

    console = Console()
    columns, rows = visible(*display.table_of(records))
    texts = [[cell(value, column.kind) for value, column in zip(row, columns, strict=True)] for row in rows]
    widths = [
        min(_WIDEST, max(len(column.title), *(len(row[place]) for row in texts)))
        for place, column in enumerate(columns)
    ]
    shown = _fitting(widths, console.width)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column, width in zip(columns[:shown], widths, strict=False):
        justify: Any = "right" if column.kind in RIGHT else "left"
        table.add_column(Text(column.title), justify=justify, overflow="ellipsis", no_wrap=True, max_width=width)
    for row in texts:
        table.add_row(*(Text(text) for text in row[:shown]))
    console.print(table)
    if shown < len(columns):
        left = ", ".join(column.title for column in columns[shown:])
        console.print(Text(f"no room for {left}: widen the terminal, or use --json"), style="dim")


def _fitting(widths: list[int], room: int) -> int:
    """How many of the columns fit beside each other, two blanks apart; at least three."""
    used = 0
    for place, width in enumerate(widths):
        used += width + 2
        if used > room + 2 and place >= _LEAST:
            return place
    return len(widths)


def exit_code(value: Any) -> int:
    """0, or 1 where the answer is no: a failed stage, a blocked flow, an alert, a drifted run, a blocking finding."""
    if isinstance(value, Flow | StageRun):
        return 0 if value.status == "FINISHED" else 1
    if isinstance(value, MonitorReport):
        return 1 if value.status == "alert" else 0
    if isinstance(value, Certificate):
        return 0 if value.status == "reproduced" else 1
    if isinstance(value, Promotion):
        return 0
    if isinstance(value, Verdict):
        return 1 if value.verdict == "invalid" else 0
    if isinstance(value, ContractReport):
        return 1 if value.status == "block" else 0
    if isinstance(value, Extracted):
        return 1 if value.proof in {"differs", "failed"} else 0
    if isinstance(value, Leakage | EnvironmentCheck):
        return 0 if value.ok else 1
    findings = value.findings if isinstance(value, Diagnosis | StoreCheck) else value
    if isinstance(findings, list | tuple) and any(isinstance(f, Finding) and f.level == "block" for f in findings):
        return 1
    return 0
