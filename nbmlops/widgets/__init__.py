"""Interactive views: anywidget modules in the package, no build step, no network, and a static twin of each.

``table(records)`` is a table widget, ``Dashboard(workspace)`` the dashboard, ``dashboard_page(workspace)`` the
dashboard as one HTML page. Importing this package alone imports nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbmlops.widgets.dashboard import Dashboard, dashboard_page
    from nbmlops.widgets.tables import Table, table

__all__ = ["Dashboard", "Table", "dashboard_page", "table"]

_HOMES = {"Dashboard": "dashboard", "dashboard_page": "dashboard", "Table": "tables", "table": "tables"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"nbmlops.widgets.{_HOMES[name]}"), name)
