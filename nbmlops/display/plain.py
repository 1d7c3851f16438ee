"""Cards and grids as plain text, for terminals and for ``text/plain`` in notebooks."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from nbmlops.display.shape import RIGHT, Block, Card, Column, Grid, Picture, Points, cell, number

_NARROWEST = 10  # characters of a column that is made to fit


def one_line(text: str) -> str:
    """Control characters, which could move a terminal's cursor, and line ends become visible spaces."""
    return "".join(c if c.isprintable() else " " for c in text)


def table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[Any]],
    indent: str = "",
    *,
    widest: int = 60,
    room: int | None = None,
) -> str:
    """Rows in aligned columns under their titles; a cell wider than ``widest`` characters is cut.

    ``room`` is how wide a line may be: where it is not enough, the widest columns are cut further.
    """
    lines = [[c.title for c in columns]]
    for row in rows:
        lines.append([_cut(one_line(cell(v, c.kind)), widest) for c, v in zip(columns, row, strict=True)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    if room is not None:
        widths = _fitted(widths, [c.kind in RIGHT for c in columns], room - len(indent) - 2 * (len(columns) - 1))
        lines = [[_cut(v, w) for v, w in zip(line, widths, strict=True)] for line in lines]
    # A column of numbers is right-aligned; texts in it, such as string params, go along.
    right = [c.kind in RIGHT for c in columns]
    if not any(c.title for c in columns):
        lines = lines[1:]
    return "\n".join(
        indent
        + "  ".join(v.rjust(w) if r else v.ljust(w) for v, w, r in zip(line, widths, right, strict=True)).rstrip()
        for line in lines
    )


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _fitted(widths: list[int], numbers: list[bool], room: int) -> list[int]:
    """The widths made less, the widest first, until they fit into ``room``; numbers and short columns stay whole.

    The first column of text, which names the row, is made less only when nothing else can be.
    """
    widths, name = list(widths), numbers.index(False) if False in numbers else -1
    while sum(widths) > room:
        wide = [i for i, w in enumerate(widths) if not numbers[i] and w > _NARROWEST]
        if not wide:
            break
        widths[max(wide, key=lambda i: (i != name, widths[i]))] -= 1
    return widths


def card_text(card: Card, room: int | None = None) -> str:
    """A card as lines: kind and name, facts, then each section under its title, in lines of at most ``room``."""
    head = f"{card.kind} {one_line(card.name)}" + (f"  [{card.status}]" if card.status else "")
    width = max((len(label) for label, _, _ in card.facts), default=0)
    lines = [head, *(f"  {label.ljust(width)}  {one_line(cell(value, kind))}" for label, value, kind in card.facts)]
    for section in card.sections:
        if isinstance(section, Picture):
            continue
        if section.title:
            lines.append(f"  {section.title}")
        lines += _grid(section, room) if isinstance(section, Grid) else _block(section, room)
    return "\n".join(lines)


def _block(block: Block | Points, room: int | None) -> list[str]:
    lines = ["    " + one_line(line) for line in block.text.splitlines()]
    if room is None:
        return lines
    return [part for line in lines for part in textwrap.wrap(line, max(room, 40), subsequent_indent="      ") or [line]]


def _grid(grid: Grid, room: int | None) -> list[str]:
    columns, rows = grid.columns, grid.rows
    kept = len(columns) if room is None else _held(columns, rows, room - 4)
    lines = table(columns[:kept], [row[:kept] for row in rows], indent="    ", room=room).splitlines()
    if kept < len(columns):
        lines.append(f"    no room for {', '.join(c.title for c in columns[kept:])}: widen the terminal, or use --json")
    return [*lines, f"    … and {grid.more} more"] if grid.more else lines


def _held(columns: Sequence[Column], rows: Sequence[Sequence[Any]], room: int) -> int:
    """How many of the columns fit when all but numbers and the one that names the row are made narrow; at least two."""
    texts = [[c.title, *(one_line(cell(row[i], c.kind)) for row in rows)] for i, c in enumerate(columns)]
    widths = [min(60, max(map(len, found))) for found in texts]
    name = next((i for i, c in enumerate(columns) if c.kind not in RIGHT), 0)
    used = -2
    for i, (column, width) in enumerate(zip(columns, widths, strict=True)):
        used += 2 + (width if column.kind in RIGHT or i == name else min(width, _NARROWEST))
        if used > room and i >= 2:
            return i
    return len(columns)


def tree(node: Any) -> str:
    """A lineage, or one node of it, as a tree: each thing once, with what lies behind it."""
    return "\n".join(_branch(getattr(node, "root", node), "", "", set()))


def _branch(node: Any, head: str, rest: str, seen: set[str]) -> list[str]:
    if node.ref in seen:
        return [f"{head}{node.title} (see above)"]
    seen.add(node.ref)
    lines = [f"{head}{node.title}"]
    bar = "│   " if node.behind else "    "
    lines += [f"{rest}{bar}{name}: {_fact(value)}" for name, value in node.facts.items()]
    for place, child in enumerate(node.behind):
        last = place == len(node.behind) - 1
        lines += _branch(child, rest + ("└── " if last else "├── "), rest + ("    " if last else "│   "), seen)
    return lines


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{name}={_fact(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_fact(part) for part in value)
    if isinstance(value, str) and value.startswith(("sha256:", "blake3:")):
        return value[:19] + "…"
    return number(value) if isinstance(value, float) else str(value)
