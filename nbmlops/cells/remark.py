"""One quiet line below a cell whose run would not come out of a clean run of the notebook."""

from __future__ import annotations

from typing import Any

from nbmlops.notebook import place, recorder
from nbmlops.notebook.outputs import REMARK
from nbmlops.records import Verdict

Said = tuple[str, tuple[str, ...]]


def tell(verdict: Verdict, before: Said | None) -> Said | None:
    """Show the line, where the verdict is ``invalid`` and somebody looks: what was said, for the next call.

    The same reason is told once, until it is gone: in a notebook that is worked on, most runs have it.

    Args:
        verdict: of the run that has just ended.
        before: what the call before returned.
    """
    if verdict.verdict != "invalid" or not verdict.findings:
        return None
    said = verdict.findings[0].kind, verdict.findings[0].names
    if said != before and is_watched():
        from IPython.display import display

        from nbmlops.display.cells import Remark

        display(Remark(verdict), metadata=REMARK)
    return said


def is_watched() -> bool:
    """Whether a cell runs that a person has before them: not a stage, not papermill, not a terminal or a script.

    Front ends for people send the cell's id and the notebook's path. What executes notebooks sends at most one of both.
    """
    here: Any = recorder.current()
    return here is not None and here.cell_id is not None and place.notebook_path() is not None
