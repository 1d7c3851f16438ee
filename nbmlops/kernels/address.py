"""Where the zygote is that can fork a given kernel: its key, its socket, and the environment it starts with."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import stat
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Read by Python, the loader, allocators and libraries only when they start: no fork can change them afterwards. Found
# by recording what the imports of preload.py look up. The number of BLAS threads is not here: it can be set later.
_AT_START = (
    "ARROW_", "BLIS_", "DASK_", "DEBUGPY_", "DEBUG_PYDEVD_", "FSSPEC_", "GEVENT_", "GLIBC_", "GOMP_", "GOTO_",
    "IPYTHON_", "JE_ARROW_", "JOBLIB_", "JUPYTER_PLATFORM_DIRS", "JUPYTER_WIDGETS_ECHO", "KMP_", "LANG", "LC_", "LD_",
    "LOKY_", "MALLOC_", "MATPLOTLIB", "MKL_", "MPL", "MSGPACK_", "NPY_", "NUMPY_", "OMP_", "OPENBLAS_", "OPENSSL_",
    "PANDAS_", "PILLOW_", "PSUTIL_", "PYCHARM_", "PYDEVD_", "PYDEV_", "PYPARSING", "PYTHON", "PYZMQ_", "SCIPY_",
    "SKLEARN_", "SQLALCHEMY_", "SSL_CERT_", "TORNADO_", "TRAITLETS_", "XDG_",
)  # fmt: skip
_AT_START_EXACT = frozenset({"DISPLAY", "HOME", "SOURCE_DATE_EPOCH", "TERM", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV"})
_LATER = frozenset({"OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS"})
_NAMESPACES = ("pid", "mnt", "net", "user")
_MOST_PATH = 100  # bytes; the path of a unix socket holds 107
_NAME = "nbmlops-kernels"


@dataclass(frozen=True)
class Wish:
    """What a kernel needs of its zygote; kernels with equal wishes share one."""

    python: str
    options: tuple[str, ...]
    preload: tuple[str, ...]
    environment: dict[str, str]

    def key(self) -> str:
        """A name that differs wherever a kernel forked from the zygote would differ from a fresh one."""
        parts = [self.python, *self.options, "", *self.preload, ""]
        parts += [f"{name}={value}" for name, value in sorted(self.environment.items())]
        parts += ["", *_process()]
        return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()[:16]


def wish(
    python: str, preload: Sequence[str], environment: Mapping[str, str], *, cwd: str = "", options: Sequence[str] = ()
) -> Wish:
    """The zygote for a kernel with this interpreter, these preloads, and this whole environment.

    The zygote's own environment is only what its key holds, so nothing of the kernel that happened to start it (a
    secret, a run's id) reaches the others.
    """
    found = {
        name: value
        for name, value in environment.items()
        if (name.startswith(_AT_START) or name in _AT_START_EXACT) and name not in _LATER
    }
    if path := found.get("PYTHONPATH"):  # Python makes its entries absolute when it starts, by its own folder
        found["PYTHONPATH"] = os.pathsep.join(os.path.normpath(os.path.join(cwd, p)) for p in path.split(os.pathsep))
    return Wish(python, tuple(options), tuple(preload), found)


def _process() -> list[str]:
    """What a child has from its parent, or cannot change: it must be as if the manager were the parent."""
    parts = [sys.version, str(sorted(os.sched_getaffinity(0))), str(os.getpriority(os.PRIO_PROCESS, 0))]
    parts += [str(os.geteuid()), str(os.getegid()), str(sorted(os.getgroups()))]
    parts += [str(resource.getrlimit(number)[1]) for number in limits()]
    for name in _NAMESPACES:
        parts.append(os.readlink(f"/proc/self/ns/{name}"))
    for path in ("/proc/self/cgroup", "/proc/sys/kernel/random/boot_id"):
        parts.append(Path(path).read_text(errors="replace") if os.path.exists(path) else "")
    return parts


def limits() -> list[int]:
    """The numbers of all resource limits that this system has."""
    return sorted({value for name, value in vars(resource).items() if name.startswith("RLIMIT_")})


def folder(runtime: str) -> str:
    """The private folder for sockets, made where it is missing; a short one elsewhere where its path is too long.

    Raises:
        PermissionError: the folder exists and is another user's, or not private and cannot be made so.
    """
    path = os.path.join(runtime, _NAME)
    if len(os.fsencode(path)) + 22 > _MOST_PATH:
        mark = hashlib.sha256(os.fsencode(runtime)).hexdigest()[:8]
        path = os.path.join(tempfile.gettempdir(), f"{_NAME}-{os.geteuid()}-{mark}")
        if len(os.fsencode(path)) + 22 > _MOST_PATH:
            path = os.path.join("/tmp", os.path.basename(path))  # noqa: S108  private: it is checked below
    else:
        os.makedirs(runtime, mode=0o700, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        Path(path).mkdir(mode=0o700)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{path} is not a folder of this user's own")
    if stat.S_IMODE(found.st_mode) & 0o077:
        os.chmod(path, 0o700)
    return path
