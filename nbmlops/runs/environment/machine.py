"""Python, the system, the processor, and the libraries that compute: what moves the last digits of a result."""

from __future__ import annotations

import contextlib
import functools
import locale
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_GIB = 1 << 30
_GPU_SECONDS = 3.0
_LONGEST = 200  # characters of a variable
# Which instructions a library may choose between: another choice adds in another order.
_FEATURES = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "asimd", "sve", "sve2")
# Names of the files of BLAS and OpenMP libraries, before they are asked what they are.
_COMPUTES = re.compile(r"/(?:lib)?(?:scipy_openblas|openblas|mkl_rt|blis|flexiblas|gomp|omp|iomp)[^/]*$", re.I)
_CONTROLLERS = ("OpenBLASController", "MKLController", "BLISController", "FlexiBLASController", "OpenMPController")
VARIABLES = (
    "OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "OMP_DYNAMIC", "OMP_SCHEDULE", "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS",
    "OPENBLAS_CORETYPE", "MKL_NUM_THREADS", "MKL_DYNAMIC", "MKL_CBWR", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "NUMEXPR_MAX_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS", "LOKY_MAX_CPU_COUNT", "NPY_DISABLE_CPU_FEATURES",
    "CUBLAS_WORKSPACE_CONFIG", "CUDA_VISIBLE_DEVICES", "TF_DETERMINISTIC_OPS", "TF_ENABLE_ONEDNN_OPTS",
    "PYTHONHASHSEED", "LANG", "LC_ALL", "LC_CTYPE", "LC_NUMERIC", "LC_COLLATE", "TZ",
)  # fmt: skip


@functools.cache
def fixed() -> dict[str, Any]:
    """What stays as it is as long as the process lives; nothing that changes by itself, such as load or free memory."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "build": _build(),
        "os": _system(),
        "cpu": _cpu(),
        **_memory(),
        **_gpus(),
    }


def changing() -> dict[str, Any]:
    """What code may change while it runs: variables, threads, and the libraries that have been loaded until now."""
    return {
        "variables": {name: os.environ[name][:_LONGEST] for name in VARIABLES if name in os.environ},
        "locale": locale.setlocale(locale.LC_ALL),
        "timezone": list(time.tzname),
        "libraries": libraries(),
        **_cuda(),
    }


def _build() -> dict[str, Any]:
    """How this Python was built, and what kind of an installation it is; not where."""
    conda = os.path.isdir(os.path.join(sys.prefix, "conda-meta"))
    kind = "conda environment" if conda else "virtual environment" if sys.prefix != sys.base_prefix else "system"
    random_hashes = os.environ.get("PYTHONHASHSEED", "random") if sys.flags.hash_randomization else "0"
    return {
        "compiler": platform.python_compiler(),
        "number": " ".join(platform.python_build()),
        "abi": (sys.implementation.cache_tag or "") + getattr(sys, "abiflags", ""),
        "gil": bool(getattr(sys, "_is_gil_enabled", lambda: True)()),
        "kind": kind,
        "hash_seed": random_hashes or "random",
    }


def _system() -> dict[str, str]:
    found = {"system": platform.system(), "release": platform.release()}
    with contextlib.suppress(OSError):
        found["name"] = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    with contextlib.suppress(ValueError, OSError, AttributeError):  # no such name: not the GNU C library
        found["libc"] = os.confstr("CS_GNU_LIBC_VERSION") or ""
    if not found.get("libc"):
        found["libc"] = " ".join(filter(None, platform.libc_ver()))
    return found


def _cpu() -> dict[str, Any]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found: dict[str, Any] = {"model": platform.processor(), "count": os.cpu_count(), "usable": usable}
    first: dict[str, str] = {}
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:  # only of the first processor: a hundred others say the same
            if not line.strip():
                break
            name, _, value = line.partition(":")
            first[name.strip()] = value.strip()
    if first:
        found["model"] = first.get("model name") or first.get("CPU part") or found["model"]
        has = set((first.get("flags") or first.get("Features") or "").split())
        found["features"] = [name for name in _FEATURES if name in has]
    return found


def _memory() -> dict[str, float]:
    """In GiB, to a tenth: the pages that a machine has vary a little from one boot to the next."""
    with contextlib.suppress(ValueError, OSError, AttributeError):
        return {"memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GIB, 1)}
    return {}


def _gpus() -> dict[str, list[dict[str, str]]]:
    """Name, driver and memory of each NVIDIA GPU; an empty list where there is none, nothing where it is not known."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return {"gpus": []}
    command = [program, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=_GPU_SECONDS, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return {}
    if said.returncode:
        return {"gpus": []}
    rows = [[part.strip() for part in line.split(",")] for line in said.stdout.splitlines()]
    return {"gpus": [dict(zip(("name", "driver", "memory"), row, strict=True)) for row in rows if len(row) == 3]}


def _cuda() -> dict[str, str]:
    """The CUDA that PyTorch was built for, if PyTorch has been loaded."""
    version = getattr(getattr(sys.modules.get("torch"), "version", None), "cuda", None)
    return {"cuda": str(version)} if version else {}


def libraries() -> list[dict[str, Any]]:
    """BLAS and OpenMP libraries of this process: ``api library version threads``, and ``architecture`` of the kernels.

    Only those that are loaded; nothing is loaded to be asked.
    """
    found = [_told(one) for one in _loaded(len(sys.modules))]
    return sorted(found, key=lambda one: [str(value) for value in one.values()])


@functools.lru_cache(1)
def _loaded(_modules: int) -> list[Any]:
    """What threadpoolctl knows each library by; looked for again when further modules have been imported.

    The files are read from the map of the process: ``threadpool_info`` of older versions walks through the loader's
    list and takes the GIL within, which stops both threads for ever if another one imports an extension meanwhile.
    """
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    paths = sorted({"/" + line.partition("/")[2] for line in lines})
    found = [_controller(path, os.path.basename(path).lower()) for path in paths if _COMPUTES.search(path)]
    return [one for one in found if one is not None]


def _controller(path: str, name: str) -> Any:
    """None if threadpoolctl does not know the library, or is not there."""
    try:
        import threadpoolctl
    except ImportError:
        return None
    for kind in filter(None, (getattr(threadpoolctl, one, None) for one in _CONTROLLERS)):
        prefix = next((one for one in kind.filename_prefixes if name.startswith(one)), None)
        if prefix is not None:
            with contextlib.suppress(Exception):  # a file of that name that is no such library
                return kind(filepath=path, prefix=prefix)
    return None


def _told(controller: Any) -> dict[str, Any]:
    blas = controller.user_api == "blas"
    found = {
        "api": controller.user_api,
        "library": controller.internal_api if blas else controller.prefix,
        "version": controller.version or "",
        "threads": controller.num_threads,
        "architecture": getattr(controller, "architecture", ""),
        "layer": getattr(controller, "threading_layer", ""),
    }
    return {name: value for name, value in found.items() if value not in ("", None)}
