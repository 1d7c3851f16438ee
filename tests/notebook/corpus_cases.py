"""The corpus: small notebooks, each with a known disease or in known health. What each claims is proved by execution.

``metadata.nbmlops.case`` of a notebook: ``verdict`` that is right, ``says`` in words, ``kinds`` of findings and
``cells`` that are guilty, ``history`` of what ran (every cell once, if left out; an entry with a ``source`` ran with
another text, or in a cell that is gone), ``metrics`` with the cells that a slice for them needs and drops, ``errors``
(number of an execution: what it raised, in which line), and a ``namespace`` that was there before.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass, field
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
    history: tuple[tuple[str, str], ...]  # cell id and source, as they ran
    kinds: tuple[str, ...] = ()
    guilty: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    namespace: dict[str, Any] = field(default_factory=dict)
    errors: dict[int, tuple[str, int]] = field(
        default_factory=dict
    )  # executions, from 1, that raised what and in which line

    @property
    def code(self) -> list[tuple[str, str]]:
        """Id and source of each code cell, from top to bottom: a clean run."""
        return [(c["id"], "".join(c["source"])) for c in self.document["cells"] if c["cell_type"] == "code"]

    @property
    def expected_to_raise(self) -> set[str]:
        """Ids of cells that are meant to raise."""
        return {c["id"] for c in self.document["cells"] if "raises-exception" in c["metadata"].get("tags", ())}

    def slice(self, metric: str) -> list[str]:
        """Ids of the cells that a metric needs in a clean run, as the data flow has it."""
        ids, sources = zip(*self.code, strict=True)
        last = max(number for number, source in enumerate(sources) if metric in _stored(source))
        return [ids[step] for step in Dataflow.of(sources).behind(last, metric).steps]

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
                    stored=_stored(source),
                    started_at=1_790_000_000.0 + number,
                    seconds=0.01,
                )
            )
        return found

    def labels(self) -> set[str]:
        """How a finding may name a guilty cell: by an execution, or by its place in the notebook."""
        found = {f"[{number}]" for number, (cell_id, _) in enumerate(self.history, 1) if cell_id in self.guilty}
        places = [c["id"] for c in self.document["cells"]]
        return found | {f"cell {places.index(g) + 1}" for g in self.guilty if g in places}


def read(name: str) -> Case:
    """A case by its name."""
    document = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))
    told = document["metadata"]["nbmlops"]["case"]
    sources = {c["id"]: "".join(c["source"]) for c in document["cells"]}
    steps = told.get("history", [c["id"] for c in document["cells"] if c["cell_type"] == "code"])
    history = tuple((s, sources[s]) if isinstance(s, str) else (s["cell"], s["source"]) for s in steps)
    more: dict[str, Any] = {key: tuple(told.get(key, ())) for key in ("kinds", "metrics", "needed", "dropped")}
    more["errors"] = {int(number): tuple(error) for number, error in told.get("errors", {}).items()}
    guilty = tuple(told.get("cells", ()))
    return Case(name, document, told["verdict"], history, guilty=guilty, namespace=told.get("namespace", {}), **more)


def _stored(source: str) -> tuple[str, ...]:
    """What the recorder could see: names that the notebook binds, not those of functions and comprehensions."""
    tree = tree_of(source)
    names: set[str] = set()
    waiting: list[ast.AST] = [tree] if tree is not None else []
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
            continue
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            names |= {n.target.id for n in ast.walk(node) if isinstance(n, ast.NamedExpr)}
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(a.asname or a.name).partition(".")[0] for a in node.names if a.name != "*"}
        elif isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
            names.add(node.name)
        waiting.extend(ast.iter_child_nodes(node))
    return tuple(sorted(names))
