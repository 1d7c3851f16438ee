"""The executions a stage means: its values typed, the cells of its matrix, or candidates drawn from its search."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from nbmlops.notebook.parameters import suggestion
from nbmlops.pipelines import search as searches
from nbmlops.pipelines.faults import Faults
from nbmlops.pipelines.search import Search
from nbmlops.pipelines.spec import Stage

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


def search_of(stage: Stage, values: dict[str, Any], faults: Faults) -> Search | None:
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


def candidates(stage: Stage, values: dict[str, Any], search: Search | None, faults: Faults) -> tuple[Candidate, ...]:
    """The cells of the matrix, or those drawn at random, each with typed values; one candidate without either.

    A search with Optuna has none: they depend on each other.
    """
    here: list[str] = []
    matrix = {name: [substitute(v, values, here, name) for v in options] for name, options in stage.matrix.items()}
    # A search with faults has told them already: nothing to say about the parameters that it would give.
    given = set(_searched(stage)) if stage.search is not None and search is None else set()
    found = [candidate(stage, values, chosen, here) for chosen in combinations(matrix, search)]
    for fault in dict.fromkeys(here):
        if fault.partition(":")[0] not in given:
            faults.add(_value_place(stage, fault), fault)
    return () if search is not None and search.method == "optuna" else tuple(found)


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


def combinations(matrix: dict[str, list[Any]], search: Search | None) -> list[dict[str, Any]]:
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
