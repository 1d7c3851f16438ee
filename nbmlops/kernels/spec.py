"""Kernelspecs of warm kernels: in memory for stages, and installed for JupyterLab."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.provisioning.factory import KernelProvisionerFactory

from nbmlops.errors import InvalidValue, NotFound, StoreFault
from nbmlops.kernels.preload import preloadable

NAME = "nbmlops"
DISPLAY_NAME = "Python 3 (nbmlops, warm)"
PROVISIONER = "nbmlops"
USUAL_PRELOAD = ("matplotlib.pyplot", "nbmlops", "numpy", "pandas", "sklearn.linear_model", "sklearn.pipeline")
_HOME = EntryPoint(PROVISIONER, "nbmlops.kernels.provisioner:WarmProvisioner", KernelProvisionerFactory.GROUP_NAME)


def register() -> None:
    """Let jupyter_client find the provisioner in this process, also where nbmlops is not installed but on the path."""
    KernelProvisionerFactory.provisioners.setdefault(PROVISIONER, _HOME)


def warm_spec(preload: Iterable[str], python: str = sys.executable) -> KernelSpec:
    """The kernelspec of ipykernel itself, with the provisioner and the modules to preload."""
    register()
    found = get_kernel_dict()
    found["argv"] = [python, *found["argv"][1:]]
    found["display_name"] = DISPLAY_NAME
    found["metadata"] = {**found.get("metadata", {}), "kernel_provisioner": _stanza(preload)}
    return KernelSpec(**found)


def make_warm(km: Any, preload: Iterable[str]) -> str:
    """See ``nbmlops.kernels.make_warm``."""
    spec = km.kernel_spec
    if spec is None or not km.ipykernel:
        return f"the kernel {km.kernel_name!r} is not ipykernel"
    other = spec.metadata.get("kernel_provisioner", {}).get("provisioner_name", PROVISIONER)
    if other != PROVISIONER:
        return f"the kernel {km.kernel_name!r} has a provisioner of its own, {other!r}"
    register()
    spec.metadata = {**spec.metadata, "kernel_provisioner": _stanza(preload)}
    return ""


def _stanza(preload: Iterable[str]) -> dict[str, Any]:
    return {"provisioner_name": PROVISIONER, "config": {"preload": list(preload)}}


def install(preload: Iterable[str] = USUAL_PRELOAD, *, user: bool = False, prefix: str | None = None) -> Path:
    """Write the kernelspec ``nbmlops``; returns its folder. What an earlier call wrote there is replaced.

    Args:
        user: into the user's Jupyter folder; else under ``prefix``, by default this Python's environment.

    Raises:
        InvalidValue: a module must not be preloaded; every one is named.
        StoreFault: the folder cannot be written.
    """
    modules = list(preload)
    wrong = [m for m in modules if not preloadable([m])]
    if wrong:
        faults = [f"{m!r} is not known to be safe to import before a fork" for m in wrong]
        raise InvalidValue.of(
            "--preload", faults, "it may hold parts of numpy, pandas, scipy, sklearn, matplotlib and a few more"
        )
    spec = warm_spec(preloadable(modules)).to_dict()
    place = None if user else prefix or sys.prefix
    try:
        with tempfile.TemporaryDirectory() as work:
            folder = Path(work, NAME)
            shutil.copytree(RESOURCES, folder)
            Path(folder, "kernel.json").write_text(json.dumps(spec, indent=1) + "\n", encoding="utf-8")
            written = KernelSpecManager().install_kernel_spec(str(folder), NAME, user=user, prefix=place)
    except OSError as error:
        raise StoreFault(
            f"the kernelspec cannot be written: {error}", "--user writes to your own Jupyter folder"
        ) from error
    return Path(written)


def remove() -> Path:
    """Remove the kernelspec ``nbmlops`` that Jupyter finds here; returns the folder it was in.

    Raises:
        NotFound: there is none.
        StoreFault: it cannot be removed.
    """
    found = KernelSpecManager(ensure_native_kernel=False).find_kernel_specs()
    if NAME not in found:
        raise NotFound.of("kernelspec", NAME, sorted(found), "`nbmlops kernel install` writes it")
    try:
        shutil.rmtree(found[NAME])
    except OSError as error:
        raise StoreFault(f"the kernelspec cannot be removed: {error}", f"remove {found[NAME]} by hand") from error
    return Path(os.fspath(found[NAME]))
