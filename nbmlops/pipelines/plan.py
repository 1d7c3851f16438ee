"""From a pipeline file to what will run: order, values, candidates, pinned versions. Nothing is executed."""

from __future__ import annotations

import graphlib
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nbmlops import records
from nbmlops.errors import InvalidValue
from nbmlops.notebook import types
from nbmlops.notebook.parameters import suggestion
from nbmlops.notebook.types import Mismatch, Text
from nbmlops.pipelines import search as searches
from nbmlops.pipelines import spec as specs
from nbmlops.pipelines.faults import Faults
from nbmlops.pipelines.outside import Outside, Pins
from nbmlops.pipelines.search import Search
from nbmlops.pipelines.spec import Spec, Stage

_REFERENCE = re.compile(r"\$\{\s*params\.([^}\s]+)\s*\}")
_BRACES = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True)
class Candidate:
    """One execution of a stage's notebook: typed values to inject, and those that tell it from its siblings."""

    params: dict[str, Any]
    combination: dict[str, Any] = field(default_factory=dict)

    def label(self, stage: str) -> str:
        """``train``, or ``train[max_depth=6]`` in a sweep."""
        inner = ",".join(f"{k}={v}" for k, v in self.combination.items())
        return f"{stage}[{inner}]" if inner else stage


@dataclass(frozen=True)
class Pipeline:
    """A pipeline ready to run: stages in an order that works, what each waits for, and the executions it means.

    ``external`` are the references that are read and that no stage to run writes; ``pins`` the versions they mean.
    ``searches`` has the stages whose candidates are drawn. Those of a random search are in ``candidates``; those of
    Optuna depend on each other, so there are none before the stage runs: ``candidate`` makes one.
    """

    spec: Spec
    params: dict[str, Any]
    stages: dict[str, Stage]
    needs: dict[str, tuple[str, ...]]
    candidates: dict[str, tuple[Candidate, ...]]
    external: tuple[Any, ...]
    pins: Pins = field(default_factory=Pins)
    searches: dict[str, Search] = field(default_factory=dict)

    def candidate(self, stage: str, combination: dict[str, Any]) -> Candidate:
        """One more execution of a stage, with values that its search has drawn.

        Raises:
            InvalidValue: they do not fit the notebook's parameters.
        """
        found = self.stages[stage]
        fixed = {name: substitute(value, self.params, [], name) for name, value in found.params.items()}
        typed = found.declared.coerce({**fixed, **combination})
        return Candidate(typed, {name: typed[name] for name in combination})

    def record_params(self) -> dict[str, Any]:
        """The flow's values as JSON can carry them."""
        return types.to_json(self.params)

    def record(self) -> records.Plan:
        """The plan as a record."""
        return records.Plan(
            self.spec.name,
            self.spec.path,
            tuple(self._planned(name, stage) for name, stage in self.stages.items()),
        )

    def _planned(self, name: str, stage: Stage) -> records.PlannedStage:
        search = self.searches.get(name)
        shown = search.shown() if search else stage.matrix
        drawn = _combinations({}, search)[0] if search else {}
        first = self.candidates[name][0] if self.candidates[name] else self.candidate(name, drawn)
        return records.PlannedStage(
            stage=name,
            notebook=stage.notebook,
            needs=self.needs[name],
            reads=tuple(map(str, stage.reads)),
            writes=stage.writes,
            runs=search.runs if search else len(self.candidates[name]),
            params={**types.to_json(first.params), **types.to_json(shown)},
        )


def prepare(
    path: str | Path,
    params: Mapping[str, Any] | None = None,
    only: Iterable[str] | None = None,
    outside: Outside | None = None,
) -> Pipeline:
    """Read, check and order a pipeline; ``only`` keeps the named stages, ``outside`` is asked what the store has.

    Raises:
        InvalidValue: listing every fault of the file, of the values given and of the notebooks' parameters.
        NotFound: there is no such file.
    """
    spec, faults = specs.read(path)
    values = _flow_values(spec, params or {}, faults)
    drawn = {name: _search(stage, values, faults) for name, stage in spec.stages.items()}
    candidates = {name: _candidates(stage, values, drawn[name], faults) for name, stage in spec.stages.items()}
    needs = _needs(spec, faults)
    order = _order(needs, faults)
    wanted = {only} if isinstance(only, str) else set(only or spec.stages)
    for name in sorted(wanted - set(spec.stages)):
        near = suggestion(name, spec.stages)
        faults.add((), f"there is no stage {name!r}{near}; there are {', '.join(spec.stages)}")
    order = [name for name in order if name in wanted]
    kept = {name: tuple(n for n in needs[name] if n in wanted) for name in order}
    stages = {name: replace(spec.stages[name]) for name in order}
    external, pins = _external(stages), Pins()
    if outside is not None:
        pins = outside.pins(stages, external, faults)
        outside.request(spec.promote, faults)
    if found := faults.texts():
        raise InvalidValue.of(str(path), found, "mend the pipeline file or the values; no kernel was started")
    found_searches = {name: search for name in order if (search := drawn[name]) is not None}
    return Pipeline(spec, values, stages, kept, {n: candidates[n] for n in order}, external, pins, found_searches)


def _flow_values(spec: Spec, given: Mapping[str, Any], faults: Faults) -> dict[str, Any]:
    """The flow's values: text from a command line takes the type of the file's default where it can."""
    for name in given:
        if name not in spec.params:
            known = f"; the pipeline takes {', '.join(spec.params)}" if spec.params else "; the pipeline takes none"
            faults.add((), f"unknown parameter {name!r}{suggestion(name, spec.params)}{known}")
    return {
        name: _flow_value(given[name], default) if name in given else default for name, default in spec.params.items()
    }


def _flow_value(value: Any, default: Any) -> Any:
    if not isinstance(value, str) or isinstance(default, str):
        return str(value) if isinstance(value, Text) else value
    try:
        return types.convert(types.of_value(default), value)
    except Mismatch:  # the notebook's parameter has the last word on the type
        return types.convert(types.ANY, value)


def _search(stage: Stage, values: dict[str, Any], faults: Faults) -> Search | None:
    """The space of a stage's search, with the flow's values in it, compared with the notebook's parameters."""
    if stage.search is None:
        return None
    here: list[str] = []
    given = substitute(stage.search, values, here, "search")
    faults.extend(("stages", stage.name, "search"), here)
    if here:
        return None
    search, wrong = searches.read(given, stage.select)
    if search is not None and stage.path:
        search, wrong = search.typed(stage.declared)
    for keys, text in wrong:
        faults.add(("stages", stage.name, "search", *keys), text)
    return None if wrong else search


def _candidates(stage: Stage, values: dict[str, Any], search: Search | None, faults: Faults) -> tuple[Candidate, ...]:
    """The cells of the matrix, or those drawn at random, each with typed values; one candidate without either."""
    here: list[str] = []
    fixed = {name: substitute(value, values, here, name) for name, value in stage.params.items()}
    matrix = {name: [substitute(v, values, here, name) for v in options] for name, options in stage.matrix.items()}
    unset = {fault.partition(":")[0] for fault in here}  # their values are missing: nothing to say about the types
    if stage.search is not None and search is None:  # its faults are told already
        unset |= set(_searched(stage))
    found = []
    for chosen in _combinations(matrix, search):
        typed, wrong = stage.declared.check({**fixed, **chosen}) if stage.path else ({}, [])
        here += [fault for fault in wrong if fault.partition(":")[0] not in unset]
        found.append(Candidate(typed, {name: typed.get(name, value) for name, value in chosen.items()}))
    for fault in dict.fromkeys(here):
        faults.add(_value_place(stage, fault), fault)
    return () if search is not None and search.method == "optuna" else tuple(found)


def _combinations(matrix: dict[str, list[Any]], search: Search | None) -> list[dict[str, Any]]:
    """What tells the candidates apart; of a search with Optuna only one, so that its names are checked."""
    if search is not None:
        return searches.sample(search if search.method == "random" else replace(search, trials=1))
    return [dict(zip(matrix, cell, strict=True)) for cell in itertools.product(*matrix.values())]


def _searched(stage: Stage) -> dict[str, Any]:
    """The parameters in a search, also in one with faults."""
    params = stage.search.get("params") if isinstance(stage.search, dict) else None
    return params if isinstance(params, dict) else {}


def _value_place(stage: Stage, fault: str) -> tuple[object, ...]:
    """Where a fault of a stage's values is: they start with the parameter's name, or name it as unknown."""
    places = [*(("params", n) for n in stage.params), *(("matrix", n) for n in stage.matrix)]
    for *part, name in [*places, *(("search", "params", n) for n in _searched(stage))]:
        if fault.startswith((f"{name}:", f"unknown parameter {name!r}")):
            return ("stages", stage.name, *part, name)
    return ("stages", stage.name)


def substitute(value: Any, values: Mapping[str, Any], faults: list[str], where: str) -> Any:
    """``${params.x}`` replaced, also in lists and mappings: alone it keeps the value's type, inside text it is text."""
    if isinstance(value, dict):
        return {k: substitute(v, values, faults, where) for k, v in value.items()}
    if isinstance(value, list):
        return [substitute(v, values, faults, where) for v in value]
    if not isinstance(value, str):
        return value
    for body in _BRACES.findall(value):
        name = body.strip().removeprefix("params.")
        if not body.strip().startswith("params."):
            faults.append(f"{where}: ${{{body}}} is not known; write ${{params.NAME}}")
        elif name not in values:
            faults.append(f"{where}: the pipeline has no parameter {name!r}{suggestion(name, values)}")
    whole = _REFERENCE.fullmatch(value.strip())
    if whole:
        return values.get(whole[1])
    return _REFERENCE.sub(lambda match: str(values.get(match[1])), value)


def _needs(spec: Spec, faults: Faults) -> dict[str, tuple[str, ...]]:
    """What each stage waits for: those named in ``needs`` and those that write what it reads."""
    writers: dict[str, str] = {}
    for name, stage in spec.stages.items():
        for thing in stage.writes:
            if thing in writers:
                text = f"stages {writers[thing]} and {name} both write {thing}; one thing has one writer"
                faults.add(("stages", name, "writes"), text)
            writers.setdefault(thing, name)
    found = {}
    for name, stage in spec.stages.items():
        for index, other in enumerate(stage.needs):
            place = ("stages", name, "needs", index)
            if other not in spec.stages:
                near = suggestion(other, spec.stages)
                faults.add(place, f"needs {other!r}, and there is no such stage{near}")
            elif other == name:
                faults.add(place, "needs itself")
        read = [
            writers[key]
            for ref in stage.reads
            if ref.version is None and ref.alias is None and (key := str(ref)) in writers
        ]
        waits = [n for n in (*stage.needs, *read) if n != name and n in spec.stages]
        found[name] = tuple(dict.fromkeys(waits))
    return found


def _order(needs: dict[str, tuple[str, ...]], faults: Faults) -> list[str]:
    """An order in which everything comes after what it waits for; otherwise as in the file."""
    try:
        return list(graphlib.TopologicalSorter(needs).static_order())
    except graphlib.CycleError as error:
        faults.add((), f"the stages wait for each other in a circle: {' -> '.join(reversed(error.args[1]))}")
        return list(needs)


def _external(stages: dict[str, Stage]) -> tuple[Any, ...]:
    """What is read and comes from outside: it names a version, or nobody but the reading stage writes it."""
    written = {thing: name for name, stage in stages.items() for thing in stage.writes}
    found = []
    for name, stage in stages.items():
        for ref in stage.reads:
            fixed = ref.version is not None or ref.alias is not None
            if fixed or written.get(str(ref), name) == name:
                found.append(ref)
    return tuple(dict.fromkeys(found))
