"""A sortable, filterable table of runs, data sets, models or anything else that has columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import traitlets

from nbmlops.display import Column, html_table, text_table
from nbmlops.display.listing import visible
from nbmlops.widgets import esm
from nbmlops.widgets.view import View
from nbmlops.widgets.views import table_payload

MOST_TWIN = 2000  # rows that the saved notebook keeps
MOST_BARE = 50  # rows for readers that run no script


class Table(View):
    """The widget. ``ids`` names each row; ``selected`` holds the ids of the rows that are ticked."""

    _esm = esm.source("table")
    _css = esm.css()
    kind = traitlets.Unicode("rows").tag(sync=True)
    columns: traitlets.List[Any] = traitlets.List().tag(sync=True)
    rows: traitlets.List[Any] = traitlets.List().tag(sync=True)
    ids = traitlets.List(traitlets.Unicode()).tag(sync=True)
    selected = traitlets.List(traitlets.Unicode()).tag(sync=True)

    def static_html(self) -> str:
        """The table as a fragment that needs neither kernel nor network; at most ``MOST_TWIN`` rows."""
        state = {k: getattr(self, k) for k in ("kind", "columns", "rows", "ids", "selected")}
        state["rows"], state["ids"] = self.rows[:MOST_TWIN], self.ids[:MOST_TWIN]
        left_out = len(self.rows) - len(state["rows"])
        state["note"] = f"the first {MOST_TWIN:,} of {len(self.rows):,} rows" if left_out else ""
        return esm.twin("table", state, self._bare(), self.token)

    def text(self) -> str:
        """The table as aligned text."""
        columns, rows = self._visible()
        more = f"\n… and {len(rows) - MOST_BARE} more" if len(rows) > MOST_BARE else ""
        return (text_table(rows[:MOST_BARE], columns) if rows else f"no {self.kind} yet") + more

    def _bare(self) -> str:
        columns, rows = self._visible()
        return html_table(rows[:MOST_BARE], columns or ["nothing here yet"], self.kind)

    def _visible(self) -> tuple[list[Column], list[list[Any]]]:
        return visible([Column(c["key"], c["title"], c["kind"], c["hidden"]) for c in self.columns], self.rows)


def table(records: Sequence[Any], kind: str = "rows") -> Table:
    """A table widget of records; show it as the last value of a cell, and read ``.selected`` afterwards."""
    return Table(**table_payload(records, kind))
