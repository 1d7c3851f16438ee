"""Records as HTML and as text: pure functions, registered with IPython by name so that nothing is imported early."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbmlops import records
from nbmlops.display import markup, plain
from nbmlops.display.cards import BUILDERS, card
from nbmlops.display.listing import Listing, table_of
from nbmlops.display.shape import Column

__all__ = [
    "Column",
    "Listing",
    "html",
    "html_table",
    "mimebundle",
    "register",
    "table_of",
    "text",
    "text_table",
    "tree",
    "unregister",
]


def html(record: Any) -> str:
    """A record as a small card: no script, everything escaped."""
    return markup.card_html(card(record))


def text(record: Any, room: int | None = None) -> str:
    """A record as plain lines, of at most ``room`` characters where that is given."""
    return plain.card_text(card(record), room)


def html_table(rows: Sequence[Sequence[Any]], columns: Sequence[Column | str], title: str = "") -> str:
    """Rows as an HTML table; a column is a :class:`Column` or just its title."""
    return markup.table_html(_columns(columns), rows, title)


def text_table(rows: Sequence[Sequence[Any]], columns: Sequence[Column | str]) -> str:
    """Rows as aligned text."""
    return plain.table(_columns(columns), rows)


def tree(lineage: Any) -> str:
    """A lineage as a plain-text tree; what appears twice is told once."""
    return plain.tree(lineage)


def mimebundle(record: Any) -> dict[str, str]:
    """What ``display(…, raw=True)`` takes: ``text/html`` and ``text/plain`` of a record or a :class:`Listing`."""
    if isinstance(record, Listing):
        return {"text/html": record._repr_html_(), "text/plain": repr(record)}
    return {"text/html": html(record), "text/plain": text(record)}


def register(ip: Any) -> None:
    """Show records as cards in this IPython shell; takes effect also for records imported later."""
    rich, bare = _formatters(ip)
    for name in BUILDERS:
        rich.for_type_by_name(_home(name), name, html)
        bare.for_type_by_name(_home(name), name, _pretty)


def unregister(ip: Any) -> None:
    """Show records by their plain ``repr`` again."""
    for formatter in _formatters(ip):
        for name in BUILDERS:
            formatter.pop(f"{_home(name)}.{name}", None)


def _home(name: str) -> str:
    """The module that IPython knows a record class by."""
    return str(getattr(records, name).__module__)


def _formatters(ip: Any) -> tuple[Any, Any]:
    return ip.display_formatter.formatters["text/html"], ip.display_formatter.formatters["text/plain"]


def _pretty(record: Any, printer: Any, cycle: bool) -> None:
    # A record inside a list or dict keeps its one-line repr.
    printer.text(text(record) if not printer.stack[:-1] else repr(record))


def _columns(columns: Sequence[Column | str]) -> list[Column]:
    return [c if isinstance(c, Column) else Column(c, c) for c in columns]
