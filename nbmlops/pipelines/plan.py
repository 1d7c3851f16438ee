"""From a pipeline file to what will run: order, values, candidates, pinned versions. Nothing is executed."""

from __future__ import annotations

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
from nbmlops.pipelines import graphs
from nbmlops.pipelines import spec as specs
from nbmlops.pipelines.faults import Faults
from nbmlops.pipelines.outside import Outside, Pins
from nbmlops.pipelines.spec import Spec, Stage
from nbmlops.refs import Ref

_REFERENCE = re.compile(r"\$\{\s*params\.([^}\s]+)\s*\}")
_BRACES = re.compile(r"\$\{([^}]*)\}")
_RESULT = re.compile(r"\$\{\s*stages\.([^}]+?)\.(\w+)\s*\}")


@dataclass(frozen=True)
class Candidate:
    """One execution of a stage's notebook: typed values to inject, and those that tell it from its siblings.

    ``later`` are values that name results of other stages, as written: they are known when those are done.
    """

    params: dict[str, Any]
    combination: dict[str, Any] = field(default_factory=dict)
    later: dict[str, Any] = field(default_factory=dict)

    def label(self, stage: str) -> str:
        """``train``, or ``train[max_depth=6]`` in a sweep."""
        inner = ",".join(f"{k}={v}" for k, v in self.combination.items())
        return f"{stage}[{inner}]" if inner else stage


@dataclass(frozen=True)
class Pipeline:
    """A pipeline ready to run: stages in an order that works, what each waits for, and the executions it means.

    ``external`` are the references that are read and that no stage to run writes; ``pins`` the versions they mean.
    ``reads`` and ``writes`` hold what stages declare and what was found in their cells.
    """

    spec: Spec
    params: dict[str, Any]
    stages: dict[str, Stage]
    needs: dict[str, tuple[str, ...]]
    candidates: dict[str, tuple[Candidate, ...]]
    external: tuple[Any, ...]
    reads: dict[str, tuple[Ref, ...]]
    writes: dict[str, tuple[str, ...]]
    pins: Pins = field(default_factory=Pins)

    def record_params(self) -> dict[str, Any]:
        """The flow's values as JSON can carry them."""
        return types.to_json(self.params)

    def pinned(self, pins: Mapping[str, int]) -> Pipeline:
        """The same with the versions that an earlier flow had pinned, where it had."""
        latest = {key: pins.get(key, version) for key, version in self.pins.latest.items()}
        named = {key: pins.get(key, version) for key, version in self.pins.named.items()}
        return replace(self, pins=Pins(latest, named))

    def record(self, states: Mapping[str, tuple[str, tuple[str, ...]]] | None = None) -> records.Plan:
        """The plan as a record; ``states`` says what would become of each stage, and why."""
        known = states or {}
        return records.Plan(
            self.spec.name,
            self.spec.path,
            tuple(
                records.PlannedStage(
                    stage=name,
                    notebook=stage.notebook,
                    needs=self.needs[name],
                    reads=tuple(map(str, self.reads[name])),
                    writes=self.writes[name],
                    runs=len(self.candidates[name]),
                    params=_shown_params(stage, self.candidates[name]),
                    state=known.get(name, ("stale", ()))[0],
                    why=known.get(name, ("stale", ()))[1],
                )
                for name, stage in self.stages.items()
            ),
        )


def prepare(
    path: str | Path,
    params: Mapping[str, Any] | None = None,
    only: Iterable[str] | None = None,
    outside: Outside | None = None,
    *,
    start: str | None = None,
) -> Pipeline:
    """Read, check and order a pipeline; ``outside`` is asked what the store has.

    ``only`` keeps the named stages, ``start`` that stage and all that come after it.

    Raises:
        InvalidValue: listing every fault of the file, of the values given and of the notebooks' parameters.
        NotFound: there is no such file.
    """
    spec, faults = specs.read(path)
    values = _flow_values(spec, params or {}, faults)
    candidates = {name: _candidates(stage, values, faults) for name, stage in spec.stages.items()}
    graph = graphs.build(spec, faults)
    wanted = _wanted(spec, graph.needs, faults, only, start)
    order = [name for name in graph.order if name in wanted]
    kept = {name: tuple(n for n in graph.needs[name] if n in wanted) for name in order}
    stages = {name: spec.stages[name] for name in order}
    external, pins = graphs.external(stages, graph), Pins()
    if outside is not None:
        pins = outside.pins(stages, external, faults)
        outside.request(spec.promote, faults)
    if found := faults.texts():
        raise InvalidValue.of(str(path), found, "mend the pipeline file or the values; no kernel was started")
    return Pipeline(
        spec, values, stages, kept, {n: candidates[n] for n in order}, external, graph.reads, graph.writes, pins
    )


def _wanted(
    spec: Spec,
    needs: Mapping[str, tuple[str, ...]],
    faults: Faults,
    only: Iterable[str] | None,
    start: str | None,
) -> set[str]:
    """The stages to run: all, those named, or one and everything that waits for it."""
    wanted = {only} if isinstance(only, str) else set(only or spec.stages)
    for name in sorted((wanted | ({start} if start else set())) - set(spec.stages)):
        near = suggestion(name, spec.stages)
        faults.add((), f"there is no stage {name!r}{near}; there are {', '.join(spec.stages)}")
    if start is None:
        return wanted
    after = {start}
    while more := {name for name, waits in needs.items() if name not in after and after & set(waits)}:
        after |= more
    return wanted & after


def _shown_params(stage: Stage, candidates: tuple[Candidate, ...]) -> dict[str, Any]:
    first = candidates[0] if candidates else Candidate({})
    return {**types.to_json(first.params), **first.later, **types.to_json(stage.matrix)}


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


def _candidates(stage: Stage, values: dict[str, Any], faults: Faults) -> tuple[Candidate, ...]:
    """The cells of the matrix, each with typed values; one candidate without a matrix."""
    here: list[str] = []
    matrix = {name: [substitute(v, values, here, name) for v in options] for name, options in stage.matrix.items()}
    found = [
        candidate(stage, values, dict(zip(matrix, combination, strict=True)), here)
        for combination in itertools.product(*matrix.values())
    ]
    for fault in dict.fromkeys(here):
        faults.add(_value_place(stage, fault), fault)
    return tuple(found)


def candidate(stage: Stage, values: Mapping[str, Any], chosen: Mapping[str, Any], faults: list[str]) -> Candidate:
    """The execution of a stage with these values of its sweep; what is wrong with them is added to ``faults``."""
    here: list[str] = []
    given = {name: substitute(value, values, here, name) for name, value in stage.params.items()}
    later = {name: value for name, value in given.items() if _RESULT.search(str(value))}
    fixed = {name: value for name, value in given.items() if name not in later}
    here += [f"{n}: a sweep cannot take results of stages" for n, v in chosen.items() if _RESULT.search(str(v))]
    typed, wrong = stage.declared.check({**fixed, **chosen}) if stage.path else ({}, [])
    # Where a value is missing or comes later there is nothing to say about its type.
    unset = {fault.partition(":")[0] for fault in here} | set(later)
    faults += [*here, *(fault for fault in wrong if fault.partition(":")[0] not in unset)]
    if stage.path:
        unknown = {name: None for name in later if name not in stage.declared.items}
        faults += stage.declared.check(unknown)[1] if unknown else []
    return Candidate(typed, {name: typed.get(name, value) for name, value in chosen.items()}, later)


def resolve(
    stage: Stage, found: Candidate, results: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Any], list[str]]:
    """The values of a candidate once the stages before it are done, and what is wrong with them."""
    given: dict[str, Any] = {}
    faults: list[str] = []
    for name, value in found.later.items():
        given[name] = _with_results(value, results, faults, name)
    if faults:
        return {}, faults
    typed, wrong = stage.declared.check({**found.params, **given})
    return typed, wrong


def _with_results(value: Any, results: Mapping[str, Mapping[str, Any]], faults: list[str], where: str) -> Any:
    if isinstance(value, dict):
        return {k: _with_results(v, results, faults, where) for k, v in value.items()}
    if isinstance(value, list):
        return [_with_results(v, results, faults, where) for v in value]
    if not isinstance(value, str):
        return value
    for stage, name in _RESULT.findall(value):
        if name not in results.get(stage, {}):
            there = ", ".join(results.get(stage, {})) or "nothing"
            faults.append(f"{where}: stage {stage} handed on no {name!r}; it handed on {there}")
            return None
    if whole := _RESULT.fullmatch(value.strip()):
        return results[whole[1]][whole[2]]
    return _RESULT.sub(lambda match: str(results[match[1]][match[2]]), value)


def _value_place(stage: Stage, fault: str) -> tuple[object, ...]:
    """Where a fault of a stage's values is: they start with the parameter's name, or name it as unknown."""
    for part, names in (("params", stage.params), ("matrix", stage.matrix)):
        for name in names:
            if fault.startswith((f"{name}:", f"unknown parameter {name!r}")):
                return ("stages", stage.name, part, name)
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
        if _RESULT.fullmatch(f"${{{body}}}"):  # filled in when that stage is done
            continue
        if not body.strip().startswith("params."):
            faults.append(f"{where}: ${{{body}}} is not known; write ${{params.NAME}} or ${{stages.STAGE.NAME}}")
        elif name not in values:
            faults.append(f"{where}: the pipeline has no parameter {name!r}{suggestion(name, values)}")
    whole = _REFERENCE.fullmatch(value.strip())
    if whole:
        return values.get(whole[1])
    return _REFERENCE.sub(lambda match: str(values.get(match[1])), value)
