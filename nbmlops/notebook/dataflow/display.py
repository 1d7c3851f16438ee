"""Settings of how values are shown: one hidden variable for each library, read by what shows a value of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from nbmlops.notebook.dataflow.given import Given
from nbmlops.notebook.dataflow.machine import Machine
from nbmlops.notebook.dataflow.things import Value, reachable

_OPTION = "pandas.options."
_FAMILIES = {"matplotlib": "figures", "seaborn": "figures", "plotly": "figures", "IPython": "ipython"}
# Settings that surely tell in a table, array or quotient that is shown; others may.
_TELLING = re.compile(r"precision|float_format|formatter|suppress")
_LOGGING = frozenset({"debug", "info", "warning", "warn", "error", "critical", "exception", "log"})


def set_option(m: Machine, origin: str, given: Given, version: int) -> None:
    """``pd.set_option("a.b", 1)``, ``np.set_printoptions(precision=2)``, ``plt.style.use("x")``."""
    verb = origin.rpartition(".")[2]
    if verb == "set_option":
        for name, value in zip(given.values[::2], given.values[1::2]):
            set_display(m, f"{_OPTION}{name.constant}", value.version, alone=isinstance(name.constant, str))
    elif verb == "reset_option":
        set_display(m, f"{_OPTION}{given.text(0) or 'all'}", None)
    elif verb == "set_printoptions" and not given.values:
        for key, value in given.named.items():
            set_display(m, f"{origin}.{key}", value.version)
    else:
        set_display(m, origin, version, alone=False)


def set_display(m: Machine, key: str, version: int | None, *, alone: bool = True) -> None:
    """Set one option, or set it back where the version is None. Without ``alone`` others may be set with it."""
    root = key.partition(".")[0]
    name = f"display {_FAMILIES.get(root, root)}"
    alone_set, together = _state(m, name)
    if alone:
        alone_set.pop(key, None)
        if version is None and key == f"{_OPTION}all":
            alone_set.clear()
        elif version is not None:
            alone_set[key] = version
    else:
        together = (*(one for one in together if one != (key, version)), (key, version))
    m.set_hidden(name, m.versions.of("display", tuple(sorted(alone_set.items())), together), anew=False)


def _state(m: Machine, name: str) -> tuple[dict[str, int], tuple[Any, ...]]:
    """Options that were set one by one, and those set together in the order in which they were."""
    bound = m.hidden.get(name)
    if bound is None:
        return {}, ()
    term = m.versions.term(bound.choice)
    return (dict(term[1]), term[2]) if term[0] == "display" else ({}, (("before", bound.choice),))


def shown(m: Machine, values: Iterable[Value], *, last: bool = False) -> tuple[int, ...]:
    """The settings that decide how values look; ``last`` where IPython shows them, not ``print``."""
    names = [name for name in m.hidden if name.startswith("display ")]
    if not names:
        return ()
    values = list(values)
    return tuple(_read(m, name, values, last=last) for name in names if _may_tell(name, values, last=last))


def _may_tell(name: str, values: list[Value], *, last: bool) -> bool:
    family = name.partition(" ")[2]
    kinds = {kind for v in values for kind in (v.sort, *(thing.kind for thing in reachable(v.things)))}
    mixed = bool(kinds & {"", "list", "dict", "tuple", "set", "instance", "record"})
    if family == "pandas":
        return mixed or "pandas" in kinds
    if family == "numpy":
        return mixed or bool(kinds & {"numpy", "pandas"})
    if family == "figures":
        return mixed or "figure" in kinds or "pandas" in kinds
    if family == "ipython":
        return mixed or "numpy" in kinds or last
    return family not in {"warnings", "logging"}


def _read(m: Machine, name: str, values: list[Value], *, last: bool) -> int:
    """All of the settings, or in hope only those that surely tell."""
    if not m.hopeful:
        return m.read_hidden(name) or 0
    family = name.partition(" ")[2]
    sure = family in {"pandas", "numpy"} and any(value.sort == family for value in values)
    sure = sure or (family == "ipython" and any(_is_fraction(m, value, last=last) for value in values))
    telling = tuple(pair for pair in _state(m, name)[0].items() if _TELLING.search(pair[0]))
    if not sure or not telling:
        return 0
    m.read_hidden(name)
    return m.versions.of("telling", *telling)


def _is_fraction(m: Machine, value: Value, *, last: bool) -> bool:
    return value.sort == "numpy" or (last and m.versions.term(value.version)[0] == "Div" and value.sort == "plain")


def figure(m: Machine) -> None:
    """Something is drawn; whether a style tells in it is not known."""
    _maybe(m, "display figures")


def call(m: Machine, name: str, sort: str) -> None:
    """A call that may warn, or that writes to a log."""
    m.inside_cell.add("may warn")
    if sort == "record" and name in _LOGGING:
        _maybe(m, "display logging")


def end(m: Machine) -> None:
    """A cell that may have warned has ended; one that sets itself which warnings are shown is the same again."""
    if "may warn" in m.inside_cell and "<display warnings>" not in m.step.stored:
        _maybe(m, "display warnings")


def _maybe(m: Machine, name: str) -> None:
    if name in m.hidden and not m.hopeful:
        m.outcomes.append(m.read_hidden(name) or 0)
