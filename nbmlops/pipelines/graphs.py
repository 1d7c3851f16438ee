"""Which stage waits for which: from what they need, declare, hand on, and from what is found in their cells.

What is only found in cells orders stages where it can, and is never a fault: code may ask for things that need not be.
"""

from __future__ import annotations

import graphlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nbmlops.errors import InvalidValue
from nbmlops.notebook import parameters
from nbmlops.notebook import uses as cells
from nbmlops.notebook.parameters import suggestion
from nbmlops.pipelines.faults import Faults
from nbmlops.pipelines.spec import Spec, Stage
from nbmlops.refs import Ref, parse

_RESULT = re.compile(r"\$\{\s*stages\.([^}]*?)\.\w+\s*\}")


@dataclass(frozen=True)
class Graph:
    """What each stage reads, writes and waits for, and an order that suits all."""

    reads: dict[str, tuple[Ref, ...]]
    writes: dict[str, tuple[str, ...]]
    needs: dict[str, tuple[str, ...]]
    order: list[str]


def build(spec: Spec, faults: Faults) -> Graph:
    """The graph of a pipeline's stages; circles, two writers of one thing and unknown names are faults."""
    reads, writes = {}, {}
    for name, stage in spec.stages.items():
        seen_reads, seen_writes = _seen(stage)
        reads[name] = tuple(dict.fromkeys([*stage.reads, *seen_reads]))
        writes[name] = tuple(dict.fromkeys([*stage.writes, *seen_writes]))
    needs = _declared(spec, faults)
    order = _order(needs, faults)
    _add_seen(spec, needs, reads, writes)
    return Graph(
        reads, writes, {n: tuple(w) for n, w in needs.items()}, _order(needs, faults) if order else list(needs)
    )


def external(stages: Mapping[str, Stage], graph: Graph) -> tuple[Ref, ...]:
    """What is read and comes from outside: it names a version, or nobody but the reading stage writes it."""
    written: dict[str, set[str]] = {}
    for name in stages:
        for thing in graph.writes[name]:
            written.setdefault(thing, set()).add(name)
    found = []
    for name in stages:
        for ref in graph.reads[name]:
            fixed = ref.version is not None or ref.alias is not None
            if fixed or written.get(str(ref), {name}) == {name}:
                found.append(ref)
    return tuple(dict.fromkeys(found))


def _seen(stage: Stage) -> tuple[list[Ref], list[str]]:
    """What a stage's cells read and write by names that can be read off them, beyond what it declares."""
    if not stage.document:
        return [], []
    try:
        found = cells.uses(parameters.parse_document(stage.document, stage.notebook))
    except InvalidValue:  # told already, when the notebook was read
        return [], []
    declared = {str(ref) for ref in stage.reads} | set(stage.writes)
    reads = [parse(text) for text in found.reads if text not in declared and text not in found.writes]
    return reads, [text for text in found.writes if text not in declared]


def _declared(spec: Spec, faults: Faults) -> dict[str, list[str]]:
    """What each stage waits for by what the file says."""
    writers: dict[str, str] = {}
    for name, stage in spec.stages.items():
        for thing in stage.writes:
            if thing in writers:
                text = f"stages {writers[thing]} and {name} both write {thing}; one thing has one writer"
                faults.add(("stages", name, "writes"), text)
            writers.setdefault(thing, name)
    found = {}
    for name, stage in spec.stages.items():
        read = [writers[str(ref)] for ref in stage.reads if str(ref) in writers]
        waits = [*_named(spec, stage, faults), *read]
        found[name] = list(dict.fromkeys(n for n in waits if n != name and n in spec.stages))
    return found


def _named(spec: Spec, stage: Stage, faults: Faults) -> list[str]:
    """Stages named in ``needs``, and in values that take their results."""
    for index, other in enumerate(stage.needs):
        place = ("stages", stage.name, "needs", index)
        if other not in spec.stages:
            faults.add(place, f"needs {other!r}, and there is no such stage{suggestion(other, spec.stages)}")
        elif other == stage.name:
            faults.add(place, "needs itself")
    handed = []
    for name, value in stage.params.items():
        for other in _RESULT.findall(str(value)):
            handed.append(other)
            at = ("stages", stage.name, "params", name)
            if other not in spec.stages:
                faults.add(at, f"{name}: there is no stage {other!r}{suggestion(other, spec.stages)}")
            elif other == stage.name:
                faults.add(at, f"{name}: a stage cannot take its own results")
    return [*stage.needs, *handed]


def _order(needs: Mapping[str, list[str]], faults: Faults) -> list[str]:
    """An order in which everything comes after what it waits for; otherwise as in the file. Empty if there is none."""
    try:
        return list(graphlib.TopologicalSorter(needs).static_order())
    except graphlib.CycleError as error:
        faults.add((), f"the stages wait for each other in a circle: {' -> '.join(reversed(error.args[1]))}")
        return []


def _add_seen(
    spec: Spec,
    needs: dict[str, list[str]],
    reads: Mapping[str, tuple[Ref, ...]],
    writes: Mapping[str, tuple[str, ...]],
) -> None:
    """Let stages also wait for those in whose cells what they read is seen to be written; never in a circle."""
    writers: dict[str, str] = {}
    for name, stage in spec.stages.items():
        writers |= dict.fromkeys(stage.writes, name)
    for name, things in writes.items():
        for thing in things:
            writers.setdefault(thing, name)
    for name, refs in reads.items():
        for ref in refs:
            other = writers.get(str(ref))
            if other and other != name and other not in needs[name] and name not in before(needs, other):
                needs[name].append(other)


def before(needs: Mapping[str, Iterable[str]], name: str) -> set[str]:
    """All stages that a stage waits for, also through others."""
    found: set[str] = set()
    todo = list(needs.get(name, ()))
    while todo:
        at = todo.pop()
        if at not in found:
            found.add(at)
            todo += needs.get(at, ())
    return found
