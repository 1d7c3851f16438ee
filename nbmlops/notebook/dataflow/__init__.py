"""What cells do to each other's names: definitions, uses, changes in place, and the cells behind a result.

Nothing is executed. Cells are followed in an order, as a kernel would execute them, with objects that know which step
made them and a version that stands for how.
"""

from __future__ import annotations

from nbmlops.notebook.dataflow.slices import Behind, Dataflow, Effects

__all__ = ["Behind", "Dataflow", "Effects"]
