"""From a planned stage to the works it means, and to what would become of each of them."""

from __future__ import annotations

import ast
import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from nbmlops import kernels
from nbmlops.errors import NbmlopsError, StageFailed
from nbmlops.notebook import cells, parameters
from nbmlops.pipelines import graphs
from nbmlops.pipelines.candidates import Candidate, resolve
from nbmlops.pipelines.plan import Pipeline
from nbmlops.pipelines.reuse import FRESH, STALE, Reuse, Verdict
from nbmlops.pipelines.spec import Stage
from nbmlops.pipelines.sweep import Sweep
from nbmlops.pipelines.work import Work
from nbmlops.records import StageRun
from nbmlops.refs import parse

WAITS = "waits"
# These load or write model packages, and skops looks at all of scikit-learn when it is imported: two seconds.
_PACKAGING = frozenset({"register_model", "log_model", "load_model", "predict"})
States = dict[str, tuple[str, tuple[str, ...]]]


def build(pipeline: Pipeline, name: str, candidate: Candidate, pins: Mapping[str, int]) -> Work:
    """The work of one candidate of a stage; ``pins`` are the versions that references without one mean."""
    stage = pipeline.stages[name]
    meant = dict(pins)
    for ref in pipeline.reads[name]:
        if (version := pipeline.pins.named.get(str(ref))) is not None:
            meant[str(ref)] = version
            if ref in stage.reads:  # declared: the notebook may also ask for it by its bare name
                meant[f"{ref.kind}:{ref.name}"] = version
    return Work(
        stage=name,
        label=candidate.label(name),
        notebook=stage.notebook,
        path=stage.path,
        document=stage.document,
        declared=stage.declared,
        params=candidate.params,
        pins=meant,
        reads=pipeline.reads[name],
        writes=stage.writes,
        contracts=stage.contracts,
        candidate=stage.select is not None,
        limits=stage.limits,
        kernel=stage.kernel,
        skip=stage.skip,
        cache=stage.cache,
        files=stage.files,
        variables=stage.variables,
        experiment=pipeline.spec.name,
    )


def threads(pipeline: Pipeline, name: str, workers: int) -> int | None:
    """Threads for numeric libraries in a stage's kernels, where several run at once; None leaves them all to one.

    What can run beside a stage is itself in a sweep, and every stage that neither waits for it nor it for them.
    """
    apart = {name} | graphs.before(pipeline.needs, name)
    apart |= {other for other in pipeline.needs if name in graphs.before(pipeline.needs, other)}
    beside = [name, *(other for other in pipeline.stages if other not in apart)]
    runs = (pipeline.searches[n].runs if n in pipeline.searches else len(pipeline.candidates[n]) for n in beside)
    side_by_side = min(sum(runs), workers)
    return max(1, (os.cpu_count() or 1) // side_by_side) if side_by_side > 1 else None


def judge(pipeline: Pipeline, reuse: Reuse, record: Callable[[str], StageRun]) -> States:
    """What would become of each stage if the pipeline ran now, and why; ``record`` gives the run of an id.

    A stage whose inputs a stage before it would write anew ``waits``: it is executed only if they come out different.
    """
    pins, results = dict(pipeline.pins.latest), dict[str, dict[str, Any]]()
    states, open_ = States(), dict[str, str]()
    for name, stage in pipeline.stages.items():
        awaited = [open_[str(ref)] for ref in pipeline.reads[name] if str(ref) in open_]
        handing = [o for o in pipeline.needs[name] if states[o][0] != FRESH and _takes(stage.params, o)]
        verdicts = [
            _apart_from(c, handing, _verdict(pipeline, name, c, (pins, results), reuse))
            for c in pipeline.candidates[name]
        ]
        states[name] = _state(name, verdicts, list(dict.fromkeys([*awaited, *handing])))
        if states[name][0] == FRESH:
            made, results[name] = _outcome(stage, pipeline.candidates[name], [record(v.run_id or "") for v in verdicts])
            pins |= made
        else:
            open_ |= dict.fromkeys(pipeline.writes[name], name)
    return states


def _outcome(stage: Stage, found: Iterable[Candidate], runs: list[StageRun]) -> tuple[dict[str, int], dict[str, Any]]:
    """The versions that a stage's earlier executions wrote, and what they handed on."""
    sweep = Sweep(stage, list(found), len(runs), results=dict(enumerate(runs)))
    chosen = None
    if stage.select is not None:
        with contextlib.suppress(StageFailed):  # told when it is run
            chosen = runs[sweep.choose(stage.select)[0]]
    made = [parse(text) for run in ([chosen] if chosen else runs) for text in run.outputs]
    return {f"{ref.kind}:{ref.name}": ref.version for ref in made if ref.version}, sweep.handed_on(chosen)


def _takes(params: Mapping[str, Any], stage: str) -> bool:
    return f"stages.{stage}." in str(params)


def _verdict(
    pipeline: Pipeline,
    name: str,
    candidate: Candidate,
    so_far: tuple[dict[str, int], dict[str, dict[str, Any]]],
    reuse: Reuse,
) -> Verdict:
    pins, results = so_far
    if candidate.later:
        params, faults = resolve(pipeline.stages[name], candidate, results)
        candidate = candidate if faults else replace(candidate, params=params)
    work = build(pipeline, name, candidate, pins)
    try:
        return reuse.judge(work)
    except NbmlopsError as error:  # a notebook that cannot be read to the end is executed, and tells so itself
        return Verdict(replace(work, why=(error.message,)), STALE, (error.message,))


def _apart_from(candidate: Candidate, handing: list[str], verdict: Verdict) -> Verdict:
    """The verdict without what it says of values that stages before it are still to hand on."""
    unknown = [f"{name} " for name, value in candidate.later.items() if any(_takes({name: value}, o) for o in handing)]
    why = tuple(text for text in verdict.why if not text.startswith(tuple(unknown)))
    if verdict.state == STALE and verdict.why and not why:
        return Verdict(verdict.work, FRESH)
    return replace(verdict, why=why)


def _state(name: str, verdicts: list[Verdict], awaited: list[str]) -> tuple[str, tuple[str, ...]]:
    if not verdicts:
        return STALE, ("its trials are chosen while it runs; those already done are not repeated",)
    stale = [verdict for verdict in verdicts if verdict.state != FRESH]
    if not stale:
        if awaited:
            results = "results" if len(awaited) > 1 else "result"
            stay = "stay" if len(awaited) > 1 else "stays"
            return WAITS, (f"reused if the {results} of {', '.join(awaited)} {stay} the same",)
        return FRESH, ()
    why = list(dict.fromkeys(text for verdict in stale for text in verdict.why))
    if len(verdicts) > 1 and len(stale) < len(verdicts):
        why[:1] = [f"{len(stale)} of {len(verdicts)} candidates: {''.join(why[:1])}"]
    return stale[0].state, tuple(why)


def _last(node: ast.Name | ast.Attribute) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr


def preload(documents: Iterable[tuple[bytes, str]]) -> tuple[str, ...]:
    """What these notebooks (bytes and name) import and a warm kernel may have imported already.

    pandas is always there: data sets are frames, and pipelines with the same list share what waits for their kernels.
    """
    found = {"nbmlops", "pandas"}
    for document, name in documents:
        if not document:
            continue
        for cell in cells.code_digests(parameters.parse_document(document, name)):
            for node in ast.walk(cell.tree) if cell.tree else ():
                if isinstance(node, ast.Import):
                    found |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found.add(node.module)
                elif isinstance(node, ast.Name | ast.Attribute) and _last(node) in _PACKAGING:
                    found.add("skops.io")
    return tuple(kernels.preloadable(found))
