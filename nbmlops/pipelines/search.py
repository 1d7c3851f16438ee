"""Sweeps that draw their candidates from a space: at random, or with Optuna, which learns from those before.

Everything here is pure: a space is read, checked and drawn from; what runs the candidates is the flow, and
:mod:`nbmlops.pipelines.study` asks Optuna.
"""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nbmlops.notebook import types
from nbmlops.notebook.parameters import Parameters, suggestion
from nbmlops.notebook.types import Mismatch, Type

if TYPE_CHECKING:
    from nbmlops.pipelines.spec import Select

METHODS = ("random", "optuna")
MOST_TRIALS = 10_000
_KEYS = ("method", "trials", "seed", "params", "prune")
_RANGE = ("low", "high", "log", "step")
_LARGEST = 2**53  # above it a float no longer tells whole numbers apart
_FEW = 64  # a space of so few values is compared with a notebook's type value by value

Found = tuple[tuple[Any, ...], str]  # a fault: the keys under ``search`` that lead to it, and what is wrong


@dataclass(frozen=True)
class Choices:
    """One of these values, each as likely as the others."""

    values: tuple[Any, ...]

    @property
    def size(self) -> int:
        return len(self.values)

    def draw(self, chance: float) -> int:
        """The place of a value, for a chance from 0 up to but not including 1."""
        return int(chance * len(self.values))

    def value(self, drawn: float) -> Any:
        """The value at the place drawn."""
        return self.values[int(drawn)]

    def probes(self) -> Iterator[Any]:
        """Values that stand for all."""
        return iter(self.values)

    def shown(self) -> Any:
        """The space as a plan shows it."""
        return list(self.values)


@dataclass(frozen=True)
class Range:
    """A number from ``low`` to ``high``, both included; whole ones where both (and ``step``) are whole.

    With ``log``, each factor is as likely as the others: 0.001 to 0.01 as 0.01 to 0.1.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False

    @property
    def whole(self) -> bool:
        return all(isinstance(n, int) for n in (self.low, self.high, self.step) if n is not None)

    @property
    def grid(self) -> float | None:
        """The distance of neighbours where all are equally far apart and equally likely."""
        return self.step or (1 if self.whole and not self.log else None)

    @property
    def size(self) -> int | None:
        """How many values there are; None where they are as many as floats can tell apart."""
        if self.grid:
            return math.floor((self.high - self.low) / self.grid * (1 + 1e-12)) + 1  # 0.1 to 0.3 by 0.1 is three
        return int(self.high - self.low) + 1 if self.whole else None

    def draw(self, chance: float) -> float:
        """A place on the grid, else the number itself before it is rounded."""
        if self.grid:
            return int(chance * (self.size or 1))
        if not self.log:
            return self.low + chance * (self.high - self.low)
        half = 0.5 if self.whole else 0.0  # so that both ends are as likely as their factor says
        low, high = math.log(self.low - half), math.log(self.high + half)
        drawn = math.exp(low + chance * (high - low))
        return min(max(round(drawn), int(self.low)), int(self.high)) if self.whole else drawn

    def value(self, drawn: float) -> Any:
        """The number drawn, with about six digits: they tell candidates apart, and come out the same everywhere."""
        if self.whole:
            return int(self.low) + int(drawn) * int(self.grid) if self.grid else int(drawn)
        if self.grid:
            return float(f"{self.low + int(drawn) * self.grid:.12g}")
        decimals = 6 - math.floor(math.log10(self.high - self.low))
        short = float(f"{drawn:.6g}") if self.log else round(drawn, decimals)
        return min(max(short, float(self.low)), float(self.high))

    def probes(self) -> Iterator[Any]:
        """All values where they are few; else both ends and one between, which is no whole number by accident."""
        if self.size is not None and self.size <= _FEW:
            first = 0 if self.grid else int(self.low)
            yield from map(self.value, range(first, first + self.size))
        else:
            yield from (self.value(self.draw(chance)) for chance in (0.0, 1 - 2**-53, 0.3819660112501051))

    def shown(self) -> Any:
        """The space as a plan shows it."""
        kind = ", logarithmic" if self.log else f" by {self.step}" if self.step else ""
        return f"{self.low} to {self.high}{kind}"


Space = dict[str, Choices | Range]


@dataclass(frozen=True)
class Search:
    """A space, how to draw from it, and how often. The same seed draws the same."""

    method: str
    trials: int
    space: Space = field(default_factory=dict)
    seed: int = 0
    prune: bool = False

    @property
    def size(self) -> int | None:
        """How many different candidates there are; None where a parameter has endlessly many values."""
        total = 1
        for dimension in self.space.values():
            if dimension.size is None:
                return None
            total *= dimension.size
        return total

    @property
    def runs(self) -> int:
        """The most notebook runs it can mean."""
        return self.trials if self.size is None else min(self.trials, self.size)

    def shown(self) -> dict[str, Any]:
        """The space as a plan shows it."""
        return {name: dimension.shown() for name, dimension in self.space.items()}

    def typed(self, declared: Parameters) -> tuple[Search, list[Found]]:
        """The search as the notebook's parameters want it, and a fault for each that its space does not fit.

        A range between whole numbers takes fractions where the notebook wants a float, unless it has a step.
        """
        space, faults = dict(self.space), list[Found]()
        for name, dimension in self.space.items():
            if name not in declared.items:
                if declared.declared:  # else that is told with the other values of the stage
                    faults.append((("params", name), f"unknown parameter {name!r}{suggestion(name, declared.items)}"))
                continue
            kind = declared.items[name].type
            if isinstance(dimension, Range) and dimension.whole and dimension.step is None and _fractions(kind):
                space[name] = replace(dimension, low=float(dimension.low), high=float(dimension.high))
            try:
                for value in space[name].probes():
                    types.convert(kind, value)
            except Mismatch as error:
                inside = isinstance(dimension, Range) and not dimension.whole and "int" in str(kind)
                more = "; write low, high and step as whole numbers" if inside else ""
                faults.append((("params", name), f"{name}: {error}{more}"))
        return replace(self, space=space), faults


def _fractions(kind: Type) -> bool:
    names = {member.name for member in (kind.args if kind.name == "union" else (kind,))}
    return "float" in names and "int" not in names


def sample(search: Search) -> list[dict[str, Any]]:
    """The candidates of a random search, in order.

    More trials begin with the same candidates. No candidate comes twice where the space has an end; with more trials
    than it has candidates, each comes once. Only ``random()`` of the generator is used: Python promises its sequence.
    """
    generator, seen = random.Random(search.seed), set[tuple[float, ...]]()
    found: list[dict[str, Any]] = []
    while len(found) < search.runs:
        drawn = draw(search, generator)
        if search.size is not None and tuple(drawn.values()) in seen:
            continue
        seen.add(tuple(drawn.values()))
        found.append(values(search, drawn))
    return found


def draw(search: Search, generator: random.Random) -> dict[str, float]:
    """One place in the space, by chance."""
    return {name: dimension.draw(generator.random()) for name, dimension in search.space.items()}


def values(search: Search, drawn: Mapping[str, float]) -> dict[str, Any]:
    """The parameters at a place in the space."""
    return {name: dimension.value(drawn[name]) for name, dimension in search.space.items()}


# -- reading -----------------------------------------------------------------------------------------------------------
def read(value: Any, select: Select | None) -> tuple[Search | None, list[Found]]:
    """What a pipeline file says under ``search``, and every fault in it; with a fault there is no search."""
    if not isinstance(value, dict):
        return None, [((), f"search must be a mapping with method, trials and params, not {value!r:.60}")]
    faults = [
        ((key,), f"search: unknown key {key!r}{suggestion(key, _KEYS)}; known are {', '.join(_KEYS)}")
        for key in value
        if key not in _KEYS
    ]
    method, seed, prune = value.get("method", "random"), value.get("seed", 0), value.get("prune", False)
    trials: Any = value.get("trials")
    if method not in METHODS:
        near = suggestion(method, METHODS)
        faults.append((("method",), f"search: there is no method {method!r}{near}; there are {', '.join(METHODS)}"))
    if not _whole(trials, 1, MOST_TRIALS):
        faults.append((("trials",), f"search: trials must be a whole number from 1 to {MOST_TRIALS}, not {trials!r}"))
    if not _whole(seed, 0, 2**32 - 1):
        faults.append((("seed",), f"search: seed must be a whole number from 0 to {2**32 - 1}, not {seed!r}"))
    if not isinstance(prune, bool):
        faults.append((("prune",), f"search: prune must be true or false, not {prune!r}"))
    elif prune and method == "random":
        faults.append((("prune",), "search: prune needs method: optuna, which compares trials while they run"))
    if method == "optuna" and select is None:
        faults.append((("method",), "search: method optuna needs select: {metric: …, mode: …} to learn from"))
    space = _space(value.get("params"), faults)
    if faults:
        return None, faults
    return Search(str(method), int(trials), space, int(seed), bool(prune)), []


def _whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _space(value: Any, faults: list[Found]) -> Space:
    if not isinstance(value, dict) or not value:
        faults.append((("params",), "search needs params: {NAME: [choices], NAME: {low: …, high: …}}"))
        return {}
    space: Space = {}
    for name, given in value.items():
        at, here = ("params", name), list[str]()
        if not isinstance(name, str):
            here.append("the name of a parameter must be text")
        elif isinstance(given, list):
            here += _choice_faults(given)
            space[name] = Choices(tuple(given))
        elif isinstance(given, dict):
            dimension = _range(given, here)
            if dimension is not None:
                space[name] = dimension
        else:
            here.append(f"must be a list of choices or {{low: …, high: …}}, not {given!r:.40}")
        faults += [(at, f"search: {name}: {text}") for text in here]
    return space


def _choice_faults(given: list[Any]) -> list[str]:
    if not given:
        return ["there are no choices"]
    kinds = [(type(item), item) for item in given]  # 1, 1.0 and True are equal, and three choices all the same
    twice = [repr(kind[1]) for place, kind in enumerate(kinds) if kind in kinds[:place]]
    return [f"{text} is given twice" for text in dict.fromkeys(twice)]


def _range(given: dict[Any, Any], faults: list[str]) -> Range | None:
    before = len(faults)
    for key in given:
        if key not in _RANGE:
            faults.append(f"unknown key {key!r}{suggestion(key, _RANGE)}; known are {', '.join(_RANGE)}")
    low, high = (_number(key, given.get(key), faults) for key in ("low", "high"))
    step = _number("step", given["step"], faults) if given.get("step") is not None else None
    log = given.get("log", False)
    if not isinstance(log, bool):
        faults.append(f"log must be true or false, not {log!r}")
    if low is not None and high is not None:
        if low >= high:
            faults.append(f"low must be below high, and {low} is not below {high}")
        elif not math.isfinite(high - low):
            faults.append(f"low and high are too far apart: {low} and {high}")
        elif step is not None and not 0 < step <= high - low:
            faults.append(f"step must be above 0 and at most {high - low}, not {step}")
        if log is True and low <= 0:
            faults.append(f"log needs a low above 0, not {low}")
    if log is True and step is not None:
        faults.append("log and step exclude each other")
    if len(faults) > before or low is None or high is None:
        return None
    return Range(low, high, step, log)


def _number(key: str, value: Any, faults: list[str]) -> float | None:
    """A number; also one such as 1e-4, which YAML takes for text because it has no point."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if whole and abs(value) > _LARGEST:
        faults.append(f"{key} must be from -{_LARGEST} to {_LARGEST} where it is a whole number")
    elif whole or (isinstance(value, float) and math.isfinite(value)):
        return value
    else:
        faults.append(f"{key} is missing" if value is None else f"{key} must be a number, not {value!r:.40}")
    return None
