"""The corpus: small notebooks, each with a known disease or in known health. What each claims is proved by execution.

``metadata.nbmlops.case`` of a notebook: the ``verdict`` that is right, ``says`` in words, ``kinds`` of findings and
the ``cells`` that are guilty, the ``history`` of what ran (every cell once, if left out; an entry with a ``source`` ran
with another text, or in a cell that is gone), ``errors`` (number of an execution: what it raised, in which line),
``metrics`` with the cells that a slice for them needs and drops, ``before``: what another session had done, and a
``namespace`` that was there before.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nbmlops.notebook.cells import tree_of
from nbmlops.notebook.dataflow import Dataflow
from nbmlops.records import CellExecution

FOLDER = Path(__file__).parent / "corpus"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
HEALTHY = ("strongly valid", "weakly valid")


@dataclass(frozen=True)
class Case:
    """One notebook of the corpus."""

    name: str
    document: dict[str, Any]
    verdict: str
    says: str
    history: tuple[tuple[str, str], ...]  # cell id and source, as they ran
    kinds: tuple[str, ...] = ()
    guilty: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    namespace: dict[str, Any] = field(default_factory=dict)
    before: str = ""
    errors: dict[int, tuple[str, int]] = field(default_factory=dict)

    @property
    def code(self) -> list[tuple[str, str]]:
        """Id and source of each code cell, from top to bottom: a clean run."""
        return [(c["id"], "".join(c["source"])) for c in self.document["cells"] if c["cell_type"] == "code"]

    @property
    def expected_to_raise(self) -> set[str]:
        """Ids of cells that are meant to raise."""
        return {c["id"] for c in self.document["cells"] if "raises-exception" in c["metadata"].get("tags", ())}

    def slice(self, metric: str) -> list[tuple[str, str]]:
        """The cells that a metric needs in a clean run, as the data flow has it."""
        sources = [source for _, source in self.code]
        last = max(number for number, source in enumerate(sources) if metric in bound(source))
        return [self.code[step] for step in Dataflow.of(sources).behind(last, metric).steps]

    def executions(self) -> list[CellExecution]:
        """The history as the journal would have it."""
        found = []
        for number, (cell_id, source) in enumerate(self.history, 1):
            name, line = self.errors.get(number, (None, 0))
            error = {"name": name, "message": "", "traceback": f"Cell In[{number}], line {line}, in <module>"}
            found.append(
                CellExecution(
                    execution_id=f"{self.name}-{number}",
                    session_id="session",
                    number=number,
                    source=source,
                    cell_id=cell_id,
                    count=number,
                    status="error" if name else "ok",
                    error=error if name else None,
                    stored=bound(source),
                    started_at=1_790_000_000.0 + number,
                    seconds=0.01,
                )
            )
        return found

    def seen(self, steps: list[dict[str, Any]]) -> list[CellExecution]:
        """The history with the names that were really stored and deleted when it was executed."""
        return [
            replace(one, stored=tuple(sorted(step["stored"])), deleted=tuple(sorted(step["deleted"])))
            for one, step in zip(self.executions(), steps, strict=True)
        ]

    def counted(self) -> dict[str, Any]:
        """The document as it is saved without a journal: the count and error of each cell's last execution."""
        last = {cell_id: number for number, (cell_id, _) in enumerate(self.history, 1)}
        cells = []
        for cell in self.document["cells"]:
            if (number := last.get(cell["id"])) is not None:
                name = self.errors.get(number, (None, 0))[0]
                error = {"output_type": "error", "ename": name, "evalue": "", "traceback": []}
                cell = {**cell, "execution_count": number, "outputs": [error] if name else []}
            cells.append(cell)
        return {**self.document, "cells": cells}

    def labels(self) -> set[str]:
        """How a finding may name a guilty cell: by an execution, or by its place in the notebook."""
        found = {f"[{number}]" for number, (cell_id, _) in enumerate(self.history, 1) if cell_id in self.guilty}
        places = [c["id"] for c in self.document["cells"]]
        return found | {f"cell {places.index(g) + 1}" for g in self.guilty if g in places}


def read(name: str) -> Case:
    """A case by its name."""
    document = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))
    case = document["metadata"]["nbmlops"]["case"]
    sources = {c["id"]: "".join(c["source"]) for c in document["cells"]}
    steps = [
        {"cell": step} if isinstance(step, str) else step
        for step in case.get("history", [c["id"] for c in document["cells"] if c["cell_type"] == "code"])
    ]
    more = {key: tuple(case.get(key, ())) for key in ("kinds", "metrics", "needed", "dropped")}
    return Case(
        name,
        document,
        case["verdict"],
        case["says"],
        history=tuple((s["cell"], s["source"] if "source" in s else sources[s["cell"]]) for s in steps),
        errors={int(number): tuple(error) for number, error in case.get("errors", {}).items()},
        guilty=tuple(case.get("cells", ())),
        namespace=case.get("namespace", {}),
        before=case.get("before", ""),
        **more,
    )


def bound(source: str) -> tuple[str, ...]:
    """Names that a cell binds in the notebook's namespace, as far as its text tells."""
    tree = tree_of(source)
    return () if tree is None else tuple(sorted(set(_bound(tree, frozenset(_global(tree))))))


def _global(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield from node.names


def _bound(node: ast.AST, outer: frozenset[str], inside: bool = False) -> Iterator[str]:
    """Inside functions and classes only what they declare global counts."""
    names: list[str] = []
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        names = [node.id]
    elif isinstance(
        node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.ExceptHandler | ast.MatchStar | ast.MatchAs
    ):
        names = [node.name] if node.name and not isinstance(node, ast.ExceptHandler) else []
    elif isinstance(node, ast.Import | ast.ImportFrom):
        names = [(a.asname or a.name).partition(".")[0] for a in node.names if a.name != "*"]
    yield from (name for name in names if not inside or name in outer)
    within = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.comprehension):  # its variable is its own, but not what a walrus binds there
            yield from _bound(child.iter, outer, within)
            for one in child.ifs:
                yield from _bound(one, outer, within)
        else:
            yield from _bound(child, outer, within)
