"""What a notebook imports: project modules with the digests of their code, and the names of everything else."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from nbmlops.errors import NbmlopsError
from nbmlops.notebook.cells import CodeCell, code_digests, digest_of, normalised, parse_python
from nbmlops.notebook.finder import Finder
from nbmlops.notebook.imports import Import, PathAdded, Script, Statement, statements, statements_of_module
from nbmlops.notebook.literals import scope
from nbmlops.notebook.parameters import parse_document

_LARGEST = 2_000_000  # bytes of a module that are still parsed; more is data in disguise, and hashed as it is
_SETTLED = 1.0  # seconds: two changes of a file within one tick of its clock must not be taken for one


@dataclass(frozen=True)
class Imports:
    """``project`` maps each module or script, as a path from the project root, to the digest of its normalised code.

    ``distributions`` are the top-level names of what is imported from elsewhere; the standard library is left out.
    ``dynamic`` are imports by a computed name: the cell, and what it does.
    """

    project: dict[str, str] = field(default_factory=dict)
    distributions: frozenset[str] = frozenset()
    dynamic: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Scan:
    """The imports, and the trees of the project's modules: the number of the cell that led there, path, and tree."""

    imports: Imports
    trees: tuple[tuple[int, str, ast.Module], ...]


def imported(document: Mapping[str, Any], folder: str | os.PathLike[str], root: str | os.PathLike[str]) -> Imports:
    """What the cells import, transitively. ``folder`` is where the notebook runs, ``root`` the project's."""
    return scan(code_digests(document), folder, root).imports


def scan(cells: Iterable[CodeCell], folder: str | os.PathLike[str], root: str | os.PathLike[str]) -> Scan:
    """Follow every import of the cells through the modules of the project."""
    walk = _Walk(Finder(os.path.abspath(folder), os.path.abspath(root)))
    readable = [(cell.number, cell.tree) for cell in cells if cell.tree is not None]
    names = scope(tuple(tree for _, tree in readable))
    for number, tree in readable:
        walk.follow(_Origin(number, walk.finder.folder), list(statements(tree, names)))
    walk.run()
    imports = Imports(dict(sorted(walk.digests.items())), frozenset(walk.elsewhere), tuple(dict.fromkeys(walk.dynamic)))
    return Scan(imports, tuple(walk.trees))


@dataclass(frozen=True)
class _Origin:
    """Where an import stands: the cell it began with, the folder of relative paths, and the package it is in."""

    cell: int
    folder: str
    package: str = ""
    before: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


class _Walk:
    """A walk through the graph of imports; every file once."""

    def __init__(self, finder: Finder) -> None:
        self.finder = finder
        self.digests: dict[str, str] = {}
        self.elsewhere: set[str] = set()
        self.dynamic: list[tuple[int, str]] = []
        self.trees: list[tuple[int, str, ast.Module]] = []
        self._todo: list[tuple[_Origin, str, str]] = []
        self._seen: set[tuple[str, str]] = set()

    def follow(self, origin: _Origin, found: Sequence[Statement]) -> None:
        """Note everything that a cell or module imports."""
        for one in found:  # first of all, because a cell may import before the line that adds a folder is met
            if isinstance(one, PathAdded):
                self.finder.added.append(os.path.normpath(os.path.join(origin.folder, one.path)))
        for one in found:
            if isinstance(one, Script):
                self._todo.append((origin, os.path.normpath(os.path.join(origin.folder, one.path)), ""))
            elif isinstance(one, Import):
                self._import(origin, one)

    def run(self) -> None:
        """Read what is still to be read."""
        while self._todo:
            origin, file, dotted = self._todo.pop()
            if (file, dotted) not in self._seen:
                self._seen.add((file, dotted))
                self._visit(origin, file, dotted)

    def _import(self, origin: _Origin, one: Import) -> None:
        if one.computed:
            if origin.packages:  # a package that chooses among its own modules: all of them count
                for name in self.finder.members(origin.packages):
                    self._name(origin, f"{origin.package}.{name}")
            else:
                self.dynamic.append((origin.cell, "imports a module by a computed name"))
            return
        base = one.module
        if one.level:
            parts = origin.package.split(".") if origin.package else []
            if one.level > len(parts):
                return  # Python refuses it as well
            base = ".".join([*parts[: len(parts) - one.level + 1], *filter(None, [one.module])])
        self._name(origin, base)
        for name in one.names:
            if name == "*":
                self._star(origin, base)
            else:
                self._name(origin, f"{base}.{name}")

    def _name(self, origin: _Origin, dotted: str) -> tuple[str, ...]:
        found = self.finder.find(dotted, origin.before)
        if found.installed:
            self.elsewhere.add(dotted.partition(".")[0])
        self._todo += [(origin, file, name) for file, name in found.files]
        return found.folders

    def _star(self, origin: _Origin, base: str) -> None:
        """``from base import *`` imports those submodules that its ``__all__`` names."""
        found = self.finder.find(base, origin.before)
        if found.folders and found.files:
            tree = _module(found.files[-1][0])[1]
            for name in _exported(tree) if tree else ():
                self._name(origin, f"{base}.{name}")

    def _visit(self, origin: _Origin, file: str, dotted: str) -> None:
        digest, tree = _module(file)
        shown = self._shown(file)
        if file.endswith(".ipynb"):
            self.digests[shown] = digest
            self._notebook(origin, file)
            return
        self.digests[shown] = digest
        if tree is None:
            return
        self.trees.append((origin.cell, shown, tree))
        found = statements_of_module(tree)
        folder, is_package = os.path.dirname(file), os.path.basename(file) == "__init__.py"
        if not dotted:  # a script: its own folder comes first, for what it imports
            self.follow(_Origin(origin.cell, origin.folder, before=(folder,)), found)
            return
        package = dotted if is_package else dotted.rpartition(".")[0]
        packages = (folder,) if is_package or package else ()
        self.follow(_Origin(origin.cell, origin.folder, package, origin.before, packages), found)

    def _notebook(self, origin: _Origin, file: str) -> None:
        for cell in _cells_of(file) or ():
            if cell.tree is not None:
                self.trees.append((origin.cell, self._shown(file), cell.tree))
                found = statements_of_module(cell.tree)
                self.follow(_Origin(origin.cell, origin.folder, before=(os.path.dirname(file),)), found)

    def _shown(self, file: str) -> str:
        try:
            return PurePath(os.path.relpath(file, self.finder.root)).as_posix()
        except ValueError:  # on another drive
            return PurePath(file).as_posix()


def _exported(tree: ast.Module) -> Iterator[str]:
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "__all__" for target in statement.targets
        ):
            for node in ast.walk(statement.value):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
                    yield node.value


def _module(file: str) -> tuple[str, ast.Module | None]:
    """The digest of a file's code, and its tree; what cannot be read or parsed has the digest of its bytes."""
    try:
        state = os.stat(file)
        fresh = time.time() - state.st_mtime < _SETTLED
        return (_parsed.__wrapped__ if fresh else _parsed)(file, state.st_mtime_ns, state.st_size, state.st_ino)
    except (OSError, ValueError):
        return "unreadable", None


@functools.lru_cache(1024)
def _parsed(file: str, _changed: int, size: int, _inode: int) -> tuple[str, ast.Module | None]:
    if file.endswith(".ipynb"):
        cells = _cells_of(file)
        if cells is not None:
            return digest_of(json.dumps([cell.digest for cell in cells])), None
    if not file.endswith(".py") or size > _LARGEST:
        with open(file, "rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest(), None
    data = Path(file).read_bytes()
    tree = parse_python(data)
    text = normalised(tree) if tree else None
    return (hashlib.sha256(data).hexdigest() if text is None else digest_of(text)), tree


def _cells_of(file: str) -> list[CodeCell] | None:
    """The cells of a notebook that another one runs; None where it cannot be read."""
    try:
        return code_digests(parse_document(Path(file).read_bytes(), file))
    except (OSError, NbmlopsError):
        return None
