"""Cards and grids as HTML: no script, everything escaped, readable in a light and in a dark page."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from html import escape
from typing import Any

from nbmlops.display.plots import Plot
from nbmlops.display.shape import RIGHT, Block, Card, Column, Grid, Picture, Points, cell, tone


@functools.cache
def style(*names: str) -> str:
    """The named style sheets of this package as one short text, without comments."""
    import importlib.resources  # 20 ms, and loading the extension needs no style

    folder = importlib.resources.files("nbmlops.display")
    css = "".join(folder.joinpath(f"{name}.css").read_text(encoding="utf-8") for name in names)
    return re.sub(r"\s*\n\s*", "", re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL))


def _style_tag() -> str:
    return f"<style>{style('theme', 'card')}</style>"


def badge(status: str) -> str:
    """A status as a small coloured label."""
    return f'<span class="nbm-badge nbm-{tone(status)}">{escape(status)}</span>'


def value_html(value: Any, kind: str) -> str:
    """One value, escaped."""
    if kind == "status" and value:
        return badge(str(value))
    if kind == "badges" and value:
        return " ".join(badge(str(v)) for v in (value if isinstance(value, list | tuple) else [value]))
    if isinstance(value, Plot):
        return value.svg()
    text = escape(cell(value, kind))
    if kind == "sentence":
        return sentence_html(str(value or ""))
    if kind == "time" and text:
        return f'<span class="nbm-time">{text}</span>'
    return f'<span class="nbm-code">{text}</span>' if kind == "code" and text else text


def grid_html(columns: Sequence[Column], rows: Sequence[Sequence[Any]], more: int = 0) -> str:
    """A table; ``more`` rows are only counted under it."""
    mark = [' class="nbm-right"' if c.kind in RIGHT else "" for c in columns]
    head = "".join(f"<th{m}>{escape(c.title)}</th>" for c, m in zip(columns, mark, strict=True))
    body = "".join(
        "<tr>"
        + "".join(f"<td{m}>{value_html(v, c.kind)}</td>" for c, v, m in zip(columns, row, mark, strict=True))
        + "</tr>"
        for row in rows
    )
    head = f"<thead><tr>{head}</tr></thead>" if any(c.title for c in columns) else ""
    rest = f'<div class="nbm-soft">… and {more:,} more</div>' if more else ""
    return f'<table class="nbm-grid">{head}<tbody>{body}</tbody></table>{rest}'


_CODE = re.compile(r"`([^`]+)`")


def sentence_html(text: str) -> str:
    """A sentence, escaped; what stands in backticks as code."""
    return _CODE.sub(r'<span class="nbm-code">\1</span>', escape(text))


def _points(section: Points) -> str:
    items = (
        f"<li>{sentence_html(what)}" + (f'<div class="nbm-soft">{sentence_html(mend)}</div>' if mend else "") + "</li>"
        for what, mend in section.points
    )
    return f'<ul class="nbm-points">{"".join(items)}</ul>'


def _section(section: Grid | Block | Points | Picture) -> str:
    if isinstance(section, Picture):
        return f'<div class="nbm-section">{section.svg()}</div>'
    title = f'<div class="nbm-title">{escape(section.title)}</div>' if section.title else ""
    if isinstance(section, Points):
        return f'<div class="nbm-section">{title}{_points(section)}</div>'
    if isinstance(section, Block):
        return f'<div class="nbm-section">{title}<pre class="nbm-block">{escape(section.text)}</pre></div>'
    return f'<div class="nbm-section">{title}{grid_html(section.columns, section.rows, section.more)}</div>'


def card_html(card: Card) -> str:
    """A card with its own style; several on one page do not disturb each other."""
    status = badge(card.status) if card.status else ""
    facts = "".join(
        f"<tr><th>{escape(label)}</th><td>{value_html(value, kind)}</td></tr>" for label, value, kind in card.facts
    )
    body = f'<table class="nbm-facts"><tbody>{facts}</tbody></table>' if facts else ""
    sections = "".join(_section(s) for s in card.sections)
    return (
        f'{_style_tag()}<div class="nbm nbm-card"><div class="nbm-head">'
        f'<span class="nbm-kind">{escape(card.kind)}</span>'
        f'<span class="nbm-name">{escape(card.name)}</span>{status}</div>'
        f'{body}<div class="nbm-sections">{sections}</div></div>'
    )


def table_html(columns: Sequence[Column], rows: Sequence[Sequence[Any]], title: str = "", more: int = 0) -> str:
    """A stand-alone table with its own style."""
    head = f'<div class="nbm-head"><span class="nbm-name">{escape(title)}</span></div>' if title else ""
    return f'{_style_tag()}<div class="nbm nbm-card">{head}{grid_html(columns, rows, more)}</div>'
