"""Cards and dossiers as Markdown and as a page; whatever a name or text holds stays text in both."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from typing import Any

from nbmlops import clock
from nbmlops.records import Dossier, ModelCard, Section, Statement

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|<>~$&])")
_START = re.compile(r"^(\s*)([-=+]|\d+\.)", re.M)
_STYLE = """
body { font: 15px/1.55 system-ui, sans-serif; max-width: 62em; margin: 2.2em auto; padding: 0 1.2em; color: #1f2933; }
h1 { font-size: 1.9em; margin-bottom: .1em; }
h2 { font-size: 1.25em; margin: 1.8em 0 .4em; border-bottom: 1px solid #d9e2ec; padding-bottom: .2em; }
ul { padding-left: 1.2em; }
li { margin: .35em 0; }
.about, .src { color: #627d98; }
.src, .where { font: .84em ui-monospace, monospace; margin-left: .5em; }
.todo { border-left: 5px solid #b26a00; background: #fff7e6; padding: .6em 1em; margin: 1em 0; }
.missing { color: #8a5200; }
table { border-collapse: collapse; margin: .4em 0 .8em; font-size: .92em; }
td, th { padding: .22em .8em .22em 0; text-align: left; border-bottom: 1px solid #e4e7eb; vertical-align: top; }
td { overflow-wrap: anywhere; }
td.n, th.n { text-align: right; }
@media (prefers-color-scheme: dark) {
  body { background: #16191d; color: #e4e7eb; }
  h2, td, th { border-color: #3e4c59; }
  .todo { background: #2b2414; }
  .missing { color: #f0b429; }
}
"""


def markdown(card: ModelCard) -> str:
    """With the metadata header that model hubs read."""
    import yaml

    head = f"---\n{yaml.safe_dump(card.metadata, sort_keys=False, allow_unicode=True)}---\n\n" if card.metadata else ""
    lines = [f"# {_md(_title(card))}", "", _md(_made(card)), ""]
    if todo := card.missing():
        lines += [f"**Still to be written or measured: {len(todo)}**", ""]
        lines += [f"- [ ] {_md(s.text)} ({_code(s.write)})" for s in todo] + [""]
    for section in card.sections:
        lines += [f"## {_md(section.title)}", ""] + ([f"*{_md(section.about)}*", ""] if section.about else [])
        for statement in section.statements:
            lines += _md_statement(statement)
        lines.append("")
    return head + "\n".join(lines).rstrip() + "\n"


def _md_statement(statement: Statement) -> list[str]:
    if statement.missing:
        return [f"- **Missing:** {_md(statement.text)} ({_code(statement.write)})"]
    lines = [f"- {_md(statement.text)} [{_code(statement.source)}]"]
    if statement.table:
        columns = list(statement.table[0])
        lines += ["", f"  | {' | '.join(_md(c) for c in columns)} |", f"  |{'---|' * len(columns)}"]
        lines += [f"  | {' | '.join(_md(_value(row.get(c))) for c in columns)} |" for row in statement.table]
        lines.append("")
    return lines


def _md(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _START.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", " ".join(str(text).split())))


def _code(text: str) -> str:
    """A code span that no backtick in the text can end."""
    plain = " ".join(str(text).split())
    fence = "`" * (max((len(run) for run in re.findall(r"`+", plain)), default=0) + 1)
    return f"{fence}{' ' if '`' in plain else ''}{plain}{' ' if '`' in plain else ''}{fence}"


def page(card: ModelCard) -> str:
    """One HTML file that needs nothing else and runs nothing."""
    title = html.escape(_title(card))
    todo = card.missing()
    left = "".join(f"<li>{html.escape(s.text)} <span class=where>{html.escape(s.write)}</span></li>" for s in todo)
    box = f'<div class="todo"><b>Still to be written or measured: {len(todo)}</b><ul>{left}</ul></div>' if todo else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f'<meta name="viewport" content="width=device-width"><title>{title}</title><style>{_STYLE}</style></head><body>'
        f'<h1>{title}</h1><p class="about">{html.escape(_made(card))}</p>{box}'
        f"{''.join(map(_section, card.sections))}</body></html>\n"
    )


def _section(section: Section) -> str:
    about = f'<p class="about">{html.escape(section.about)}</p>' if section.about else ""
    items = "".join(f"<li>{_statement(s)}</li>" for s in section.statements)
    return f"<h2>{html.escape(section.title)}</h2>{about}<ul>{items}</ul>"


def _statement(statement: Statement) -> str:
    text = html.escape(statement.text)
    if statement.missing:
        where = html.escape(statement.write)
        return f'<span class="missing"><b>Missing:</b> {text}</span> <span class="where">{where}</span>'
    return f'{text}<span class="src">{html.escape(statement.source)}</span>{_table(statement)}'


def _table(statement: Statement) -> str:
    if not statement.table:
        return ""
    columns = list(statement.table[0])
    numeric = {c for c in columns if all(isinstance(r.get(c), int | float | None) for r in statement.table)}
    kind = {c: ' class="n"' if c in numeric else "" for c in columns}
    head = "".join(f"<th{kind[c]}>{html.escape(str(c))}</th>" for c in columns)
    body = "".join(
        f"<tr>{''.join(f'<td{kind[c]}>{html.escape(_value(row.get(c)))}</td>' for c in columns)}</tr>"
        for row in statement.table
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _value(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _title(card: ModelCard) -> str:
    return f"{'Technical documentation' if isinstance(card, Dossier) else 'Model card'}: {card.ref}"


def _made(card: ModelCard) -> str:
    order = f" Order: {card.order}." if isinstance(card, Dossier) else ""
    return f"Written from the store on {clock.iso(card.at)}; each statement names what shows it.{order}"


RENDERED: Mapping[str, Callable[[ModelCard], str]] = {".md": markdown, ".html": page, ".htm": page}
