"""From a pipeline file to what will run: order, values, candidates, pinned versions. Nothing is executed."""

from __future__ import annotations

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
from nbmlops.pipelines.candidates import Candidate, candidate, candidates, combinations, search_of
from nbmlops.pipelines.faults import Faults
from nbmlops.pipelines.outside import Outside, Pins
from nbmlops.pipelines.search import Search
from nbmlops.pipelines.spec import Spec, Stage
from nbmlops.refs import Ref


@dataclass(frozen=True)
class Pipeline:
    """A pipeline ready to run: stages in an order that works, what each waits for, and the executions it means.

    ``external`` are the references that are read and that no stage to run writes; ``pins`` the versions they mean.
    ``reads`` and ``writes`` hold what stages declare and what was found in their cells. ``searches`` has the stages
    whose candidates are drawn. Those of a random search are in ``candidates``; those of Optuna depend on each other, so
    there are none before the stage runs: ``candidate`` makes one.
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
    searches: dict[str, Search] = field(default_factory=dict)

    def candidate(self, stage: str, combination: Mapping[str, Any]) -> Candidate:
        """One more execution of a stage, with values that its search has drawn.

        Raises:
            InvalidValue: they do not fit the notebook's parameters.
        """
        faults: list[str] = []
        found = candidate(self.stages[stage], self.params, combination, faults)
        if faults:
            raise InvalidValue.of(f"a trial of stage {stage}", faults, "mend the search in the pipeline file")
        return found

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
            tuple(self._planned(name, *known.get(name, ("stale", ()))) for name in self.stages),
        )

    def _planned(self, name: str, state: str, why: tuple[str, ...]) -> records.PlannedStage:
        stage, search = self.stages[name], self.searches.get(name)
        drawn = combinations({}, search)[0] if search else {}
        first = self.candidates[name][0] if self.candidates[name] else self.candidate(name, drawn)
        swept = search.shown() if search else stage.matrix
        return records.PlannedStage(
            stage=name,
            notebook=stage.notebook,
            needs=self.needs[name],
            reads=tuple(map(str, self.reads[name])),
            writes=self.writes[name],
            runs=search.runs if search else len(self.candidates[name]),
            params={**types.to_json(first.params), **first.later, **types.to_json(swept)},
            state=state,
            why=why,
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
    drawn = {name: search_of(stage, values, faults) for name, stage in spec.stages.items()}
    found = {name: candidates(stage, values, drawn[name], faults) for name, stage in spec.stages.items()}
    graph = graphs.build(spec, faults)
    wanted = _wanted(spec, graph.needs, faults, only, start)
    order = [name for name in graph.order if name in wanted]
    kept = {name: tuple(n for n in graph.needs[name] if n in wanted) for name in order}
    stages = {name: spec.stages[name] for name in order}
    external, pins = graphs.external(stages, graph), Pins()
    if outside is not None:
        pins = outside.pins(stages, external, faults)
        outside.request(spec.promote, faults)
    if wrong := faults.texts():
        raise InvalidValue.of(str(path), wrong, "mend the pipeline file or the values; no kernel was started")
    return Pipeline(
        spec=spec,
        params=values,
        stages=stages,
        needs=kept,
        candidates={name: found[name] for name in order},
        external=external,
        reads={name: graph.reads[name] for name in order},
        writes={name: graph.writes[name] for name in order},
        pins=pins,
        searches={name: search for name, search in drawn.items() if search is not None and name in stages},
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
