"""Where a run comes from: notebook or script, git commit and uncommitted changes."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
import time
from typing import Any

from nbmlops.notebook.place import kernel_id, notebook_path

_GIT_SECONDS = 5.0  # a working tree looked at this recently is not looked at again
_DIFF_BYTES = 5_000_000
_git_cache: dict[str, tuple[float, dict[str, Any] | None, bytes]] = {}
_lock = threading.Lock()


def source(injected: str | None = None) -> dict[str, Any]:
    """What is running here, found out without waiting: type, path, process and, in a notebook, the kernel.

    Args:
        injected: the notebook's path, where a pipeline knows it.
    """
    facts: dict[str, Any] = {"cwd": os.getcwd(), "pid_namespace": pid_namespace()}
    kernel = kernel_id()
    path = notebook_path(injected)
    if path:
        return {"type": "notebook", "path": path, "kernel_id": kernel, **facts}
    if kernel:
        return {"type": "notebook", "path": "", "kernel_id": kernel, **facts}
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if script:
        return {"type": "script", "path": os.path.abspath(script), **facts}
    return {"type": "interactive", "path": "", **facts}


@functools.cache
def pid_namespace() -> str:
    """Tells containers that share a host name, and a store, apart; empty where unknown."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def cached_git(folder: str) -> tuple[dict[str, Any] | None, bytes] | None:
    """What :func:`git` said within the last seconds, or None."""
    found = _git_cache.get(folder)
    return (found[1], found[2]) if found and time.monotonic() - found[0] < _GIT_SECONDS else None


def git(folder: str) -> tuple[dict[str, Any] | None, bytes]:
    """Commit, branch and whether files differ, and the difference itself; (None, b"") outside a repository."""
    with _lock:
        if (held := cached_git(folder)) is not None:
            return held
        facts, diff = _ask_git(folder)
        _git_cache[folder] = (time.monotonic(), facts, diff)
        return facts, diff


def _ask_git(folder: str) -> tuple[dict[str, Any] | None, bytes]:
    try:
        root = _git(folder, "rev-parse", "--show-toplevel").decode().strip()
    except (OSError, subprocess.SubprocessError):
        return None, b""
    facts: dict[str, Any] = {"root": root, "commit": None, "branch": None, "dirty": True}
    try:
        facts["commit"] = _git(folder, "rev-parse", "HEAD").decode().strip()
        facts["branch"] = _git(folder, "rev-parse", "--abbrev-ref", "HEAD").decode().strip()
        diff = _git(root, "diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color")
        untracked = _git(root, "ls-files", "--others", "--exclude-standard").decode(errors="replace").splitlines()
    except (OSError, subprocess.SubprocessError):  # no commit yet, or a repository too large to ask
        return facts, b""
    facts["dirty"] = bool(diff) or bool(untracked)
    facts["untracked"] = untracked[:50]
    if len(diff) > _DIFF_BYTES:
        facts["diff_cut"] = len(diff)
        diff = diff[:_DIFF_BYTES]
    return facts, diff


def _git(folder: str, *arguments: str) -> bytes:
    command = ["git", "-c", "core.fsmonitor=false", "-C", folder, *arguments]
    return subprocess.run(command, capture_output=True, check=True, timeout=20, stdin=subprocess.DEVNULL).stdout
