"""Where the cells behind a result are cut into stages, and what is handed over from one to the next."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nbmlops import lazy
from nbmlops.errors import UsageFault
from nbmlops.extraction import slicing
from nbmlops.extraction.asking import Asked, tree_of
from nbmlops.extraction.slicing import Slice
from nbmlops.extraction.snapshots import inserted, loading, slug
from nbmlops.notebook.dataflow import Dataflow
from nbmlops.notebook.lifting import Cell
from nbmlops.notebook.literals import scope
from nbmlops.notebook.uses import Uses, found_in
from nbmlops.records import CellExecution

FEATURES, TRAIN, EVALUATE = "features", "train", "evaluate"
_DEFINES = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Part:
    """A stage of the cut and its cells."""

    name: str
    cells: list[Cell]


@dataclass(frozen=True)
class Cut:
    """A program cut before a step. ``crossing`` are frames that are handed over, each with its data set's name."""

    step: int
    crossing: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Program:
    """The kept cells in their order, those of them that make the result, and what each reads and writes."""

    executions: tuple[CellExecution, ...]
    steps: tuple[int, ...]
    document: Mapping[str, Any] | None

    @property
    def sources(self) -> list[str]:
        return [e.source for e in self.executions]

    def uses(self) -> list[Uses]:
        """What each cell reads and writes by name."""
        trees = [tree_of(source) for source in self.sources]
        names = scope(tuple(tree for tree in trees if tree is not None))
        return [found_in([(i, tree)], names) if tree is not None else Uses() for i, tree in enumerate(trees)]

    def with_cell(self, place: int, source: str) -> Program:
        """The program with one more cell before a step."""
        executions = (*self.executions[:place], inserted(source), *self.executions[place:])
        return replace(self, executions=executions, steps=tuple(s + (s >= place) for s in self.steps))

    def part(self, name: str, steps: Sequence[int]) -> tuple[Part, tuple[int, ...]]:
        """The stage that these steps need, and the places of its cells."""
        kept, _ = slicing.behind(slicing.flow_of(self.executions), steps)
        return Part(name, slicing.cells(self.executions, kept, self.document)), kept


def parts_of(asked: Asked, cut: Slice, namespace: Mapping[str, Any]) -> tuple[list[Part], tuple[str, ...]]:
    """The stages, and in words where they are cut.

    Raises:
        UsageFault: there is no place where nothing but data sets, models or frames is handed over.
    """
    steps = tuple(cut.kept.index(step) for step in asked.steps if step in cut.kept)
    if asked.name or not steps:
        text = f"{asked.what} is a variable, and a pipeline ends in what a run logged"
        raise UsageFault(text, "extract a run or a model with --pipeline")
    program = Program(tuple(asked.program[i] for i in cut.kept), steps, asked.document)
    found = _at_snapshots(program) or _narrowest(program, namespace)
    if found is None:
        raise UsageFault(
            "there is no place to cut: everywhere something else than data sets and frames is handed over",
            "snapshot the prepared frame and go on from load_dataset; only the live notebook knows what is a frame",
        )
    return _built(program, found)


def _at_snapshots(program: Program) -> Cut | None:
    """Behind the last cell that keeps a data set which a later cell reads, if all is handed over in that way."""
    uses = program.uses()
    best = None
    for i, use in enumerate(uses):
        if any(ref.partition("@")[0] in use.writes for later in uses[i + 1 :] for ref in later.reads):
            best = i + 1
    if best is None or not any(step >= best for step in program.steps):
        return None
    _, kept = program.part(TRAIN, [step for step in program.steps if step >= best])
    twice = any(i < best and any(ref.startswith("dataset:") for ref in uses[i].writes) for i in kept)
    return None if twice else Cut(best)


def _narrowest(program: Program, namespace: Mapping[str, Any]) -> Cut | None:
    """The step before which the fewest names, all of them frames, are handed over; of several places the last."""
    flow = slicing.flow_of(program.executions)
    found: Cut | None = None
    for step in range(1, max(program.steps) + 1):
        crossing = _handed_over(program, flow, step)
        if not crossing or not all(_is_frame(namespace.get(name)) for name in crossing):
            continue
        if found is None or len(crossing) <= len(found.crossing):
            found = Cut(step, tuple((name, slug(name)) for name in sorted(crossing)))
    return found


def _handed_over(program: Program, flow: Dataflow, step: int) -> set[str]:
    """The names that cells from this step on need of the cells before, but for those that both sides can have."""
    before = {name for e in flow.effects[:step] for name in (*e.stores, *e.mutates)}
    needed: set[str] = set()
    own: set[str] = set()
    for effects in flow.effects[step : max(program.steps) + 1]:
        needed |= (set(effects.loads) | set(effects.mutates)) - own
        own |= set(effects.stores)
    return {name for name in needed & before if not _is_plain(program.executions[:step], name)}


def _is_plain(before: Sequence[CellExecution], name: str) -> bool:
    """Whether a name comes from cells that only import, define and set literals."""
    steps = slicing.flow_of(before, name).behind(len(before)).steps
    trees = [tree_of(before[step].source) for step in steps if step < len(before)]
    return all(tree is not None and all(map(_defines, tree.body)) for tree in trees)


def _defines(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        return not any(isinstance(node, ast.Call) for node in ast.walk(statement))
    return isinstance(statement, _DEFINES)


def _is_frame(value: Any) -> bool:
    return any(lazy.is_instance(value, library, "DataFrame") for library in ("pandas", "polars"))


def _built(program: Program, cut: Cut) -> tuple[list[Part], tuple[str, ...]]:
    """The stages of a cut, with the lines that hand over."""
    label = program.executions[cut.step].label
    notes = [f"cut before {label}"]
    early, late = program, program
    wanted = [step for step in program.steps if step < cut.step]
    place = cut.step
    for name, kept in cut.crossing:
        early = early.with_cell(place, f'nbmlops.snapshot({name}, "{kept}")')
        late = late.with_cell(place, f"{name} = {loading(kept)}")
        wanted.append(place)
        place += 1
        notes.append(f"{name} is handed over as dataset:{kept}: the lines that keep and load it were written in")
    if not cut.crossing:
        uses = program.uses()
        wanted += [i for i in range(cut.step) if any(ref.startswith("dataset:") for ref in uses[i].writes)]
    first, _ = early.part(FEATURES, sorted(set(wanted)))
    return [first, *_trained(late, place, notes)], tuple(notes)


def _trained(program: Program, begin: int, notes: list[str]) -> list[Part]:
    """Training, and evaluation where cells behind the registering one need of it no more than the model."""
    steps = [step for step in program.steps if step >= begin]
    uses = program.uses()
    models = [(i, ref) for i in steps for ref in uses[i].writes if ref.startswith("model:")]
    if models:
        place, ref = models[-1]
        later = [step for step in steps if step > place]
        name = _model_variable(program.sources[place])
        if later and name:
            loaded = program.with_cell(place + 1, f'{name} = nbmlops.load_model("{ref}")')
            part, kept = loaded.part(EVALUATE, [step + 1 for step in later])
            flow = slicing.flow_of(program.executions)
            makes = {i for i, e in enumerate(flow.effects[: place + 1]) if name in e.stores or name in e.mutates}
            if place + 1 in kept and makes.isdisjoint(kept) and place not in kept:
                notes.append(f"what comes after {ref} is evaluation: the line that loads it was written in")
                first, _ = program.part(TRAIN, [step for step in steps if step <= place])
                return [first, part]
    return [program.part(TRAIN, steps)[0]]


def _model_variable(source: str) -> str:
    """The variable that ``register_model(model, …)`` or ``%mlops register model …`` registers."""
    tree = tree_of(source)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Call):
            match node:
                case ast.Call(func=ast.Attribute(attr="register_model"), args=[ast.Name(id=name), *_]):
                    return name
                case ast.Call(func=ast.Name(id="register_model"), args=[ast.Name(id=name), *_]):
                    return name
                case ast.Call(args=[ast.Constant(value="mlops"), ast.Constant(value=str(line))]):
                    words = line.split()
                    if words[:1] == ["register"] and len(words) > 1 and words[1].isidentifier():
                        return words[1]
    return ""
