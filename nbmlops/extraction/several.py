"""An extraction written as several stages and the pipeline file that joins them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from nbmlops.errors import NbmlopsError
from nbmlops.extraction import cutting, proof, writing
from nbmlops.extraction.asking import Asked
from nbmlops.extraction.proof import Proof
from nbmlops.extraction.slicing import Slice
from nbmlops.extraction.snapshots import slug
from nbmlops.notebook import parameters
from nbmlops.notebook.lifting import stage as stages
from nbmlops.notebook.uses import uses

if TYPE_CHECKING:
    from nbmlops.extraction import Extraction, Wish

Document = dict[str, Any]


def pipeline(
    desk: Extraction, asked: Asked, cut: Slice, target: Path, wish: Wish, namespace: Mapping[str, Any]
) -> dict[str, Any]:
    """Cut, prove by executing the stages one after the other, write, and see that the file can be planned."""
    folder = target.absolute().parent
    parts, notes = cutting.parts_of(asked, cut, namespace)
    made = [desk.make(part.cells, asked, folder, wish) for part in parts]
    documents = {
        f"{part.name}.ipynb": desk.document(one, asked, f"stage {part.name}")
        for part, one in zip(parts, made, strict=True)
    }
    writing.check_free([folder / name for name in documents], wish.force)
    result = Proof()
    if wish.prove:
        wanted = proof.expected(desk.reproduction, asked, namespace)
        result = proof.prove(desk.reproduction, documents, folder, asked, wanted, progress=wish.progress)
    for name, document in documents.items():
        document["metadata"]["nbmlops"]["extracted"]["proof"] = result.to_dict()
        writing.write(folder / name, desk.to_bytes(document), wish.force)
    writing.write(target, file_of(slug(asked.title), documents).encode(), wish.force)
    lifted = {p.name: p for one in made for p in one.lifted.parameters}
    return {
        "path": str(target), "stages": tuple(str(target.parent / name) for name in documents),
        "parameters": tuple(lifted.values()), "reads": tuple(read for one in made for read in one.reads),
        "digest": stages.digest([cell for part in parts for cell in part.cells]),
        "notes": (*notes, *(note for one in made for note in one.notes)),
        **_judged(desk, target, result),
    }  # fmt: skip


def _judged(desk: Extraction, target: Path, result: Proof) -> dict[str, Any]:
    """The proof; it fails where the file cannot be planned."""
    status, error = result.status, result.error
    try:
        desk.pipelines.plan(target)
    except NbmlopsError as fault:
        status, error = "failed", fault.message
    return {"proof": status, "compared": result.compared, "differences": result.differences, "error": error}


def file_of(name: str, documents: Mapping[str, Document]) -> str:
    """The pipeline file: what each stage reads and writes, and its parameters as those of the whole."""
    values: dict[str, Any] = {}
    described: dict[str, Any] = {}
    for notebook, document in documents.items():
        found = uses(document)
        own = _values(document)
        shared = {key: value for key, value in own.items() if values.setdefault(key, value) == value}
        stage: dict[str, Any] = {"notebook": notebook}
        if shared:
            stage["params"] = {key: f"${{params.{key}}}" for key in shared}
        written = [ref for ref in found.writes if ref.startswith(("dataset:", "model:"))]
        read = [ref for ref in found.reads if ref.startswith(("dataset:", "model:")) and ref not in written]
        stage |= {"reads": read} if read else {}
        stage |= {"writes": written} if written else {}
        described[notebook.removesuffix(".ipynb")] = stage
    whole = {"name": name, **({"params": values} if values else {}), "stages": described}
    return yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)


def _values(document: Document) -> dict[str, Any]:
    """The parameters of a stage whose defaults YAML can hold just as they are."""
    declared = parameters.read(document, "stage")
    return {p.name: p.default for p in declared.items.values() if p.literal and _is_yaml(p.default)}


def _is_yaml(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_yaml, value))
    return type(value) in {bool, int, float, str}
