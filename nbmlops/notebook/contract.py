"""The contract of a stage: everything that its notebook says about itself, read without executing it."""

from __future__ import annotations

import ast
import functools
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nbmlops.notebook import modules, parameters, uses
from nbmlops.notebook.cells import code_digests
from nbmlops.notebook.literals import scope
from nbmlops.notebook.uses import Uses
from nbmlops.records import StageContract

__all__ = ["StageContract", "read_contract"]


def read_contract(
    document: Mapping[str, Any],
    path: str | os.PathLike[str],
    root: str | os.PathLike[str],
    values: Mapping[str, Any] | None = None,
) -> StageContract:
    """What a notebook takes, reads, writes and depends on, with the project modules that it imports.

    Args:
        document: the notebook.
        path: its file, in whose folder it runs; it is not read.
        root: the project's, where paths of modules start.
        values: parameters as they will be given: references made of them are then known.

    Raises:
        InvalidValue: the parameters cell is not Python.
    """
    declared = parameters.read(document, os.fspath(path))
    cells = code_digests(document)
    found = modules.scan(cells, Path(path).parent, root)
    seen = uses.merged(uses.uses(document, values), *_through_modules(found.trees))
    return StageContract(
        notebook=os.fspath(path),
        cells=tuple(cells),
        parameters=tuple(
            {"name": p.name, "type": str(p.type), "default": p.source, "required": p.required, "help": p.help}
            for p in declared.items.values()
        ),
        reads=seen.reads,
        writes=seen.writes,
        files=seen.files,
        variables=seen.variables,
        modules=found.imports.project,
        distributions=tuple(sorted(found.imports.distributions)),
        dynamic=tuple(sorted({*seen.dynamic, *found.imports.dynamic}, key=lambda place: place[0])),
        impure=seen.impure,
    )


def _through_modules(trees: Iterable[tuple[int, str, ast.Module]]) -> list[Uses]:
    """What the project's modules use, told of the cells whose imports lead to them."""
    by_file: dict[tuple[int, str], list[ast.Module]] = {}
    for cell, path, tree in trees:
        by_file.setdefault((cell, path), []).append(tree)
    found = []
    for (cell, path), of_file in by_file.items():
        seen = _of_module(tuple(of_file))
        dynamic, impure = (
            tuple((cell, f"imports {path}, which {what}") for _, what in places)
            for places in (seen.dynamic, seen.impure)
        )
        found.append(replace(seen, dynamic=dynamic, impure=impure))
    return found


@functools.lru_cache(1024)
def _of_module(trees: tuple[ast.Module, ...]) -> Uses:
    return uses.found_in(((0, tree) for tree in trees), scope(trees))
