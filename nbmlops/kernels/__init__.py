"""Warm kernels: ipykernel forked from a process that has imported the heavy modules already (Linux only).

``available`` says whether they are safe here, ``make_warm`` turns a kernel manager's kernel into one, ``preloadable``
picks what to import from what notebooks import, ``stop_all`` ends the processes that wait. See docs/kernels.md.

The zygote imports this package: it stays light, and whatever needs Jupyter is inside functions.
"""

from __future__ import annotations

import os
import socket
import sys
import sysconfig
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nbmlops.kernels.preload import preloadable

if TYPE_CHECKING:
    from jupyter_client.kernelspec import KernelSpec

__all__ = ["available", "make_warm", "preloadable", "stop_all", "warm_spec"]


def available() -> str:
    """An empty text where warm kernels are safe here, else the reason in words."""
    if sys.platform != "linux":
        return f"warm kernels need Linux, and this is {sys.platform}"
    if sys.implementation.name != "cpython":
        return f"warm kernels need CPython, and this is {sys.implementation.name}"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "warm kernels are not tried on free-threaded Python"
    if not (hasattr(os, "fork") and hasattr(socket, "send_fds") and hasattr(os, "pidfd_open")):
        return "this Python has no fork, send_fds or pidfd_open"
    try:
        os.close(os.pidfd_open(os.getpid()))
        os.listdir("/proc/self/task")
        os.readlink("/proc/self/ns/pid")
    except OSError as error:
        return f"this system does not let processes be watched: {error}"
    return ""


def warm_spec(preload: Iterable[str], python: str = sys.executable) -> KernelSpec:
    """A kernelspec for ipykernel that is forked from a zygote with these modules; ``register`` is called for it."""
    from nbmlops.kernels import spec

    return spec.warm_spec(preload, python)


def make_warm(km: Any, preload: Iterable[str]) -> str:
    """Have this kernel manager's ipykernel start warm; an empty text, or why it will start the usual way.

    Call it before the kernel starts. Its kernelspec keeps everything else. A start that finds no usable zygote falls
    back to the usual one; afterwards ``km.provisioner.usual`` says why, or is empty.
    """
    from nbmlops.kernels import spec

    return available() or spec.make_warm(km, preload)


def stop_all(folder: str | os.PathLike[str] | None = None) -> int:
    """End the zygotes of a Jupyter runtime folder (this user's by default), each after its last kernel; how many."""
    from nbmlops.kernels import client

    return client.stop_all(folder)
