"""Who acts, and on behalf of which run: the only thing that differs between a cell, a stage and a script.

Desks ask for the current :class:`Context`; they never look at globals or at the environment.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nbmlops import settings
from nbmlops.errors import InvalidValue

# A pipeline hands these to the kernels it starts, as one JSON object: see ``Context.from_environment``.
VARIABLE = "NBMLOPS_CONTEXT"


Touch = Callable[[str, str, str, str], None]


def _unnoticed(kind: str, subject: str, name: str = "", mode: str = "write") -> None:
    """Outside a notebook nobody asks which cell it was."""


@dataclass(frozen=True)
class Context:
    """Who acts, in which run, notebook and cell, and which data set and model versions are pinned.

    ``pins`` maps ``dataset:NAME`` and ``model:NAME`` to the version meant when a reference names none.
    ``candidate`` is true inside a sweep that selects: a registered model is then only proposed. ``touch`` notes what
    the running cell logs, reads or makes: see :class:`nbmlops.records.CellTouch`. ``reproducing`` is the folder of the
    scratch store inside a clean run, and empty elsewhere.
    """

    user: str
    host: str = ""
    run_id: str | None = None
    cell_id: str | None = None
    notebook: str | None = None
    flow_id: str | None = None
    stage: str | None = None
    pins: dict[str, int] = field(default_factory=dict)
    candidate: bool = False
    reproducing: str = ""
    touch: Touch = field(default=_unnoticed, compare=False, repr=False)

    def to_environment(self) -> dict[str, str]:
        """The variables that make a child process act in this context."""
        kept = {k: v for k, v in self.__dict__.items() if k not in {"host", "cell_id", "touch"} and v}
        return {VARIABLE: json.dumps(kept)}


ContextSource = Callable[[], Context]


def reproducing() -> str:
    """The folder of the scratch store, where this process belongs to a clean run; else the empty string."""
    raw = os.environ.get(VARIABLE)
    return from_environment().reproducing if raw and '"reproducing"' in raw else ""


def who() -> str:
    """The JupyterHub user, else ``NBMLOPS_USER`` or the setting ``user``, else the operating system's user."""
    if user := os.environ.get("JUPYTERHUB_USER") or settings.value("user"):
        return user
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's anonymous uid has no name
        return f"uid-{os.getuid()}"


def hostname() -> str:
    return socket.gethostname()


def from_environment() -> Context:
    """The context a pipeline gave to this process, else just the user.

    Raises:
        InvalidValue: the variable is not what a pipeline writes.
    """
    raw = os.environ.get(VARIABLE)
    if not raw:
        return Context(user=who(), host=hostname())
    try:
        given: dict[str, Any] = json.loads(raw)
        return Context(host=hostname(), **given)
    except (ValueError, TypeError) as error:
        raise InvalidValue(
            f"{VARIABLE} does not hold a context: {error}", f"unset {VARIABLE}; pipelines set it"
        ) from error
