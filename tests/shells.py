"""The IPython shells that many tests share."""

from __future__ import annotations

import functools
import gc
from typing import Any


@functools.cache
def started() -> Any:
    """IPython as it starts in a terminal: it does so once in a process, and says nothing when it is asked again."""
    from IPython.testing.globalipapp import start_ipython

    return start_ipython()


def bare() -> Any:
    """A shell that keeps no history on the disk, for cells that are recorded."""
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    shell.history_manager.enabled = False
    return shell


def emptied(shell: Any, *, new_session: bool = True) -> Any:
    """The shell without the names and history of the test before.

    IPython collects garbage for it, which takes a third of a second where pandas and scikit-learn are loaded; what is
    left then is no garbage, and is not looked through again.
    """
    shell.reset(new_session=new_session)
    gc.freeze()
    return shell
