"""In the forked child: become what ``python -m ipykernel_launcher -f FILE`` would be."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib.machinery
import io
import os
import random
import resource
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from nbmlops.kernels import preload, wire
from nbmlops.kernels.preload import Base

_FILES = 4  # standard input, output, error, and the working folder
_BLAS = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")  # in the order OpenBLAS asks for them


def blas() -> Any:
    """The BLAS libraries that are loaded, to set their threads in each child; None where that cannot be told."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController().select(user_api="blas")


def run(conn: socket.socket, base: Base, pools: Any) -> NoReturn:
    """Read the request, take on its files, folder, limits and environment, and be its kernel until the end."""
    from nbmlops.kernels import zygote

    os.setsid()  # a group of its own: an interrupt reaches the kernel and its children only
    zygote.die_with_parent()
    zygote.name_process(os.path.basename(sys.executable))
    conn.settimeout(30)
    try:
        request, files = wire.receive(conn, _FILES)
    except (OSError, ValueError):
        os._exit(1)
    conn.close()
    if request is None or len(files) != _FILES:
        os._exit(0)  # somebody who only knocked
    command: list[str] = request["command"]
    try:
        _surroundings(request, files)
        if _unfit(base.modules):
            # Its imports would find other files than the zygote's did: a fresh interpreter, in the same process.
            os.environ["JPY_PARENT_PID"] = str(os.getppid())
            os.execve(command[0], command, os.environ)  # noqa: S606
        os.environ.update({name: value for name, value in base.environment.items() if name not in os.environ})
        _fresh(command, request["environment"], pools)
    except BaseException:  # whatever it is, the process must not go back into the zygote's frames
        traceback.print_exc()
        os._exit(1)
    _end(_kernel(request["arguments"]))


def _surroundings(request: Mapping[str, Any], files: list[int]) -> None:
    for target, file in enumerate(files[:3]):
        os.dup2(file, target)
    os.fchdir(files[3])
    for file in files:
        os.close(file)
    os.umask(request["umask"])
    for number, soft, hard in request["limits"]:
        with contextlib.suppress(ValueError, OSError):  # a limit below what is in use, or above what is allowed
            resource.setrlimit(number, (soft, hard))
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()


def _unfit(base: frozenset[str]) -> bool:
    """Whether the working folder has a file of its own for something that was preloaded."""
    if os.path.exists("matplotlibrc") and "matplotlib" in sys.modules:
        return True
    here = os.getcwd()
    for name in {m.partition(".")[0] for m in sys.modules.keys() - base} - base - sys.stdlib_module_names:
        spec = importlib.machinery.PathFinder.find_spec(name, [here])
        if spec is not None and spec.origin and spec.has_location:
            loaded = getattr(sys.modules.get(name), "__file__", None)
            if not (loaded and os.path.exists(loaded) and Path(loaded).samefile(spec.origin)):
                return True
    return False


def _fresh(command: list[str], environment: Mapping[str, str], pools: Any) -> None:
    """What a process has from its start, and a fork would share with its sisters."""
    import ipykernel_launcher

    sys.orig_argv = list(command)
    sys.argv = [ipykernel_launcher.__file__, *command[command.index("ipykernel_launcher") + 1 :]]
    tempfile.tempdir = None
    random.seed()
    if numpy := sys.modules.get("numpy.random"):
        numpy.seed(None)  # else all kernels of a sweep draw the same numbers
    if process := sys.modules.get("multiprocessing.process"):
        process.current_process().authkey = os.urandom(32)
    if pools is not None:
        asked = (environment.get(name, "").partition(",")[0] for name in _BLAS)
        most = len(os.sched_getaffinity(0))
        pools.limit(limits=min(most, next((int(text) for text in asked if text.isdigit() and int(text)), most)))
    preload.FORKED_WITH.update(sys.modules)
    gc.enable()  # what was frozen stays so


def _kernel(arguments: list[str]) -> int:
    """Run ipykernel; the exit code its process would have."""
    from ipykernel.kernelapp import IPKernelApp

    try:
        app = IPKernelApp.instance()
        # Its default was read when the class was made, in the zygote; and it is compared with the parent's id.
        app.parent_handle = os.getppid()
        app.initialize(arguments)
        app.start()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # as the interpreter does with an exception that nobody takes
        traceback.print_exc(file=sys.__stderr__)
        return 1
    return 0


def _end(code: int) -> NoReturn:
    """End as the interpreter does, except for freeing what was preloaded: that copies it first, and takes a second."""
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are no daemons
    atexit._run_exitfuncs()
    with contextlib.suppress(Exception):  # nothing is left to report it to
        _drop_names()
    for item in gc.get_objects():
        if issubclass(type(item), io.IOBase) and not issubclass(type(item), io.RawIOBase):
            with contextlib.suppress(Exception):  # closed, detached, or on a full disk: the interpreter is as silent
                item.flush()
    with contextlib.suppress(Exception):
        ctypes.CDLL(None).fflush(None)
    os._exit(code & 0xFF)


def _drop_names() -> None:
    """Drop what the user's names hold, so that files and archives are closed and ``__del__`` is called."""
    from ipykernel.kernelapp import IPKernelApp

    sys.last_value = sys.last_traceback = None  # type: ignore[assignment]
    if IPKernelApp.initialized() and (shell := IPKernelApp.instance().shell) is not None:
        if shell.history_manager is not None:
            shell.history_manager.output_hist.clear()
        shell.user_ns.clear()
        shell.user_ns_hidden.clear()
    gc.collect()
