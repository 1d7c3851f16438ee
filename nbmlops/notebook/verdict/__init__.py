"""Would a clean run of the notebook give what was recorded? A verdict, with the cells that are to blame.

The executions as they were recorded, and the notebook's cells from top to bottom, are followed side by side without
executing anything; where a cell used something else than it would in a clean run, its makers tell why.
"""

from __future__ import annotations

from nbmlops.notebook.verdict.checking import check, check_document

__all__ = ["check", "check_document"]
