"""A stage in progress: its executions so far, and in a sweep the choice among them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nbmlops.errors import StageFailed
from nbmlops.pipelines.candidates import Candidate
from nbmlops.pipelines.spec import Select, Stage
from nbmlops.records import StageRun

if TYPE_CHECKING:
    from nbmlops.pipelines.plan import Pipeline
    from nbmlops.pipelines.study import Study
    from nbmlops.runs.live import LiveRun

PRUNED = "PRUNED"


@dataclass
class Sweep:
    """One stage of a flow. Without a matrix or a search it is a single candidate.

    ``run`` holds the executions of a sweep together; there is none as long as all of them are reused. ``study``
    chooses the trials of a search, whose candidates grow while it runs.
    """

    stage: Stage
    candidates: list[Candidate]
    expected: int
    study: Study | None = None
    run: LiveRun | None = None
    results: dict[int, StageRun] = field(default_factory=dict)
    pruned: set[int] = field(default_factory=set)

    @property
    def done(self) -> bool:
        """Whether every candidate there will be has its result."""
        return len(self.results) >= self.expected

    def drawn(self, pipeline: Pipeline) -> int | None:
        """The place of one more trial of the study; None when there are to be no more."""
        asked = self.study.ask() if self.study is not None else None
        if asked is None:
            return None
        number, combination = asked
        self.candidates.append(pipeline.candidate(self.stage.name, combination))
        return number

    def take(self, place: int, run: StageRun) -> None:
        """The end of an execution; a study learns from it."""
        self.results[place] = run
        if self.study is not None and self.stage.select is not None:
            self.study.tell(place, run.metrics.get(self.stage.select.metric), run.status)

    def label(self, place: int) -> str:
        return self.candidates[place].label(self.stage.name)

    def runs(self) -> list[StageRun]:
        """The results in the order of the candidates."""
        return [self.results[place] for place in sorted(self.results)]

    def end(self, status: str, error: dict[str, Any] | None = None) -> None:
        if self.run is not None:  # one that ended well has ended already
            self.run.end(status, error)

    def skipped(self) -> str | None:
        """The reason, where every execution ended early on purpose."""
        runs = self.runs()
        return (runs[0].reason or "no reason given") if runs and all(r.status == "SKIPPED" for r in runs) else None

    def handed_on(self, chosen: StageRun | None) -> dict[str, Any]:
        """Results for the stages after it: of the only or the chosen execution, else lists in the candidates' order."""
        return together([run.results for run in ([chosen] if chosen else self.runs())])

    def choose(self, select: Select) -> tuple[int, list[str]]:
        """The candidate with the best metric, the first of equals, and those without a number, named.

        Raises:
            StageFailed: none logged a number.
        """
        scored = {p: run.metrics[select.metric] for p, run in self.results.items() if _has(run, select.metric)}
        unscored = [
            f"{self.label(place)} ({select.metric}={run.metrics.get(select.metric, 'missing')})"
            for place, run in sorted(self.results.items())
            if place not in scored
        ]
        if not scored:
            logged = sorted({key for run in self.results.values() for key in run.metrics})
            message = f"no candidate logged a number as {select.metric!r}: {', '.join(unscored)}"
            hint = f"they logged {', '.join(logged)}" if logged else "log it in the notebook with log_metric"
            first = self.runs()[0]
            where = self.run.run_id if self.run else first.run_id
            raise StageFailed(f"stage {self.stage.name}: {message}", hint, where, first.notebook)
        sign = 1 if select.mode == "max" else -1
        return max(scored, key=lambda place: (sign * scored[place], -place)), unscored


def together(results: list[dict[str, Any]]) -> dict[str, Any]:
    """What several executions handed on: of one as it is, of more as lists in their order."""
    if len(results) == 1:
        return results[0]
    names = dict.fromkeys(name for each in results for name in each)
    return {name: [each.get(name) for each in results] for name in names}


def reused(run: StageRun, flow_id: str) -> StageRun:
    """An earlier result as a stage of this flow."""
    return replace(run, reused=True, flow_id=flow_id)


def _has(run: StageRun, metric: str) -> bool:
    return run.status == "FINISHED" and math.isfinite(run.metrics.get(metric, math.nan))
