"""Reads of something outside that become reads of snapshots, taken of the very frame that was read."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from nbmlops import lazy
from nbmlops.errors import NbmlopsError, NotFound
from nbmlops.extraction.asking import Asked
from nbmlops.extraction.slicing import flow_of
from nbmlops.notebook.lifting import Cell, Draft, known_names
from nbmlops.notebook.literals import Scope, Unknown
from nbmlops.records import CellExecution, ReadTurned

if TYPE_CHECKING:
    from nbmlops.datasets import Datasets

_READER = re.compile(r"(pandas|polars)\.(read_(csv|parquet|feather|json|excel|table|fwf|orc|stata|sas|ipc|ndjson))")


def of_files(
    datasets: Datasets, cells: Sequence[Cell], folder: Path
) -> tuple[list[Cell], tuple[ReadTurned, ...], tuple[str, ...]]:
    """The cells with the reads of files turned, what was turned, and what could not be and why.

    Only calls whose arguments are all literals: they are made once more here, in the folder of the stage.
    """
    drafts = [Draft.of(cell) for cell in cells]
    names = known_names(drafts)
    turned: dict[str, ReadTurned] = {}
    notes: dict[str, None] = {}
    found: list[Cell] = []
    for draft in drafts:
        for call, origin in _reads(draft, names):
            was = draft.written(call)
            if was not in turned:
                try:
                    turned[was] = _turned(datasets, call, origin, names, folder, ReadTurned(was, "", draft.cell.label))
                except (Unknown, NbmlopsError, OSError, ValueError, TypeError, ImportError) as error:
                    why = "its arguments are no literals" if isinstance(error, Unknown) else str(error)
                    notes[f"{draft.cell.label}: {was[:60]} still reads a file: {' '.join(why.split())[:120]}"] = None
                    continue
            begin, end = draft.span(call)
            draft.edits.append((begin, end, loading(turned[was].ref, origin.partition(".")[0])))
        found.append(replace(draft.cell, source=draft.result()) if draft.edits else draft.cell)
    return found, tuple(turned.values()), tuple(notes)


def loading(ref: str, library: str = "pandas") -> str:
    """The code that reads a snapshot."""
    given = "" if library == "pandas" else f', as_="{library}"'
    return f'nbmlops.load_dataset("{ref.removeprefix("dataset:")}"{given})'


def _reads(draft: Draft, names: Scope) -> Iterator[tuple[ast.Call, str]]:
    for statement in draft.statements:
        if not draft.is_native(statement):
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and _READER.fullmatch(origin := names.origin(node.func)):
                yield node, origin


def _turned(
    datasets: Datasets, call: ast.Call, origin: str, names: Scope, folder: Path, read: ReadTurned
) -> ReadTurned:
    """Read the file as the cell does, keep the frame, and see that the snapshot gives the same frame back."""
    if any(k.arg is None for k in call.keywords) or any(isinstance(a, ast.Starred) for a in call.args) or not call.args:
        raise Unknown
    path, *more = [names.value(a) for a in call.args]
    given = {str(k.arg): names.value(k.value) for k in call.keywords}
    if not isinstance(path, str | PurePath) or "://" in str(path):
        raise Unknown
    library, _, verb = origin.partition(".")
    reader = getattr(lazy.need(library, "snapshots of files", library), verb)
    frame = reader(folder / path, *more, **given)
    version = datasets.snapshot(frame, slug(PurePath(path).stem), f"read by {read.cell}: {path}")
    if not is_same(frame, datasets.load(version.ref, as_=library)):
        raise ValueError("the snapshot does not give back the very frame, for example its index")
    return replace(read, ref=version.ref)


def slug(name: str) -> str:
    """A name for a data set."""
    return re.sub(r"[^\w+.-]+|_", "-", name).strip("-. ").lower() or "data"


def is_same(one: Any, other: Any) -> bool:
    """Whether two frames have the same values, types and index."""
    if lazy.is_instance(one, "pandas", "DataFrame"):
        alike = bool(one.equals(other)) and list(one.dtypes) == list(other.dtypes)
        return alike and bool(one.index.equals(other.index)) and list(one.columns) == list(other.columns)
    return type(one) is type(other) and bool(one.equals(other))


def of_variables(
    datasets: Datasets, asked: Asked, variables: Iterable[str], namespace: Mapping[str, Any]
) -> tuple[Asked, tuple[ReadTurned, ...]]:
    """The program in which some variables come from snapshots of what they are now.

    Raises:
        NotFound: there is no such variable.
        InvalidValue: it is no frame.
    """
    turned = []
    for name in variables:
        if name not in namespace:
            raise NotFound.of("variable", name, [n for n in namespace if not n.startswith("_")][:200])
        version = datasets.snapshot(namespace[name], slug(name), f"{name} of the notebook")
        library = "polars" if lazy.is_instance(namespace[name], "polars", "DataFrame") else "pandas"
        asked = _loaded_instead(asked, name, f"{name} = {loading(version.ref, library)}")
        turned.append(ReadTurned(name, version.ref))
    return asked, tuple(turned)


def _loaded_instead(asked: Asked, name: str, source: str) -> Asked:
    """The program with a cell behind the last one that changes the variable: from there on it is the snapshot."""
    flow = flow_of(asked.program)
    changing = [i for i, e in enumerate(flow.effects) if name in e.stores or name in e.mutates]
    place = changing[-1] + 1 if changing else 0
    wanted = min(asked.steps, default=len(asked.program))
    notes = asked.notes
    if place > wanted:
        late = asked.program[changing[-1]].label
        notes = (*notes, f"{late} changed {name} after it was used: the snapshot holds what it is now")
        place = wanted
    program = [*asked.program]
    program.insert(place, inserted(source))
    steps = tuple(step + (step >= place) for step in asked.steps)
    return replace(asked, program=tuple(program), steps=steps, notes=notes)


def inserted(source: str) -> CellExecution:
    """A cell that never ran, as an execution of the program."""
    return CellExecution(f"inserted:{source}", "", 0, source, cell_id="inserted")
