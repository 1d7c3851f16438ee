"""Emptying an IPython shell that many tests share."""

from __future__ import annotations

import gc
from typing import Any


def emptied(shell: Any, *, new_session: bool = True) -> Any:
    """The shell without the names and history of the test before.

    IPython collects garbage for it, which takes a third of a second where pandas and scikit-learn are loaded; what is
    left then is no garbage, and is not looked through again.
    """
    shell.reset(new_session=new_session)
    gc.freeze()
    return shell
