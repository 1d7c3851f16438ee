"""The data flow of cells that ran one after the other, and the cells behind a result."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field

from nbmlops.notebook.cells import syntax_of
from nbmlops.notebook.dataflow import branches, display, expressions, ipython, statements
from nbmlops.notebook.dataflow.builtin import KNOWN, everything, show
from nbmlops.notebook.dataflow.library import SETTINGS
from nbmlops.notebook.dataflow.machine import Machine, Step, TooMuch
from nbmlops.notebook.dataflow.sealing import Seal
from nbmlops.notebook.dataflow.tables import words
from nbmlops.notebook.dataflow.things import Bound, Thing, Value, Versions, reachable

RULES = {**expressions.RULES, **statements.RULES}


@dataclass(frozen=True)
class Effects:
    """What one cell does to names. ``opaque`` tells, in words, what it may do that its code does not say."""

    loads: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()
    deletes: tuple[str, ...] = ()
    mutates: tuple[str, ...] = ()
    opaque: tuple[str, ...] = ()


@dataclass(frozen=True)
class Behind:
    """The cells that a result needs, in order, and where that is not known for sure: the step and why."""

    steps: tuple[int, ...] = ()
    unknown: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Dataflow:
    """What cells do to each other's names, when they are executed in the order given."""

    sources: tuple[str, ...]
    effects: tuple[Effects, ...]
    _steps: tuple[Step, ...] = field(repr=False, compare=False)
    _stored: tuple[tuple[str, ...] | None, ...] = field(repr=False, compare=False)

    @classmethod
    def of(cls, sources: Sequence[str], *, stored: Sequence[Sequence[str] | None] = ()) -> Dataflow:
        """Follow cells; ``stored`` are the names that each was really seen to set, where that is known."""
        seen = tuple(None if names is None else tuple(names) for names in stored)
        machine = machine_for(Versions())
        steps = [run_cell(machine, source, number, stored=_at(seen, number)) for number, source in enumerate(sources)]
        return cls(tuple(sources), tuple(map(_effects, steps)), tuple(steps), seen)

    def behind(self, step: int, name: str | None = None) -> Behind:
        """The minimal cells that step ``step`` needs; with a name, those that made its value as it was then."""
        if not 0 <= step < len(self.sources):
            raise IndexError(f"there is no step {step}: there are {len(self.sources)}")
        wanted, unknown = 1 << step, []
        if name is not None:
            wanted, known = self._makers(step, name)
            if not known:
                return Behind(_numbers(self._closed(wanted)), ((step, f"no cell defines {name!r}"),))
        steps = _numbers(self._closed(wanted))
        for number in steps:
            unknown += [(number, what) for what in self._steps[number].opaque]
            unknown += [
                (number, f"uses {missing!r}, which no cell defines")
                for missing in self._steps[number].missing
                if missing not in KNOWN_NAMES and not any(self._steps[n].opaque for n in steps if n < number)
            ]
        return Behind(steps, tuple(unknown))

    def _makers(self, step: int, name: str) -> tuple[int, bool]:
        """The steps that made a name's value as it was after a step."""
        machine = machine_for(Versions())
        for number, source in enumerate(self.sources[: step + 1]):
            run_cell(machine, source, number, stored=_at(self._stored, number))
        bound = machine.top.names.get(name)
        machine.step = Step(-1)
        if bound is None:
            return machine.anything, bool(machine.anything)
        machine.of_bound(bound)
        return machine.step.needs | machine.anything, True

    def _closed(self, wanted: int) -> int:
        """The steps with all that they need."""
        done, todo = 0, wanted
        while todo:
            number = todo.bit_length() - 1
            todo &= ~(1 << number)
            done |= 1 << number
            todo |= self._steps[number].needs & ~done & ((1 << number) - 1)
        return done


def _at(stored: tuple[tuple[str, ...] | None, ...], number: int) -> tuple[str, ...] | None:
    return stored[number] if number < len(stored) else None


def _numbers(mask: int) -> tuple[int, ...]:
    return tuple(number for number in range(mask.bit_length()) if mask >> number & 1)


def _effects(step: Step) -> Effects:
    plain = [name for name in step.sources if not name.startswith("<")]
    loads = tuple(dict.fromkeys([*plain, *(n for n in step.missing if n not in KNOWN_NAMES)]))
    stores = tuple(name for name in step.stored if not name.startswith("<"))
    return Effects(loads, stores, tuple(step.deleted), step.changed_names, tuple(step.opaque))


KNOWN_NAMES = (
    KNOWN
    | frozenset(dir(__import__("builtins")))
    | words(
        """
    In Out _ __ ___ _i _ii _iii _ih _oh _dh get_ipython display exit quit __name__ __file__ __doc__
    __builtins__ __builtin__ _sh open original_ps1 __session__ __vsc_ipynb_file__ __annotations__
    """
    )
)


def machine_for(versions: Versions, *, hopeful: bool = False) -> Machine:
    """A fresh kernel."""
    return Machine(RULES, versions=versions, hopeful=hopeful)


def run_cell(
    m: Machine, source: str, number: int, *, stored: Sequence[str] | None = None, count: int | None = None
) -> Step:
    """Execute a cell; what cannot be followed is told in the step's ``opaque``."""
    step = m.step = Step(number)
    m.bit = 1 << number
    m.begin()
    m.reads, m.outcomes, m.changes, m.active, m.loops, m.unsure = [], [], [], [], 0, 0
    m.inside_cell = set()
    m.frame = m.top
    m.top.elsewhere.clear()
    text, tree = syntax_of(source)
    settings = m.read_hidden(SETTINGS)
    if tree is None:
        if text.strip():
            step.opaque.append("is not Python that can be read")
    else:
        try:
            _follow(m, tree, count or number + 1)
        except (TooMuch, RecursionError):
            _lost(m, text)
        except Exception:  # whatever a cell holds, it must not stop the cell that asks: it counts as not followed
            _lost(m, text)
    _seen_to_store(m, stored)
    if settings and not m.hopeful and f"<{SETTINGS}>" not in step.stored:
        m.outcomes.append(settings)
    display.end(m)
    step.shown = m.versions.of("step", text, *m.outcomes)
    step.made = m.versions.of("made", step.shown, *_left(m))
    step.changed_names = _names_of(m, step.changed) if step.changed else ()
    return step


def _lost(m: Machine, text: str) -> None:
    """A cell that cannot be followed to its end: all may have been read and bound."""
    m.frame, m.unsure, m.loops = m.top, 0, 0
    m.active.clear()
    m.step.opaque.append("is too deep or too long to be followed")
    everything(m, m.versions.of("text", text), certain=True)


def _follow(m: Machine, tree: ast.Module, count: int) -> None:
    body = tree.body
    last = body[-1] if body else None
    m.follow(body[:-1] if isinstance(last, ast.Expr) else body)
    if isinstance(last, ast.Expr):
        value = m.value(last.value)
        if value.sort in {"instance", "imported"}:
            show(m, value)
        m.outcomes += [m.read(m.whole(value)), *display.shown(m, [value], last=True)]
        ipython.result(m, count, value)


def _seen_to_store(m: Machine, stored: Sequence[str] | None) -> None:
    """Names that were really set, where the code does not say so."""
    if not stored or not m.step.opaque:
        return
    version = m.versions.of("set unseen", *m.reads)
    for name in stored:
        if name not in m.step.stored:
            m.put(m.top, name, Value(m.versions.of("unseen", name, version)))


def _left(m: Machine) -> list[int]:
    """The versions of what a step left behind."""
    names = [m.top.names[name] for name in m.step.stored if name in m.top.names]
    hidden = [m.hidden[name[1:-1]].choice for name in m.step.stored if name[:1] == "<" and name[1:-1] in m.hidden]
    things = Bound(0, tuple(m.step.changed), 0)
    return [*hidden, *(m.quiet_version(bound) for bound in (*names, things))]


def _names_of(m: Machine, changed: dict[Thing, None]) -> tuple[str, ...]:
    """The names through which changed things can be reached."""
    found = []
    for name, bound in m.top.names.items():
        if any(thing in changed for thing in reachable(bound.things)):
            found.append(name)
    return tuple(found)


def attempt_cell(m: Machine, source: str, number: int, *, line: int | None = None) -> Step:
    """A cell that stopped before its end: what stands before ``line`` was done, and the rest may have been.

    Without a line it is the first ``raise`` of the cell that is not in a branch, if it has one.
    """
    before = dict(m.top.names)
    tree = syntax_of(source)[1]
    if tree is None:
        return run_cell(m, "", number)
    stop = _stopped_at(tree, line)
    done = _text_of(tree.body[:stop]) if stop is not None else ""
    step = run_cell(m, done, number)
    if stop is not None:
        before = dict(m.top.names)
    if m.hopeful:
        return step
    rest = tree.body[stop : stop + 1] if stop is not None else tree.body
    again = run_cell(m, _text_of(rest), number)
    branches.merge(m, Seal(again.made), before=[before], others=[])
    return _both(step, again)


def _stopped_at(tree: ast.Module, line: int | None) -> int | None:
    """The place of the statement at which a cell stopped."""
    for place, statement in enumerate(tree.body):
        if line is not None and statement.lineno <= line <= (statement.end_lineno or statement.lineno):
            return place
        if line is None and isinstance(statement, ast.Raise):
            return place
    return None


def _text_of(body: Sequence[ast.stmt]) -> str:
    try:
        return ast.unparse(ast.Module(list(body), []))
    except (ValueError, RecursionError):
        return ""


def _both(first: Step, then: Step) -> Step:
    """Two parts of one cell as one step."""
    for name, steps in first.sources.items():
        then.sources[name] = then.sources.get(name, 0) | steps
    then.needs |= first.needs
    then.stored = {**first.stored, **then.stored}
    return then
