"""The extraction desk, the way out of the prototype: the minimal cells behind a result, as a stage that is proved."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbmlops import secrets
from nbmlops.errors import InvalidValue, UsageFault
from nbmlops.extraction import proof, several, slicing, snapshots, writing
from nbmlops.extraction.asking import Asked, Asking, Live
from nbmlops.extraction.proof import Proof
from nbmlops.extraction.slicing import Slice
from nbmlops.notebook import parameters
from nbmlops.notebook.lifting import Cell, Lifted, lift
from nbmlops.notebook.lifting import stage as stages
from nbmlops.records import Extracted, ReadTurned

if TYPE_CHECKING:
    from nbmlops.cells import Cells
    from nbmlops.datasets import Datasets
    from nbmlops.models import Models
    from nbmlops.pipelines import Pipelines
    from nbmlops.pipelines.progress import Progress
    from nbmlops.reproduction import Reproduction
    from nbmlops.runs import Runs

__all__ = ["Extraction", "Live", "Wish"]


@dataclass(frozen=True)
class Wish:
    """How a stage is made.

    ``snapshots`` turns reads of files into snapshots; ``variables`` are variables of the live notebook to be kept as
    snapshots in place of the cells that made them. ``pipeline`` cuts the cells into several stages. ``force`` writes
    over what is there. ``progress`` shows the proof: by default as suits terminal or notebook; False for none.
    """

    snapshots: bool = False
    variables: tuple[str, ...] = ()
    pipeline: bool = False
    prove: bool = True
    force: bool = False
    progress: Progress | bool | None = None


@dataclass(frozen=True)
class _Made:
    """A stage before it is proved."""

    cells: list[Cell]
    lifted: Lifted
    reads: tuple[ReadTurned, ...]
    notes: tuple[str, ...]


class Extraction:
    """Every verb about the way from a notebook to a stage."""

    def __init__(
        self,
        runs: Runs,
        datasets: Datasets,
        models: Models,
        pipelines: Pipelines,
        cells: Cells,
        *,
        reproduction: Reproduction,
    ) -> None:
        self.runs = runs
        self.datasets = datasets
        self.models = models
        self.pipelines = pipelines
        self.cells = cells
        self.reproduction = reproduction

    def extract(
        self, what: str, *, out: str | os.PathLike[str], wish: Wish | None = None, live: Live | None = None
    ) -> Extracted:
        """Write the minimal cells behind a result as a stage, and prove it in a clean kernel.

        Args:
            what: ``run:ID``, ``run:ID/figures/1.png``, ``run:ID/METRIC``, ``model:NAME@3``, or a variable of ``live``.
            out: the notebook to write; with ``wish.pipeline`` the pipeline file, whose notebooks are written beside it.
            wish: how it is made.
            live: the notebook that asks.

        Raises:
            NotFound: there is no such thing, or nothing was recorded of how it came about.
            UsageFault: the file is there already, or has a wrong name.
            StoreFault: it cannot be written.
        """
        began, wish, target = time.monotonic(), wish or Wish(), Path(out)
        self._check(target, wish)
        asked = Asking(self.runs, self.models, self.cells).find(what, live)
        namespace: Mapping[str, Any] = live.namespace if live else {}
        asked, given = snapshots.of_variables(self.datasets, asked, wish.variables, namespace)
        cut = slicing.needed(asked)
        if wish.pipeline:
            found = several.pipeline(self, asked, cut, target, wish, namespace)
        else:
            found = self._stage(asked, cut, target, wish, namespace)
        labels = [e.label for e in asked.program]
        return Extracted(
            what=asked.what,
            kept=tuple(labels[i] for i in cut.kept),
            dropped=tuple(labels[i] for i in cut.dropped),
            unknown=cut.unknown,
            **{**found, "reads": (*given, *found["reads"]), "notes": (*asked.notes, *found["notes"])},
            seconds=time.monotonic() - began,
        )

    def _check(self, target: Path, wish: Wish) -> None:
        suffixes = {".yaml", ".yml"} if wish.pipeline else {".ipynb"}
        if target.suffix not in suffixes:
            kind = "pipeline file, with --pipeline," if wish.pipeline else "stage"
            raise UsageFault(f"{target} cannot be the name of a {kind}", f"give a name that ends in {min(suffixes)}")
        writing.check_free([target], wish.force)

    def _stage(
        self, asked: Asked, cut: Slice, target: Path, wish: Wish, namespace: Mapping[str, Any]
    ) -> dict[str, Any]:
        """One notebook: made, proved, written."""
        cells = slicing.cells(asked.program, cut.kept, asked.document)
        made = self.make(cells, asked, target.absolute().parent, wish)
        wanted = proof.expected(self.reproduction, asked, namespace)
        document = self.document(made, asked, f"{len(cut.kept)} of {len(asked.program)} executions")
        result = Proof()
        if wish.prove:
            here, named = target.absolute().parent, {target.name: document}
            result = proof.prove(self.reproduction, named, here, asked, wanted, progress=wish.progress)
        document["metadata"]["nbmlops"]["extracted"]["proof"] = result.to_dict()
        writing.write(target, self.to_bytes(document), wish.force)
        return {
            "path": str(target), "parameters": made.lifted.parameters, "reads": made.reads, "proof": result.status,
            "compared": result.compared, "differences": result.differences, "error": result.error,
            "notes": (*made.notes, *result.notes), "digest": stages.digest(made.cells),
        }  # fmt: skip

    def make(self, cells: list[Cell], asked: Asked, folder: Path, wish: Wish) -> _Made:
        """Cells as a stage: reads of files turned into snapshots if that is wished, imports and literals lifted."""
        reads: tuple[ReadTurned, ...] = ()
        notes: tuple[str, ...] = ()
        if wish.snapshots:
            cells, reads, notes = snapshots.of_files(self.datasets, cells, folder)
        uses = any("nbmlops.load_dataset" in cell.source for cell in cells)
        more = ["import nbmlops"] if (reads or wish.variables or wish.pipeline) and uses else []
        return _Made(cells, lift(cells, declared=_declared(asked), more=more), reads, notes)

    def document(self, made: _Made, asked: Asked, share: str) -> dict[str, Any]:
        """The notebook of a stage, which tells where it came from."""
        told = {
            "from": asked.what,
            "run": asked.run_id or None,
            "cells": [cell.label for cell in made.cells],
            "digest": stages.digest(made.cells),
        }
        title = f"# {asked.title}\n\nExtracted from {asked.what}: {share}, in the order in which they ran."
        found = stages.document(made.lifted, title, told)
        return secrets.scrub(found) if secrets.is_active() else found

    @staticmethod
    def to_bytes(document: Mapping[str, Any]) -> bytes:
        """A notebook as its file holds it."""
        return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")


def _declared(asked: Asked) -> parameters.Parameters | None:
    """The parameters that the notebook declares, whose help texts are kept."""
    if asked.document is None:
        return None
    try:
        return parameters.read(asked.document, asked.what)
    except InvalidValue:  # the cell is no Python now; it was when it ran
        return None
