"""What is installed here, where it came from, and which of it this process has loaded."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import types
from collections.abc import Iterable
from typing import Any

from nbmlops import settings
from nbmlops.kernels import preload
from nbmlops.notebook import installed
from nbmlops.runs import origin

# A kernel, and the recording itself, load these in every process: they count where the code names them too.
_MACHINERY = (
    "alembic", "anywidget", "blake3", "click", "debugpy", "fsspec", "ipykernel", "ipython", "ipywidgets",
    "jupyter-client", "matplotlib-inline", "nbclient", "nbformat", "papermill", "psutil", "pyyaml", "setuptools",
    "sqlalchemy", "threadpoolctl", "zstandard",
)  # fmt: skip
_TRACKER = "nbmlops"
_OF_THE_SHELL = frozenset({"In", "Out", "exit", "quit", "get_ipython", "open"})
_CODE = (type, types.FunctionType, types.BuiltinFunctionType)


@functools.lru_cache(1)
def installed_here(_state: tuple[tuple[str, int], ...]) -> dict[str, dict[str, Any]]:
    """``packages`` (name: version), ``sources`` of those that are from no index, and ``records``, their files' digests.

    A source has ``vcs``, ``url`` and ``commit``; or ``hashes`` of an archive; or ``editable``, with ``commit``,
    ``dirty`` and the digest of the ``changes`` where its folder is in a git repository. No path is noted.
    Kept for as long as ``installed.state`` is the same.
    """
    index = installed.index()
    packages = {name: index.version(name) for name in index.distributions}
    sources = {name: dict(source) for name, source in index.sources.items()}
    for name, version, folder in _elsewhere():
        if name not in packages:
            packages[name] = version
            sources[name] = {"editable": True, "folder": folder}
    return {
        "packages": dict(sorted(packages.items())),
        "sources": {name: _source(source) for name, source in sorted(sources.items()) if source},
        "records": dict(sorted(index.records.items())),
    }


def _elsewhere() -> Iterable[tuple[str, str, str]]:
    """Distributions on ``sys.path`` outside of installation folders: name, version, folder."""
    from importlib import metadata

    folders = [path or os.getcwd() for path in sys.path if not installed.is_installed(path)]
    for found in metadata.distributions(path=folders):
        name = installed.canonical(found.metadata["Name"] or "")
        if name:
            yield name, found.version or "", str(found.locate_file(""))


def _source(source: dict[str, Any]) -> dict[str, Any]:
    """The source as it is noted: of a folder, its commit instead of its path."""
    if "folder" not in source:
        return source
    kept: dict[str, Any] = {"editable": bool(source.get("editable"))}
    git, changes = origin.git(source["folder"]) if settings.value("git") else (None, b"")
    if not git or not git.get("commit"):
        return kept
    kept |= {"commit": git["commit"], "dirty": git["dirty"]}
    return kept | ({"changes": hashlib.sha256(changes).hexdigest()[:32]} if changes else {})


def imported() -> tuple[str, ...]:
    """The distributions whose modules this process has loaded, without what any kernel loads and no code names.

    Of what a warm kernel was forked with counts what the code names, and what that requires.
    """
    index = installed.index()
    tops = {name.partition(".")[0] for name in list(sys.modules)} - sys.stdlib_module_names
    own = {top for top in tops if not _providers(index, top)}
    named = {name for top in _named(own) for name in _providers(index, top)}
    unnamed = _required(_MACHINERY, id(index)) - named
    loaded = {name for top in tops for name in _providers(index, top)} - unnamed
    if preload.FORKED_WITH:
        asked = {name.partition(".")[0] for name in list(sys.modules) if name not in preload.FORKED_WITH}
        needed = index.required(named - _required(_MACHINERY, id(index)) - {_TRACKER})
        loaded &= {name for top in asked for name in _providers(index, top)} | named | needed
    return tuple(sorted(loaded - {_TRACKER}))


def _providers(index: installed.Index, module: str) -> list[str]:
    """The distributions of a module; one that is installed from a folder has no list of its files."""
    name = installed.canonical(module)
    return index.providers.get(module) or ([name] if name in index.distributions else [])


@functools.lru_cache(2)
def _required(names: tuple[str, ...], key: int) -> frozenset[str]:
    return frozenset(installed.index().required(names))


def _named(own: set[str]) -> set[str]:
    """The top-level modules that the notebook or script, and the project's own modules, have in their namespaces."""
    found: set[str] = set()
    for name, module in sys.modules.copy().items():  # in one step: other threads import meanwhile
        if name == "__main__" or name.partition(".")[0] in own:
            for label, value in list(getattr(module, "__dict__", {}).items()):
                if label in _OF_THE_SHELL or label.startswith("_"):
                    continue
                if isinstance(value, types.ModuleType):
                    found.add(value.__name__.partition(".")[0])
                else:
                    home = value.__module__ if isinstance(value, _CODE) else type(value).__module__
                    found.add(str(home).partition(".")[0])
    return found
