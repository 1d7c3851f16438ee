"""Which modules a zygote may import before it forks, and importing them without starting a thread.

Only modules known to be safe are on the list: an import that starts threads, opens a device (CUDA) or a connection
would leave a forked kernel with half of it. Nor the project's own modules, which change between two runs.
"""

from __future__ import annotations

import importlib
import os
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# What `python -m ipykernel_launcher` imports by itself, or with the first cell.
BASE = (
    "zmq", "tornado.ioloop", "tornado.platform.asyncio", "IPython", "ipykernel_launcher", "ipykernel.kernelapp",
    "ipykernel.ipkernel", "ipykernel.debugger", "ipykernel.zmqshell", "ipykernel.comm", "IPython.core.completerlib",
    "IPython.core.debugger", "IPython.core.oinspect", "IPython.core.history", "IPython.core.logger",
    "IPython.extensions.storemagic", "psutil", "sqlite3",
)  # fmt: skip
# Each was imported in a zygote, and its process had one thread and no new open file or connection afterwards.
_SAFE = frozenset(
    {"PIL", "fsspec", "ipywidgets", "joblib", "matplotlib", "nbmlops", "numpy", "pandas", "pyarrow", "scipy", "skops",
     "sklearn", "sqlalchemy", "threadpoolctl", "yaml"}
)  # fmt: skip
# Parts that change their library when imported, choose a backend, or are not for notebooks.
_NEVER = frozenset({"backends", "conftest", "distutils", "experimental", "f2py", "pylab", "testing", "tests"})
# A stage opens a store and a run: what that loads, of ours and of others.
_ALONG = {
    "nbmlops": (
        "nbmlops.magics", "nbmlops.fluent", "nbmlops.session", "nbmlops.workspace", "nbmlops.capture", "nbmlops.runs",
        "nbmlops.datasets", "nbmlops.models", "nbmlops.store.engine", "nbmlops.store.migrations", "nbmlops.flows",
        "sqlalchemy.dialects.sqlite",
    ),
}  # fmt: skip
# Read when a library is loaded, and then too late to change: no thread may be there at the fork.
_QUIET = {"OPENBLAS_NUM_THREADS": "1"}
# What a zygote had loaded when it forked this process: nobody here has asked for it yet. Empty in any other process.
FORKED_WITH: set[str] = set()
_JEMALLOC = "JE_ARROW_MALLOC_CONF"  # pyarrow starts jemalloc's background thread when it is loaded


def preloadable(modules: Iterable[str]) -> list[str]:
    """Of the imports of notebooks, those that a zygote may import for them; sorted, each once.

    ``nbmlops`` stands for all that a stage needs of it. Pass the imports of all notebooks of a pipeline at once:
    kernels share a zygote where they share the list.
    """
    found = set()
    for module in modules:
        parts = module.split(".")
        if not all(part.isidentifier() for part in parts) or parts[0] not in _SAFE:
            continue
        if parts[0] == "nbmlops":
            found.add("nbmlops")
        elif not any(part.startswith("_") or part in _NEVER for part in parts):
            found.add(module)
    return sorted(found)


def load(modules: Iterable[str]) -> list[str]:
    """Import the modules, quietly as to threads; a line for each that cannot be, which is only a slower start."""
    saved = {name: os.environ.get(name) for name in (*_QUIET, _JEMALLOC, "MPLBACKEND")}
    os.environ.update(_QUIET)
    os.environ[_JEMALLOC] = ",".join(filter(None, (saved[_JEMALLOC], "background_thread:false")))
    # matplotlib reads it when imported; ipykernel sets it only when a kernel starts.
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    faults = []
    for module in modules:
        for name in (module, *_ALONG.get(module, ())):
            try:
                importlib.import_module(name)
            except (Exception, SystemExit) as error:  # any module may fail in any way; the kernel then tells the user
                faults.append(f"{name}: {error!r}")
    for name, value in saved.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    # Imported while there is no shell, it would never hook the figures of the shell to come.
    for name in [m for m in sys.modules if m.partition(".")[0] == "matplotlib_inline"]:
        del sys.modules[name]
    return faults


@dataclass(frozen=True)
class Base:
    """What every kernel has from its own start: the modules, and what their imports put into the environment."""

    modules: frozenset[str]
    environment: dict[str, str]


def load_base() -> tuple[Base, list[str]]:
    """Import what ipykernel imports; and a line for each module that cannot be."""
    before = dict(os.environ)
    faults = load(BASE)
    added = {name: value for name, value in os.environ.items() if before.get(name) != value}
    return Base(frozenset(sys.modules), added), faults


def threads() -> int:
    """How many threads the operating system sees in this process; a fork copies only one of them."""
    return len(os.listdir("/proc/self/task"))


def settle(seconds: float = 1.0) -> int:
    """Wait for threads that are about to end (a timer of matplotlib's); the number that is left."""
    end = time.monotonic() + seconds
    while (count := threads()) > 1 and time.monotonic() < end:
        time.sleep(0.01)
    return count


def stamps() -> dict[str, int]:
    """When what was imported was last changed, in nanoseconds.

    An installation changes the folders of installed packages. Files elsewhere (an editable installation, PYTHONPATH)
    are taken one by one.
    """
    return {path: os.stat(path).st_mtime_ns for path in _watched() if os.path.exists(path)}


def changed(before: dict[str, int]) -> str:
    """The first file or folder that is no longer as it was, else an empty text."""
    for path, when in before.items():
        try:
            now = os.stat(path).st_mtime_ns
        except OSError:
            return path
        if now != when:
            return path
    return ""


def _watched() -> Iterator[str]:
    installed = sorted({sysconfig.get_path(name) for name in ("purelib", "platlib")})
    installed += [path for path in sys.path if Path(path).name in {"site-packages", "dist-packages"}]
    yield from dict.fromkeys(installed)
    yield os.path.realpath(sys.executable)
    ours = tuple(os.path.join(path, "") for path in (*installed, sysconfig.get_path("stdlib")))
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and path.startswith(os.sep) and not path.startswith(ours):
            yield path
