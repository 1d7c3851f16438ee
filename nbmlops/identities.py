"""Who acts, how that is known, and in which roles."""

from __future__ import annotations

import getpass
import os

from nbmlops import settings
from nbmlops.context import Context
from nbmlops.records import Identity
from nbmlops.store import Store

ADMIN = "admin"


def administrators(store: Store) -> list[str]:
    """Who has the role ``admin``; as long as nobody has, everybody may grant roles and change rules."""
    return []


def acting(store: Store, context: Context, *, strict: bool = False) -> Identity:
    """Who acts: the JupyterHub user, else the setting ``user``, else the operating system's user.

    Args:
        store: knows who has which roles.
        context: as the workspace has it.
        strict: a name that anybody can set does not count, as where roles are required.
    """
    if os.environ.get("JUPYTERHUB_USER") == context.user:
        return Identity(context.user, "jupyterhub")
    if settings.value("user") == context.user:
        return Identity(_os_user(), "os") if strict else Identity(context.user, "setting")
    return Identity(context.user, "os")


def _os_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's anonymous uid has no name
        return f"uid-{os.getuid()}"
