"""Optuna behind a search: it proposes candidates, is told how they ended, and says which are not worth finishing."""

from __future__ import annotations

import contextlib
import math
import random
import warnings
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from nbmlops import lazy
from nbmlops.pipelines.search import Choices, Range, Search, draw, values
from nbmlops.pipelines.spec import Select

FINISHED, PRUNED = "FINISHED", "PRUNED"


class Study:
    """Ask for a candidate, run it, tell its end; from one thread. Kept in memory: the store has the runs.

    Trials count from 0. With the same seed, and each trial told before the next is asked for, all comes out the same;
    side by side, what is proposed depends on which ended first. No candidate is proposed twice where the space has an
    end.

    Raises:
        MissingLibrary: Optuna is not installed.
    """

    def __init__(self, search: Search, select: Select) -> None:
        self._optuna = lazy.need("optuna", "a search with method: optuna", "optuna")
        self._search, self._select = search, select
        self._generator = random.Random(search.seed)
        self._trials: list[Any] = []
        self._drawn: dict[tuple[Any, ...], int] = {}
        self._values: dict[int, float] = {}
        with _quiet(self._optuna):
            self._space = {name: _distribution(self._optuna, part) for name, part in search.space.items()}
            self._study = self._optuna.create_study(
                direction="maximize" if select.mode == "max" else "minimize",
                sampler=self._sampler(),
                pruner=self._pruner(),
            )

    def _sampler(self) -> Any:
        """TPE, which needs some trials by chance first; running ones count as bad, so that workers spread."""
        return self._optuna.samplers.TPESampler(
            n_startup_trials=min(10, max(3, self._search.trials // 3)),
            multivariate=True,
            constant_liar=True,
            seed=self._search.seed,
        )

    def _pruner(self) -> Any:
        """The median of the trials before at the same step, once there are a few of them."""
        if not self._search.prune:
            return self._optuna.pruners.NopPruner()
        return self._optuna.pruners.MedianPruner(n_startup_trials=min(5, max(1, self._search.trials // 4)))

    def ask(self) -> tuple[int, dict[str, Any]] | None:
        """The number of the next trial and its parameters; None when all trials, or the whole space, were asked for."""
        if len(self._trials) >= self._search.runs:
            return None
        with _quiet(self._optuna):
            trial = self._study.ask(self._space)
            if self._search.size is not None and tuple(trial.params.values()) in self._drawn:
                self._repeated(trial)
                self._study.enqueue_trial(self._unseen())
                trial = self._study.ask(self._space)
        number = len(self._trials)
        self._trials.append(trial)
        self._drawn[tuple(trial.params.values())] = number
        return number, values(self._search, trial.params)

    def _repeated(self, trial: Any) -> None:
        """A candidate that was there before ends as it did, without being run."""
        value = self._values.get(self._drawn[tuple(trial.params.values())])
        state = self._optuna.trial.TrialState
        self._study.tell(trial, value, state=state.FAIL if value is None else state.COMPLETE)

    def _unseen(self) -> dict[str, float]:
        """A candidate by chance that was not there before; there is one, or nobody would ask."""
        while True:
            drawn = draw(self._search, self._generator)
            if tuple(drawn[name] for name in self._space) not in self._drawn:
                return drawn

    def tell(self, number: int, value: float | None, status: str) -> None:
        """How a trial ended: FINISHED with its metric, PRUNED, or anything else, from which nothing is learned.

        A FINISHED trial without a number counts as one that failed.
        """
        states, trial = self._optuna.trial.TrialState, self._trials[number]
        with _quiet(self._optuna):
            if status == PRUNED:
                self._study.tell(trial, state=states.PRUNED)
            elif status == FINISHED and value is not None and math.isfinite(value):
                self._study.tell(trial, value)
                self._values[number] = value
            else:
                self._study.tell(trial, state=states.FAIL)

    @property
    def prunes(self) -> bool:
        """Whether trials that fall behind are to be stopped."""
        return self._search.prune

    def should_prune(self, number: int, points: Sequence[tuple[int | None, float]]) -> bool:
        """Whether a running trial is not worth finishing, by its points ``(step, value)`` so far, in order of steps.

        Points seen before may be given again; those without a step, or with one below zero, cannot be compared.
        """
        if not self._search.prune:
            return False
        trial = self._trials[number]
        with _quiet(self._optuna):
            seen = self._study.trials[trial.number].intermediate_values
            for step, value in points:
                if step is not None and step >= 0 and step not in seen:
                    trial.report(value, step)
                    seen[step] = value
            return bool(seen) and trial.should_prune()

    def best(self) -> tuple[int, dict[str, Any], float] | None:
        """Number, parameters and metric of the best trial that finished, the first of equals; None without one."""
        if not self._values:
            return None
        sign = 1 if self._select.mode == "max" else -1
        number = max(self._values, key=lambda n: (sign * self._values[n], -n))
        return number, values(self._search, self._trials[number].params), self._values[number]


def _distribution(optuna: ModuleType, part: Choices | Range) -> Any:
    """Places, as they are drawn: Optuna cannot keep lists or dates as choices, and rounds steps its own way."""
    if isinstance(part, Choices):
        return optuna.distributions.CategoricalDistribution(tuple(range(part.size)))
    if part.grid:
        return optuna.distributions.IntDistribution(0, (part.size or 1) - 1)
    if part.whole:
        return optuna.distributions.IntDistribution(int(part.low), int(part.high), log=part.log)
    return optuna.distributions.FloatDistribution(part.low, part.high, log=part.log)


@contextlib.contextmanager
def _quiet(optuna: ModuleType) -> Iterator[None]:
    """Without Optuna's news of each trial and of experimental options; afterwards it is as the user had set it."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
