"""Where an imported name would come from: the project, an installed distribution, or Python itself. Nothing runs."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.machinery import EXTENSION_SUFFIXES, BuiltinImporter, FrozenImporter, PathFinder
from pathlib import Path

from nbmlops.notebook.installed import folders, is_installed


@dataclass(frozen=True)
class Found:
    """``files``: what importing the name runs, each with its dotted name. ``installed``: it is no part of the project.

    Both are empty or false for the standard library. ``folders`` are those of the package, where it is one.
    """

    files: tuple[tuple[str, str], ...] = ()
    installed: bool = False
    folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Place:
    """One module: its file, None for a package without ``__init__``, and the folders of a package."""

    file: str | None
    folders: tuple[str, ...] = ()


_STANDARD = Found()
_PYTHONS_OWN = (BuiltinImporter, FrozenImporter, PathFinder)


@dataclass
class Finder:
    """Looks where a kernel that runs in ``folder`` would, in its order; then under the root and its ``src``.

    The last are guesses: they count only for what is found nowhere else. One finder sees one state of the folders.
    """

    folder: str
    root: str
    added: list[str] = field(default_factory=list)
    _listed: dict[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        outside = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and not is_installed(p)]
        self._first = [self.folder, *outside]
        self._installed = folders()
        self._last = [*_linked(self._installed, self), os.path.join(self.root, "src"), self.root]

    def find(self, name: str, before: Sequence[str] = ()) -> Found:
        """What importing a dotted name runs; ``before`` are folders to look in first. Attributes at its end are fine.

        A name that is nowhere counts as installed: it may be, next time.
        """
        top, *rest = name.split(".")
        place = self._top(top, before)
        if not isinstance(place, _Place):
            return place
        dotted, files = top, [(place.file, top)] if place.file else []
        for part in rest:
            inner = self._locate(part, place.folders)
            if inner is None:
                return Found(tuple(files))
            place, dotted = inner, f"{dotted}.{part}"
            files += [(place.file, dotted)] if place.file else []
        return Found(tuple(files), folders=place.folders)

    def members(self, package_folders: Iterable[str]) -> list[str]:
        """The names of all modules and packages in the folders of a package."""
        names = set()
        for folder in package_folders:
            for entry in self._entries(folder):
                stem, dot, suffix = entry.partition(".")
                if suffix == "py" or (not dot and "__init__.py" in self._entries(os.path.join(folder, entry))):
                    names.add(stem)
        return sorted(name for name in names - {"__init__"} if name.isidentifier())

    def _top(self, name: str, before: Sequence[str]) -> _Place | Found:
        if name in sys.builtin_module_names:
            return _STANDARD
        if name == "nbmlops":  # also from a checkout: its version counts, not its code
            return Found(installed=True)
        near = self._locate(name, (*before, *self.added, *self._first))
        if near is not None and near.file:
            return near
        if name in sys.stdlib_module_names:
            return _STANDARD
        if self._locate(name, self._installed) is not None:
            return Found(installed=True)
        far = self._locate(name, self._last)
        if far is not None and (far.file or near is None):
            return far
        return near or _through_hooks(name) or Found(installed=True)

    def _locate(self, name: str, places: Iterable[str]) -> _Place | None:
        """As Python's own path finder: the first module or package, else all folders of that name."""
        portions = []
        for folder in places:
            entries = self._entries(folder)
            path = os.path.join(folder, name)
            if name in entries and "__init__.py" in self._entries(path):
                return _Place(os.path.join(path, "__init__.py"), (path,))
            for suffix in (*EXTENSION_SUFFIXES, ".py"):
                if name + suffix in entries:
                    return _Place(path + suffix)
            if name in entries and os.path.isdir(path):
                portions.append(path)
        return _Place(None, tuple(portions)) if portions else None

    def _entries(self, folder: str) -> frozenset[str]:
        if folder not in self._listed:
            try:
                self._listed[folder] = frozenset(os.listdir(folder))
            except (OSError, ValueError):
                self._listed[folder] = frozenset()
        return self._listed[folder]


def _linked(sites: Iterable[str], finder: Finder) -> list[str]:
    """The folders that ``.pth`` files add to the path: editable installations."""
    found = []
    for folder in sites:
        for entry in sorted(finder._entries(folder)):
            if entry.endswith(".pth"):
                found += _lines_of_pth(folder, entry)
    return [path for path in found if not is_installed(path)]


def _lines_of_pth(folder: str, entry: str) -> list[str]:
    with contextlib.suppress(OSError, ValueError):
        path = Path(folder, entry)
        return list(_read_pth(str(path), path.stat().st_mtime_ns))
    return []


@functools.lru_cache(256)
def _read_pth(path: str, _changed: int) -> tuple[str, ...]:
    lines = Path(path).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    names = [line.strip() for line in lines if line.strip() and not line.startswith(("#", "import ", "import\t"))]
    return tuple(os.path.normpath(os.path.join(os.path.dirname(path), name)) for name in names)


def _through_hooks(name: str) -> _Place | None:
    """An editable installation whose finder is code: asked for the place of the top-level module, which is not run."""
    for hook in sys.meta_path:
        if hook in _PYTHONS_OWN:  # they know this process's path, which is not the kernel's
            continue
        with contextlib.suppress(Exception):  # a finder is somebody else's code; what it cannot tell is not known
            spec = hook.find_spec(name, None)
            if spec is not None and not is_installed(str(spec.origin)):
                origin = spec.origin if spec.has_location else None
                packages = tuple(map(str, spec.submodule_search_locations or ()))
                if origin or packages:
                    return _Place(origin, packages)
    return None
